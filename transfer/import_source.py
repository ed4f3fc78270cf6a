"""What can be imported: pages of samples, with the progress through them."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from wire.exposition_page import Scraped


class Page(NamedTuple):
    """Some samples of a source, and how many of its bytes are read by now."""

    content: Scraped
    done_bytes: int


class ImportSource(Protocol):
    """Something to import."""

    @property
    def name(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...

    def pages(self) -> Iterator[Page]:
        """All of it, some at a time.

        Raises ``wire.errors.Malformed`` where it cannot be read any further, and OSError.
        """
        ...

"""A place for the tests that do very many acts on a disk of their own making."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tsdb.databases import MEMORY


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """As ``tmp_path``, in memory where the system has a place there.

    For tests whose disk fails, or loses power, by their own doing: what a real one does is no
    part of them.
    """
    with tempfile.TemporaryDirectory(prefix="o11y-test-", dir=MEMORY) as directory:
        yield Path(directory)

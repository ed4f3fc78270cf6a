"""OpenMetrics text to import: read in blocks of lines, decompressed as it comes.

Every sample must name its time, as ``promtool tsdb create-blocks-from openmetrics`` wants it too.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from series.labels import Labels
from transfer.import_source import Page
from wire.exposition import TextDecoder
from wire.exposition_page import Scraped
from wire.line_blocks import BLOCK_BYTES, LineBlocks

NO_TIMESTAMP = "no-timestamp"
"""The reason of a sample whose line names no time."""


class OpenMetricsSource:
    """One file, or what a pipe brings."""

    def __init__(self, path: Path, encoding: str) -> None:
        """*encoding* is one of ``wire.line_blocks.ENCODINGS``."""
        self.name = str(path)
        self.size_bytes = path.stat().st_size
        self._path = path
        self._encoding = encoding

    def pages(self) -> Iterator[Page]:
        decoder = TextDecoder(openmetrics=True, now_ms=0)
        lines = LineBlocks(self._encoding, 1 << 62)
        first_line = 1
        done_bytes = 0
        with self._path.open("rb") as file:
            while chunk := file.read(BLOCK_BYTES):
                done_bytes += len(chunk)
                for block in lines.feed(chunk):
                    yield Page(_timed(decoder.feed(block), block, first_line), done_bytes)
                    first_line += block.count(b"\n")
        if rest := lines.finish():
            yield Page(_timed(decoder.feed(rest), rest, first_line), done_bytes)
        decoder.finish()


def _timed(page: Scraped, block: bytes, first_line: int) -> Scraped:
    """*page* without the samples that name no time."""
    if page.explicit.all():
        return page
    missing = np.flatnonzero(~page.explicit).tolist()
    numbers = _line_numbers(block, first_line) if not page.refused else []
    for row in missing:
        where = f"line {numbers[row]}: " if row < len(numbers) else ""
        labels = Labels.from_key(page.batch.key(row))
        page.refuse(NO_TIMESTAMP, f"{where}the sample names no timestamp", labels, 0)
    page.batch = page.batch.take(page.explicit)
    page.explicit = page.explicit[page.explicit]
    return page


def _line_numbers(block: bytes, first_line: int) -> list[int]:
    """The numbers of the lines that hold a sample."""
    return [
        number
        for number, line in enumerate(block.split(b"\n"), first_line)
        if line.strip() and not line.lstrip().startswith(b"#")
    ]

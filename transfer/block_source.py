"""A block of Prometheus to import: a directory with meta.json, index, chunks and tombstones."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer.import_source import Page
from wire.errors import Malformed
from wire.prometheus_block import BATCH_CHUNKS, BlockReader, read_meta


class BlockSource:
    """One block; its files are mapped, so memory follows what is being read."""

    def __init__(self, directory: Path) -> None:
        """Looks at meta.json; what is wrong with it ``pages`` tells."""
        self.name = str(directory)
        self._directory = directory
        self._problem = ""
        self.min_time_ms = 0
        """The first time of the block."""
        self._segments = sorted((directory / "chunks").glob("[0-9]" * 6))
        self.size_bytes = sum(path.stat().st_size for path in self._segments)
        try:
            self.min_time_ms = read_meta((directory / "meta.json").read_bytes()).min_time_ms
            self.size_bytes += (directory / "index").stat().st_size
        except FileNotFoundError:
            self._problem = "the block has no index"
        except Malformed as error:
            self._problem = str(error)

    def pages(self) -> Iterator[Page]:
        if self._problem:
            raise Malformed(self._problem)
        expected = [f"{number:06d}" for number in range(1, len(self._segments) + 1)]
        if [path.name for path in self._segments] != expected:
            raise Malformed("a file of chunks is missing")
        stones = self._directory / "tombstones"
        reader = BlockReader(
            _mapped(self._directory / "index"),
            [_mapped(path) for path in self._segments],
            stones.read_bytes() if stones.exists() else None,
        )
        chunks = max(1, len(reader.index.chunk_refs))
        for number, content in enumerate(reader.batches(), 1):
            share = min(1.0, number * BATCH_CHUNKS / chunks)
            yield Page(content, int(share * self.size_bytes))


def _mapped(path: Path) -> NDArray[np.uint8]:
    """The file as uint8[n], read as it is needed."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return np.zeros(0, dtype=np.uint8)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)

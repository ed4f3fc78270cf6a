"""The lines of a block while it is written: which time columns the segments of a row have."""

import numpy as np
from numpy.typing import NDArray

from tsdb.block.contents import Contents
from tsdb.block.format import pack_column, pack_differences
from tsdb.block.layout import Segments

Int64s = NDArray[np.int64]


class LineWriter:
    """Numbers the distinct lists of columns; rows that were always scraped together share one."""

    def __init__(self, seed: bytes) -> None:
        self._contents = Contents(seed)
        self._numbers: list[NDArray[np.int32]] = []
        self._sizes: list[Int64s] = []
        self._listed: list[Int64s] = []

    def add(self, columns: Int64s, segments: Segments) -> None:
        """Adds the rows of *segments*, whose columns (in the order of frames) are *columns*."""
        by_row = np.empty_like(columns)
        by_row[segments.layout.order] = columns
        sizes = segments.row_segments
        starts = np.cumsum(sizes) - sizes
        ids, firsts = self._contents.number(by_row, starts, sizes)
        self._numbers.append(ids.astype(np.int32))
        self._sizes.append(sizes[firsts])
        spans = zip(starts[firsts].tolist(), sizes[firsts].tolist(), strict=True)
        self._listed += [by_row[start : start + size].copy() for start, size in spans]

    def columns(self) -> list[bytes]:
        """The line of every row; how many columns each line has, and which."""
        return [
            pack_differences(np.concatenate(self._numbers)),
            pack_column(np.concatenate(self._sizes)),
            pack_differences(np.concatenate(self._listed)),
        ]

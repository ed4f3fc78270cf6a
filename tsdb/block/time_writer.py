"""Writing the times of a block: every distinct column once, in frames of 16."""

import numpy as np
from numpy.typing import NDArray

from tsdb.block.codec import FrameEncoder
from tsdb.block.contents import Contents
from tsdb.block.data_file import DataFile
from tsdb.block.format import FrameKind, pack_column
from tsdb.block.kernels import FRAME_SEGMENTS

Int64s = NDArray[np.int64]


class TimeWriter:
    """Numbers the time columns and writes them once there are enough of them."""

    def __init__(self, data: DataFile, seed: bytes) -> None:
        """*seed* keeps senders from choosing times that are taken for others."""
        self._data = data
        self._contents = Contents(seed)
        self._encoder = FrameEncoder()
        self._waiting: list[Int64s] = []
        self._firsts: list[Int64s] = []
        self._lasts: list[Int64s] = []
        self._counts: list[Int64s] = []

    @property
    def columns(self) -> int:
        """How many distinct columns there are."""
        return self._contents.count

    def number(self, times_ms: Int64s, starts: Int64s, counts: Int64s) -> Int64s:
        """The columns of the stretches ``times_ms[starts[k] : starts[k] + counts[k]]``.

        They are counted in order of their first appearance.
        """
        ids, firsts = self._contents.number(times_ms, starts, counts)
        starts, counts = starts[firsts], counts[firsts]
        self._firsts.append(times_ms[starts])
        self._lasts.append(times_ms[starts + counts - 1])
        self._counts.append(counts)
        spans = zip(starts.tolist(), counts.tolist(), strict=True)
        self._waiting += [times_ms[start : start + count] for start, count in spans]
        return ids

    def write_full(self, columns: int) -> None:
        """Writes the frames that are full of the first *columns* columns."""
        while columns - (self.columns - len(self._waiting)) >= FRAME_SEGMENTS:
            self._write()

    def keep(self) -> None:
        """Copies what waits, so that the arrays it was taken from need not be kept."""
        self._waiting = [column.copy() for column in self._waiting]

    def finish(self) -> None:
        """Writes all that waits."""
        while self._waiting:
            self._write()

    def range_ms(self) -> tuple[int, int]:
        """The first and the last of all times."""
        first = min(int(part.min()) for part in self._firsts if len(part))
        return first, max(int(part.max()) for part in self._lasts if len(part))

    def section(self) -> list[bytes]:
        """First and last times, relative to the block's first (modulo 2**64), and counts."""
        origin = np.array(self.range_ms()[0], dtype=np.int64).view(np.uint64)
        return [
            pack_column(np.concatenate(self._firsts).view(np.uint64) - origin),
            pack_column(np.concatenate(self._lasts).view(np.uint64) - origin),
            pack_column(np.concatenate(self._counts)),
        ]

    def _write(self) -> None:
        columns = self._waiting[:FRAME_SEGMENTS]
        del self._waiting[:FRAME_SEGMENTS]
        counts = np.array([len(column) for column in columns], dtype=np.int64)
        frame = self._encoder.times(np.concatenate(columns), np.cumsum(counts) - counts, counts)
        self._data.add(frame, FrameKind.TIMES)

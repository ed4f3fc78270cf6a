"""FrameSource: the frames of a block as they stand, for whoever hands them on to another one."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from series.histogram import offsets_of
from tsdb.block import decode_kernels
from tsdb.block.cache import BlockCache
from tsdb.block.codec import unpack_frame, without_number
from tsdb.block.format import ColumnReader, DamagedError, Section
from tsdb.block.frame_cache import place_of
from tsdb.block.index import BlockIndex
from tsdb.block.index_copy import read_index
from tsdb.block.kernels import FRAME_SEGMENTS
from tsdb.block.planned_read import NO_MOVES

Int64s = NDArray[np.int64]


class FrameSource:
    """See the module's head. Rows and frames are those of the block's ``index``.

    ``group_firsts`` int64[G] is the first row of each group, ``group_rows`` int64[G] how many it
    has. What is read is checked; DamagedError where it is not sound, OSError where it cannot be
    read.
    """

    def __init__(self, path: Path, sequence: int, index: BlockIndex, cache: BlockCache) -> None:
        """*path* is the data file of block *sequence*, of which nothing is left out.

        Raises as all methods.
        """
        self.index = index
        self._path = path
        self._cache = cache
        first_frames = index.segment_frames[index.series_segments[:-1]]
        self.group_firsts = np.flatnonzero(np.append(True, np.diff(first_frames) != 0))
        self.group_rows = np.diff(np.append(self.group_firsts, len(first_frames)))
        frame_segments = np.bincount(index.segment_frames)
        self._value_frames = np.flatnonzero(frame_segments)
        group_starts = np.searchsorted(self._value_frames, first_frames[self.group_firsts])
        self._group_starts = np.append(group_starts, len(self._value_frames))
        self._flag_starts = offsets_of(frame_segments)
        self._flags = self._read_flags(sequence)

    def frames(self, group: int) -> list[int]:
        """The frames of values of a group."""
        start, end = self._group_starts[group : group + 2].tolist()
        frames: list[int] = self._value_frames[start:end].tolist()
        return frames

    def flags(self, frame: int) -> NDArray[np.uint8]:
        """uint8[segments]: the flags of the segments of a frame of values."""
        start, end = self._flag_starts[frame : frame + 2].tolist()
        return self._flags[start:end]

    def rest(self, frame: int) -> bytes:
        """What follows the number of *frame*."""
        try:
            return without_number(self._read(frame), frame)
        except ValueError as error:
            raise DamagedError(str(error), int(self.index.frame_offsets[frame])) from None

    def times_ms(self, columns: Int64s) -> Int64s:
        """The times of *columns* (rising), end to end."""
        counts = self.index.column_counts[columns]
        ends = np.cumsum(counts)
        pieces = np.stack(
            (
                self.index.time_frames[columns // FRAME_SEGMENTS],
                columns % FRAME_SEGMENTS,
                counts * 0,
                counts,
                ends - counts,
            )
        )
        times_ms = np.empty(int(counts.sum()), dtype=np.int64)
        frames, firsts = np.unique(pieces[0], return_index=True)
        runs = np.append(firsts, len(columns))
        for at, frame in enumerate(frames.tolist()):
            offset = int(self.index.frame_offsets[frame])
            try:
                body = unpack_frame(self._read(frame), frame)
            except ValueError as error:
                raise DamagedError(str(error), offset) from None
            run, places = runs[at : at + 2], np.array([place_of(body)])
            if not decode_kernels.decode_times(places, pieces, run, NO_MOVES, times_ms):
                raise DamagedError("frame does not hold the times it should", offset)
        return times_ms

    def _read(self, frame: int) -> bytes:
        start, end = self.index.frame_offsets[frame : frame + 2].tolist()
        with self._cache.opened(self._path) as fd:
            return self._cache.files.pread(fd, end - start, start)

    def _read_flags(self, sequence: int) -> NDArray[np.uint8]:
        found = read_index(self._cache.files, self._path.parent, sequence)
        reader = ColumnReader(found.sections[Section.SEGMENTS])
        for _ in range(3):
            reader.column()
        flags = reader.column().astype(np.uint8)
        if len(flags) != self._flag_starts[-1]:
            raise DamagedError("sections of the index disagree")
        return flags

"""PlannedRead: rows of a block of which the times are read, before their values are decoded."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.block import decode_kernels
from tsdb.block import kernels as block_kernels
from tsdb.block.index import BlockIndex
from tsdb.view.part import Refs

Int64s = NDArray[np.int64]
Decode = Callable[[Callable[..., int], Int64s, Int64s, Int64s, NDArray[np.float64] | Int64s], None]
"""Has a kernel decode pieces, which runs divide by frames, into an array, as ``decode_kernels``."""

NO_MOVES = np.zeros(0, dtype=np.int64)
"""Where all rows are decoded to where they stand."""


class PlannedRead:
    """For ``offsets``, ``time_starts`` and ``times_ms`` of the rows see ``SeriesBatch``.

    All methods raise what *decode* does.
    """

    def __init__(
        self,
        index: BlockIndex,
        refs: Refs,
        start_ms: int,
        end_ms: int,
        decode: Decode,
        *,
        newest: bool = False,
        values: bool = True,
    ) -> None:
        """The samples of *refs* in the times, see ``Part.read``."""
        refs = np.ascontiguousarray(refs, dtype=np.int64)
        state, pieces, runs = block_kernels.plan_times(
            refs,
            index.series_lines,
            index.line_bounds,
            index.line_columns,
            index.column_first_ms,
            index.column_last_ms,
            index.column_counts,
            index.time_frames,
            start_ms,
            end_ms,
        )
        self.times_ms = np.empty(int(state[-1]), dtype=np.int64)
        decode(decode_kernels.decode_times, pieces, runs, NO_MOVES, self.times_ms)
        self.offsets = np.empty(len(refs) + 1, dtype=np.int64)
        self.time_starts = np.empty(len(refs), dtype=np.int64)
        self._pieces, self._runs = block_kernels.plan_values(
            refs,
            state,
            self.times_ms,
            index.line_columns,
            index.series_segments,
            index.segment_frames,
            index.segment_slots,
            index.segment_flags,
            index.column_counts,
            start_ms,
            end_ms,
            newest,
            not values,
            self.offsets,
            self.time_starts,
        )
        self._decode = decode
        self._empty = np.empty if values else np.zeros

    def decode(self, moves: Int64s, out: NDArray[np.float64]) -> None:
        """Puts the values of row r ``moves[r]`` behind where they stand in the batch."""
        self._decode(decode_kernels.decode_values, self._pieces, self._runs, moves, out)

    def batch(self) -> SeriesBatch:
        """The rows with their values."""
        values = self._empty(int(self.offsets[-1]))
        self.decode(NO_MOVES, values)
        return SeriesBatch(values, self.times_ms, self.offsets, self.time_starts)

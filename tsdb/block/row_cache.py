"""RowCache: single series of blocks, decoded around the times that were asked for.

Dashboards and rules ask for one series again and again, each time a little later. To find the
frames of a few samples and decode them then takes far longer than what is done with these.
"""

from bisect import bisect_left, bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.block.index import BlockIndex
from tsdb.block.planned_read import Decode, PlannedRead
from tsdb.lru import Lru
from tsdb.view.part import Refs

ROW_CACHE_BYTES = 8 << 20
MAX_SPAN_MS = 6 * 3_600_000
"""Who asks for longer times is not served from here."""
_STRETCH_MS = 3_600_000
"""Rows are read in whole stretches of this."""
_MAX_SAMPLES = 4096
"""Of a stretch; denser series are read as they are asked for."""
_ROW_BYTES = 600
"""About what a row takes besides its samples."""

_START = np.zeros(1, dtype=np.int64)


class _Row(NamedTuple):
    """All samples from ``start_ms`` to ``end_ms`` of a series, as the index ``known_by`` has it."""

    known_by: BlockIndex
    start_ms: int
    end_ms: int
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    def cut(self, start_ms: int, end_ms: int, *, newest: bool) -> SeriesBatch:
        """The samples within the range, which lies within the row's, or the newest of them."""
        times = self.times_ms.data
        high = bisect_right(times, end_ms)
        low = bisect_left(times, start_ms, 0, high)
        if newest:
            low = max(low, high - 1)
        offsets = np.array((0, high - low))
        return SeriesBatch(self.values[low:high], self.times_ms[low:high], offsets, _START)


class RowCache:
    """Rows by last use, up to a number of bytes; for all threads. Blocks are told by a number."""

    def __init__(self, max_bytes: int = ROW_CACHE_BYTES) -> None:
        self.held: Lru[tuple[int, int], _Row] = Lru(max_bytes)

    def read(
        self,
        block: int,
        index: BlockIndex,
        refs: Refs,
        start_ms: int,
        end_ms: int,
        decode: Decode,
        *,
        newest: bool = False,
    ) -> SeriesBatch:
        """The samples of the only one of *refs*, floats all of them, see ``Part.read``.

        A row that another *index* of the block knew is read anew: damage may have come to light.
        """
        key = block, refs.item(0)
        row = self.held.get(key)
        if (
            row is None
            or row.known_by is not index
            or start_ms < row.start_ms
            or end_ms > row.end_ms
        ):
            row = _read(index, refs, start_ms, end_ms, decode)
            if row is None:
                return PlannedRead(index, refs, start_ms, end_ms, decode, newest=newest).batch()
            self.held.put(key, row, _ROW_BYTES + row.times_ms.nbytes + row.values.nbytes)
        return row.cut(start_ms, end_ms, newest=newest)


def _read(index: BlockIndex, refs: Refs, start_ms: int, end_ms: int, decode: Decode) -> _Row | None:
    """The row in whole stretches; None where that were too many samples."""
    first_ms = max(start_ms - start_ms % _STRETCH_MS, -(2**63))
    last_ms = min(end_ms - end_ms % _STRETCH_MS + _STRETCH_MS, 2**63) - 1
    block_ms = int(index.column_last_ms.max(initial=0)) - int(index.column_first_ms.min(initial=0))
    if index.sample_counts(refs).item() * (last_ms - first_ms) > _MAX_SAMPLES * (block_ms + 1):
        return None
    batch = PlannedRead(index, refs, first_ms, last_ms, decode).batch()
    if batch.sample_count > _MAX_SAMPLES:
        return None
    return _Row(index, first_ms, last_ms, batch.row_times_ms(0).copy(), batch.values)

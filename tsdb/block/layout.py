"""How rows are cut into segments and segments make up groups and frames."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.block import layout_kernels as kernels
from tsdb.block.codec import SEGMENT_REST_SAMPLES, SEGMENT_SAMPLES

Int64s = NDArray[np.int64]

GROUP_ROWS = 16
_GROUP_MIN_ROWS = 8
"""From so many rows on, a group ends where the metric does."""


class Rows(NamedTuple):
    """R consecutive rows of a block; row r has the samples ``values[offsets[r] : offsets[r + 1]]``.

    ``values`` float64[N], what needs more than 64 bits as tickets; ``offsets`` int64[R + 1];
    ``times_ms`` int64[M] and ``time_starts`` int64[R] as in a SeriesBatch; ``metrics`` int64[R]
    is the same for rows of one metric.
    """

    values: NDArray[np.float64]
    offsets: Int64s
    times_ms: Int64s
    time_starts: Int64s
    metrics: Int64s

    @property
    def size(self) -> int:
        return len(self.metrics)

    def part(self, first: int, end: int) -> "Rows":
        """The rows from *first* up to *end*, as views."""
        return Rows(
            self.values,
            self.offsets[first : end + 1],
            self.times_ms,
            self.time_starts[first:end],
            self.metrics[first:end],
        )


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of all *parts*, copied; each has times of its own."""
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return Rows(
        np.concatenate([part.values[part.offsets[0] : part.offsets[-1]] for part in parts]),
        offsets,
        np.concatenate([_times(part) for part in parts]),
        offsets[:-1],
        np.concatenate([part.metrics for part in parts]),
    )


def _times(rows: Rows) -> Int64s:
    shifts = np.repeat(rows.time_starts - rows.offsets[:-1], np.diff(rows.offsets))
    times_ms: Int64s = rows.times_ms[shifts + np.arange(rows.offsets[0], rows.offsets[-1])]
    return times_ms


def group_ends(metrics: Int64s) -> list[int]:
    """Where groups end among rows that begin with one; what is left may go on.

    A group ends with 16 rows, and where the metric does if it has 8 or more.
    """
    ends, begin = [], 0
    for change in [*(np.flatnonzero(np.diff(metrics)) + 1).tolist(), len(metrics)]:
        while change - begin >= GROUP_ROWS:
            begin += GROUP_ROWS
            ends.append(begin)
        if change - begin >= _GROUP_MIN_ROWS and change < len(metrics):
            begin = change
            ends.append(begin)
    return ends


class Layout(NamedTuple):
    """G segments, numbered row by row, in F frames.

    ``order`` int64[G] are the segments in the order of frames, ``bounds`` int64[F + 1] where in it
    each frame begins; ``group_frames`` int64[groups] is how many each group has.
    """

    order: Int64s
    bounds: Int64s
    group_frames: Int64s


def lay_out(row_segments: Int64s, group_rows: Int64s) -> Layout:
    """The frames of rows with so many segments each (one at least) in groups of so many rows."""
    firsts = np.cumsum(group_rows) - group_rows
    group_frames = np.maximum.reduceat(row_segments, firsts) if len(firsts) else firsts
    order = np.empty(int(row_segments.sum()), dtype=np.int64)
    bounds = np.empty(int(group_frames.sum()) + 1, dtype=np.int64)
    kernels.lay_out(row_segments, group_rows, order, bounds)
    return Layout(order, bounds, group_frames)


class Segments(NamedTuple):
    """The segments of some rows in the order of frames: where values and times begin, samples."""

    row_segments: Int64s
    starts: Int64s
    time_starts: Int64s
    counts: Int64s
    layout: Layout


class FinishedGroups(NamedTuple):
    """Whole groups of rows whose frames are there already, from other blocks.

    ``rows`` are their keys: the batch holds no samples. ``group_rows`` int64[G] is how many each
    group has; of the ``segments`` only ``starts`` mean nothing, their times lie in ``times_ms``.
    ``flags`` uint8 are those of the segments. ``frames`` are what follows the number of each.
    """

    rows: SeriesBatch
    group_rows: Int64s
    segments: Segments
    times_ms: Int64s
    flags: NDArray[np.uint8]
    frames: list[bytes]


def segments_of(lengths: Int64s) -> Int64s:
    """Into how many segments rows with so many samples are cut."""
    return np.maximum(1, -((SEGMENT_REST_SAMPLES - lengths) // SEGMENT_SAMPLES))


def cut(rows: Rows, group_rows: Int64s) -> Segments:
    """Cuts *rows*, which make up whole groups, into segments."""
    lengths = np.diff(rows.offsets)
    row_segments = segments_of(lengths)
    layout = lay_out(row_segments, group_rows)
    row = np.repeat(np.arange(len(lengths)), row_segments)[layout.order]
    kth = layout.order - (np.cumsum(row_segments) - row_segments)[row]
    begins = kth * SEGMENT_SAMPLES
    return Segments(
        row_segments=row_segments,
        starts=rows.offsets[row] + begins,
        time_starts=rows.time_starts[row] + begins,
        counts=np.where(kth == row_segments[row] - 1, lengths[row] - begins, SEGMENT_SAMPLES),
        layout=layout,
    )

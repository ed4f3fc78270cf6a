"""Groups of rows that a merge takes over frame by frame, without decoding a sample.

A group is taken over where each source has all of its rows, as a group of its own, or none of them;
the sources follow each other in time; nothing is deleted of it; all samples fit into 64 bits; and
cutting its segments anew would not spare many of them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.block.block import Block
from tsdb.block.format import DamagedError
from tsdb.block.frame_source import FrameSource
from tsdb.block.layout import FinishedGroups, Segments, lay_out, segments_of
from tsdb.view.undeleted import Undeleted

Int64s = NDArray[np.int64]
Flags = NDArray[np.bool_]

_MORE_SEGMENTS = 1.1
"""A group may keep so many times the segments that its samples would be cut into."""
MIN_ROWS = 64
"""Of groups that follow each other: for fewer it is not worth to interrupt the decoding."""


class CopySource(NamedTuple):
    """A block of which groups may be taken over; ``kept`` bool[s] says of which of its series."""

    frames: FrameSource
    kept: Flags


def copy_source(part: Block | Undeleted, start_ms: int, end_ms: int) -> CopySource | None:
    """*part* as a source; None where it has samples outside the times (both included) or damage.

    OSError where it cannot be read, StorageError as from the part's own methods.
    """
    block = part.block if isinstance(part, Undeleted) else part
    if block.damaged_frames or block.min_time_ms < start_ms or block.max_time_ms > end_ms:
        return None
    try:
        frames = block.frame_source()
    except DamagedError:
        return None
    kept = np.ones(block.meta.series, dtype=np.bool_)
    if frames.index.entries is not None:
        kept[frames.index.entries.rows] = False
    if isinstance(part, Undeleted):
        kept &= ~part.touched
    return CopySource(frames, kept)


class Stretch(NamedTuple):
    """Groups that follow each other: where each begins and ends among the rows, int64[n] twice."""

    begins: Int64s
    ends: Int64s


def plan_copies(sources: Sequence[CopySource | None], refs: Int64s) -> list[Stretch]:
    """The groups that are taken over, in the order of the rows of a merge.

    ``refs`` int64[sources, rows] says where each source has the rows, -1 where it has not. The
    sources are in the order of their times; nothing is taken over of those that are None.
    """
    sizes = [_group_sizes(source, own) for source, own in zip(sources, refs, strict=True)]
    largest = np.max(sizes, axis=0)
    begins = np.flatnonzero(largest)
    ends = begins + largest[begins]
    fits = np.ones(len(begins), dtype=np.bool_)
    for own, own_sizes in zip(refs, sizes, strict=True):
        fits &= (own_sizes[begins] == largest[begins]) | ~_any(own >= 0, begins, ends)
    begins, ends = begins[fits], ends[fits]
    fits = _keep_their_cut(sources, refs, begins, ends)
    begins, ends = begins[fits], ends[fits]
    bounds = np.flatnonzero(np.append(begins[1:], -1) != ends) + 1
    firsts = np.concatenate(([0], bounds[:-1]))
    return [
        Stretch(begins[first:end], ends[first:end])
        for first, end in zip(firsts.tolist(), bounds.tolist(), strict=False)
        if ends[end - 1] - begins[first] >= MIN_ROWS
    ]


def _group_sizes(source: CopySource | None, own: Int64s) -> NDArray[np.uint8]:
    """uint8[rows]: how many rows the group of the source has that begins at a row, 0 where none.

    Only groups that stand as a whole among the rows, one of their rows after the other.
    """
    sizes = np.zeros(len(own), dtype=np.uint8)
    if source is None:
        return sizes
    places = np.full(len(source.kept), -1)
    present = np.flatnonzero(own >= 0)
    places[own[present]] = present
    firsts, rows = source.frames.group_firsts, source.frames.group_rows
    begins = places[firsts]
    ends = begins + rows
    breaks = np.diff(places, prepend=-1) != 1
    whole = begins >= 0
    whole &= ~_any(breaks, firsts + 1, firsts + rows)
    whole &= ~_any(~source.kept, firsts, firsts + rows)
    sizes[begins[whole]] = (ends - begins)[whole]
    return sizes


def _keep_their_cut(
    sources: Sequence[CopySource | None], refs: Int64s, begins: Int64s, ends: Int64s
) -> Flags:
    """bool[n]: of the groups, those whose segments are in order and not too many."""
    rows = refs.shape[1]
    last_ms = np.full(rows, -(2**63))
    samples, segments = np.zeros((2, rows), dtype=np.int64)
    overlap = np.zeros(rows, dtype=np.bool_)
    fits, uneven = np.ones(len(begins), dtype=np.bool_), np.zeros(len(begins), dtype=np.bool_)
    for source, own in zip(sources, refs, strict=True):
        if source is None:
            continue
        at = np.flatnonzero(own >= 0)
        index, lines = source.frames.index, source.frames.index.series_lines[own[at]]
        starts, counts = index.line_bounds[lines], index.line_bounds[lines + 1]
        counts = counts - starts
        overlap[at] |= index.column_first_ms[index.line_columns[starts]] <= last_ms[at]
        last_ms[at] = index.column_last_ms[index.line_columns[starts + counts - 1]]
        samples[at] += index.line_samples[lines]
        segments[at] += counts
        here = own[begins] >= 0
        # The next source's first segments are to stand in one frame, whatever the row.
        fits &= ~(here & uneven)
        uneven |= here & (
            _over(np.maximum, segments, begins, ends) != _over(np.minimum, segments, begins, ends)
        )
    cut_anew = _over(np.add, segments_of(samples), begins, ends)
    return (
        fits
        & ~_any(overlap, begins, ends)
        & (_over(np.add, segments, begins, ends) <= _MORE_SEGMENTS * cut_anew)
    )


def read_groups(
    sources: Sequence[CopySource | None], refs: Int64s, group_rows: Int64s, rows: SeriesBatch
) -> FinishedGroups:
    """The groups of *group_rows* rows each, as planned; *rows* are their keys.

    DamagedError where a frame is not sound, OSError where it cannot be read.
    """
    row_segments = np.zeros(refs.shape[1], dtype=np.int64)
    found = [(source, own) for source, own in zip(sources, refs, strict=True) if source is not None]
    for source, own in found:
        row_segments += _segment_counts(source, own)
    layout = lay_out(row_segments, group_rows)
    time_starts, counts = np.empty((2, int(row_segments.sum())), dtype=np.int64)
    filled = np.cumsum(row_segments) - row_segments
    times: list[Int64s] = []
    times_before = 0
    for source, own in found:
        own_segments = _segment_counts(source, own)
        columns = _columns(source, own, own_segments)
        places = np.repeat(filled - np.cumsum(own_segments) + own_segments, own_segments)
        places += np.arange(len(columns))
        filled += own_segments
        distinct, which = np.unique(columns, return_inverse=True)
        sizes = source.frames.index.column_counts[distinct]
        ends = times_before + np.cumsum(sizes)
        time_starts[places], counts[places] = (ends - sizes)[which], sizes[which]
        times.append(source.frames.times_ms(distinct))
        times_before += len(times[-1])
    frames: list[bytes] = []
    flags: list[NDArray[np.uint8]] = []
    for first in (np.cumsum(group_rows) - group_rows).tolist():
        for source, own in found:
            if own[first] >= 0:
                group = int(np.searchsorted(source.frames.group_firsts, own[first]))
                for frame in source.frames.frames(group):
                    frames.append(source.frames.rest(frame))
                    flags.append(source.frames.flags(frame))
    ordered = time_starts[layout.order]
    return FinishedGroups(
        rows=rows,
        group_rows=group_rows,
        segments=Segments(row_segments, ordered, ordered, counts[layout.order], layout),
        times_ms=np.concatenate(times),
        flags=np.concatenate(flags),
        frames=frames,
    )


def _segment_counts(source: CopySource, own: Int64s) -> Int64s:
    """int64[rows]: how many segments the rows have there."""
    bounds = source.frames.index.series_segments
    counts: Int64s = np.where(own >= 0, bounds[own + 1] - bounds[own], 0)
    return counts


def _columns(source: CopySource, own: Int64s, counts: Int64s) -> Int64s:
    """The time columns of all segments of the rows that are there, row by row."""
    index = source.frames.index
    starts = index.line_bounds[index.series_lines[own]]
    at = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
    columns: Int64s = index.line_columns[at]
    return columns


def _any(flags: Flags, begins: Int64s, ends: Int64s) -> Flags:
    """bool[n]: whether a flag stands within [begins, ends)."""
    before = np.concatenate(([0], np.cumsum(flags)))
    found: Flags = before[ends] > before[begins]
    return found


def _over(function: Any, numbers: Int64s, begins: Int64s, ends: Int64s) -> Int64s:
    """int64[n]: *function* over the numbers of each of [begins, ends), which do not overlap."""
    if not len(begins):
        return begins
    bounds = np.stack((begins, ends), axis=1).reshape(-1)
    found: Int64s = function.reduceat(np.append(numbers, 0), bounds)[::2]
    return found

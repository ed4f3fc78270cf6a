"""Kernels of blocks: numbering distinct stretches, planning a read.

A *piece* is a part of one segment to be decoded: its frame, its slot there, samples to skip,
samples to take, the place of the first in the answer. Pieces are int64[5, pieces], ordered by
frame; the pieces of the k-th frame touched are those from ``runs[k]`` up to ``runs[k + 1]``.
"""

from typing import Any

import numpy as np

from series.jit import helper, kernel

FRAME_SEGMENTS = 16
"""Segments of values a frame takes at most, and time columns; frames of entries may take more."""

MAX_SEGMENT = (1 << 16) - 1
"""Samples of a segment at most."""

_HAS_STALE = 1
"""A flag of segments, see ``model_kernels``."""

_UINT8 = "Array(u1, 1, 'C', True)"
_INT32 = "Array(i4, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"


@helper
def _mixed(state: Any, word: Any) -> Any:
    state = (state ^ np.uint64(word)) * np.uint64(0x9E3779B97F4A7C15)
    return state ^ (state >> np.uint64(29))


@helper
def _equal(a: Any, a_at: Any, b: Any, b_at: Any, count: Any) -> Any:
    at = 0
    while at < count and a[a_at + at] == b[b_at + at]:
        at += 1
    return at == count


@helper
def _empty_slots(count: Any) -> Any:
    size = 16
    while size < 2 * count:
        size *= 2
    return np.full(size, -1, np.int64)


@helper
def _number(numbers: Any, starts: Any, counts: Any, ids: Any, firsts: Any) -> Any:
    slots = _empty_slots(len(starts))
    mask = np.uint64(len(slots) - 1)
    found = 0
    for k in range(len(starts)):
        start, count = starts[k], counts[k]
        if k > 0 and start == starts[k - 1] and count == counts[k - 1]:
            ids[k] = ids[k - 1]
            continue
        state = np.uint64(count)
        for i in range(count):
            state = _mixed(state, numbers[start + i])
        slot = (state ^ (state >> np.uint64(32))) & mask
        while slots[slot] >= 0:
            first = firsts[slots[slot]]
            if counts[first] == count and (
                starts[first] == start or _equal(numbers, starts[first], numbers, start, count)
            ):
                break
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] < 0:
            slots[slot] = found
            firsts[found] = k
            found += 1
        ids[k] = slots[slot]
    return found


@kernel(f"i8({_INT64}, {_INT64}, {_INT64}, i8[::1], i8[::1])")
def number_stretches(numbers: Any, starts: Any, counts: Any, ids: Any, firsts: Any) -> int:
    """Numbers the distinct stretches ``numbers[starts[k] : starts[k] + counts[k]]``.

    Fills ``ids[k]``, counted in order of first appearance, and ``firsts[id]``, the first k that
    holds the stretch. Returns how many there are.
    """
    return int(_number(numbers, starts, counts, ids, firsts))


@helper
def _by_frame(pieces: Any, count: Any) -> Any:
    """(the first *count* pieces ordered by frame, runs); a counting sort."""
    if count == 0:
        return pieces[:, :0].copy(), np.zeros(1, np.int64)
    lowest = highest = pieces[0, 0]
    for k in range(count):
        lowest = min(lowest, pieces[0, k])
        highest = max(highest, pieces[0, k])
    bounds = np.zeros(highest - lowest + 2, np.int64)
    for k in range(count):
        bounds[pieces[0, k] - lowest + 1] += 1
    runs = np.empty(count + 1, np.int64)
    found = 0
    for frame in range(len(bounds) - 1):
        if bounds[frame + 1] > 0:
            runs[found] = bounds[frame]
            found += 1
        bounds[frame + 1] += bounds[frame]
    runs[found] = count
    ordered = np.empty((5, count), np.int64)
    for k in range(count):
        at = bounds[pieces[0, k] - lowest]
        bounds[pieces[0, k] - lowest] += 1
        for field in range(5):
            ordered[field, at] = pieces[field, k]
    return ordered, runs[: found + 1]


@helper
def _number_lines(lines: Any, ids: Any, own: Any) -> Any:
    """Numbers the distinct *lines* in order of appearance: ``own[ids[k]]`` is ``lines[k]``."""
    slots = _empty_slots(len(lines))
    mask = np.uint64(len(slots) - 1)
    found = 0
    for k in range(len(lines)):
        if k > 0 and lines[k] == lines[k - 1]:
            ids[k] = ids[k - 1]
            continue
        slot = _mixed(np.uint64(0), lines[k]) & mask
        while slots[slot] >= 0 and own[slots[slot]] != lines[k]:
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] < 0:
            slots[slot] = found
            own[found] = lines[k]
            found += 1
        ids[k] = slots[slot]
    return found


@kernel(
    "Tuple((i8[::1], i8[::1], i8[::1], i8[::1], i8[:, ::1], i8[::1]))"
    f"({_INT32}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, i8, i8)"
)
def plan_times(
    lines: Any,
    line_bounds: Any,
    line_columns: Any,
    column_first_ms: Any,
    column_last_ms: Any,
    column_counts: Any,
    time_frames: Any,
    start_ms: int,
    end_ms: int,
) -> Any:
    """Which segments of each row may hold samples of the range, and the times they need.

    ``lines`` int32[rows] are those of the rows, the other arrays the block's directory (see
    ``BlockIndex``). Returns

    - ``sequences`` int64[rows]: rows with the same time columns in the range have one number;
    - ``skips`` int64[rows]: how many segments of each row stand before the range;
    - ``places`` int64[2 * sequences]: where in *line_columns* the columns of the range begin for
      each, then where they end;
    - ``ends`` int64[sequences]: where the times of each end, laid one after the other;
    - pieces and runs that decode them.
    """
    rows = len(lines)
    sequences = np.empty(rows, np.int64)
    own = np.empty(rows, np.int64)
    distinct = _number_lines(lines, sequences, own)
    firsts = np.empty(distinct, np.int64)
    counts = np.empty(distinct, np.int64)
    for k in range(distinct):
        first, end = line_bounds[own[k]], line_bounds[own[k] + 1]
        while first < end and column_last_ms[line_columns[first]] < start_ms:
            first += 1
        while end > first and column_first_ms[line_columns[end - 1]] > end_ms:
            end -= 1
        firsts[k] = first
        counts[k] = end - first
    ids = np.empty(distinct, np.int64)
    leaders = np.empty(distinct, np.int64)
    found = _number(line_columns, firsts, counts, ids, leaders)
    skips = np.empty(rows, np.int64)
    for i in range(rows):
        skips[i] = firsts[sequences[i]] - line_bounds[lines[i]]
        sequences[i] = ids[sequences[i]]
    places = np.empty(2 * found, np.int64)
    total = 0
    for q in range(found):
        places[q] = firsts[leaders[q]]
        places[found + q] = firsts[leaders[q]] + counts[leaders[q]]
        total += counts[leaders[q]]
    ends = np.empty(found, np.int64)
    pieces = np.empty((5, total), np.int64)
    made = 0
    place = 0
    for q in range(found):
        for at in range(places[q], places[found + q]):
            column = line_columns[at]
            pieces[0, made] = time_frames[column // FRAME_SEGMENTS]
            pieces[1, made] = column % FRAME_SEGMENTS
            pieces[2, made] = 0
            pieces[3, made] = column_counts[column]
            pieces[4, made] = place
            place += column_counts[column]
            made += 1
        ends[q] = place
    ordered, runs = _by_frame(pieces, made)
    return sequences, skips, places, ends, ordered, runs


@helper
def _lower_bound(numbers: Any, start: Any, end: Any, bound: Any) -> Any:
    """The first position in [start, end) whose number is not below *bound*, else *end*."""
    while start < end:
        middle = (start + end) >> 1
        if numbers[middle] < bound:
            start = middle + 1
        else:
            end = middle
    return start


@kernel(
    "Tuple((i8[::1], i8[::1], i8[:, ::1], i8[::1]))"
    f"({_INT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64},"
    f" {_INT32}, {_UINT8}, {_UINT8}, {_INT64}, i8, i8, b1, b1)"
)
def plan_values(
    refs: Any,
    sequences: Any,
    skips: Any,
    places: Any,
    ends: Any,
    times: Any,
    line_columns: Any,
    series_segments: Any,
    segment_frames: Any,
    segment_slots: Any,
    segment_flags: Any,
    column_counts: Any,
    start_ms: int,
    end_ms: int,
    only_newest: bool,
    only_stale: bool,
) -> Any:
    """Gives every row its place in the answer, trimmed to the range or to its newest sample there.

    ``refs`` int64[rows] are the series of the rows, ``sequences`` to ``ends`` what ``plan_times``
    has returned, *times* what its pieces have decoded. Returns ``offsets`` int64[rows + 1] and
    ``time_starts`` int64[rows] of the answer, then pieces and runs that decode its values; with
    *only_stale* those alone that may be stale markers.
    """
    rows = len(refs)
    offsets = np.empty(rows + 1, np.int64)
    time_starts = np.empty(rows, np.int64)
    count = len(ends)
    most = 0
    for i in range(rows):
        most += places[count + sequences[i]] - places[sequences[i]]
    pieces = np.empty((5, most), np.int64)
    offsets[0] = 0
    made = 0
    for i in range(rows):
        q = sequences[i]
        begin = ends[q - 1] if q > 0 else 0
        stop = ends[q]
        low = _lower_bound(times, begin, stop, start_ms)
        high = low if end_ms < start_ms else _lower_bound(times, low, stop, end_ms)
        if high < stop and times[high] == end_ms and end_ms >= start_ms:
            high += 1
        if only_newest:
            low = max(low, high - 1)
        time_starts[i] = low
        offsets[i + 1] = offsets[i] + high - low
        at = begin
        segment = series_segments[refs[i]] + skips[i]
        for place in range(places[q], places[count + q]):
            samples = column_counts[line_columns[place]]
            skip = max(0, low - at)
            take = min(samples, high - at) - skip
            if take > 0 and not (only_stale and segment_flags[segment] & _HAS_STALE == 0):
                pieces[0, made] = segment_frames[segment]
                pieces[1, made] = segment_slots[segment]
                pieces[2, made] = skip
                pieces[3, made] = take
                pieces[4, made] = offsets[i] + at + skip - low
                made += 1
            at += samples
            segment += 1
    ordered, runs = _by_frame(pieces, made)
    return offsets, time_starts, ordered, runs

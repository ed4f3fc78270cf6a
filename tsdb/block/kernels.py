"""Kernels of blocks: numbering distinct stretches, planning a read.

A *piece* is a part of one segment to be decoded: its frame, its slot there, samples to skip,
samples to take, the place of the first in the answer, its row there. Pieces are int64[6, pieces],
ordered by frame; the pieces of the k-th frame touched are those from ``runs[k]`` up to
``runs[k + 1]``.
"""

from typing import Any

import numpy as np

from series.jit import helper, kernel
from tsdb.stretch_helpers import empty_slots, mixed, number

FRAME_SEGMENTS = 16
"""Segments of values a frame takes at most, and time columns; frames of entries may take more."""

MAX_SEGMENT = (1 << 16) - 1
"""Samples of a segment at most."""

_HAS_STALE = 1
"""A flag of segments, see ``model_kernels``."""

_UINT8 = "Array(u1, 1, 'C', True)"
_INT32 = "Array(i4, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"


@kernel(f"i8({_INT64}, {_INT64}, {_INT64}, i8[::1], i8[::1])")
def number_stretches(numbers: Any, starts: Any, counts: Any, ids: Any, firsts: Any) -> int:
    """Numbers the distinct stretches ``numbers[starts[k] : starts[k] + counts[k]]``.

    Fills ``ids[k]``, counted in order of first appearance, and ``firsts[id]``, the first k that
    holds the stretch. Returns how many there are.
    """
    return int(number(numbers, starts, counts, ids, firsts))


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
    ordered = np.empty((6, count), np.int64)
    for k in range(count):
        at = bounds[pieces[0, k] - lowest]
        bounds[pieces[0, k] - lowest] += 1
        for field in range(6):
            ordered[field, at] = pieces[field, k]
    return ordered, runs[: found + 1]


@helper
def _number_lines(lines: Any, ids: Any, own: Any) -> Any:
    """Numbers the distinct *lines* in order of appearance: ``own[ids[k]]`` is ``lines[k]``."""
    slots = empty_slots(len(lines))
    mask = np.uint64(len(slots) - 1)
    found = 0
    for k in range(len(lines)):
        if k > 0 and lines[k] == lines[k - 1]:
            ids[k] = ids[k - 1]
            continue
        slot = mixed(np.uint64(0), lines[k]) & mask
        while slots[slot] >= 0 and own[slots[slot]] != lines[k]:
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] < 0:
            slots[slot] = found
            own[found] = lines[k]
            found += 1
        ids[k] = slots[slot]
    return found


@helper
def _parts_of(state: Any, rows: Any) -> Any:
    """Sequences, skips, places and ends of the *state* that ``plan_times`` returns."""
    found, skips, places = state[0], 1 + rows, 1 + 2 * rows
    ends = places + 2 * found
    return state[1:skips], state[skips:places], state[places:ends], state[ends:]


@kernel(
    "Tuple((i8[::1], i8[:, ::1], i8[::1]))"
    f"({_INT64}, {_INT32}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, i8, i8)"
)
def plan_times(
    refs: Any,
    series_lines: Any,
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

    ``refs`` int64[rows] are the series of the rows, the other arrays the block's directory (see
    ``BlockIndex``). Returns pieces and runs that decode the times, behind a state for
    ``plan_values``, in one array because handing out several takes longer:

    - how many sequences there are;
    - ``sequences`` [rows]: rows with the same time columns in the range have one number;
    - ``skips`` [rows]: how many segments of each row stand before the range;
    - ``places`` [2 * sequences]: where in *line_columns* the columns of the range begin for
      each, then where they end;
    - ``ends`` [sequences]: where the times of each end, laid one after the other; the state's
      last number is how many times there are.
    """
    rows = len(refs)
    lines = np.empty(rows, np.int64)
    for i in range(rows):
        lines[i] = series_lines[refs[i]]
    own_sequences = np.empty(rows, np.int64)
    own = np.empty(rows, np.int64)
    distinct = _number_lines(lines, own_sequences, own)
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
    found = number(line_columns, firsts, counts, ids, leaders)
    state = np.empty(1 + 2 * rows + 3 * found, np.int64)
    state[0] = found
    sequences, skips, places, ends = _parts_of(state, rows)
    for i in range(rows):
        skips[i] = firsts[own_sequences[i]] - line_bounds[lines[i]]
        sequences[i] = ids[own_sequences[i]]
    total = 0
    for q in range(found):
        places[q] = firsts[leaders[q]]
        places[found + q] = firsts[leaders[q]] + counts[leaders[q]]
        total += counts[leaders[q]]
    pieces = np.empty((6, total), np.int64)
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
            pieces[5, made] = q
            place += column_counts[column]
            made += 1
        ends[q] = place
    ordered, runs = _by_frame(pieces, made)
    return state, ordered, runs


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
    "Tuple((i8[:, ::1], i8[::1]))"
    f"({_INT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64},"
    f" {_INT32}, {_UINT8}, {_UINT8}, {_INT64}, i8, i8, b1, b1, i8[::1], i8[::1])"
)
def plan_values(
    refs: Any,
    state: Any,
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
    offsets: Any,
    time_starts: Any,
) -> Any:
    """Gives every row its place in the answer, trimmed to the range or to its newest sample there.

    ``refs`` int64[rows] are the series of the rows, *state* what ``plan_times`` has returned,
    *times* what its pieces have decoded. Fills ``offsets`` int64[rows + 1] and ``time_starts``
    int64[rows] of the answer, and returns pieces and runs that decode its values; with
    *only_stale* those alone that may be stale markers.
    """
    rows = len(refs)
    sequences, skips, places, ends = _parts_of(state, rows)
    count = len(ends)
    most = 0
    for i in range(rows):
        most += places[count + sequences[i]] - places[sequences[i]]
    pieces = np.empty((6, most), np.int64)
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
                pieces[5, made] = i
                made += 1
            at += samples
            segment += 1
    return _by_frame(pieces, made)

"""Kernels of the View: putting the stretches of several parts together."""

from typing import Any

import numpy as np

from series.jit import kernel

_INT64 = "Array(i8, 1, 'C', True)"
_MATRIX = "Array(i8, 2, 'C', True)"


@kernel(
    f"i8({_INT64}, {_INT64}, {_INT64}, {_INT64}, i8, i8[:, ::1], i8[:, ::1], i8[:, ::1],"
    " i8[::1], u1[::1])"
)
def spread(
    rows: Any,
    offsets: Any,
    row_time_starts: Any,
    times: Any,
    part: int,
    lengths: Any,
    value_starts: Any,
    time_starts: Any,
    last_ms: Any,
    states: Any,
) -> int:
    """Enters where the rows of one part's batch stand into column *part* of three matrices.

    Row k of the batch is row ``rows[k]`` of the answer; the matrices are int64[answer, parts].
    ``last_ms`` and ``states`` are kept between the parts: a state is 0 before the first samples of
    a row, 1 then, and 2 once a part began before or at the end of those before it. Returns how
    many rows are in state 2 now because of this part.
    """
    broken = 0
    for k in range(len(rows)):
        row = rows[k]
        length = offsets[k + 1] - offsets[k]
        if length == 0:
            continue
        lengths[row, part] = length
        value_starts[row, part] = offsets[k]
        time_starts[row, part] = row_time_starts[k]
        if states[row] == 1 and times[row_time_starts[k]] <= last_ms[row]:
            states[row] = 2
            broken += 1
        if states[row] == 0:
            states[row] = 1
        last_ms[row] = times[row_time_starts[k] + length - 1]
    return broken


@kernel(
    "Tuple((i8[::1], i8[::1], i8[:, ::1], i8[:, ::1], i8[:, ::1], i8))"
    f"({_MATRIX}, {_INT64}, {_INT64})"
)
def lay_end_to_end(lengths: Any, ids: Any, firsts: Any) -> Any:
    """Places the stretches of each row one after the other.

    Rows with the same of *ids* share their times, which row ``firsts[id]`` places. Returns
    ``offsets`` and ``time_starts`` of the answer, ``value_places``, then ``time_lengths`` (0 in
    rows that leave it to another), ``time_places``, and the count of all times.
    """
    rows, parts = lengths.shape
    offsets = np.zeros(rows + 1, np.int64)
    time_starts = np.empty(rows, np.int64)
    value_places = np.empty((rows, parts), np.int64)
    time_lengths = np.zeros((rows, parts), np.int64)
    time_places = np.zeros((rows, parts), np.int64)
    times = 0
    for row in range(rows):
        owner = firsts[ids[row]]
        at = offsets[row]
        if owner == row:
            time_starts[row] = times
        else:
            time_starts[row] = time_starts[owner]
        for part in range(parts):
            value_places[row, part] = at
            at += lengths[row, part]
            if owner == row:
                time_lengths[row, part] = lengths[row, part]
                time_places[row, part] = times
                times += lengths[row, part]
        offsets[row + 1] = at
    return offsets, time_starts, value_places, time_lengths, time_places, times


@kernel(f"void({_INT64}, i8, {_MATRIX}, {_MATRIX}, {_MATRIX}, i8[::1])")
def place(source: Any, part: int, starts: Any, lengths: Any, places: Any, out: Any) -> None:
    """Copies the stretches of one part to their places."""
    for row in range(len(starts)):
        # Unsigned: an index that might be negative costs a check a sample.
        start, at = np.uint64(starts[row, part]), np.uint64(places[row, part])
        for i in range(np.uint64(lengths[row, part])):
            out[at + i] = source[start + i]


@kernel(f"void({_INT64}, {_INT64}, {_MATRIX}, {_MATRIX}, i8[::1], i8[::1], i8[::1])")
def merge_stretches(
    times: Any,
    values: Any,
    starts: Any,
    lengths: Any,
    out_times: Any,
    out_values: Any,
    out_offsets: Any,
) -> None:
    """Merges the stretches of each row by time; of equal times the first stretch's sample stays.

    Row r's stretch p is ``[starts[r, p], starts[r, p] + lengths[r, p])`` of both *times* and
    *values* (as bits). Fills ``out_offsets`` int64[rows + 1] and the two outputs, which must have
    room for every sample.
    """
    rows, parts = starts.shape
    made = 0
    out_offsets[0] = 0
    for r in range(rows):
        cursors = starts[r].copy()
        row_start = made
        while True:
            best = -1
            for p in range(parts):
                if cursors[p] < starts[r, p] + lengths[r, p] and (
                    best < 0 or times[cursors[p]] < times[cursors[best]]
                ):
                    best = p
            if best < 0:
                break
            if made == row_start or out_times[made - 1] < times[cursors[best]]:
                out_times[made] = times[cursors[best]]
                out_values[made] = values[cursors[best]]
                made += 1
            cursors[best] += 1
        out_offsets[r + 1] = made

"""Kernels of the View: putting the stretches of several parts together.

Where the rows of the answer stand in P parts and where they go is int64[FIELDS, P, rows]::

    LENGTHS        how many samples the part has of the row
    VALUE_STARTS   where its values begin in the part's batch
    TIME_STARTS    where its times begin there
    LAST_MS        the last of these times
    VALUE_PLACES   where the values go
    TIME_LENGTHS   how many times are copied: none where another row has the same
    TIME_PLACES    where these go
"""

from typing import Any

import numpy as np

from series.jit import kernel
from tsdb.stretch_helpers import number

_INT64 = "Array(i8, 1, 'C', True)"
_MATRIX = "Array(i8, 2, 'C', True)"
_STRETCHES = "Array(i8, 3, 'C', True)"

LENGTHS, VALUE_STARTS, TIME_STARTS, LAST_MS, VALUE_PLACES, TIME_LENGTHS, TIME_PLACES = range(7)
FIELDS = 7
BROKEN = np.iinfo(np.int64).max
"""The LAST_MS of a stretch that does not follow the one before."""


@kernel(f"i8({_INT64}, {_INT64}, {_INT64}, {_INT64}, i8, i8[:, :, ::1])")
def spread(
    rows: Any, offsets: Any, row_time_starts: Any, times: Any, part: int, stretches: Any
) -> int:
    """Enters where the rows of one part's batch stand, the first four of the fields.

    Row k of the batch is row ``rows[k]`` of the answer, whose *stretches* of the parts before are
    entered, and 0 all others. Returns how many begin before or at the end of those before them.
    """
    broken = 0
    for k in range(len(rows)):
        row = rows[k]
        length = offsets[k + 1] - offsets[k]
        if length == 0:
            continue
        start = row_time_starts[k]
        stretches[LENGTHS, part, row] = length
        stretches[VALUE_STARTS, part, row] = offsets[k]
        stretches[TIME_STARTS, part, row] = start
        stretches[LAST_MS, part, row] = times[start + length - 1]
        before = part - 1
        while before >= 0 and stretches[LENGTHS, before, row] == 0:
            before -= 1
        if before >= 0 and times[start] <= stretches[LAST_MS, before, row]:
            stretches[LAST_MS, part, row] = BROKEN
            broken += 1
    return broken


@kernel("i8(i8[:, :, ::1], i8[::1], i8[::1])")
def lay_end_to_end(stretches: Any, offsets: Any, time_starts: Any) -> int:
    """Places the stretches of each row one after the other: the last three of the fields.

    Fills ``offsets`` int64[rows + 1] and ``time_starts`` int64[rows] of the answer; rows whose
    times are the same in every part share them. Returns how many times there are.
    """
    _, parts, rows = stretches.shape
    marks = np.empty((rows, 2 * parts), np.int64)
    for row in range(rows):
        for part in range(parts):
            marks[row, part] = stretches[TIME_STARTS, part, row]
            marks[row, parts + part] = stretches[LENGTHS, part, row]
    ids = np.empty(rows, np.int64)
    firsts = np.empty(rows, np.int64)
    starts = np.arange(rows) * (2 * parts)
    number(marks.reshape(-1), starts, np.full(rows, 2 * parts), ids, firsts)
    times = 0
    offsets[0] = 0
    for row in range(rows):
        owner = firsts[ids[row]]
        at = offsets[row]
        time_starts[row] = times if owner == row else time_starts[owner]
        for part in range(parts):
            length = stretches[LENGTHS, part, row]
            stretches[VALUE_PLACES, part, row] = at
            at += length
            if owner == row:
                stretches[TIME_LENGTHS, part, row] = length
                stretches[TIME_PLACES, part, row] = times
                times += length
        offsets[row + 1] = at
    return int(times)


@kernel(f"void({_INT64}, i8, {_STRETCHES}, i8, i8, i8, i8[::1])")
def place(
    source: Any, part: int, stretches: Any, starts: int, lengths: int, places: int, out: Any
) -> None:
    """Copies the stretches of one part to their places; the fields that tell them are named."""
    for row in range(stretches.shape[2]):
        # Unsigned: an index that might be negative costs a check a sample.
        start = np.uint64(stretches[starts, part, row])
        at = np.uint64(stretches[places, part, row])
        for i in range(np.uint64(stretches[lengths, part, row])):
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

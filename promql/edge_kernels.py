"""Kernels of the ``anchored`` and ``smoothed`` selectors."""

import numpy as np
from numpy.typing import NDArray

from series.jit import helper, kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
B1 = NDArray[np.bool_]


@helper
def _between(
    values: F8, at: int, times_ms: I8, time_at: int, when_ms: int, is_counter: bool
) -> float:
    """The value at *when_ms* on the line from sample *at* to the next; a counter that fell
    between them counts from zero."""
    before, after = values[at], values[at + 1]
    if is_counter and after < before:
        before = 0.0
    span_ms = times_ms[time_at + 1] - times_ms[time_at]
    return float(before + (after - before) * (when_ms - times_ms[time_at]) / span_ms)


@kernel(
    "void(f8[::1], i8[::1], i8[::1], i4[:, ::1], i4[:, ::1], i8[::1], i8[::1], i8[::1], i8, "
    "b1, b1, b1, f8[:, ::1], b1[:, ::1])"
)
def edge_to_edge(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    ends_ms: I8,
    range_ms: int,
    smoothed: bool,
    is_counter: bool,
    is_rate: bool,
    out: F8,
    present: B1,
) -> None:
    """rate, increase (counters) and delta from one edge of the window to the other.

    Windows begin with the sample that gives the value at the left edge and end with that of the
    right edge; *smoothed* edges lie on lines between samples. No extrapolation.
    """
    for r in range(len(columns)):
        start, time_start, column = offsets[r], time_starts[r], columns[r]
        for k in range(len(ends_ms)):
            low, high = lows[column, k], highs[column, k]
            present[r, k] = high > low
            out[r, k] = 0.0
            if high <= low:
                continue
            end = ends_ms[k]
            begin = end - range_ms
            last = high - 1
            left, right = values[start + low], values[start + last]
            first_ms, last_ms = times_ms[time_start + low], times_ms[time_start + last]
            if smoothed and first_ms < begin:
                left = _between(values, start + low, times_ms, time_start + low, begin, is_counter)
            if smoothed and last > low and last_ms > end:
                right = _between(
                    values, start + last - 1, times_ms, time_start + last - 1, end, is_counter
                )
            result = right - left
            if is_counter:
                inner_low = low + 1 if first_ms <= begin else low
                inner_high = last if last_ms >= end else last + 1
                fallen, previous = 0.0, left
                for i in range(inner_low, inner_high):
                    if values[start + i] < previous:
                        fallen += previous
                    previous = values[start + i]
                if right < previous:
                    fallen += previous
                result += fallen
            out[r, k] = result / (range_ms / 1000.0) if is_rate else result


@kernel(
    "void(f8[::1], i8[::1], i8[::1], i4[:, ::1], i4[:, ::1], i8[::1], i8[::1], i8[::1], "
    "f8[:, ::1], b1[:, ::1])"
)
def interpolate(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    ends_ms: I8,
    out: F8,
    present: B1,
) -> None:
    """The value at each step on the line between its neighbours in the window.

    Without a later neighbour the earlier one's value goes on; without an earlier one there is none.
    """
    for r in range(len(columns)):
        start, time_start, column = offsets[r], time_starts[r], columns[r]
        for k in range(len(ends_ms)):
            low, high = lows[column, k], highs[column, k]
            at = low
            while at < high and times_ms[time_start + at] <= ends_ms[k]:
                at += 1
            at -= 1
            present[r, k] = at >= low
            out[r, k] = 0.0
            if at < low:
                continue
            out[r, k] = values[start + at]
            if at + 1 < high and times_ms[time_start + at] < ends_ms[k]:
                out[r, k] = _between(
                    values, start + at, times_ms, time_start + at, ends_ms[k], False
                )

"""Kernels over windows of samples: bounds, rates, extremes and switches.

All take one slab in CSR form and the bounds of its windows::

    row r     values[offsets[r] : offsets[r + 1]], times at time_starts[r]
    step k    the samples [low, high) of the row, low = lows[columns[r], k], high likewise

Bounds are computed once for every distinct column of times; neither lows nor highs ever fall
within a row. Each kernel fills ``out[S, T]`` and ``present[S, T]`` wholly. The order of operations
is that of promql/functions.go of Prometheus 3.14, so that results agree to the bit.
"""

import numpy as np
from numpy.typing import NDArray

from promql.kernel_helpers import longest_row
from series.jit import helper, kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
B1 = NDArray[np.bool_]

_WINDOWS = "f8[::1], i8[::1], i8[::1], i4[:, ::1], i4[:, ::1]"
_OUT = "f8[:, ::1], b1[:, ::1]"


@kernel("void(i8[::1], i8[::1], i8[::1], i8[::1], i8, i4[:, ::1], i4[:, ::1])")
def window_bounds(
    times_ms: I8, starts: I8, lengths: I8, ends_ms: I8, range_ms: int, lows: I4, highs: I4
) -> None:
    """For every column of times the samples with ``end - range < time <= end`` of each step.

    *ends_ms* never falls; column c is ``times_ms[starts[c] : starts[c] + lengths[c]]``.
    """
    for c in range(len(starts)):
        low = high = 0
        start, length = starts[c], lengths[c]
        for k in range(len(ends_ms)):
            end = ends_ms[k]
            while high < length and times_ms[start + high] <= end:
                high += 1
            while low < high and times_ms[start + low] <= end - range_ms:
                low += 1
            lows[c, k] = low
            highs[c, k] = high


@kernel("b1(u8[::1], u8)")
def holds(bits: NDArray[np.uint64], wanted: int) -> bool:
    """Whether *wanted* is among *bits*."""
    hits = 0
    for i in range(len(bits)):
        hits += bits[i] == wanted
    return hits > 0


@helper
def _resets(values: F8, start: int, length: int, resets: I8) -> int:
    """Writes where the row's values fall (the place after the fall); returns how often."""
    falls = 0
    for i in range(start + 1, start + length):
        falls += values[i] < values[i - 1]
    if falls == 0:
        return 0
    count = 0
    for i in range(1, length):
        if values[start + i] < values[start + i - 1]:
            resets[count] = i
            count += 1
    return count


@helper
def _spans(
    times_ms: I8, start: int, lows: I4, highs: I4, ends_ms: I8, range_ms: int, spans: F8
) -> None:
    """What extrapolation needs of one column's times, in seconds, at every step.

    ``spans[0]``: from the first sample to the last; ``spans[1]`` and ``spans[2]``: how far it may
    be extrapolated to the left and right edge.
    """
    for k in range(len(ends_ms)):
        low, high = lows[k], highs[k]
        if high - low < 2:
            continue
        first_ms, last_ms = times_ms[start + low], times_ms[start + high - 1]
        to_start = (first_ms - (ends_ms[k] - range_ms)) / 1000.0
        to_end = (ends_ms[k] - last_ms) / 1000.0
        sampled = (last_ms - first_ms) / 1000.0
        average = sampled / (high - low - 1)
        threshold = average * 1.1
        spans[0, k] = sampled
        spans[1, k] = average / 2.0 if to_start >= threshold else to_start
        spans[2, k] = average / 2.0 if to_end >= threshold else to_end


@kernel(f"void({_WINDOWS}, i8[::1], i8[::1], i8[::1], i8, b1, b1, {_OUT})")
def extrapolated_rate(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    ends_ms: I8,
    range_ms: int,
    is_counter: bool,
    is_rate: bool,
    out: F8,
    present: B1,
) -> None:
    """rate, increase (counters) and delta: the difference extrapolated to the window's edges."""
    steps = len(ends_ms)
    spans = np.empty((lows.shape[0], 3, steps))
    seen = np.zeros(lows.shape[0], dtype=np.bool_)
    resets = np.empty(longest_row(offsets), dtype=np.int64)
    divisor = range_ms / 1000.0 if is_rate else 1.0
    for r in range(len(columns)):
        start, column = offsets[r], columns[r]
        if not seen[column]:
            seen[column] = True
            of_column = spans[column]
            _spans(
                times_ms, time_starts[r], lows[column], highs[column], ends_ms, range_ms, of_column
            )
        reset_count = _resets(values, start, offsets[r + 1] - start, resets) if is_counter else 0
        first_reset = 0
        for k in range(steps):
            low, high = lows[column, k], highs[column, k]
            present[r, k] = high - low >= 2
            if high - low < 2:
                out[r, k] = 0.0
                continue
            first = values[start + low]
            result = values[start + high - 1] - first
            if reset_count > 0:
                while first_reset < reset_count and resets[first_reset] <= low:
                    first_reset += 1
                i = first_reset
                while i < reset_count and resets[i] < high:
                    result += values[start + resets[i] - 1]
                    i += 1
            sampled, to_start, to_end = (
                spans[column, 0, k],
                spans[column, 1, k],
                spans[column, 2, k],
            )
            # A counter does not start below zero. The first test, in which rounding has room,
            # spares the division where zero is out of reach.
            if (
                is_counter
                and result > 0.0
                and first >= 0.0
                and first * sampled <= result * to_start * 1.000001
            ):
                to_zero = sampled * (first / result)
                if to_zero < to_start:
                    to_start = to_zero
            factor = (sampled + to_start + to_end) / sampled
            out[r, k] = result * (factor / divisor)


@kernel(f"void({_WINDOWS}, i8[::1], i8[::1], b1, {_OUT})")
def instant_change(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    is_rate: bool,
    out: F8,
    present: B1,
) -> None:
    """irate (per second, a fall counts from zero) and idelta of the last two samples."""
    for r in range(len(columns)):
        start, time_start, column = offsets[r], time_starts[r], columns[r]
        for k in range(out.shape[1]):
            low, high = lows[column, k], highs[column, k]
            present[r, k] = high - low >= 2
            if high - low < 2:
                out[r, k] = 0.0
                continue
            last, previous = values[start + high - 1], values[start + high - 2]
            result = last
            if not is_rate or not last < previous:
                result = last - previous
            if is_rate:
                span_ms = times_ms[time_start + high - 1] - times_ms[time_start + high - 2]
                result /= span_ms / 1000.0
            out[r, k] = result


@kernel(f"void({_WINDOWS}, i8[::1], i8[::1], b1, b1, {_OUT})")
def extreme_over(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    largest: bool,
    when: bool,
    out: F8,
    present: B1,
) -> None:
    """The minimum or maximum of each window, or (*when*) the time of its last one in seconds.

    NaN loses against every number. A queue of candidates keeps the cost linear in the samples.
    """
    queue = np.empty(longest_row(offsets), dtype=np.int64)
    for r in range(len(columns)):
        start, time_start, column = offsets[r], time_starts[r], columns[r]
        head = tail = seen = 0
        for k in range(out.shape[1]):
            low, high = lows[column, k], highs[column, k]
            for i in range(max(seen, low), high):
                value = values[start + i]
                if value != value:
                    continue
                while tail > head:
                    back = values[start + queue[tail - 1]]
                    beaten = value > back if largest else value < back
                    # Of equals the first has the value, the last has the time.
                    if not (beaten or (when and value == back)):
                        break
                    tail -= 1
                queue[tail] = i
                tail += 1
            seen = max(seen, high)
            while head < tail and queue[head] < low:
                head += 1
            present[r, k] = high > low
            out[r, k] = 0.0
            if high > low:
                at = high - 1 if when else low
                if head < tail:
                    at = queue[head]
                out[r, k] = times_ms[time_start + at] / 1000.0 if when else values[start + at]


@kernel(f"void({_WINDOWS}, b1, {_OUT})")
def switches_over(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    only_falls: bool,
    out: F8,
    present: B1,
) -> None:
    """changes (NaN to NaN is none) or resets between neighbours, from running counts."""
    running = np.zeros(longest_row(offsets), dtype=np.int64)
    for r in range(len(columns)):
        start, column = offsets[r], columns[r]
        for i in range(1, offsets[r + 1] - start):
            value, previous = values[start + i], values[start + i - 1]
            if only_falls:
                switched = value < previous
            else:
                switched = value != previous and not (value != value and previous != previous)
            running[i] = running[i - 1] + (1 if switched else 0)
        for k in range(out.shape[1]):
            low, high = lows[column, k], highs[column, k]
            present[r, k] = high > low
            out[r, k] = float(running[high - 1] - running[low]) if high > low else 0.0

"""Kernels over windows of samples: bounds, rates and switches.

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
from series.jit import callee, helper, kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
B1 = NDArray[np.bool_]

_WINDOWS = "f8[::1], i8[::1], i8[::1], i4[:, ::1], i4[:, ::1]"
_OUT = "f8[:, ::1], b1[:, ::1]"


@helper
def _first_after(times_ms: I8, at: int, stride: int, end: int, bound: int) -> int:
    """The first of the times from *at* up to *end* that is above *bound*, else *end*.

    Mostly it stands *stride* behind *at*, as far as at the step before.
    """
    guess = at + stride
    if guess < end and times_ms[guess] > bound and (stride == 0 or times_ms[guess - 1] <= bound):
        return guess
    while at < end and times_ms[at] <= bound:
        at += 1
    return at


@helper
def _bound(
    times_ms: I8, starts: I8, lengths: I8, ends_ms: I8, range_ms: int, lows: I4, highs: I4
) -> None:
    """See ``window_bounds``."""
    for c in range(len(starts)):
        times = times_ms[starts[c] : starts[c] + lengths[c]]
        low = high = low_stride = high_stride = 0
        for k in range(len(ends_ms)):
            end = ends_ms[k]
            moved = _first_after(times, high, high_stride, len(times), end)
            high, high_stride = moved, moved - high
            moved = _first_after(times, low, low_stride, high, end - range_ms)
            low, low_stride = moved, moved - low
            lows[c, k] = low
            highs[c, k] = high


@kernel("void(i8[::1], i8[::1], i8[::1], i8[::1], i8, i4[:, ::1], i4[:, ::1])")
def window_bounds(
    times_ms: I8, starts: I8, lengths: I8, ends_ms: I8, range_ms: int, lows: I4, highs: I4
) -> None:
    """For every column of times the samples with ``end - range < time <= end`` of each step.

    *ends_ms* never falls; column c is ``times_ms[starts[c] : starts[c] + lengths[c]]``.
    """
    _bound(times_ms, starts, lengths, ends_ms, range_ms, lows, highs)


@kernel("b1(u8[::1], u8)")
def holds(bits: NDArray[np.uint64], wanted: int) -> bool:
    """Whether *wanted* is among *bits*."""
    hits = 0
    for i in range(len(bits)):
        hits += bits[i] == wanted
    return hits > 0


@helper
def _spans(
    times_ms: I8,
    start: int,
    lows: I4,
    highs: I4,
    ends_ms: I8,
    range_ms: int,
    divisor: float,
    spans: F8,
) -> bool:
    """What extrapolation needs of one column's times at every step, times in seconds.

    ``spans[0]``: from the first sample to the last; ``spans[1]`` and ``spans[2]``: how far it may
    be extrapolated to the left and right edge; ``spans[3]``: the factor where zero is out of reach.
    All 0 in windows of less than two samples; returns whether there are none such.
    """
    whole = True
    for k in range(len(ends_ms)):
        low, high = lows[k], highs[k]
        if high - low < 2:
            whole = False
            for i in range(4):
                spans[i, k] = 0.0
            continue
        first_ms, last_ms = times_ms[start + low], times_ms[start + high - 1]
        to_start = (first_ms - (ends_ms[k] - range_ms)) / 1000.0
        to_end = (ends_ms[k] - last_ms) / 1000.0
        sampled = (last_ms - first_ms) / 1000.0
        average = sampled / (high - low - 1)
        threshold = average * 1.1
        to_start = average / 2.0 if to_start >= threshold else to_start
        to_end = average / 2.0 if to_end >= threshold else to_end
        spans[0, k] = sampled
        spans[1, k] = to_start
        spans[2, k] = to_end
        spans[3, k] = (sampled + to_start + to_end) / sampled / divisor
    return whole


@helper
def _add_falls(
    values: F8, start: int, length: int, lows: I4, highs: I4, present: B1, resets: I8, out: F8
) -> None:
    """Adds to each window's difference what was lost by the falls within it."""
    count = 0
    for i in range(1, length):
        if values[start + i] < values[start + i - 1]:
            resets[count] = i  # the place after the fall
            count += 1
    begin = 0
    for k in range(len(out)):
        if not present[k]:
            continue
        while begin < count and resets[begin] <= lows[k]:
            begin += 1
        i = begin
        while i < count and resets[i] < highs[k]:
            out[k] += values[start + resets[i] - 1]
            i += 1


@helper
def _is_near(first: float, result: float, sampled: float, to_start: float) -> bool:
    """Whether a counter might be extrapolated to below zero, where it does not start.

    Rounding has room; where this is not so the division is spared that would tell.
    """
    return (result > 0.0) & (first >= 0.0) & (first * sampled <= result * to_start * 1.000001)


@helper
def _extrapolate_near_zero(firsts: F8, spans: F8, divisor: float, out: F8) -> None:
    for k in range(len(out)):
        first, result, sampled, to_start = firsts[k], out[k], spans[0, k], spans[1, k]
        out[k] = result * spans[3, k]
        if _is_near(first, result, sampled, to_start):
            to_zero = sampled * (first / result)
            if to_zero < to_start:
                out[k] = result * ((sampled + to_zero + spans[2, k]) / sampled / divisor)


@callee
def _extrapolate(
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
    """See ``extrapolated_rate``.

    Loops over the steps of most rows are without branches, so that several are taken at once.
    """
    steps = len(ends_ms)
    spans = np.empty((lows.shape[0], 4, steps))
    seen = np.zeros(lows.shape[0], dtype=np.bool_)
    whole = np.zeros(lows.shape[0], dtype=np.bool_)
    resets = np.empty(longest_row(offsets), dtype=np.int64)
    firsts = np.empty(steps)
    divisor = range_ms / 1000.0 if is_rate else 1.0
    for r in range(len(columns)):
        start, length, column = offsets[r], offsets[r + 1] - offsets[r], columns[r]
        if not seen[column]:
            seen[column] = True
            low, high = lows[column], highs[column]
            whole[column] = _spans(
                times_ms, time_starts[r], low, high, ends_ms, range_ms, divisor, spans[column]
            )
        at = np.uint64(start)
        if whole[column]:
            for k in range(steps):
                present[r, k] = True
                firsts[k] = values[at + np.uint32(lows[column, k])]
                out[r, k] = values[at + np.uint32(highs[column, k] - 1)] - firsts[k]
        else:
            for k in range(steps):
                filled = highs[column, k] - lows[column, k] >= 2
                present[r, k] = filled
                firsts[k] = values[at + np.uint32(lows[column, k])] if filled else 0.0
                last = values[at + np.uint32(highs[column, k] - 1)] if filled else 0.0
                out[r, k] = last - firsts[k]
        falls = near = 0
        if is_counter:
            for i in range(length - 1):
                falls += values[at + np.uint64(i + 1)] < values[at + np.uint64(i)]
            if falls > 0:
                low, high = lows[column], highs[column]
                _add_falls(values, start, length, low, high, present[r], resets, out[r])
            for k in range(steps):
                sampled, to_start = spans[column, 0, k], spans[column, 1, k]
                near += _is_near(firsts[k], out[r, k], sampled, to_start)
        if near > 0:
            _extrapolate_near_zero(firsts, spans[column], divisor, out[r])
        else:
            for k in range(steps):
                out[r, k] *= spans[column, 3, k]


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
    _extrapolate(
        values, offsets, columns, lows, highs, times_ms, time_starts, ends_ms, range_ms,
        is_counter, is_rate, out, present,
    )  # fmt: skip


@kernel("Tuple((f8, i8))(f8[::1], i8[::1], i8, i8, b1, b1, u8)")
def rate_at(
    values: F8,
    times_ms: I8,
    end_ms: int,
    range_ms: int,
    is_counter: bool,
    is_rate: bool,
    stale: int,
) -> tuple[float, int]:
    """``extrapolated_rate`` of one row's window that ends at *end_ms*: the value and how many
    samples are in the window; fewer than 2 have none. -1 of them where any of *values* is *stale*,
    which is for others to sort out.
    """
    bits = values.view(np.uint64)
    for i in range(len(bits)):
        if bits[i] == stale:
            return 0.0, -1
    one = np.zeros(1, dtype=np.int64)
    bounds = np.empty((2, 1, 1), dtype=np.int32)
    ends_ms = np.full(1, end_ms, dtype=np.int64)
    lengths = np.full(1, len(times_ms), dtype=np.int64)
    _bound(times_ms, one, lengths, ends_ms, range_ms, bounds[0], bounds[1])
    offsets = np.array([0, len(values)], dtype=np.int64)
    out = np.empty((1, 1))
    present = np.empty((1, 1), dtype=np.bool_)
    _extrapolate(
        values, offsets, one, bounds[0], bounds[1], times_ms, one, ends_ms, range_ms,
        is_counter, is_rate, out, present,
    )  # fmt: skip
    return out[0, 0], bounds[1, 0, 0] - bounds[0, 0, 0]


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

"""Kernels over windows of samples: sums, spread, lines and quantiles.

Windows are given as in ``rollup_kernels``: the samples ``[lows[columns[r], k], highs[columns[r],
k])`` of row r at step k. Each kernel fills ``out[S, T]`` and ``present[S, T]`` wholly, in the order
of operations of promql/functions.go of Prometheus 3.14.
"""

import math

import numpy as np
from numpy.typing import NDArray

from promql.kernel_helpers import kahan, longest_row
from series.jit import helper, kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
B1 = NDArray[np.bool_]

_WINDOWS = "f8[::1], i8[::1], i8[::1], i4[:, ::1], i4[:, ::1]"
_OUT = "f8[:, ::1], b1[:, ::1]"


@kernel(f"void({_WINDOWS}, b1, {_OUT})")
def sum_over(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    average: bool,
    out: F8,
    present: B1,
) -> None:
    """Kahan sum or mean; a mean whose sum overflows goes on as an incremental mean."""
    for r in range(len(columns)):
        start, column = offsets[r], columns[r]
        for k in range(out.shape[1]):
            low, high = lows[column, k], highs[column, k]
            present[r, k] = high > low
            total = c = mean = 0.0
            incremental = False
            for i in range(low, high):
                value = values[start + i]
                if not incremental:
                    new_total, new_c = kahan(value, total, c)
                    if not average or i == low or not math.isinf(new_total):
                        total, c = new_total, new_c
                        continue
                    incremental = True
                    mean = total / (i - low)
                    c /= i - low
                count = float(i - low + 1)
                q = (count - 1.0) / count
                mean, c = kahan(value / count, q * mean, q * c)
            count = float(high - low)
            if incremental:
                out[r, k] = mean + c
            elif average and high > low:
                out[r, k] = total / count + c / count
            elif math.isinf(total):
                out[r, k] = total
            else:
                out[r, k] = total + c


@kernel(f"void({_WINDOWS}, b1, {_OUT})")
def variance_over(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    deviation: bool,
    out: F8,
    present: B1,
) -> None:
    """Population variance, or its root, by Welford's method with Kahan sums."""
    for r in range(len(columns)):
        start, column = offsets[r], columns[r]
        for k in range(out.shape[1]):
            low, high = lows[column, k], highs[column, k]
            present[r, k] = high > low
            count = mean = c_mean = aux = c_aux = 0.0
            for i in range(low, high):
                value = values[start + i]
                count += 1.0
                delta = value - (mean + c_mean)
                mean, c_mean = kahan(delta / count, mean, c_mean)
                aux, c_aux = kahan(delta * (value - (mean + c_mean)), aux, c_aux)
            variance = (aux + c_aux) / count if high > low else 0.0
            out[r, k] = math.sqrt(variance) if deviation else variance


@kernel(f"void({_WINDOWS}, i8[::1], i8[::1], i8[::1], b1, f8[:, ::1], {_OUT})")
def regression_over(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    origins_ms: I8,
    from_first: bool,
    intercepts: F8,
    slopes: F8,
    present: B1,
) -> None:
    """Least squares over windows of two or more samples: slope per second and intercept.

    x counts from the step's ``origins_ms``, or from the window's first sample if *from_first*.
    """
    for r in range(len(columns)):
        start, time_start, column = offsets[r], time_starts[r], columns[r]
        for k in range(slopes.shape[1]):
            low, high = lows[column, k], highs[column, k]
            present[r, k] = high - low >= 2
            slopes[r, k] = intercepts[r, k] = 0.0
            if high - low < 2:
                continue
            origin = times_ms[time_start + low] if from_first else origins_ms[k]
            first = values[start + low]
            constant = True
            n = sum_x = c_x = sum_y = c_y = sum_xy = c_xy = sum_x2 = c_x2 = 0.0
            for i in range(low, high):
                y = values[start + i]
                if i > low and y != first:
                    constant = False
                n += 1.0
                x = (times_ms[time_start + i] - origin) / 1000.0
                sum_x, c_x = kahan(x, sum_x, c_x)
                sum_y, c_y = kahan(y, sum_y, c_y)
                sum_xy, c_xy = kahan(x * y, sum_xy, c_xy)
                sum_x2, c_x2 = kahan(x * x, sum_x2, c_x2)
            if constant:
                infinite = math.isinf(first)
                slopes[r, k] = np.nan if infinite else 0.0
                intercepts[r, k] = np.nan if infinite else first
                continue
            sum_x += c_x
            sum_y += c_y
            sum_xy += c_xy
            sum_x2 += c_x2
            slope = (sum_xy - sum_x * sum_y / n) / (sum_x2 - sum_x * sum_x / n)
            slopes[r, k] = slope
            intercepts[r, k] = sum_y / n - slope * sum_x / n


@kernel(f"void({_WINDOWS}, f8[::1], f8[::1], {_OUT})")
def smoothing_over(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    level_factors: F8,
    trend_factors: F8,
    out: F8,
    present: B1,
) -> None:
    """Double exponential smoothing (Holt) of windows of two or more samples."""
    for r in range(len(columns)):
        start, column = offsets[r], columns[r]
        for k in range(out.shape[1]):
            low, high = lows[column, k], highs[column, k]
            present[r, k] = high - low >= 2
            out[r, k] = 0.0
            if high - low < 2:
                continue
            sf, tf = level_factors[k], trend_factors[k]
            before = 0.0
            level = values[start + low]
            trend = values[start + low + 1] - level
            for i in range(low + 1, high):
                if i > low + 1:
                    trend = tf * (level - before) + (1.0 - tf) * trend
                scaled = sf * values[start + i]
                before, level = level, scaled + (1.0 - sf) * (level + trend)
            out[r, k] = level


_MOVES = 64
"""Steps of a sliding window that cost about as much as sorting it."""


@helper
def _sorted(window: F8, values: F8, start: int, end: int) -> tuple[int, int]:
    """Puts the numbers of ``values[start:end]`` in order into *window*; how many, how many NaN."""
    size = 0
    for i in range(start, end):
        if values[i] == values[i]:
            window[size] = values[i]
            size += 1
    window[:size] = np.sort(window[:size])
    return size, end - start - size


@helper
def _place(window: F8, size: int, value: float) -> int:
    """How many of the sorted ``window[:size]`` are less than *value*."""
    less = 0
    for i in range(size):
        less += window[i] < value
    return less


@helper
def _take_out(window: F8, at: int, size: int) -> None:
    """Closes the gap at *at* in a window of which *size* numbers are left."""
    # Unsigned places are never counted from the end, so that many are moved at once.
    place = np.uint64(at)
    for _ in range(size - at):
        window[place] = window[place + np.uint64(1)]
        place += np.uint64(1)


@helper
def _put_in(window: F8, at: int, size: int, value: float) -> None:
    """Puts *value* at *at* of a window of *size* numbers."""
    place = np.uint64(size)
    for _ in range(size - at):
        window[place] = window[place - np.uint64(1)]
        place -= np.uint64(1)
    window[at] = value


@helper
def _quantile(window: F8, size: int, nans: int, q: float) -> float:
    """The *q* quantile of the sorted ``window[:size]`` and, before them, as many NaN."""
    count = size + nans
    if count == 0 or q != q:
        return np.nan
    if q < 0.0:
        return -np.inf
    if q > 1.0:
        return np.inf
    rank = q * (count - 1.0)
    lower = int(max(0.0, math.floor(rank))) - nans
    upper = min(count - 1, lower + nans + 1) - nans
    if lower < 0:
        return np.nan
    weight = rank - math.floor(rank)
    return float(window[lower] * (1.0 - weight) + window[upper] * weight)


@kernel(f"void({_WINDOWS}, f8[::1], b1, {_OUT})")
def quantile_over(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    quantiles: F8,
    deviation: bool,
    out: F8,
    present: B1,
) -> None:
    """The quantile of each window, or (*deviation*) the median distance from it.

    The window is kept sorted while it slides, and sorted anew where it jumps.
    """
    window = np.empty(longest_row(offsets))
    distances = np.empty(longest_row(offsets))
    for r in range(len(columns)):
        start, column = offsets[r], columns[r]
        size = nans = from_low = from_high = 0
        for k in range(out.shape[1]):
            low, high = lows[column, k], highs[column, k]
            if low >= from_high:
                size = nans = 0
                from_low = from_high = low
            if (low - from_low) + (high - from_high) > _MOVES:
                size, nans = _sorted(window, values, start + low, start + high)
            else:
                for i in range(from_low, low):
                    value = values[start + i]
                    if value != value:
                        nans -= 1
                        continue
                    size -= 1
                    _take_out(window, _place(window, size + 1, value), size)
                for i in range(from_high, high):
                    value = values[start + i]
                    if value != value:
                        nans += 1
                        continue
                    _put_in(window, _place(window, size, value), size, value)
                    size += 1
            from_low, from_high = low, max(from_high, high)
            present[r, k] = high > low
            out[r, k] = _quantile(window, size, nans, quantiles[k])
            if deviation and size > 0:
                # Where there is a NaN, the median and so all distances are NaN.
                for i in range(size):
                    distances[i] = abs(window[i] - out[r, k])
                ordered = np.sort(distances[:size])
                nan = nans > 0 or out[r, k] != out[r, k]
                out[r, k] = np.nan if nan else _quantile(ordered, size, 0, 0.5)

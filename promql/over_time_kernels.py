"""Kernels over windows of samples: sums, spread and lines.

Windows are given as in ``rollup_kernels``: the samples ``[lows[columns[r], k], highs[columns[r],
k])`` of row r at step k. Each kernel fills ``out[S, T]`` and ``present[S, T]`` wholly, in the order
of operations of promql/functions.go of Prometheus 3.14.
"""

import math

import numpy as np
from numpy.typing import NDArray

from promql.kernel_helpers import kahan
from series.jit import kernel

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

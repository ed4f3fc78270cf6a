"""Kernels of functions of native histograms: quantiles, fractions, variances.

Element i is histogram ``ids[i]`` of the pool. The rules are those of HistogramQuantile and
HistogramFraction in promql/quantile.go and of histogramVariance in promql/functions.go of
Prometheus 3.14.
"""

import math

import numpy as np
from numpy.typing import NDArray

from promql.bucket_helpers import longest, walk
from promql.histogram_helpers import (
    COUNTS,
    OFFSETS,
    POOL,
    POSITIONS,
    SCHEMAS,
    SUMS,
    Pool,
)
from promql.kernel_helpers import kahan
from promql.log_helpers import go_exp2, go_log2
from series.histogram import CUSTOM_SCHEMA
from series.jit import helper, kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
U1 = NDArray[np.uint8]

NAN_RESULT, NAN_SKEWED, NAN_EXCLUDED = 1, 2, 3
"""What is said of histograms with NaN observations."""


@helper
def _zero_edges(pool: Pool, at: int, lower: float, upper: float) -> tuple[float, float]:
    """The zero bucket's bounds, one of them 0 where the histogram has one kind of buckets only."""
    start, end = pool[OFFSETS][at], pool[OFFSETS][at + 1]
    if start < end:
        if pool[POSITIONS][start] > 0:
            return 0.0, upper
        if pool[POSITIONS][end - 1] < 0:
            return lower, 0.0
    return lower, upper


@helper
def _quantile(
    pool: Pool, at: int, q: float, lowers: F8, uppers: F8, counts: F8
) -> tuple[float, int]:
    """The quantile of one histogram, and what is to be said of it."""
    total, nan = pool[COUNTS][at], np.isnan(pool[SUMS][at])
    custom = pool[SCHEMAS][at] == CUSTOM_SCHEMA
    if q < 0:
        return -np.inf, 0
    if q > 1:
        return np.inf, 0
    if total == 0 or np.isnan(q):
        return np.nan, 0
    n, _ = walk(pool, at, lowers, uppers, counts, False)
    forward = nan or q < 0.5
    rank = q * total if forward else (1 - q) * total
    lower = upper = here = count = 0.0
    visited = 0
    while visited < n:
        i = visited if forward else n - 1 - visited
        visited += 1
        lower, upper, here = lowers[i], uppers[i], counts[i]
        if here == 0:
            continue
        count += here
        if count >= rank:
            break
    if custom:
        if lower == -np.inf:
            if upper <= 0:
                return upper, 0
            lower = 0.0
        elif upper == np.inf:
            return lower, 0
    elif lower < 0 and upper > 0:
        lower, upper = _zero_edges(pool, at, lower, upper)
    count = min(count, total)
    if count < rank:
        return (np.nan, NAN_RESULT) if nan else (upper, 0)
    rank = rank - (count - here) if forward else count - rank
    said = 0
    if nan:
        while visited < n:
            count += counts[visited]
            visited += 1
        if count < total:
            said = NAN_SKEWED
    fraction = rank / here
    if custom or (lower <= 0 and upper >= 0):
        return lower + (upper - lower) * fraction, said
    log_lower, log_upper = go_log2(abs(lower)), go_log2(abs(upper))
    if lower > 0:
        return go_exp2(log_lower + (log_upper - log_lower) * fraction), said
    return -go_exp2(log_upper + (log_lower - log_upper) * (1 - fraction)), said


@kernel(f"void({POOL}, i8[::1], f8[::1], f8[::1], u1[::1])")
def native_quantiles(pool: Pool, ids: I8, q: F8, out: F8, said: U1) -> None:
    """``out[i]`` = the quantile ``q[i]``; ``said[i]`` 0, NAN_RESULT or NAN_SKEWED."""
    room = longest(pool[OFFSETS]) + 1
    lowers, uppers, counts = np.empty(room), np.empty(room), np.empty(room)
    for i in range(len(ids)):
        out[i], said[i] = _quantile(pool, ids[i], q[i], lowers, uppers, counts)


@helper
def _rank_within(
    bound: float, rank: float, count: float, lower: float, upper: float, linear: bool
) -> float:
    """About how many observations lie below *bound*, which is within the bucket."""
    if linear:
        if lower == -np.inf:
            return count
        return rank + count * (bound - lower) / (upper - lower)
    log_lower, log_upper = go_log2(abs(lower)), go_log2(abs(upper))
    log_bound = go_log2(abs(bound))
    if bound > 0:
        fraction = (log_bound - log_lower) / (log_upper - log_lower)
    else:
        fraction = 1 - ((log_bound - log_upper) / (log_lower - log_upper))
    return rank + count * fraction


@helper
def _rank_below(
    pool: Pool, at: int, bound: float, n: int, lowers: F8, uppers: F8, counts: F8
) -> tuple[float, bool]:
    """About how many observations lie below *bound*; False where it is beyond all buckets."""
    custom = pool[SCHEMAS][at] == CUSTOM_SCHEMA
    rank = 0.0
    for i in range(n):
        lower, upper = lowers[i], uppers[i]
        zero = lower <= 0 and upper >= 0
        if zero:
            lower, upper = _zero_edges(pool, at, lower, upper)
        if lower >= bound:
            return rank, True
        if upper > bound:
            return _rank_within(bound, rank, counts[i], lower, upper, custom or zero), True
        rank += counts[i]
    return rank, False


@kernel(f"void({POOL}, i8[::1], f8[::1], f8[::1], f8[::1], u1[::1])")
def native_fractions(pool: Pool, ids: I8, lowest: F8, highest: F8, out: F8, said: U1) -> None:
    """``out[i]`` = the share of observations in between; ``said[i]`` 0 or NAN_EXCLUDED."""
    room = longest(pool[OFFSETS]) + 1
    lowers, uppers, counts = np.empty(room), np.empty(room), np.empty(room)
    for i in range(len(ids)):
        at, low, high = ids[i], lowest[i], highest[i]
        total = pool[COUNTS][at]
        said[i] = 0
        if total == 0 or np.isnan(low) or np.isnan(high):
            out[i] = np.nan
            continue
        if low >= high:
            out[i] = 0.0
            continue
        n, _ = walk(pool, at, lowers, uppers, counts, False)
        count = total
        if np.isnan(pool[SUMS][at]):
            count = 0.0
            for k in range(n):
                count += counts[k]
            said[i] = NAN_EXCLUDED if count < total else 0
        below_low, low_within = _rank_below(pool, at, low, n, lowers, uppers, counts)
        below_high, high_within = _rank_below(pool, at, high, n, lowers, uppers, counts)
        if not low_within or below_low > count:
            below_low = count
        if not high_within or below_high > count:
            below_high = count
        out[i] = (below_high - below_low) / total


@kernel(f"void({POOL}, i8[::1], b1, f8[::1])")
def native_variances(pool: Pool, ids: I8, root: bool, out: F8) -> None:
    """``out[i]`` = the variance, or its square *root*."""
    room = longest(pool[OFFSETS]) + 1
    lowers, uppers, counts = np.empty(room), np.empty(room), np.empty(room)
    for i in range(len(ids)):
        at = ids[i]
        n, _ = walk(pool, at, lowers, uppers, counts, False)
        custom = pool[SCHEMAS][at] == CUSTOM_SCHEMA
        mean = pool[SUMS][at] / pool[COUNTS][at]
        variance = c = 0.0
        for k in range(n):
            lower, upper = lowers[k], uppers[k]
            if counts[k] == 0:
                continue
            if custom:
                value = (upper + lower) / 2.0
            elif lower <= 0 and upper >= 0:
                value = 0.0
            else:
                value = math.sqrt(upper * lower)
                if upper < 0:
                    value = -value
            delta = value - mean
            variance, c = kahan(counts[k] * delta * delta, variance, c)
        variance = (variance + c) / pool[COUNTS][at]
        out[i] = math.sqrt(variance) if root else variance

"""Kernel of the trim operators ``</`` and ``>/``: a histogram without what lies beyond a bound.

The rules are those of TrimBuckets in model/histogram/float_histogram.go of Prometheus 3.14: the
bucket that the bound cuts is interpolated, and where anything went, count and sum are made anew
from the buckets. They are added up in its order: positive buckets, negative ones, both away from
zero, then the zero bucket.
"""

import math

import numpy as np
from numpy.typing import NDArray

from promql.bucket_helpers import bucket_bounds
from promql.histogram_helpers import (
    BOUND_OFFSETS,
    BOUNDS,
    BUCKETS,
    COUNTS,
    HINTS,
    OFFSETS,
    POOL,
    POSITIONS,
    SCHEMAS,
    SUMS,
    THRESHOLDS,
    ZEROS,
    Pool,
    negative_end,
)
from promql.log_helpers import go_log2
from series.histogram import CUSTOM_SCHEMA
from series.jit import helper, kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]


@helper
def _midpoint(lower: float, upper: float, positive: bool, linear: bool) -> float:
    """What stands for the observations between two bounds."""
    if np.isinf(lower):
        if np.isinf(upper):
            return 0.0
        return upper / 2 if upper > 0 else upper
    if np.isinf(upper):
        return lower
    if linear:
        return (lower + upper) / 2
    mean = math.sqrt(abs(lower * upper))
    return mean if positive else -mean


@helper
def _finite(bound: float) -> float:
    return 0.0 if np.isinf(bound) else bound


@helper
def _split_endless(
    lower: float, upper: float, count: float, bound: float, below: bool
) -> tuple[float, float]:
    """What is kept of a custom bucket without a lower or an upper bound, and its midpoint."""
    if lower == -np.inf:
        if below:
            if bound >= upper:
                return count, 0.0
            if bound > 0 and upper > 0 and upper != np.inf:
                return count * bound / upper, bound / 2
            if upper <= 0:
                return count, bound
            return 0.0, _finite(upper)
        if bound <= lower:
            return count, 0.0
        if bound >= 0 and upper > bound and upper != np.inf:
            return count * (1 - bound / upper), (bound + upper) / 2
        return 0.0, _finite(upper)
    if below or bound < lower:
        return 0.0, _finite(lower)
    return count, bound


@helper
def _split(
    lower: float, upper: float, count: float, bound: float, below: bool, positive: bool,
    linear: bool,
) -> tuple[float, float]:  # fmt: skip
    """What is kept of a bucket that the bound cuts, and its midpoint."""
    if lower == -np.inf or upper == np.inf:
        return _split_endless(lower, upper, count, bound, below)
    if linear:
        fraction = (bound - lower) / (upper - lower)
    else:
        log_lower, log_upper = go_log2(abs(lower)), go_log2(abs(upper))
        log_bound = go_log2(abs(bound))
        if positive:
            fraction = (log_bound - log_lower) / (log_upper - log_lower)
        else:
            fraction = 1 - ((log_bound - log_upper) / (log_lower - log_upper))
    under = count * fraction
    if below:
        return under, _midpoint(lower, bound, positive, linear)
    return count - under, _midpoint(bound, upper, positive, linear)


@helper
def _split_zero(
    lower: float, upper: float, count: float, bound: float, below: bool
) -> tuple[float, float]:
    """What is kept of the zero bucket, and its midpoint."""
    if below:
        if bound <= lower:
            return 0.0, 0.0
        if bound >= upper:
            return count, (lower + upper) / 2
        return count * ((bound - lower) / (upper - lower)), (lower + bound) / 2
    if bound <= lower:
        return count, (lower + upper) / 2
    if bound >= upper:
        return 0.0, 0.0
    return count * ((upper - bound) / (upper - lower)), (bound + upper) / 2


@kernel(f"void({POOL}, i8[::1], f8[::1], b1, {POOL})")
def trimmed(pool: Pool, ids: I8, bounds: F8, below: bool, out: Pool) -> None:
    """``out[i]`` = what of histogram ``ids[i]`` lies *below* ``bounds[i]``, else above it."""
    for i in range(len(ids)):
        at, bound = ids[i], bounds[i]
        custom = pool[SCHEMAS][at] == CUSTOM_SCHEMA
        start, end = pool[OFFSETS][at], pool[OFFSETS][at + 1]
        shift = out[OFFSETS][i] - start
        middle = negative_end(pool[POSITIONS], start, end)
        count = total = 0.0
        touched = has_positive = has_negative = False
        for k in range(end - start):
            source = middle + k if middle + k < end else end - 1 - k
            positive = source >= middle
            here = pool[BUCKETS][source]
            out[POSITIONS][source + shift] = pool[POSITIONS][source]
            out[BUCKETS][source + shift] = here
            if here == 0:
                continue
            has_positive |= positive
            has_negative |= not positive
            lower, upper = bucket_bounds(pool, at, source)
            if upper <= bound if below else lower >= bound:
                count += here
                total += _midpoint(lower, upper, positive, custom) * here
            elif lower < bound if below else upper > bound:
                kept, midpoint = _split(lower, upper, here, bound, below, positive, custom)
                count += kept
                total += midpoint * kept
                touched |= kept != here
                out[BUCKETS][source + shift] = kept
            else:
                touched = True
                out[BUCKETS][source + shift] = 0.0
        zero = pool[ZEROS][at]
        if zero > 0:
            lower, upper = -pool[THRESHOLDS][at], pool[THRESHOLDS][at]
            if has_negative and not has_positive:
                upper = 0.0
            if has_positive and not has_negative:
                lower = 0.0
            kept, midpoint = _split_zero(lower, upper, zero, bound, below)
            touched |= kept != zero
            zero = kept
            total += midpoint * kept
            count += kept
        size = end - start
        if touched:
            size = 0
            for k in range(start + shift, end + shift):
                if out[BUCKETS][k] != 0:
                    out[POSITIONS][start + shift + size] = out[POSITIONS][k]
                    out[BUCKETS][start + shift + size] = out[BUCKETS][k]
                    size += 1
        out[OFFSETS][i + 1] = out[OFFSETS][i] + size
        out[SCHEMAS][i] = pool[SCHEMAS][at]
        out[HINTS][i] = pool[HINTS][at]
        out[COUNTS][i] = count if touched else pool[COUNTS][at]
        out[SUMS][i] = total if touched else pool[SUMS][at]
        out[THRESHOLDS][i] = pool[THRESHOLDS][at]
        out[ZEROS][i] = zero
        bound_start, bound_end = pool[BOUND_OFFSETS][at], pool[BOUND_OFFSETS][at + 1]
        first = out[BOUND_OFFSETS][i]
        for k in range(bound_end - bound_start):
            out[BOUNDS][first + k] = pool[BOUNDS][bound_start + k]
        out[BOUND_OFFSETS][i + 1] = first + bound_end - bound_start

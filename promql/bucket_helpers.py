"""The buckets of native histograms with their bounds, in ascending order, for kernels.

As AllBucketIterator of Prometheus 3.14 walks them: negative buckets, the zero bucket where it
counts anything, positive buckets. A bucket that begins within the zero bucket begins where that
ends. Pools are those of ``histogram_helpers``.
"""

import numpy as np
from numpy.typing import NDArray

from promql.histogram_helpers import (
    BOUND_OFFSETS,
    BOUNDS,
    BUCKETS,
    OFFSETS,
    POSITIONS,
    SCHEMAS,
    THRESHOLDS,
    ZEROS,
    Pool,
    upper_bound,
)
from series.histogram import CUSTOM_SCHEMA, OFFSET
from series.jit import helper

F8 = NDArray[np.float64]


@helper
def bucket_bounds(pool: Pool, at: int, i: int) -> tuple[float, float]:
    """Lower and upper bound of bucket *i* (of all in the pool), which histogram *at* has."""
    position = pool[POSITIONS][i]
    schema = pool[SCHEMAS][at]
    index = abs(position) - OFFSET
    if schema == CUSTOM_SCHEMA:
        start, end = pool[BOUND_OFFSETS][at], pool[BOUND_OFFSETS][at + 1]
        lower = -np.inf if index <= 0 else pool[BOUNDS][start + index - 1]
        upper = np.inf if start + index >= end else pool[BOUNDS][start + index]
        return lower, upper
    if position < 0:
        return -upper_bound(index, schema), -upper_bound(index - 1, schema)
    return upper_bound(index - 1, schema), upper_bound(index, schema)


@helper
def walk(
    pool: Pool, at: int, lowers: F8, uppers: F8, counts: F8, below_zero: bool
) -> tuple[int, int]:
    """Writes the buckets of histogram *at*, empty ones too.

    A zero bucket that counts less than nothing, as differences may, is written where *below_zero*.

    Returns how many, and which of them is the zero bucket (-1: none). The three arrays have room
    for one more than the histogram has.
    """
    threshold = pool[THRESHOLDS][at]
    n = 0
    zero = -1
    waiting = pool[ZEROS][at] > 0 or (below_zero and pool[ZEROS][at] < 0)
    for i in range(pool[OFFSETS][at], pool[OFFSETS][at + 1]):
        if waiting and pool[POSITIONS][i] > 0:
            lowers[n], uppers[n], counts[n] = -threshold, threshold, pool[ZEROS][at]
            zero, waiting = n, False
            n += 1
        lower, upper = bucket_bounds(pool, at, i)
        if upper < 0 and upper > -threshold:
            upper = -threshold
        elif lower > 0 and lower < threshold:
            lower = threshold
        lowers[n], uppers[n], counts[n] = lower, upper, pool[BUCKETS][i]
        n += 1
    if waiting:
        lowers[n], uppers[n], counts[n] = -threshold, threshold, pool[ZEROS][at]
        zero = n
        n += 1
    return n, zero


@helper
def longest(offsets: NDArray[np.int64]) -> int:
    """The most buckets that a histogram has."""
    most = 0
    for at in range(len(offsets) - 1):
        most = max(most, offsets[at + 1] - offsets[at])
    return most

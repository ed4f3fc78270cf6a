"""Kernels of arithmetic with native histograms, pair by pair over whole batches."""

import numpy as np
from numpy.typing import NDArray

from promql.adding_helpers import add_any, reduce_total
from promql.histogram_helpers import (
    BOUND_OFFSETS,
    BOUNDS,
    BUCKETS,
    COUNTS,
    OFFSETS,
    POOL,
    POSITIONS,
    SCHEMAS,
    SUMS,
    THRESHOLDS,
    ZEROS,
    Pool,
    load,
    new_total,
    store,
)
from promql.reset_helpers import detect_reset
from series.jit import kernel

I8 = NDArray[np.int64]
B1 = NDArray[np.bool_]

_BITS = (
    "Tuple((i4[::1], u1[::1], i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], i4[::1], i8[::1], "
    "i8[::1], i8[::1]))"
)


@kernel(f"void({POOL}, i8[::1], {POOL}, i8[::1], f8, i8, i8, {POOL}, u1[::1])")
def combined(
    left: Pool,
    left_ids: I8,
    right: Pool,
    right_ids: I8,
    sign: float,
    buckets: int,
    bounds: int,
    out: Pool,
    flags: NDArray[np.uint8],
) -> None:
    """``left + sign * right`` pair by pair into *out*, with the flags of ``histogram_helpers``.

    *buckets* and *bounds* are the most that a pair has together. Incompatible pairs give the left
    histogram.
    """
    total = new_total(buckets, bounds)
    for i in range(len(left_ids)):
        load(total, left, left_ids[i])
        flags[i] = add_any(total, right, right_ids[i], sign, False)
        store(total, out, i)


@kernel(f"void({_BITS}, i8[::1], {_BITS}, i8[::1], b1[::1])")
def equals(left: Pool, left_ids: I8, right: Pool, right_ids: I8, out: B1) -> None:
    """Whether pairs are the same bit for bit, their hints apart; float columns come as int64."""
    for i in range(len(left_ids)):
        a, b = left_ids[i], right_ids[i]
        same = (
            left[SCHEMAS][a] == right[SCHEMAS][b]
            and left[COUNTS][a] == right[COUNTS][b]
            and left[SUMS][a] == right[SUMS][b]
            and left[THRESHOLDS][a] == right[THRESHOLDS][b]
            and left[ZEROS][a] == right[ZEROS][b]
        )
        start, size = left[OFFSETS][a], left[OFFSETS][a + 1] - left[OFFSETS][a]
        other = right[OFFSETS][b]
        same = same and size == right[OFFSETS][b + 1] - other
        if same:
            for j in range(size):
                same &= left[POSITIONS][start + j] == right[POSITIONS][other + j]
                same &= left[BUCKETS][start + j] == right[BUCKETS][other + j]
        start, size = left[BOUND_OFFSETS][a], left[BOUND_OFFSETS][a + 1] - left[BOUND_OFFSETS][a]
        other = right[BOUND_OFFSETS][b]
        same = same and size == right[BOUND_OFFSETS][b + 1] - other
        if same:
            for j in range(size):
                same &= left[BOUNDS][start + j] == right[BOUNDS][other + j]
        out[i] = same


@kernel(f"void({POOL}, i8[::1], {POOL}, i8[::1], b1[::1])")
def resets(previous: Pool, before: I8, current: Pool, after: I8, out: B1) -> None:
    """Whether a counter was reset between the histograms of each pair."""
    for i in range(len(before)):
        out[i] = detect_reset(previous, before[i], current, after[i])


@kernel("void(i8[::1], i4[::1], i8[::1], i8[::1])")
def weights(offsets: I8, positions: NDArray[np.int32], bound_offsets: I8, out: I8) -> None:
    """How many float samples each histogram counts as, see ``histograms.sample_weights``."""
    for h in range(len(out)):
        start, end = offsets[h], offsets[h + 1]
        spans = min(end - start, 1)
        for i in range(start + 1, end):
            spans += positions[i] != positions[i - 1] + 1
        bounds = bound_offsets[h + 1] - bound_offsets[h]
        # A FloatHistogram takes 168 bytes and 8 more a span, bucket or bound; a time takes 8.
        out[h] = (176 + 8 * (spans + end - start + bounds)) // 16


@kernel(f"void({POOL}, i8[::1], {POOL})")
def reduced(pool: Pool, schemas: I8, out: Pool) -> None:
    """Every histogram of *pool* in a schema that is as coarse or coarser (custom ones as is)."""
    longest = 0
    longest_bounds = 0
    for i in range(len(schemas)):
        longest = max(longest, pool[OFFSETS][i + 1] - pool[OFFSETS][i])
        longest_bounds = max(longest_bounds, pool[BOUND_OFFSETS][i + 1] - pool[BOUND_OFFSETS][i])
    total = new_total(longest, longest_bounds)
    for i in range(len(schemas)):
        load(total, pool, i)
        if schemas[i] < pool[SCHEMAS][i]:
            reduce_total(total, schemas[i])
        store(total, out, i)

"""The sum of native histograms, for kernels: one histogram added to a total.

Source: Add, Sub and KahanAdd of model/histogram/float_histogram.go of Prometheus 3.14.
"""

import numpy as np
from numpy.typing import NDArray

from promql.histogram_helpers import (
    BOUND_COUNT,
    BOUND_OFFSETS,
    BOUNDS,
    BUCKETS,
    C_COUNT,
    C_SUM,
    C_ZERO,
    CONFLICT,
    COUNT,
    COUNTS,
    HINT,
    HINTS,
    INCOMPATIBLE,
    OFFSETS,
    POSITIONS,
    RECONCILED,
    SCHEMA,
    SCHEMAS,
    SIZE,
    SUM,
    SUMS,
    THRESHOLD,
    THRESHOLDS,
    ZERO,
    ZEROS,
    Pool,
    Total,
    coarser,
    compact,
    inc,
    negative_end,
    same_bounds,
    upper_bound,
    widened_zero,
)
from series.histogram import CUSTOM_SCHEMA, GAUGE, OFFSET, UNKNOWN
from series.jit import callee, helper

F8 = NDArray[np.float64]
I4 = NDArray[np.int32]


@helper
def _trim_zero(total: Total) -> None:
    """Drops the buckets that begin below the zero threshold, and all empty ones."""
    state, numbers, positions, values, _, _, _, _, _ = total
    for i in range(state[SIZE]):
        index = abs(positions[i]) - OFFSET
        if not upper_bound(index - 1, state[SCHEMA]) >= numbers[THRESHOLD]:
            values[i] = 0.0
    compact(total)


@callee
def _reconcile_zero(total: Total, pool: Pool, at: int, compensated: bool) -> float:
    """Widens the zero bucket of *total* until it fits both; the zero count of the other then."""
    state, numbers, positions, values, cs, _, _, _, _ = total
    start, end = pool[OFFSETS][at], pool[OFFSETS][at + 1]
    other, other_threshold = pool[ZEROS][at], pool[THRESHOLDS][at]
    while other_threshold < numbers[THRESHOLD] or other_threshold > numbers[THRESHOLD]:
        if numbers[THRESHOLD] > other_threshold:
            other, _, other_threshold = widened_zero(
                pool[POSITIONS],
                pool[BUCKETS],
                cs,
                start,
                end,
                pool[SCHEMAS][at],
                pool[ZEROS][at],
                0.0,
                numbers[THRESHOLD],
                False,
            )
        if other_threshold > numbers[THRESHOLD]:
            numbers[ZERO], numbers[C_ZERO], numbers[THRESHOLD] = widened_zero(
                positions,
                values,
                cs,
                0,
                state[SIZE],
                state[SCHEMA],
                numbers[ZERO],
                numbers[C_ZERO],
                other_threshold,
                compensated,
            )
            _trim_zero(total)
    return float(other)


@callee
def reduce_total(total: Total, schema: int) -> None:
    """Merges the buckets of *total* into those of a coarser *schema*."""
    state, _, positions, values, cs, _, _, _, _ = total
    halvings = state[SCHEMA] - schema
    kept = i = 0
    while i < state[SIZE]:
        position = coarser(positions[i], halvings)
        end = i + 1
        while end < state[SIZE] and coarser(positions[end], halvings) == position:
            end += 1
        if position < 0:
            value, c = values[end - 1], cs[end - 1]
            for j in range(end - 2, i - 1, -1):
                value, c = inc(values[j], value, c)
                c += cs[j]
        else:
            value, c = values[i], cs[i]
            for j in range(i + 1, end):
                value, c = inc(values[j], value, c)
                c += cs[j]
        positions[kept] = position
        values[kept] = value
        cs[kept] = c
        kept += 1
        i = end
    state[SIZE] = kept
    state[SCHEMA] = schema


@callee
def _reduced(total: Total, pool: Pool, at: int) -> int:
    """The buckets of the other as those of *total* see them, into its work space; how many.

    They have its schema, and those that the zero bucket of *total* covers are left out.
    """
    state, numbers, _, _, _, _, positions, values, _ = total
    start, end = pool[OFFSETS][at], pool[OFFSETS][at + 1]
    halvings = pool[SCHEMAS][at] - state[SCHEMA]
    kept = 0
    i = start
    while i < end:
        position = coarser(pool[POSITIONS][i], halvings)
        stop = i + 1
        while stop < end and coarser(pool[POSITIONS][stop], halvings) == position:
            stop += 1
        if position < 0:
            value = pool[BUCKETS][stop - 1]
            for j in range(stop - 2, i - 1, -1):
                value += pool[BUCKETS][j]
        else:
            value = pool[BUCKETS][i]
            for j in range(i + 1, stop):
                value += pool[BUCKETS][j]
        i = stop
        if not upper_bound(abs(position) - OFFSET, state[SCHEMA]) <= numbers[THRESHOLD]:
            positions[kept] = position
            values[kept] = value
            kept += 1
    return kept


@callee
def _merge(
    total: Total, others: I4, amounts: F8, start: int, end: int, sign: float, compensated: bool
) -> None:
    """Adds the buckets ``others[start:end]``, which rise as those of *total*, times *sign*."""
    state, _, positions, values, cs, _, _, _, _ = total
    size = state[SIZE]
    if size == end - start:
        theirs, more = others[start:end], amounts[start:end]
        differing = 0
        for i in range(len(theirs)):
            differing += positions[i] != theirs[i]
        if differing == 0:
            if compensated:
                for i in range(len(more)):
                    values[i], cs[i] = inc(sign * more[i], values[i], cs[i])
            else:
                for i in range(len(more)):
                    values[i] += sign * more[i]
            return
    new = 0
    i = 0
    for j in range(start, end):
        while i < size and positions[i] < others[j]:
            i += 1
        if i >= size or positions[i] != others[j]:
            new += 1
    # From behind, so that nothing is overwritten before it has moved.
    to = size + new - 1
    i = size - 1
    j = end - 1
    while j >= start:
        if i >= 0 and positions[i] > others[j]:
            positions[to], values[to], cs[to] = positions[i], values[i], cs[i]
            i -= 1
        elif i >= 0 and positions[i] == others[j]:
            value, c = inc(sign * amounts[j], values[i], cs[i])
            positions[to], values[to], cs[to] = positions[i], value, c
            i -= 1
            j -= 1
        else:
            positions[to], values[to], cs[to] = others[j], sign * amounts[j], 0.0
            j -= 1
        to -= 1
    state[SIZE] = size + new


@helper
def _target(bounds: F8, size: int, start: int, bound: float) -> int:
    """The first of ``bounds[start:size]`` that is not below *bound*, else *size*."""
    while start < size and bounds[start] < bound:
        start += 1
    return start


@callee
def _add_mismatched(total: Total, pool: Pool, at: int, sign: float, only_bounds: bool) -> None:
    """Adds a histogram with other custom bounds: both get the bounds that they have in common.

    *only_bounds*: as if it had no bucket.
    """
    state, _, positions, values, cs, bounds, _, _, common = total
    start = pool[OFFSETS][at]
    end = start if only_bounds else pool[OFFSETS][at + 1]
    bound_start = pool[BOUND_OFFSETS][at]
    other_size = pool[BOUND_OFFSETS][at + 1] - bound_start
    i = j = shared = 0
    while i < state[BOUND_COUNT] and j < other_size:
        a, b = bounds[i], pool[BOUNDS][bound_start + j]
        if a == b:
            common[shared] = a
            shared += 1
        i += a <= b
        j += b <= a
    merged = np.zeros(shared + 1)
    c_merged = np.zeros(shared + 1)
    target = 0
    for i in range(state[SIZE]):
        source = positions[i] - OFFSET
        to = shared
        if source < state[BOUND_COUNT]:
            target = to = _target(common, shared, target, bounds[source])
        merged[to], c_merged[to] = inc(values[i], merged[to], c_merged[to])
        merged[to], c_merged[to] = inc(cs[i], merged[to], c_merged[to])
    target = 0
    for i in range(start, end):
        source = pool[POSITIONS][i] - OFFSET
        to = shared
        if source < other_size:
            target = to = _target(common, shared, target, pool[BOUNDS][bound_start + source])
        merged[to], c_merged[to] = inc(sign * pool[BUCKETS][i], merged[to], c_merged[to])
    kept = 0
    for i in range(shared + 1):
        if merged[i] != 0.0 or c_merged[i] != 0.0:
            positions[kept], values[kept], cs[kept] = OFFSET + i, merged[i], c_merged[i]
            kept += 1
    state[SIZE] = kept
    state[BOUND_COUNT] = shared
    bounds[:shared] = common[:shared]


@callee
def add_any(total: Total, pool: Pool, at: int, sign: float, compensated: bool) -> int:
    """``add``, as a function of its own: for what is not alike, and where compiling counts more."""
    state, numbers, _, _, _, bounds, work, amounts, _ = total
    custom = state[SCHEMA] == CUSTOM_SCHEMA
    if custom != (pool[SCHEMAS][at] == CUSTOM_SCHEMA):
        return INCOMPATIBLE
    flags = 0
    hint = pool[HINTS][at]
    if hint != state[HINT] and state[HINT] != GAUGE:
        if hint == GAUGE:
            state[HINT] = GAUGE
        else:
            if hint != UNKNOWN and state[HINT] != UNKNOWN:
                flags |= CONFLICT
            state[HINT] = UNKNOWN
    if not custom:
        zero = _reconcile_zero(total, pool, at, compensated)
        numbers[ZERO], numbers[C_ZERO] = inc(sign * zero, numbers[ZERO], numbers[C_ZERO])
    numbers[COUNT], numbers[C_COUNT] = inc(
        sign * pool[COUNTS][at], numbers[COUNT], numbers[C_COUNT]
    )
    numbers[SUM], numbers[C_SUM] = inc(sign * pool[SUMS][at], numbers[SUM], numbers[C_SUM])
    start, end = pool[OFFSETS][at], pool[OFFSETS][at + 1]
    if custom:
        bound_start = pool[BOUND_OFFSETS][at]
        bound_count = pool[BOUND_OFFSETS][at + 1] - bound_start
        if not same_bounds(bounds, 0, state[BOUND_COUNT], pool[BOUNDS], bound_start, bound_count):
            if not compensated:
                total[4][: state[SIZE]] = 0.0
            _add_mismatched(total, pool, at, sign, False)
            return flags | RECONCILED
        _merge(total, pool[POSITIONS], pool[BUCKETS], start, end, sign, compensated)
        return flags
    if pool[SCHEMAS][at] < state[SCHEMA]:
        reduce_total(total, pool[SCHEMAS][at])
    middle = negative_end(pool[POSITIONS], start, end)
    covered = False
    if middle < end:
        index = coarser(pool[POSITIONS][middle], pool[SCHEMAS][at] - state[SCHEMA]) - OFFSET
        covered = upper_bound(index, state[SCHEMA]) <= numbers[THRESHOLD]
    if middle > start and not covered:
        index = coarser(-pool[POSITIONS][middle - 1], pool[SCHEMAS][at] - state[SCHEMA]) - OFFSET
        covered = upper_bound(index, state[SCHEMA]) <= numbers[THRESHOLD]
    if covered or pool[SCHEMAS][at] > state[SCHEMA]:
        _merge(total, work, amounts, 0, _reduced(total, pool, at), sign, compensated)
    else:
        _merge(total, pool[POSITIONS], pool[BUCKETS], start, end, sign, compensated)
    return flags


@helper
def add(total: Total, pool: Pool, at: int, sign: float, compensated: bool) -> int:
    """Adds histogram *at* of the pool times *sign* (1 or -1) to *total*; flags of what was met.

    *total* stays as it is where they are INCOMPATIBLE. It needs room for the buckets of both. All
    sums leave compensations; who does not want them (FloatHistogram.Add) does not look at them,
    and has called with *compensated* False.
    """
    state, numbers, positions, values, cs, _, _, _, _ = total
    start, end = pool[OFFSETS][at], pool[OFFSETS][at + 1]
    # Mostly both are alike, with positive exponential buckets beyond the zero bucket.
    alike = (
        state[SCHEMA] == pool[SCHEMAS][at]
        and state[SCHEMA] != CUSTOM_SCHEMA
        and state[HINT] == pool[HINTS][at]
        and numbers[THRESHOLD] == pool[THRESHOLDS][at]
        and state[SIZE] == end - start
    )
    if alike and end > start:
        index = pool[POSITIONS][start] - OFFSET
        alike = (
            pool[POSITIONS][start] > 0
            and not upper_bound(index, state[SCHEMA]) <= numbers[THRESHOLD]
        )
        # Slices, because their indices are known not to be negative: such loops vectorize.
        theirs = pool[POSITIONS][start:end]
        differing = 0
        for i in range(len(theirs)):
            differing += positions[i] != theirs[i]
        alike = alike and differing == 0
    if not alike:
        return add_any(total, pool, at, sign, compensated)
    more = pool[BUCKETS][start:end]
    if compensated:
        numbers[ZERO], numbers[C_ZERO] = inc(sign * pool[ZEROS][at], numbers[ZERO], numbers[C_ZERO])
        numbers[COUNT], numbers[C_COUNT] = inc(
            sign * pool[COUNTS][at], numbers[COUNT], numbers[C_COUNT]
        )
        numbers[SUM], numbers[C_SUM] = inc(sign * pool[SUMS][at], numbers[SUM], numbers[C_SUM])
        for i in range(len(more)):
            values[i], cs[i] = inc(sign * more[i], values[i], cs[i])
    else:
        numbers[ZERO] += sign * pool[ZEROS][at]
        numbers[COUNT] += sign * pool[COUNTS][at]
        numbers[SUM] += sign * pool[SUMS][at]
        for i in range(len(more)):
            values[i] += sign * more[i]
    return 0


@callee
def adopt_bounds(total: Total, pool: Pool, at: int) -> bool:
    """Maps *total* to the custom bounds that it has in common with *at*; whether they differed."""
    state, _, _, _, cs, bounds, _, _, _ = total
    start = pool[BOUND_OFFSETS][at]
    count = pool[BOUND_OFFSETS][at + 1] - start
    if state[SCHEMA] != CUSTOM_SCHEMA or same_bounds(
        bounds, 0, state[BOUND_COUNT], pool[BOUNDS], start, count
    ):
        return False
    cs[: state[SIZE]] = 0.0
    _add_mismatched(total, pool, at, 0.0, True)
    return True

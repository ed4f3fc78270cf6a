"""Compensated sums and means of native histograms, as kernels over windows and groups take them.

Source: KahanAdd of model/histogram/float_histogram.go, and what avg and sum make of it in
promql/engine.go and promql/functions.go of Prometheus 3.14.
"""

import math

import numpy as np

from promql.adding_helpers import add_any
from promql.histogram_helpers import (
    BOUND_COUNT,
    C_COUNT,
    C_SUM,
    C_ZERO,
    COUNT,
    INCOMPATIBLE,
    SCHEMA,
    SIZE,
    SUM,
    THRESHOLD,
    ZERO,
    Pool,
    Total,
    load,
    scale,
    store,
    upper_bound,
)
from series.histogram import CUSTOM_SCHEMA, OFFSET
from series.jit import callee, helper


@callee
def copy_total(source: Total, target: Total) -> None:
    """Makes *target* the same as *source*, compensations included."""
    for i in range(4):
        target[0][i] = source[0][i]
    for i in range(7):
        target[1][i] = source[1][i]
    for i in range(source[0][SIZE]):
        target[2][i] = source[2][i]
        target[3][i] = source[3][i]
        target[4][i] = source[4][i]
    for i in range(source[0][BOUND_COUNT]):
        target[5][i] = source[5][i]


@callee
def new_single(buckets: int, bounds: int) -> Pool:
    """A pool with room for one histogram."""
    return (
        np.zeros(1, dtype=np.int32),
        np.zeros(1, dtype=np.uint8),
        np.zeros(1),
        np.zeros(1),
        np.zeros(1),
        np.zeros(1),
        np.zeros(2, dtype=np.int64),
        np.empty(buckets + 1, dtype=np.int32),
        np.empty(buckets + 1),
        np.zeros(2, dtype=np.int64),
        np.empty(bounds + 1),
    )


@helper
def scale_compensations(total: Total, factor: float, divide: bool) -> None:
    """Multiplies (*divide*: divides) the compensations."""
    numbers, cs = total[1], total[4]
    for i in (C_COUNT, C_SUM, C_ZERO):
        numbers[i] = numbers[i] / factor if divide else numbers[i] * factor
    for i in range(total[0][SIZE]):
        cs[i] = cs[i] / factor if divide else cs[i] * factor


@helper
def has_overflow(total: Total) -> bool:
    """Whether a count, the sum or a custom bound is infinite."""
    state, numbers, _, values, _, bounds, _, _, _ = total
    infinite = math.isinf(numbers[COUNT]) or math.isinf(numbers[SUM]) or math.isinf(numbers[ZERO])
    for i in range(state[SIZE]):
        infinite |= math.isinf(values[i])
    for i in range(state[BOUND_COUNT]):
        infinite |= math.isinf(bounds[i])
    return infinite


@callee
def take(
    total: Total,
    saved: Total,
    single: Pool,
    pool: Pool,
    at: int,
    count: float,
    average: bool,
    incremental: bool,
) -> tuple[int, bool]:
    """Adds histogram *at* as number *count* of a sum or mean; the flags, and whether incremental.

    A mean whose sum overflows goes on as an incremental mean. *saved* and *single* are work space.
    """
    source, place = pool, at
    if average and not incremental:
        copy_total(total, saved)
    flags = 0
    again = True
    while again:
        again = False
        if incremental:
            q = (count - 1.0) / count
            scale_compensations(total, q, False)
            scale(total, q, False)
            load(saved, pool, at)
            scale(saved, count, True)
            store(saved, single, 0)
            source, place = single, 0
        flags |= add_any(total, source, place, 1.0, True)
        if flags & INCOMPATIBLE:
            return flags, incremental
        if average and not incremental and has_overflow(total):
            copy_total(saved, total)
            incremental = again = True
            scale(total, count - 1.0, True)
            scale_compensations(total, count - 1.0, True)
    return flags, incremental


@callee
def settle(total: Total, count: float, average: bool, incremental: bool) -> None:
    """Adds the compensations to the sum or mean of *count* histograms."""
    if average and not incremental:
        scale(total, count, True)
        scale_compensations(total, count, True)
    if count < 2.0:
        return
    state, numbers, positions, values, cs, _, _, _, _ = total
    numbers[COUNT] += numbers[C_COUNT]
    numbers[SUM] += numbers[C_SUM]
    numbers[ZERO] += numbers[C_ZERO]
    for i in range(state[SIZE]):
        index = abs(positions[i]) - OFFSET
        if (
            state[SCHEMA] == CUSTOM_SCHEMA
            or not upper_bound(index, state[SCHEMA]) <= numbers[THRESHOLD]
        ):
            values[i] += cs[i]

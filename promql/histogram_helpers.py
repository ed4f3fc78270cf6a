"""What kernels over native histograms are made of: bounds, and the sum of histograms.

A *pool* is the columns of a ``Histograms`` as one tuple, POOL its type in signatures. A *total* is
a histogram that others are added to: a tuple of arrays with room to grow, made by ``new_total``::

    state      schema, hint, buckets, bounds         as int64
    numbers    count, sum, zero threshold, zero count, and the compensations of count, sum and zero
    positions, values, compensations                 its buckets, in the order of Histograms
    bounds                                           custom bounds
    three more as work space

The order of operations is that of model/histogram/float_histogram.go of Prometheus 3.14, in which
the buckets of either side are walked away from zero.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.histogram import GAUGE, OFFSET
from series.jit import callee, helper

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
Pool = tuple[Any, ...]
Total = tuple[Any, ...]

POOL = (
    "Tuple((i4[::1], u1[::1], f8[::1], f8[::1], f8[::1], f8[::1], i8[::1], i4[::1], f8[::1], "
    "i8[::1], f8[::1]))"
)

SCHEMAS, HINTS, COUNTS, SUMS, THRESHOLDS, ZEROS = 0, 1, 2, 3, 4, 5
OFFSETS, POSITIONS, BUCKETS, BOUND_OFFSETS, BOUNDS = 6, 7, 8, 9, 10
"""The columns of a pool."""

SCHEMA, HINT, SIZE, BOUND_COUNT = 0, 1, 2, 3
COUNT, SUM, THRESHOLD, ZERO, C_COUNT, C_SUM, C_ZERO = 0, 1, 2, 3, 4, 5, 6
"""The places of a total's state and numbers."""

INCOMPATIBLE, RECONCILED, CONFLICT = 1, 2, 4
"""What ``add`` says: the schemas do not add up, custom bounds differed, hints did."""

MAX_FLOAT = 1.7976931348623157e308


def _fractions() -> F8:
    """The bounds of schema 8 in [0.5, 1), which hold those of the coarser ones.

    Prometheus' table differs from the powers of two in the last digits: it holds products of the
    roots of two, of which the square root is one digit short.
    """
    roots = [math.nextafter(math.sqrt(2.0), 0.0)]
    while len(roots) < 8:
        roots.append(math.sqrt(math.sqrt(2.0) if len(roots) == 1 else roots[-1]))
    table = np.full(256, 0.5)
    for bit, root in enumerate(roots):
        table[(np.arange(256) >> (7 - bit)) & 1 == 1] *= root
    return table


FRACTIONS = _fractions()


@helper
def upper_bound(index: int, schema: int) -> float:
    """The upper bound of an exponential bucket; its lower one is that of the index before."""
    if schema < 0:
        exponent = index << -schema
        if exponent == 1024:
            return MAX_FLOAT
        return math.ldexp(1.0, min(max(exponent, -2000), 2000))
    fraction = FRACTIONS[(index & ((1 << schema) - 1)) << (8 - schema)]
    exponent = (index >> schema) + 1
    if fraction == 0.5 and exponent == 1025:
        return MAX_FLOAT
    return math.ldexp(fraction, min(max(exponent, -2000), 2000))


@helper
def coarser(position: int, halvings: int) -> int:
    """The position that takes a bucket's observations after the resolution was halved so often."""
    if position < 0:
        return -(OFFSET + ((-position - OFFSET - 1) >> halvings) + 1)
    return OFFSET + ((position - OFFSET - 1) >> halvings) + 1


@helper
def inc(increment: float, total: float, c: float) -> tuple[float, float]:
    """One step of a Kahan-Neumaier sum: the new total and compensation; without branches."""
    t = total + increment
    total_is_larger = abs(total) >= abs(increment)
    larger = total if total_is_larger else increment
    smaller = increment if total_is_larger else total
    new_c = c + ((larger - t) + smaller)
    return t, 0.0 if abs(t) == np.inf else new_c


@callee
def new_total(buckets: int, bounds: int) -> Total:
    """A total with room for so many *buckets* and custom *bounds*."""
    return (
        np.zeros(4, dtype=np.int64),
        np.zeros(7),
        np.empty(buckets + 1, dtype=np.int32),
        np.empty(buckets + 1),
        np.empty(buckets + 1),
        np.empty(bounds + 1),
        np.empty(max(buckets, bounds) + 1, dtype=np.int32),
        np.empty(max(buckets, bounds) + 1),
        np.empty(bounds + 1),
    )


@helper
def load(total: Total, pool: Pool, at: int) -> None:
    """Makes *total* histogram *at* of the pool, without compensations."""
    state, numbers, positions, values, cs, bounds, _, _, _ = total
    start, end = pool[OFFSETS][at], pool[OFFSETS][at + 1]
    bound_start, bound_end = pool[BOUND_OFFSETS][at], pool[BOUND_OFFSETS][at + 1]
    state[SCHEMA] = pool[SCHEMAS][at]
    state[HINT] = pool[HINTS][at]
    state[SIZE] = end - start
    state[BOUND_COUNT] = bound_end - bound_start
    numbers[COUNT] = pool[COUNTS][at]
    numbers[SUM] = pool[SUMS][at]
    numbers[THRESHOLD] = pool[THRESHOLDS][at]
    numbers[ZERO] = pool[ZEROS][at]
    numbers[C_COUNT] = numbers[C_SUM] = numbers[C_ZERO] = 0.0
    theirs, counts = pool[POSITIONS][start:end], pool[BUCKETS][start:end]
    for i in range(len(theirs)):
        positions[i] = theirs[i]
        values[i] = counts[i]
        cs[i] = 0.0
    for i in range(bound_end - bound_start):
        bounds[i] = pool[BOUNDS][bound_start + i]


@helper
def store(total: Total, out: Pool, at: int) -> None:
    """Writes *total*, without compensations, as histogram *at* of *out*, whose offsets up to *at*
    stand; there must be room."""
    state, numbers, positions, values, _, bounds, _, _, _ = total
    start, bound_start = out[OFFSETS][at], out[BOUND_OFFSETS][at]
    out[SCHEMAS][at] = state[SCHEMA]
    out[HINTS][at] = state[HINT]
    out[COUNTS][at] = numbers[COUNT]
    out[SUMS][at] = numbers[SUM]
    out[THRESHOLDS][at] = numbers[THRESHOLD]
    out[ZEROS][at] = numbers[ZERO]
    size = state[SIZE]
    theirs, counts = out[POSITIONS][start : start + size], out[BUCKETS][start : start + size]
    for i in range(len(theirs)):
        theirs[i] = positions[i]
        counts[i] = values[i]
    for i in range(state[BOUND_COUNT]):
        out[BOUNDS][bound_start + i] = bounds[i]
    out[OFFSETS][at + 1] = start + state[SIZE]
    out[BOUND_OFFSETS][at + 1] = bound_start + state[BOUND_COUNT]


@helper
def scale(total: Total, factor: float, divide: bool) -> None:
    """Multiplies (*divide*: divides) all counts and the sum, as FloatHistogram.Mul and Div do.

    A negative factor makes a gauge; a division by zero leaves no bucket.
    """
    state, numbers, _, values, _, _, _, _, _ = total
    if divide:
        for i in (COUNT, SUM, ZERO):
            numbers[i] /= factor
        if factor == 0.0:
            state[SIZE] = 0
        for i in range(state[SIZE]):
            values[i] /= factor
    else:
        for i in (COUNT, SUM, ZERO):
            numbers[i] *= factor
        for i in range(state[SIZE]):
            values[i] *= factor
    if factor < 0.0:
        state[HINT] = GAUGE


@helper
def compact(total: Total) -> None:
    """Leaves out the buckets that count nothing."""
    state, _, positions, values, cs, _, _, _, _ = total
    kept = 0
    for i in range(state[SIZE]):
        if values[i] != 0.0:
            if kept < i:
                positions[kept] = positions[i]
                values[kept] = values[i]
                cs[kept] = cs[i]
            kept += 1
    state[SIZE] = kept


@helper
def negative_end(positions: I4, start: int, end: int) -> int:
    """Where the positive buckets of ``positions[start:end]`` begin."""
    while start < end and positions[start] < 0:
        start += 1
    return start


@callee
def widened_zero(
    positions: I4,
    values: F8,
    cs: F8,
    start: int,
    end: int,
    schema: int,
    zero: float,
    c_zero: float,
    threshold: float,
    compensated: bool,
) -> tuple[float, float, float]:
    """The zero count, its compensation and the threshold after the zero bucket was widened.

    The threshold moves up to the edge of a populated bucket that it would cut. *cs* are looked at
    only where *compensated*.
    """
    middle = negative_end(positions, start, end)
    moved = True
    count = zero
    while moved:
        moved = False
        count = zero
        for i in range(middle, end):
            index = positions[i] - OFFSET
            if upper_bound(index - 1, schema) >= threshold:
                break
            count, c_zero = inc(values[i], count, c_zero)
            if compensated:
                c_zero += cs[i - start]
            upper = upper_bound(index, schema)
            if upper > threshold:
                if values[i] != 0.0:
                    threshold = upper
                break
        for i in range(middle - 1, start - 1, -1):
            index = -positions[i] - OFFSET
            if upper_bound(index - 1, schema) >= threshold:
                break
            count, c_zero = inc(values[i], count, c_zero)
            if compensated:
                c_zero += cs[i - start]
            upper = upper_bound(index, schema)
            if upper > threshold:
                if values[i] != 0.0:
                    threshold = upper
                    moved = True
                break
    return count, c_zero, threshold


@helper
def same_bounds(a: F8, a_start: int, a_size: int, b: F8, b_start: int, b_size: int) -> bool:
    """Whether two stretches of custom bounds are equal."""
    alike = a_size == b_size
    if alike:
        for i in range(a_size):
            alike &= a[a_start + i] == b[b_start + i]
    return alike


@callee
def new_pool(size: int, buckets: int) -> Pool:
    """A pool of *size* histograms for ``store``, at first with room for so many *buckets*."""
    return (
        np.empty(size, dtype=np.int32),
        np.empty(size, dtype=np.uint8),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.zeros(size + 1, dtype=np.int64),
        np.empty(buckets, dtype=np.int32),
        np.empty(buckets),
        np.zeros(size + 1, dtype=np.int64),
        np.empty(0),
    )


@helper
def with_room(out: Pool, at: int, total: Total) -> Pool:
    """*out*, or a larger copy of it, with room to store *total* as histogram *at*."""
    start, bound_start = out[OFFSETS][at], out[BOUND_OFFSETS][at]
    buckets, bounds = start + total[0][SIZE], bound_start + total[0][BOUND_COUNT]
    positions, counts, limits = out[POSITIONS], out[BUCKETS], out[BOUNDS]
    if buckets > len(positions):
        positions = np.empty(2 * buckets, dtype=np.int32)
        positions[:start] = out[POSITIONS][:start]
        counts = np.empty(2 * buckets)
        counts[:start] = out[BUCKETS][:start]
    if bounds > len(limits):
        limits = np.empty(2 * bounds)
        limits[:bound_start] = out[BOUNDS][:bound_start]
    return (
        out[SCHEMAS],
        out[HINTS],
        out[COUNTS],
        out[SUMS],
        out[THRESHOLDS],
        out[ZEROS],
        out[OFFSETS],
        positions,
        counts,
        out[BOUND_OFFSETS],
        limits,
    )

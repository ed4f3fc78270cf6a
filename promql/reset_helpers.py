"""Whether a counter was reset between two native histograms, or two floats."""

from promql.histogram_helpers import (
    BOUND_OFFSETS,
    BOUNDS,
    BUCKETS,
    COUNTS,
    HINTS,
    OFFSETS,
    POSITIONS,
    SCHEMAS,
    THRESHOLDS,
    ZEROS,
    Pool,
    coarser,
    same_bounds,
    upper_bound,
    widened_zero,
)
from series.histogram import CUSTOM_SCHEMA, NOT_RESET, OFFSET, RESET
from series.jit import callee, helper


@helper
def _rolled_up(pool: Pool, at: int, i: int, bound: float, last: bool) -> tuple[float, int]:
    """What the custom buckets from *i* on up to *bound* (*last*: all) count, and where they end."""
    end = pool[OFFSETS][at + 1]
    bound_start = pool[BOUND_OFFSETS][at]
    bound_count = pool[BOUND_OFFSETS][at + 1] - bound_start
    count = 0.0
    while i < end:
        index = pool[POSITIONS][i] - OFFSET
        if not last and (index >= bound_count or pool[BOUNDS][bound_start + index] > bound):
            break
        count += pool[BUCKETS][i]
        i += 1
    return count, i


@callee
def _fell_between_bounds(previous: Pool, before: int, current: Pool, after: int) -> bool:
    """Whether less is counted between some of the custom bounds that both have in common."""
    a_start, a_end = previous[BOUND_OFFSETS][before], previous[BOUND_OFFSETS][before + 1]
    b_start, b_end = current[BOUND_OFFSETS][after], current[BOUND_OFFSETS][after + 1]
    a_at, b_at = previous[OFFSETS][before], current[OFFSETS][after]
    a, b = a_start, b_start
    while a < a_end and b < b_end:
        left, right = previous[BOUNDS][a], current[BOUNDS][b]
        if left == right:
            old, a_at = _rolled_up(previous, before, a_at, left, False)
            new, b_at = _rolled_up(current, after, b_at, left, False)
            if new < old:
                return True
        a += left <= right
        b += right <= left
    old, _ = _rolled_up(previous, before, a_at, 0.0, True)
    new, _ = _rolled_up(current, after, b_at, 0.0, True)
    return new < old


@callee
def _bucket_fell(previous: Pool, before: int, current: Pool, after: int) -> bool:
    """Whether a bucket of *previous* that the later zero bucket does not cover counts less."""
    schema = current[SCHEMAS][after]
    custom = schema == CUSTOM_SCHEMA
    halvings = previous[SCHEMAS][before] - schema
    i, end = previous[OFFSETS][before], previous[OFFSETS][before + 1]
    j, j_end = current[OFFSETS][after], current[OFFSETS][after + 1]
    threshold = current[THRESHOLDS][after]
    positions, buckets = previous[POSITIONS], previous[BUCKETS]
    while i < end:
        position = coarser(positions[i], halvings)
        stop = i + 1
        while stop < end and coarser(positions[stop], halvings) == position:
            stop += 1
        old = 0.0
        if position < 0:
            for k in range(stop - 1, i - 1, -1):
                old += buckets[k]
        else:
            for k in range(i, stop):
                old += buckets[k]
        i = stop
        while j < j_end and current[POSITIONS][j] < position:
            j += 1
        if j < j_end and current[POSITIONS][j] == position:
            fell = current[BUCKETS][j] < old
        else:
            fell = old != 0.0
        if fell and (custom or not upper_bound(abs(position) - OFFSET, schema) <= threshold):
            return True
    return False


@callee
def _detect_any(previous: Pool, before: int, current: Pool, after: int) -> bool:
    """``detect_reset`` where no hint tells and not all buckets rise."""
    if current[COUNTS][after] < previous[COUNTS][before]:
        return True
    schema, old_schema = current[SCHEMAS][after], previous[SCHEMAS][before]
    if schema == CUSTOM_SCHEMA:
        if old_schema != CUSTOM_SCHEMA:
            return True
        a, b = previous[BOUND_OFFSETS][before], current[BOUND_OFFSETS][after]
        a_size = previous[BOUND_OFFSETS][before + 1] - a
        b_size = current[BOUND_OFFSETS][after + 1] - b
        if not same_bounds(previous[BOUNDS], a, a_size, current[BOUNDS], b, b_size):
            return _fell_between_bounds(previous, before, current, after)
    if schema > old_schema:
        return True
    threshold, old_threshold = current[THRESHOLDS][after], previous[THRESHOLDS][before]
    if threshold < old_threshold:
        return True
    old_zero, widened = previous[ZEROS][before], threshold
    if threshold > old_threshold:
        old_zero, _, widened = widened_zero(
            previous[POSITIONS],
            previous[BUCKETS],
            previous[BUCKETS],
            previous[OFFSETS][before],
            previous[OFFSETS][before + 1],
            old_schema,
            old_zero,
            0.0,
            threshold,
            False,
        )
    if widened != threshold or current[ZEROS][after] < old_zero:
        return True
    return _bucket_fell(previous, before, current, after)


@helper
def detect_reset(previous: Pool, before: int, current: Pool, after: int) -> bool:
    """Whether the counter was reset before histogram *after* (FloatHistogram.DetectReset)."""
    hint = current[HINTS][after]
    if hint == RESET:
        return True
    if hint == NOT_RESET:
        return False
    i, end = previous[OFFSETS][before], previous[OFFSETS][before + 1]
    j, j_end = current[OFFSETS][after], current[OFFSETS][after + 1]
    if (
        previous[SCHEMAS][before] == current[SCHEMAS][after]
        and current[SCHEMAS][after] != CUSTOM_SCHEMA
        and previous[THRESHOLDS][before] == current[THRESHOLDS][after]
        and previous[COUNTS][before] <= current[COUNTS][after]
        and previous[ZEROS][before] <= current[ZEROS][after]
        and end - i == j_end - j
    ):
        # Mostly the same buckets rise: to see that takes no more than two plain loops.
        old_positions, new_positions = previous[POSITIONS][i:end], current[POSITIONS][j:j_end]
        old_buckets, new_buckets = previous[BUCKETS][i:end], current[BUCKETS][j:j_end]
        differing = fallen = 0
        for k in range(len(old_positions)):
            differing += old_positions[k] != new_positions[k]
        for k in range(len(old_buckets)):
            fallen += not new_buckets[k] >= old_buckets[k]
        if differing + fallen == 0:
            return False
    return _detect_any(previous, before, current, after)


@helper
def start_reset(previous_start: int, previous: int, start: int, now: int) -> bool:
    """Whether start times (0: unknown) tell of a reset between samples at *previous* and *now*.

    A start at the previous sample is one of a series of deltas, unless that sample's own start
    is unknown or not before it (promql/functions.go of Prometheus 3.14, isStartTimestampReset).
    """
    if start == 0 or start >= now or start < previous:
        return False
    if start > previous:
        return True
    return previous_start != 0 and previous_start < previous


@helper
def starts_overlap(previous_start: int, previous: int, start: int) -> bool:
    """Whether a sample began to count before the previous one, and not when that did."""
    return start != 0 and start < previous and start != previous_start

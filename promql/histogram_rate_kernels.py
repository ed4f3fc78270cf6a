"""Kernels of rate, increase, delta, irate and idelta over windows of native histograms.

Windows are given as in ``rollup_kernels``. Every kernel gives its results as a new pool in the
order of rows and steps, ``out[S, T]`` says which one a point is, -1 for none. ``flags[S]`` collects
what is to be said of each row. Order of operations: promql/functions.go of Prometheus 3.14.
"""

import numpy as np
from numpy.typing import NDArray

from promql.adding_helpers import add, add_any, adopt_bounds, reduce_total
from promql.histogram_helpers import (
    BUCKETS,
    COUNT,
    COUNTS,
    HINT,
    HINTS,
    INCOMPATIBLE,
    POOL,
    RECONCILED,
    SCHEMAS,
    Pool,
    compact,
    load,
    new_pool,
    new_total,
    scale,
    store,
    with_room,
)
from promql.histogram_note_helpers import (
    MIXED_SCHEMAS,
    NOT_COUNTER,
    NOT_GAUGE,
    OVERLAP,
    RECONCILED_ADD,
    RECONCILED_SUB,
)
from promql.reset_helpers import start_reset
from series.histogram import CUSTOM_SCHEMA, GAUGE, RESET
from series.jit import kernel

I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
B1 = NDArray[np.bool_]
U2 = NDArray[np.uint16]

_WINDOWS = "i8[::1], i8[::1], i8[::1], i4[:, ::1], i4[:, ::1], i8[::1], i8[::1]"
_SUB_FIRST, _ADD_BACK, _ADD_FIRST = 0, 1, 2


@kernel(
    f"{POOL}({POOL}, {_WINDOWS}, i8[::1], b1[::1], b1[::1], i8[::1], i8, b1, b1, "
    "i8[:, ::1], u2[::1])"
)
def histogram_rate(
    pool: Pool,
    ids: I8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    starts_ms: I8,
    resets: B1,
    overlaps: B1,
    ends_ms: I8,
    range_ms: int,
    is_counter: bool,
    is_rate: bool,
    out: I8,
    flags: U2,
) -> Pool:
    """rate, increase (counters) and delta of rows that are histograms throughout.

    ``resets[N]`` and ``overlaps[N]``: what stands between a sample and the one before it in its
    row. ``starts_ms`` is as long as the samples, or empty where start times do not count.
    """
    total = new_total(len(pool[BUCKETS]), len(pool[10]))
    steps = len(ends_ms)
    results = new_pool(len(columns) * steps, 2 * len(pool[BUCKETS]))
    stored = 0
    started = len(starts_ms) > 0
    seconds = range_ms / 1000.0
    for r in range(len(columns)):
        start, time_start, column = offsets[r], time_starts[r], columns[r]
        plain = True
        for i in range(start, offsets[r + 1]):
            plain &= pool[SCHEMAS][ids[i]] == pool[SCHEMAS][ids[start]]
            plain &= pool[HINTS][ids[i]] != GAUGE and not resets[i] and not overlaps[i]
        for k in range(steps):
            low, high = start + lows[column, k], start + highs[column, k]
            out[r, k] = -1
            if high <= low:
                continue
            first, last = ids[low], ids[high - 1]
            first_ms = times_ms[time_start + low - start]
            last_ms = times_ms[time_start + high - 1 - start]
            begin_ms = ends_ms[k] - range_ms
            from_start = (
                started
                and is_counter
                and starts_ms[low] != 0
                and starts_ms[low] > begin_ms
                and starts_ms[low] < first_ms
            )
            said = 0
            failed = False
            if high - low == 1:
                if not from_start:
                    continue
                load(total, pool, first)
            else:
                if is_counter and (pool[HINTS][first] == GAUGE or pool[HINTS][last] == GAUGE):
                    said |= NOT_COUNTER
                # After a reset the first sample does not matter, nor whether it fits.
                fresh = is_counter and resets[low + 1]
                reference = ids[low + 1] if fresh else first
                schema = min(pool[SCHEMAS][last], pool[SCHEMAS][reference])
                custom = pool[SCHEMAS][reference] == CUSTOM_SCHEMA
                if (pool[SCHEMAS][last] == CUSTOM_SCHEMA) != custom:
                    flags[r] |= said | MIXED_SCHEMAS
                    continue
                if is_counter and not plain:
                    for i in range(low + 1, high - 1):
                        if pool[HINTS][ids[i]] == GAUGE:
                            said |= NOT_COUNTER
                        schema = min(schema, pool[SCHEMAS][ids[i]])
                        failed |= (pool[SCHEMAS][ids[i]] == CUSTOM_SCHEMA) != custom
                        if failed:
                            break
                    if failed:
                        flags[r] |= MIXED_SCHEMAS
                        continue
                load(total, pool, last)
                if schema < pool[SCHEMAS][last]:
                    reduce_total(total, schema)
                if fresh:
                    second = ids[low + 1]
                    if adopt_bounds(total, pool, second):
                        said |= RECONCILED_SUB
                    told = pool[HINTS][second] == RESET or (
                        started
                        and start_reset(
                            starts_ms[low],
                            first_ms,
                            starts_ms[low + 1],
                            times_ms[time_start + low + 1 - start],
                        )
                    )
                    if told and adopt_bounds(total, pool, second):
                        said |= RECONCILED_ADD
                if not is_counter and (pool[HINTS][first] != GAUGE or pool[HINTS][last] != GAUGE):
                    said |= NOT_GAUGE
                if is_counter and not plain:
                    for i in range(low + 1, high):
                        if overlaps[i]:
                            said |= OVERLAP
            # What is subtracted or added, one after the other: the first sample, those before
            # resets, and the first one again where the counter began within the window.
            i = low + 1
            stage = _SUB_FIRST
            if high - low == 1:
                stage = _ADD_FIRST + 1
            elif is_counter and resets[low + 1]:
                stage = _ADD_BACK
            while stage <= _ADD_FIRST:
                sign, other, note = 1.0, first, RECONCILED_ADD
                if stage == _SUB_FIRST:
                    sign, note = -1.0, RECONCILED_SUB
                    stage = _ADD_BACK
                elif stage == _ADD_BACK:
                    i = i + 1 if is_counter and not plain else high
                    while i < high and not resets[i]:
                        i += 1
                    if i >= high:
                        total[0][HINT] = GAUGE
                        compact(total)
                        stage = _ADD_FIRST
                        continue
                    other = ids[i - 1]
                else:
                    stage = _ADD_FIRST + 1
                    if not from_start:
                        break
                met = add(total, pool, other, sign, False)
                if met & INCOMPATIBLE:
                    failed = True
                    said = MIXED_SCHEMAS if stage <= _ADD_FIRST else said | MIXED_SCHEMAS
                    break
                if met & RECONCILED:
                    said |= note
            flags[r] |= said
            if failed:
                continue
            to_start = (first_ms - begin_ms) / 1000.0
            to_end = (ends_ms[k] - last_ms) / 1000.0
            sampled = (last_ms - first_ms) / 1000.0
            average = sampled / (high - low - 1) if high - low > 1 else 0.0
            threshold = average * 1.1
            if from_start:
                to_start = 0.0
                sampled = (last_ms - starts_ms[low]) / 1000.0
            else:
                if to_start >= threshold:
                    to_start = average / 2.0
                if is_counter:
                    count, first_count = total[1][COUNT], pool[COUNTS][first]
                    if count > 0.0 and first_count >= 0.0:
                        to_start = min(to_start, sampled * (first_count / count))
            if to_end >= threshold:
                to_end = average / 2.0
            factor = (sampled + to_start + to_end) / sampled if sampled != 0.0 else 1.0
            scale(total, factor / seconds if is_rate else factor, False)
            results = with_room(results, stored, total)
            store(total, results, stored)
            out[r, k] = stored
            stored += 1
    results[6][stored + 1 :] = results[6][stored]
    results[9][stored + 1 :] = results[9][stored]
    return results


@kernel(f"{POOL}({POOL}, {_WINDOWS}, b1[::1], b1, i8[:, ::1], u2[::1])")
def histogram_change(
    pool: Pool,
    ids: I8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    resets: B1,
    is_rate: bool,
    out: I8,
    flags: U2,
) -> Pool:
    """irate (per second) and idelta where the last two samples are histograms."""
    total = new_total(2 * len(pool[BUCKETS]), 2 * len(pool[10]))
    results = new_pool(out.size, 2 * len(pool[BUCKETS]))
    stored = 0
    for r in range(len(columns)):
        start, column = offsets[r], columns[r]
        for k in range(out.shape[1]):
            low, high = start + lows[column, k], start + highs[column, k]
            out[r, k] = -1
            if high - low < 2 or ids[high - 1] < 0 or ids[high - 2] < 0:
                continue
            last, previous = ids[high - 1], ids[high - 2]
            gauges = (pool[HINTS][last] == GAUGE) + (pool[HINTS][previous] == GAUGE)
            if is_rate and gauges > 0:
                flags[r] |= NOT_COUNTER
            if not is_rate and gauges < 2:
                flags[r] |= NOT_GAUGE
            load(total, pool, last)
            if not is_rate or not resets[high - 1]:
                met = add_any(total, pool, previous, -1.0, False)
                if met & INCOMPATIBLE:
                    flags[r] |= MIXED_SCHEMAS
                    continue
                if met & RECONCILED:
                    flags[r] |= RECONCILED_SUB
            total[0][HINT] = GAUGE
            compact(total)
            if is_rate:
                at = time_starts[r] + high - 1 - start
                scale(total, (times_ms[at] - times_ms[at - 1]) / 1000.0, True)
            results = with_room(results, stored, total)
            store(total, results, stored)
            out[r, k] = stored
            stored += 1
    results[6][stored + 1 :] = results[6][stored]
    results[9][stored + 1 :] = results[9][stored]
    return results

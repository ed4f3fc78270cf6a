"""Kernels of the ``anchored`` and ``smoothed`` selectors over native histograms.

Windows and results are as in ``histogram_rate_kernels``; the order of operations is that of
extendedHistogramRate of promql/functions.go of Prometheus 3.14.
"""

import numpy as np
from numpy.typing import NDArray

from promql.adding_helpers import add_any
from promql.histogram_helpers import (
    BOUNDS,
    BUCKETS,
    HINT,
    HINTS,
    INCOMPATIBLE,
    POOL,
    RECONCILED,
    SCHEMAS,
    Pool,
    Total,
    compact,
    load,
    new_pool,
    new_total,
    scale,
    store,
    with_room,
)
from promql.histogram_note_helpers import (
    MIXED_KINDS,
    MIXED_SCHEMAS,
    NOT_COUNTER,
    NOT_GAUGE,
    RECONCILED_ADD,
    RECONCILED_SUB,
)
from promql.reset_helpers import detect_reset
from promql.total_helpers import new_single
from series.histogram import CUSTOM_SCHEMA, GAUGE
from series.jit import callee, kernel

I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
U2 = NDArray[np.uint16]

_WINDOWS = "i8[::1], i8[::1], i8[::1], i4[:, ::1], i4[:, ::1], i8[::1], i8[::1]"


@callee
def _between(
    total: Total,
    pool: Pool,
    before: int,
    before_ms: int,
    after: int,
    after_ms: int,
    when_ms: int,
    is_counter: bool,
) -> int:
    """Makes *total* the histogram at *when_ms* on the line between two; what there is to say.

    A counter that was reset between them counts from zero.
    """
    if when_ms == before_ms:
        load(total, pool, before)
        return 0
    load(total, pool, after)
    if when_ms == after_ms:
        return 0
    fraction = (when_ms - before_ms) / (after_ms - before_ms)
    if is_counter and detect_reset(pool, before, pool, after):
        scale(total, fraction, False)
        return 0
    said = 0
    met = add_any(total, pool, before, -1.0, False)
    if met & INCOMPATIBLE:
        return MIXED_SCHEMAS
    if met & RECONCILED:
        said |= RECONCILED_SUB
    scale(total, fraction, False)
    if add_any(total, pool, before, 1.0, False) & RECONCILED:
        said |= RECONCILED_ADD
    return said


@kernel(f"{POOL}({POOL}, {_WINDOWS}, i8[::1], i8, b1, b1, b1, i8[:, ::1], u2[::1])")
def histogram_edges(
    pool: Pool,
    ids: I8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    ends_ms: I8,
    range_ms: int,
    smoothed: bool,
    is_counter: bool,
    is_rate: bool,
    out: I8,
    flags: U2,
) -> Pool:
    """rate, increase (counters) and delta from one edge of the window to the other.

    Windows begin with the sample that gives the histogram at the left edge and end with that of
    the right one; *smoothed* edges lie between samples.
    """
    buckets, bounds = 3 * len(pool[BUCKETS]), 3 * len(pool[BOUNDS])
    total, correction = new_total(buckets, bounds), new_total(buckets, bounds)
    left, right = new_single(buckets, bounds), new_single(buckets, bounds)
    added = new_single(buckets, bounds)
    results = new_pool(out.size, 2 * len(pool[BUCKETS]))
    stored = 0
    for r in range(len(columns)):
        start, column = offsets[r], columns[r]
        for k in range(out.shape[1]):
            first, last = start + lows[column, k], start + highs[column, k] - 1
            out[r, k] = -1
            if last < first:
                continue
            end_ms = ends_ms[k]
            begin_ms = end_ms - range_ms
            shift = time_starts[r] - start
            custom = pool[SCHEMAS][ids[first]] == CUSTOM_SCHEMA
            fits = True
            for i in range(first, last + 1):
                if (pool[SCHEMAS][ids[i]] == CUSTOM_SCHEMA) != custom:
                    flags[r] |= MIXED_SCHEMAS
                    fits = False
                    break
                if is_counter and pool[HINTS][ids[i]] == GAUGE:
                    flags[r] |= NOT_COUNTER
            if not fits:
                continue
            first_ms, last_ms = times_ms[shift + first], times_ms[shift + last]
            cut_left = smoothed and first_ms < begin_ms
            if cut_left:
                flags[r] |= _between(
                    total,
                    pool,
                    ids[first],
                    first_ms,
                    ids[first + 1],
                    times_ms[shift + first + 1],
                    begin_ms,
                    is_counter,
                )
            else:
                load(total, pool, ids[first])
            store(total, left, 0)
            if smoothed and last > first and last_ms > end_ms:
                flags[r] |= _between(
                    total,
                    pool,
                    ids[last - 1],
                    times_ms[shift + last - 1],
                    ids[last],
                    last_ms,
                    end_ms,
                    is_counter,
                )
            else:
                load(total, pool, ids[last])
            store(total, right, 0)
            if not is_counter and (left[HINTS][0] != GAUGE or right[HINTS][0] != GAUGE):
                flags[r] |= NOT_GAUGE
            if add_any(total, left, 0, -1.0, False) & RECONCILED:
                flags[r] |= RECONCILED_SUB
            if is_counter:
                # A reset that the left edge already lies behind does not count again.
                previous, at = left, 0
                begin = first + 1
                if cut_left and detect_reset(pool, ids[first], pool, ids[first + 1]):
                    previous, at = pool, ids[first + 1]
                    begin += 1
                corrected = False
                for i in range(begin, last + 1):
                    current, now = pool, ids[i]
                    if i == last:
                        current, now = right, 0
                    if detect_reset(previous, at, current, now):
                        if not corrected:
                            load(correction, previous, at)
                        elif add_any(correction, previous, at, 1.0, False) & RECONCILED:
                            flags[r] |= RECONCILED_ADD
                        corrected = True
                    previous, at = current, now
                if corrected:
                    store(correction, added, 0)
                    if add_any(total, added, 0, 1.0, False) & RECONCILED:
                        flags[r] |= RECONCILED_ADD
            if is_rate:
                scale(total, range_ms / 1000.0, True)
            total[0][HINT] = GAUGE
            compact(total)
            results = with_room(results, stored, total)
            store(total, results, stored)
            out[r, k] = stored
            stored += 1
    results[6][stored + 1 :] = results[6][stored]
    results[9][stored + 1 :] = results[9][stored]
    return results


@kernel(f"{POOL}({POOL}, {_WINDOWS}, i8[::1], i8[:, ::1], u2[::1])")
def interpolate_histograms(
    pool: Pool,
    ids: I8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    ends_ms: I8,
    out: I8,
    flags: U2,
) -> Pool:
    """The histogram at each step between its neighbours in the window, as for floats.

    ``out[S, T]`` is also -1 where the earlier neighbour is a float, and -2 where only the later one
    is of the other kind, so that there is nothing.
    """
    total = new_total(2 * len(pool[BUCKETS]), 2 * len(pool[BOUNDS]))
    results = new_pool(out.size, 2 * len(pool[BUCKETS]))
    stored = 0
    for r in range(len(columns)):
        start, column = offsets[r], columns[r]
        shift = time_starts[r] - start
        for k in range(out.shape[1]):
            low, high = start + lows[column, k], start + highs[column, k]
            at = low
            while at < high and times_ms[shift + at] <= ends_ms[k]:
                at += 1
            at -= 1
            out[r, k] = -1
            if at < low:
                continue
            before_ms = times_ms[shift + at]
            alone = at + 1 >= high or before_ms == ends_ms[k]
            if not alone and (ids[at] >= 0) != (ids[at + 1] >= 0):
                flags[r] |= MIXED_KINDS
                out[r, k] = -2
                continue
            if ids[at] < 0:
                continue
            if alone:
                load(total, pool, ids[at])
            else:
                said = _between(
                    total,
                    pool,
                    ids[at],
                    before_ms,
                    ids[at + 1],
                    times_ms[shift + at + 1],
                    ends_ms[k],
                    False,
                )
                flags[r] |= said
                if said & MIXED_SCHEMAS:
                    out[r, k] = -2
                    continue
            results = with_room(results, stored, total)
            store(total, results, stored)
            out[r, k] = stored
            stored += 1
    results[6][stored + 1 :] = results[6][stored]
    results[9][stored + 1 :] = results[9][stored]
    return results

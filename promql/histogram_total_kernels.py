"""Kernels of compensated sums and means of native histograms: over windows, and over groups.

The state of an aggregation is a *cell* for each group and step. Its buckets and bounds stand in
growing arrays, which a kernel takes and gives back as an ARENA, where the cell has some room::

    places[C, 6]    start and room of the buckets, start and room of the bounds, schema, hint
    sizes[C, 2]     buckets and bounds that it has
    numbers[C, 7]   as in ``histogram_helpers``
    arena           positions, values, compensations, bounds, and how much of them is taken
"""

import numpy as np
from numpy.typing import NDArray

from promql.adding_helpers import add
from promql.histogram_helpers import (
    BOUND_COUNT,
    BOUNDS,
    BUCKETS,
    HINT,
    HINTS,
    INCOMPATIBLE,
    POOL,
    RECONCILED,
    SCHEMA,
    SIZE,
    Pool,
    Total,
    compact,
    load,
    new_pool,
    new_total,
    store,
    with_room,
)
from promql.histogram_note_helpers import CONFLICT_AGG, MIXED_SCHEMAS, RECONCILED_AGG
from promql.total_helpers import new_single, settle, take
from series.histogram import NOT_RESET, RESET
from series.jit import helper, kernel

I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
F8 = NDArray[np.float64]
B1 = NDArray[np.bool_]
U1 = NDArray[np.uint8]
U2 = NDArray[np.uint16]
Arena = tuple[I4, F8, F8, F8, I8]

ARENA = "Tuple((i4[::1], f8[::1], f8[::1], f8[::1], i8[::1]))"

SEEN_FLOAT, SEEN_HISTOGRAM, BROKEN = 1, 2, 4
SEEN_RESET, SEEN_NOT_RESET, SEEN_OTHER_BOUNDS = 8, 16, 32
"""What a cell has met; BROKEN: exponential with custom buckets."""


@kernel(
    f"{POOL}({POOL}, i8[::1], i8[::1], i8[::1], i4[:, ::1], i4[:, ::1], b1, i8[:, ::1], u2[::1])"
)
def histogram_total(
    pool: Pool,
    ids: I8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    average: bool,
    out: I8,
    flags: U2,
) -> Pool:
    """The sum or mean of each window of rows that are histograms throughout.

    Results, ``out`` and ``flags`` are as in ``histogram_rate_kernels``.
    """
    buckets, bounds = len(pool[BUCKETS]), len(pool[BOUNDS])
    total, saved = new_total(buckets, bounds), new_total(buckets, bounds)
    single = new_single(buckets, bounds)
    results = new_pool(out.size, 2 * buckets)
    stored = 0
    for r in range(len(columns)):
        start, column = offsets[r], columns[r]
        for k in range(out.shape[1]):
            low, high = start + lows[column, k], start + highs[column, k]
            out[r, k] = -1
            if high <= low:
                continue
            load(total, pool, ids[low])
            incremental = False
            reset = not_reset = False
            met = 0
            for i in range(low, high):
                reset |= pool[HINTS][ids[i]] == RESET
                not_reset |= pool[HINTS][ids[i]] == NOT_RESET
                if i > low:
                    count = float(i - low + 1)
                    new, incremental = take(
                        total, saved, single, pool, ids[i], count, average, incremental
                    )
                    met |= new
                    if met & INCOMPATIBLE:
                        break
            if met & INCOMPATIBLE:
                flags[r] |= MIXED_SCHEMAS
                continue
            if met & RECONCILED:
                flags[r] |= RECONCILED_AGG
            if reset and not_reset:
                flags[r] |= CONFLICT_AGG
            settle(total, float(high - low), average, incremental)
            results = with_room(results, stored, total)
            store(total, results, stored)
            out[r, k] = stored
            stored += 1
    results[6][stored + 1 :] = results[6][stored]
    results[9][stored + 1 :] = results[9][stored]
    return results


@helper
def _load_cell(total: Total, arena: Arena, places: I8, sizes: I8, numbers: F8, cell: int) -> None:
    state, sums, positions, values, cs, bounds, _, _, _ = total
    start, bound_start = places[cell, 0], places[cell, 2]
    state[SCHEMA], state[HINT] = places[cell, 4], places[cell, 5]
    state[SIZE], state[BOUND_COUNT] = sizes[cell, 0], sizes[cell, 1]
    for i in range(7):
        sums[i] = numbers[cell, i]
    end = start + sizes[cell, 0]
    from_positions, from_values, from_cs = (
        arena[0][start:end],
        arena[1][start:end],
        arena[2][start:end],
    )
    for i in range(len(from_positions)):
        positions[i] = from_positions[i]
        values[i] = from_values[i]
        cs[i] = from_cs[i]
    for i in range(sizes[cell, 1]):
        bounds[i] = arena[3][bound_start + i]


@helper
def _grown(arena: Arena, buckets: int, bounds: int) -> Arena:
    """*arena*, or a larger copy, with room for so many more buckets and bounds."""
    positions, values, cs, limits, taken = arena
    if taken[0] + buckets > len(positions):
        size = 2 * (taken[0] + buckets)
        positions, values, cs = np.empty(size, dtype=np.int32), np.empty(size), np.empty(size)
        positions[: taken[0]] = arena[0][: taken[0]]
        values[: taken[0]] = arena[1][: taken[0]]
        cs[: taken[0]] = arena[2][: taken[0]]
    if taken[1] + bounds > len(limits):
        limits = np.empty(2 * (taken[1] + bounds))
        limits[: taken[1]] = arena[3][: taken[1]]
    return positions, values, cs, limits, taken


@helper
def _store_cell(total: Total, arena: Arena, places: I8, sizes: I8, numbers: F8, cell: int) -> Arena:
    """Writes *total* where the cell has room, else at the end of the arena."""
    state, sums, positions, values, cs, bounds, _, _, _ = total
    size, bound_count = state[SIZE], state[BOUND_COUNT]
    more = size + size // 4 + 2 if size > places[cell, 1] else 0
    more_bounds = bound_count if bound_count > places[cell, 3] else 0
    if more + more_bounds > 0:
        arena = _grown(arena, more, more_bounds)
    taken = arena[4]
    if more > 0:
        places[cell, 0], places[cell, 1] = taken[0], more
        taken[0] += more
    if more_bounds > 0:
        places[cell, 2], places[cell, 3] = taken[1], more_bounds
        taken[1] += more_bounds
    start, bound_start = places[cell, 0], places[cell, 2]
    places[cell, 4], places[cell, 5] = state[SCHEMA], state[HINT]
    sizes[cell, 0], sizes[cell, 1] = size, bound_count
    for i in range(7):
        numbers[cell, i] = sums[i]
    to_positions, to_values, to_cs = (
        arena[0][start : start + size],
        arena[1][start : start + size],
        arena[2][start : start + size],
    )
    for i in range(len(to_positions)):
        to_positions[i] = positions[i]
        to_values[i] = values[i]
        to_cs[i] = cs[i]
    for i in range(bound_count):
        arena[3][bound_start + i] = bounds[i]
    return arena


@kernel(
    f"{ARENA}({POOL}, i8[:, ::1], b1[:, ::1], i8[::1], i8[::1], i8[::1], b1, {ARENA}, "
    "i8[:, ::1], i8[:, ::1], f8[:, ::1], f8[::1], b1[::1], u1[::1], b1[::1], i8, i8)"
)
def fold_histograms(
    pool: Pool,
    ids: I8,
    present: B1,
    groups: I8,
    order: I8,
    starts: I8,
    average: bool,
    arena: Arena,
    places: I8,
    sizes: I8,
    numbers: F8,
    counts: F8,
    incremental: B1,
    seen: U1,
    broke: B1,
    buckets: int,
    bounds: int,
) -> Arena:
    """Adds a slab's histograms to the cells of their groups, cell ``group * T + step``.

    ``groups[i]``'s rows are ``order[starts[i] : starts[i + 1]]``. Floats only leave their mark.
    ``broke[S]`` is set for the rows at which a cell broke. *buckets* and *bounds* are the most that
    any cell has.
    """
    room, bound_room = buckets + len(pool[BUCKETS]), bounds + len(pool[BOUNDS])
    total, saved = new_total(room, bound_room), new_total(room, bound_room)
    single = new_single(room, bound_room)
    steps = ids.shape[1]
    for i in range(len(groups)):
        for k in range(steps):
            cell = groups[i] * steps + k
            loaded = False
            for j in range(starts[i], starts[i + 1]):
                r = order[j]
                if not present[r, k] or seen[cell] & BROKEN:
                    continue
                if ids[r, k] < 0:
                    seen[cell] |= SEEN_FLOAT
                    continue
                at = ids[r, k]
                first = seen[cell] == 0
                seen[cell] |= SEEN_HISTOGRAM
                if not (first or loaded) and sizes[cell, 0] < 0:
                    continue
                seen[cell] |= SEEN_RESET if pool[HINTS][at] == RESET else 0
                seen[cell] |= SEEN_NOT_RESET if pool[HINTS][at] == NOT_RESET else 0
                counts[cell] += 1.0
                if first:
                    load(total, pool, at)
                    loaded = True
                    continue
                if not loaded:
                    _load_cell(total, arena, places, sizes, numbers, cell)
                    loaded = True
                if average:
                    met, incremental[cell] = take(
                        total, saved, single, pool, at, counts[cell], average, incremental[cell]
                    )
                else:
                    met = add(total, pool, at, 1.0, True)
                if met & RECONCILED:
                    seen[cell] |= SEEN_OTHER_BOUNDS
                if met & INCOMPATIBLE:
                    seen[cell] |= BROKEN
                    broke[r] = True
            if loaded:
                arena = _store_cell(total, arena, places, sizes, numbers, cell)
    return arena


@kernel(
    f"{POOL}({ARENA}, i8[:, ::1], i8[:, ::1], f8[:, ::1], i8[::1], f8[::1], b1, b1[::1], i8, i8)"
)
def settled(
    arena: Arena,
    places: I8,
    sizes: I8,
    numbers: F8,
    cells: I8,
    counts: F8,
    average: bool,
    incremental: B1,
    buckets: int,
    bounds: int,
) -> Pool:
    """The sums or means of *cells*, compacted; the last arguments are as in ``fold_histograms``."""
    total = new_total(buckets, bounds)
    results = new_pool(len(cells), buckets)
    for i in range(len(cells)):
        cell = cells[i]
        _load_cell(total, arena, places, sizes, numbers, cell)
        settle(total, counts[cell], average, incremental[cell])
        compact(total)
        results = with_room(results, i, total)
        store(total, results, i)
    return results

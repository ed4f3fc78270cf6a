"""Kernels of a block's layout: which segments make up which frames, which columns are the same."""

from typing import Any

import numpy as np

from series.jit import fold_u64, helper, kernel

_INT64 = "Array(i8, 1, 'C', True)"
_UINT64 = "Array(u8, 1, 'C', True)"

_RECENT = 1 << 10  # stretches whose number is remembered by where they stand


@kernel(f"void({_INT64}, {_INT64}, i8[::1], i8[::1])")
def lay_out(row_segments: Any, group_rows: Any, order: Any, bounds: Any) -> None:
    """Lays the segments of consecutive rows into frames, group by group.

    ``row_segments`` int64[rows] says how many segments each row has, ``group_rows`` int64[groups]
    how many rows each group; these add up to all rows. The k-th segments of the rows of a group
    are one frame; its frames stand in the order of k. Fills ``order`` int64[segments] with the
    segments (numbered row by row) in the order of frames and ``bounds`` int64[frames + 1] with
    where in it each frame begins.
    """
    row = 0
    first = 0
    made = 0
    frame = 0
    bounds[0] = 0
    for group in range(len(group_rows)):
        end = row + group_rows[group]
        k = 0
        while True:
            start = made
            segment = first
            for r in range(row, end):
                if row_segments[r] > k:
                    order[made] = segment + k
                    made += 1
                segment += row_segments[r]
            if made == start:
                first = segment
                break
            frame += 1
            bounds[frame] = made
            k += 1
        row = end


@helper
def _hashed(numbers: Any, start: Any, count: Any, seed: Any) -> Any:
    """Two lanes of multiply-and-fold over two numbers at a time, as fingerprints of keys."""
    size = np.uint64(count)
    a = seed[0] ^ size
    b = seed[1] ^ size
    at = start
    end = start + count
    while at < end:
        low = np.uint64(numbers[at])
        high = np.uint64(numbers[at + 1]) if at + 1 < end else np.uint64(0)
        a = fold_u64(low ^ seed[0], high ^ a)
        b = fold_u64(low ^ seed[2], high ^ b ^ seed[3])
        at += 2
    return fold_u64(a ^ seed[1], size ^ seed[2]), fold_u64(b ^ seed[0], size ^ seed[3])


@kernel(f"i8({_INT64}, {_INT64}, {_INT64}, i8, {_UINT64}, u8[:, ::1], i8[::1], i8[::1], i8[::1])")
def number_contents(
    numbers: Any,
    starts: Any,
    counts: Any,
    first: int,
    seed: Any,
    slots: Any,
    ids: Any,
    firsts: Any,
    state: Any,
) -> int:
    """Numbers the stretches ``numbers[starts[k] : starts[k] + counts[k]]`` from k = *first* on.

    Stretches with one 128-bit hash under *seed* (uint64[4], secret) are one. ``slots`` uint64[2^n,
    3] is the table of hashes and numbers + 1 (0: free), ``state`` int64[2] counts the known
    stretches and the new ones of this call: their k are noted in ``firsts``. Fills ``ids[k]``.
    Returns how many stretches are done, fewer than all where the table is half full.
    """
    mask = np.uint64(len(slots) - 1)
    recent = np.full(_RECENT, -1, np.int64)
    for k in range(first, len(starts)):
        start, count = starts[k], counts[k]
        near = (start ^ count << 5) % _RECENT
        other = recent[near]
        if other >= 0 and starts[other] == start and counts[other] == count:
            ids[k] = ids[other]
            continue
        if 2 * state[0] >= len(slots):
            return k
        a, b = _hashed(numbers, start, count, seed)
        slot = a & mask
        while slots[slot, 2] != 0 and (slots[slot, 0] != a or slots[slot, 1] != b):
            slot = (slot + np.uint64(1)) & mask
        if slots[slot, 2] == 0:
            slots[slot, 0] = a
            slots[slot, 1] = b
            firsts[state[1]] = k
            state[0] += 1
            state[1] += 1
            slots[slot, 2] = np.uint64(state[0])
        ids[k] = np.int64(slots[slot, 2]) - 1
        recent[near] = k
    return len(starts)


@kernel("void(u8[:, ::1], u8[:, ::1])")
def move_contents(old: Any, slots: Any) -> None:
    """Moves the entries of one table of ``number_contents`` into a larger, empty one."""
    mask = np.uint64(len(slots) - 1)
    for k in range(len(old)):
        if old[k, 2] != 0:
            slot = old[k, 0] & mask
            while slots[slot, 2] != 0:
                slot = (slot + np.uint64(1)) & mask
            slots[slot] = old[k]

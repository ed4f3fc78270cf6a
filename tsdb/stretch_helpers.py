"""Numbering distinct stretches of integers, for kernels of several files."""

from typing import Any

import numpy as np

from series.jit import helper


@helper
def mixed(state: Any, word: Any) -> Any:
    state = (state ^ np.uint64(word)) * np.uint64(0x9E3779B97F4A7C15)
    return state ^ (state >> np.uint64(29))


@helper
def _equal(a: Any, a_at: Any, b: Any, b_at: Any, count: Any) -> Any:
    at = 0
    while at < count and a[a_at + at] == b[b_at + at]:
        at += 1
    return at == count


@helper
def empty_slots(count: Any) -> Any:
    size = 16
    while size < 2 * count:
        size *= 2
    return np.full(size, -1, np.int64)


@helper
def number(numbers: Any, starts: Any, counts: Any, ids: Any, firsts: Any) -> Any:
    """See ``number_stretches`` in ``tsdb.block.kernels``."""
    slots = empty_slots(len(starts))
    mask = np.uint64(len(slots) - 1)
    found = 0
    for k in range(len(starts)):
        start, count = starts[k], counts[k]
        if k > 0 and start == starts[k - 1] and count == counts[k - 1]:
            ids[k] = ids[k - 1]
            continue
        state = np.uint64(count)
        for i in range(count):
            state = mixed(state, numbers[start + i])
        slot = (state ^ (state >> np.uint64(32))) & mask
        while slots[slot] >= 0:
            first = firsts[slots[slot]]
            if counts[first] == count and (
                starts[first] == start or _equal(numbers, starts[first], numbers, start, count)
            ):
                break
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] < 0:
            slots[slot] = found
            firsts[found] = k
            found += 1
        ids[k] = slots[slot]
    return found

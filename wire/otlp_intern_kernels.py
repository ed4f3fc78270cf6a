"""Kernels of the interner: texts to numbers by an open-addressing table."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import fold_u64, helper, kernel, load_u64, pointer

_BYTES = "Array(u1, 1, 'C', True)"


@helper
def _hash(data: Any, at: Any, end: Any, parent: Any, first: Any, second: Any) -> Any:
    """A 64-bit hash of the bytes [at, end) and their *parent* under two secret words."""
    state = fold_u64(np.uint64(parent) ^ first, np.uint64(end - at) ^ second)
    while end - at >= 8:
        state = fold_u64(load_u64(data, at) ^ first, state ^ second)
        at += 8
    word = np.uint64(0)
    for k in range(end - at):
        word |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return fold_u64(word ^ second, state ^ first)


@helper
def _same(a: Any, at: Any, end: Any, b: Any, b_at: Any) -> Any:
    """Whether the bytes [at, end) of *a* stand at *b_at* in *b*."""
    while end - at >= 8:
        if load_u64(a, at) != load_u64(b, b_at):
            return False
        at += 8
        b_at += 8
    while at < end:
        if a[at] != b[b_at]:
            return False
        at += 1
        b_at += 1
    return True


@kernel(
    f"UniTuple(i8, 4)({_BYTES}, i8[::1], i8[::1], i8[::1], u8[::1],"
    " i8[::1], u8[::1], i8[::1], i8[::1], i8[::1], u1[::1], i8, i8[::1])"
)
def intern(
    message: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    parents: NDArray[np.int64],
    seed: NDArray[np.uint64],
    slots: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    known_parents: NDArray[np.int64],
    known_ends: NDArray[np.int64],
    followers: NDArray[np.int64],
    arena: NDArray[np.uint8],
    known: int,
    ids: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """The id of every (bytes [starts[k], ends[k]), parents[k]); unknown ones get the next.

    ``slots`` (a power of two long) holds id + 1 or 0; id ``i`` has ``hashes[i]``,
    ``known_parents[i]`` and the bytes from ``known_ends[i]`` to ``known_ends[i + 1]`` of *arena*.
    ``followers[i]`` is what came after it the last time: senders repeat themselves, so that is
    compared first, and only where it is another a hash is made; the last of *followers* is what
    came first. Returns (how many are known, spans for which there was no room, their bytes, bytes
    in use of the arena); those without room and those whose parent is negative have id -1.
    """
    data = pointer(message)
    texts = pointer(arena)
    mask = np.uint64(len(slots) - 1)
    count: Any = np.int64(known)
    used: Any = known_ends[count]
    lacking: Any = np.int64(0)
    lacking_bytes: Any = np.int64(0)
    last: Any = np.int64(len(followers) - 1)
    for k in range(len(starts)):
        ids[k] = -1
        parent = parents[k]
        if parent < 0:
            continue
        start = starts[k]
        end = ends[k]
        one = followers[last]
        if (
            one < count
            and known_parents[one] == parent
            and known_ends[one + 1] - known_ends[one] == end - start
            and _same(data, start, end, texts, known_ends[one])
        ):
            ids[k] = one
            last = one
            continue
        code = _hash(data, start, end, parent, seed[0], seed[1])
        slot = code & mask
        while slots[slot] != 0:
            one = slots[slot] - 1
            if (
                hashes[one] == code
                and known_parents[one] == parent
                and known_ends[one + 1] - known_ends[one] == end - start
                and _same(data, start, end, texts, known_ends[one])
            ):
                ids[k] = one
                break
            slot = (slot + np.uint64(1)) & mask
        if ids[k] < 0:
            if count >= len(hashes) or 2 * count >= len(slots) or end - start > len(arena) - used:
                lacking += 1
                lacking_bytes += end - start
                continue
            for at in range(start, end):
                texts[used] = data[at]
                used += 1
            slots[slot] = count + 1
            hashes[count] = code
            known_parents[count] = parent
            known_ends[count + 1] = used
            ids[k] = count
            count += 1
        followers[last] = ids[k]
        last = ids[k]
    return count, lacking, lacking_bytes, used


@kernel("void(u8[::1], i8, i8[::1])")
def index(hashes: NDArray[np.uint64], count: int, slots: NDArray[np.int64]) -> None:
    """Enters the first *count* hashes into the empty *slots*."""
    mask = np.uint64(len(slots) - 1)
    for one in range(count):
        slot = hashes[one] & mask
        while slots[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = one + 1

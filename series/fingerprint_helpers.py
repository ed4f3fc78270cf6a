"""Fingerprints of keys, and the open-addressing table in which they stand.

A slot of the table is 32 bytes: both halves of the fingerprint, id + 1 (0: free), unused.
"""

from typing import Any

import numpy as np

from series.jit import fold_u64, helper, load_u64


@helper
def _tail(data: Any, at: Any, end: Any) -> Any:
    """The up to eight bytes [at, end) as a little-endian number."""
    word = np.uint64(0)
    for k in range(end - at):
        word |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return word


@helper
def fingerprint(data: Any, at: Any, end: Any, seed: Any) -> Any:
    """Both halves of the 128-bit fingerprint of the bytes [at, end) under *seed* (uint64[4]).

    Two lanes of multiply-and-fold over 16 bytes at a time, each under two words of the seed:
    who does not know the seed cannot make two keys meet.
    """
    size = np.uint64(end - at)
    a = seed[0] ^ size
    b = seed[1] ^ size
    while at + 16 <= end:
        low, high = load_u64(data, at), load_u64(data, at + 8)
        a = fold_u64(low ^ seed[0], high ^ a)
        b = fold_u64(low ^ seed[2], high ^ b ^ seed[3])
        at += 16
    if size >= 16:
        low, high = load_u64(data, end - 16), load_u64(data, end - 8)
    else:
        middle = min(at + 8, end)
        low, high = _tail(data, at, middle), _tail(data, middle, end)
    a = fold_u64(low ^ seed[0], high ^ a)
    b = fold_u64(low ^ seed[2], high ^ b ^ seed[3])
    return fold_u64(a ^ seed[1], size ^ seed[2]), fold_u64(b ^ seed[0], size ^ seed[3])


@helper
def slot_of(first: Any, second: Any, slots: Any) -> Any:
    """The slot that holds a fingerprint, or the free slot where it belongs."""
    mask = np.uint64(len(slots) - 1)
    at = first & mask
    while slots[at, 2] != 0 and (slots[at, 0] != first or slots[at, 1] != second):
        at = (at + np.uint64(1)) & mask
    return at

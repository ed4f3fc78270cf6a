"""Kernels of the registry: fingerprints of keys, an open-addressing table, copying keys."""

from typing import Any

import numpy as np

from series.jit import fold_u64, helper, kernel, load_u64, prefetch

_BYTES = "Array(u1, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"

_AHEAD = 12  # so many rows ahead the slots are prefetched

FITS, TOO_OLD, TOO_FAR_IN_FUTURE = 0, 1, 2


@helper
def _tail(data: Any, at: Any, end: Any) -> Any:
    """The up to eight bytes [at, end) as a little-endian number."""
    word = np.uint64(0)
    for k in range(end - at):
        word |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return word


@kernel(f"void({_BYTES}, {_INT64}, {_INT64}, u8[::1], u8[:, ::1])")
def fingerprint_keys(
    keys: Any, key_starts: Any, key_ends: Any, seed: Any, fingerprints: Any
) -> None:
    """The 128-bit fingerprint of every key under *seed* (uint64[4], secret).

    Two lanes of multiply-and-fold over 16 bytes at a time, each under two words of the seed:
    who does not know the seed cannot make two keys meet.
    """
    for row in range(len(key_starts)):
        at, end = key_starts[row], key_ends[row]
        size = np.uint64(end - at)
        a = seed[0] ^ size
        b = seed[1] ^ size
        while at + 16 <= end:
            low, high = load_u64(keys, at), load_u64(keys, at + 8)
            a = fold_u64(low ^ seed[0], high ^ a)
            b = fold_u64(low ^ seed[2], high ^ b ^ seed[3])
            at += 16
        if size >= 16:
            low, high = load_u64(keys, end - 16), load_u64(keys, end - 8)
        else:
            middle = min(at + 8, end)
            low, high = _tail(keys, at, middle), _tail(keys, middle, end)
        a = fold_u64(low ^ seed[0], high ^ a)
        b = fold_u64(low ^ seed[2], high ^ b ^ seed[3])
        fingerprints[row, 0] = fold_u64(a ^ seed[1], size ^ seed[2])
        fingerprints[row, 1] = fold_u64(b ^ seed[0], size ^ seed[3])


@helper
def _slot_of(first: Any, second: Any, slots: Any) -> Any:
    """The slot that holds a fingerprint, or the free slot where it belongs."""
    mask = np.uint64(len(slots) - 1)
    at = first & mask
    while slots[at, 2] != 0 and (slots[at, 0] != first or slots[at, 1] != second):
        at = (at + np.uint64(1)) & mask
    return at


@kernel("i8(u8[:, ::1], u8[:, ::1], i4[::1])")
def look_up(fingerprints: Any, slots: Any, ids: Any) -> int:
    """The id of every fingerprint, -1 for the unknown; returns how many are unknown.

    A slot is 32 bytes: both halves of the fingerprint, id + 1 (0: free), unused.
    """
    unknown = 0
    mask = np.uint64(len(slots) - 1)
    for row in range(len(fingerprints)):
        if row + _AHEAD < len(fingerprints):
            prefetch(slots, np.int64(fingerprints[row + _AHEAD, 0] & mask) * 4)
        at = _slot_of(fingerprints[row, 0], fingerprints[row, 1], slots)
        ids[row] = np.int64(slots[at, 2]) - 1
        unknown += slots[at, 2] == 0
    return unknown


@kernel("i8(u8[:, ::1], u8[:, ::1], i4[::1], i8, i8[::1])")
def enter(fingerprints: Any, slots: Any, ids: Any, next_id: int, new_rows: Any) -> int:
    """Gives the rows with id -1 ids from *next_id* on and enters them into *slots*.

    Rows with equal fingerprints get one id. ``new_rows`` gets the first row of each new id;
    returns how many those are.
    """
    new = 0
    mask = np.uint64(len(slots) - 1)
    for row in range(len(fingerprints)):
        if row + _AHEAD < len(fingerprints):
            prefetch(slots, np.int64(fingerprints[row + _AHEAD, 0] & mask) * 4)
        if ids[row] >= 0:
            continue
        at = _slot_of(fingerprints[row, 0], fingerprints[row, 1], slots)
        if slots[at, 2] == 0:
            slots[at, 0] = fingerprints[row, 0]
            slots[at, 1] = fingerprints[row, 1]
            slots[at, 2] = np.uint64(next_id + new + 1)
            new_rows[new] = row
            new += 1
        ids[row] = np.int64(slots[at, 2]) - 1
    return new


@kernel(f"void({_BYTES}, {_INT64}, {_INT64}, u1[::1], i8)")
def copy_spans(data: Any, starts: Any, ends: Any, out: Any, out_at: int) -> None:
    """Writes the bytes [starts[k], ends[k]) of all k into *out* from *out_at* on, end to end."""
    at = out_at
    for k in range(len(starts)):
        for position in range(starts[k], ends[k]):
            out[at] = data[position]
            at += 1


@kernel(f"i8({_INT64}, {_INT64}, {_INT64}, i8, i8, i4[::1], i8[::1], u1[::1])")
def spread(
    offsets: Any,
    time_starts: Any,
    times_ms: Any,
    oldest_ms: int,
    newest_ms: int,
    rows: Any,
    times: Any,
    verdicts: Any,
) -> int:
    """The row and the time of every sample of a batch, and whether the time is within bounds.

    Returns how many are not.
    """
    refused = 0
    for row in range(len(time_starts)):
        shift = time_starts[row] - offsets[row]
        for i in range(offsets[row], offsets[row + 1]):
            time = times_ms[i + shift]
            rows[i] = row
            times[i] = time
            verdict = FITS
            if time < oldest_ms:
                verdict = TOO_OLD
            elif time > newest_ms:
                verdict = TOO_FAR_IN_FUTURE
            verdicts[i] = verdict
            refused += verdict != FITS
    return refused

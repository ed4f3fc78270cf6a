"""Kernels of the registry: fingerprints of keys, an open-addressing table, copying keys."""

from typing import Any

import numpy as np

from series.fingerprint_helpers import fingerprint, slot_of
from series.jit import kernel, prefetch

_BYTES = "Array(u1, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"

_AHEAD = 12  # so many rows ahead the slots are prefetched

FITS, TOO_OLD, TOO_FAR_IN_FUTURE = 0, 1, 2


@kernel(f"void({_BYTES}, {_INT64}, {_INT64}, u8[::1], u8[:, ::1])")
def fingerprint_keys(
    keys: Any, key_starts: Any, key_ends: Any, seed: Any, fingerprints: Any
) -> None:
    """The 128-bit fingerprint of every key under *seed* (uint64[4], secret)."""
    for row in range(len(key_starts)):
        first, second = fingerprint(keys, key_starts[row], key_ends[row], seed)
        fingerprints[row, 0] = first
        fingerprints[row, 1] = second


@kernel("i8(u8[:, ::1], u8[:, ::1], i4[::1])")
def look_up(fingerprints: Any, slots: Any, ids: Any) -> int:
    """The id of every fingerprint, -1 for the unknown; returns how many are unknown."""
    unknown = 0
    mask = np.uint64(len(slots) - 1)
    for row in range(len(fingerprints)):
        if row + _AHEAD < len(fingerprints):
            prefetch(slots, np.int64(fingerprints[row + _AHEAD, 0] & mask) * 4)
        at = slot_of(fingerprints[row, 0], fingerprints[row, 1], slots)
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
        at = slot_of(fingerprints[row, 0], fingerprints[row, 1], slots)
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


@kernel(f"i8({_INT64}, {_INT64}, {_INT64}, i4[::1], i8, i8, i4[::1], i4[::1], i8[::1], u1[::1])")
def spread(
    offsets: Any,
    time_starts: Any,
    times_ms: Any,
    ids: Any,
    oldest_ms: int,
    newest_ms: int,
    rows: Any,
    series: Any,
    times: Any,
    verdicts: Any,
) -> int:
    """The row and the time of every sample of a batch, and whether the time is within bounds.

    Where there are *ids* of the rows, also the ``series`` of every sample. Returns how many
    samples are not within bounds.
    """
    is_known = len(ids) > 0
    refused = 0
    for row in range(len(time_starts)):
        shift = time_starts[row] - offsets[row]
        for i in range(offsets[row], offsets[row + 1]):
            time = times_ms[i + shift]
            rows[i] = row
            if is_known:
                series[i] = ids[row]
            times[i] = time
            verdict = FITS
            if time < oldest_ms:
                verdict = TOO_OLD
            elif time > newest_ms:
                verdict = TOO_FAR_IN_FUTURE
            verdicts[i] = verdict
            refused += verdict != FITS
    return refused

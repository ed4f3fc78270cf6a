"""The scan of remote-write 1.0 bodies that hold nothing but float samples of known series.

Guarded as ``wire/remote_write_kernels.py`` tells.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.fingerprint_helpers import fingerprint, slot_of
from series.jit import helper, kernel, load_u64, pointer
from wire.protobuf_helpers import OK, read_length
from wire.remote_write_helpers import (
    PLAIN_SAMPLE_BYTES,
    begins_with,
    is_plain_sample,
    one_sample,
    plain_time,
)


@helper
def _end_of_labels(data: Any, at: Any, end: Any) -> Any:
    """Where the label fields from *at* on end; -1 where they are malformed."""
    while at < end and data[at] == 0x0A:
        size, at, status = read_length(data, at + 1, end)
        if status != OK:
            return np.int64(-1)
        at += size
    return at


@kernel(
    "UniTuple(i8, 3)(u1[::1], i8[::1], i8, u1[::1], i8[::1], u8[::1], u8[:, ::1],"
    " i4[::1], i8[::1], u8[::1], i8[::1])"
)
def scan_known(
    messages: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    known: int,
    known_keys: NDArray[np.uint8],
    known_starts: NDArray[np.int64],
    seed: NDArray[np.uint64],
    slots: NDArray[np.uint64],
    ids: NDArray[np.int32],
    times_ms: NDArray[np.int64],
    bits: NDArray[np.uint64],
    ends: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Reads the WriteRequests of *messages*, the n-th from ``bounds[n]`` to ``bounds[n + 1]``:
    (samples, the earliest time, the latest).

    A message that consists of series among the first *known* ones of a ``series.known.Known``, and
    of their float samples, adds them to ``ids``, ``times_ms`` and ``bits``; ``ends[n]`` tells how
    many there are up to its own. Of any other message, or one for which the arrays are too short,
    nothing is taken, and ``ends[n]`` is -1.
    """
    data = pointer(messages)
    keys = pointer(known_keys)
    expected: Any = np.int64(0)
    samples: Any = np.int64(0)
    first_ms: Any = np.int64(2**63 - 1)
    last_ms: Any = np.int64(-(2**63))
    for n in range(len(ends)):
        at: Any = bounds[n]
        length: Any = bounds[n + 1]
        begin = samples
        earliest_ms = first_ms
        latest_ms = last_ms
        fits = True
        while fits and at < length:
            fits = False
            if data[at] != 0x0A:
                break
            size, at, status = read_length(data, at + 1, length)
            if status != OK:
                break
            end = at + size
            number: Any = np.int64(-1)
            if expected < known:
                size = known_starts[expected + 1] - known_starts[expected]
                if begins_with(data, at, end, keys, known_starts[expected], size) and (
                    at + size == end or data[at + size] != 0x0A
                ):
                    number = expected
                    at += size
            if number < 0:
                key_end = _end_of_labels(data, at, end)
                if key_end <= at:
                    break
                first, second = fingerprint(data, at, key_end, seed)
                number = np.int64(slots[slot_of(first, second, slots), 2]) - 1
                if number < 0 or number >= known:
                    break
                size = known_starts[number + 1] - known_starts[number]
                if size != key_end - at or not begins_with(
                    data, at, key_end, keys, known_starts[number], size
                ):
                    break
                at = key_end
            expected = number + 1
            fits = True
            while at < end:
                if samples >= len(ids):
                    fits = False
                    break
                if is_plain_sample(data, at, end):
                    bits[samples] = load_u64(data, at + 3)
                    time_ms = plain_time(data, at)
                    at += PLAIN_SAMPLE_BYTES
                else:
                    fits = data[at] == 0x12
                    if not fits:
                        break
                    size, at, status = read_length(data, at + 1, end)
                    fits = status == OK
                    if not fits:
                        break
                    bits[samples], time_ms, status = one_sample(data, at, at + size)
                    fits = status == OK
                    if not fits:
                        break
                    at += size
                ids[samples] = number
                times_ms[samples] = time_ms
                earliest_ms = min(earliest_ms, time_ms)
                latest_ms = max(latest_ms, time_ms)
                samples += 1
        if fits:
            first_ms = earliest_ms
            last_ms = latest_ms
            ends[n] = samples
        else:
            samples = begin
            ends[n] = -1
    return samples, first_ms, last_ms

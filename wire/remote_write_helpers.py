"""What the kernels of remote write 1.0 share: samples, and keys that are known.

Nothing here checks the bounds of the array, see ``wire/protobuf_helpers.py``.
"""

from typing import Any

import numpy as np

from series.jit import helper, load_u64
from wire.protobuf_helpers import (
    OK,
    UNEXPECTED_END,
    WRONG_WIRE_TYPE,
    read_tag,
    read_varint,
    skip_field,
)

PLAIN_SAMPLE_BYTES = 18
"""A value and a time of six bytes, with their tags and the sample's own."""
_SIX_BYTES_GO_ON, _SIX_BYTES_END = 0x808080808080, 0x008080808080


@helper
def one_sample(data: Any, at: Any, end: Any) -> Any:
    """(value bits, time, status) of the Sample message [at, end)."""
    bits = np.uint64(0)
    time_ms = np.int64(0)
    while at < end:
        number, wire_type, at, status = read_tag(data, at, end)
        if status != OK:
            return bits, time_ms, status
        if number == 1:
            if wire_type != 1:
                return bits, time_ms, WRONG_WIRE_TYPE
            if end - at < 8:
                return bits, time_ms, UNEXPECTED_END
            bits = load_u64(data, at)
            at += 8
        elif number == 2:
            if wire_type != 0:
                return bits, time_ms, WRONG_WIRE_TYPE
            time_ms, at, status = read_varint(data, at, end)
        else:
            at, status = skip_field(data, at, end, wire_type)
        if status != OK:
            return bits, time_ms, status
    return bits, time_ms, OK


@helper
def is_plain_sample(data: Any, at: Any, end: Any) -> Any:
    """Whether a sample field of the usual form stands at *at*: a value, a time of six bytes."""
    if end - at < PLAIN_SAMPLE_BYTES or data[at] != 0x12 or data[at + 1] != 0x10:
        return False
    tags = data[at + 2] == 0x09 and data[at + 11] == 0x10
    going_on = load_u64(data, at + 10) >> np.uint64(16) & np.uint64(_SIX_BYTES_GO_ON)
    return tags and going_on == np.uint64(_SIX_BYTES_END)


@helper
def plain_time(data: Any, at: Any) -> Any:
    """The time of the plain sample field at *at*."""
    word = load_u64(data, at + 10) >> np.uint64(16)
    time_ms = word & np.uint64(0x7F)
    for k in range(1, 6):
        time_ms |= (word >> np.uint64(8 * k) & np.uint64(0x7F)) << np.uint64(7 * k)
    return np.int64(time_ms)


@helper
def begins_with(data: Any, at: Any, end: Any, keys: Any, key: Any, size: Any) -> Any:
    """Whether [at, end) begins with the *size* bytes of *keys* from *key* on."""
    if size > end - at:
        return False
    k = np.int64(0)
    while k + 32 <= size:
        differing = load_u64(data, at + k) ^ load_u64(keys, key + k)
        differing |= load_u64(data, at + k + 8) ^ load_u64(keys, key + k + 8)
        differing |= load_u64(data, at + k + 16) ^ load_u64(keys, key + k + 16)
        differing |= load_u64(data, at + k + 24) ^ load_u64(keys, key + k + 24)
        if differing != 0:
            return False
        k += 32
    while k + 8 <= size:
        if load_u64(data, at + k) != load_u64(keys, key + k):
            return False
        k += 8
    if size >= 8:
        return load_u64(data, at + size - 8) == load_u64(keys, key + size - 8)
    while k < size and data[at + k] == keys[key + k]:
        k += 1
    return k == size

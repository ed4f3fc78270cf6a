"""What the scan of a remote-write 2.0 body is made of: samples, metadata, keys put together.

The rules for reading are those of ``wire/protobuf_helpers.py``.
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
    rising,
    skip_field,
)

_METRIC_NAME = int.from_bytes(b"__name__", "little")


@helper
def read_sample(data: Any, at: Any, end: Any) -> Any:
    """(value bits, time, start time, status) of the Sample message [at, end)."""
    bits = np.uint64(0)
    time_ms = np.int64(0)
    start_ms = np.int64(0)
    while at < end:
        number, wire_type, at, status = read_tag(data, at, end)
        if status != OK:
            return bits, time_ms, start_ms, status
        if number == 1:
            if wire_type != 1:
                return bits, time_ms, start_ms, WRONG_WIRE_TYPE
            if end - at < 8:
                return bits, time_ms, start_ms, UNEXPECTED_END
            bits = load_u64(data, at)
            at += 8
        elif number == 2 or number == 3:
            if wire_type != 0:
                return bits, time_ms, start_ms, WRONG_WIRE_TYPE
            number_ms, at, status = read_varint(data, at, end)
            if number == 2:
                time_ms = number_ms
            else:
                start_ms = number_ms
        else:
            at, status = skip_field(data, at, end, wire_type)
        if status != OK:
            return bits, time_ms, start_ms, status
    return bits, time_ms, start_ms, OK


@helper
def _varint_size(number: Any) -> Any:
    size = np.int64(1)
    while number >= 128:
        number >>= 7
        size += 1
    return size


@helper
def _put_text(keys: Any, at: Any, tag: Any, data: Any, start: Any, end: Any) -> Any:
    """Writes tag, length and the bytes [start, end) at *at*; returns the position behind them."""
    keys[at] = np.uint8(tag)
    at = _put_varint(keys, at + 1, end - start)
    for source in range(start, end):
        keys[at] = data[source]
        at += 1
    return at


@helper
def _put_varint(keys: Any, at: Any, number: Any) -> Any:
    while number >= 128:
        keys[at] = np.uint8(number & 127 | 128)
        number >>= 7
        at += 1
    keys[at] = np.uint8(number)
    return at + 1


@helper
def put_key(
    data: Any,
    at: Any,
    end: Any,
    symbols: Any,
    usable: Any,
    count: Any,
    keys: Any,
    key: Any,
    room: Any,
) -> Any:
    """Writes the key of the references [at, end): (its end, its name's reference, size, status).

    The end is -1 where the labels are irregular, the name's reference where there is no name.
    Beyond *room* nothing is written. The size counts what was compared and copied, also for an
    irregular key.
    """
    name_ref = np.int64(-1)
    begin = key
    before = np.int64(0)
    before_end = np.int64(0)
    regular = True
    while at < end:
        first, at, status = read_varint(data, at, end)
        if status != OK:
            return np.int64(-1), name_ref, key - begin, status
        if at >= end:
            regular = False
            break
        second, at, status = read_varint(data, at, end)
        if status != OK:
            return np.int64(-1), name_ref, key - begin, status
        first &= 0xFFFFFFFF
        second &= 0xFFFFFFFF
        if first >= count or second >= count or not (usable[first] and usable[second]):
            regular = False
            continue
        if not regular:
            continue
        name = symbols[first, 0]
        name_end = symbols[first, 1]
        value = symbols[second, 0]
        value_end = symbols[second, 1]
        if not rising(data, before, before_end, name, name_end):
            regular = False
            continue
        before = name
        before_end = name_end
        if name_end - name == 8 and load_u64(data, name) == np.uint64(_METRIC_NAME):
            name_ref = second
        names = name_end - name
        values = value_end - value
        size = 2 + _varint_size(names) + names + _varint_size(values) + values
        after = key + 1 + _varint_size(size) + size
        if after <= room:
            keys[key] = np.uint8(0x0A)
            key = _put_varint(keys, key + 1, size)
            key = _put_text(keys, key, 0x0A, data, name, name_end)
            key = _put_text(keys, key, 0x12, data, value, value_end)
        key = after
    if not regular:
        return np.int64(-1), name_ref, key - begin, OK
    return key, name_ref, key - begin, OK


@helper
def read_metadata(data: Any, at: Any, end: Any) -> Any:
    """(type, help reference, unit reference, status) of the Metadata message [at, end)."""
    kind = np.int64(0)
    help_ref = np.int64(0)
    unit_ref = np.int64(0)
    while at < end:
        number, wire_type, at, status = read_tag(data, at, end)
        if status != OK:
            return kind, help_ref, unit_ref, status
        if number == 1 or number == 3 or number == 4:
            if wire_type != 0:
                return kind, help_ref, unit_ref, WRONG_WIRE_TYPE
            value, at, status = read_varint(data, at, end)
            value &= 0xFFFFFFFF
            if number == 1:
                kind = value
            elif number == 3:
                help_ref = value
            else:
                unit_ref = value
        else:
            at, status = skip_field(data, at, end, wire_type)
        if status != OK:
            return kind, help_ref, unit_ref, status
    return kind, help_ref, unit_ref, OK

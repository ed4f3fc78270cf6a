"""What the kernels of the protobuf doors share: varints, tags, texts.

Nothing here checks the bounds of the array: a *position* is only ever advanced to at most its
*end*, and each load of n bytes at a position is preceded by a comparison with that end. Numbers
are int64 throughout; a varint of 64 bits may come out negative, which no length accepts.
"""

from typing import Any

import numpy as np

from series.jit import helper, load_u64

OK = 0
UNEXPECTED_END = 1
VARINT_OVERFLOW = 2
ILLEGAL_TAG = 3
ILLEGAL_WIRE_TYPE = 4
WRONG_WIRE_TYPE = 5

_HIGH_BITS = 0x8080808080808080


@helper
def read_varint(data: Any, at: Any, end: Any) -> Any:
    """(value, next position, status); status is not OK where it does not end before *end*."""
    value = np.int64(0)
    shift = 0
    while at < end:
        byte = np.int64(data[at])
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at, OK
        shift += 7
        if shift > 63:
            return value, at, VARINT_OVERFLOW
    return value, at, UNEXPECTED_END


@helper
def read_length(data: Any, at: Any, end: Any) -> Any:
    """Like read_varint, for a length: also checks that so many bytes follow."""
    size, at, status = read_varint(data, at, end)
    if status == OK and (size < 0 or size > end - at):
        status = UNEXPECTED_END
    return size, at, status


@helper
def read_tag(data: Any, at: Any, end: Any) -> Any:
    """(field number, wire type, next position, status)."""
    tag, at, status = read_varint(data, at, end)
    number = (tag & 0xFFFFFFFF) >> 3
    wire_type = tag & 7
    if status == OK and number == 0:
        status = ILLEGAL_TAG
    return number, wire_type, at, status


@helper
def skip_field(data: Any, at: Any, end: Any, wire_type: Any) -> Any:
    """(position after a field's value, status)."""
    if wire_type == 0:
        _, at, status = read_varint(data, at, end)
        return at, status
    if wire_type == 2:
        size, at, status = read_length(data, at, end)
        return (at + size if status == OK else at), status
    if wire_type == 1:
        size = np.int64(8)
    elif wire_type == 5:
        size = np.int64(4)
    else:
        return at, ILLEGAL_WIRE_TYPE
    if size > end - at:
        return at, UNEXPECTED_END
    return at + size, OK


@helper
def rising(data: Any, a: Any, a_end: Any, b: Any, b_end: Any) -> Any:
    """Whether the bytes [a, a_end) sort before [b, b_end)."""
    while a < a_end and b < b_end:
        if data[a] != data[b]:
            return data[a] < data[b]
        a += 1
        b += 1
    return b < b_end


@helper
def is_ascii(data: Any, at: Any, end: Any) -> Any:
    while end - at >= 8:
        if load_u64(data, at) & np.uint64(_HIGH_BITS):
            return False
        at += 8
    while at < end:
        if data[at] >= 0x80:
            return False
        at += 1
    return True


@helper
def is_utf8(data: Any, at: Any, end: Any) -> Any:
    """Whether [at, end) is UTF-8 (Unicode 15, table 3-7: no surrogates, no overlong forms)."""
    while at < end:
        lead = data[at]
        at += 1
        if lead < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                low = 0xA0
            elif lead == 0xED:
                high = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                low = 0x90
            elif lead == 0xF4:
                high = 0x8F
        else:
            return False
        if more > end - at:
            return False
        for _ in range(more):
            byte = data[at]
            at += 1
            if byte < low or byte > high:
                return False
            low, high = 0x80, 0xBF
    return True

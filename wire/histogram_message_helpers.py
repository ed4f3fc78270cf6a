"""How a Histogram message is read: field by field, whatever numbers its fields have.

The same histogram travels under two sets of field numbers, in remote writes and in exposition
pages; a caller's table of *roles* tells which field means what. The rules for reading are those of
``wire/protobuf_helpers.py``.
"""

from typing import Any

import numpy as np

from series.jit import helper, load_u64
from wire.protobuf_helpers import (
    OK,
    UNEXPECTED_END,
    WRONG_WIRE_TYPE,
    read_length,
    read_tag,
    read_varint,
    skip_field,
)

COUNT_INT, COUNT_FLOAT, SUM, SCHEMA, ZERO_THRESHOLD, ZERO_COUNT_INT, ZERO_COUNT_FLOAT = range(1, 8)
NEGATIVE_SPANS, NEGATIVE_DELTAS, NEGATIVE_COUNTS = range(8, 11)
POSITIVE_SPANS, POSITIVE_DELTAS, POSITIVE_COUNTS = range(11, 14)
HINT, TIME, BOUNDS, START = range(14, 18)
"""The roles of fields: their numbers in remote write 2.0."""
ROLE_COUNT = 18

NEGATIVE, POSITIVE, CUSTOM = 0, 1, 2
"""The sides of a histogram; custom buckets have but one."""


@helper
def unzigzag(number: Any) -> Any:
    return ((number >> 1) & 0x7FFFFFFFFFFFFFFF) ^ -(number & 1)


@helper
def _span(data: Any, at: Any, end: Any) -> Any:
    """(offset, length, status) of the BucketSpan message [at, end)."""
    offset = np.int64(0)
    length = np.int64(0)
    while at < end:
        number, wire_type, at, status = read_tag(data, at, end)
        if status != OK:
            return offset, length, status
        if number == 1 or number == 2:
            if wire_type != 0:
                return offset, length, WRONG_WIRE_TYPE
            value, at, status = read_varint(data, at, end)
            if number == 1:
                offset = unzigzag(value & 0xFFFFFFFF)
            else:
                length = value & 0xFFFFFFFF
        else:
            at, status = skip_field(data, at, end, wire_type)
        if status != OK:
            return offset, length, status
    return offset, length, OK


@helper
def read_message(
    data: Any, at: Any, end: Any, roles: Any, by_value: Any, ints: Any, bits: Any, spans: Any,
    bounds: Any, bound_count: Any,
) -> Any:  # fmt: skip
    """(bounds, status) of the Histogram message [at, end), whose bucket counts are only walked.

    Fills ``ints[role]`` (numbers; of spans how many) and ``bits[role]`` (of doubles), which begin
    as zeros, ``spans[side, n] = (offset, length)`` and *bounds* from *bound_count* on (their
    bits). ``ints[0]`` tells a float histogram.
    """
    while at < end:
        number, wire_type, at, status = read_tag(data, at, end)
        if status != OK:
            return bound_count, status
        role = roles[number] if number < len(roles) else np.int64(0)
        if role == 0:
            at, status = skip_field(data, at, end, wire_type)
        elif role in (NEGATIVE_SPANS, POSITIVE_SPANS):
            if wire_type != 2:
                return bound_count, WRONG_WIRE_TYPE
            size, at, status = read_length(data, at, end)
            if status == OK:
                side = POSITIVE if role == POSITIVE_SPANS else NEGATIVE
                offset, length, status = _span(data, at, at + size)
                spans[side, ints[role], 0] = offset
                spans[side, ints[role], 1] = length
                ints[role] += 1
                at += size
        elif role == BOUNDS:
            if wire_type == 1:
                size = np.int64(8)
                status = OK if end - at >= 8 else UNEXPECTED_END
            elif wire_type == 2:
                size, at, status = read_length(data, at, end)
            else:
                return bound_count, WRONG_WIRE_TYPE
            if status == OK and size % 8 != 0:
                status = UNEXPECTED_END
            if status == OK:
                stop = at + size
                while at < stop:
                    bounds[bound_count] = load_u64(data, at)
                    bound_count += 1
                    at += 8
        elif NEGATIVE_SPANS < role <= POSITIVE_COUNTS:
            is_double = role in (NEGATIVE_COUNTS, POSITIVE_COUNTS)
            if wire_type != 2 and wire_type != (1 if is_double else 0):
                return bound_count, WRONG_WIRE_TYPE
            at, status = skip_field(data, at, end, wire_type)
        elif role in (COUNT_FLOAT, SUM, ZERO_THRESHOLD, ZERO_COUNT_FLOAT):
            if wire_type != 1:
                return bound_count, WRONG_WIRE_TYPE
            if end - at < 8:
                return bound_count, UNEXPECTED_END
            bits[role] = load_u64(data, at)
            at += 8
            if role == COUNT_FLOAT:
                ints[0] = 1
            elif role == ZERO_COUNT_FLOAT and not by_value:
                ints[ZERO_COUNT_INT] = 0
        else:
            if wire_type != 0:
                return bound_count, WRONG_WIRE_TYPE
            value, at, status = read_varint(data, at, end)
            if role == SCHEMA:
                value = unzigzag(value & 0xFFFFFFFF)
            elif role == COUNT_INT:
                ints[0] = 0
            elif role == ZERO_COUNT_INT and not by_value:
                bits[ZERO_COUNT_FLOAT] = 0
            ints[role] = value
        if status != OK:
            return bound_count, status
    return bound_count, OK


@helper
def read_counts(
    data: Any, at: Any, end: Any, roles: Any, wanted: Any, is_float: Any, bucket_counts: Any,
    count_bits: Any, begin: Any,
) -> Any:  # fmt: skip
    """(buckets, their sum, number of the first negative one, its count, status) of one side.

    The counts of role *wanted* go to ``bucket_counts[begin:]``, of which *count_bits* is another
    view; deltas are added up. A negative count comes back as an integer, or the bits of a float.
    """
    used = begin
    total = np.int64(0)
    current = np.int64(0)
    bad = np.int64(0)
    bad_count = np.int64(0)
    while at < end:
        number, wire_type, at, status = read_tag(data, at, end)
        if status != OK:
            return used - begin, total, bad, bad_count, status
        role = roles[number] if number < len(roles) else np.int64(0)
        if role != wanted:
            at, status = skip_field(data, at, end, wire_type)
            if status != OK:
                return used - begin, total, bad, bad_count, status
            continue
        stop = at
        if wire_type == 2:
            size, at, status = read_length(data, at, end)
            stop = at + size
        elif is_float:
            stop = at + 8
            status = OK if stop <= end else UNEXPECTED_END
        if status == OK and is_float and (stop - at) % 8 != 0:
            status = UNEXPECTED_END
        if status != OK:
            return used - begin, total, bad, bad_count, status
        last = end if wire_type == 0 else stop
        once = wire_type == 0
        while at < stop or once:
            once = False
            if is_float:
                count_bits[used] = load_u64(data, at)
                at += 8
                if bad == 0 and bucket_counts[used] < 0:
                    bad = used - begin + 1
                    bad_count = np.int64(count_bits[used])
            else:
                delta, at, status = read_varint(data, at, last)
                if status != OK:
                    return used - begin, total, bad, bad_count, status
                current += unzigzag(delta)
                total += current
                bucket_counts[used] = np.float64(current)
                if bad == 0 and current < 0:
                    bad = used - begin + 1
                    bad_count = current
            used += 1
    return used - begin, total, bad, bad_count, OK

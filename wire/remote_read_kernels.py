"""Kernels of remote read: samples and histograms as protobuf messages, samples as XOR chunks."""

from typing import Any

import numpy as np

from series.jit import helper, kernel

SAMPLE_ROOM = 24
"""The most bytes of a Sample message with its tag and length."""
CHUNK_ROOM_PER_SAMPLE = 20
CHUNK_ROOM = 40

_OFFSET = 1 << 29  # series.histogram.OFFSET


@helper
def _put_varint(out: Any, at: Any, value: Any) -> Any:
    """The position after the varint of *value* (uint64)."""
    rest = np.uint64(value)
    while rest >= np.uint64(0x80):
        out[at] = np.uint8(rest & np.uint64(0x7F)) | np.uint8(0x80)
        rest >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(rest)
    return at + 1


@helper
def _zigzag(value: Any) -> Any:
    return np.uint64((np.int64(value) << 1) ^ (np.int64(value) >> 63))


@helper
def _put_fixed64(out: Any, at: Any, bits: Any) -> Any:
    for k in range(8):
        out[at + k] = np.uint8((bits >> np.uint64(8 * k)) & np.uint64(0xFF))
    return at + 8


@helper
def _varint_size(value: Any) -> Any:
    size = 1
    rest = np.uint64(value) >> np.uint64(7)
    while rest:
        size += 1
        rest >>= np.uint64(7)
    return size


@kernel("i8(u8[::1], i8[::1], u1[::1])")
def write_samples(bits: Any, times_ms: Any, out: Any) -> int:
    """Field 2 of TimeSeries once a sample; the bytes written to *out* (SAMPLE_ROOM a sample)."""
    at = 0
    for i in range(len(bits)):
        out[at] = 0x12
        out[at + 1] = 10 + _varint_size(np.uint64(times_ms[i]))
        out[at + 2] = 0x09
        at = _put_fixed64(out, at + 3, bits[i])
        out[at] = 0x10
        at = _put_varint(out, at + 1, np.uint64(times_ms[i]))
    return at


@helper
def _put_double(out: Any, at: Any, field: Any, bits: Any) -> Any:
    at = _put_varint(out, at, (field << 3) | 1)
    return _put_fixed64(out, at, bits)


@helper
def _put_side(out: Any, at: Any, positions: Any, counts: Any, begin: Any, end: Any,
              positive: Any, spans_field: Any, counts_field: Any) -> Any:  # fmt: skip
    """Spans and counts of the buckets begin..end of one side, by rising index."""
    size = end - begin
    if size == 0:
        return at
    k = 0
    next_index = 0
    while k < size:
        first = positions[begin + k] - _OFFSET if positive else -positions[end - 1 - k] - _OFFSET
        length = 1
        while k + length < size:
            index = (
                positions[begin + k + length] - _OFFSET
                if positive
                else -positions[end - 1 - k - length] - _OFFSET
            )
            if index != first + length:
                break
            length += 1
        offset = _zigzag(first - next_index)
        at = _put_varint(out, at, (spans_field << 3) | 2)
        at = _put_varint(out, at, 2 + _varint_size(offset) + _varint_size(np.uint64(length)))
        out[at] = 0x08
        at = _put_varint(out, at + 1, offset)
        out[at] = 0x10
        at = _put_varint(out, at + 1, length)
        next_index = first + length
        k += length
    at = _put_varint(out, at, (counts_field << 3) | 2)
    at = _put_varint(out, at, 8 * size)
    for k in range(size):
        at = _put_fixed64(out, at, counts[begin + k if positive else end - 1 - k])
    return at


@kernel(
    "i8(i8[::1], i8[::1], i4[::1], u1[::1], u8[::1], u8[::1], u8[::1], u8[::1], i8[::1], i4[::1],"
    " u8[::1], i8[::1], u8[::1], u1[::1], u1[::1])"
)
def write_histograms(
    ids: Any,
    times_ms: Any,
    schemas: Any,
    hints: Any,
    counts: Any,
    sums: Any,
    zero_thresholds: Any,
    zero_counts: Any,
    offsets: Any,
    positions: Any,
    bucket_counts: Any,
    bound_offsets: Any,
    bounds: Any,
    scratch: Any,
    out: Any,
) -> int:
    """Field 4 of TimeSeries once a histogram of *ids*; floats come as their bits.

    Returns the bytes written to *out*; *scratch* has room for the largest message.
    """
    at = 0
    for i in range(len(ids)):
        h = ids[i]
        size = _put_double(scratch, 0, 2, counts[h])
        size = _put_double(scratch, size, 3, sums[h])
        scratch[size] = 4 << 3
        size = _put_varint(scratch, size + 1, _zigzag(schemas[h]))
        size = _put_double(scratch, size, 5, zero_thresholds[h])
        size = _put_double(scratch, size, 7, zero_counts[h])
        begin, end = offsets[h], offsets[h + 1]
        middle = begin
        while middle < end and positions[middle] < 0:
            middle += 1
        size = _put_side(scratch, size, positions, bucket_counts, begin, middle, False, 8, 10)
        size = _put_side(scratch, size, positions, bucket_counts, middle, end, True, 11, 13)
        scratch[size] = 14 << 3
        size = _put_varint(scratch, size + 1, hints[h])
        scratch[size] = 15 << 3
        size = _put_varint(scratch, size + 1, np.uint64(times_ms[i]))
        begin, end = bound_offsets[h], bound_offsets[h + 1]
        if end > begin:
            size = _put_varint(scratch, size, (16 << 3) | 2)
            size = _put_varint(scratch, size, 8 * (end - begin))
            for k in range(begin, end):
                size = _put_fixed64(scratch, size, bounds[k])
        out[at] = 0x22
        at = _put_varint(out, at + 1, size)
        for k in range(size):
            out[at + k] = scratch[k]
        at += size
    return at


@helper
def _put_bits(out: Any, at_bit: Any, value: Any, count: Any) -> Any:
    """The low *count* bits of *value*, the highest first; *out* must be 0 there."""
    for k in range(count):
        if (value >> np.uint64(count - 1 - k)) & np.uint64(1):
            out[at_bit >> 3] |= np.uint8(0x80 >> (at_bit & 7))
        at_bit += 1
    return at_bit


@helper
def _put_varint_bits(out: Any, at_bit: Any, value: Any) -> Any:
    rest = np.uint64(value)
    while rest >= np.uint64(0x80):
        at_bit = _put_bits(out, at_bit, (rest & np.uint64(0x7F)) | np.uint64(0x80), 8)
        rest >>= np.uint64(7)
    return _put_bits(out, at_bit, rest, 8)


@helper
def _fits(value: Any, bits: Any) -> Any:
    return -((1 << (bits - 1)) - 1) <= value <= (1 << (bits - 1))


@helper
def _leading_zeros(value: Any) -> Any:
    count = 0
    while count < 64 and not (value >> np.uint64(63 - count)) & np.uint64(1):
        count += 1
    return count


@helper
def _trailing_zeros(value: Any) -> Any:
    count = 0
    while count < 64 and not (value >> np.uint64(count)) & np.uint64(1):
        count += 1
    return count


@kernel("i8(u8[::1], i8[::1], u1[::1])")
def write_xor_chunk(bits: Any, times_ms: Any, out: Any) -> int:
    """The bytes of one XOR chunk of all samples (at least one) into the zeroed *out*.

    Source: tsdb/chunkenc/xor.go of Prometheus, after "Gorilla" (Pelkonen et al., VLDB 2015).
    """
    count = len(bits)
    out[0] = np.uint8(count >> 8)
    out[1] = np.uint8(count & 0xFF)
    at = np.int64(16)
    leading, trailing = -1, 0
    delta = np.int64(0)
    for i in range(count):
        if i == 0:
            at = _put_varint_bits(out, at, _zigzag(times_ms[0]))
            at = _put_bits(out, at, bits[0], 64)
            continue
        step = times_ms[i] - times_ms[i - 1]
        if i == 1:
            at = _put_varint_bits(out, at, np.uint64(step))
        else:
            change = step - delta
            if change == 0:
                at = _put_bits(out, at, np.uint64(0), 1)
            elif _fits(change, 14):
                at = _put_bits(out, at, np.uint64(0b10), 2)
                at = _put_bits(out, at, np.uint64(change), 14)
            elif _fits(change, 17):
                at = _put_bits(out, at, np.uint64(0b110), 3)
                at = _put_bits(out, at, np.uint64(change), 17)
            elif _fits(change, 20):
                at = _put_bits(out, at, np.uint64(0b1110), 4)
                at = _put_bits(out, at, np.uint64(change), 20)
            else:
                at = _put_bits(out, at, np.uint64(0b1111), 4)
                at = _put_bits(out, at, np.uint64(change), 64)
        delta = step
        xor = bits[i] ^ bits[i - 1]
        if xor == np.uint64(0):
            at = _put_bits(out, at, np.uint64(0), 1)
            continue
        at = _put_bits(out, at, np.uint64(1), 1)
        new_leading = min(_leading_zeros(xor), 31)
        new_trailing = _trailing_zeros(xor)
        if leading >= 0 and new_leading >= leading and new_trailing >= trailing:
            at = _put_bits(out, at, np.uint64(0), 1)
        else:
            leading, trailing = new_leading, new_trailing
            at = _put_bits(out, at, np.uint64(1), 1)
            at = _put_bits(out, at, np.uint64(leading), 5)
            at = _put_bits(out, at, np.uint64((64 - leading - trailing) & 63), 6)
        at = _put_bits(out, at, xor >> np.uint64(trailing), 64 - leading - trailing)
    return int((at + 7) >> 3)

"""Kernels of Prometheus' chunks: finding them in a segment, and floats.

Source: tsdb/docs/format/chunks.md and tsdb/chunkenc/xor.go of Prometheus.
"""

from typing import Any

import numpy as np

from series.jit import kernel
from wire.bit_helpers import (
    crc32c,
    read_be32,
    read_bits,
    read_signed,
    read_uvarint,
    read_xored,
    zigzag,
)

SOUND, OUTSIDE, MISMATCH, UNKNOWN, MALFORMED = 0, 1, 2, 3, 4
"""What a chunk is found to be."""
XOR, HISTOGRAM, FLOAT_HISTOGRAM = 1, 2, 3
"""Encodings."""

_BYTES = "Array(u1, 1, 'C', True)"
_UINT32 = "Array(u4, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"


@kernel(f"void({_BYTES}, {_INT64}, {_UINT32}, i8[::1], i8[::1], u1[::1], i8[::1], u1[::1])")
def find_chunks(
    data: Any, offsets: Any, table: Any, begins: Any, ends: Any, encodings: Any, counts: Any,
    found: Any,
) -> None:  # fmt: skip
    """Of the chunk at each of *offsets*: its content [begin, end), encoding and sample count.

    *found* is OUTSIDE where it does not lie within *data*, MISMATCH where its CRC is another.
    """
    for k in range(len(offsets)):
        counts[k] = 0
        found[k] = OUTSIDE
        at = offsets[k]
        if at < 0 or at >= len(data):
            continue
        size, begin = read_uvarint(data, at, len(data))
        if begin < 0 or size < np.uint64(2) or size > np.uint64(len(data)):
            continue
        end = begin + 1 + np.int64(size)
        if end + 4 > len(data):
            continue
        if crc32c(data, begin, end, table) != read_be32(data, end):
            found[k] = MISMATCH
            continue
        encodings[k] = data[begin]
        begins[k], ends[k] = begin + 1, end
        counts[k] = (np.int64(data[begin + 1]) << 8) | np.int64(data[begin + 2])
        known = XOR <= encodings[k] <= FLOAT_HISTOGRAM
        found[k] = SOUND if known else UNKNOWN


@kernel(
    f"void({_BYTES}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, i8[::1], u8[::1], u1[::1])"
)
def read_xor(
    data: Any, chosen: Any, begins: Any, ends: Any, counts: Any, places: Any, times: Any,
    bits: Any, found: Any,
) -> None:  # fmt: skip
    """Reads the XOR chunks *chosen* to their ``places`` in *times* (ms) and *bits*.

    *found* becomes MALFORMED where a chunk ends before its samples do.
    """
    for k in chosen:
        start, stop = begins[k] + 2, ends[k]
        to = places[k]
        end = stop * 8
        at = np.int64(0)
        time = delta = np.int64(0)
        value = np.uint64(0)
        leading = trailing = np.int64(0)
        for i in range(counts[k]):
            if i == 0:
                first, behind = read_uvarint(data, start, stop)
                if behind < 0:
                    found[k] = MALFORMED
                    break
                time = zigzag(first)
                value, at = read_bits(data, behind * 8, end, 64)
            elif i == 1:
                # The bits of the first two samples fill whole bytes up to here.
                step, behind = read_uvarint(data, at >> 3, stop)
                if behind < 0:
                    found[k] = MALFORMED
                    break
                delta = np.int64(step)
                time += delta
                value, at, leading, trailing = read_xored(
                    data, behind * 8, end, value, leading, trailing
                )
            else:
                ones = 0
                while ones < 4:
                    bit, at = read_bits(data, at, end, 1)
                    if bit == np.uint64(0):
                        break
                    ones += 1
                if ones:
                    size = 64 if ones == 4 else 11 + 3 * ones
                    change, at = read_signed(data, at, end, size)
                    delta += change
                time += delta
                value, at, leading, trailing = read_xored(data, at, end, value, leading, trailing)
            if at < 0 or at > end:
                found[k] = MALFORMED
                break
            times[to + i] = time
            bits[to + i] = value

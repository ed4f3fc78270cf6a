"""What the kernels of Prometheus' chunks share: bits, variable numbers of bits, xored floats.

A position counts bits, the highest of a byte first. Nothing is read behind *end*: what would be is
0, and the position then lies beyond *end*, where the caller finds it.

Source: tsdb/chunkenc/{bstream,varbit,xor}.go of Prometheus.
"""

from typing import Any

import numpy as np

from series.jit import helper


@helper
def read_bits(data: Any, at: Any, end: Any, count: Any) -> Any:
    """(uint64 of the next *count* bits, 0 to 64, and the position behind them)."""
    behind = at + count
    if behind > end or count == 0:
        return np.uint64(0), behind
    byte = at >> 3
    have = 8 - (at & 7)
    value = np.uint64(data[byte]) & np.uint64((1 << have) - 1)
    if count <= have:
        return value >> np.uint64(have - count), behind
    left = count - have
    while left >= 8:
        byte += 1
        value = (value << np.uint64(8)) | np.uint64(data[byte])
        left -= 8
    if left:
        value = (value << np.uint64(left)) | np.uint64(data[byte + 1] >> (8 - left))
    return value, behind


@helper
def read_signed(data: Any, at: Any, end: Any, count: Any) -> Any:
    """(int64 of *count* bits, 1 to 64, of which the largest half is negative, the position)."""
    bits, at = read_bits(data, at, end, count)
    value = np.int64(bits)
    if count < 64 and value > (np.int64(1) << (count - 1)):
        value -= np.int64(1) << count
    return value, at


@helper
def _varbit_size(data: Any, at: Any, end: Any) -> Any:
    """(how many bits follow a prefix of up to eight ones, the position behind the prefix)."""
    ones = 0
    while ones < 8:
        bit, at = read_bits(data, at, end, 1)
        if bit == np.uint64(0):
            break
        ones += 1
    if ones == 0:
        return 0, at
    if ones <= 4:
        return 3 * ones, at
    if ones == 5:
        return 18, at
    if ones == 6:
        return 25, at
    return 56 if ones == 7 else 64, at


@helper
def read_varbit_int(data: Any, at: Any, end: Any) -> Any:
    """(int64, position)."""
    size, at = _varbit_size(data, at, end)
    if size == 0:
        return np.int64(0), at
    return read_signed(data, at, end, size)


@helper
def read_varbit_uint(data: Any, at: Any, end: Any) -> Any:
    """(uint64, position)."""
    size, at = _varbit_size(data, at, end)
    return read_bits(data, at, end, size)


@helper
def read_xored(data: Any, at: Any, end: Any, bits: Any, leading: Any, trailing: Any) -> Any:
    """(the next float's bits after *bits*, position, leading, trailing).

    *leading* and *trailing* are how many bits did not change the last time; 0 and 0 at first. A
    position of -1 says that the counts cannot be.
    """
    changed, at = read_bits(data, at, end, 1)
    if changed == np.uint64(0):
        return bits, at, leading, trailing
    fresh, at = read_bits(data, at, end, 1)
    if fresh:
        found, at = read_bits(data, at, end, 5)
        leading = np.int64(found)
        found, at = read_bits(data, at, end, 6)
        size = np.int64(found) if found else np.int64(64)
        trailing = np.int64(64) - leading - size
        if trailing < 0:
            return bits, np.int64(-1), np.int64(0), np.int64(0)
    xor, at = read_bits(data, at, end, np.int64(64) - leading - trailing)
    return bits ^ (xor << np.uint64(trailing)), at, leading, trailing


@helper
def crc32c(data: Any, start: Any, end: Any, table: Any) -> Any:
    """The CRC32C (uint32) of the bytes [start, end); *table* is ``crc32c_table()``."""
    crc = np.uint32(0xFFFFFFFF)
    for at in range(start, end):
        crc = table[(crc ^ data[at]) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


@helper
def read_be32(data: Any, at: Any) -> Any:
    """The big-endian uint32 at byte *at*."""
    return (
        (np.uint32(data[at]) << np.uint32(24))
        | (np.uint32(data[at + 1]) << np.uint32(16))
        | (np.uint32(data[at + 2]) << np.uint32(8))
        | np.uint32(data[at + 3])
    )


@helper
def read_uvarint(data: Any, at: Any, end: Any) -> Any:
    """(uint64, byte position); the position is -1 where no number of 64 bits ends before *end*."""
    value = np.uint64(0)
    shift = 0
    while at < end and shift < 64:
        byte = np.uint64(data[at])
        at += 1
        if shift == 63 and byte > np.uint64(1):
            break
        value |= (byte & np.uint64(0x7F)) << np.uint64(shift)
        if byte < np.uint64(0x80):
            return value, np.int64(at)
        shift += 7
    return value, np.int64(-1)


@helper
def zigzag(value: Any) -> Any:
    """The int64 that a varint64 (uint64) stands for."""
    return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1))

"""Kernels of the index of a Prometheus block: its series as columns, their labels as keys.

Source: tsdb/docs/format/index.md of Prometheus.
"""

from typing import Any

import numpy as np

from series.jit import helper, kernel
from wire.bit_helpers import crc32c, read_be32, read_uvarint, zigzag

ALIGNMENT = 16
"""Series begin at multiples of it."""

_BYTES = "Array(u1, 1, 'C', True)"
_UINT32 = "Array(u4, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"


@helper
def _aligned(at: Any) -> Any:
    return (at + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


@helper
def _entry(data: Any, at: Any, end: Any, table: Any) -> Any:
    """(first byte, end) of the series entry at *at*; the first is -1 where it is no sound one."""
    size, begin = read_uvarint(data, at, end)
    if begin < 0 or size > np.uint64(end - begin):
        return np.int64(-1), np.int64(0)
    stop = begin + np.int64(size)
    if stop + 4 > end or crc32c(data, begin, stop, table) != read_be32(data, stop):
        return np.int64(-1), np.int64(0)
    return begin, stop


@kernel(f"Tuple((i8, i8, i8, i8))({_BYTES}, i8, i8, {_UINT32})")
def measure_series(data: Any, start: int, end: int, table: Any) -> Any:
    """(series, labels, chunks) that stand in [start, end), and -1 or where an unsound entry is."""
    series, labels, chunks = np.int64(0), np.int64(0), np.int64(0)
    at = _aligned(start)
    while at < end and data[at]:
        begin, stop = _entry(data, at, end, table)
        if begin < 0:
            return series, labels, chunks, at
        count, inside = read_uvarint(data, begin, stop)
        if inside < 0 or count > np.uint64(stop - inside):
            return series, labels, chunks, at
        labels += np.int64(count)
        for _ in range(2 * np.int64(count)):
            _, inside = read_uvarint(data, inside, stop)
            if inside < 0:
                return series, labels, chunks, at
        count, inside = read_uvarint(data, inside, stop)
        if inside < 0 or count > np.uint64(stop - inside):
            return series, labels, chunks, at
        chunks += np.int64(count)
        series += 1
        at = _aligned(stop + 4)
    return series, labels, chunks, -1


@kernel(
    f"i8({_BYTES}, i8, i8, {_UINT32}, i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], i8[::1],"
    " i8[::1], u8[::1])"
)
def read_series(
    data: Any,
    start: int,
    end: int,
    table: Any,
    refs: Any,
    label_ends: Any,
    names: Any,
    values: Any,
    chunk_ends: Any,
    min_times: Any,
    max_times: Any,
    chunk_refs: Any,
) -> int:
    """Fills the columns of what ``measure_series`` counted; -1, or where an unsound entry is.

    A series: its ref, where its labels and its chunks end. A label: symbols of name and value. A
    chunk: first and last time (ms) and its ref, the segment above the offset of 32 bits.
    """
    label = chunk = 0
    at = _aligned(start)
    for row in range(len(refs)):
        begin, stop = _entry(data, at, end, table)
        count, inside = read_uvarint(data, begin, stop)
        for _ in range(np.int64(count)):
            name, inside = read_uvarint(data, inside, stop)
            value, inside = read_uvarint(data, inside, stop)
            names[label], values[label] = np.int64(name), np.int64(value)
            label += 1
        count, inside = read_uvarint(data, inside, stop)
        ref = np.uint64(0)
        last_ms = np.int64(0)
        for k in range(np.int64(count)):
            first, inside = read_uvarint(data, inside, stop)
            if inside < 0:
                return int(at)
            length, inside = read_uvarint(data, inside, stop)
            if inside < 0:
                return int(at)
            step, inside = read_uvarint(data, inside, stop)
            if inside < 0:
                return int(at)
            if k == 0:
                min_times[chunk] = zigzag(first)
                ref = step
            else:
                min_times[chunk] = last_ms + np.int64(first)
                ref += np.uint64(zigzag(step))
            last_ms = min_times[chunk] + np.int64(length)
            max_times[chunk] = last_ms
            chunk_refs[chunk] = ref
            chunk += 1
        refs[row] = at // ALIGNMENT
        label_ends[row] = label
        chunk_ends[row] = chunk
        at = _aligned(stop + 4)
    return -1


@kernel(f"i8({_BYTES}, i8, i8, i8[::1], i8[::1])")
def read_symbols(data: Any, start: int, end: int, starts: Any, ends: Any) -> int:
    """Where each symbol stands in *data*; how many of them are sound."""
    at = start
    for k in range(len(starts)):
        size, begin = read_uvarint(data, at, end)
        if begin < 0 or size > np.uint64(end - begin):
            return k
        at = begin + np.int64(size)
        starts[k], ends[k] = begin, at
    return len(starts)


@helper
def _varint_size(value: Any) -> Any:
    size = 1
    while value > 0x7F:
        value >>= 7
        size += 1
    return size


@helper
def _put_varint(out: Any, at: Any, value: Any) -> Any:
    while value > 0x7F:
        out[at] = np.uint8(value & 0x7F | 0x80)
        value >>= 7
        at += 1
    out[at] = np.uint8(value)
    return at + 1


@helper
def _put_text(out: Any, at: Any, tag: Any, data: Any, start: Any, end: Any) -> Any:
    out[at] = tag
    at = _put_varint(out, at + 1, end - start)
    for k in range(start, end):
        out[at] = data[k]
        at += 1
    return at


@helper
def _label_size(name_size: Any, value_size: Any) -> Any:
    """The bytes of a label's message in a key, without its own tag and length."""
    return 2 + _varint_size(name_size) + name_size + _varint_size(value_size) + value_size


@kernel(
    f"i8({_BYTES}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, {_INT64}, i8[::1], b1[::1], u1[::1])"
)
def write_keys(
    data: Any,
    symbol_starts: Any,
    symbol_ends: Any,
    label_ends: Any,
    names: Any,
    values: Any,
    key_ends: Any,
    sound: Any,
    out: Any,
) -> int:
    """Writes the canonical keys of all series to *out*; without room there, only measures them.

    Returns the bytes of all keys. A series is not ``sound``, and its key is empty, where a symbol
    is not in the table or the names do not rise.
    """
    at = np.int64(0)
    begin = 0
    is_measured = len(out) > 0
    for row in range(len(label_ends)):
        sound[row] = True
        start = at
        for k in range(begin, label_ends[row]):
            name, value = names[k], values[k]
            known = 0 <= name < len(symbol_starts) and 0 <= value < len(symbol_starts)
            if not known or (k > begin and name <= names[k - 1]):
                sound[row] = False
                break
            value_size = symbol_ends[value] - symbol_starts[value]
            if value_size == 0:
                continue
            size = _label_size(symbol_ends[name] - symbol_starts[name], value_size)
            if is_measured:
                out[at] = 0x0A
                to = _put_varint(out, at + 1, size)
                to = _put_text(out, to, 0x0A, data, symbol_starts[name], symbol_ends[name])
                _put_text(out, to, 0x12, data, symbol_starts[value], symbol_ends[value])
            at += 1 + _varint_size(size) + size
        if not sound[row]:
            at = start
        begin = label_ends[row]
        key_ends[row] = at
    return int(at)

"""The index of a Prometheus block: which series there are, and where their chunks stand.

Source: tsdb/docs/format/index.md of Prometheus. Postings and label indices only find series, so
nobody reads them here. Symbols are sorted, so rising numbers are rising names.
"""

from dataclasses import dataclass
from functools import cache

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from wire import prometheus_index_kernels as kernels
from wire.errors import Malformed

MAGIC = 0xBAAAD700
VERSION = 2
_HEAD_BYTES = 5
_TOC_BYTES = 6 * 8 + 4

Bytes = NDArray[np.uint8]
Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BlockIndex:
    """The S series of a block with C chunks in all, series after series.

      - ``refs``: int64[S], the numbers by which tombstones name series.
      - ``keys``: uint8[K]; ``key_ends``: int64[S], the canonical keys end to end.
    XX
      - ``chunk_ends``: int64[S], where the chunks of each series end.
      - ``min_times_ms``, ``max_times_ms``: int64[C]; ``chunk_refs``: uint64[C], a segment's number
        from 0 in the upper half, the offset within it in the lower.
    """

    refs: Int64s
    keys: Bytes
    key_ends: Int64s
    sound: NDArray[np.bool_]
    chunk_ends: Int64s
    min_times_ms: Int64s
    max_times_ms: Int64s
    chunk_refs: NDArray[np.uint64]

    @property
    def series_count(self) -> int:
        return len(self.refs)


@cache
def crc32c_table() -> NDArray[np.uint32]:
    """uint32[256]: the CRC32C of each byte, for kernels."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table


def read_index(data: Bytes) -> BlockIndex:
    """The index file *data* (uint8[n]); Malformed says what about it cannot be."""
    if len(data) < _HEAD_BYTES + _TOC_BYTES or _be(data, 0, 4) != MAGIC:
        raise Malformed("not an index of a Prometheus block")
    if data[4] != VERSION:
        raise Malformed(f"index format version {data[4]} is unknown, only {VERSION} is read")
    toc = len(data) - _TOC_BYTES
    _check_crc(data, toc, len(data) - 4, "table of contents")
    offsets = [_be(data, toc + 8 * k, 8) for k in range(6)]
    symbols, series = offsets[:2]
    behind = min([toc, *(at for at in offsets[2:] if series < at <= toc)])
    if not _HEAD_BYTES <= symbols < series <= behind:
        raise Malformed("the index's table of contents contradicts itself")
    starts, ends, valid = _symbols(data, symbols, series)
    table = crc32c_table()
    count, labels, chunks, bad = kernels.measure_series(data, series, behind, table)
    if bad < 0:
        refs, label_ends, chunk_ends = np.empty((3, count), dtype=np.int64)
        names, values = np.empty((2, labels), dtype=np.int64)
        min_times_ms, max_times_ms = np.empty((2, chunks), dtype=np.int64)
        chunk_refs = np.empty(chunks, dtype=np.uint64)
        bad = kernels.read_series(
            data, series, behind, table, refs, label_ends, names, values, chunk_ends,
            min_times_ms, max_times_ms, chunk_refs,
        )  # fmt: skip
    if bad >= 0:
        raise Malformed(f"the index is damaged: a series at offset {bad} does not match its CRC")
    keys, key_ends, sound = _keys(data, starts, ends, label_ends, names, values)
    if not valid.all():
        _exclude(sound, ~valid, label_ends, names, values)
    return BlockIndex(
        refs, keys, key_ends, sound, chunk_ends, min_times_ms, max_times_ms, chunk_refs
    )


def _symbols(data: Bytes, at: int, end: int) -> tuple[Int64s, Int64s, NDArray[np.bool_]]:
    """Where each symbol begins and ends, and whether it is UTF-8."""
    size = _be(data, at, 4) if at + 8 <= end else end
    if size < 4 or at + 4 + size + 4 > end:
        raise Malformed("the index's symbol table is cut short")
    _check_crc(data, at + 4, at + 4 + size, "symbol table")
    count = _be(data, at + 4, 4)
    if count > size:
        raise Malformed("the index's symbol table contradicts itself")
    starts, ends = np.empty((2, count), dtype=np.int64)
    if kernels.read_symbols(data, at + 8, at + 4 + size, starts, ends) != count:
        raise Malformed("the index's symbol table is cut short")
    texts = data[at : at + 4 + size].tobytes()
    pairs = zip((starts - at).tolist(), (ends - at).tolist(), strict=True)
    return starts, ends, np.array([_is_utf8(texts[a:b]) for a, b in pairs], dtype=np.bool_)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _keys(
    data: Bytes, starts: Int64s, ends: Int64s, label_ends: Int64s, names: Int64s, values: Int64s
) -> tuple[Bytes, Int64s, NDArray[np.bool_]]:
    key_ends = np.empty(len(label_ends), dtype=np.int64)
    sound = np.empty(len(label_ends), dtype=np.bool_)
    columns = (data, starts, ends, label_ends, names, values, key_ends, sound)
    keys = np.empty(kernels.write_keys(*columns, np.empty(0, dtype=np.uint8)), dtype=np.uint8)
    kernels.write_keys(*columns, keys)
    return keys, key_ends, sound


def _exclude(
    sound: NDArray[np.bool_],
    invalid: NDArray[np.bool_],
    label_ends: Int64s,
    names: Int64s,
    values: Int64s,
) -> None:
    """Marks the series that use one of the *invalid* symbols as not sound."""
    known = (names < len(invalid)) & (values < len(invalid))
    uses = np.zeros(len(names), dtype=np.bool_)
    uses[known] = invalid[names[known]] | invalid[values[known]]
    sound[np.searchsorted(label_ends, np.flatnonzero(uses), side="right")] = False


def _check_crc(data: Bytes, start: int, end: int, what: str) -> None:
    if google_crc32c.value(data[start:end].tobytes()) != _be(data, end, 4):
        raise Malformed(f"the index is damaged: checksum mismatch in its {what}")


def _be(data: Bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size].tobytes(), "big")

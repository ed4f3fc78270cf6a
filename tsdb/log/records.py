"""Records: the layout of the write-ahead log's records.

A record is a header of 24 bytes and a payload; a payload is a sequence of sections. All numbers
are little-endian; payloads and sections are padded to multiples of 8, so columns are aligned::

    record    "O11W"  version u16  0 u16  payload size u32  CRC32C of the payload u32
              0 u32  CRC32C of the 20 bytes before u32  payload
    section   kind u16  flags u16 (bit 0: required)  0 u32  size u64  content

A reader skips sections it does not know, unless they are required; then, and where the version is
newer, it refuses the whole log: going on would lose what the newer program wrote.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
import orjson
from numpy.typing import NDArray

from series.histogram import Histograms, offsets_of
from series.metadata import Metadata
from tsdb.sample.entries import Entries
from tsdb.sample.exemplars import Kept
from tsdb.versions import UnsupportedFormat

VERSION = 1
MAGIC = b"O11W"
_HEADER = struct.Struct("<4sHHIIII")
HEADER_BYTES = _HEADER.size
"""What a record has before its payload."""
_SECTION = struct.Struct("<HHIQ")
_CHECKED = struct.Struct("<4sHHIII")
_CRC = struct.Struct("<I")
_SEARCHED_BYTES = _COPIED_BYTES = 1 << 16
_REQUIRED = 1

SEGMENT, SERIES, SAMPLES, METADATA, ENTRIES, EXEMPLARS = 1, 2, 3, 4, 5, 6
_KINDS = range(SEGMENT, EXEMPLARS + 1)

_SEGMENT = struct.Struct("<QQ")
_SERIES = struct.Struct("<II")
_SAMPLES = struct.Struct("<QIIq")
_EXEMPLARS = struct.Struct("<Q")
_ENTRIES = struct.Struct("<QQQQ")
_ONE_TIME, _NEAR_TIMES, _FAR_TIMES = 0, 1, 2


BytesAt = Callable[[int, int], bytes]
"""(offset, size) to the bytes there; fewer than asked for only where there are no more."""


class Section(NamedTuple):
    kind: int
    content: bytes
    required: bool = True


@dataclass(frozen=True, slots=True)
class SegmentStart:
    """The first section of a segment.

    ``previous_end`` is where the acknowledged bytes of the segment before end: what stands behind
    is left from a failed write and does not count.
    """

    number: int
    previous_end: int


class NewSeries(NamedTuple):
    """Series that the segment uses from here on: ids ``first_id``, ``first_id + 1``, ...

    ``keys`` uint8, end to end; ``key_ends`` int64[n].
    """

    first_id: int
    keys: NDArray[np.uint8]
    key_ends: NDArray[np.int64]


class LoggedSamples(NamedTuple):
    """Samples as flat columns; ``ids`` uint32[N] are local to the segment.

    Tickets among the bits stand for the entries of the record.
    """

    ids: NDArray[np.uint32]
    times: NDArray[np.int64]
    bits: NDArray[np.uint64]


class LoggedExemplars(NamedTuple):
    """Exemplars as columns: ``ids`` uint32[E] as of samples; ``times`` int64[E], ``values``
    float64[E], and the keys of their labels end to end: ``keys`` uint8, ``key_ends`` int64[E].
    """

    ids: NDArray[np.uint32]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    keys: NDArray[np.uint8]
    key_ends: NDArray[np.int64]

    @classmethod
    def of(cls, ids: NDArray[np.integer], exemplars: Sequence[Kept]) -> "LoggedExemplars":
        keys = [one.key for one in exemplars]
        return cls(
            ids.astype(np.uint32),
            np.array([one.time_ms for one in exemplars], dtype=np.int64),
            np.array([one.value for one in exemplars], dtype=np.float64),
            np.frombuffer(b"".join(keys), dtype=np.uint8),
            np.cumsum([len(key) for key in keys], dtype=np.int64),
        )

    def named(self, series_keys: Sequence[bytes]) -> list[Kept]:
        """As exemplars of the series with these keys, one for each."""
        keys, starts = self.keys.tobytes(), [0, *self.key_ends.tolist()]
        return [
            Kept(series_key, time_ms, value, keys[starts[at] : starts[at + 1]])
            for at, (series_key, time_ms, value) in enumerate(
                zip(series_keys, self.times.tolist(), self.values.tolist(), strict=True)
            )
        ]


class Damage(NamedTuple):
    """Bytes between records that are no record; ``is_tail`` where none follows."""

    offset: int
    size_bytes: int
    is_tail: bool


class Record(NamedTuple):
    offset: int
    end: int
    payload: bytes


def encode_record(sections: Sequence[Section]) -> bytes:
    return b"".join(record_parts(sections))


def record_parts(sections: Sequence[Section]) -> list[bytes]:
    """The record of *sections*, in parts that follow one another; large ones are not copied."""
    parts: list[bytes] = []
    size = 0
    for section in sections:
        flags = _REQUIRED if section.required else 0
        content_size = len(section.content)
        padding = -content_size % 8
        parts.append(_SECTION.pack(section.kind, flags, 0, content_size))
        parts.append(section.content)
        if padding:
            parts.append(bytes(padding))
        size += _SECTION.size + content_size + padding
    if size <= _COPIED_BYTES:
        parts = [b"".join(parts)]
    crc = 0
    for part in parts:
        crc = google_crc32c.extend(crc, part)
    checked = _CHECKED.pack(MAGIC, VERSION, 0, size, crc, 0)
    header = checked + _CRC.pack(google_crc32c.value(checked))
    return [header, *parts] if size > _COPIED_BYTES else [header + parts[0]]


def scan(data: bytes, end: int) -> Iterator[Record | Damage]:
    """The records in ``data[:end]``, in order, and what is damaged between them.

    Raises UnsupportedFormat for a record of a newer version.
    """
    return scan_through(lambda at, size: data[at : at + size], end)


def scan_through(bytes_at: BytesAt, end: int) -> Iterator[Record | Damage]:
    """As ``scan``, of bytes that come in pieces."""
    at = 0
    while at < end:
        record = _record_at(bytes_at, at, end)
        if record is not None:
            yield record
            at = record.end
            continue
        start, at = at, _next_record(bytes_at, at + 1, end)
        yield Damage(start, at - start, at == end)


def _record_at(bytes_at: BytesAt, at: int, end: int) -> Record | None:
    body = at + _HEADER.size
    if body > end:
        return None
    head = bytes_at(at, _HEADER.size)
    if len(head) < _HEADER.size:
        return None
    magic, version, _, size, payload_crc, _, header_crc = _HEADER.unpack(head)
    if magic != MAGIC or google_crc32c.value(head[: _CHECKED.size]) != header_crc:
        return None
    if version > VERSION:
        raise UnsupportedFormat(
            f"write-ahead log of version {version}, this program reads up to {VERSION}"
        )
    if body + size > end:
        return None
    payload = bytes_at(body, size)
    if len(payload) < size or google_crc32c.value(payload) != payload_crc:
        return None
    return Record(at, body + size, payload)


def _next_record(bytes_at: BytesAt, at: int, end: int) -> int:
    """Where the next sound record begins, at or behind *at*; *end* where there is none."""
    while at < end:
        piece = bytes_at(at, _SEARCHED_BYTES)
        found = piece.find(MAGIC)
        while found >= 0:
            if _record_at(bytes_at, at + found, end) is not None:
                return at + found
            found = piece.find(MAGIC, found + 1)
        if len(piece) < _SEARCHED_BYTES:
            break
        at += len(piece) - len(MAGIC) + 1
    return end


def sections(payload: bytes) -> Iterator[Section]:
    """The known sections of a payload; UnsupportedFormat for an unknown one that is required."""
    at = 0
    while at < len(payload):
        kind, flags, _, size = _SECTION.unpack_from(payload, at)
        at += _SECTION.size
        if kind in _KINDS:
            yield Section(kind, payload[at : at + size], bool(flags & _REQUIRED))
        elif flags & _REQUIRED:
            raise UnsupportedFormat(f"write-ahead log with an unknown required section {kind}")
        at += size + -size % 8


def encode_segment(start: SegmentStart) -> Section:
    return Section(SEGMENT, _SEGMENT.pack(start.number, start.previous_end))


def decode_segment(content: bytes) -> SegmentStart:
    return SegmentStart(*_SEGMENT.unpack(content))


def encode_series(series: NewSeries) -> Section:
    """Layout: first id u32, count n u32, the n key lengths u32, the keys."""
    lengths = np.diff(series.key_ends, prepend=0).astype("<u4")
    head = _SERIES.pack(series.first_id, len(lengths))
    return Section(SERIES, b"".join((head, lengths.tobytes(), series.keys.tobytes())))


def decode_series(content: bytes) -> NewSeries:
    first_id, count = _SERIES.unpack_from(content)
    lengths = np.frombuffer(content, dtype="<u4", count=count, offset=_SERIES.size)
    keys = np.frombuffer(content, dtype=np.uint8, offset=_SERIES.size + 4 * count)
    return NewSeries(first_id, keys, np.cumsum(lengths, dtype=np.int64))


def encode_samples(samples: LoggedSamples, span_ms: tuple[int, int] | None = None) -> Section:
    """Layout: count n u64, form of the times u32, 0 u32, base time i64, the n ids u32 padded to 8,
    the times, the n values (their bits).

    Times: none where all equal the base; as u32 behind the base, padded to 8; else as i64.
    *span_ms*: the first and the last time, where that is known.
    """
    count = len(samples.ids)
    base, last = span_ms or (int(samples.times.min()), int(samples.times.max()))
    width = last - base
    if width == 0:
        form, times = _ONE_TIME, b""
    elif width < 1 << 32:
        form, times = _NEAR_TIMES, (samples.times - base).astype("<u4").tobytes()
    else:
        form, times = _FAR_TIMES, samples.times.tobytes()
    ids = samples.ids.tobytes()
    head = _SAMPLES.pack(count, form, 0, base)
    parts = (head, ids, bytes(-len(ids) % 8), times, bytes(-len(times) % 8), samples.bits.tobytes())
    return Section(SAMPLES, b"".join(parts))


def decode_samples(content: bytes) -> LoggedSamples:
    count, form, _, base = _SAMPLES.unpack_from(content)
    at = _SAMPLES.size
    ids = np.frombuffer(content, dtype="<u4", count=count, offset=at)
    at += (4 * count + 7) // 8 * 8
    if form == _ONE_TIME:
        times = np.full(count, base, dtype=np.int64)
    elif form == _NEAR_TIMES:
        times = np.frombuffer(content, dtype="<u4", count=count, offset=at).astype(np.int64) + base
        at += (4 * count + 7) // 8 * 8
    elif form == _FAR_TIMES:
        times = np.frombuffer(content, dtype="<i8", count=count, offset=at)
        at += 8 * count
    else:
        raise UnsupportedFormat(f"write-ahead log with an unknown form of times {form}")
    return LoggedSamples(ids, times, np.frombuffer(content, "<u8", count=count, offset=at))


def encode_entries(entries: Entries) -> Section:
    """Layout: counts u64 of entries, histograms, buckets, bounds; of the entries the values f64,
    starts i64 and kinds u8 (1: the next histogram); of the histograms the columns of
    ``Histograms``, with u32 lengths for offsets. Each column is padded to 8.
    """
    histograms = entries.histograms.take(entries.histogram_ids[entries.is_histogram])
    sizes = (entries.size, histograms.size, len(histograms.positions), len(histograms.bounds))
    columns: tuple[NDArray[np.generic], ...] = (
        entries.values,
        entries.starts_ms,
        entries.is_histogram.astype(np.uint8),
        histograms.schemas,
        histograms.hints,
        histograms.counts,
        histograms.sums,
        histograms.zero_thresholds,
        histograms.zero_counts,
        np.diff(histograms.offsets).astype(np.uint32),
        histograms.positions,
        histograms.bucket_counts,
        np.diff(histograms.bound_offsets).astype(np.uint32),
        histograms.bounds,
    )
    parts = [_ENTRIES.pack(*sizes)]
    for column in columns:
        parts += (column.tobytes(), bytes(-column.nbytes % 8))
    return Section(ENTRIES, b"".join(parts))


def decode_entries(content: bytes) -> Entries:
    size, histograms, buckets, bounds = _ENTRIES.unpack_from(content)
    at = _ENTRIES.size

    def column(dtype: str, count: int) -> Any:
        nonlocal at
        start = at
        found = np.frombuffer(content, dtype=dtype, count=count, offset=start)
        at += (found.nbytes + 7) // 8 * 8
        return found

    values, starts_ms = column("<f8", size), column("<i8", size)
    is_histogram = column("u1", size) == 1
    ids = np.where(is_histogram, np.cumsum(is_histogram) - 1, -1)
    decoded = Histograms(
        schemas=column("<i4", histograms),
        hints=column("u1", histograms),
        counts=column("<f8", histograms),
        sums=column("<f8", histograms),
        zero_thresholds=column("<f8", histograms),
        zero_counts=column("<f8", histograms),
        offsets=offsets_of(column("<u4", histograms).astype(np.int64)),
        positions=column("<i4", buckets),
        bucket_counts=column("<f8", buckets),
        bound_offsets=offsets_of(column("<u4", histograms).astype(np.int64)),
        bounds=column("<f8", bounds),
    )
    return Entries(values, starts_ms, ids, decoded)


def encode_exemplars(exemplars: LoggedExemplars) -> Section:
    """Layout: count n u64; ids u32 and key lengths u32, each padded to 8; times i64, values f64;
    the keys.
    """
    lengths = np.diff(exemplars.key_ends, prepend=0).astype(np.uint32)
    parts = [_EXEMPLARS.pack(len(lengths))]
    for column in (exemplars.ids, lengths, exemplars.times, exemplars.values, exemplars.keys):
        parts += (column.tobytes(), bytes(-column.nbytes % 8))
    return Section(EXEMPLARS, b"".join(parts), required=False)


def decode_exemplars(content: bytes) -> LoggedExemplars:
    (count,) = _EXEMPLARS.unpack_from(content)
    padded = (4 * count + 7) // 8 * 8
    at = _EXEMPLARS.size
    ids = np.frombuffer(content, dtype="<u4", count=count, offset=at)
    lengths = np.frombuffer(content, dtype="<u4", count=count, offset=at + padded)
    at += 2 * padded
    times = np.frombuffer(content, dtype="<i8", count=count, offset=at)
    values = np.frombuffer(content, dtype="<f8", count=count, offset=at + 8 * count)
    key_ends = np.cumsum(lengths, dtype=np.int64)
    keys = np.frombuffer(content, dtype=np.uint8, offset=at + 16 * count)
    return LoggedExemplars(ids, times, values, keys[: int(lengths.sum())], key_ends)


def encode_metadata(metadata: Mapping[str, Metadata]) -> Section:
    """A JSON object: metric name -> [type, help, unit]. Nothing is lost where it is skipped."""
    table = {name: (m.type, m.help, m.unit) for name, m in metadata.items()}
    return Section(METADATA, orjson.dumps(table), required=False)


def decode_metadata(content: bytes) -> dict[str, Metadata]:
    return {name: Metadata(*fields) for name, fields in orjson.loads(content).items()}

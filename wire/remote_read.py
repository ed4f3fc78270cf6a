"""Remote read: a request to selectors, and series to either form of the response.

Source: prompb/remote.proto and docs/querying/remote_read_api.md of Prometheus. Series with native
histograms go as samples; streamed chunks hold floats.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import cramjam
import google_crc32c
import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.matcher import Matcher, MatchType
from wire import remote_read_kernels as kernels
from wire.compression import decompress
from wire.errors import Malformed
from wire.protobuf import BYTES, VARINT, fields, varint

MAX_BYTES = 32 << 20
MAX_QUERIES = 1000
CHUNK_SAMPLES = 120
MAX_FRAME_BYTES = 1 << 20
"""A frame of the stream is ended when it has grown to this; a chunk is never divided."""

_MATCH_TYPES = (MatchType.EQUAL, MatchType.NOT_EQUAL, MatchType.REGEX, MatchType.NOT_REGEX)
_XOR = 1


class ResponseType(IntEnum):
    """How a reader would like to have its samples."""

    SAMPLES = 0
    STREAMED_XOR_CHUNKS = 1


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """One selector over [start_ms, end_ms]."""

    start_ms: int
    end_ms: int
    matchers: tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What is asked, and the accepted response types in order of preference (none: samples)."""

    queries: tuple[ReadQuery, ...]
    accepted: tuple[int, ...]


def decode_request(body: bytes) -> ReadRequest:
    """The request of a snappy-compressed *body*; Malformed says what is wrong with it."""
    message = decompress(body, "snappy", MAX_BYTES).tobytes()
    queries: list[ReadQuery] = []
    accepted: list[int] = []
    for number, wire_type, value in fields(message):
        if number == 1:
            queries.append(_query(_bytes(value, number)))
            if len(queries) > MAX_QUERIES:
                raise Malformed(f"more than {MAX_QUERIES} queries")
        elif number == 2 and wire_type == BYTES:
            accepted += _packed(_bytes(value, number))
        elif number == 2:
            accepted.append(_whole(value, wire_type, number))
    return ReadRequest(tuple(queries), tuple(accepted))


def _query(message: bytes) -> ReadQuery:
    start_ms = end_ms = 0
    matchers = []
    for number, wire_type, value in fields(message):
        if number == 1:
            start_ms = _signed(_whole(value, wire_type, number))
        elif number == 2:
            end_ms = _signed(_whole(value, wire_type, number))
        elif number == 3:
            matchers.append(_matcher(_bytes(value, number)))
    return ReadQuery(start_ms, end_ms, tuple(matchers))


def _matcher(message: bytes) -> Matcher:
    kind, name, text = 0, b"", b""
    for number, wire_type, value in fields(message):
        if number == 1:
            kind = _whole(value, wire_type, number)
        elif number == 2:
            name = _bytes(value, number)
        elif number == 3:
            text = _bytes(value, number)
    if kind >= len(_MATCH_TYPES):
        raise Malformed(f"invalid matcher type {kind}")
    try:
        return Matcher(_MATCH_TYPES[kind], name.decode(), text.decode())
    except UnicodeDecodeError:
        raise Malformed("a matcher is not UTF-8") from None
    except ValueError as error:
        raise Malformed(str(error)) from None


def _packed(message: bytes) -> Iterator[int]:
    at = 0
    while at < len(message):
        value, at = varint(message, at)
        yield value


def _bytes(value: int | bytes, number: int) -> bytes:
    if not isinstance(value, bytes):
        raise Malformed(f"wrong wireType for field {number}")
    return value


def _whole(value: int | bytes, wire_type: int, number: int) -> int:
    if wire_type != VARINT or not isinstance(value, int):
        raise Malformed(f"wrong wireType for field {number}")
    return value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def encode_series(frame: LabelFrame, batch: SeriesBatch) -> Iterator[bytes]:
    """Field 1 of QueryResult for every row of *batch* with samples, labelled by *frame*."""
    for row in np.flatnonzero(np.diff(batch.offsets)).tolist():
        message = frame.labels(row).key + encode_samples(batch, row)
        yield b"\x0a" + _varint(len(message)) + message


def encode_samples(batch: SeriesBatch, row: int) -> bytes:
    """Fields 2 and 4 of a TimeSeries message: the samples of one row; starts have no place."""
    part = slice(int(batch.offsets[row]), int(batch.offsets[row + 1]))
    times_ms, bits = batch.row_times_ms(row), batch.values[part].view(np.uint64)
    if batch.histogram_ids is None or batch.histograms is None:
        return _float_samples(bits, times_ms)
    ids = batch.histogram_ids[part]
    floats = ids < 0
    found, chosen = batch.histograms, ids[~floats]
    sizes = np.diff(found.offsets)[chosen] + np.diff(found.bound_offsets)[chosen]
    # A bucket costs its count and, at worst, a span of its own; the rest is small and fixed.
    rooms = 120 + 40 * sizes
    out = np.empty(int(rooms.sum()), dtype=np.uint8)
    written = kernels.write_histograms(
        chosen,
        times_ms[~floats],
        found.schemas,
        found.hints,
        found.counts.view(np.uint64),
        found.sums.view(np.uint64),
        found.zero_thresholds.view(np.uint64),
        found.zero_counts.view(np.uint64),
        found.offsets,
        found.positions,
        found.bucket_counts.view(np.uint64),
        found.bound_offsets,
        found.bounds.view(np.uint64),
        np.empty(int(rooms.max(initial=1)), dtype=np.uint8),
        out,
    )
    return _float_samples(bits[floats], times_ms[floats]) + out[:written].tobytes()


def _float_samples(bits: NDArray[np.uint64], times_ms: NDArray[np.int64]) -> bytes:
    out = np.empty(len(bits) * kernels.SAMPLE_ROOM, dtype=np.uint8)
    return out[: kernels.write_samples(bits, times_ms, out)].tobytes()


def encode_response(results: list[bytes]) -> bytes:
    """The snappy-compressed ReadResponse; *results* are the series of each query, end to end."""
    message = b"".join(b"\x0a" + _varint(len(result)) + result for result in results)
    return bytes(cramjam.snappy.compress_raw(message))


def encode_frames(frame: LabelFrame, batch: SeriesBatch, query: int) -> Iterator[bytes]:
    """Frames of the streamed response: each row's chunks, cut where a frame grows too large.

    Histograms cannot be streamed: *batch* holds floats.
    """
    for row in np.flatnonzero(np.diff(batch.offsets)).tolist():
        labels = frame.labels(row).key
        chunks: list[bytes] = []
        size = len(labels)
        for chunk in _chunks(batch, row):
            if chunks and size + len(chunk) > MAX_FRAME_BYTES:
                yield _frame(labels + b"".join(chunks), query)
                chunks, size = [], len(labels)
            chunks.append(chunk)
            size += len(chunk)
        yield _frame(labels + b"".join(chunks), query)


def _chunks(batch: SeriesBatch, row: int) -> Iterator[bytes]:
    """Field 2 of ChunkedSeries for every CHUNK_SAMPLES samples of a row."""
    times_ms = batch.row_times_ms(row)
    bits = batch.row_values(row).view(np.uint64)
    for start in range(0, len(bits), CHUNK_SAMPLES):
        part = slice(start, start + CHUNK_SAMPLES)
        room = kernels.CHUNK_ROOM + kernels.CHUNK_ROOM_PER_SAMPLE * len(bits[part])
        out = np.zeros(room, dtype=np.uint8)
        data = out[: kernels.write_xor_chunk(bits[part], times_ms[part], out)].tobytes()
        first, last = int(times_ms[part][0]), int(times_ms[part][-1])
        message = b"\x08%b\x10%b\x18%c\x22%b%b" % (
            _varint(first),
            _varint(last),
            _XOR,
            _varint(len(data)),
            data,
        )
        yield b"\x12" + _varint(len(message)) + message


def _frame(series: bytes, query: int) -> bytes:
    """uvarint length, big-endian CRC32C, ChunkedReadResponse."""
    message = b"\x0a" + _varint(len(series)) + series
    if query:
        message += b"\x10" + _varint(query)
    checksum = int(google_crc32c.value(message)).to_bytes(4, "big")
    return _varint(len(message)) + checksum + message


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

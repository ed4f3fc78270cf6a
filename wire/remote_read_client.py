"""Remote read and remote write from the asking side: a request for samples, series to send.

Source: prompb/remote.proto of Prometheus. A QueryResult and a WriteRequest hold the same field of
TimeSeries messages.
"""

import struct
from collections.abc import Sequence

import cramjam
import numpy as np

from series.batch import SeriesBatch
from series.matcher import Matcher, MatchType
from wire.compression import decompress
from wire.errors import Malformed
from wire.protobuf import fields
from wire.remote_read import encode_samples
from wire.remote_write import decode_message
from wire.write_request import WriteRequest

MAX_ANSWER_BYTES = 1 << 30
_MATCH_TYPES = (MatchType.EQUAL, MatchType.NOT_EQUAL, MatchType.REGEX, MatchType.NOT_REGEX)


def encode_query(matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> bytes:
    """The snappy-compressed ReadRequest for the samples of one selector, as samples."""
    query = b"\x08" + _varint(start_ms) + b"\x10" + _varint(end_ms)
    for one in matchers:
        kind = _MATCH_TYPES.index(one.type)
        message = b"\x08%b" % _varint(kind) + _text(2, one.name) + _text(3, one.value)
        query += b"\x1a" + _varint(len(message)) + message
    request = b"\x0a" + _varint(len(query)) + query + b"\x10\x00"
    return bytes(cramjam.snappy.compress_raw(request))


def decode_answer(body: bytes) -> WriteRequest:
    """The series of the ReadResponse *body* to one query; Malformed where it is none."""
    message = decompress(body, "snappy", MAX_ANSWER_BYTES).tobytes()
    results = [value for number, _, value in fields(message) if number == 1]
    if len(results) > 1 or not all(isinstance(one, bytes) for one in results):
        raise Malformed("the answer to one query holds several results")
    result = results[0] if results else b""
    assert isinstance(result, bytes)
    return decode_message(np.frombuffer(result, dtype=np.uint8).copy())


def encode_write(batch: SeriesBatch) -> bytes:
    """The snappy-compressed WriteRequest 1.0 of *batch*, which has keys, with its exemplars;
    starts have no place.
    """
    exemplars = _exemplars(batch)
    rows: dict[bytes, list[int]] = {}
    for row in np.flatnonzero(np.diff(batch.offsets)).tolist():
        rows.setdefault(batch.key(row), []).append(row)
    parts = []
    for key, own in rows.items():
        samples = [encode_samples(batch, row) for row in own]
        message = b"".join([key, *samples, *(exemplars.get(row, b"") for row in own)])
        parts.append(b"\x0a" + _varint(len(message)) + message)
    return bytes(cramjam.snappy.compress_raw(b"".join(parts)))


def _exemplars(batch: SeriesBatch) -> dict[int, bytes]:
    """The Exemplar fields of each row that has some. A key is its label fields already."""
    found: dict[int, bytes] = {}
    if batch.exemplars is None:
        return found
    values, times = batch.exemplars.values.tolist(), batch.exemplars.times_ms.tolist()
    for at, row in enumerate(batch.exemplars.rows.tolist()):
        number = b"\x11" + struct.pack("<d", values[at])
        message = batch.exemplars.key(at) + number + b"\x18" + _varint(times[at])
        found[row] = found.get(row, b"") + b"\x1a" + _varint(len(message)) + message
    return found


def _text(number: int, text: str) -> bytes:
    content = text.encode()
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

"""Remote read: requests, messages and XOR chunks, read back by decoders that share nothing."""

import struct
from collections.abc import Iterator

import cramjam
import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.batch import SeriesBatch, build_batch
from series.frame import LabelFrame
from series.histogram import GAUGE, OFFSET, Histogram
from series.labels import Labels
from series.matcher import Matcher, MatchType
from tests.wire.encode import chunk, varint
from wire import remote_read
from wire.errors import Malformed
from wire.protobuf import fields

LABELS = Labels.of({"__name__": "m", "job": "a"})
FRAME = LabelFrame.from_labels([LABELS])


def row(*points: tuple[int, float | Histogram]) -> SeriesBatch:
    """A batch of one series."""
    return build_batch([(LABELS, [at for at, _ in points], [value for _, value in points])])


def request(*queries: bytes, accepted: bytes = b"") -> bytes:
    body = b"".join(chunk(1, query) for query in queries) + accepted
    return bytes(cramjam.snappy.compress_raw(body))


def query(start_ms: int, end_ms: int, *matchers: tuple[int, bytes, bytes]) -> bytes:
    parts = [b"\x08" + varint(start_ms) + b"\x10" + varint(end_ms)]
    for kind, name, value in matchers:
        message = b"\x08" + varint(kind) + chunk(2, name) + chunk(3, value)
        parts.append(chunk(3, message))
    return b"".join(parts)


def test_a_request_is_decoded() -> None:
    """Times may be negative, matchers have four types, types may come packed or one by one."""
    every = [(kind, b"n", b"v") for kind in range(4)]
    body = request(query(-5, 7, *every), query(0, 1), accepted=chunk(2, b"\x01\x00") + b"\x10\x01")
    found = remote_read.decode_request(body)
    assert [(q.start_ms, q.end_ms) for q in found.queries] == [(-5, 7), (0, 1)]
    assert found.queries[0].matchers == tuple(Matcher(kind, "n", "v") for kind in MatchType)
    assert found.accepted == (1, 0, 1)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "snappy: corrupt input"),
        (request(query(0, 1, (9, b"n", b"v"))), "invalid matcher type 9"),
        (request(query(0, 1, (2, b"n", b"("))), "error parsing regexp: missing closing )"),
        (request(query(0, 1, (0, b"n", b"\xff"))), "a matcher is not UTF-8"),
        (request(b"\x0a\x01x"), "wrong wireType for field 1"),
        (request(*[b""] * 1001), "more than 1000 queries"),
    ],
)
def test_bad_requests_say_what_is_wrong(body: bytes, text: str) -> None:
    """What is no request is refused by a sentence."""
    with pytest.raises(Malformed, match=text.replace("(", r"\(").replace(")", r"\)")):
        remote_read.decode_request(body)


def decoded_samples(message: bytes) -> list[tuple[int, bytes]]:
    """(time, bits) of field 2 of a TimeSeries."""
    found = []
    for number, _, value in fields(message):
        if number == 2 and isinstance(value, bytes):
            parts = {n: v for n, _, v in fields(value)}
            time_ms, bits = parts[2], parts[1]
            assert isinstance(time_ms, int) and isinstance(bits, int)
            signed = time_ms - 2**64 if time_ms >> 63 else time_ms
            found.append((signed, struct.pack("<Q", bits)))
    return found


def test_samples_keep_their_bits() -> None:
    """Times of all signs and every bit pattern of a value come through."""
    stale = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
    points = [(-(2**40), 1.5), (-1, -0.0), (0, stale), (2**60, float("inf"))]
    (message,) = remote_read.encode_series(FRAME, row(*points))
    ((number, _, series),) = list(fields(message))
    assert number == 1 and isinstance(series, bytes)
    assert series.startswith(LABELS.key)
    assert decoded_samples(series) == [(at, struct.pack("<d", value)) for at, value in points]


def test_histograms_are_float_histograms() -> None:
    """Spans, counts, bounds, hint and time of a histogram come through; floats stand apart."""
    one = Histogram(
        schema=-2,
        count=21.5,
        sum=-3.25,
        zero_threshold=0.5,
        zero_count=2,
        buckets=((-OFFSET - 3, 1.0), (-OFFSET - 2, 2.0), (OFFSET - 1, 3.0), (OFFSET + 4, 5.5)),
        hint=GAUGE,
    )
    custom = Histogram(schema=-53, count=1, sum=2, buckets=((OFFSET, 1.0),), bounds=(1.0, 2.5))
    batch = row((1000, one), (2000, 7.0), (3000, custom))
    (message,) = remote_read.encode_series(FRAME, batch)
    ((_, _, series),) = list(fields(message))
    assert isinstance(series, bytes)
    assert [at for at, _ in decoded_samples(series)] == [2000]
    first, second = [histogram(value) for n, _, value in fields(series) if n == 4]
    assert first == {
        2: 21.5,
        3: -3.25,
        4: -2,
        5: 0.5,
        7: 2.0,
        8: [(2, 2)],
        10: [2.0, 1.0],
        11: [(-1, 1), (4, 1)],
        13: [3.0, 5.5],
        14: 3,
        15: 1000,
    }
    assert (second[4], second[11], second[13], second[16]) == (-53, [(0, 1)], [1.0], [1.0, 2.5])


def histogram(message: int | bytes) -> dict[int, object]:
    """The fields of a Histogram message as Python values."""
    assert isinstance(message, bytes)
    found: dict[int, object] = {}
    for number, _, value in fields(message):
        if number in (2, 3, 5, 7) and isinstance(value, int):
            found[number] = struct.unpack("<d", struct.pack("<Q", value))[0]
        elif number in (10, 13, 16) and isinstance(value, bytes):
            found[number] = list(struct.unpack(f"<{len(value) // 8}d", value))
        elif number in (8, 11) and isinstance(value, bytes):
            parts = {n: v for n, _, v in fields(value)}
            offset, length = parts.get(1, 0), parts[2]
            assert isinstance(offset, int)
            spans = found.setdefault(number, [])
            assert isinstance(spans, list)
            spans.append((unzigzag(offset), length))
        else:
            assert isinstance(value, int)
            found[number] = unzigzag(value) if number == 4 else value
    return found


def unzigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


class Bits:
    """Reads a chunk bit by bit."""

    def __init__(self, data: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in data)
        self._at = 0

    def take(self, count: int) -> int:
        text = self._text[self._at : self._at + count]
        self._at += count
        return int(text, 2) if text else 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(8)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value


def decode_xor(data: bytes) -> Iterator[tuple[int, int]]:
    """(time, bits) of a chunk, by the text of Facebook's paper and Prometheus' layout."""
    bits = Bits(data)
    count = bits.take(16)
    time_ms = unzigzag(bits.varint())
    value = bits.take(64)
    yield time_ms, value
    delta, leading, trailing = 0, 0, 0
    for at in range(1, count):
        if at == 1:
            delta = bits.varint()
        else:
            for size in (0, 14, 17, 20, 64):
                if size == 64 or not bits.take(1):
                    break
            change = bits.take(size)
            if size == 64:
                change -= 2**64 if change >> 63 else 0
            elif size and change > 1 << (size - 1):
                change -= 1 << size
            delta += change
        time_ms += delta
        if bits.take(1):
            if bits.take(1):
                leading, significant = bits.take(5), bits.take(6) or 64
                trailing = 64 - leading - significant
            value ^= bits.take(64 - leading - trailing) << trailing
        yield time_ms, value


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(1, 30_000), st.integers(1, 2**40)),
            st.one_of(st.floats(width=64), st.integers(0, 50).map(float)),
        ),
        min_size=1,
        max_size=130,
    ),
    st.integers(-(2**41), 2**41),
)
def test_xor_chunks_read_back(steps: list[tuple[int, float]], start_ms: int) -> None:
    """Every chunk of 120 samples holds the times and bits that went in."""
    times = (np.cumsum([step for step, _ in steps]) + start_ms).tolist()
    batch = row(*zip(times, [value for _, value in steps], strict=True))
    found = []
    for frame in remote_read.encode_frames(FRAME, batch, 0):
        for first, last, data in chunks_of(frame, 0):
            samples = list(decode_xor(data))
            assert (first, last) == (samples[0][0], samples[-1][0])
            assert len(samples) <= 120
            found += samples
    assert found == list(zip(times, batch.values.view(np.uint64).tolist(), strict=True))


def chunks_of(frame: bytes, query_index: int) -> Iterator[tuple[int, int, bytes]]:
    """(first time, last time, data) of the chunks in one frame, whose checksum must be right."""
    size, at = 0, 0
    while True:
        size |= (frame[at] & 127) << 7 * at
        at += 1
        if frame[at - 1] < 128:
            break
    message = frame[at + 4 :]
    assert len(message) == size
    assert int.from_bytes(frame[at : at + 4], "big") == google_crc32c.value(message)
    parts = [(n, v) for n, _, v in fields(message)]
    assert dict(parts).get(2, 0) == query_index
    ((_, series),) = [part for part in parts if part[0] == 1]
    assert isinstance(series, bytes) and series.startswith(LABELS.key)
    for number, _, value in fields(series):
        if number == 2 and isinstance(value, bytes):
            found = {n: v for n, _, v in fields(value)}
            first, last, data = found[1], found[2], found[4]
            assert isinstance(first, int) and isinstance(last, int) and isinstance(data, bytes)
            assert found[3] == 1
            yield signed(first), signed(last), data


def signed(value: int) -> int:
    return value - 2**64 if value >> 63 else value


def test_long_rows_take_several_frames() -> None:
    """A row whose chunks exceed a frame's size goes on in the next one, with its labels."""
    values = np.random.default_rng(5).random(150_000)
    batch = row(*((at, float(value)) for at, value in enumerate(values)))
    frames = list(remote_read.encode_frames(FRAME, batch, 3))
    assert len(frames) > 1
    counts = [sum(1 for _ in chunks_of(frame, 3)) for frame in frames]
    assert sum(counts) == 150_000 // 120
    assert max(map(len, frames)) < remote_read.MAX_FRAME_BYTES + 3000

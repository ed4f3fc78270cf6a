"""Blocks of Prometheus as it writes them, slowly, and a slow reader of chunks; nothing is shared.

Source: tsdb/docs/format and tsdb/chunkenc of Prometheus.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import google_crc32c

Pair = tuple[str, str]
STALE_BITS = 0x7FF0000000000002


class BitWriter:
    def __init__(self) -> None:
        self.bits: list[int] = []

    def put(self, value: int, count: int) -> None:
        value &= (1 << count) - 1
        self.bits += [(value >> (count - 1 - k)) & 1 for k in range(count)]

    def put_bytes(self, content: bytes) -> None:
        for byte in content:
            self.put(byte, 8)

    def varbit(self, value: int, *, signed: bool = True) -> None:
        """A number in a class of its size: 0, 3, 6, 9, 12, 18, 25, 56 or 64 bits."""
        if value == 0:
            self.put(0, 1)
            return
        for ones, size in enumerate((3, 6, 9, 12, 18, 25, 56), 1):
            low, high = -((1 << (size - 1)) - 1), 1 << (size - 1)
            if (low <= value <= high) if signed else value < (1 << size):
                self.put((1 << ones) - 1, ones)
                self.put(0, 1)
                self.put(value, size)
                return
        self.put(0xFF, 8)
        self.put(value, 64)

    def content(self) -> bytes:
        padded = self.bits + [0] * (-len(self.bits) % 8)
        return bytes(
            int("".join(map(str, padded[at : at + 8])), 2) for at in range(0, len(padded), 8)
        )


class Xored:
    """A float that is written as its difference from the one before."""

    def __init__(self) -> None:
        self.bits = 0
        self.window: tuple[int, int] | None = None

    def first(self, out: BitWriter, bits: int) -> None:
        out.put(bits, 64)
        self.bits = bits

    def next(self, out: BitWriter, bits: int) -> None:
        xor, self.bits = self.bits ^ bits, bits
        if not xor:
            out.put(0, 1)
            return
        leading = min(64 - xor.bit_length(), 31)
        trailing = (xor & -xor).bit_length() - 1
        window = self.window
        if window is not None and leading >= window[0] and trailing >= window[1]:
            out.put(0b10, 2)
        else:
            self.window = window = (leading, trailing)
            out.put(0b11, 2)
            out.put(leading, 5)
            out.put(64 - leading - trailing, 6)
        out.put(xor >> window[1], 64 - window[0] - window[1])


def float_bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def uvarint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def varint(value: int) -> bytes:
    return uvarint(value << 1 if value >= 0 else (-value << 1) - 1)


def xor_chunk(samples: Sequence[tuple[int, int]]) -> bytes:
    """An XOR chunk of (time, bits of the value)."""
    out, value = BitWriter(), Xored()
    before = delta = 0
    for at, (time_ms, bits) in enumerate(samples):
        if at == 0:
            out.put_bytes(varint(time_ms))
            value.first(out, bits)
        else:
            step = time_ms - before
            if at == 1:
                out.put_bytes(uvarint(step))
            else:
                _put_change(out, step - delta)
            delta = step
            value.next(out, bits)
        before = time_ms
    return struct.pack(">H", len(samples)) + out.content()


def _put_change(out: BitWriter, change: int) -> None:
    if change == 0:
        out.put(0, 1)
        return
    for ones, size in ((1, 14), (2, 17), (3, 20)):
        if -((1 << (size - 1)) - 1) <= change <= 1 << (size - 1):
            out.put((1 << ones) - 1, ones)
            out.put(0, 1)
            out.put(change, size)
            return
    out.put(0b1111, 4)
    out.put(change, 64)


@dataclass
class Native:
    """A native histogram; counts by bucket index of both sides, None is a stale marker's."""

    count: float = 0
    zero_count: float = 0
    sum: float = 0.0
    positive: list[float] = field(default_factory=list)
    negative: list[float] = field(default_factory=list)
    is_stale: bool = False


@dataclass
class Layout:
    """What all histograms of a chunk share; the indices rise."""

    schema: int = 0
    zero_threshold: float = 0.0
    positive: list[int] = field(default_factory=list)
    negative: list[int] = field(default_factory=list)
    bounds: list[float] = field(default_factory=list)
    flag: int = 0


def histogram_chunk(
    layout: Layout, samples: Sequence[tuple[int, Native]], *, is_float: bool
) -> bytes:
    """A chunk of native histograms, with whole or floating counts."""
    out = BitWriter()
    _put_layout(out, layout)
    total = Xored()
    numbers = [Xored() for _ in range(2 + len(layout.positive) + len(layout.negative))]
    whole = [0] * len(numbers)
    deltas = [0] * len(numbers)
    before = time_delta = 0
    for at, (time_ms, one) in enumerate(samples):
        sum_bits = STALE_BITS if one.is_stale else float_bits(one.sum)
        head: list[float] = [0, 0] if one.is_stale else [one.count, one.zero_count]
        buckets = [] if one.is_stale else _buckets(one, is_float=is_float)
        step = time_ms - before
        out.varbit(time_ms if at == 0 else step - time_delta)
        time_delta, before = (0 if at == 0 else step), time_ms
        if is_float:
            for k, value in enumerate(head):
                _put_float(out, numbers[k], float_bits(value), at)
        elif not one.is_stale:
            for k, value in enumerate(head):
                _put_whole(out, whole, deltas, k, int(value), at, signed=at > 0)
        else:
            # What a reader adds to its counts at a stale marker is nothing new.
            for k in (0, 1):
                out.varbit(0)
                if at:
                    whole[k] += deltas[k]
        _put_float(out, total, sum_bits, at)
        for k, value in enumerate(buckets, 2):
            if is_float:
                _put_float(out, numbers[k], float_bits(value), at)
            else:
                _put_whole(out, whole, deltas, k, int(value), at, signed=True)
    return struct.pack(">HB", len(samples), layout.flag << 6) + out.content()


def _buckets(one: Native, *, is_float: bool) -> list[float]:
    if is_float:
        return [*one.positive, *one.negative]
    found: list[float] = []
    for side in (one.positive, one.negative):
        found += [b - a for a, b in zip([0, *side], side, strict=False)]
    return found


def _put_float(out: BitWriter, state: Xored, bits: int, at: int) -> None:
    if at == 0:
        state.first(out, bits)
    else:
        state.next(out, bits)


def _put_whole(
    out: BitWriter, whole: list[int], deltas: list[int], k: int, value: int, at: int, signed: bool
) -> None:
    if at == 0:
        out.varbit(value, signed=signed)
    else:
        delta = value - whole[k]
        out.varbit(delta - deltas[k])
        deltas[k] = delta
    whole[k] = value


def _put_layout(out: BitWriter, layout: Layout) -> None:
    fraction, exponent = math.frexp(layout.zero_threshold)
    if layout.zero_threshold == 0:
        out.put(0, 8)
    elif fraction == 0.5 and -242 <= exponent <= 11:
        out.put(exponent + 243, 8)
    else:
        out.put(255, 8)
        out.put(float_bits(layout.zero_threshold), 64)
    out.varbit(layout.schema)
    for side in (layout.positive, layout.negative):
        spans: list[list[int]] = []
        for index in side:
            if spans and index == spans[-1][0] + spans[-1][1]:
                spans[-1][1] += 1
            else:
                spans.append([index, 1])
        out.varbit(len(spans), signed=False)
        end = 0
        for first, length in spans:
            out.varbit(length, signed=False)
            out.varbit(first - end)
            end = first + length
    if layout.schema == -53:
        out.varbit(len(layout.bounds), signed=False)
        for bound in layout.bounds:
            scaled = round(bound * 1000) if 0 <= bound * 1000 <= 33_554_430 else -1
            if scaled >= 0 and scaled / 1000 == bound:
                out.varbit(scaled + 1, signed=False)
            else:
                out.put(0, 1)
                out.put(float_bits(bound), 64)


class BitReader:
    """Reads what the writers above wrote, a bit at a time."""

    def __init__(self, content: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in content)
        self._at = 0

    def take(self, count: int) -> int:
        text = self._bits[self._at : self._at + count]
        if len(text) < count:
            raise EOFError
        self._at += count
        return int(text, 2) if count else 0

    def signed(self, count: int) -> int:
        value = self.take(count)
        limit = 1 << (count - 1)
        is_negative = value >= limit if count == 64 else value > limit
        return value - (1 << count) if is_negative else value

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(8)
            value |= (byte & 0x7F) << shift
            shift += 7
            if value >> 64:
                raise EOFError
            if byte < 0x80:
                return value


def slow_xor(chunk: bytes) -> list[tuple[int, int]]:
    """The samples of an XOR chunk as (time, bits); EOFError where it is cut short."""
    reader = BitReader(chunk[2:])
    found: list[tuple[int, int]] = []
    time_ms = delta = bits = leading = trailing = 0
    for at in range(int.from_bytes(chunk[:2], "big")):
        if at == 0:
            raw = reader.uvarint()
            time_ms = raw >> 1 ^ -(raw & 1)
            bits = reader.take(64)
            found.append((time_ms, bits))
            continue
        if at == 1:
            delta = reader.uvarint()
        elif reader.take(1):
            size = 64
            for wide in (14, 17, 20):
                if not reader.take(1):
                    size = wide
                    break
            delta += reader.signed(size)
        time_ms += delta
        if reader.take(1):
            if reader.take(1):
                leading, size = reader.take(5), reader.take(6) or 64
                trailing = 64 - leading - size
                if trailing < 0:
                    raise EOFError
            bits ^= reader.take(64 - leading - trailing) << trailing
        found.append((time_ms, bits))
    return found


@dataclass
class Chunk:
    """A chunk with the times that the index tells of it."""

    min_ms: int
    max_ms: int
    encoding: int
    data: bytes


@dataclass
class Block:
    """The files of a block."""

    index: bytes
    segments: list[bytes]
    refs: list[int]


def crc(content: bytes) -> bytes:
    return int(google_crc32c.value(content)).to_bytes(4, "big")


def block(
    series: Sequence[tuple[Sequence[Pair], Sequence[Chunk]]], *, per_segment: int = 1 << 30
) -> Block:
    """The block of *series* (sorted labels, chunks), with *per_segment* chunks a segment."""
    texts = sorted({text for labels, _ in series for pair in labels for text in pair})
    head = b"\x85\xbd\x40\xdd\x01\x00\x00\x00"
    segments = [bytearray(head)]
    in_segment = 0
    index = bytearray(b"\xba\xaa\xd7\x00\x02")
    symbols_at = len(index)
    encoded = b"".join(uvarint(len(t.encode())) + t.encode() for t in texts)
    table = struct.pack(">I", len(texts)) + encoded
    index += struct.pack(">I", len(table)) + table + crc(table)
    series_at = len(index)
    refs = []
    for labels, chunks in series:
        entry = uvarint(len(labels))
        for name, value in labels:
            entry += uvarint(texts.index(name)) + uvarint(texts.index(value))
        entry += uvarint(len(chunks))
        last_ms = last_ref = 0
        for at, chunk in enumerate(chunks):
            if in_segment == per_segment:
                segments.append(bytearray(head))
                in_segment = 0
            in_segment += 1
            ref = (len(segments) - 1) << 32 | len(segments[-1])
            content = bytes([chunk.encoding]) + chunk.data
            segments[-1] += uvarint(len(chunk.data)) + content + crc(content)
            span = uvarint(chunk.max_ms - chunk.min_ms)
            if at == 0:
                entry += varint(chunk.min_ms) + span + uvarint(ref)
            else:
                entry += uvarint(chunk.min_ms - last_ms) + span + varint(ref - last_ref)
            last_ms, last_ref = chunk.max_ms, ref
        index += bytes(-len(index) % 16)
        refs.append(len(index) // 16)
        index += uvarint(len(entry)) + entry + crc(entry)
    postings_at = len(index)
    toc = struct.pack(">6Q", symbols_at, series_at, 0, 0, postings_at, postings_at)
    return Block(bytes(index) + toc + crc(toc), [bytes(one) for one in segments], refs)


def tombstones(stones: Sequence[tuple[int, int, int]]) -> bytes:
    """The file of deletions (series ref, first time, last time)."""
    body = b"".join(uvarint(ref) + varint(low) + varint(high) for ref, low, high in stones)
    return b"\x01\x30\xba\x30\x01" + body + crc(body)

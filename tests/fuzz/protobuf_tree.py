"""Protobuf messages as trees of fields that can be changed, with or without lengths that fit.

A payload counts as a message where all of its bytes are fields; what is none stays bytes.
"""

import random
from dataclasses import dataclass, field

MAX_DEPTH = 12

EXTREMES = (
    0, 1, 2, 7, 8, 63, 64, 127, 128, 255, 256, 16_383, 16_384, 2**21, 2**28, 2**31 - 1, 2**31,
    2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1,
)  # fmt: skip
FIXED = (
    0, 1, 0x3FF0000000000000, 0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000,
    0x7FF0000000000002, 0x8000000000000000, 0x7FEFFFFFFFFFFFFF, 2**64 - 1, 0x4340000000000000,
)  # fmt: skip
_WIDTHS = {1: 8, 5: 4}


@dataclass(slots=True)
class Field:
    """One field; ``inner`` is its payload as fields, ``lie`` what its length says too much."""

    number: int
    wire_type: int
    value: int | bytes
    inner: "list[Field] | None" = None
    lie: int = 0
    padding: int = 0


@dataclass(slots=True)
class _Reader:
    data: bytes
    at: int = 0
    found: list[Field] = field(default_factory=list)

    def varint(self) -> int | None:
        number = shift = 0
        while self.at < len(self.data) and shift < 70:
            byte = self.data[self.at]
            self.at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number
            shift += 7
        return None

    def take(self, size: int) -> bytes | None:
        if size > len(self.data) - self.at:
            return None
        self.at += size
        return self.data[self.at - size : self.at]


def parse(data: bytes, depth: int = 0) -> list[Field] | None:
    """The fields of *data*, None where it is no message."""
    reader = _Reader(data)
    while reader.at < len(data):
        tag = reader.varint()
        if tag is None or tag >> 3 == 0 or tag >> 35:
            return None
        one = Field(tag >> 3, tag & 7, b"")
        value: int | bytes | None
        if one.wire_type == 0:
            value = reader.varint()
        elif one.wire_type == 2:
            size = reader.varint()
            value = None if size is None else reader.take(size)
            if value and depth < MAX_DEPTH:
                one.inner = parse(value, depth + 1)
        elif one.wire_type in _WIDTHS:
            raw = reader.take(_WIDTHS[one.wire_type])
            value = None if raw is None else int.from_bytes(raw, "little")
        else:
            return None
        if value is None:
            return None
        one.value = value
        reader.found.append(one)
    return reader.found


def varint(number: int, padding: int = 0) -> bytes:
    """*number* with *padding* bytes more than it needs."""
    number &= 2**64 - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    if padding:
        out[-1] |= 128
        out += b"\x80" * (padding - 1) + b"\x00"
    return bytes(out)


def serialize(fields: list[Field]) -> bytes:
    """The bytes of *fields*."""
    out = bytearray()
    for one in fields:
        out += varint(one.number << 3 | one.wire_type)
        payload = serialize(one.inner) if one.inner is not None else one.value
        if isinstance(payload, bytes):
            out += varint(max(len(payload) + one.lie, 0), one.padding) + payload
        elif one.wire_type in _WIDTHS:
            width = _WIDTHS[one.wire_type]
            out += (payload % (1 << 8 * width)).to_bytes(width, "little")
        else:
            out += varint(payload, one.padding)
    return bytes(out)


def _lists(fields: list[Field]) -> list[list[Field]]:
    """*fields* and every list of fields below it."""
    found = [fields]
    for one in fields:
        if one.inner is not None:
            found += _lists(one.inner)
    return found


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes | None:
    """*data* with one field changed, perhaps by one of *other*; None where it is no message."""
    fields = parse(data)
    if not fields:
        return None
    where = rng.choice([one for one in _lists(fields) if one])
    at = rng.randrange(len(where))
    match rng.randrange(10):
        case 0:
            del where[at]
        case 1:
            where[at:at] = [where[at]] * rng.choice((1, 1, 2, 5, 70))
        case 2:
            where.insert(rng.randrange(len(where) + 1), where.pop(at))
        case 3:
            where[at].number = rng.choice((*range(1, 20), 2**29 - 1))
        case 4:
            where[at].lie = rng.choice((-2, -1, 1, 2, 8, 100, 2**31, 2**63, -(2**40)))
        case 5:
            where[at].padding = rng.randrange(1, 10)
        case 6:
            found = parse(other)
            theirs = rng.choice([one for one in _lists(found) if one]) if found else where
            graft = rng.choice(theirs)
            where.insert(rng.randrange(len(where) + 1), graft)
        case 7:
            where[at] = Field(where[at].number, rng.choice((0, 1, 2, 5)), 0)
            where[at].value = b"" if where[at].wire_type == 2 else rng.choice(EXTREMES)
        case _:
            _change_value(rng, where[at])
    return serialize(fields)


def _change_value(rng: random.Random, one: Field) -> None:
    value = one.value
    if isinstance(value, int):
        one.value = rng.choice(EXTREMES if one.wire_type == 0 else FIXED)
        if rng.random() < 0.3:
            one.value = value + rng.choice((-1, 1))
        return
    one.inner = None
    match rng.randrange(5):
        case 0:
            one.value = b""
        case 1:
            one.value = rng.choice((b"__name__", b"\xff", b"\xed\xa0\x80", b"a", b"\x00", b"=" * 9))
        case 2:
            one.value = value * rng.choice((2, 3, 20))
        case 3:
            one.value = value[: rng.randrange(len(value) + 1)]
        case _:
            one.value = value + rng.randbytes(rng.choice((1, 8)))

"""Changes of bytes that find the edges of a decoder.

Everything is drawn from one ``random.Random``, so a seed and the pool tell the whole run.
"""

import random
import re
from collections.abc import Callable, Sequence
from enum import Enum

from tests.fuzz import protobuf_tree

MAX_BYTES = 4096
"""What inputs are cut to ..."""
FLOOD_BYTES = 65_536
"""... and those that repeat one piece over and over, which show what grows too fast."""

_NUMBER = re.compile(rb"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBERS = (
    b"0", b"-0", b"1", b"-1", b"2147483648", b"4294967296", b"9007199254740993",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809",
    b"18446744073709551615", b"18446744073709551616", b"99999999999999999999999", b"1e308",
    b"1e309", b"-1e400", b"1e-400", b"4.9e-324", b"0.1", b"00", b"1e", b"1.", b".1", b"NaN", b"Inf",
    b"-Infinity", b"0x10", b"1_000", b"1" * 400, b"0." + b"3" * 60, b"1e999999999",
)  # fmt: skip
_BYTES = (0, 1, 9, 10, 13, 32, 34, 44, 61, 92, 127, 128, 192, 237, 255)


class Shape(Enum):
    """What inputs look like, as far as the changes care."""

    BYTES = "bytes"
    TEXT = "text"
    PROTOBUF = "protobuf"


Words = Sequence[bytes]
Change = Callable[[random.Random, bytes, bytes, Words], bytes]
"""(randomness, input, another input, dictionary) -> changed input."""


def mutate(rng: random.Random, data: bytes, other: bytes, words: Words, shape: Shape) -> bytes:
    """*data* after one or some changes; *other* is a second input to borrow from."""
    if rng.random() < 0.01:
        return _flood(rng, data, words)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        if shape is Shape.PROTOBUF and rng.random() < 0.6:
            changed = protobuf_tree.mutate(rng, data, other)
            if changed is not None:
                data = changed[:MAX_BYTES]
                continue
        changes = _TEXT_CHANGES if shape is Shape.TEXT else _BYTE_CHANGES
        data = rng.choice(changes)(rng, data, other, words)[:MAX_BYTES]
    return data


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    """Where a piece of *data* begins and ends; mostly short."""
    start = rng.randrange(len(data) + 1)
    size = rng.choice((1, 1, 2, 4, 8, 16, 64, len(data)))
    return start, min(start + size, len(data))


def _flip(rng: random.Random, data: bytes, other: bytes, words: Words) -> bytes:
    if not data:
        return b"\x00"
    at = rng.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]


def _set(rng: random.Random, data: bytes, other: bytes, words: Words) -> bytes:
    at = rng.randrange(len(data) + 1)
    byte = rng.choice(_BYTES) if rng.random() < 0.6 else rng.randrange(256)
    return data[:at] + bytes((byte,)) + data[at + rng.randrange(2) :]


def _cut(rng: random.Random, data: bytes, other: bytes, words: Words) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] if rng.random() < 0.8 else data[at:]


def _remove(rng: random.Random, data: bytes, other: bytes, words: Words) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _repeat(rng: random.Random, data: bytes, other: bytes, words: Words) -> bytes:
    start, end = _span(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 1, 2, 8, 40)) + data[end:]


def _splice(rng: random.Random, data: bytes, other: bytes, words: Words) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _borrow(rng: random.Random, data: bytes, other: bytes, words: Words) -> bytes:
    at = rng.randrange(len(data) + 1)
    start, end = _span(rng, other)
    return data[:at] + other[start:end] + data[at + rng.choice((0, end - start)) :]


def _word(rng: random.Random, data: bytes, other: bytes, words: Words) -> bytes:
    if not words:
        return _set(rng, data, other, words)
    start, end = _span(rng, data)
    return data[:start] + rng.choice(words) + data[rng.choice((start, start, end)) :]


def _number(rng: random.Random, data: bytes, other: bytes, words: Words) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return _word(rng, data, other, words)
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(_NUMBERS) + data[match.end() :]


def _lines(rng: random.Random, data: bytes, other: bytes, words: Words) -> bytes:
    lines = data.split(b"\n")
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(other.split(b"\n")))
    if rng.random() < 0.5:
        lines.pop(rng.randrange(len(lines)))
    return b"\n".join(lines)


def _varint(rng: random.Random, data: bytes, other: bytes, words: Words) -> bytes:
    """Another number in the place of the varint at some byte: a length, a tag or a value."""
    at = rng.randrange(len(data) + 1)
    end = at
    while end < len(data) and data[end] > 127 and end - at < 9:
        end += 1
    number = sum((byte & 127) << 7 * k for k, byte in enumerate(data[at : end + 1]))
    number = rng.choice((number + 1, number - 1, number * 2, rng.choice(protobuf_tree.EXTREMES)))
    padding = rng.choice((0, 0, 0, 1, 9))
    return data[:at] + protobuf_tree.varint(number, padding) + data[end + 1 :]


def _flood(rng: random.Random, data: bytes, words: Words) -> bytes:
    start, end = _span(rng, data)
    piece = rng.choice(words) if words and rng.random() < 0.5 else data[start:end]
    count = rng.choice((100, 1000, FLOOD_BYTES)) // max(len(piece), 1)
    return (data[:start] + piece * count + data[start:])[:FLOOD_BYTES]


_SHARED: tuple[Change, ...] = (_flip, _set, _cut, _remove, _repeat, _splice, _borrow, _word)
_TEXT_CHANGES = (*_SHARED, _word, _word, _number, _number, _lines)
_BYTE_CHANGES = (*_SHARED, _varint, _varint)

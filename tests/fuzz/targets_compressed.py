"""Compressed bodies: what a decompressor makes of damaged ones, against a second reading."""

import numpy as np

from tests.fuzz.mutate import Shape
from tests.fuzz.slow_snappy import BadSnappy, slow_snappy
from tests.fuzz.target import Outcome, Target, magnitude
from wire.compression import decompress
from wire.errors import Malformed
from wire.line_blocks import ENCODINGS, LineBlocks

MAX_PLAIN_BYTES = 1 << 20
"""The cap that every input is decompressed with."""

_STEPS = (1, 7, 256, 65_536)
_CODES = (b"\x00", b"\x01", b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\x07")


def _plain(data: bytes, encoding: str) -> bytes:
    plain = decompress(data, encoding, MAX_PLAIN_BYTES)
    assert plain.dtype == np.uint8 and plain.flags.writeable
    assert len(plain) <= MAX_PLAIN_BYTES
    return plain.tobytes()


def _snappy(data: bytes) -> Outcome:
    try:
        expected = slow_snappy(data, MAX_PLAIN_BYTES)
    except BadSnappy:
        expected = None
    try:
        plain = _plain(data, "snappy")
    except Malformed:
        assert expected is None, "a body that the slow reader reads"
        raise
    assert plain == expected
    return magnitude(len(plain)), magnitude(len(data))


def _zstd(data: bytes) -> Outcome:
    plain = _plain(data, "zstd")
    if plain:
        assert _streamed(data, "zstd", 65_536) == plain
    return magnitude(len(plain)), magnitude(len(data))


def _zlib(data: bytes) -> Outcome:
    """The first two bytes tell gzip from deflate."""
    encoding = "gzip" if data[:2] == b"\x1f\x8b" else "deflate"
    plain = _plain(data, encoding)
    if encoding == "gzip":
        assert _streamed(data, "gzip", 65_536) == plain
    return encoding, magnitude(len(plain)), magnitude(len(data))


def _streamed(data: bytes, encoding: str, step: int) -> bytes:
    """What LineBlocks makes of *data*, fed by *step* bytes."""
    blocks = LineBlocks(encoding, MAX_PLAIN_BYTES)
    parts = []
    for at in range(0, len(data), step):
        for block in blocks.feed(data[at : at + step]):
            assert block.endswith(b"\n")
            parts.append(block)
    return b"".join([*parts, blocks.finish()])


def _line_blocks(data: bytes) -> Outcome:
    """The first byte chooses the encoding and how many bytes are fed at once."""
    if not data:
        raise Malformed("no choice of an encoding")
    encoding = ENCODINGS[data[0] % len(ENCODINGS)]
    step = _STEPS[data[0] // len(ENCODINGS) % len(_STEPS)]
    try:
        plain = _streamed(data[1:], encoding, step)
    except Malformed as error:
        refused = str(error)
    else:
        assert plain == _streamed(data[1:], encoding, len(data))
        return encoding, step, magnitude(len(plain))
    try:
        _streamed(data[1:], encoding, len(data))
    except Malformed:
        raise Malformed(f"{encoding}: {refused}") from None
    raise AssertionError(f"fed by {step} bytes it is refused ({refused}), at once it is read")


_ROOM = MAX_PLAIN_BYTES + (8 << 20)
"""The plain bytes, held twice or thrice while they are copied."""

TARGETS = (
    Target("snappy", _snappy, (Malformed,), Shape.BYTES, _CODES, base_bytes=_ROOM),
    Target("zstd", _zstd, (Malformed,), Shape.BYTES, (b"\x28\xb5\x2f\xfd",), base_bytes=_ROOM),
    Target("zlib", _zlib, (Malformed,), Shape.BYTES, (b"\x1f\x8b", b"\x78\x9c"), base_bytes=_ROOM),
    Target(
        "line_blocks",
        _line_blocks,
        (Malformed,),
        Shape.BYTES,
        (b"\n", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", *_CODES),
        base_bytes=_ROOM,
    ),
)

"""Compressed bodies, never made larger than a caller allows."""

import zlib

import cramjam
import numpy as np
import zstandard
from numpy.typing import NDArray

from wire.errors import Malformed
from wire.protobuf import varint

Bytes = NDArray[np.uint8]

ENCODINGS = ("snappy", "zstd", "gzip", "deflate", "identity")
"""The values of Content-Encoding that ``decompress`` knows; snappy is the block format."""

_ZSTD_STEP_BYTES = 1 << 8
"""Four bytes of zstd may stand for 128 KiB: what one step can grow to is bounded by this."""

_ZLIB_STEP_BYTES, _ZLIB_PART_BYTES = 1 << 16, 1 << 20
"""So much is read, and so much made of it, at a time: zlib would hold twice what it makes."""


def decompress(body: bytes, encoding: str, max_bytes: int) -> Bytes:
    """uint8[n], writable: the plain bytes of *body*, compressed by *encoding* (of ENCODINGS).

    Raises Malformed where it is corrupt or holds more than *max_bytes*: snappy and zstd tell so
    before anything is allocated, the others are read no further.
    """
    match encoding:
        case "snappy":
            return _snappy(body, max_bytes)
        case "zstd":
            return _zstd(body, max_bytes)
        case "gzip" | "deflate":
            return _zlib(body, encoding, max_bytes)
    if len(body) > max_bytes:
        raise _too_large("identity", len(body), max_bytes)
    return _array(body)


def snappy_bytes(body: bytes) -> int:
    """How large *body*, compressed by snappy, says that it will be; 0 where it says nothing."""
    try:
        return varint(body, 0)[0]
    except Malformed:
        return 0


def _snappy(body: bytes, max_bytes: int) -> Bytes:
    try:
        claimed, head_bytes = varint(body, 0)
    except Malformed:
        raise _corrupt("snappy") from None
    if claimed > max_bytes:
        raise _too_large("snappy", claimed, max_bytes)
    plain = np.empty(claimed, dtype=np.uint8)
    try:
        written = cramjam.snappy.decompress_raw_into(body, plain.data) if claimed else 0
    except cramjam.DecompressionError:
        raise _corrupt("snappy") from None
    if written != claimed or (not claimed and len(body) > head_bytes):
        raise _corrupt("snappy")
    return plain


def _zstd(body: bytes, max_bytes: int) -> Bytes:
    """One frame, which may leave out its size."""
    try:
        claimed = zstandard.frame_content_size(body)
        if claimed > max_bytes:
            raise _too_large("zstd", claimed, max_bytes)
        if claimed == 0:
            return np.zeros(0, dtype=np.uint8)
        if claimed > 0:
            plain = zstandard.ZstdDecompressor().decompress(
                body, max_output_size=claimed, allow_extra_data=False
            )
            return _array(plain)
        return _unsized_zstd(body, max_bytes)
    except zstandard.ZstdError:
        raise _corrupt("zstd") from None


def _unsized_zstd(body: bytes, max_bytes: int) -> Bytes:
    window_bytes = zstandard.get_frame_parameters(body).window_size
    if window_bytes > max(max_bytes, 1 << 20):
        raise _too_large("zstd", window_bytes, max_bytes)
    reader = zstandard.ZstdDecompressor().decompressobj()
    parts = []
    size = 0
    for at in range(0, len(body), _ZSTD_STEP_BYTES):
        if reader.eof:
            raise _corrupt("zstd")
        parts.append(reader.decompress(body[at : at + _ZSTD_STEP_BYTES]))
        size += len(parts[-1])
        if size > max_bytes:
            raise _too_large("zstd", size, max_bytes)
    if not reader.eof or reader.unused_data:
        raise _corrupt("zstd")
    return _joined(parts, size)


def _zlib(body: bytes, encoding: str, max_bytes: int) -> Bytes:
    # 32: a gzip or a zlib header, whichever is there.
    reader = zlib.decompressobj(32 + zlib.MAX_WBITS)
    parts: list[bytes] = []
    size = 0
    try:
        for at in range(0, len(body), _ZLIB_STEP_BYTES):
            if reader.eof:
                raise _corrupt(encoding)
            rest = body[at : at + _ZLIB_STEP_BYTES]
            while not reader.eof and (rest or len(parts[-1]) == _ZLIB_PART_BYTES):
                parts.append(reader.decompress(rest, _ZLIB_PART_BYTES))
                size += len(parts[-1])
                if size > max_bytes:
                    raise _too_large(encoding, size, max_bytes)
                rest = reader.unconsumed_tail
    except zlib.error:
        raise _corrupt(encoding) from None
    if not reader.eof or reader.unused_data or reader.unconsumed_tail:
        raise _corrupt(encoding)
    return _joined(parts, size)


def _joined(parts: list[bytes], size: int) -> Bytes:
    """All *parts*, *size* bytes together."""
    plain = np.empty(size, dtype=np.uint8)
    at = 0
    for part in parts:
        plain[at : at + len(part)] = np.frombuffer(part, dtype=np.uint8)
        at += len(part)
    return plain


def _array(plain: bytes) -> Bytes:
    # A copy: kernels take no arrays that cannot be written to.
    return np.frombuffer(plain, dtype=np.uint8).copy()


def _corrupt(encoding: str) -> Malformed:
    return Malformed(f"{encoding}: corrupt input")


def _too_large(encoding: str, size: int, max_bytes: int) -> Malformed:
    return Malformed(f"{encoding}: decoded length {size} exceeds the {max_bytes} bytes limit")

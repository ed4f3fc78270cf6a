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

_ZSTD_STEP_BYTES = 1 << 10
"""Four bytes of zstd may stand for 128 KiB: what one step can grow to is bounded by this."""


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


def _snappy(body: bytes, max_bytes: int) -> Bytes:
    try:
        claimed, _ = varint(body, 0)
    except Malformed:
        raise _corrupt("snappy") from None
    if claimed > max_bytes:
        raise _too_large("snappy", claimed, max_bytes)
    plain = np.empty(claimed, dtype=np.uint8)
    try:
        written = cramjam.snappy.decompress_raw_into(body, plain.data) if claimed else 0
    except cramjam.DecompressionError:
        raise _corrupt("snappy") from None
    if written != claimed:
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
    return _array(b"".join(parts))


def _zlib(body: bytes, encoding: str, max_bytes: int) -> Bytes:
    # 32: a gzip or a zlib header, whichever is there.
    reader = zlib.decompressobj(32 + zlib.MAX_WBITS)
    try:
        plain = reader.decompress(body, max_bytes + 1)
    except zlib.error:
        raise _corrupt(encoding) from None
    if len(plain) > max_bytes:
        raise _too_large(encoding, len(plain), max_bytes)
    if not reader.eof or reader.unused_data:
        raise _corrupt(encoding)
    return _array(plain)


def _array(plain: bytes) -> Bytes:
    # A copy: kernels take no arrays that cannot be written to.
    return np.frombuffer(plain, dtype=np.uint8).copy()


def _corrupt(encoding: str) -> Malformed:
    return Malformed(f"{encoding}: corrupt input")


def _too_large(encoding: str, size: int, max_bytes: int) -> Malformed:
    return Malformed(f"{encoding}: decoded length {size} exceeds the {max_bytes} bytes limit")

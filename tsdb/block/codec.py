"""Frames: the unit of compression, checking and caching in a block's data file.

A frame is a header and the *sections* of one frame body (see ``encode_kernels``): the heads with
the odd samples, then each byte plane by itself, because planes differ in their statistics. A
section that zstd does not shrink is stored as it is. The layout stands in ``docs/format.md``.
"""

import itertools
import struct
import threading

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from tsdb.block import encode_kernels as kernels

SEGMENT_SAMPLES = 480
"""Samples a full segment; a series' last one may take this rest too:"""
SEGMENT_REST_SAMPLES = 60

_HEADER = struct.Struct("<IIIHH")  # crc32c of what follows, number, body size, sections, zero
_SECTION = struct.Struct("<II")  # size, stored size
_CRC_BYTES = 4
_COMPRESSION_LEVEL = 1

Bytes = NDArray[np.uint8]
Int64s = NDArray[np.int64]


class FrameEncoder:
    """Makes frames; keeps its scratch between them, so each thread needs its own."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, write_checksum=False)
        self._body = np.empty(0, dtype=np.uint8)
        self._bounds = np.zeros(9, dtype=np.int64)

    def values(
        self, number: int, values: NDArray[np.float64], starts: Int64s, counts: Int64s
    ) -> tuple[bytes, Bytes]:
        """The frame of the segments ``values[starts[s] : starts[s] + counts[s]]``, their flags."""
        flags = np.zeros(len(starts), dtype=np.uint8)
        body = self._room(counts)
        kernels.encode_values(values, starts, counts, body, self._bounds, flags)
        return self._pack(number), flags

    def times(self, number: int, times_ms: Int64s, starts: Int64s, counts: Int64s) -> bytes:
        """The frame of the time columns ``times_ms[starts[c] : starts[c] + counts[c]]``."""
        kernels.encode_times(times_ms, starts, counts, self._room(counts), self._bounds)
        return self._pack(number)

    def _room(self, counts: Int64s) -> Bytes:
        size = 8 + 52 * len(counts) + 9 * int(counts.sum())
        if len(self._body) < size:
            self._body = np.empty(size, dtype=np.uint8)
        return self._body

    def _pack(self, number: int) -> bytes:
        sizes, payload = [], []
        for start, end in itertools.pairwise([0, *self._bounds.tolist()]):
            if start == end:
                continue
            section = self._body[start:end].data
            packed = self._zstd.compress(section)
            stored = packed if len(packed) < len(section) else bytes(section)
            sizes.append(_SECTION.pack(len(section), len(stored)))
            payload.append(stored)
        header = _HEADER.pack(0, number, int(self._bounds[8]), len(sizes), 0)
        rest = b"".join((header[_CRC_BYTES:], *sizes, *payload))
        return struct.pack("<I", google_crc32c.value(rest)) + rest


def unpack_frame(data: bytes, number: int) -> Bytes:
    """The body of frame *number* from its bytes; ValueError says what is wrong with them."""
    if len(data) < _HEADER.size:
        raise ValueError("frame is cut short")
    crc, found_number, body_size, sections, _ = _HEADER.unpack_from(data)
    if google_crc32c.value(data[_CRC_BYTES:]) != crc:
        raise ValueError("checksum mismatch")
    if found_number != number:
        raise ValueError(f"frame {found_number} stands where frame {number} belongs")
    at = _HEADER.size + sections * _SECTION.size
    if at > len(data):
        raise ValueError("frame is cut short")
    parts: list[bytes | memoryview] = []
    view = memoryview(data)
    for size, stored in _SECTION.iter_unpack(view[_HEADER.size : at]):
        part = view[at : at + stored]
        at += stored
        parts.append(part if stored == size else _decompressed(part, size))
    body = b"".join(parts)
    if at != len(data) or len(body) != body_size:
        raise ValueError("frame sizes disagree")
    return np.frombuffer(body, dtype=np.uint8)


class _Decompressor(threading.local):
    """One a thread: it is not for two at once, and making one costs more than using it."""

    def __init__(self) -> None:
        self.decompress = zstandard.ZstdDecompressor().decompress


_zstd = _Decompressor()


def _decompressed(part: memoryview, size: int) -> bytes:
    try:
        return _zstd.decompress(part, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueError(f"frame does not decompress: {error}") from None

"""Frames: the unit of compression, checking and caching in a block's data file.

A frame is a header and *sections*: the first, which zstd compresses, says what its segments are;
the rest hold their codes (see ``pack_kernels``). Of the two ways to write these, zstd and our own
entropy coder, each frame takes the smaller. The layout stands in ``docs/format.md``.
"""

import itertools
import struct
import threading
from collections.abc import Sequence

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from tsdb.block import model_kernels, pack_kernels
from tsdb.block.unpack_kernels import SPARE_BYTES, unpack

SEGMENT_SAMPLES = 480
"""Samples a full segment; a series' last one may take this rest too:"""
SEGMENT_REST_SAMPLES = 60

_HEADER = struct.Struct("<IIHH")  # crc32c of what follows, number, sections, zero
_SECTION = struct.Struct("<II")  # size, stored size
_CRC_BYTES = 4
_MAX_SECTION_BYTES = 1 << 26
_COMPRESSION_LEVEL = 1
_CLEAR = 0.9
_PASSED_OVER = 7
"""After a frame whose smallest coding is below CLEAR of another one, that one is not tried for so
many frames: neighbours are of one kind, and trying costs more than finding out later."""

Bytes = NDArray[np.uint8]
Int64s = NDArray[np.int64]
_Sections = list[tuple[int, bytes]]
"""Of each section its size and what is stored of it."""


class FrameEncoder:
    """Makes frames; each thread needs its own."""

    def __init__(self, codings: Sequence[int] = (pack_kernels.SPLIT, pack_kernels.PLANES)) -> None:
        """Frames are the smallest by any of the *codings*."""
        self._codings = codings
        self._passed_over = dict.fromkeys(codings, 0)
        self._zstd = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters.from_level(
                _COMPRESSION_LEVEL, write_content_size=False, write_checksum=False
            )
        )

    def values(
        self, number: int, values: NDArray[np.float64], starts: Int64s, counts: Int64s
    ) -> tuple[bytes, Bytes]:
        """The frame of the segments ``values[starts[s] : starts[s] + counts[s]]``, their flags."""
        flags = np.zeros(len(starts), dtype=np.uint8)
        heads, codes = _room(counts)
        odds = np.empty(2 * len(codes), dtype=np.int64)
        model_kernels.model_values(values, starts, counts, heads, codes, odds, flags)
        return self._pack(number, heads, codes, odds), flags

    def times(self, number: int, times_ms: Int64s, starts: Int64s, counts: Int64s) -> bytes:
        """The frame of the time columns ``times_ms[starts[c] : starts[c] + counts[c]]``."""
        heads, codes = _room(counts)
        model_kernels.model_times(times_ms, starts, counts, heads, codes)
        return self._pack(number, heads, codes, np.empty(0, dtype=np.int64))

    def _pack(self, number: int, heads: Int64s, codes: Int64s, odds: Int64s) -> bytes:
        sections = self._smallest(heads, codes, odds)
        sizes = [_SECTION.pack(size, len(stored)) for size, stored in sections]
        header = _HEADER.pack(0, number, len(sections), 0)
        rest = b"".join((header[_CRC_BYTES:], *sizes, *(stored for _, stored in sections)))
        return struct.pack("<I", google_crc32c.value(rest)) + rest

    def _smallest(self, heads: Int64s, codes: Int64s, odds: Int64s) -> _Sections:
        """The sections by the best of the codings that are worth a try."""
        tried: dict[int, _Sections] = {}
        for coding in self._codings:
            if self._passed_over[coding]:
                self._passed_over[coding] -= 1
            else:
                tried[coding] = self._sections(coding, heads, codes, odds)
        sizes = {coding: _stored_bytes(sections) for coding, sections in tried.items()}
        best = min(sizes, key=sizes.__getitem__)
        for coding, size in sizes.items():
            if sizes[best] < _CLEAR * size:
                self._passed_over[coding] = _PASSED_OVER
        return tried[best]

    def _sections(self, coding: int, heads: Int64s, codes: Int64s, odds: Int64s) -> _Sections:
        head = np.empty(12 + 52 * len(heads) + 20 * len(codes), dtype=np.uint8)
        code = np.empty(16 + len(heads) + 10 * len(codes), dtype=np.uint8)
        if coding == pack_kernels.SPLIT:
            head_bytes, code_bytes = pack_kernels.pack_split(heads, codes, odds, head, code)
            return [self._compressed(head[:head_bytes]), (code_bytes, code[:code_bytes].tobytes())]
        bounds = np.zeros(9, dtype=np.int64)
        head_bytes = pack_kernels.pack_planes(heads, codes, odds, head, code, bounds)
        planes = [code[start:end] for start, end in itertools.pairwise(bounds.tolist())]
        return [self._compressed(part) for part in (head[:head_bytes], *planes) if len(part)]

    def _compressed(self, section: Bytes) -> tuple[int, bytes]:
        packed = self._zstd.compress(section.data)
        return len(section), packed if len(packed) < len(section) else section.tobytes()


def _room(counts: Int64s) -> tuple[Int64s, Int64s]:
    heads = np.empty((len(counts), model_kernels.HEAD_FIELDS), dtype=np.int64)
    return heads, np.empty(int(counts.sum()), dtype=np.int64)


def _stored_bytes(sections: _Sections) -> int:
    return sum(_SECTION.size + len(stored) for _, stored in sections)


def unpack_frame(data: bytes, number: int) -> Bytes:
    """The body of frame *number* from its bytes; ValueError says what is wrong with them."""
    if len(data) < _HEADER.size:
        raise ValueError("frame is cut short")
    crc, found_number, sections, _ = _HEADER.unpack_from(data)
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
    if at != len(data) or not parts:
        raise ValueError("frame sizes disagree")
    codes = b"".join((*parts[1:], bytes(SPARE_BYTES)))
    body: Bytes = unpack(np.frombuffer(parts[0], np.uint8), np.frombuffer(codes, np.uint8))
    if not len(body):
        raise ValueError("frame contradicts itself")
    return body


class _Decompressor(threading.local):
    """One a thread: it is not for two at once, and making one costs more than using it."""

    def __init__(self) -> None:
        self.decompress = zstandard.ZstdDecompressor().decompress


_zstd = _Decompressor()


def _decompressed(part: memoryview, size: int) -> bytes:
    if size > _MAX_SECTION_BYTES:
        raise ValueError("frame sizes disagree")
    try:
        section = _zstd.decompress(part, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueError(f"frame does not decompress: {error}") from None
    if len(section) != size:
        raise ValueError("frame sizes disagree")
    return section

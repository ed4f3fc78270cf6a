"""Frames: the unit of compression, checking and caching in a block's data file.

A frame is a header and *sections*: the first, which zstd compresses, says what its segments are;
the rest hold their codes (see ``pack_kernels``). Of the two ways to write these, zstd and our own
entropy coder, each frame takes the smaller. The layout stands in ``docs/format.md``.
"""

import itertools
import struct
import threading
from collections.abc import Mapping, Sequence

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

from tsdb.block import model_kernels, pack_kernels
from tsdb.block.format import UNSAID
from tsdb.block.unpack_kernels import SPARE_BYTES, unpack

SEGMENT_SAMPLES = 480
"""Samples a full segment; a series' last one may take this rest too:"""
SEGMENT_REST_SAMPLES = 60

_HEADER = struct.Struct("<IIHH")  # crc32c of what follows, number, sections, zero
_NUMBER = struct.Struct("<II")  # the first half of the header
_COUNT = struct.Struct("<HH")  # the other half
_SECTION = struct.Struct("<II")  # size, stored size
_CRC_BYTES = 4
_MAX_SECTION_BYTES = 1 << 26
_COMPRESSION_LEVEL = 1
_CLEAR, _CLOSE = 0.9, 0.98
_LOST = 5
_PASSED_OVER, _PASSED_OVER_IF_CLOSE = 31, 7
"""After a frame whose smallest coding is below CLEAR of another one, that one is not tried for so
many frames, and for fewer where it was below CLOSE so many times in a row: neighbours are of one
kind, and trying costs more than finding out later."""
_OTHER_KIND = 0.25
"""Where the bytes a sample change by such a share, the kind has changed, and all are tried."""

Bytes = NDArray[np.uint8]
Int64s = NDArray[np.int64]
_Sections = list[tuple[int, bytes]]
"""Of each section its size and what is stored of it."""


class FrameEncoder:
    """Makes frames, but for the number of each, which ``frame_number`` puts before it.

    Each thread needs its own.
    """

    def __init__(self, codings: Sequence[int] = (pack_kernels.SPLIT, pack_kernels.PLANES)) -> None:
        """Frames are the smallest by any of the *codings*."""
        self._codings = codings
        self._passed_over = dict.fromkeys(codings, 0)
        self._lost = dict.fromkeys(codings, 0)
        self._usual = 0.0
        self._zstd = zstandard.ZstdCompressor(
            compression_params=zstandard.ZstdCompressionParameters.from_level(
                _COMPRESSION_LEVEL, write_content_size=False, write_checksum=False
            )
        )

    def values(
        self, values: NDArray[np.float64], starts: Int64s, counts: Int64s
    ) -> tuple[bytes, Bytes]:
        """The frame of the segments ``values[starts[s] : starts[s] + counts[s]]``, their flags."""
        flags = np.zeros(len(starts), dtype=np.uint8)
        heads, codes = _room(counts)
        odds = np.empty(2 * len(codes), dtype=np.int64)
        model_kernels.model_values(values, starts, counts, heads, codes, odds, flags)
        return self._pack(heads, codes, odds), flags

    def times(self, times_ms: Int64s, starts: Int64s, counts: Int64s) -> bytes:
        """The frame of the time columns ``times_ms[starts[c] : starts[c] + counts[c]]``."""
        heads, codes = _room(counts)
        model_kernels.model_times(times_ms, starts, counts, heads, codes)
        return self._pack(heads, codes, np.empty(0, dtype=np.int64))

    def _pack(self, heads: Int64s, codes: Int64s, odds: Int64s) -> bytes:
        sections = self._smallest(heads, codes, odds)
        sizes = [_SECTION.pack(size, len(stored)) for size, stored in sections]
        return b"".join((_COUNT.pack(len(sections), 0), *sizes, *(part for _, part in sections)))

    def _smallest(self, heads: Int64s, codes: Int64s, odds: Int64s) -> _Sections:
        """The sections by the best of the codings that are worth a try."""
        rest = [coding for coding in self._codings if self._passed_over[coding]]
        tried = {
            coding: self._sections(coding, heads, codes, odds)
            for coding in self._codings
            if coding not in rest
        }
        sizes = {coding: _stored_bytes(sections) for coding, sections in tried.items()}
        usual = self._usual * len(codes)
        if abs(min(sizes.values()) - usual) > _OTHER_KIND * usual:
            for coding in rest:
                tried[coding] = self._sections(coding, heads, codes, odds)
                sizes[coding] = _stored_bytes(tried[coding])
            rest = []
        best = min(sizes, key=sizes.__getitem__)
        for coding in rest:
            self._passed_over[coding] -= 1
        if not rest:
            self._usual = sizes[best] / len(codes)
            self._pass_over(sizes, sizes[best])
        return tried[best]

    def _pass_over(self, sizes: Mapping[int, int], best: int) -> None:
        """Of all codings, those that are not worth a try on the next frames."""
        for coding, size in sizes.items():
            lost = self._lost[coding] + 1 if best < _CLOSE * size else 0
            self._lost[coding] = lost
            if_close = _PASSED_OVER_IF_CLOSE if lost >= _LOST else 0
            self._passed_over[coding] = _PASSED_OVER if best < _CLEAR * size else if_close

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


def frame_number(number: int, rest: bytes) -> bytes:
    """What stands before the *rest* of a frame: its number in the block, under the checksum."""
    crc = google_crc32c.extend(google_crc32c.value(number.to_bytes(_CRC_BYTES, "little")), rest)
    return _NUMBER.pack(crc, number)


def without_number(data: bytes, number: int) -> bytes:
    """The rest of frame *number*, to be given another one; ValueError as ``unpack_frame``."""
    _check(data, number)
    return data[_NUMBER.size :]


def _check(data: bytes, number: int) -> int:
    """How many sections the frame has."""
    if len(data) < _HEADER.size:
        raise ValueError("frame is cut short")
    crc, found_number, sections, _ = _HEADER.unpack_from(data)
    if google_crc32c.value(data[_CRC_BYTES:]) != crc:
        raise ValueError("checksum mismatch")
    if found_number != number:
        raise ValueError(f"frame {found_number} stands where frame {number} belongs")
    return int(sections)


def unpack_frame(data: bytes, number: int) -> Bytes:
    """The body of frame *number* from its bytes; ValueError says what is wrong with them."""
    sections = _check(data, number)
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
        # What the part says itself would be allocated, however much that is.
        if zstandard.frame_content_size(part) not in (size, UNSAID):
            raise ValueError("frame sizes disagree")
        section = _zstd.decompress(part, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueError(f"frame does not decompress: {error}") from None
    if len(section) != size:
        raise ValueError("frame sizes disagree")
    return section

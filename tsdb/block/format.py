"""The bytes of a block's two files, but for the frames (see ``codec``).

``data`` is a header and frames. ``index`` is a header, a directory of typed sections and the
sections, each compressed by zstd and under its own CRC32C. A reader skips sections of a type it
does not know, unless they are marked required. ``docs/format.md`` has the tables.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

BLOCK_VERSION = 1
INDEX_MAGIC = b"O11YINDX"
DATA_MAGIC = b"O11YDATA"

DATA_HEADER = struct.Struct("<8sIIQ")  # magic, version, crc32c of the rest, block sequence
INDEX_HEADER = struct.Struct("<8sIIQII")  # magic, version, crc32c, sequence, sections, zero
SECTION_ENTRY = struct.Struct("<IIQQII")  # type, flags, stored size, size, crc32c, zero
REQUIRED = 1
_INDEX_CRC_AT = 12
_COLUMN = struct.Struct("<BBHIQ")  # width, zero, zero, zero, count
_LEVEL = 3

Ints = NDArray[np.int64]


class Section(IntEnum):
    """Types of index sections; a reader must know all of them."""

    SUMMARY = 1
    NAMES = 2
    VALUES = 3
    ROWS = 4
    FINGERPRINTS = 5
    SEGMENTS = 6
    TIME_COLUMNS = 7
    FRAMES = 8
    ENTRY_LAYOUTS = 9
    ENTRY_RUNS = 10


_ONLY_WITH_ENTRIES = (Section.ENTRY_LAYOUTS, Section.ENTRY_RUNS)


def block_directory(root: Path, sequence: int) -> Path:
    """Where block *sequence* lives below the directory of all blocks."""
    return root / f"{sequence:010d}"


@dataclass(frozen=True, slots=True)
class BlockMeta:
    """What the manifest says of a block; times are those of its first and last sample."""

    sequence: int
    min_time_ms: int
    max_time_ms: int
    series: int
    samples: int
    index_bytes: int
    data_bytes: int
    late: bool

    @property
    def size_bytes(self) -> int:
        return self.index_bytes + self.data_bytes


class DamagedError(ValueError):
    """Bytes that cannot be what was written; ``offset`` is where in the file."""

    def __init__(self, text: str, offset: int = 0) -> None:
        super().__init__(text)
        self.offset = offset


def pack_column(numbers: NDArray[np.integer]) -> bytes:
    """Whole numbers >= 0 as byte planes of the smallest width that holds them all."""
    column = np.ascontiguousarray(numbers, dtype="<u8")
    width = (int(column.max(initial=0)).bit_length() + 7) // 8
    planes = column.view(np.uint8).reshape(-1, 8).T[:width]
    return _COLUMN.pack(width, 0, 0, 0, len(column)) + planes.tobytes()


class ColumnReader:
    """Takes columns and texts off a section, in the order they were packed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def column(self) -> Ints:
        """int64[n]: the next column; DamagedError where the section ends before it does."""
        if self._at + _COLUMN.size > len(self._data):
            raise DamagedError("section is cut short")
        width, _, _, _, count = _COLUMN.unpack_from(self._data, self._at)
        start = self._at + _COLUMN.size
        self._at = start + width * count
        if width > 8 or self._at > len(self._data):
            raise DamagedError("section is cut short")
        planes = np.frombuffer(self._data, dtype=np.uint8, count=width * count, offset=start)
        column = np.zeros((count, 8), dtype=np.uint8)
        column[:, :width] = planes.reshape(width, count).T
        return column.reshape(-1).view("<i8")

    def rest(self) -> bytes:
        return self._data[self._at :]


def pack_data_header(sequence: int) -> bytes:
    crc = google_crc32c.value(struct.pack("<Q", sequence))
    return DATA_HEADER.pack(DATA_MAGIC, BLOCK_VERSION, crc, sequence)


def check_data_header(data: bytes, sequence: int) -> None:
    """DamagedError where *data* does not begin a data file of block *sequence*."""
    if len(data) < DATA_HEADER.size or data[:8] != DATA_MAGIC:
        raise DamagedError("not a data file of a block")
    _check_version(DATA_HEADER.unpack_from(data)[1])
    if data[: DATA_HEADER.size] != pack_data_header(sequence):
        raise DamagedError(f"not the data file of block {sequence}, or damaged")


def pack_index(sequence: int, sections: Mapping[Section, Sequence[bytes]]) -> bytes:
    """The index file; each section is the concatenation of its parts."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    entries, payload = [], []
    for kind, parts in sections.items():
        content = b"".join(parts)
        stored = compressor.compress(content)
        crc = google_crc32c.value(stored)
        entries.append(SECTION_ENTRY.pack(kind, REQUIRED, len(stored), len(content), crc, 0))
        payload.append(stored)
    rest = struct.pack("<QII", sequence, len(entries), 0) + b"".join(entries)
    head = struct.pack("<8sII", INDEX_MAGIC, BLOCK_VERSION, google_crc32c.value(rest))
    return b"".join((head, rest, *payload))


def unpack_index(data: bytes, sequence: int) -> dict[Section, bytes]:
    """The sections of an index file; DamagedError where its bytes cannot be right."""
    if len(data) < INDEX_HEADER.size or data[:8] != INDEX_MAGIC:
        raise DamagedError("not an index file of a block")
    _, version, crc, found_sequence, count, _ = INDEX_HEADER.unpack_from(data)
    _check_version(version)
    at = INDEX_HEADER.size + count * SECTION_ENTRY.size
    if at > len(data) or google_crc32c.value(data[_INDEX_CRC_AT + 4 : at]) != crc:
        raise DamagedError("checksum mismatch in the index directory")
    if found_sequence != sequence:
        raise DamagedError(f"index of block {found_sequence} stands where {sequence} belongs")
    sections = {}
    for kind, flags, stored, size, section_crc, _ in SECTION_ENTRY.iter_unpack(
        data[INDEX_HEADER.size : at]
    ):
        content = data[at : at + stored]
        if len(content) != stored or google_crc32c.value(content) != section_crc:
            raise DamagedError(f"checksum mismatch in index section {kind}", at)
        if kind in Section.__members__.values():
            sections[Section(kind)] = _decompress(content, size, at)
        elif flags & REQUIRED:
            raise DamagedError(f"index section {kind} is required and unknown to this version", at)
        at += stored
    if at != len(data):
        raise DamagedError("bytes behind the last index section", at)
    for kind in Section:
        if kind not in sections and kind not in _ONLY_WITH_ENTRIES:
            raise DamagedError(f"index section {kind} is missing")
    return sections


def _decompress(content: bytes, size: int, at: int) -> bytes:
    try:
        plain = zstandard.ZstdDecompressor().decompress(content, max_output_size=size)
    except zstandard.ZstdError as error:
        raise DamagedError(f"index section does not decompress: {error}", at) from None
    if len(plain) != size:
        raise DamagedError("index section has another size than written", at)
    return plain


def _check_version(version: int) -> None:
    if version > BLOCK_VERSION:
        raise DamagedError(
            f"block format version {version} is newer than this program knows ({BLOCK_VERSION})"
        )
    if version != BLOCK_VERSION:
        raise DamagedError(f"block format version {version} is unknown")

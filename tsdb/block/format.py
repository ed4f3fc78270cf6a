"""The bytes of a block's two files, but for the frames (see ``codec``).

``data`` is a header, frames, a copy of the index and a trailer by which to find that copy.
``index`` is a header, a directory of typed sections and the sections, each compressed by zstd and
under its own CRC32C. A reader skips sections of a type it does not know, unless they are marked
required. ``docs/format.md`` has the tables.
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

from tsdb.versions import UnsupportedFormat

BLOCK_VERSION = 2
INDEX_MAGIC = b"O11YINDX"
DATA_MAGIC = b"O11YDATA"
COPY_MAGIC = b"O11YCOPY"
SEED_BYTES = 16

DATA_HEADER = struct.Struct("<8sIIQ")  # magic, version, crc32c of the others, block sequence
TRAILER = struct.Struct("<QII8s")  # bytes of the copy of the index, crc32c of these, zero, magic
INDEX_HEADER = struct.Struct("<8sIIQII")  # magic, version, sections, block sequence, crc32c of
# the directory, crc32c of the header before it
SECTION_ENTRY = struct.Struct("<IIQQII")  # type, flags, stored size, size, crc32c, zero
REQUIRED = 1
_CRC_BYTES = 4
_COLUMN = struct.Struct("<BBHIQ")  # width, zero, zero, zero, count
_LEVEL = 9
_MOST_SHRUNK = 1 << 15
"""No byte of zstd stands for more: a block of 128 KiB takes four at least."""

Ints = NDArray[np.int64]


class Section(IntEnum):
    """Types of index sections; a reader must know all of them."""

    SUMMARY = 1
    ORIGIN = 2
    NAMES = 3
    VALUES = 4
    ROWS = 5
    FRAMES = 6
    GROUPS = 7
    SEGMENTS = 8
    TIME_COLUMNS = 9
    ENTRY_LAYOUTS = 10
    ENTRY_RUNS = 11


Sections = dict[Section, bytes]

_KINDS = frozenset(Section)
_ONLY_WITH_ENTRIES = (Section.ENTRY_LAYOUTS, Section.ENTRY_RUNS)


class FrameKind(IntEnum):
    """What a frame holds."""

    VALUES = 0
    TIMES = 1
    ENTRIES = 2


def block_directory(root: Path, sequence: int) -> Path:
    """Where block *sequence* lives below the directory of all blocks."""
    return root / f"{sequence:010d}"


@dataclass(frozen=True, slots=True)
class BlockMeta:
    """What the manifest says of a block; times are those of its first and last sample.

    - ``rank``: of samples at one instant those of the block with the lowest rank count.
    - ``sources``: the sequences of the blocks that it was merged from, in whose place it stands.
    """

    sequence: int
    min_time_ms: int
    max_time_ms: int
    series: int
    samples: int
    index_bytes: int
    data_bytes: int
    late: bool
    rank: int
    sources: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # JSON has lists only.
        object.__setattr__(self, "sources", tuple(self.sources))

    @property
    def size_bytes(self) -> int:
        return self.index_bytes + self.data_bytes


class DamagedError(ValueError):
    """Bytes that cannot be what was written; ``offset`` is where in the file."""

    def __init__(self, text: str, offset: int = 0) -> None:
        super().__init__(text)
        self.offset = offset


class WrongBlockError(DamagedError):
    """The bytes are sound, but those of another block."""


def pack_column(numbers: NDArray[np.integer]) -> bytes:
    """Whole numbers >= 0 as byte planes of the smallest width that holds them all, at least 1."""
    column = np.ascontiguousarray(numbers, dtype="<u8")
    width = max(1, (int(column.max(initial=0)).bit_length() + 7) // 8)
    planes = column.view(np.uint8).reshape(-1, 8).T[:width]
    return _COLUMN.pack(width, 0, 0, 0, len(column)) + planes.tobytes()


def pack_differences(numbers: NDArray[np.integer]) -> bytes:
    """A column of the differences d to the number before, 0 before the first: 2d, or -2d - 1.

    Of numbers that mostly repeat, or rise evenly, little is left after compression.
    """
    plain = np.ascontiguousarray(numbers, dtype=np.int64)
    differences: Ints = plain - np.concatenate((np.zeros(1, dtype=np.int64), plain))[:-1]
    return pack_column((differences << 1) ^ (differences >> 63))


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
        if not 1 <= width <= 8 or self._at > len(self._data):
            raise DamagedError("section is cut short")
        planes = np.frombuffer(self._data, dtype=np.uint8, count=width * count, offset=start)
        column = np.zeros((count, 8), dtype=np.uint8)
        column[:, :width] = planes.reshape(width, count).T
        return column.reshape(-1).view("<i8")

    def differences(self) -> Ints:
        """int64[n]: the numbers of the next column, which ``pack_differences`` has made."""
        coded = self.column()
        return np.cumsum((coded >> 1) ^ -(coded & 1))

    def numbers(self, count: int) -> list[int]:
        """The next column, which has *count* numbers."""
        column = self.column()
        if len(column) != count:
            raise DamagedError("a column has another length than it should")
        return [int(number) for number in column]

    def sizes(self) -> Ints:
        """The next column, of which all and also their sum are small enough to be counts."""
        column = self.column()
        if len(column) and (column.min() < 0 or float(column.sum(dtype=np.float64)) >= 2.0**62):
            raise DamagedError("a column holds numbers that are no sizes")
        return column

    def rest(self) -> bytes:
        return self._data[self._at :]


def pack_summary(meta: BlockMeta) -> list[bytes]:
    times = np.array([meta.min_time_ms, meta.max_time_ms], dtype="<i8")
    numbers = np.array([meta.series, meta.samples], dtype=np.int64)
    return [pack_column(numbers), pack_column(times.view("<u8"))]


def pack_origin(meta: BlockMeta, seed: bytes) -> list[bytes]:
    numbers = np.array([meta.rank, int(meta.late)], dtype=np.int64)
    return [pack_column(numbers), pack_column(np.array(meta.sources, dtype=np.int64)), seed]


def unpack_meta(
    sections: Sections, sequence: int, *, index_bytes: int, data_bytes: int
) -> BlockMeta:
    """What the index of block *sequence* says of it; the sizes of its files are given."""
    summary, origin = (ColumnReader(sections[kind]) for kind in (Section.SUMMARY, Section.ORIGIN))
    series, samples = summary.numbers(2)
    min_time_ms, max_time_ms = summary.numbers(2)
    rank, late = origin.numbers(2)
    return BlockMeta(
        sequence=sequence,
        min_time_ms=min_time_ms,
        max_time_ms=max_time_ms,
        series=series,
        samples=samples,
        index_bytes=index_bytes,
        data_bytes=data_bytes,
        late=bool(late),
        rank=rank,
        sources=tuple(origin.column().tolist()),
    )


def unpack_seed(sections: Sections) -> bytes:
    """The seed of the tenant to which the block belongs."""
    origin = ColumnReader(sections[Section.ORIGIN])
    origin.column()
    origin.column()
    return origin.rest()


def pack_data_header(sequence: int) -> bytes:
    return _data_header(sequence, BLOCK_VERSION)


def check_data_header(data: bytes, sequence: int) -> None:
    """DamagedError where *data* does not begin a data file as written.

    UnsupportedFormat for that of another version, WrongBlockError for that of another block.
    """
    if len(data) < DATA_HEADER.size or data[:8] != DATA_MAGIC:
        raise DamagedError("not a data file of a block")
    _, version, _, found_sequence = DATA_HEADER.unpack_from(data)
    if data[: DATA_HEADER.size] != _data_header(found_sequence, version):
        raise DamagedError("checksum mismatch in the header of a data file")
    _check_version(version)
    if found_sequence != sequence:
        raise WrongBlockError(f"data of block {found_sequence} stands where {sequence} belongs")


def _data_header(sequence: int, version: int) -> bytes:
    crc = google_crc32c.value(struct.pack("<8sIQ", DATA_MAGIC, version, sequence))
    return DATA_HEADER.pack(DATA_MAGIC, version, crc, sequence)


def pack_trailer(index_bytes: int) -> bytes:
    """What stands behind the copy of the index, *index_bytes* long, at the end of a data file."""
    crc = google_crc32c.value(struct.pack("<Q", index_bytes))
    return TRAILER.pack(index_bytes, crc, 0, COPY_MAGIC)


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
    directory = b"".join(entries)
    head = struct.pack(
        "<8sIIQI",
        INDEX_MAGIC,
        BLOCK_VERSION,
        len(entries),
        sequence,
        google_crc32c.value(directory),
    )
    return b"".join((head, struct.pack("<I", google_crc32c.value(head)), directory, *payload))


def unpack_index(data: bytes, sequence: int) -> Sections:
    """The sections of the index of block *sequence*.

    DamagedError where its bytes cannot be right, UnsupportedFormat for another version.
    """
    if len(data) < INDEX_HEADER.size or data[:8] != INDEX_MAGIC:
        raise DamagedError("not an index file of a block")
    _, version, count, found_sequence, directory_crc, crc = INDEX_HEADER.unpack_from(data)
    if google_crc32c.value(data[: INDEX_HEADER.size - _CRC_BYTES]) != crc:
        raise DamagedError("checksum mismatch in the header of an index")
    _check_version(version)
    at = INDEX_HEADER.size + count * SECTION_ENTRY.size
    if at > len(data) or google_crc32c.value(data[INDEX_HEADER.size : at]) != directory_crc:
        raise DamagedError("checksum mismatch in the index directory", INDEX_HEADER.size)
    if found_sequence != sequence:
        raise WrongBlockError(f"index of block {found_sequence} stands where {sequence} belongs")
    sections = {}
    for kind, flags, stored, size, section_crc, _ in SECTION_ENTRY.iter_unpack(
        data[INDEX_HEADER.size : at]
    ):
        content = data[at : at + stored]
        if len(content) != stored or google_crc32c.value(content) != section_crc:
            raise DamagedError(f"checksum mismatch in index section {kind}", at)
        if kind in _KINDS:
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


UNSAID = -1
"""The size of a zstd frame that does not tell it."""


def _decompress(content: bytes, size: int, at: int) -> bytes:
    if size > len(content) * _MOST_SHRUNK:
        raise DamagedError("index section cannot be as large as it says", at)
    try:
        # What the content says itself would be allocated, however much that is.
        claimed = zstandard.frame_content_size(content)
        if claimed not in (size, UNSAID):
            raise DamagedError("index section has another size than written", at)
        plain = zstandard.ZstdDecompressor().decompress(content, max_output_size=size)
    except zstandard.ZstdError as error:
        raise DamagedError(f"index section does not decompress: {error}", at) from None
    if len(plain) != size:
        raise DamagedError("index section has another size than written", at)
    return plain


def _check_version(version: int) -> None:
    if version > BLOCK_VERSION:
        raise UnsupportedFormat(
            f"block format version {version} is newer than this program knows ({BLOCK_VERSION})"
        )
    if version != BLOCK_VERSION:
        raise UnsupportedFormat(f"block format version {version} is unknown")

"""Checking a block: every byte of its two files is compared with its checksums."""

from collections.abc import Generator
from pathlib import Path

from tsdb.block.codec import unpack_frame
from tsdb.block.format import (
    DATA_HEADER,
    ColumnReader,
    DamagedError,
    Section,
    Sections,
    pack_data_header,
    unpack_index,
)
from tsdb.block.index_copy import find_copy
from tsdb.damage import FRAME, INDEX, Finding
from tsdb.files import Files

Steps = Generator[int | Finding, None, None]

_READ_BYTES = 1 << 20


def check_block(directory: Path, sequence: int, files: Files) -> Steps:
    """Reads block *sequence* in steps: yields how many bytes each was, and what is damaged.

    Raises UnsupportedFormat for a block of another version, OSError where the disk fails.
    """
    path = directory / "index"
    content = files.read(path) if files.exists(path) else b""
    index, wrong = _unpacked(content, sequence)
    yield len(content)
    path = directory / "data"
    fd = files.open(path)
    try:
        size = files.size_bytes(path)
        header = files.pread(fd, DATA_HEADER.size, 0)
        yield len(header)
        if header != pack_data_header(sequence):
            yield Finding(INDEX, path, 0, f"no header of block {sequence}", is_loss=False)
        copy_at, copy_content, copy_wrong = _copy(files, fd, size)
        copy = None
        if copy_wrong is None:
            copy, copy_wrong = _unpacked(copy_content, sequence, copy_at)
        yield len(copy_content)
        known = index or copy
        if wrong is not None:
            text = f"{wrong}; {'its copy is used' if copy else 'so is its copy'}"
            yield Finding(INDEX, directory / "index", wrong.offset, text, is_loss=copy is None)
        if copy_wrong is not None or (index and copy_content != content):
            offset = copy_wrong.offset if copy_wrong else copy_at
            text = f"copy of the index: {copy_wrong or 'not the same'}"
            yield Finding(INDEX, path, offset, text, is_loss=index is None)
        if known is not None:
            sizes = ColumnReader(known[Section.FRAMES]).sizes().tolist()
            yield from _frames(path, files, fd, sizes)
    finally:
        files.close(fd)


def _unpacked(
    content: bytes, sequence: int, at: int = 0
) -> tuple[Sections | None, DamagedError | None]:
    """The sections of an index that stands at offset *at* of its file, or what is wrong with it."""
    try:
        return unpack_index(content, sequence), None
    except DamagedError as error:
        return None, DamagedError(str(error), at + error.offset)


def _copy(files: Files, fd: int, size: int) -> tuple[int, bytes, DamagedError | None]:
    """Where the copy of the index stands in a data file, its bytes, and what is wrong there."""
    try:
        at, length = find_copy(files, fd, size)
    except DamagedError as error:
        return error.offset, b"", error
    return at, files.pread(fd, length, at), None


def _frames(path: Path, files: Files, fd: int, sizes: list[int]) -> Steps:
    """Checks the frames, which take *sizes* bytes each, some at a time."""
    at = DATA_HEADER.size
    first = 0
    while first < len(sizes):
        end, length = first, 0
        while end < len(sizes) and (end == first or length + sizes[end] <= _READ_BYTES):
            length += sizes[end]
            end += 1
        data = files.pread(fd, length, at)
        begin = 0
        for frame in range(first, end):
            try:
                unpack_frame(data[begin : begin + sizes[frame]], frame)
            except ValueError as error:
                yield Finding(FRAME, path, at + begin, str(error), frame=frame)
            begin += sizes[frame]
        yield len(data)
        first, at = end, at + length

"""The copy of a block's index at the end of its data, and the block's index from either of both."""

from pathlib import Path
from typing import NamedTuple

from tsdb.block.format import (
    DATA_HEADER,
    TRAILER,
    BlockMeta,
    ColumnReader,
    DamagedError,
    Section,
    Sections,
    pack_trailer,
    unpack_index,
    unpack_meta,
    unpack_seed,
)
from tsdb.files import Files


class FoundIndex(NamedTuple):
    """The sections of an index and its bytes; ``damage`` where they are those of the copy.

    ``damage`` tells what is wrong with the index file.
    """

    sections: Sections
    content: bytes
    damage: DamagedError | None


def find_copy(files: Files, fd: int, size_bytes: int) -> tuple[int, int]:
    """Where the copy begins in the data file *fd* of *size_bytes*, and its length.

    Raises DamagedError where the end of the file does not tell, OSError as *files*.
    """
    at = max(0, size_bytes - TRAILER.size)
    trailer = files.pread(fd, TRAILER.size, at)
    if len(trailer) < TRAILER.size:
        raise DamagedError("data file is cut short")
    length = TRAILER.unpack(trailer)[0]
    if trailer != pack_trailer(length) or length > at - DATA_HEADER.size:
        raise DamagedError("the end of the data file is not as written", at)
    return at - length, length


def read_index_copy(files: Files, path: Path, sequence: int) -> bytes:
    """The index of block *sequence* as it stands in the data file *path*, checked.

    Raises DamagedError where it is damaged too, OSError as *files*.
    """
    fd = files.open(path)
    try:
        at, length = find_copy(files, fd, files.size_bytes(path))
        content = files.pread(fd, length, at)
    finally:
        files.close(fd)
    try:
        unpack_index(content, sequence)
    except DamagedError as error:
        raise DamagedError(str(error), at + error.offset) from None
    return content


def read_index(files: Files, directory: Path, sequence: int) -> FoundIndex:
    """The index of the block in *directory*, from the copy where the file is damaged or missing.

    Raises DamagedError where both are damaged, UnsupportedFormat where a later version wrote it,
    OSError as *files*.
    """
    path = directory / "index"
    try:
        if not files.exists(path):
            raise DamagedError("the file is missing")
        content = files.read(path)
        return FoundIndex(unpack_index(content, sequence), content, None)
    except DamagedError as error:
        damage = error
    try:
        content = read_index_copy(files, directory / "data", sequence)
    except (DamagedError, FileNotFoundError) as error:
        raise DamagedError(f"{damage}; its copy: {error}", damage.offset) from None
    return FoundIndex(unpack_index(content, sequence), content, damage)


def read_meta(files: Files, directory: Path) -> tuple[BlockMeta, bytes]:
    """What the block in *directory* says of itself, and the seed of its tenant.

    Raises as ``read_index``.
    """
    sequence = int(directory.name)
    found = read_index(files, directory, sequence)
    frame_bytes = int(ColumnReader(found.sections[Section.FRAMES]).sizes().sum())
    index_bytes = len(found.content)
    meta = unpack_meta(
        found.sections,
        sequence,
        index_bytes=index_bytes,
        data_bytes=DATA_HEADER.size + frame_bytes + index_bytes + TRAILER.size,
    )
    return meta, unpack_seed(found.sections)


def write_index(files: Files, directory: Path, sequence: int) -> None:
    """Writes the index file of the block in *directory* anew from its copy; durable on return.

    Raises as ``read_index_copy``; the file is the old or the new one then.
    """
    content = read_index_copy(files, directory / "data", sequence)
    aside = directory / "index.tmp"
    if files.exists(aside):
        files.unlink(aside)
    write_file(files, aside, content)
    files.rename(aside, directory / "index")
    files.sync_directory(directory)


def write_file(files: Files, path: Path, content: bytes) -> None:
    """Writes a new file; its content is durable when it returns."""
    fd = files.create(path)
    try:
        files.write(fd, [content])
        files.fdatasync(fd)
    finally:
        files.close(fd)

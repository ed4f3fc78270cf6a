"""Checking: all that a tenant has on disk, file by file.

An *item* is what is checked as one: a path below the tenant's directory, where a block's stands for
its two files.
"""

import re
from collections.abc import Generator
from pathlib import Path

from series.ports import StorageError
from tsdb import manifest
from tsdb.block.check import check_block
from tsdb.damage import EXEMPLARS, FRAME, LOG, MANIFEST, Finding
from tsdb.files import Files
from tsdb.log.check import check_segment
from tsdb.sample import exemplar_file
from tsdb.versions import UnsupportedFormat

Steps = Generator[int | Finding, None, None]

MANIFEST_ITEM, EXEMPLARS_ITEM = "manifest", "exemplars"
_LOG, _BLOCKS = "wal", manifest.BLOCKS_NAME
_SEGMENT = re.compile(r"(\d{10})\.wal")
_BLOCK = re.compile(r"\d{10}")


def items(directory: Path, files: Files) -> list[str]:
    """What the tenant in *directory* has, in the order in which it is checked."""
    segments = filter(_SEGMENT.fullmatch, files.listdir(directory / _LOG))
    blocks = filter(_BLOCK.fullmatch, files.listdir(directory / _BLOCKS))
    return [
        MANIFEST_ITEM,
        EXEMPLARS_ITEM,
        *(f"{_LOG}/{name}" for name in segments),
        *(f"{_BLOCKS}/{name}" for name in blocks),
    ]


def size_bytes(directory: Path, item: str, files: Files) -> int:
    """The size of an item's files; 0 where they have gone."""
    names = {MANIFEST_ITEM: manifest.NAMES}.get(item, (item,))
    if item.startswith(_BLOCKS):
        names = (f"{item}/index", f"{item}/data")
    paths = (directory / name for name in names)
    return sum(files.size_bytes(path) for path in paths if files.exists(path))


def check_item(directory: Path, item: str, files: Files) -> Steps:
    """Reads *item* in steps: yields how many bytes each was, and what is damaged.

    What the disk cannot read is damaged, too. Raises UnsupportedFormat for files of another version
    and FileNotFoundError where there is no such item any more.
    """
    path = directory / item
    try:
        if item == MANIFEST_ITEM:
            yield from _manifest(directory, files)
        elif item == EXEMPLARS_ITEM:
            yield from _exemplars(directory, files)
        elif item.startswith(_LOG):
            yield from check_segment(path, _later(path, files), files)
        else:
            yield from check_block(path, int(path.name), files)
    except (FileNotFoundError, UnsupportedFormat):
        raise
    except (OSError, StorageError) as error:
        yield Finding(_kind(item), path, 0, f"cannot be read: {error}")


def _kind(item: str) -> str:
    kinds = {MANIFEST_ITEM: MANIFEST, EXEMPLARS_ITEM: EXEMPLARS}
    return kinds.get(item, LOG if item.startswith(_LOG) else FRAME)


def _manifest(directory: Path, files: Files) -> Steps:
    copies = manifest.read_copies(directory, files)
    yield size_bytes(directory, MANIFEST_ITEM, files)
    yield from copies.damage
    if copies.manifest is None and not copies.damage and manifest.holds_data(directory, files):
        yield Finding(MANIFEST, directory / manifest.NAMES[0], 0, manifest.MISSING)


def _exemplars(directory: Path, files: Files) -> Steps:
    if exemplar_file.load(directory, files) is None:
        yield Finding(EXEMPLARS, directory / EXEMPLARS_ITEM, 0, "it is no sound record")
    yield size_bytes(directory, EXEMPLARS_ITEM, files)


def _later(path: Path, files: Files) -> Path | None:
    """The segment of the log behind *path*, where there is one."""
    match = _SEGMENT.fullmatch(path.name)
    assert match is not None
    later = path.with_name(f"{int(match[1]) + 1:010d}.wal")
    return later if files.exists(later) else None

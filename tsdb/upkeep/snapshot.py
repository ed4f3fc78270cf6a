"""Snapshots: a tenant as it is at one instant, in a data directory of its own.

::

    <data>/snapshots/<name>/lock, tenants/<id>/

Files of blocks and closed segments of the log never change, so a snapshot links them and costs
hardly any room; on another file system they are copied. The instant is the moment in which the
writers stand still for the segment to be closed and the exemplars to be linked. Until all is
there and durable the directory is called ``<name>.tmp``.
"""

import errno
import os
import time
from pathlib import Path

import google_crc32c

from tsdb.block.format import block_directory
from tsdb.files import Files
from tsdb.manifest import BLOCKS_NAME
from tsdb.sample.exemplar_file import NAME as EXEMPLARS_NAME
from tsdb.state import Machine, State

SNAPSHOTS_NAME = "snapshots"
LOCK_NAME = "lock"
_ASIDE = ".tmp"
_RESTORING = "restore.tmp"
_PART_BYTES = 1 << 20
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)
"""With these a file system says that it cannot link the file."""


def new_name(now_ms: int) -> str:
    """A name as Prometheus makes them: the time, and something that nobody can guess."""
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_ms / 1000))
    return f"{at}-{os.urandom(8).hex()}"


def begin(data_dir: Path, name: str, files: Files) -> Path:
    """Makes the directory in which snapshot *name* grows, with the lock that readers share."""
    aside = data_dir / SNAPSHOTS_NAME / f"{name}{_ASIDE}"
    try:
        files.mkdir(aside / "tenants")
        files.close(files.create(aside / LOCK_NAME))
    except OSError:
        discard(aside, files)
        raise
    return aside


def finish(aside: Path, files: Files) -> Path:
    """Gives what ``begin`` made its name; the snapshot is durable when it returns."""
    made = aside.with_name(aside.name.removesuffix(_ASIDE))
    files.sync_directory(aside)
    files.rename(aside, made)
    files.sync_directory(made.parent)
    return made


def discard(aside: Path, files: Files) -> None:
    """Removes what ``begin`` made; what the disk does not let go goes at the next start."""
    try:
        files.remove_tree(aside)
    except OSError:
        pass


def remove_unfinished(data_dir: Path, files: Files) -> None:
    """Removes what a crash has left of snapshots and of a restore."""
    for name in files.listdir(data_dir / SNAPSHOTS_NAME):
        if name.endswith(_ASIDE):
            files.remove_tree(data_dir / SNAPSHOTS_NAME / name)
    files.remove_tree(data_dir / _RESTORING)


def take(state: State, target: Path, *, skip_head: bool) -> None:
    """Links the tenant into the new directory *target*; without its log where *skip_head*.

    The caller lets no seal, merge or retention run meanwhile. OSError where the disk refuses.
    """
    if not state.is_stored:
        return
    files = state.machine.files
    files.mkdir(target)
    with state.commit:
        state.wal.close_segment()
        manifest = state.manifest
        segments = [(one.path, one.size_bytes, one.has_void) for one in state.wal.segments]
        if files.exists(state.directory / EXEMPLARS_NAME):
            _link(state.directory / EXEMPLARS_NAME, target / EXEMPLARS_NAME, state.machine)
    # Not a link: where its last step failed, what stands on disk is not what counts.
    manifest.save(target, files)
    for block in manifest.blocks:
        source = block_directory(state.blocks_directory, block.sequence)
        made = block_directory(target / BLOCKS_NAME, block.sequence)
        files.mkdir(made)
        for name in files.listdir(source):
            _link(source / name, made / name, state.machine)
        files.sync_directory(made)
    if not skip_head and segments:
        files.mkdir(target / "wal")
        for path, size_bytes, has_void in segments:
            # What stands behind the end of a segment was never acknowledged.
            if has_void:
                copy(path, target / "wal" / path.name, files, size_bytes)
            else:
                _link(path, target / "wal" / path.name, state.machine)
                _sync(path, files)
        files.sync_directory(target / "wal")
    files.sync_directory(target)


def _link(old: Path, new: Path, machine: Machine) -> None:
    try:
        machine.files.link(old, new)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if not machine.space.has_room(machine.files.size_bytes(old)):
            raise machine.space.low() from None
        copy(old, new, machine.files)


def _sync(path: Path, files: Files) -> None:
    """With ``--wal-sync interval`` the last records may not be durable yet."""
    fd = files.open(path)
    try:
        files.fdatasync(fd)
    finally:
        files.close(fd)


def copy(old: Path, new: Path, files: Files, size_bytes: int | None = None) -> None:
    """Copies the file *old*, or its first *size_bytes*; durable but for its name.

    OSError (EIO) where what is read back is not what was written.
    """
    left = files.size_bytes(old) if size_bytes is None else size_bytes
    source = files.open(old)
    try:
        target = files.create(new)
        try:
            at = crc = 0
            while left:
                part = files.pread(source, min(left, _PART_BYTES), at)
                if not part:
                    raise OSError(errno.EIO, "the file ends before its end", str(old))
                files.write(target, [part])
                crc = google_crc32c.extend(crc, part)
                at += len(part)
                left -= len(part)
            files.fdatasync(target)
            if _crc(target, at, files) != crc:
                raise OSError(errno.EIO, "the copy does not read as it was written", str(new))
        finally:
            files.close(target)
    finally:
        files.close(source)


def _crc(fd: int, size_bytes: int, files: Files) -> int:
    crc = 0
    for at in range(0, size_bytes, _PART_BYTES):
        crc = google_crc32c.extend(crc, files.pread(fd, min(_PART_BYTES, size_bytes - at), at))
    return crc


def restore(snapshot_dir: Path, data_dir: Path, tenants: list[str], files: Files) -> int:
    """Copies *tenants* of the snapshot (any data directory nobody writes to) into *data_dir*.

    All or nothing of each tenant is there after a crash. Returns the bytes copied. Raises
    FileNotFoundError where the snapshot has no such tenant, FileExistsError where *data_dir* has
    data of it, BlockingIOError where a process uses either directory.
    """
    for tenant in tenants:
        if not files.exists(snapshot_dir / "tenants" / tenant):
            raise FileNotFoundError(f"{snapshot_dir} holds no tenant {tenant!r}")
    source_lock = files.lock_shared(snapshot_dir / LOCK_NAME)
    try:
        files.mkdir(data_dir)
        lock = files.lock(data_dir / LOCK_NAME)
        try:
            for tenant in tenants:
                target = data_dir / "tenants" / tenant
                if _holds_files(target, files):
                    raise FileExistsError(f"{target} holds data already; nothing was restored")
            files.remove_tree(data_dir / _RESTORING)
            copied = 0
            for tenant in tenants:
                aside = data_dir / _RESTORING / tenant
                copied += _copy_tree(snapshot_dir / "tenants" / tenant, aside, files)
                target = data_dir / "tenants" / tenant
                files.mkdir(target.parent)
                files.remove_tree(target)
                files.rename(aside, target)
                files.sync_directory(target.parent)
            files.remove_tree(data_dir / _RESTORING)
            return copied
        finally:
            files.close(lock)
    finally:
        files.close(source_lock)


def _holds_files(directory: Path, files: Files) -> bool:
    paths = [directory / name for name in files.listdir(directory)]
    return any(not files.is_directory(path) or _holds_files(path, files) for path in paths)


def _copy_tree(source: Path, target: Path, files: Files) -> int:
    files.mkdir(target)
    copied = 0
    for name in files.listdir(source):
        if files.is_directory(source / name):
            copied += _copy_tree(source / name, target / name, files)
        else:
            copy(source / name, target / name, files)
            copied += files.size_bytes(target / name)
    files.sync_directory(target)
    return copied

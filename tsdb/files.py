"""Files: every access of the room to the disk.

One small class, so that a test can put a disk in its place that fails, tears writes or is full.
All methods raise OSError as the operating system does.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

_MAX_PARTS = 1024  # IOV_MAX of Linux


class Files:
    """The disk. Paths are ``pathlib.Path``; a file that is open is its descriptor (int)."""

    def create(self, path: Path) -> int:
        """Opens a new empty file for writing; FileExistsError where there is one."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)

    def open(self, path: Path) -> int:
        """Opens an existing file for reading."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        os.close(fd)

    def size_bytes(self, path: Path) -> int:
        return os.stat(path).st_size

    def exists(self, path: Path) -> bool:
        return path.exists()

    def is_directory(self, path: Path) -> bool:
        return path.is_dir()

    def free_bytes(self, path: Path) -> int:
        """What may still be written to the disk below *path*: 0 where it is mounted read-only."""
        found = os.statvfs(path)
        return 0 if found.f_flag & os.ST_RDONLY else found.f_bavail * found.f_frsize

    def disk_bytes(self, path: Path) -> int:
        """The size of the disk below *path*."""
        found = os.statvfs(path)
        return found.f_blocks * found.f_frsize

    def pread(self, fd: int, size_bytes: int, offset: int) -> bytes:
        """The bytes at *offset*; fewer than asked for only where the file ends."""
        data = os.pread(fd, size_bytes, offset)
        while len(data) < size_bytes:
            more = os.pread(fd, size_bytes - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def read(self, path: Path) -> bytes:
        """The whole file."""
        fd = self.open(path)
        try:
            return self.pread(fd, self.size_bytes(path), 0)
        finally:
            self.close(fd)

    def write(self, fd: int, parts: Sequence[bytes | memoryview]) -> None:
        """Writes all *parts*, one after the other, at the file's position."""
        waiting = [memoryview(part).cast("B") for part in parts if len(part)]
        while waiting:
            written = os.writev(fd, waiting[:_MAX_PARTS])
            while waiting and written >= len(waiting[0]):
                written -= len(waiting.pop(0))
            if written:
                waiting[0] = waiting[0][written:]

    def write_zeros(self, fd: int, offset: int, size_bytes: int) -> None:
        """Writes zeros at *offset*, perhaps fewer than asked for; the position stays."""
        os.pwrite(fd, bytes(size_bytes), offset)

    def truncate(self, path: Path, size_bytes: int) -> None:
        os.truncate(path, size_bytes)

    def fdatasync(self, fd: int) -> None:
        """Returns when the file's bytes and length are durable."""
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        """Returns when the names in the directory are durable."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: Path, new: Path) -> None:
        """Renames atomically; a file at *new* is replaced."""
        os.rename(old, new)

    def link(self, old: Path, new: Path) -> None:
        """Gives the file a second name; FileExistsError where there is one."""
        os.link(old, new)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def remove_tree(self, path: Path) -> None:
        """Removes a directory with all below it; fine where there is none."""
        if path.exists():
            shutil.rmtree(path)

    def mkdir(self, path: Path) -> None:
        """Makes the directory and its parents durably; fine where it exists."""
        if path.is_dir():
            return
        self.mkdir(path.parent)
        path.mkdir(exist_ok=True)
        self.sync_directory(path.parent)

    def listdir(self, path: Path) -> list[str]:
        """The names in a directory, sorted; [] where there is no such directory."""
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def lock(self, path: Path) -> int:
        """Takes the lock file *path* for this process and returns its descriptor.

        The lock ends with ``close`` or with the process. Where another process holds it,
        BlockingIOError names that process and the path.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        _flock(fd, path, fcntl.LOCK_EX)
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        return fd

    def lock_shared(self, path: Path) -> int:
        """As ``lock``, of an existing lock file, beside others who share it; writes nothing."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        _flock(fd, path, fcntl.LOCK_SH)
        return fd


class ReadOnlyFiles(Files):
    """The disk, on which nothing is changed: whatever would raises OSError (EROFS)."""

    def create(self, path: Path) -> int:
        raise _read_only(path)

    def write(self, fd: int, parts: Sequence[bytes | memoryview]) -> None:
        raise _read_only()

    def write_zeros(self, fd: int, offset: int, size_bytes: int) -> None:
        raise _read_only()

    def truncate(self, path: Path, size_bytes: int) -> None:
        raise _read_only(path)

    def fdatasync(self, fd: int) -> None:
        raise _read_only()

    def sync_directory(self, path: Path) -> None:
        raise _read_only(path)

    def rename(self, old: Path, new: Path) -> None:
        raise _read_only(old)

    def link(self, old: Path, new: Path) -> None:
        raise _read_only(new)

    def unlink(self, path: Path) -> None:
        raise _read_only(path)

    def remove_tree(self, path: Path) -> None:
        raise _read_only(path)

    def mkdir(self, path: Path) -> None:
        raise _read_only(path)

    def lock(self, path: Path) -> int:
        raise _read_only(path)


def _read_only(path: Path | None = None) -> OSError:
    text = "the data directory is open for reading only"
    return OSError(errno.EROFS, text) if path is None else OSError(errno.EROFS, text, str(path))


def _flock(fd: int, path: Path, kind: int) -> None:
    """Takes the lock or closes *fd* and raises BlockingIOError.

    The file names the process that wrote here last; where that has ended, it is a reader's lock.
    """
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError:
        writer = os.pread(fd, 32, 0).decode(errors="replace").strip()
        os.close(fd)
        holder = f"process {writer}" if Path(f"/proc/{writer or '-'}").exists() else "a reader"
        raise BlockingIOError(
            f"data directory {path.parent} is in use by {holder} (lock file {path})"
        ) from None

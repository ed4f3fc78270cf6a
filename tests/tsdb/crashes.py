"""A disk that dies at a chosen act, and what a power loss then leaves of it."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tsdb.files import Files


class CrashingFiles(Files):
    """Dies at act number *last_act* (counted from 0) and at every later one.

    ``lose_power`` takes from the real disk all that was not synced: bytes behind the last
    fdatasync, and names that were made, renamed or removed since the directory's last sync.
    """

    def __init__(self, last_act: int) -> None:
        self.acts = 0
        self._last_act = last_act
        self._paths: dict[int, Path] = {}
        self._synced_bytes: dict[Path, int] = {}
        self._undo: dict[Path, list[Callable[[], object]]] = {}

    @property
    def died(self) -> bool:
        return self.acts > self._last_act

    def _act(self) -> None:
        self.acts += 1
        if self.died:
            raise OSError(5, "injected: the disk is gone")

    def lose_power(self) -> None:
        for undo in self._undo.values():
            for act in reversed(undo):
                act()
        for path, size in self._synced_bytes.items():
            if path.exists() and path.stat().st_size > size:
                with path.open("r+b") as file:
                    file.truncate(size)

    def create(self, path: Path) -> int:
        self._act()
        fd = super().create(path)
        self._paths[fd] = path
        self._synced_bytes[path] = 0
        self._remember(path, lambda: path.unlink(missing_ok=True))
        return fd

    def write(self, fd: int, parts: Sequence[bytes | memoryview]) -> None:
        try:
            self._act()
        except OSError:
            whole = b"".join(parts)
            super().write(fd, [whole[: len(whole) // 2]])
            raise
        super().write(fd, parts)

    def write_zeros(self, fd: int, offset: int, size_bytes: int) -> None:
        self._act()
        super().write_zeros(fd, offset, size_bytes)

    def truncate(self, path: Path, size_bytes: int) -> None:
        self._act()
        super().truncate(path, size_bytes)

    def fdatasync(self, fd: int) -> None:
        self._act()
        self._synced_bytes[self._paths[fd]] = self._paths[fd].stat().st_size

    def sync_directory(self, path: Path) -> None:
        self._act()
        self._undo.pop(path, None)

    def mkdir(self, path: Path) -> None:
        self._act()
        super().mkdir(path)

    def rename(self, old: Path, new: Path) -> None:
        self._act()
        before = new.read_bytes() if new.is_file() else None
        super().rename(old, new)
        for path in list(self._synced_bytes):
            if path == old or old in path.parents:
                moved = new / path.relative_to(old) if path != old else new
                self._synced_bytes[moved] = self._synced_bytes.pop(path)

        def undo() -> None:
            shutil.rmtree(new) if new.is_dir() else new.unlink(missing_ok=True)
            if before is not None:
                new.write_bytes(before)

        self._remember(new, undo)

    def unlink(self, path: Path) -> None:
        self._act()
        before = path.read_bytes()
        super().unlink(path)
        self._remember(path, lambda: path.write_bytes(before))

    def remove_tree(self, path: Path) -> None:
        self._act()
        super().remove_tree(path)

    def _remember(self, path: Path, undo: Callable[[], object]) -> None:
        self._undo.setdefault(path.parent, []).append(undo)

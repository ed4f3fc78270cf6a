"""Helpers of the tests of the write side: databases, faulty disks, reading everything back."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from series.batch import SeriesBatch
from series.labels import Labels
from series.ports import Appended, Context, Hints
from tests.tsdb.contents import Content, Value, build, content, contents
from tsdb.db import Db, DbOptions
from tsdb.disk_space import NO_RESERVE, Reserve
from tsdb.files import Files
from tsdb.log import wal
from tsdb.store import Store

HOUR_MS = 3_600_000
NOW_MS = 500_000 * HOUR_MS
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A directory in memory; None where the system has none."""

Bits = dict[Labels, dict[int, Content]]
"""What a database holds: the bits (or more) of every sample by series and time."""


def labels_of(number: int) -> Labels:
    return Labels.of({"__name__": "m", "series": f"{number:03}"})


def batch_of(*samples: tuple[int, int, Value]) -> SeriesBatch:
    """A batch of (series number, time, value), a row each."""
    return build((labels_of(s), [time_ms], [value]) for s, time_ms, value in samples)


def append(db: Db, *samples: tuple[int, int, Value]) -> Appended:
    return db.append(batch_of(*samples)).result(timeout=30)


def open_store(
    directory: Path,
    *,
    files: Files | None = None,
    now_ms: Callable[[], int] = lambda: NOW_MS,
    options: DbOptions | None = None,
    arena_pages: int = 1 << 16,
    reserve: Reserve = NO_RESERVE,
    monotonic: Callable[[], float] | None = None,
) -> Store:
    options = options or DbOptions()
    return Store.open(
        directory, options, now_ms, files=files, arena_pages=arena_pages, reserve=reserve,
        monotonic=monotonic or (lambda: now_ms() / 1000),
    )  # fmt: skip


def everything(db: Db | None) -> Bits:
    """All samples of a database, read as a query would; asserts the invariants of what is read."""
    if db is None:
        return {}
    selection = db.view().resolve((), Hints(-(2**60), 2**60))
    batch = selection.read(slice(0, selection.frame.size), -(2**60), 2**60, Context())
    batch.check(rising=True)
    found: Bits = {}
    for row, labels in enumerate(selection.frame.all_labels()):
        assert labels not in found
        if samples := contents(batch, row):
            found[labels] = samples
    return found


def bits(samples: Sequence[tuple[int, int, Value]]) -> Bits:
    """The samples (series number, time, value), the first of two at one time counts."""
    found: Bits = {}
    for series, time_ms, value in samples:
        found.setdefault(labels_of(series), {}).setdefault(time_ms, content(value))
    return found


def make_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the log write zeros ahead to small segments already, and few at a time."""
    monkeypatch.setattr(wal, "_SMALL_BYTES", 0)
    monkeypatch.setattr(wal, "_ROOM_BYTES", 500)
    monkeypatch.setattr(wal, "_ROOM_RECORDS", 0)


class FaultyFiles(Files):
    """A disk whose acts fail where ``fails(act)`` says so, with the error *code*.

    A write that fails is torn midway. A sync that does not fail is not waited for.
    """

    def __init__(self, code: int = errno.EIO) -> None:
        self.fails: Callable[[str], bool] = lambda act: False
        self._code = code

    def _maybe(self, act: str) -> None:
        if self.fails(act):
            raise OSError(self._code, f"injected failure of {act}")

    def create(self, path: Path) -> int:
        self._maybe("create")
        return super().create(path)

    def write(self, fd: int, parts: Sequence[bytes | memoryview]) -> None:
        if self.fails("write"):
            whole = b"".join(parts)
            super().write(fd, [whole[: len(whole) // 2]])
            raise OSError(28, "injected: no space left on device")
        super().write(fd, parts)

    def fdatasync(self, fd: int) -> None:
        del fd
        self._maybe("fdatasync")

    def write_zeros(self, fd: int, offset: int, size_bytes: int) -> None:
        self._maybe("write_zeros")
        super().write_zeros(fd, offset, size_bytes)

    def truncate(self, path: Path, size_bytes: int) -> None:
        self._maybe("truncate")
        super().truncate(path, size_bytes)

    def link(self, old: Path, new: Path) -> None:
        self._maybe("link")
        super().link(old, new)

    def unlink(self, path: Path) -> None:
        self._maybe("unlink")
        super().unlink(path)

    def rename(self, old: Path, new: Path) -> None:
        self._maybe("rename")
        super().rename(old, new)

    def sync_directory(self, path: Path) -> None:
        del path
        self._maybe("sync_directory")

    def mkdir(self, path: Path) -> None:
        self._maybe("mkdir")
        super().mkdir(path)

    def remove_tree(self, path: Path) -> None:
        self._maybe("remove_tree")
        super().remove_tree(path)


class CountingFiles(FaultyFiles):
    """Counts the syncs of data."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs = 0

    def fdatasync(self, fd: int) -> None:
        self.syncs += 1
        super().fdatasync(fd)

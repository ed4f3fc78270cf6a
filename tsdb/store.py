"""Store: the data directory of one process, a database a tenant.

::

    <data>/lock                  held by the process that writes here
    <data>/tenants/<id>/         manifest, wal/, blocks/

A tenant's directory is made by its first accepted write. At the start the databases whose log
holds something are opened and replayed; the others open when somebody asks for them.
"""

import re
import threading
from collections.abc import Callable
from pathlib import Path

from tsdb.block.cache import BlockCache
from tsdb.committer import Committer
from tsdb.db import Db
from tsdb.files import Files, ReadOnlyFiles
from tsdb.head.arena import Arena
from tsdb.manifest import Manifest
from tsdb.state import DbOptions, Machine
from tsdb.view.view import SERIES_MAP_BYTES, SeriesMapCache

_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LOOK_MS = 3_600_000


class Store:
    """See the module's head. Any thread may call any method."""

    def __init__(self, data_dir: Path, options: DbOptions, machine: Machine, lock_fd: int) -> None:
        self._tenants_dir = data_dir / "tenants"
        self._options = options
        self._machine = machine
        self._lock_fd = lock_fd
        self._committer = Committer()
        self._opening = threading.Lock()
        self._open: dict[str, Db] = {}
        self._closed = False
        self._last_look_ms = machine.now_ms()

    @classmethod
    def open(
        cls,
        data_dir: Path,
        options: DbOptions,
        now_ms: Callable[[], int],
        *,
        files: Files | None = None,
        arena_pages: int | None = None,
    ) -> "Store":
        """Takes the lock of *data_dir* (made where it is missing) and replays all logs.

        Raises BlockingIOError naming process and path where another process writes there, and
        what ``Db`` raises.
        """
        files = files or Files()
        files.mkdir(data_dir)
        lock_fd = files.lock(data_dir / "lock")
        machine = Machine(
            files, Arena(arena_pages), BlockCache(files), SeriesMapCache(SERIES_MAP_BYTES), now_ms
        )
        store = cls(data_dir, options, machine, lock_fd)
        try:
            for name in store.tenants():
                if files.listdir(store._tenants_dir / name / "wal"):
                    store.tenant(name)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open_read_only(
        cls,
        data_dir: Path,
        now_ms: Callable[[], int],
        *,
        files: Files | None = None,
        arena_pages: int | None = None,
    ) -> "Store":
        """Shares the lock of *data_dir* with other readers; changes nothing on disk.

        A tenant's log is replayed when somebody asks for the tenant; writes to it fail. Raises
        FileNotFoundError where there is no data directory, BlockingIOError naming process and path
        where another process writes there.
        """
        files = files or ReadOnlyFiles()
        lock_fd = files.lock_shared(data_dir / "lock")
        machine = Machine(
            files, Arena(arena_pages), BlockCache(files), SeriesMapCache(SERIES_MAP_BYTES), now_ms,
            read_only=True,
        )  # fmt: skip
        return cls(data_dir, DbOptions(), machine, lock_fd)

    def tenants(self) -> list[str]:
        """The ids of all tenants that are on disk, sorted."""
        return list(filter(is_tenant_id, self._machine.files.listdir(self._tenants_dir)))

    def opened(self) -> dict[str, Db]:
        """The databases that are open, by tenant; opens none."""
        return dict(self._open)

    def tenant(self, name: str) -> Db | None:
        """The database of tenant *name*, None where there is none; makes nothing on disk.

        ValueError where *name* cannot be an id.
        """
        found = self._open.get(name)
        if found is not None:
            return found
        directory = self._directory(name)
        return self._opened(name) if self._machine.files.exists(directory) else None

    def tenant_for_write(self, name: str) -> Db:
        """The database of tenant *name*; a new one comes to disk with its first accepted write.

        ValueError where *name* cannot be an id.
        """
        return self._open.get(name) or self._opened(name)

    def maintain(self) -> None:
        """One round of background work: seals and retention, the largest heads first.

        Tenants where it failed do not keep the others from their turn; their errors are raised
        together as an ExceptionGroup. Does nothing where the directory is only read.
        """
        if self._machine.read_only:
            return
        errors: list[Exception] = []

        def attempt(act: Callable[[], object], note: str) -> None:
            try:
                act()
            except Exception as error:
                error.add_note(note)
                errors.append(error)

        attempt(self._open_expired, "while looking for blocks beyond the retention")
        for name, db in sorted(self._open.items(), key=lambda one: -one[1].head_pages):
            attempt(db.maintain, f"while sealing tenant {name}")
        attempt(self._machine.cache.sweep, "while removing blocks beyond the retention")
        if errors:
            raise ExceptionGroup("background work failed", errors)

    def _open_expired(self) -> None:
        """Once an hour: opens the tenants whose blocks are due to be dropped."""
        now_ms, retention_ms = self._machine.now_ms(), self._options.retention_ms
        if not retention_ms or abs(now_ms - self._last_look_ms) < _LOOK_MS:
            return
        self._last_look_ms = now_ms
        for name in self.tenants():
            if name not in self._open:
                manifest = Manifest.load(self._directory(name), self._machine.files)
                blocks = manifest.blocks if manifest else ()
                if any(block.max_time_ms < now_ms - retention_ms for block in blocks):
                    self.tenant(name)

    def close(self) -> None:
        """Carries out what waits, then lets go of files, lock and memory."""
        with self._opening:
            self._closed = True
        for db in self._open.values():
            db.refuse_writes()
        self._committer.close()
        for db in self._open.values():
            db.close()
        self._machine.cache.close()
        self._machine.files.close(self._lock_fd)

    def _opened(self, name: str) -> Db:
        with self._opening:
            found = self._open.get(name)
            if found is None:
                if self._closed:
                    raise OSError("the database is closed")
                directory = self._directory(name)
                found = Db(directory, self._options, self._machine, self._committer)
                self._open[name] = found
            return found

    def _directory(self, name: str) -> Path:
        if not is_tenant_id(name):
            raise ValueError(f"not a tenant id: {name!r}")
        return self._tenants_dir / name


def is_tenant_id(name: str) -> bool:
    """Whether *name* may name a tenant: 1 to 64 of ``A-Za-z0-9_.-``, neither ``.`` nor ``..``."""
    return _TENANT.fullmatch(name) is not None and name not in (".", "..")

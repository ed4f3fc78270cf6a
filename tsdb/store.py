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

from tsdb.arena import Arena
from tsdb.block_cache import BlockCache
from tsdb.committer import Committer
from tsdb.db import Db
from tsdb.files import Files
from tsdb.state import DbOptions, Machine
from tsdb.view import SeriesMapCache

_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}")


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
        machine = Machine(files, Arena(arena_pages), BlockCache(files), SeriesMapCache(), now_ms)
        store = cls(data_dir, options, machine, lock_fd)
        try:
            for name in store.tenants():
                if files.listdir(store._tenants_dir / name / "wal"):
                    store.tenant(name)
        except BaseException:
            store.close()
            raise
        return store

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
        """One round of background work for every open tenant: seals and retention.

        Tenants where the disk refused do not keep the others from their turn; their errors are
        raised together as an ExceptionGroup of OSError.
        """
        errors = []
        for name, db in sorted(self._open.items()):
            try:
                db.maintain()
            except OSError as error:
                error.add_note(f"while sealing tenant {name}")
                errors.append(error)
        self._machine.cache.sweep()
        if errors:
            raise ExceptionGroup("some tenants could not be sealed", errors)

    def close(self) -> None:
        """Carries out what waits, then lets go of files, lock and memory."""
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

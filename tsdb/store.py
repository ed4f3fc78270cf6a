"""Store: the data directory of one process, a database a tenant.

::

    <data>/lock                  held by the process that writes here
    <data>/tenants/<id>/         manifest, wal/, blocks/

A tenant's directory is made by its first accepted write. At the start the databases whose log
holds something are opened and replayed; the others open when somebody asks for them.
"""

import errno
import logging
import math
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from series.known import Known
from series.ports import StorageError
from tsdb.block.cache import BlockCache, CacheUse, use_of
from tsdb.committer import Committer
from tsdb.damage import Finding
from tsdb.db import Db, DbStats
from tsdb.disk_space import NO_RESERVE, DiskSpace, Reserve
from tsdb.files import Files, ReadOnlyFiles
from tsdb.head.arena import Arena
from tsdb.idle import IdleTenants
from tsdb.log.progress import ReplayProgress
from tsdb.manifest import Manifest
from tsdb.state import DbOptions, Machine
from tsdb.turns import MergeTurns, SizeRetention
from tsdb.upkeep import snapshot
from tsdb.upkeep.scrub import Scrubber, ScrubStats
from tsdb.versions import UnsupportedFormat
from tsdb.view.view import SERIES_MAP_BYTES, SeriesMapCache

log = logging.getLogger("o11y.storage")

_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LOOK_MS = 3_600_000
_RETRY_SECONDS = 10.0
"""So long is not tried again to open a tenant that could not be opened."""


class Store:
    """See the module's head. Any thread may call any method."""

    def __init__(self, data_dir: Path, options: DbOptions, machine: Machine, lock_fd: int) -> None:
        self._tenants_dir = data_dir / "tenants"
        self._options = options
        self._machine = machine
        self._lock_fd = lock_fd
        self._committer = Committer()
        self._opening = threading.Lock()
        self._maintaining = threading.Lock()
        self._open: dict[str, Db] = {}
        self._failed: dict[str, tuple[float, str]] = {}
        """The tenants that could not be opened: when that was tried, and why."""
        self._closed = False
        self._last_look_ms = machine.now_ms()
        self._idle = IdleTenants(self._open, self._opening, options.idle_ms)
        self._merges = MergeTurns()
        self._size_retention = SizeRetention(
            self._tenants_dir, machine.files, options.retention_bytes
        )
        self._scrubber = Scrubber(
            data_dir, self.tenants, self._is_written, self._scrub_found, machine.files,
            machine.now_ms, options.scrub_interval_ms,
        )  # fmt: skip

    @classmethod
    def open(
        cls,
        data_dir: Path,
        options: DbOptions,
        now_ms: Callable[[], int],
        *,
        files: Files | None = None,
        arena_pages: int | None = None,
        reserve: Reserve = NO_RESERVE,
        progress: ReplayProgress | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> "Store":
        """Takes the lock of *data_dir* (made where it is missing) and replays all logs.

        Raises BlockingIOError naming process and path where another process writes there, OSError
        where nothing can be written, and UnsupportedFormat for files of another version. A tenant
        that cannot be opened does not keep the others from it. Writes are refused where less than
        the *reserve* is free; *progress* follows the replay. *monotonic* counts the seconds by
        which *now_ms* is judged, see ``tsdb/clock.py``.
        """
        files = files or Files()
        lock_fd = _lock(data_dir, files)
        space = DiskSpace(files, data_dir, reserve.of(files.disk_bytes(data_dir)))
        machine = Machine(
            files, Arena(arena_pages), BlockCache(files), SeriesMapCache(SERIES_MAP_BYTES), now_ms,
            space, progress=progress or ReplayProgress(), monotonic=monotonic,
        )  # fmt: skip
        store = cls(data_dir, options, machine, lock_fd)
        try:
            snapshot.remove_unfinished(data_dir, files)
            logs = store._logs()
            machine.progress.total_bytes = sum(logs.values())
            for name in logs:
                store._try_to_open(name)
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
            DiskSpace(files, data_dir, 0), read_only=True,
        )  # fmt: skip
        return cls(data_dir, DbOptions(), machine, lock_fd)

    def tenants(self) -> list[str]:
        """The ids of all tenants that are on disk, sorted."""
        return list(filter(is_tenant_id, self._machine.files.listdir(self._tenants_dir)))

    @property
    def space(self) -> DiskSpace:
        """The disk below the data directory."""
        return self._machine.space

    def _logs(self) -> dict[str, int]:
        """The tenants whose log holds something, and how many bytes that are."""
        files = self._machine.files
        found: dict[str, int] = {}
        for name in self.tenants():
            directory = self._tenants_dir / name / "wal"
            sizes = [files.size_bytes(directory / each) for each in files.listdir(directory)]
            if sizes:
                found[name] = sum(sizes)
        return found

    def stats(self) -> list[DbStats]:
        """The numbers of the databases that are open; what others counted before is one of them."""
        return self._idle.stats()

    def cache_uses(self) -> list[CacheUse]:
        """How the caches that all tenants share are used."""
        machine = self._machine
        return [*machine.cache.uses(), use_of("selections", machine.maps)]

    def opened(self) -> dict[str, Db]:
        """The databases that are open, by tenant; opens none."""
        return dict(self._open)

    def is_open(self, name: str) -> bool:
        """Whether the database of tenant *name* is open; opens none."""
        return name in self._open

    def tenant(self, name: str) -> Db | None:
        """The database of tenant *name*, None where there is none; makes nothing on disk.

        ValueError where *name* cannot be an id.
        """
        found = self._used(name)
        if found is not None:
            return found
        directory = self._directory(name)
        return self._opened(name) if self._machine.files.exists(directory) else None

    def tenant_for_write(self, name: str) -> Db:
        """The database of tenant *name*; a new one comes to disk with its first accepted write.

        ValueError where *name* cannot be an id.
        """
        return self._used(name) or self._opened(name)

    def known(self, name: str) -> Known | None:
        """The series in memory of tenant *name*, None where its database is not open."""
        found = self._open.get(name)
        return None if found is None else found.known

    def maintain(self) -> None:
        """One round of background work: seals and retention, the largest heads first, then merges.

        One thread at a time; others wait for their round. Tenants where it failed do not keep the
        others from their turn; their errors are raised together as an ExceptionGroup. Does nothing
        where the directory is only read.
        """
        if not self._machine.read_only:
            with self._maintaining:
                self._maintain()

    def _maintain(self) -> None:
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
        if self._options.retention_bytes:
            attempt(self._drop_surplus, "while dropping blocks beyond --retention.size")
        self._merges.run(self._open, attempt)
        attempt(self._machine.cache.sweep, "while removing blocks")
        attempt(lambda: self._idle.close(self._machine.monotonic()), "while closing idle tenants")
        attempt(self._idle.close_surplus_logs, "while closing logs")
        attempt(self._scrubber.step, "while scrubbing")
        if errors:
            raise ExceptionGroup("background work failed", errors)

    def _drop_surplus(self) -> None:
        self._size_retention.enforce(self.tenants(), self._open, self.tenant)

    def stop_merging(self) -> None:
        """From now on no blocks are merged; a ``maintain`` that does just that returns soon."""
        for db in dict(self._open).values():
            db.stop_merging()

    def _open_expired(self) -> None:
        """Once an hour: opens the tenants whose blocks are due to be dropped."""
        now_ms, retention_ms = self._machine.clock.earliest_ms, self._options.retention_ms
        if not retention_ms or abs(now_ms - self._last_look_ms) < _LOOK_MS:
            return
        self._last_look_ms = now_ms
        for name in self.tenants():
            if name not in self._open:
                try:
                    manifest = Manifest.load(self._directory(name), self._machine.files)
                except StorageError:
                    self._try_to_open(name)
                    continue
                blocks = manifest.blocks if manifest else ()
                if any(block.max_time_ms < now_ms - retention_ms for block in blocks):
                    self.tenant(name)

    def snapshot(self, tenant: str, *, skip_head: bool = False) -> Path:
        """Makes a snapshot of *tenant* and returns its directory, see ``upkeep.snapshot``.

        It holds what was acknowledged at one instant of the call; of a tenant that is not there,
        nothing. OSError where the disk refused, or where the directory is only read.
        """
        files = self._machine.files
        db = self.tenant(tenant)
        aside = snapshot.begin(
            self._tenants_dir.parent, snapshot.new_name(self._machine.now_ms()), files
        )
        try:
            if db is not None:
                db.snapshot(aside / "tenants" / tenant, skip_head=skip_head)
            return snapshot.finish(aside, files)
        except BaseException:
            snapshot.discard(aside, files)
            raise

    def close(self, seal_seconds: float = 0.0) -> None:
        """Carries out what waits, then lets go of files, lock and memory.

        Before that heads are sealed, the largest first, for about *seal_seconds*: what is sealed
        is no longer in the log, so the next start is quick. What is not sealed is replayed.
        """
        end_seconds = time.monotonic() + seal_seconds
        with self._opening:
            self._closed = True
        for db in self._open.values():
            db.refuse_writes()
            db.stop_merging()
        self._committer.close()
        for name, db in sorted(self._open.items(), key=lambda one: -one[1].head_pages):
            try:
                db.seal_head(end_seconds - time.monotonic())
            except OSError as error:
                log.warning("tenant %s is not sealed, its log will be replayed: %s", name, error)
            db.close()
        try:
            self._scrubber.close()
        except OSError as error:
            log.warning("the scrub will begin a little earlier: %s", error)
        self._machine.cache.close()
        self._machine.files.close(self._lock_fd)

    def _used(self, name: str) -> Db | None:
        """The open database of tenant *name*, which is not closed as idle for a while from now."""
        found = self._open.get(name)
        if found is None:
            return None
        # In this order: who closes it looks for a use after it has refused writes.
        found.used_seconds = self._machine.monotonic()
        return None if found.is_closed and not self._machine.read_only else found

    def _opened(self, name: str) -> Db:
        with self._opening:
            found = self._open.get(name)
            if found is None:
                if self._closed:
                    raise OSError("the database is closed")
                directory = self._directory(name)
                now = self._machine.monotonic()
                tried, why = self._failed.get(name, (-math.inf, ""))
                if now - tried < _RETRY_SECONDS:
                    raise StorageError(why)
                try:
                    found = Db(directory, self._options, self._machine, self._committer)
                except (StorageError, OSError) as error:
                    self._failed[name] = now, f"tenant {name} cannot be opened: {error}"
                    raise
                self._failed.pop(name, None)
                self._open[name] = found
            return found

    def _try_to_open(self, name: str) -> None:
        """Opens tenant *name*; where that fails the others do not suffer, but it is logged.

        Raises UnsupportedFormat all the same: then most likely the whole directory is newer.
        """
        try:
            self.tenant(name)
        except UnsupportedFormat:
            raise
        except (StorageError, OSError) as error:
            log.error("tenant %s cannot be opened and answers errors: %s", name, error)

    def _is_written(self, name: str, item: str) -> bool:
        """Whether *item* of tenant *name* (see ``tsdb.check``) is a file that still grows."""
        db = self._open.get(name)
        return db is not None and db.is_written(item)

    def _scrub_found(self, name: str, item: str, finding: Finding) -> None:
        """Has damage mended as far as that is possible; the tenant is opened for it."""
        try:
            self._try_to_open(name)
        except UnsupportedFormat as error:
            log.error("what the scrub has found in tenant %s is not mended: %s", name, error)
        db = self._open.get(name)
        if db is None or db.has(item):
            self._machine.cache.notes.note(finding)
        if db is not None and db.has(item):
            db.mend(finding)

    @property
    def scrubbed(self) -> ScrubStats:
        """How far the scrub has come."""
        return self._scrubber.stats

    @property
    def damage_counts(self) -> dict[str, int]:
        """How many places of damage were found since the start, see ``tsdb.damage.KINDS``."""
        return dict(self._machine.cache.notes.counts)

    @property
    def failed_tenants(self) -> int:
        """How many tenants could not be opened when that was last tried."""
        return len(self._failed)

    def _directory(self, name: str) -> Path:
        if not is_tenant_id(name):
            raise ValueError(f"not a tenant id: {name!r}")
        return self._tenants_dir / name


def is_tenant_id(name: str) -> bool:
    """Whether *name* may name a tenant: 1 to 64 of ``A-Za-z0-9_.-``, neither ``.`` nor ``..``."""
    return _TENANT.fullmatch(name) is not None and name not in (".", "..")


def _lock(data_dir: Path, files: Files) -> int:
    """Takes the lock of *data_dir*, made where it is missing; a disk that is read-only is named."""
    try:
        files.mkdir(data_dir)
        return files.lock(data_dir / "lock")
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        text = f"data directory {data_dir} lies on a disk that is mounted read-only"
        raise OSError(errno.EROFS, text) from None

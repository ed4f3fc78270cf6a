"""When the log is synced, and that nothing is lost where a late sync fails."""

import itertools
import math
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from series.metadata import Metadata
from tests.tsdb.crashes import CrashingFiles
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    CountingFiles,
    FaultyFiles,
    append,
    bits,
    everything,
    open_store,
)
from tsdb.committer import Committer
from tsdb.db import DbOptions
from tsdb.log import records
from tsdb.log.records import Section
from tsdb.log.sync import NEVER_SYNC_MS, parse_sync, sync_text
from tsdb.log.wal import Wal
from tsdb.store import Store

_LATER_MS = HOUR_MS
"""An interval that never passes within a test."""
_MODES = [0, _LATER_MS, NEVER_SYNC_MS]


def _note(text: str) -> list[Section]:
    return [records.encode_metadata({text: Metadata("counter", "", "")})]


def test_what_the_option_may_say() -> None:
    """always, an interval, off; anything else is refused by name."""
    for text, sync_ms in (("always", 0), ("interval=1500ms", 1500), ("off", NEVER_SYNC_MS)):
        assert parse_sync(text) == sync_ms
    assert [sync_text(n) for n in (0, 1000, NEVER_SYNC_MS)] == ["always", "interval=1s", "off"]
    for wrong in ("", "never", "interval", "interval=", "interval=0s", "interval=soon", "1s"):
        with pytest.raises(ValueError, match=r"duration|always, interval=DURATION or off"):
            parse_sync(wrong)


@pytest.mark.parametrize(("sync_ms", "syncs"), [(0, 3), (_LATER_MS, 1), (NEVER_SYNC_MS, 0)])
def test_records_are_synced_as_was_asked(tmp_path: Path, sync_ms: int, syncs: int) -> None:
    """The first of a segment is with an interval, too: it tells where the last segment ends."""
    files = CountingFiles()
    wal = Wal(tmp_path / "wal", files, 1 << 20, sync_ms=sync_ms)
    for text in "abc":
        wal.append(_note(text), 0)
    assert files.syncs == wal.fsyncs == syncs
    assert (wal.unsynced_bytes > 0) == (sync_ms != 0)
    assert (wal.sync_due_seconds < math.inf) == (sync_ms > 0)
    wal.close_segment()
    assert files.syncs == syncs + (sync_ms > 0)
    assert wal.unsynced_bytes == 0 and wal.sync_due_seconds == math.inf


def test_a_sync_is_due_an_interval_after_the_oldest_record(tmp_path: Path) -> None:
    """Later records do not put it off."""
    wal = Wal(tmp_path / "wal", FaultyFiles(), 1 << 20, sync_ms=_LATER_MS)
    wal.append(_note("first of the segment"), 0)
    before = time.monotonic()
    wal.append(_note("a"), 0)
    due = wal.sync_due_seconds
    assert before < due - _LATER_MS / 1000 <= time.monotonic()
    wal.append(_note("b"), 0)
    assert wal.sync_due_seconds == due


class _Owing:
    """Wants a sync soon, and tells when it got its turn for it."""

    def __init__(self) -> None:
        self.sync_due_seconds = math.inf
        self.synced = threading.Event()
        self.has_waiting = True

    def commit_waiting(self) -> None:
        if self.has_waiting:
            self.has_waiting = False
            self.sync_due_seconds = time.monotonic() + 0.01
        elif self.sync_due_seconds <= time.monotonic():
            self.sync_due_seconds = math.inf
            self.synced.set()


def test_a_sync_is_done_when_it_is_due_though_nobody_writes() -> None:
    """For every tenant that waits for one."""
    committer = Committer()
    tenants = [_Owing() for _ in range(9)]
    for tenant in tenants:
        committer.wake(tenant)
    assert all(tenant.synced.wait(30) for tenant in tenants)
    committer.close()


def _syncing_store(directory: Path, files: FaultyFiles | CrashingFiles, sync_ms: int) -> Store:
    return open_store(directory, files=files, options=DbOptions(wal_sync_ms=sync_ms))


@pytest.mark.parametrize("how", ["due", "full", "seal", "close"])
def test_samples_of_a_failed_late_sync_are_sealed_at_once(tmp_path: Path, how: str) -> None:
    """Wherever that sync is done; then nothing is missing though the log lost what it held."""
    files = FaultyFiles()
    options = DbOptions(wal_sync_ms=_LATER_MS, wal_segment_bytes=300 if how == "full" else 1 << 20)
    store = open_store(tmp_path / "data", files=files, options=options)
    db = store.tenant_for_write("t")
    samples = [(s, NOW_MS - 4 * HOUR_MS, float(s)) for s in range(3)]
    append(db, *samples)
    samples += [(s, NOW_MS, float(s)) for s in range(5)]
    append(db, *samples[3:])
    wal = db._state.wal
    failed = itertools.count()
    files.fails = lambda act: act == "fdatasync" and next(failed) == 0
    if how == "due":
        wal.sync()
    elif how == "full":
        for later in itertools.takewhile(lambda _: wal.last_number == 1, itertools.count(1)):
            samples.append((0, NOW_MS + later, 1.0))
            append(db, samples[-1])
    elif how == "close":
        wal.close_segment()
    else:
        store.maintain()
    files.fails = lambda act: False
    assert db.stats().wal_failures == 1
    assert everything(db) == bits(samples)
    store.maintain()
    assert db.stats().blocks >= 1
    assert not any(segment.is_doubtful for segment in wal.segments)
    shutil.copytree(tmp_path / "data", tmp_path / "copy", ignore=shutil.ignore_patterns("*.wal"))
    copy = open_store(tmp_path / "copy")
    assert everything(copy.tenant("t")) == bits(samples)
    copy.close()
    store.close()


def test_a_last_sync_that_fails_is_answered_by_a_seal(tmp_path: Path) -> None:
    """When the database is closed nobody else would do it."""
    files = FaultyFiles()
    store = _syncing_store(tmp_path, files, _LATER_MS)
    db = store.tenant_for_write("t")
    samples = [(s, NOW_MS, float(s)) for s in range(3)]
    for sample in samples:
        append(db, sample)
    failed = itertools.count()
    files.fails = lambda act: act == "fdatasync" and next(failed) == 0
    store.close()
    assert not any((tmp_path / "tenants/t/wal").iterdir())
    store = open_store(tmp_path)
    assert everything(store.tenant("t")) == bits(samples)
    store.close()


def test_a_failed_late_sync_is_not_tried_again(tmp_path: Path) -> None:
    """A second sync of the same bytes would succeed and mean nothing: they go on elsewhere."""
    files = CountingFiles()
    wal = Wal(tmp_path / "wal", files, 1 << 20, sync_ms=_LATER_MS)
    for text in "ab":
        wal.append(_note(text), 0)
    files.fails = lambda act: act == "fdatasync"
    wal.sync()
    syncs = files.syncs
    wal.sync()
    wal.close_segment()
    assert files.syncs == syncs
    files.fails = lambda act: False
    wal.append(_note("c"), 0)
    assert [segment.is_doubtful for segment in wal.segments] == [True, False]


def test_a_failed_write_leaves_what_was_acknowledged_before_it_synced(tmp_path: Path) -> None:
    """The segment is closed by the failure, so this is the last time for its sync."""
    files = CrashingFiles(1 << 30)
    store = _syncing_store(tmp_path, files, _LATER_MS)
    db = store.tenant_for_write("t")
    kept = [(s, NOW_MS, 1.0) for s in range(2)]
    for sample in kept:
        append(db, sample)
    write = files.write
    files.write = lambda fd, parts: (_ for _ in ()).throw(OSError(28, "full"))  # type: ignore[method-assign]
    with pytest.raises(OSError, match="full"):
        append(db, (5, NOW_MS, 1.0))
    files.write = write  # type: ignore[method-assign]
    files.lose_power()
    shutil.copytree(tmp_path, tmp_path.with_suffix(".copy"))
    copy = open_store(tmp_path.with_suffix(".copy"))
    assert everything(copy.tenant("t")) == bits(kept)
    copy.close()
    store.close()


@pytest.mark.parametrize("sync_ms", _MODES)
def test_power_loss_takes_what_was_not_synced_and_kill_takes_nothing(
    tmp_path: Path, sync_ms: int
) -> None:
    """With an interval what was acknowledged before the last sync stays."""
    files = CrashingFiles(1 << 30)
    store = _syncing_store(tmp_path / "data", files, sync_ms)
    db = store.tenant_for_write("t")
    samples = [(s, NOW_MS, float(s)) for s in range(9)]
    for at, sample in enumerate(samples):
        append(db, sample)
        if at == 5:
            db._state.wal.sync()
    shutil.copytree(tmp_path / "data", tmp_path / "killed")
    killed = open_store(tmp_path / "killed")
    assert everything(killed.tenant("t")) == bits(samples)
    killed.close()
    files.lose_power()
    shutil.copytree(tmp_path / "data", tmp_path / "dark")
    dark = open_store(tmp_path / "dark")
    left = {0: 9, _LATER_MS: 6, NEVER_SYNC_MS: 0}[sync_ms]
    assert everything(dark.tenant("t")) == bits(samples[:left])
    dark.close()
    store.close()


class _Once:
    """Lets act number *nth* of a disk fail, and no other."""

    def __init__(self, nth: int) -> None:
        self.fired = False
        self._acts = itertools.count()
        self._nth = nth

    def __call__(self, act: str) -> bool:
        del act
        fires = next(self._acts) == self._nth
        self.fired = self.fired or fires
        return fires


@pytest.mark.parametrize("sync_ms", _MODES)
def test_series_of_a_failed_record_are_named_again(tmp_path: Path, sync_ms: int) -> None:
    """Whichever act of the write fails: later acknowledged samples of them are replayed."""
    for nth in itertools.count():
        directory, files, once = tmp_path / str(nth), FaultyFiles(), _Once(nth)
        store = _syncing_store(directory, files, sync_ms)
        db = store.tenant_for_write("t")
        kept = [(0, NOW_MS, 1.0)]
        append(db, *kept)
        files.fails = once
        for number, time_ms in ((1, NOW_MS), (1, NOW_MS + 1), (2, NOW_MS + 1), (1, NOW_MS + 2)):
            fired = once.fired
            samples = [(number, time_ms, 2.0), (0, time_ms + number, 3.0)]
            try:
                append(db, *samples)
                kept += samples
            except OSError:
                assert once.fired and not fired
        files.fails = lambda act: False
        assert everything(db) == bits(kept)
        shutil.copytree(directory, directory.with_suffix(".copy"))
        copy = open_store(directory.with_suffix(".copy"))
        again = copy.tenant("t")
        assert again is not None and again.stats().replay_lost_samples == 0
        assert everything(again) == bits(kept)
        copy.close()
        store.close()
        if not once.fired:
            break
    assert nth >= 4


def _restart(store: Store, directory: Path) -> Store:
    store.close()
    return open_store(directory)


def _seal(store: Store, directory: Path) -> Store:
    del directory
    db = store.tenant("t")
    assert db is not None
    db.seal_head(math.inf)
    return store


def _stop(store: Store, directory: Path) -> Store:
    store.close(seal_seconds=60)
    return open_store(directory)


@pytest.mark.parametrize(
    "between", [(), (_restart,), (_seal,), (_stop,), (_seal, _restart), (_restart, _seal)]
)
def test_a_retried_request_is_stored_once(
    tmp_path: Path, between: tuple[Callable[[Store, Path], Store], ...]
) -> None:
    """Acknowledged again, wherever its samples stand by then, and however it goes on."""
    store = open_store(tmp_path)
    samples = [(s, NOW_MS + k, float(k)) for k in range(3) for s in range(4)]
    append(store.tenant_for_write("t"), *samples)
    for act in between:
        store = act(store, tmp_path)
    for _ in range(2):
        answer = append(store.tenant_for_write("t"), *samples)
        assert (answer.samples, answer.refused) == (len(samples), {})
        assert everything(store.tenant("t")) == bits(samples)
    for act in (_restart, _seal, _restart):
        store = act(store, tmp_path)
        assert everything(store.tenant("t")) == bits(samples)
    store.close()


def test_after_a_clean_stop_nothing_is_replayed(tmp_path: Path) -> None:
    """Of any tenant, with metadata and late samples; and without the time for it all is."""
    samples = [(s, NOW_MS + k, float(k)) for k in (5, 0, 3) for s in range(4)]
    for seconds, replayed in ((60.0, 0), (0.0, len(samples))):
        store = open_store(tmp_path / str(seconds))
        for tenant in ("t", "u"):
            db = store.tenant_for_write(tenant)
            db.put_metadata({"m": Metadata("gauge", "", "")}).result(timeout=30)
            for at in range(0, len(samples), 4):
                append(db, *samples[at : at + 4])
        store.close(seal_seconds=seconds)
        store = open_store(tmp_path / str(seconds))
        for tenant in ("t", "u"):
            again = store.tenant(tenant)
            assert again is not None and again.stats().replayed_samples == replayed
            assert again.metadata() == {"m": Metadata("gauge", "", "")}
            assert everything(again) == bits(samples)
        store.close()


class _Unclosable(FaultyFiles):
    """Once ``is_broken`` the next sync fails, and so does the close after it."""

    is_broken = False

    def fdatasync(self, fd: int) -> None:
        if self.is_broken:
            raise OSError(5, "fdatasync")
        super().fdatasync(fd)

    def close(self, fd: int) -> None:
        super().close(fd)
        if self.is_broken:
            self.is_broken = False
            raise OSError(5, "close")


@pytest.mark.parametrize("sync_ms", _MODES)
def test_a_log_that_cannot_be_closed_keeps_nobody_waiting(tmp_path: Path, sync_ms: int) -> None:
    """What was acknowledged stays, and the next write goes to a new segment."""
    files = _Unclosable()
    store = _syncing_store(tmp_path, files, sync_ms)
    db = store.tenant_for_write("a")
    append(db, (0, NOW_MS, 1.0))
    files.is_broken = True
    db.close_log()
    assert not files.is_broken and not db.has_open_log
    append(db, (0, NOW_MS + 1, 2.0))
    assert everything(db) == bits([(0, NOW_MS, 1.0), (0, NOW_MS + 1, 2.0)])
    store.close()

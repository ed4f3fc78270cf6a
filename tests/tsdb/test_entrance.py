"""Who carries a write out: its own thread where nobody else is at work, else a committer."""

import gc
import sys
import threading
import weakref
from pathlib import Path

import pytest

from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    CountingFiles,
    FaultyFiles,
    append,
    batch_of,
    bits,
    everything,
    open_store,
)
from tsdb.db import DbOptions
from tsdb.log.sync import NEVER_SYNC_MS
from tsdb.store import Store

_LATER_MS = HOUR_MS
"""An interval that never passes within a test."""
_MODES = [0, _LATER_MS, NEVER_SYNC_MS]
_ROUNDS = 500


def _syncing_store(directory: Path, files: FaultyFiles, sync_ms: int) -> Store:
    return open_store(directory, files=files, options=DbOptions(wal_sync_ms=sync_ms))


@pytest.mark.parametrize("sync_ms", _MODES)
def test_a_write_may_be_done_by_its_own_thread(tmp_path: Path, sync_ms: int) -> None:
    """At once where that takes no wait for the disk, or where the caller takes that upon itself."""
    files = CountingFiles()
    store = _syncing_store(tmp_path, files, sync_ms)
    db = store.tenant_for_write("a")
    first = db.append_here(batch_of((0, NOW_MS, 1.0)), may_sync=False)
    assert first.result(timeout=30).samples == 1, "the file is made by a committer"
    before = files.syncs
    second = db.append_here(batch_of((0, NOW_MS + 1, 2.0)), may_sync=False)
    assert second.done() or sync_ms == 0
    assert second.result(timeout=30).samples == 1
    third = db.append_here(batch_of((0, NOW_MS + 2, 3.0)), may_sync=True)
    assert third.done() and third.result().samples == 1
    assert files.syncs == before + (2 if sync_ms == 0 else 0)
    written = [(0, NOW_MS, 1.0), (0, NOW_MS + 1, 2.0), (0, NOW_MS + 2, 3.0)]
    assert everything(db) == bits(written)
    store.close()
    with pytest.raises(OSError, match="closed"):
        db.append_here(batch_of((0, NOW_MS + 3, 4.0)), may_sync=True).result(timeout=30)
    again = _syncing_store(tmp_path, files, sync_ms)
    assert everything(again.tenant("a")) == bits(written)
    again.close()


def test_who_finds_others_at_work_lets_a_committer_do_it(tmp_path: Path) -> None:
    """Nobody waits for the round of another."""
    store = _syncing_store(tmp_path, FaultyFiles(), _LATER_MS)
    db = store.tenant_for_write("a")
    append(db, (0, NOW_MS, 1.0))
    with db._state.commit:
        waiting = db.append_here(batch_of((0, NOW_MS + 1, 2.0)), may_sync=True)
        assert not waiting.done()
    assert waiting.result(timeout=30).samples == 1
    store.close()


def test_nobody_is_forgotten_where_many_write_at_once(tmp_path: Path) -> None:
    """Each hears what became of his own write, whoever carried it out."""
    store = _syncing_store(tmp_path, FaultyFiles(), NEVER_SYNC_MS)
    db = store.tenant_for_write("a")
    heard: list[list[int]] = [[] for _ in range(5)]

    def write(number: int) -> None:
        for at in range(_ROUNDS):
            batch = batch_of(*((8 * number + k, NOW_MS + at, 1.0) for k in range(number)))
            future = db.append_here(batch, may_sync=True)
            heard[number].append(future.result(timeout=30).samples)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(len(heard))]
    interval_seconds = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    finally:
        sys.setswitchinterval(interval_seconds)
    assert heard == [[number] * _ROUNDS for number in range(len(heard))]
    store.close()


class _TellingFiles(FaultyFiles):
    """Tells of syncs."""

    def __init__(self) -> None:
        super().__init__()
        self.synced = threading.Event()

    def fdatasync(self, fd: int) -> None:
        super().fdatasync(fd)
        self.synced.set()


def test_what_a_thread_wrote_itself_is_synced_when_due(tmp_path: Path) -> None:
    """Though no committer had to do with it."""
    files = _TellingFiles()
    store = _syncing_store(tmp_path, files, 20)
    db = store.tenant_for_write("a")
    append(db, (0, NOW_MS, 1.0))
    files.synced.clear()
    db.append_here(batch_of((0, NOW_MS + 1, 2.0)), may_sync=False).result(timeout=30)
    assert files.synced.wait(30)
    store.close()


def test_a_failing_disk_is_told_to_who_writes_himself(tmp_path: Path) -> None:
    """The write fails, nothing of it is there, and the next one goes to a new segment."""
    files = FaultyFiles()
    store = _syncing_store(tmp_path, files, _LATER_MS)
    db = store.tenant_for_write("a")
    append(db, (0, NOW_MS, 1.0))
    files.fails = lambda act: act.startswith("write")
    failed = db.append_here(batch_of((0, NOW_MS + 1, 2.0)), may_sync=False)
    assert isinstance(failed.exception(timeout=30), OSError)
    files.fails = lambda act: False
    assert db.append_here(batch_of((0, NOW_MS + 2, 3.0)), may_sync=False).result(30).samples == 1
    assert everything(db) == bits([(0, NOW_MS, 1.0), (0, NOW_MS + 2, 3.0)])
    store.close()


@pytest.mark.parametrize("may_sync", [False, True])
def test_a_write_that_failed_is_not_kept(tmp_path: Path, may_sync: bool) -> None:
    """It goes with the one who hears of it, without a collection of garbage."""
    files = FaultyFiles()
    store = _syncing_store(tmp_path, files, 0)
    db = store.tenant_for_write("a")
    append(db, (0, NOW_MS, 1.0))
    files.fails = lambda act: act.startswith("write")
    gc.collect()
    gc.disable()
    try:
        batch = batch_of((0, NOW_MS + 1, 2.0))
        kept = weakref.ref(batch.values)
        failed = db.append_here(batch, may_sync=may_sync)
        assert isinstance(failed.exception(timeout=30), OSError)
        del batch, failed
        store.close(seal_seconds=0)  # no thread has it in its hands any more
        assert kept() is None
    finally:
        gc.enable()

"""A disk that refuses one act, whichever it is, costs what was asked for just then and no more."""

import gc
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from series.ports import Context, Hints
from tests.tsdb.contents import Value
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    FaultyFiles,
    append,
    bits,
    everything,
    open_store,
)
from tests.tsdb.test_histograms import histogram
from tsdb.db import Db, DbOptions
from tsdb.files import Files
from tsdb.log.wal import ReplayReport, Wal

_OPTIONS = DbOptions(
    retention_ms=30 * HOUR_MS, wal_segment_bytes=600, max_late_samples=2, min_empty_series=2
)
_OLD_MS = NOW_MS - 20 * HOUR_MS


class _Life:
    """Appends, seals and drops; after each refused act a copy of the disk is opened, too."""

    def __init__(self, directory: Path, fault: int) -> None:
        self.directory = directory
        self.files = FaultyFiles()
        self.now_ms = NOW_MS
        self.kept: list[tuple[int, int, Value]] = []
        self.fired = False
        self._acts = itertools.count()
        self._fault = fault

    def run(self) -> None:
        store = open_store(self.directory, options=_OPTIONS, files=self.files, now_ms=self._now)
        self.files.fails = self._fails
        db = store.tenant_for_write("t")
        for hour in range(0, 22, 2):
            at = _OLD_MS + hour * HOUR_MS
            self._append(db, [(s, at, float(s)) for s in range(hour // 8, hour // 8 + 3)])
            self._append(db, [(9, at - 3 * HOUR_MS - n, histogram(n)) for n in range(hour % 3)])
            if hour % 4 == 0:
                self._attempt(store.maintain)
        self._attempt(store.maintain)
        self.now_ms += 18 * HOUR_MS
        self._attempt(store.maintain)
        self.files.fails = lambda act: False
        store.maintain()
        gc.collect()
        store.maintain()
        assert db.stats().dropped_blocks > 0
        names = {path.name for path in (self.directory / "tenants/t/blocks").iterdir()}
        listed = db.stats().blocks
        assert len(names) <= listed + 2, "what failed seals have left"
        store.close()

    def _now(self) -> int:
        return self.now_ms

    def _fails(self, act: str) -> bool:
        del act
        fires = next(self._acts) == self._fault
        self.fired = self.fired or fires
        return fires

    def _append(self, db: Db, samples: Sequence[tuple[int, int, Value]]) -> None:
        if not samples:
            return
        fired_before = self.fired
        try:
            assert append(db, *samples).samples == len(samples)
            self.kept += samples
        except OSError:
            assert self.fired and not fired_before
        self._check(db, fired_before)

    def _attempt(self, act: object) -> None:
        fired_before = self.fired
        try:
            act()  # type: ignore[operator]
        except ExceptionGroup:
            assert self.fired and not fired_before

    def _check(self, db: Db, fired_before: bool) -> None:
        assert everything(db) == bits(self.kept)
        if self.fired and not fired_before:
            copy = self.directory.with_suffix(".copy")
            shutil.copytree(self.directory, copy)
            store = open_store(copy, options=_OPTIONS)
            assert everything(store.tenant("t")) == bits(self.kept)
            store.close()
            shutil.rmtree(copy)


@pytest.mark.parametrize("step", [41, pytest.param(1, marks=pytest.mark.long)])
def test_one_refused_act_costs_one_request_at_most(tmp_path: Path, step: int) -> None:
    """Each act of a life in turn, until a life ends without the fault."""
    for fault in itertools.count(0, step):
        life = _Life(tmp_path / str(fault), fault)
        life.run()
        if not life.fired:
            break
    assert fault > 150


@pytest.mark.parametrize("act", ["write", "fdatasync", "rename", "sync_directory"])
def test_failed_seals_do_not_fill_the_disk(tmp_path: Path, act: str) -> None:
    """What an attempt wrote is removed when it fails, whichever write or sync of it does."""
    files = FaultyFiles()
    store = open_store(tmp_path, files=files)
    db = store.tenant_for_write("t")
    append(db, (0, _OLD_MS, 1.0), (0, NOW_MS, 0.0))
    for nth in itertools.count():
        acts = itertools.count()
        files.fails = lambda what, acts=acts, nth=nth: what == act and next(acts) == nth  # type: ignore[misc]
        try:
            store.maintain()
        except ExceptionGroup:
            left = [*(tmp_path / "tenants/t").glob("blocks/*")]
            # Where the manifest's own last step failed, what it lists on disk has to stay.
            assert len(left) == 0 or (act == "sync_directory" and len(left) == 1)
        else:
            break
    assert nth > 0
    files.fails = lambda what: False
    store.close()


def test_the_manifest_that_may_stand_on_disk_is_believed(tmp_path: Path) -> None:
    """Its last sync failed, so the seal counts as failed; a crash then finds the new one."""
    files = FaultyFiles()
    store = open_store(tmp_path / "data", files=files)
    db = store.tenant_for_write("t")
    samples = [(0, _OLD_MS, 1.0), (0, NOW_MS, 0.0)]
    append(db, *samples)
    renamed = []

    def fails(act: str) -> bool:
        renamed.extend([act] if act == "rename" else [])
        return act == "sync_directory" and len(renamed) == 2

    files.fails = fails
    with pytest.raises(ExceptionGroup):
        store.maintain()
    files.fails = lambda act: False
    samples.append((1, _OLD_MS, 3.0))
    append(db, samples[-1])
    assert everything(db) == bits(samples)
    shutil.copytree(tmp_path / "data", tmp_path / "crashed")
    other = open_store(tmp_path / "crashed")
    crashed = other.tenant("t")
    assert crashed is not None and crashed.stats().blocks == 1
    assert everything(crashed) == bits(samples)
    other.close()
    store.maintain()
    assert db.stats().blocks == 1
    store.close()
    store = open_store(tmp_path / "data")
    assert everything(store.tenant("t")) == bits(samples)
    store.close()


def test_bytes_that_do_not_count_stay_void_when_later_segments_go(tmp_path: Path) -> None:
    """The segment that tells where the one before ends is not removed before it."""
    files = FaultyFiles()
    store = open_store(tmp_path, files=files)
    db = store.tenant_for_write("t")
    samples = [(0, NOW_MS, 1.0)]
    append(db, *samples)
    files.fails = lambda act: act in ("fdatasync", "truncate")
    with pytest.raises(OSError, match="injected"):
        append(db, (5, NOW_MS, 9.0))
    files.fails = lambda act: False
    samples += [(0, _OLD_MS, 2.0)]
    append(db, samples[-1])
    store.maintain()
    assert db.stats().blocks == 1
    store.close()
    store = open_store(tmp_path)
    assert everything(store.tenant("t")) == bits(samples)
    store.close()


def test_damage_at_the_end_of_what_was_acknowledged_is_told_as_damage(tmp_path: Path) -> None:
    """Only at the end of the whole log it may be a torn tail."""
    store = open_store(tmp_path, options=DbOptions(wal_segment_bytes=1))
    db = store.tenant_for_write("t")
    for n in range(2):
        append(db, (n, NOW_MS, 1.0))
    store.close()
    directory = tmp_path / "tenants/t/wal"
    first, last = sorted(directory.iterdir())
    for path, damaged_by_flip in ((first, True), (last, False)):
        whole = path.read_bytes()
        flipped = whole[:-1] + bytes([whole[-1] ^ 1])
        for content in (flipped, whole[:-9]):
            path.write_bytes(content)
            report = ReplayReport()
            wal = Wal(directory, Files(), 1 << 20)
            for segment in wal.segments:
                assert list(wal.replay(segment, report))
            assert (report.damaged_bytes > 0) is damaged_by_flip
            assert (report.torn_bytes > 0) is not damaged_by_flip
            assert str(path) in report.messages[0]
        path.write_bytes(whole)


def test_a_damaged_frame_is_left_out_with_a_warning(tmp_path: Path) -> None:
    """The query gets everything else, and the warning names the file."""
    store = open_store(tmp_path)
    db = store.tenant_for_write("t")
    old = [(s, _OLD_MS + k * 1000, float(k)) for s in range(40) for k in range(5)]
    append(db, *old, (0, NOW_MS, 1.0))
    store.maintain()
    (path,) = tmp_path.glob("tenants/t/blocks/*/data")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    for _ in range(2):
        context = Context()
        selection = db.view().resolve((), Hints(0, 2**60))
        batch = selection.read(slice(0, 40), 0, 2**60, context)
        batch.check(rising=True)
        assert batch.sample_count == 32 * 5 + 1
        (text,) = context.warnings
        assert text.startswith(f"{path} is damaged at offset ")
    assert db.stats().block_damaged_frames == 1
    untouched = Context()
    selection.read(slice(0, 16), 0, 2**60, untouched)
    assert untouched.warnings == {}
    store.close()

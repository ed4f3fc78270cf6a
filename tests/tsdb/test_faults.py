"""A disk that refuses one act, whichever it is, costs what was asked for just then and no more."""

import errno
import gc
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from series.ports import Context, Hints
from tests.tsdb.contents import Value
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    Bits,
    FaultyFiles,
    append,
    bits,
    everything,
    open_store,
)
from tests.tsdb.test_deletions import series_is
from tests.tsdb.test_histograms import histogram
from tsdb.block.format import DATA_HEADER
from tsdb.db import Db, DbOptions
from tsdb.files import Files
from tsdb.log.wal import ReplayReport, Wal
from tsdb.store import Store

_OPTIONS = DbOptions(
    retention_ms=30 * HOUR_MS, wal_segment_bytes=600, max_late_samples=2, min_empty_series=2
)
_OLD_MS = NOW_MS - 20 * HOUR_MS
_NEVER = -1


class _Died(Exception):
    """The process has died at a refused act; ``possible`` is what its disk may hold."""

    def __init__(self, *possible: Bits) -> None:
        super().__init__()
        self.possible = possible


class _Life:
    """Appends, seals, merges, deletes, cleans, snapshots, reopens and drops.

    Act number *fault* of the disk is refused, or, where it *crashes*, that and all later ones.
    Right after it all is read, and a copy of the disk is opened, too; then after cleaning, from
    snapshots and after the restart. Before the fault all lives are as the one that has none
    (*fault* is ``_NEVER``), in which all is read after each step.
    """

    def __init__(
        self, directory: Path, fault: int, *, code: int = errno.EIO, crashes: bool = False,
        sync_ms: int = 0,
    ) -> None:  # fmt: skip
        self.directory = directory
        self._options = replace(_OPTIONS, wal_sync_ms=sync_ms)
        self.files = FaultyFiles(code)
        self.now_ms = NOW_MS
        self.kept: list[tuple[int, int, Value]] = []
        self.fired = False
        self.acts = 0
        self._fault = fault
        self._crashes = crashes

    def run(self) -> None:
        self.files.fails = self._fails
        self.store = self._open()
        death: _Died | None = None
        try:
            self._live()
        except _Died as died:
            death = died
        if death is None:
            self._grow_old()
            return
        self._end()
        found = self._recent(self._reopened())
        assert any(found == self._recent(one) for one in death.possible)

    def _live(self) -> None:
        for hour in (0, 2, 8):
            at = _OLD_MS + hour * HOUR_MS
            self._append([(s, at, float(s)) for s in range(hour // 8, hour // 8 + 3)])
            self._append([(9, at - 3 * HOUR_MS - n, histogram(n)) for n in range(hour % 3)])
            if hour % 8 == 0:
                self._attempt(self.store.maintain)
        self._attempt(self.store.maintain)
        for number, hours in ((1, 8), (2, 6)):
            self._delete(number, _OLD_MS, _OLD_MS + hours * HOUR_MS)
        self._attempt(self._db.clean_tombstones)
        self._compare()
        self._snapshot()
        assert self._db.stats().merges or self.fired
        self._append([(7, NOW_MS, 1.0), (0, NOW_MS - HOUR_MS, 2.0)])
        fired_before = self.fired
        self._end()
        self.store = self._open()
        if self._crashes and self.fired:
            raise _Died(bits(self.kept))
        self._check(fired_before)
        self._compare()
        self.now_ms += 18 * HOUR_MS
        self._attempt(self.store.maintain)

    def _grow_old(self) -> None:
        self.files.fails = lambda act: False
        # Who asks for it keeps it from being closed as unused, until the next hourly look.
        self._db.maintain()
        gc.collect()
        self.store.maintain()
        oldest_ms = self.now_ms - _OPTIONS.retention_ms
        assert min(one[1] for one in self.kept) < oldest_ms
        assert all(block.max_time_ms >= oldest_ms for block in self._db.blocks)
        listed = self._db.stats().blocks
        names = {path.name for path in (self.directory / "tenants/t/blocks").iterdir()}
        assert len(names) <= listed + 2, "what failed seals have left"
        self.store.close()

    def _open(self) -> Store:
        """Opens the store; where the disk refuses, a second time."""
        for _ in range(2):
            try:
                return open_store(
                    self.directory, options=self._options, files=self.files,
                    now_ms=lambda: self.now_ms,
                )  # fmt: skip
            except OSError:
                assert self.fired
                self.files.fails = lambda act: False
        raise AssertionError("a disk that works is refused")

    def _end(self) -> None:
        """Ends the process: in order, or as it dies."""
        try:
            self.store.close(60.0)
        except OSError:
            assert self.fired

    @property
    def _db(self) -> Db:
        return self.store.tenant_for_write("t")

    def _fails(self, act: str) -> bool:
        del act
        fires = self.acts == self._fault or (self._crashes and self.fired)
        self.acts += 1
        self.fired = self.fired or fires
        return fires

    def _append(self, samples: Sequence[tuple[int, int, Value]]) -> None:
        if not samples:
            return
        fired_before = self.fired
        try:
            assert append(self._db, *samples).samples == len(samples)
            self.kept += samples
        except OSError:
            self._expect(fired_before, bits(self.kept), bits([*self.kept, *samples]))
        self._check(fired_before)

    def _attempt(self, act: Callable[[], object]) -> None:
        fired_before = self.fired
        try:
            act()
        except (ExceptionGroup, OSError):
            self._expect(fired_before, bits(self.kept))
        self._check(fired_before)

    def _snapshot(self) -> None:
        fired_before = self.fired
        try:
            self.store.snapshot("t")
        except OSError:
            self._expect(fired_before, bits(self.kept))
            self.store.snapshot("t")
        # One whose name could not be made durable at last is whole all the same.
        snapshots = (self.directory / "snapshots").iterdir()
        for made in [path for path in snapshots if path.suffix != ".tmp"]:
            reader = Store.open_read_only(made, lambda: self.now_ms)
            assert everything(reader.tenant("t")) == bits(self.kept)
            reader.close()

    def _delete(self, number: int, start_ms: int, end_ms: int) -> None:
        fired_before = self.fired
        left = [one for one in self.kept if one[0] != number or not start_ms <= one[1] <= end_ms]
        assert len(left) < len(self.kept)
        try:
            self._db.delete(series_is(number), start_ms, end_ms)
            self.kept = left
        except OSError:
            self._expect(fired_before, bits(self.kept), bits(left))
            assert everything(self._db) == bits(self.kept)
            assert self._reopened() in (bits(self.kept), bits(left))
            self._db.delete(series_is(number), start_ms, end_ms)
            self.kept = left
        self._check(fired_before)

    def _expect(self, fired_before: bool, *possible: Bits) -> None:
        """Only the refused act is to blame; a process that dies of it leaves what is *possible*."""
        assert self.fired and not fired_before
        if self._crashes:
            raise _Died(*possible)

    def _compare(self) -> None:
        assert self._recent(everything(self._db)) == self._recent(bits(self.kept))

    def _check(self, fired_before: bool) -> None:
        """What there is where the fault came since *fired_before* was asked."""
        if self._fault == _NEVER:
            self._compare()
        if self.fired and not fired_before:
            self._compare()
            assert self._recent(self._reopened()) == self._recent(bits(self.kept))
            if self._crashes:
                raise _Died(bits(self.kept))

    def _recent(self, found: Bits) -> Bits:
        """Without what is beyond the retention, which may have gone."""
        oldest_ms = self.now_ms - _OPTIONS.retention_ms
        recent = {
            labels: {time_ms: one for time_ms, one in own.items() if time_ms >= oldest_ms}
            for labels, own in found.items()
        }
        return {labels: own for labels, own in recent.items() if own}

    def _reopened(self) -> Bits:
        """What is found in a copy of the disk."""
        copy = self.directory.with_suffix(".copy")
        shutil.copytree(self.directory, copy)
        store = open_store(copy, options=_OPTIONS)
        found = everything(store.tenant("t"))
        store.close()
        shutil.rmtree(copy)
        return found


@pytest.fixture
def _little_to_collect() -> Iterator[None]:
    """The collections of each life leave alone what was there before."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_little_to_collect")
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("code", "crashes", "sync_ms"),
    [
        (errno.EIO, False, 0),
        (errno.ENOSPC, False, 0),
        (errno.EIO, True, 0),
        (errno.EIO, False, HOUR_MS),
    ],
    ids=["refused", "full", "crash", "interval"],
)
def test_one_refused_act_costs_one_request_at_most(
    memory_path: Path, step: int, code: int, crashes: bool, sync_ms: int
) -> None:
    """Each act of a life in turn, until a life ends without the fault."""
    for fault in itertools.chain([_NEVER], itertools.count(0, step)):
        directory = memory_path / str(fault)
        life = _Life(directory, fault, code=code, crashes=crashes, sync_ms=sync_ms)
        life.run()
        shutil.rmtree(directory)
        if not life.fired and fault != _NEVER:
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
            # Where a last step of the manifest failed, what it lists on disk has to stay.
            assert len(left) == 0 or (act in ("rename", "sync_directory") and len(left) == 1)
        else:
            break
    assert nth > 0
    files.fails = lambda what: False
    store.close()


def test_the_manifest_that_may_stand_on_disk_is_believed(tmp_path: Path) -> None:
    """Its last sync failed, so the seal counts as failed; a crash then finds the new one.

    A snapshot holds the one that counts.
    """
    files = FaultyFiles()
    store = open_store(tmp_path / "data", files=files)
    db = store.tenant_for_write("t")
    samples = [(0, _OLD_MS, 1.0), (0, NOW_MS, 0.0)]
    append(db, *samples)
    renamed = []

    def fails(act: str) -> bool:
        renamed.extend([act] if act == "rename" else [])
        return act == "sync_directory" and len(renamed) == 3

    files.fails = fails
    with pytest.raises(ExceptionGroup):
        store.maintain()
    files.fails = lambda act: False
    samples.append((1, _OLD_MS, 3.0))
    append(db, samples[-1])
    assert everything(db) == bits(samples)
    reader = Store.open_read_only(store.snapshot("t"), lambda: NOW_MS)
    assert everything(reader.tenant("t")) == bits(samples), "a snapshot is of what counts"
    reader.close()
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
    store = open_store(tmp_path)
    db = store.tenant_for_write("t")
    for n in range(2):
        append(db, (n, NOW_MS, 1.0))
        db._state.wal.close_segment()
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
    content[DATA_HEADER.size + 20] ^= 1
    path.write_bytes(bytes(content))
    for _ in range(2):
        context = Context()
        selection = db.view().resolve((), Hints(0, 2**60))
        batch = selection.read(slice(0, 40), 0, 2**60, context)
        batch.check(rising=True)
        assert batch.sample_count == 24 * 5 + 1
        (text,) = context.warnings
        assert text.startswith(f"{path} is damaged at offset ")
    assert db.stats().block_damaged_frames == 1
    untouched = Context()
    selection.read(slice(16, 40), 0, 2**60, untouched)
    assert untouched.warnings == {}
    store.close()

"""Whatever a loss of power leaves: all that was acknowledged is there, and nothing never sent."""

import math
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.tsdb.contents import Content, Started, Value, content
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    Bits,
    append,
    everything,
    labels_of,
    make_rooms,
    open_store,
)
from tests.tsdb.power_loss import Disk, Recorder
from tests.tsdb.test_deletions import series_is
from tests.tsdb.test_histograms import histogram
from tsdb.db import DbOptions
from tsdb.store import Store

_OPTIONS = DbOptions(
    retention_ms=40 * HOUR_MS, wal_segment_bytes=1500, max_late_samples=3, min_empty_series=2
)
_SEED = int(os.environ.get("O11Y_TEST_SEED", "0"))
"""A failure names its state; the same seed makes the same states."""
_NEVER = math.inf


@dataclass(slots=True)
class _Sent:
    """A sample, and how many acts of the disk there had been when it was sent and promised."""

    series: int
    time_ms: int
    value: Content
    sent: int
    promised: float


class _Deleted(NamedTuple):
    """A deletion, and the acts before it began and when it was acknowledged."""

    series: int
    start_ms: int
    end_ms: int
    begun: int
    acknowledged: int

    def hits(self, one: _Sent) -> bool:
        inside = one.series == self.series and self.start_ms <= one.time_ms <= self.end_ms
        return inside and one.sent < self.begun


class _Life:
    """Appends, seals, late samples, merges, deletions, a snapshot, retention and restarts on a
    recorded disk.

    With an interval (*sync_ms*) a sample is promised once the interval has passed.
    """

    def __init__(
        self, directory: Path, files: type[Recorder] = Recorder, *, sync_ms: int = 0
    ) -> None:
        directory.mkdir()
        self.directory = directory
        self.files = files(directory)
        self.options = replace(_OPTIONS, wal_sync_ms=sync_ms)
        self.now_ms = NOW_MS
        self.samples: list[_Sent] = []
        self.deletions: list[_Deleted] = []
        self.aged: list[tuple[int, int]] = []
        """(acts, the time before which samples are beyond the retention from then on)."""
        self.snapshot: tuple[int, str, Bits] = (0, "", {})
        """When it was acknowledged, its name, what it holds."""

    @property
    def acts(self) -> int:
        return len(self.files.acts)

    def run(self) -> None:
        start = NOW_MS - 30 * HOUR_MS
        store = self._open()
        for hour in range(12):
            for minute in (0, 40):
                time_ms = start + hour * HOUR_MS + minute * 60_000
                self._append(store, [(s, time_ms, hour + s / 8) for s in range(hour // 6, 3)])
                self._append(store, [(4, time_ms, Started(histogram(minute), start))])
            self._pass_interval(store)
            if hour in (2, 4):
                store.close(60.0 if hour == 4 else 0.0)
                self._keep_promises()
                store = self._open()
            late_ms = start + hour * 60_000 + 7
            self._append(store, [(0, late_ms, 50.0 + hour), (1, late_ms, histogram(hour))])
            if hour % 2:
                store.maintain()
            if hour in (5, 10):
                self._delete(store, hour // 5, start + HOUR_MS, start + 3 * HOUR_MS)
        self._take_snapshot(store)
        store.tenant_for_write("t").clean_tombstones()
        self._append(store, [(9, NOW_MS, 1.0)])
        store.maintain()
        self.now_ms += 18 * HOUR_MS
        self.aged.append((self.acts, self.now_ms - _OPTIONS.retention_ms))
        for _ in range(3):
            store.maintain()
        assert sum(one.merges for one in store.stats())
        assert sum(one.dropped_blocks for one in store.stats())
        store.close()

    def _open(self) -> Store:
        return open_store(
            self.directory / "data",
            files=self.files,
            options=self.options,
            now_ms=lambda: self.now_ms,
        )

    def _append(self, store: Store, samples: Sequence[tuple[int, int, Value]]) -> None:
        sent = self.acts
        db = store.tenant_for_write("t")
        assert append(db, *samples).samples == len(samples)
        promised = _NEVER if self.options.wal_sync_ms else self.acts
        self.samples += [_Sent(s, t, content(value), sent, promised) for s, t, value in samples]

    def _pass_interval(self, store: Store) -> None:
        db = store.tenant_for_write("t")
        db._state.wal.sync_due_seconds = 0.0
        db._entrance.commit_waiting()
        self._keep_promises()

    def _keep_promises(self) -> None:
        for one in self.samples:
            one.promised = min(one.promised, self.acts)

    def _delete(self, store: Store, series: int, start_ms: int, end_ms: int) -> None:
        begun = self.acts
        assert store.tenant_for_write("t").delete(series_is(series), start_ms, end_ms)
        self._keep_promises()
        self.deletions.append(_Deleted(series, start_ms, end_ms, begun, self.acts))

    def _take_snapshot(self, store: Store) -> None:
        found = everything(store.tenant("t"))
        made = store.snapshot("t")
        self._keep_promises()
        self.snapshot = self.acts, made.name, found

    def must_be(self, acts: int) -> Iterator[_Sent]:
        """The samples that a disk after so many acts has to give back."""
        oldest_ms = max((oldest for since, oldest in self.aged if since <= acts), default=0)
        for one in self.samples:
            may_be_gone = any(d.hits(one) and d.begun <= acts for d in self.deletions)
            if one.promised <= acts and one.time_ms >= oldest_ms and not may_be_gone:
                yield one

    def may_be(self, acts: int) -> Iterator[_Sent]:
        """The samples that it may give back."""
        for one in self.samples:
            is_gone = any(d.hits(one) and d.acknowledged <= acts for d in self.deletions)
            if one.sent <= acts and not is_gone:
                yield one


def _check(directory: Path, life: _Life, acts: int) -> None:
    """Reopens *directory*, as found after so many acts, twice."""
    first: object = None
    for _ in range(2):
        store = open_store(directory, options=_OPTIONS)
        found = everything(store.tenant("t"))
        for one in life.must_be(acts):
            assert found.get(labels_of(one.series), {}).get(one.time_ms) == one.value, one
        unsent = {labels: dict(row) for labels, row in found.items()}
        for one in life.may_be(acts):
            row = unsent.get(labels_of(one.series), {})
            if row.get(one.time_ms) == one.value:
                del row[one.time_ms]
        assert not any(unsent.values()), unsent
        assert first in (None, found)
        first = found
        store.close()
    acknowledged, name, contents = life.snapshot
    snapshots = directory / "snapshots"
    assert acknowledged > acts or (snapshots / name).exists()
    for made in snapshots.iterdir() if snapshots.exists() else ():
        reader = Store.open_read_only(made, lambda: NOW_MS)
        assert everything(reader.tenant("t")) == contents
        reader.close()


@pytest.mark.parametrize(("step", "states"), [(7, 1), pytest.param(1, 6, marks=pytest.mark.long)])
@pytest.mark.parametrize("sync_ms", [0, HOUR_MS])
def test_no_loss_of_power_takes_what_was_promised(
    memory_path: Path, step: int, states: int, sync_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the states that are possible after each act some are made and opened."""
    make_rooms(monkeypatch)
    life = _Life(memory_path / "life", sync_ms=sync_ms)
    life.run()
    assert life.acts > 400
    disk = Disk(life.directory)
    for acts, act in enumerate(life.files.acts, 1):
        disk.do(act)
        if acts % step:
            continue
        for state in range(states):
            left = memory_path / f"{acts}-{state}"
            left.mkdir()
            disk.leave(left / "disk", random.Random(f"{_SEED} {acts} {state}"))
            _check(left / "disk" / "data", life, acts)
            shutil.rmtree(left)


class _Unsynced(Recorder):
    """A disk on which no sync of a file counts."""

    def fdatasync(self, fd: int) -> None:
        pass


def test_the_states_show_a_sync_that_is_missing(memory_path: Path) -> None:
    """Without fdatasync the very same check finds samples that are lost."""
    life = _Life(memory_path / "life", _Unsynced)
    life.run()
    disk = Disk(life.directory)
    for act in life.files.acts:
        disk.do(act)
    disk.leave(memory_path / "left", random.Random(0))
    with pytest.raises(Exception):  # noqa: B017, PT011
        _check(memory_path / "left" / "data", life, life.acts)

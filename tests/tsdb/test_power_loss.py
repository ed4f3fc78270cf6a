"""Whatever a loss of power leaves: all that was acknowledged is there, and nothing never sent."""

import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.tsdb.contents import Content, Started, Value, content
from tests.tsdb.databases import HOUR_MS, NOW_MS, append, everything, labels_of, open_store
from tests.tsdb.power_loss import Disk, Recorder
from tests.tsdb.test_histograms import histogram
from tsdb.db import DbOptions
from tsdb.store import Store

_OPTIONS = DbOptions(
    retention_ms=40 * HOUR_MS, wal_segment_bytes=1500, max_late_samples=3, min_empty_series=2
)
_SEED = int(os.environ.get("O11Y_TEST_SEED", "0"))
"""A failure names its state; the same seed makes the same states."""


class _Sent(NamedTuple):
    """A sample, and how many acts of the disk there had been when it was sent and acknowledged."""

    series: int
    time_ms: int
    value: Content
    sent: int
    acknowledged: int


class _Life:
    """Appends, seals, late samples and restarts on a recorded disk."""

    def __init__(self, directory: Path, files: type[Recorder] = Recorder) -> None:
        directory.mkdir()
        self.directory = directory
        self.files = files(directory)
        self.samples: list[_Sent] = []

    def run(self) -> None:
        start = NOW_MS - 30 * HOUR_MS
        store = self._open()
        for hour in range(10):
            for minute in range(0, 60, 20):
                time_ms = start + hour * HOUR_MS + minute * 60_000
                self._append(store, [(s, time_ms, hour + s / 8) for s in range(hour // 4, 3)])
                self._append(store, [(4, time_ms, Started(histogram(minute), start))])
            if hour in (2, 5):
                store.close()
                store = self._open()
            late_ms = start + hour * 60_000 + 7
            self._append(store, [(0, late_ms, 50.0 + hour), (1, late_ms, histogram(hour))])
            if hour % 2:
                store.maintain()
        self._append(store, [(9, NOW_MS, 1.0)])
        store.maintain()
        store.close()

    def _open(self) -> Store:
        return open_store(self.directory / "data", files=self.files, options=_OPTIONS)

    def _append(self, store: Store, samples: Sequence[tuple[int, int, Value]]) -> None:
        sent = len(self.files.acts)
        db = store.tenant_for_write("t")
        assert append(db, *samples).samples == len(samples)
        now = len(self.files.acts)
        self.samples += [_Sent(s, t, content(value), sent, now) for s, t, value in samples]


def _check(directory: Path, life: _Life, acts: int) -> None:
    """Reopens *directory*, as found after so many acts, twice."""
    first: object = None
    for _ in range(2):
        store = open_store(directory, options=_OPTIONS)
        found = everything(store.tenant("t"))
        unsent = {labels: dict(row) for labels, row in found.items()}
        for one in life.samples:
            row = unsent.get(labels_of(one.series), {})
            if one.acknowledged <= acts:
                assert row.get(one.time_ms) == one.value, one
            if one.sent <= acts and row.get(one.time_ms) == one.value:
                del row[one.time_ms]
        assert not any(unsent.values()), unsent
        assert first in (None, found)
        first = found
        store.close()


@pytest.mark.parametrize(("step", "states"), [(17, 2), pytest.param(1, 6, marks=pytest.mark.long)])
def test_no_loss_of_power_takes_what_was_acknowledged(
    tmp_path: Path, step: int, states: int
) -> None:
    """Of the states that are possible after each act some are made and opened."""
    life = _Life(tmp_path / "life")
    life.run()
    assert len(life.files.acts) > 200
    disk = Disk(life.directory)
    for acts, act in enumerate(life.files.acts, 1):
        disk.do(act)
        if acts % step:
            continue
        for state in range(states):
            left = tmp_path / f"{acts}-{state}"
            left.mkdir()
            disk.leave(left / "disk", random.Random(f"{_SEED} {acts} {state}"))
            _check(left / "disk" / "data", life, acts)
            shutil.rmtree(left)


class _Unsynced(Recorder):
    """A disk on which no sync of a file counts."""

    def fdatasync(self, fd: int) -> None:
        pass


def test_the_states_show_a_sync_that_is_missing(tmp_path: Path) -> None:
    """Without fdatasync the very same check finds samples that are lost."""
    life = _Life(tmp_path / "life", _Unsynced)
    life.run()
    disk = Disk(life.directory)
    for act in life.files.acts:
        disk.do(act)
    disk.leave(tmp_path / "left", random.Random(0))
    with pytest.raises(Exception):  # noqa: B017, PT011
        _check(tmp_path / "left" / "data", life, len(life.files.acts))

"""Wherever the disk or the power goes: all that was acknowledged is there, once, and no more."""

import contextlib
import shutil
from pathlib import Path

import google_crc32c
import pytest

from tests.tsdb.contents import Started, Value
from tests.tsdb.crashes import CrashingFiles
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    FaultyFiles,
    append,
    bits,
    everything,
    make_rooms,
    open_store,
)
from tests.tsdb.test_histograms import histogram
from tsdb.db import DbOptions
from tsdb.store import Store
from tsdb.versions import UnsupportedFormat

_OPTIONS = DbOptions(
    retention_ms=40 * HOUR_MS, wal_segment_bytes=700, max_late_samples=3, min_empty_series=2
)
_Sample = tuple[int, int, Value]


class _Life:
    """A scripted life of a store: appends, seals, restarts; remembers what was acknowledged."""

    def __init__(self, directory: Path, files: CrashingFiles) -> None:
        self._directory = directory
        self._files = files
        self._store: Store | None = None
        self.acknowledged: list[_Sample] = []
        self.sent: list[_Sample] = []

    def run(self) -> None:
        start = NOW_MS - 30 * HOUR_MS
        try:
            self._open()
            for hour in range(6):
                for minute in (0, 40):
                    time_ms = start + hour * HOUR_MS + minute * 60_000
                    self._append([(s, time_ms, hour + s / 8) for s in range(hour // 3, 3)])
                    self._append([(4, time_ms, Started(histogram(minute), start))])
                if hour in (2, 4):
                    self._close()
                    self._open()
                late_ms = start + hour * 60_000 + 7
                self._append([(0, late_ms, 50.0 + hour), (1, late_ms, histogram(hour))])
                if hour % 2:
                    self._maintain()
            self._append([(9, NOW_MS, 1.0)])
            self._maintain()
        except OSError:
            assert self._files.died
        finally:
            self._close()

    def _append(self, samples: list[_Sample]) -> None:
        assert self._store is not None
        self.sent += samples
        db = self._store.tenant_for_write("t")
        assert append(db, *samples).samples == len(samples)
        self.acknowledged += samples

    def _maintain(self) -> None:
        assert self._store is not None
        try:
            self._store.maintain()
        except ExceptionGroup:
            assert self._files.died

    def _open(self) -> None:
        self._store = open_store(self._directory, files=self._files, options=_OPTIONS)

    def _close(self) -> None:
        if self._store is not None:
            store, self._store = self._store, None
            store.close()


def _check(directory: Path, life: _Life) -> None:
    sent, acknowledged = bits(life.sent), bits(life.acknowledged)
    first: object = None
    for _ in range(2):
        store = open_store(directory, options=_OPTIONS)
        found = everything(store.tenant("t"))
        for series, samples in acknowledged.items():
            assert samples.items() <= found.get(series, {}).items()
        for series, samples in found.items():
            assert samples.items() <= sent[series].items()
        assert first in (None, found)
        first = found
        store.close()


def _acts_of_a_life(directory: Path) -> int:
    files = CrashingFiles(1 << 30)
    life = _Life(directory, files)
    life.run()
    assert len(life.acknowledged) == len(life.sent)
    _check(directory, life)
    return files.acts


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("power_loss", [False, True])
def test_dying_at_any_act_loses_nothing(
    memory_path: Path, power_loss: bool, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process, or the whole machine, stops at many disk acts of a life in turn."""
    make_rooms(monkeypatch)
    acts = _acts_of_a_life(memory_path / "whole")
    assert acts > 150
    for last_act in range(int(power_loss), acts, step):
        directory = memory_path / str(last_act)
        files = CrashingFiles(last_act)
        life = _Life(directory, files)
        life.run()
        if power_loss:
            files.lose_power()
        _check(directory, life)
        shutil.rmtree(directory)


def test_a_crash_between_log_and_head_keeps_the_request(tmp_path: Path) -> None:
    """A copy of the directory at any moment opens to what was acknowledged by then."""
    store = open_store(tmp_path / "data")
    db = store.tenant_for_write("t")
    samples: list[_Sample] = []
    for round_number in range(10):
        new = [(s, NOW_MS + round_number, float(round_number)) for s in range(5)]
        append(db, *new)
        samples += new
        copy = tmp_path / f"copy-{round_number}"
        shutil.copytree(tmp_path / "data", copy)
        other = open_store(copy)
        assert everything(other.tenant("t")) == bits(samples)
        other.close()
    store.close()


def test_a_damaged_record_costs_its_samples_and_no_others(tmp_path: Path) -> None:
    """Any byte of a middle record may be wrong; what it held is reported as damage."""
    store = open_store(tmp_path)
    db = store.tenant_for_write("t")
    path = tmp_path / "tenants/t/wal/0000000001.wal"
    ends = []
    for k in range(3):
        append(db, *((s, NOW_MS + k, float(k)) for s in range(3)))
        ends.append(path.stat().st_size)
    store.close()
    whole = path.read_bytes()
    for at in range(ends[0], ends[1], 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        shutil.copytree(tmp_path / "tenants", tmp_path / "copy/tenants")
        store = open_store(tmp_path / "copy")
        copied = store.tenant("t")
        assert copied is not None
        expected = [(s, NOW_MS + k, float(k)) for s in range(3) for k in (0, 2)]
        assert everything(copied) == bits(expected)
        assert copied.stats().replay_damaged_bytes == ends[1] - ends[0]
        store.close()
        shutil.rmtree(tmp_path / "copy")


@pytest.mark.parametrize("records", [1, 2])
def test_samples_of_series_that_damage_left_unnamed_are_counted(
    tmp_path: Path, records: int
) -> None:
    """A damaged record costs its samples; only where the next one, which names its series once
    more, is damaged too, later samples of these are lost, and told.
    """
    store = open_store(tmp_path)
    db = store.tenant_for_write("t")
    path = tmp_path / "tenants/t/wal/0000000001.wal"
    append(db, (0, NOW_MS, 1.0))
    end = path.stat().st_size
    append(db, (1, NOW_MS, 1.0))
    second = path.stat().st_size
    append(db, (0, NOW_MS + 1, 1.0), (1, NOW_MS + 1, 1.0))
    append(db, (0, NOW_MS + 2, 1.0), (1, NOW_MS + 2, 1.0))
    store.close()
    data = bytearray(path.read_bytes())
    for begin in (end, second)[:records]:
        data[begin + 40] ^= 0xFF
    path.write_bytes(bytes(data))
    store = open_store(tmp_path)
    again = store.tenant("t")
    assert again is not None
    found = [(0, NOW_MS, 1.0), (0, NOW_MS + 2, 1.0)]
    if records == 1:
        found += [(0, NOW_MS + 1, 1.0), (1, NOW_MS + 1, 1.0), (1, NOW_MS + 2, 1.0)]
    assert everything(again) == bits(found)
    assert again.stats().replay_lost_samples == records - 1
    assert append(again, (1, NOW_MS + 3, 1.0)).samples == 1
    store.close()


def test_a_log_larger_than_the_memory_is_sealed_while_it_is_replayed(memory_path: Path) -> None:
    """Nor need a segment fit; wherever such a replay is killed, the next one finds all."""
    for segment_bytes in (2000, 1 << 20):
        directory = memory_path / str(segment_bytes)
        store = open_store(directory, options=DbOptions(wal_segment_bytes=segment_bytes))
        db = store.tenant_for_write("t")
        samples = [(s, NOW_MS - 1000 + k, float(k)) for k in range(20) for s in range(k, 60 + k)]
        samples += [(s, NOW_MS - 1000 + s, float(s)) for s in range(500, 700)]
        for at in range(0, len(samples), 40):
            append(db, *samples[at : at + 40])
        store.close()
        for last_act in range(0, 400, 97):
            shutil.copytree(directory, memory_path / "copy")
            with contextlib.suppress(OSError):
                open_store(
                    memory_path / "copy", files=CrashingFiles(last_act), arena_pages=100
                ).close()
            store = open_store(memory_path / "copy", arena_pages=100)
            again = store.tenant("t")
            assert again is not None and again.stats().blocks > 0
            assert everything(again) == bits(samples)
            store.close()
            shutil.rmtree(memory_path / "copy")


def test_a_newer_log_is_refused_and_left_alone(tmp_path: Path) -> None:
    """The lock is free afterwards."""
    store = open_store(tmp_path)
    append(store.tenant_for_write("t"), (0, NOW_MS, 1.0))
    store.close()
    path = tmp_path / "tenants/t/wal/0000000001.wal"
    whole = path.read_bytes()
    head = bytearray(whole[:20])
    head[4] = 9
    crc = google_crc32c.value(bytes(head))
    path.write_bytes(bytes(head) + crc.to_bytes(4, "little") + whole[24:])
    with pytest.raises(UnsupportedFormat, match="version 9"):
        open_store(tmp_path)
    path.write_bytes(whole)
    store = open_store(tmp_path)
    assert everything(store.tenant("t")) == bits([(0, NOW_MS, 1.0)])
    store.close()


def test_a_tenant_that_could_not_be_made_can_be_made_later(tmp_path: Path) -> None:
    """A first write that fails leaves an empty tenant at most."""
    files = FaultyFiles()
    store = open_store(tmp_path, files=files)
    db = store.tenant_for_write("t")
    for act in ("create", "write", "fdatasync", "rename"):
        files.fails = lambda what, act=act: what == act  # type: ignore[misc]
        with pytest.raises(OSError, match="injected"):
            append(db, (0, NOW_MS, 9.0))
        files.fails = lambda what: False
        assert everything(db) == {}
    assert append(db, (0, NOW_MS, 1.0)).samples == 1
    store.close()
    store = open_store(tmp_path)
    assert everything(store.tenant("t")) == bits([(0, NOW_MS, 1.0)])
    store.close()

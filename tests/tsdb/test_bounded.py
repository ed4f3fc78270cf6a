"""What memory and files are taken is bounded: silent series and idle tenants go, logs rest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from series.batch import SeriesBatch, build_batch
from series.labels import Labels
from tests.tsdb.databases import HOUR_MS, NOW_MS, append, bits, everything, open_store
from tsdb import arrays, idle, open_files
from tsdb.arrays import grown
from tsdb.db import Db, DbOptions
from tsdb.files import Files
from tsdb.store import Store

MINUTE_MS = 60_000
CHURN = DbOptions(min_silent_series=30, min_empty_series=30)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


def db_of(store: Store, name: str = "a") -> Db:
    db = store.tenant(name)
    assert db is not None
    return db


def pods(names: list[str], time_ms: int) -> SeriesBatch:
    """A sample of each of ten series of every pod."""
    return build_batch(
        (Labels.of({"__name__": "m", "pod": name, "row": str(row)}), [time_ms], [float(row)])
        for name in names
        for row in range(10)
    )


def churn(
    store: Store, clock: Clock, minutes: int, look: Callable[[], object] = lambda: None
) -> int:
    """Ten new series a minute, each with two samples, beside ten that stay; how many samples."""
    samples = 0
    for minute in range(minutes):
        clock.now_ms += MINUTE_MS
        batch = pods(["stays", f"p{minute}", f"p{minute + 1}"], clock.now_ms)
        samples += store.tenant_for_write("a").append(batch).result(30).samples
        store.maintain()
        look()
    return samples


def test_silent_series_leave_the_head_before_the_window_ends(tmp_path: Path) -> None:
    """With ten new series a minute those of some half an hour are in memory."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock, options=CHURN)
    most = [0]

    def look() -> None:
        most.append(db_of(store).stats().head_series)

    samples = churn(store, clock, 100, look)

    assert 160 < max(most) <= 380
    assert db_of(store).stats().seals >= 3
    assert sum(map(len, everything(db_of(store)).values())) == samples
    store.close()


def test_what_left_the_head_early_is_read_once_after_a_restart(tmp_path: Path) -> None:
    """The log still has samples that stand in blocks already; readers see each once."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock, options=CHURN)
    churn(store, clock, 50)
    before = everything(db_of(store))
    store.close()

    store = open_store(tmp_path, now_ms=clock, options=CHURN)

    assert everything(db_of(store)) == before
    assert db_of(store).stats().head_series < len(before)
    store.close()


def test_a_series_that_comes_back_goes_on(tmp_path: Path) -> None:
    """A series that had left the head is stored again, late samples of its silence too."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock, options=CHURN)
    churn(store, clock, 50)
    known = everything(db_of(store))
    row = Labels.of({"__name__": "m", "pod": "p1", "row": "3"})
    at_ms = max(known[row])

    for time_ms in (clock.now_ms, at_ms + 1, at_ms):
        batch = build_batch([(row, [time_ms], [3.0])])
        db_of(store).append(batch).result(30)

    assert everything(db_of(store))[row].keys() == known[row].keys() | {at_ms + 1, clock.now_ms}
    store.close()


def test_few_silent_series_wait_for_their_window(tmp_path: Path) -> None:
    """Where most series go on, nothing is sealed before its time."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock, options=CHURN)
    store.tenant_for_write("a").append(pods(list("abc"), clock.now_ms)).result(30)
    for _ in range(40):
        clock.now_ms += MINUTE_MS
        db_of(store).append(pods(["x", "y", "z", "a"], clock.now_ms)).result(30)
        store.maintain()

    assert db_of(store).stats().seals == 0
    store.close()


def test_silent_series_go_sooner_where_memory_for_series_is_short(tmp_path: Path) -> None:
    """With little memory left, three minutes of silence are enough."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock, options=replace(CHURN, max_used_share=0.0))
    most = [0]
    churn(store, clock, 20, lambda: most.append(db_of(store).stats().head_series))

    assert max(most) <= 110
    assert db_of(store).stats().seals >= 3
    store.close()


def test_new_series_are_refused_where_there_is_no_memory_for_them(tmp_path: Path) -> None:
    """Known ones are still stored, and new ones again when silent ones have gone."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock, options=CHURN)
    db = store.tenant_for_write("a")
    db.append(pods([f"x{n}" for n in range(10)], clock.now_ms)).result(30)
    store._machine.arena.table_capacity_bytes = 4096
    clock.now_ms += 4 * MINUTE_MS

    appended = db.append(pods(["x0", "new"], clock.now_ms)).result(30)
    assert (appended.samples, appended.refused) == (10, {"series-memory": 10})
    assert appended.refusals[0].detail.startswith("err-series-memory: no memory left")

    clock.now_ms += MINUTE_MS
    db.append(pods(["x0"], clock.now_ms)).result(30)
    store.maintain()
    store._machine.arena.table_capacity_bytes = 1 << 20
    assert db.append(pods(["new"], clock.now_ms)).result(30).samples == 10
    assert db.stats().head_series == 20
    store.close()


def test_what_is_known_of_series_is_counted(tmp_path: Path) -> None:
    """A head's part of the memory for tables grows with its series, and ends with it."""
    store = open_store(tmp_path)
    arena = store._machine.arena
    store.tenant_for_write("a").append(pods(["x"], NOW_MS)).result(30)
    small = db_of(store).stats().head_table_bytes
    db_of(store).append(pods([f"y{n}" for n in range(500)], NOW_MS)).result(30)

    assert db_of(store).stats().head_table_bytes == arena.table_bytes > small + 5000 * 60
    store.close()
    assert arena.table_bytes == 0


def close_idle(store: Store, clock: Clock) -> None:
    """Lets the time pass in which tenants are sealed and then closed."""
    for hours in (4, 1):
        clock.now_ms += hours * HOUR_MS
        store.maintain()
    assert not store.opened()


def test_idle_tenants_are_closed_and_open_again(tmp_path: Path) -> None:
    """Once all is in blocks and nobody asks; whoever asks again finds everything."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock)
    for name in "ab":
        append(store.tenant_for_write(name), (0, clock.now_ms, 1.0))
    clock.now_ms += 4 * HOUR_MS
    store.maintain()
    assert store.opened().keys() == {"a", "b"}
    clock.now_ms += HOUR_MS
    append(store.tenant_for_write("b"), (0, clock.now_ms, 2.0))
    store.maintain()

    assert store.opened().keys() == {"b"}
    assert everything(store.tenant("a")) == bits([(0, NOW_MS, 1.0)])
    append(store.tenant_for_write("a"), (0, clock.now_ms, 3.0))
    assert store.opened().keys() == {"a", "b"}
    store.close()


def test_a_tenant_with_samples_in_memory_stays_open(tmp_path: Path) -> None:
    """An idle one whose window has not ended yet is waited for."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock)
    append(store.tenant_for_write("a"), (0, clock.now_ms, 1.0))
    clock.now_ms += HOUR_MS
    store.maintain()
    assert store.opened().keys() == {"a"}
    store.close()


def test_reading_keeps_a_tenant_open(tmp_path: Path) -> None:
    """Who was asked for within the last half hour is not closed."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock)
    append(store.tenant_for_write("a"), (0, clock.now_ms, 1.0))
    for _ in range(4):
        clock.now_ms += 2 * HOUR_MS
        db_of(store)
        store.maintain()
        assert store.opened().keys() == {"a"}
    clock.now_ms += HOUR_MS
    store.maintain()
    assert not store.opened()
    store.close()


def test_counts_go_on_when_a_tenant_closes(tmp_path: Path) -> None:
    """What counts since the start never falls; what tells how things are now does."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock)
    append(store.tenant_for_write("a"), (0, clock.now_ms, 1.0), (1, clock.now_ms + HOUR_MS, 1.0))
    close_idle(store, clock)

    append(store.tenant_for_write("a"), (0, clock.now_ms, 2.0))
    close_idle(store, clock)

    (past,) = store.stats()
    assert (past.databases, past.head_series, past.blocks) == (0, 0, 0)
    assert (past.appended_samples, past.writes, past.seals) == (2, 2, 2)
    assert past.refused_samples == {"too-far-in-future": 1}
    store.close()


def test_a_write_to_a_database_that_was_closed_fails_and_a_new_one_takes_it(
    tmp_path: Path,
) -> None:
    """Who held on to it hears so and loses nothing."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock)
    held = store.tenant_for_write("a")
    append(held, (0, clock.now_ms, 1.0))
    close_idle(store, clock)

    with pytest.raises(OSError, match="closed"):
        append(held, (0, clock.now_ms, 2.0))
    append(store.tenant_for_write("a"), (0, clock.now_ms, 2.0))
    assert len(everything(store.tenant("a"))[Labels.of({"__name__": "m", "series": "000"})]) == 2
    store.close()


def test_a_use_at_the_last_moment_keeps_a_database_open(tmp_path: Path) -> None:
    """Between the look and the closing somebody may ask for it."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock)
    db = store.tenant_for_write("a")
    before_seconds = clock.now_ms / 1000 + 1
    assert db.is_unused(before_seconds)
    clock.now_ms += HOUR_MS
    assert store.tenant_for_write("a") is db

    assert not db.close_unused(before_seconds)
    append(db, (0, clock.now_ms, 1.0))
    store.close()


def test_logs_beyond_the_limit_let_go_of_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those written to longest ago; the next write begins a segment, and all is found again."""
    monkeypatch.setattr(idle, "_MOST_LOGS", 3)
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock)
    for number in range(8):
        clock.now_ms += 1
        append(store.tenant_for_write(f"t{number}"), (0, NOW_MS, 1.0))
    store.maintain()

    writing = {name for name, db in store.opened().items() if db.has_open_log}
    assert writing == {"t5", "t6", "t7"}
    append(store.tenant_for_write("t0"), (0, NOW_MS + 1, 2.0))
    store.close()
    store = open_store(tmp_path, now_ms=clock)
    assert everything(store.tenant("t0")) == bits([(0, NOW_MS, 1.0), (0, NOW_MS + 1, 2.0)])
    assert everything(store.tenant("t5")) == bits([(0, NOW_MS, 1.0)])
    store.close()


def test_files_that_are_kept_open_follow_the_limit_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An eighth of it, and never more than asked for."""
    monkeypatch.setattr(open_files, "open_files_limit", lambda: 64)
    assert (open_files.kept_open(256), open_files.kept_open(5)) == (8, 5)


def test_future_samples_poison_nothing(tmp_path: Path) -> None:
    """They are refused one by one; the same series go on, also after a restart, and seals wait."""
    clock = Clock()
    store = open_store(tmp_path, now_ms=clock)
    ahead = (clock.now_ms + 11 * MINUTE_MS, clock.now_ms + 10 * 8766 * HOUR_MS, 2**63 - 1)
    db = store.tenant_for_write("a")
    appended = append(db, (0, NOW_MS, 1.0), *((0, time_ms, 2.0) for time_ms in ahead))
    assert (appended.samples, appended.refused) == (1, {"too-far-in-future": 3})
    for time_ms in ahead:
        assert append(db, (1, time_ms, 3.0)).samples == 0
    assert append(db, (0, NOW_MS + 1, 4.0), (1, NOW_MS + 1, 5.0)).samples == 2
    store.maintain()
    assert db.stats().seals == 0
    store.close()

    store = open_store(tmp_path, now_ms=clock)
    assert append(db_of(store), (0, NOW_MS + 2, 6.0)).samples == 1
    wanted = [(0, NOW_MS, 1.0), (0, NOW_MS + 1, 4.0), (1, NOW_MS + 1, 5.0), (0, NOW_MS + 2, 6.0)]
    assert everything(db_of(store)) == bits(wanted)
    store.close()


class HookedFiles(Files):
    """Calls ``hook`` before a file takes its name."""

    def __init__(self) -> None:
        self.hook: Callable[[Path], object] = lambda _: None

    def rename(self, old: Path, new: Path) -> None:
        self.hook(new)
        super().rename(old, new)


def test_writes_go_on_while_a_seal_makes_its_manifest_durable(tmp_path: Path) -> None:
    """However long the disk takes; what is written then is read, and again after a restart."""
    clock = Clock()
    files = HookedFiles()
    store = open_store(tmp_path, files=files, now_ms=clock)
    db = store.tenant_for_write("a")
    old_ms = NOW_MS - 4 * HOUR_MS
    append(db, (0, old_ms, 1.0), (0, NOW_MS, 2.0))
    written: list[str] = []

    def write(path: Path) -> None:
        if path.name.startswith("manifest") and not written:
            written.append(path.name)
            append(db, (0, NOW_MS + 1, 3.0), (1, old_ms, 4.0))

    files.hook = write
    store.maintain()
    wanted = bits([(0, old_ms, 1.0), (0, NOW_MS, 2.0), (0, NOW_MS + 1, 3.0), (1, old_ms, 4.0)])
    assert written and db.stats().seals == 1
    assert everything(db) == wanted
    store.close()
    store = open_store(tmp_path, now_ms=clock)
    assert everything(db_of(store)) == wanted
    store.close()


@pytest.mark.parametrize(("large", "rows"), [(1 << 20, 10), (64, 4096)])
def test_arrays_grow_and_keep_what_they_hold(
    large: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they count as large or not; what is added is 0, and large ones grow only once."""
    monkeypatch.setattr(arrays, "_LARGE_BYTES", large)
    monkeypatch.setattr(arrays, "memory_bytes", lambda: 1 << 17)
    array = np.ones((4, 2), dtype=np.int32)
    assert grown(array, 4) is array
    larger = grown(array, 10)
    assert len(larger) == rows
    larger[4:10] = 2
    again = grown(larger, rows + 1)
    assert again[:4].all() and (again[4:10] == 2).all() and not again[10:].any()


def test_arrays_grow_where_address_space_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system refuses so much at once, they grow as small ones do."""
    monkeypatch.setattr(arrays, "_LARGE_BYTES", 8)
    copied = arrays._copied

    def refusing(array: np.ndarray, rows: int) -> np.ndarray:
        if rows > 6:
            raise MemoryError
        return copied(array, rows)

    monkeypatch.setattr(arrays, "_copied", refusing)
    assert len(grown(np.ones(4), 5)) == 6

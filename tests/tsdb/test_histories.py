"""Whatever happens to a database in whatever order, it reads as a dict would."""

import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.ports import Context, Hints
from tests.examples import examples
from tests.tsdb.blocks import rows_of
from tests.tsdb.contents import Content, Value, contents, values
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    Bits,
    FaultyFiles,
    append,
    bits,
    everything,
    labels_of,
    open_store,
)
from tsdb.db import Db, DbOptions
from tsdb.view.view import PartsSelection

_OPTIONS = DbOptions(
    block_range_ms=100_000, max_late_samples=4, min_empty_series=2, wal_segment_bytes=3000
)


class _Fail(NamedTuple):
    """The next act fails where the disk is asked for this."""

    act: str
    then_seals: bool


_late_or_not = st.tuples(
    st.integers(0, 3),
    st.integers(0, 40),
    st.one_of(st.sampled_from([1.0, 2.0, float("nan")]), values),
)
_appends = st.lists(_late_or_not, min_size=1, max_size=6)
_steps = st.lists(
    st.one_of(
        _appends,
        st.sampled_from(["restart", "maintain", "later", "hold"]),
        st.builds(
            _Fail,
            st.sampled_from(["create", "write", "fdatasync", "rename", "sync_directory", "unlink"]),
            st.booleans(),
        ),
    ),
    max_size=25,
)


def _between(db: Db, start_ms: int, end_ms: int) -> Bits:
    selection = db.view().resolve((), Hints(start_ms, end_ms))
    batch = selection.read(slice(0, selection.frame.size), start_ms, end_ms, Context())
    batch.check(rising=True)
    found: Bits = {}
    for row, labels in enumerate(selection.frame.all_labels()):
        inside = {t: v for t, v in contents(batch, row).items() if start_ms <= t <= end_ms}
        if inside:
            found[labels] = inside
    return found


def _rows(selection: PartsSelection) -> list[list[tuple[int, Content]]]:
    """All that a selection reads."""
    return rows_of(selection.read(slice(0, selection.frame.size), -(2**60), 2**60, Context()))


def _cut(held: Bits, start_ms: int, end_ms: int) -> Bits:
    inside = {
        labels: {t: v for t, v in row.items() if start_ms <= t <= end_ms}
        for labels, row in held.items()
    }
    return {labels: row for labels, row in inside.items() if row}


@examples(25)
@given(_steps, st.data())
def test_any_history_reads_as_the_first_of_each_instant(
    tmp_path_factory: pytest.TempPathFactory, steps: list[object], data: st.DataObject
) -> None:
    """Appends in any order, seals, failures of the disk and restarts; all of it, or any range."""
    directory = tmp_path_factory.mktemp("history")
    files = FaultyFiles()
    store = open_store(directory, options=_OPTIONS, files=files)
    base = NOW_MS - HOUR_MS
    stored: list[tuple[int, int, Value]] = []
    held: list[tuple[PartsSelection, list[list[tuple[int, Content]]]]] = []
    for step in steps:
        db = store.tenant_for_write("t")
        if step == "restart":
            held.clear()
            store.close()
            store = open_store(directory, options=_OPTIONS, files=files)
        elif step == "maintain":
            store.maintain()
        elif step == "later":
            base += 200_000
        elif step == "hold":
            selection = db.view().resolve((), Hints(-(2**60), 2**60))
            held.append((selection, _rows(selection)))
        elif isinstance(step, _Fail):
            files.fails = lambda what, act=step.act: what == act  # type: ignore[misc]
            try:
                if step.then_seals:
                    store.maintain()
                else:
                    append(db, (0, base + 410_000, 3.0))
                    stored.append((0, base + 410_000, 3.0))
            except (OSError, ExceptionGroup):
                pass
            files.fails = lambda what: False
        elif isinstance(step, list):
            samples = [(s, base + at * 10_000, value) for s, at, value in step]
            append(db, *samples)
            stored += samples
        if stored:
            db = store.tenant_for_write("t")
            assert everything(db) == bits(stored)
            start = NOW_MS - HOUR_MS + data.draw(st.integers(-1, 200)) * 10_000
            end = start + data.draw(st.integers(-3, 40)) * 10_000
            assert _between(db, start, end) == _cut(bits(stored), start, end)
        assert all(_rows(selection) == rows for selection, rows in held)
    store.close()


def _value(series: int, time_ms: int) -> float:
    return float(series * 1_000_003 + time_ms % 1_000_000_007)


def test_readers_never_see_pages_of_others(tmp_path: Path) -> None:
    """Views are read again and again while seals recycle their pages and retention drops blocks."""
    now = [NOW_MS]
    options = DbOptions(
        retention_ms=HOUR_MS, block_range_ms=100_000, max_late_samples=50, min_empty_series=4
    )
    store = open_store(tmp_path, options=options, now_ms=lambda: now[0], arena_pages=600)
    dbs = [store.tenant_for_write(name) for name in ("a", "b")]
    failures: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for db in dbs:
                selection = db.view().resolve((), Hints(0, 2**60))
                numbers = [int(labels.get("series")) for labels in selection.frame.all_labels()]
                for _ in range(3):
                    batch = selection.read(slice(0, len(numbers)), 0, 2**60, Context())
                    for row, number in enumerate(numbers):
                        times = batch.row_times_ms(row).tolist()
                        wanted = [_value(number, time_ms) for time_ms in times]
                        if batch.row_values(row).tolist() != wanted or times != sorted(set(times)):
                            failures.append((number, times))

    def write(db: Db, shift: int) -> None:
        try:
            for tick in range(100):
                time_ms = NOW_MS + 10_000 * tick + shift
                now[0] = max(now[0], time_ms)
                late_ms = time_ms - 10_000 * (tick % 40) - 1
                rows = [(s + tick // 10, time_ms) for s in range(20)] + [(7, late_ms)]
                append(db, *((s, at, _value(s, at)) for s, at in rows))
        except Exception as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(db, n)) for n, db in enumerate(dbs)]
    for thread in readers + writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        store.maintain()
    now[0] += 4 * HOUR_MS
    store.maintain()
    done.set()
    for thread in readers:
        thread.join()
    assert failures == []
    assert sum(db.stats().dropped_blocks for db in dbs) > 0
    assert labels_of(7) not in everything(dbs[0])
    store.close()


def test_writers_that_race_with_closing_hear_the_truth(tmp_path: Path) -> None:
    """Every future is resolved; what was acknowledged is there, what was refused is not."""
    for attempt in range(3):
        directory = tmp_path / str(attempt)
        store = open_store(directory)
        db = store.tenant_for_write("t")
        told: list[tuple[tuple[int, int, float], bool]] = []

        def write(number: int, db: Db = db, told: list[object] = told) -> None:  # type: ignore[assignment]
            for k in range(100_000):
                sample = (number, NOW_MS + k, float(k))
                try:
                    append(db, sample)
                except OSError:
                    told.append((sample, False))
                    return
                told.append((sample, True))

        writers = [threading.Thread(target=write, args=(n,)) for n in range(3)]
        for thread in writers:
            thread.start()
        while len(told) < 10 * attempt:
            pass
        store.close()
        for thread in writers:
            thread.join(30)
            assert not thread.is_alive()
        store = open_store(directory)
        assert everything(store.tenant("t")) == bits([one for one, stored in told if stored])
        store.close()

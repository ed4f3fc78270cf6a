"""Readers and writers that race with upkeep and with closing see what is true."""

import threading
from pathlib import Path

from series.ports import Context, Hints
from tests.tsdb.databases import HOUR_MS, NOW_MS, append, bits, everything, labels_of, open_store
from tsdb.db import Db, DbOptions


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

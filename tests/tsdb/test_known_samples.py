"""Writes of known series that come as columns: stored and told as if each had come as a batch."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from series.batch import known_batch
from series.known import KnownSamples
from series.ports import Appended
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    FaultyFiles,
    append,
    batch_of,
    bits,
    everything,
    open_store,
)
from tsdb.admission import DUPLICATE_TIMESTAMP, TOO_FAR_IN_FUTURE, TOO_OLD, SeriesLimit
from tsdb.db import Db, DbOptions
from tsdb.rounds import Result
from tsdb.store import Store

Sample = tuple[int, int, float]
WAIT_S = 30


def tenant(store: Store, series: int = 3) -> Db:
    """A database that knows *series* series by the numbers 0, 1, ..."""
    db = store.tenant_for_write("t")
    append(db, *((number, NOW_MS - HOUR_MS, 0.0) for number in range(series)))
    return db


def columns(db: Db, *writes: list[Sample]) -> KnownSamples:
    """*writes* by the numbers that the series have in *db*."""
    samples = [one for write in writes for one in write]
    times_ms = np.array([time_ms for _, time_ms, _ in samples], dtype=np.int64)
    known = db.known
    ids, _ = db._state.head.registry.look_up(batch_of(*samples))
    return KnownSamples(
        known,
        ids,
        times_ms,
        np.array([value for _, _, value in samples]).view(np.uint64),
        int(times_ms.min()),
        int(times_ms.max()),
        tuple(np.cumsum([len(write) for write in writes]).tolist()),
    )


def store_known(db: Db, sent: KnownSamples) -> Result:
    """What becomes of *sent*, waited for."""
    told: list[Result] = []
    done = threading.Event()

    def tell(result: Result) -> None:
        told.append(result)
        done.set()

    result = db.append_known(sent, tell)
    if result is not None:
        return result
    assert done.wait(WAIT_S)
    return told[0]


@pytest.mark.parametrize("sync_ms", [0, 60_000])
def test_they_are_stored_and_found_again(tmp_path: Path, sync_ms: int) -> None:
    """All at once, in every mode of the log; a list without refusals is empty."""
    options = DbOptions(wal_sync_ms=sync_ms)
    store = open_store(tmp_path, options=options)
    db = tenant(store)
    writes = [[(0, NOW_MS, 1.0), (2, NOW_MS, 2.0)], [], [(1, NOW_MS, 3.0), (0, NOW_MS + 1, 4.0)]]
    before = replace(db._state.counters)

    assert store_known(db, columns(db, *writes)) == []

    after = db._state.counters
    assert after.appended - before.appended == 4
    assert (after.writes - before.writes, after.rounds - before.rounds) == (3, 1)
    old = [(number, NOW_MS - HOUR_MS, 0.0) for number in range(3)]
    expected = bits([*old, *(one for write in writes for one in write)])
    assert everything(db) == expected
    store.close()
    store = open_store(tmp_path, options=options)
    assert everything(store.tenant("t")) == expected
    store.close()


REFUSED: list[list[Sample]] = [
    [(0, NOW_MS, 1.0), (1, NOW_MS, 1.0)],
    [(0, NOW_MS, 2.0), (1, NOW_MS, 1.0), (2, NOW_MS, 5.0)],
    [(2, NOW_MS, 6.0), (2, NOW_MS, 5.0), (0, NOW_MS, 7.0)],
    [],
]
OUTSIDE: list[list[Sample]] = [
    *REFUSED,
    [(0, NOW_MS + 2 * HOUR_MS, 2.0), (1, NOW_MS - 20 * HOUR_MS, 1.0), (2, NOW_MS + 1, 5.0)],
]


@pytest.mark.parametrize("writes", [REFUSED, OUTSIDE])
def test_each_write_is_told_of_its_own_refusals(tmp_path: Path, writes: list[list[Sample]]) -> None:
    """Conflicts, and times out of bounds, as if the writes had come as batches one by one."""
    options = DbOptions(retention_ms=10 * HOUR_MS)
    found = []
    for name in ("columns", "batches"):
        store = open_store(tmp_path / name, options=options)
        db = tenant(store)
        sent = columns(db, *writes)
        if name == "columns":
            told = store_known(db, sent)
            assert isinstance(told, list)
        else:
            told = [
                db.append(replace(known_batch(sent, begin, end), known=None)).result(WAIT_S)
                for begin, end in zip((0, *sent.ends), sent.ends, strict=False)
            ]
        found.append((told, everything(db), dict(db._state.counters.refused)))
        store.close()
    assert found[0] == found[1]
    reasons = set(found[0][2])
    assert DUPLICATE_TIMESTAMP in reasons
    assert (writes is REFUSED) or reasons >= {TOO_OLD, TOO_FAR_IN_FUTURE}


def test_numbers_of_an_earlier_numbering_are_not_trusted(tmp_path: Path) -> None:
    """Where the head has forgotten series since, the keys that were known tell which are meant."""
    now_ms = [NOW_MS]
    options = DbOptions(min_empty_series=1, retention_ms=100 * HOUR_MS)
    store = open_store(tmp_path, options=options, now_ms=lambda: now_ms[0])
    db = tenant(store, 9)
    sent = columns(db, [(8, NOW_MS + 6 * HOUR_MS, 1.0)], [(7, NOW_MS + 6 * HOUR_MS, 2.0)])
    now_ms[0] += 6 * HOUR_MS
    append(db, (3, now_ms[0], 5.0))
    store.maintain()
    assert db.known.numbering is not sent.known.numbering

    assert store_known(db, sent) == [Appended(1), Appended(1)]

    old = [(number, NOW_MS - HOUR_MS, 0.0) for number in range(9)]
    new = [(3, now_ms[0], 5.0), (8, now_ms[0], 1.0), (7, now_ms[0], 2.0)]
    assert everything(db) == bits([*old, *new])
    store.close()


@pytest.mark.parametrize("act", ["write", "fdatasync"])
def test_a_refused_act_of_the_disk_is_told_to_all(tmp_path: Path, act: str) -> None:
    """Nothing of the round counts, and the next one is stored."""
    files = FaultyFiles()
    store = open_store(tmp_path, files=files)
    db = tenant(store)
    before = everything(db)
    files.fails = lambda one: one == act

    assert isinstance(store_known(db, columns(db, [(0, NOW_MS, 1.0)], [(1, NOW_MS, 1.0)])), OSError)

    files.fails = lambda one: False
    assert everything(db) == before
    assert store_known(db, columns(db, [(0, NOW_MS, 2.0)])) == []
    store.close()


def test_a_closed_database_says_so(tmp_path: Path) -> None:
    """By the error that other writes get."""
    store = open_store(tmp_path)
    db = tenant(store)
    sent = columns(db, [(0, NOW_MS, 1.0)])
    db.refuse_writes()
    assert isinstance(store_known(db, sent), OSError)
    store.close()


def test_known_series_are_stored_beyond_the_limit(tmp_path: Path) -> None:
    """As they are known."""
    store = open_store(tmp_path)
    db = tenant(store)
    db.series_limit = SeriesLimit(1)
    assert store_known(db, columns(db, [(2, NOW_MS, 1.0)])) == []
    assert append(db, (5, NOW_MS, 1.0)).samples == 0
    store.close()

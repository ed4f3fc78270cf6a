"""A database stores what it acknowledges, refuses by name, and seals without a trace."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from series.batch import STALE_NAN, SeriesBatch, build_batch
from series.labels import Labels
from series.metadata import Metadata
from series.ports import Appended, Context, Hints
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    FaultyFiles,
    append,
    batch_of,
    bits,
    everything,
    labels_of,
    open_store,
)
from tsdb.admission import go_g
from tsdb.db import Db, DbOptions
from tsdb.store import Store

MakeStore = Callable[..., Store]


@pytest.fixture
def make_store(tmp_path: Path) -> "MakeStore":
    def make(**given: object) -> Store:
        return open_store(tmp_path / "data", **given)  # type: ignore[arg-type]

    return make


def _db(store: Store) -> Db:
    return store.tenant_for_write("default")


def test_every_bit_of_a_value_comes_back(make_store: MakeStore) -> None:
    """NaN payloads, the stale marker, infinities, minus zero and denormals."""
    store = make_store()
    payload = float(np.uint64(0x7FF8_0000_DEAD_BEEF).view(np.float64))
    values = [STALE_NAN, payload, float("inf"), float("-inf"), -0.0, 5e-324, 1.5]
    samples = [(0, NOW_MS + at, value) for at, value in enumerate(values)]
    assert append(_db(store), *samples) == Appended(7)
    assert everything(_db(store)) == bits(samples)
    store.close()


def test_rows_of_many_samples_and_shared_times(make_store: MakeStore) -> None:
    """Rows may share one stretch of times and hold any number of samples, none included."""
    store = make_store()
    rows = build_batch([(labels_of(n), [], []) for n in range(3)])
    batch = SeriesBatch(
        values=np.arange(200.0),
        times_ms=NOW_MS - np.arange(100)[::-1],
        offsets=np.array([0, 100, 100, 200]),
        time_starts=np.array([0, 0, 0]),
        keys=rows.keys,
        key_starts=rows.key_starts,
        key_ends=rows.key_ends,
    )
    assert _db(store).append(batch).result() == Appended(200)
    times = batch.times_ms.tolist()
    expected = [(0, t, float(n)) for n, t in enumerate(times)]
    expected += [(2, t, float(n + 100)) for n, t in enumerate(times)]
    assert everything(_db(store)) == bits(expected)
    assert labels_of(1) not in everything(_db(store))
    assert _db(store).stats().head_series == 2
    store.close()


def test_a_repeated_request_is_stored_once(make_store: MakeStore) -> None:
    """Exact duplicates are acknowledged, within a request and across requests."""
    store = make_store()
    samples = [(0, NOW_MS, 1.0), (0, NOW_MS, 1.0), (1, NOW_MS, float("nan"))]
    assert append(_db(store), *samples) == Appended(3)
    assert append(_db(store), *samples) == Appended(3)
    assert everything(_db(store)) == bits(samples)
    store.close()


def test_a_conflicting_value_is_refused_by_name(make_store: MakeStore) -> None:
    """The refusal names series, time and both values; the rest of the request is stored."""
    store = make_store()
    append(_db(store), (0, NOW_MS, 1.0))
    appended = append(_db(store), (0, NOW_MS, 2.5), (1, NOW_MS, 3.0), (1, NOW_MS, 4.0))
    assert appended.samples == 1
    assert appended.refused == {"duplicate-timestamp": 2}
    first, second = appended.refusals
    assert first.labels == labels_of(0) and first.time_ms == NOW_MS
    assert first.detail == (
        f"duplicate sample for timestamp {NOW_MS}; overrides not allowed: existing 1, new value 2.5"
    )
    assert second.labels == labels_of(1)
    assert "existing 3, new value 4" in second.detail
    assert everything(_db(store)) == bits([(0, NOW_MS, 1.0), (1, NOW_MS, 3.0)])
    assert _db(store).stats().refused_samples == {"duplicate-timestamp": 2}
    store.close()


def test_times_out_of_bounds_are_refused_and_harm_nobody(make_store: MakeStore) -> None:
    """Too old and too far ahead are named; the next write of the same series succeeds."""
    store = make_store(options=DbOptions(retention_ms=HOUR_MS))
    appended = append(
        _db(store),
        (0, NOW_MS - HOUR_MS - 1, 1.0),
        (0, NOW_MS - HOUR_MS, 2.0),
        (0, NOW_MS + 600_000, 3.0),
        (0, NOW_MS + 600_001, 4.0),
        (0, 2**63 - 1, 5.0),
        (0, -(2**63), 6.0),
    )
    assert appended.samples == 2
    assert appended.refused == {"too-old": 2, "too-far-in-future": 2}
    details = {refusal.detail for refusal in appended.refusals}
    assert details == {"too old sample", "out of bounds: timestamp is too far in the future"}
    assert append(_db(store), (0, NOW_MS, 7.0)).samples == 1
    kept = [(0, NOW_MS - HOUR_MS, 2.0), (0, NOW_MS + 600_000, 3.0), (0, NOW_MS, 7.0)]
    assert everything(_db(store)) == bits(kept)
    store.close()


def test_only_ten_refusals_are_shown_and_all_are_counted(make_store: MakeStore) -> None:
    """A request of nothing but refused samples makes no tenant."""
    store = make_store()
    appended = append(_db(store), *((n, 0, 1.0) for n in range(50)))
    assert appended.samples == 0 and appended.refused == {"too-old": 50}
    assert len(appended.refusals) == 10
    store.close()
    assert make_store().tenants() == []


def test_without_retention_every_time_is_kept(make_store: MakeStore) -> None:
    """Retention 0 keeps samples of 1970 and before, and seals them."""
    store = make_store(options=DbOptions(retention_ms=0))
    samples = [(0, 0, 1.0), (0, -5, 2.0), (0, NOW_MS, 3.0), (0, NOW_MS - 9 * HOUR_MS, 4.0)]
    for sample in samples:
        append(_db(store), sample)
    store.maintain()
    assert _db(store).stats().blocks > 0
    assert everything(_db(store)) == bits(samples)
    store.close()


def test_metadata_is_kept_across_restarts_and_seals(make_store: MakeStore) -> None:
    """The last word about a metric counts, from the log or from the manifest."""
    store = make_store()
    told = {"a": Metadata("counter", "Ä help", "s"), "b": Metadata("gauge", "", "")}
    _db(store).put_metadata(told).result()
    append(_db(store), (0, NOW_MS - 5 * HOUR_MS, 1.0), (0, NOW_MS, 1.0))
    store.close()
    store = make_store()
    assert _db(store).metadata() == told
    told["a"] = Metadata("counter", "new", "")
    _db(store).put_metadata({"a": told["a"]}).result()
    store.maintain()
    store.close()
    store = make_store()
    assert _db(store).metadata() == told
    store.close()


def test_a_view_does_not_change(make_store: MakeStore) -> None:
    """What a reader resolved before an append, a seal and a drop reads the same after it."""
    now = [NOW_MS]
    store = make_store(now_ms=lambda: now[0], options=DbOptions(retention_ms=10 * HOUR_MS))
    samples = [(s, NOW_MS - 8 * HOUR_MS + k * 60_000, float(k)) for k in range(200) for s in (0, 1)]
    append(_db(store), *samples)
    view = _db(store).view()
    selection = view.resolve((), Hints(0, 2**60))

    def read() -> list[int]:
        batch = selection.read(slice(0, 2), 0, 2**60, Context())
        return [*batch.times_ms.tolist(), *batch.values.view(np.uint64).tolist()]

    before = read()
    append(_db(store), (0, NOW_MS, 1.0), (2, NOW_MS, 1.0), (1, NOW_MS - 7 * HOUR_MS - 1, 1.0))
    assert read() == before
    store.maintain()
    assert _db(store).stats().blocks > 0
    assert read() == before
    now[0] += 100 * HOUR_MS
    store.maintain()
    assert read() == before
    assert _db(store).stats().blocks == 0
    store.close()


def test_late_samples_of_sealed_times_come_to_light(make_store: MakeStore) -> None:
    """They are accepted without a look at the blocks; where they collide the first one stays."""
    store = make_store()
    old = [(0, NOW_MS - 8 * HOUR_MS + k * 1000, float(k)) for k in range(100)]
    append(_db(store), *old, (0, NOW_MS, 0.0))
    store.maintain()
    sealed = _db(store).stats()
    assert sealed.block_samples == 100 and sealed.blocks == 1
    late = [(0, NOW_MS - 8 * HOUR_MS + 500, 7.0), (1, NOW_MS - 8 * HOUR_MS, 8.0)]
    collides = (0, NOW_MS - 8 * HOUR_MS, 99.0)
    assert append(_db(store), *late, collides).samples == 3
    expected = bits([*old, (0, NOW_MS, 0.0), *late])
    assert everything(_db(store)) == expected
    store.close()
    store = make_store()
    assert everything(_db(store)) == expected
    store.close()


def test_many_late_samples_are_sealed_at_once(make_store: MakeStore) -> None:
    """They go to a late block without waiting for the window."""
    store = make_store(options=DbOptions(max_late_samples=50))
    append(_db(store), (0, NOW_MS - 8 * HOUR_MS, 1.0), (0, NOW_MS, 0.0))
    store.maintain()
    late = [(1, NOW_MS - 7 * HOUR_MS + k, float(k)) for k in range(100)]
    append(_db(store), *late)
    _db(store).maintain()
    stats = _db(store).stats()
    assert (stats.head_late_samples, stats.blocks) == (0, 2)
    expected = bits([(0, NOW_MS - 8 * HOUR_MS, 1.0), (0, NOW_MS, 0.0), *late])
    assert everything(_db(store)) == expected
    store.close()
    store = make_store()
    assert everything(_db(store)) == expected
    store.close()


def test_a_window_is_sealed_half_a_window_after_its_end(make_store: MakeStore) -> None:
    """Two hours are sealed once a sample three hours after their start is there."""
    start = NOW_MS - NOW_MS % (2 * HOUR_MS) - 10 * HOUR_MS
    store = make_store()
    append(_db(store), (0, start + 1, 1.0), (0, start + 3 * HOUR_MS - 1, 1.0))
    store.maintain()
    assert _db(store).stats().blocks == 0
    append(_db(store), (0, start + 3 * HOUR_MS, 1.0))
    store.maintain()
    stats = _db(store).stats()
    assert (stats.blocks, stats.block_samples) == (1, 1)
    store.close()


def test_an_idle_tenant_is_sealed_by_the_clock(make_store: MakeStore) -> None:
    """Where nobody writes any more, the window's end is judged by the time of day."""
    now = [NOW_MS]
    store = make_store(now_ms=lambda: now[0])
    append(_db(store), (0, NOW_MS, 1.0))
    store.maintain()
    assert _db(store).stats().blocks == 0
    now[0] += 4 * HOUR_MS
    store.maintain()
    stats = _db(store).stats()
    assert (stats.blocks, stats.head_samples, stats.wal_segments) == (1, 0, 0)
    assert everything(_db(store)) == bits([(0, NOW_MS, 1.0)])
    store.close()


def test_a_full_arena_is_sealed_early(make_store: MakeStore) -> None:
    """Above the share that options allow everything is sealed; a full one refuses, then heals."""
    store = make_store(arena_pages=64)
    db = _db(store)
    append(db, *((n, NOW_MS, 1.0) for n in range(50)))
    refused: Future[Appended] = db.append(batch_of(*((n, NOW_MS + 1, 1.0) for n in range(100))))
    with pytest.raises(OSError, match="head is full"):
        refused.result()
    store.maintain()
    assert db.stats().blocks == 1
    db.view()
    assert append(db, *((n, NOW_MS + 1, 1.0) for n in range(50))).samples == 50
    assert db.stats().head_samples == 50
    store.close()


def test_a_failed_seal_loses_nothing_and_is_repeated(make_store: MakeStore) -> None:
    """Whatever act of it fails; late samples that came meanwhile are sealed with the rest."""
    files = FaultyFiles()
    store = make_store(files=files)
    db = _db(store)
    samples = [(0, NOW_MS - 8 * HOUR_MS, 1.0), (0, NOW_MS, 2.0)]
    append(db, *samples)
    for at, act in enumerate(["create", "write", "fdatasync", "rename", "sync_directory"]):
        files.fails = lambda what, act=act: what == act  # type: ignore[misc]
        with pytest.raises(ExceptionGroup):
            store.maintain()
        files.fails = lambda what: False
        assert everything(db) == bits(samples)
        samples.append((0, NOW_MS - 8 * HOUR_MS + 10 + at, 3.0))
        assert append(db, samples[-1]).samples == 1
    assert db.stats().seal_failures == 5
    store.maintain()
    assert (db.stats().blocks, db.stats().block_samples) == (1, 6)
    assert everything(db) == bits(samples)
    store.close()
    store = make_store()
    assert everything(_db(store)) == bits(samples)
    store.close()


def test_series_that_ended_are_forgotten(make_store: MakeStore) -> None:
    """After a seal the head knows only the living; the ended ones are read from blocks."""
    store = make_store(options=DbOptions(min_empty_series=10))
    db = _db(store)
    ended = [(n, NOW_MS - 8 * HOUR_MS, float(n)) for n in range(30)]
    append(db, *ended)
    living = [(n, NOW_MS, float(n)) for n in (5, 40)]
    append(db, *living)
    store.maintain()
    assert db.stats().head_series == 2
    more = [(n, NOW_MS + 1, float(n)) for n in (40, 5, 6)]
    append(db, *more)
    expected = bits([*ended, *living, *more])
    assert everything(db) == expected
    store.close()
    store = make_store()
    assert everything(_db(store)) == expected
    store.close()


@pytest.mark.parametrize(
    ("segment_bytes", "act"),
    [(1 << 20, "write"), (1 << 20, "fdatasync")]
    + [(1, act) for act in ("create", "write", "fdatasync", "sync_directory")],
)
def test_failed_writes_are_not_stored_and_later_ones_are(
    make_store: MakeStore, segment_bytes: int, act: str
) -> None:
    """Also where the failed ones brought new series, and after a restart."""
    files = FaultyFiles()
    store = make_store(files=files, options=DbOptions(wal_segment_bytes=segment_bytes))
    db = _db(store)
    kept = [(0, NOW_MS, 1.0)]
    append(db, *kept)
    for n in range(3):
        files.fails = lambda what: what in (act, "truncate", "unlink")
        with pytest.raises(OSError, match="injected"):
            append(db, (0, NOW_MS + 1 + n, 9.0), (10 + n, NOW_MS, 9.0))
        files.fails = lambda what: False
        assert everything(db) == bits(kept)
        kept += [(10 + n, NOW_MS, 2.0), (0, NOW_MS + 1 + n, 3.0)]
        assert append(db, *kept[-2:]).samples == 2
    store.close()
    store = make_store()
    assert everything(_db(store)) == bits(kept)
    store.close()


def test_writers_and_a_reader_at_once(make_store: MakeStore) -> None:
    """Two writers and background seals: a reader always sees whole requests, at the end all."""
    store = make_store(options=DbOptions(wal_segment_bytes=20_000))
    db = _db(store)
    rounds, width = 120, 20
    start = NOW_MS - 12 * HOUR_MS

    def write(writer: int) -> None:
        for k in range(rounds):
            rows = ((writer * width + n, start + k * 300_000, float(k)) for n in range(width))
            assert append(db, *rows).samples == width

    writers = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        store.maintain()
        held = everything(db)
        for writer in range(2):
            rows = [held.get(labels_of(writer * width + n), {}) for n in range(width)]
            assert len({tuple(row.items()) for row in rows}) == 1
    for thread in writers:
        thread.join()
    store.maintain()
    expected = bits(
        [(s, start + k * 300_000, float(k)) for k in range(rounds) for s in range(2 * width)]
    )
    assert everything(db) == expected
    store.close()
    store = make_store()
    assert everything(_db(store)) == expected
    assert _db(store).stats().blocks > 0
    store.close()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"), (0.0, "0"), (-0.0, "-0"), (1.5, "1.5"), (100000.0, "100000"),
        (1e6, "1e+06"), (1234567.0, "1.234567e+06"), (0.0001, "0.0001"), (0.00001, "1e-05"),
        (1e100, "1e+100"), (float("nan"), "NaN"), (float("-inf"), "-Inf"), (-12.25, "-12.25"),
    ],
)  # fmt: skip
def test_values_in_texts_are_printed_as_go_does(value: float, text: str) -> None:
    """The form of %g."""
    assert go_g(value) == text


def test_labels_of_a_refusal_are_those_of_its_series(make_store: MakeStore) -> None:
    """They come from the key as it was sent."""
    store = make_store()
    labels = Labels.of({"__name__": "ü", "a": "b"})
    batch = build_batch([(labels_of(0), [NOW_MS], [1.0]), (labels, [0], [1.0])])
    (refusal,) = _db(store).append(batch).result().refusals
    assert refusal.labels == labels
    store.close()

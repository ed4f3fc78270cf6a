"""Odd senders, odd times and little memory: nobody else is harmed by them."""

import gc
import threading
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from series.batch import SeriesBatch
from series.ports import Appended, Context, Hints
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    append,
    batch_of,
    bits,
    everything,
    open_store,
)
from tests.tsdb.heads import append_to, new_head
from tsdb.db import Db, DbOptions
from tsdb.head.arena import TICK_OWNER, Arena, Epoch
from tsdb.store import Store

_OLD_MS = NOW_MS - 8 * HOUR_MS


def _db(store: Store) -> Db:
    return store.tenant_for_write("t")


def _maintained(store: Store) -> None:
    """A round of background work, which has to end."""
    work = threading.Thread(target=store.maintain, daemon=True)
    work.start()
    work.join(20)
    assert not work.is_alive(), "a round of background work goes on for ever"


def _keyed(key: bytes) -> SeriesBatch:
    good = batch_of((0, NOW_MS, 1.0))
    return SeriesBatch(
        good.values,
        good.times_ms,
        good.offsets,
        good.time_starts,
        np.frombuffer(key, dtype=np.uint8),
        np.array([0]),
        np.array([len(key)]),
    )


@pytest.mark.parametrize("key", [b"\x0b\x02", b"\x0a\x06\x0a\x01a\x12\x01\xff"])
def test_a_malformed_key_fails_alone(tmp_path: Path, key: bytes) -> None:
    """Whoever waits for the same round is served, and the labels of later series are their own."""
    store = open_store(tmp_path)
    db = _db(store)
    for number in range(3):
        with mock.patch.object(store._committer, "wake"):
            bad = db.append(_keyed(key))
            good = db.append(batch_of((number, NOW_MS, float(number))))
        db._entrance.commit_waiting()
        with pytest.raises(ValueError, match="malformed series key"):
            bad.result(0)
        assert good.result(0) == Appended(1)
    expected = bits([(n, NOW_MS, float(n)) for n in range(3)])
    assert everything(db) == expected
    store.close()
    store = open_store(tmp_path)
    assert everything(_db(store)) == expected
    store.close()


def test_a_batch_of_nothing_is_stored_at_once(tmp_path: Path) -> None:
    """It makes no tenant, and neither does a series without a sample."""
    store = open_store(tmp_path)
    assert _db(store).append(batch_of()).result(5) == Appended(0)
    assert _db(store).put_metadata({}).result(5) == Appended(0)
    assert _db(store).stats().head_series == 0
    store.close()
    assert not (tmp_path / "tenants").exists()


def test_many_samples_out_of_order_within_the_window_are_sealed(tmp_path: Path) -> None:
    """A sender that sends the newest first: more late samples than may be, none of them sealed."""
    store = open_store(tmp_path, options=DbOptions(max_late_samples=3))
    db = _db(store)
    samples = [(0, _OLD_MS, 1.0), (0, NOW_MS, 0.0)]
    append(db, *samples)
    _maintained(store)
    samples += [(n % 2, NOW_MS - 100 - k, 1.0) for k in range(10) for n in range(2)]
    append(db, *samples[2:])
    _maintained(store)
    assert db.stats().head_late_samples <= 3
    assert everything(db) == bits(samples)
    store.close()
    store = open_store(tmp_path)
    assert everything(_db(store)) == bits(samples)
    store.close()


def test_the_first_window_may_be_all_out_of_order(tmp_path: Path) -> None:
    """Nothing was ever sealed before."""
    store = open_store(tmp_path, options=DbOptions(max_late_samples=3))
    samples = [(0, NOW_MS - k, 1.0) for k in range(10)]
    append(_db(store), *samples)
    _maintained(store)
    assert _db(store).stats().head_late_samples == 0
    assert everything(_db(store)) == bits(samples)
    store.close()


def test_a_tenant_that_only_sent_late_samples_is_sealed_when_it_is_idle(tmp_path: Path) -> None:
    """Its log does not stay for ever."""
    now = [NOW_MS]
    store = open_store(tmp_path, now_ms=lambda: now[0])
    samples = [(0, _OLD_MS, 1.0), (0, NOW_MS, 2.0)]
    append(_db(store), *samples)
    now[0] += 4 * HOUR_MS
    _maintained(store)
    samples.append((1, _OLD_MS, 3.0))
    append(_db(store), samples[-1])
    _maintained(store)
    assert _db(store).stats().head_late_samples == 1
    now[0] += HOUR_MS
    _maintained(store)
    stats = _db(store).stats()
    assert (stats.head_late_samples, stats.wal_segments) == (0, 0)
    assert everything(_db(store)) == bits(samples)
    store.close()


def test_a_range_that_ends_before_what_is_sealed_reads_its_late_samples(tmp_path: Path) -> None:
    """Also where a page holds samples on both sides of the seal."""
    store = open_store(tmp_path)
    db = _db(store)
    start = NOW_MS - NOW_MS % (2 * HOUR_MS) - 4 * HOUR_MS
    samples = [(0, start + k * 1000, float(k)) for k in range(-30, 30)]
    append(db, *samples, (0, start + HOUR_MS, 0.0))
    _maintained(store)
    assert db.stats().block_samples == 30
    append(db, (1, start - 20_000, 5.0))
    for end in range(start - 30_000, start + 3000, 1000):
        selection = db.view().resolve((), Hints(start - 30_000, end))
        batch = selection.read(slice(0, selection.frame.size), start - 30_000, end, Context())
        batch.check(rising=True)
        wanted = [one for one in [*samples, (1, start - 20_000, 5.0)] if one[1] <= end]
        assert batch.sample_count == len(wanted)
    store.close()


def test_any_time_that_a_number_can_be(tmp_path: Path) -> None:
    """Without retention times reach back to -2**53 ms; beyond, and in the future, is refused."""
    store = open_store(tmp_path, options=DbOptions(retention_ms=0))
    times = [-(2**63), -(2**53) - 1, -(2**53), -1, 0, NOW_MS, NOW_MS + 600_001, 2**63 - 1]
    appended = append(_db(store), *((n, time_ms, 1.0) for n, time_ms in enumerate(times)))
    assert appended.refused == {"too-old": 2, "too-far-in-future": 2}
    kept = [(n, times[n], 1.0) for n in range(2, 6)]
    _maintained(store)
    assert everything(_db(store)) == bits(kept)
    assert _db(store).stats().blocks == 3
    store.close()
    store = open_store(tmp_path)
    assert everything(_db(store)) == bits(kept)
    store.close()


def test_a_write_leaves_no_more_memory_taken_than_it_needs(tmp_path: Path) -> None:
    """What was reserved for the worst case is free for other tenants afterwards."""
    store = open_store(tmp_path, arena_pages=1000)
    append(_db(store), *((n % 10, NOW_MS + n, 1.0) for n in range(900)))
    for name in ("u", "v"):
        append(store.tenant_for_write(name), *((n % 10, NOW_MS + n, 1.0) for n in range(800)))
    assert _db(store).head_pages == 20
    store.close()


def test_a_head_without_room_for_a_request_is_sealed(tmp_path: Path) -> None:
    """Also where the memory is not nearly as full as would call for it otherwise."""
    store = open_store(tmp_path, arena_pages=300)
    db = _db(store)
    samples = [(n, NOW_MS, 1.0) for n in range(150)]
    append(db, *samples)
    large = [(n, NOW_MS + 1, 1.0) for n in range(150, 350)]
    with pytest.raises(OSError, match="head is full"):
        append(db, *large)
    _maintained(store)
    db.view()
    assert append(db, *large).samples == 200
    assert everything(db) == bits([*samples, *large])
    store.close()


def test_memory_that_readers_hold_does_not_make_seals_go_on_for_ever(tmp_path: Path) -> None:
    """One seal a round at most, although the memory stays taken."""
    store = open_store(tmp_path, arena_pages=100)
    db = _db(store)
    append(db, *((n, NOW_MS, 1.0) for n in range(80)))
    held = db.view()
    append(db, (1, NOW_MS + 1, 1.0))
    for number in range(1, 4):
        _maintained(store)
        assert db.stats().seals == number
        append(db, (1, NOW_MS + 1 + number, 1.0))
    assert held is not None
    store.close()


def test_a_time_page_that_was_given_back_belongs_to_nobody() -> None:
    """Else a hint to it could take it for its own while another head begins to use it."""
    arena = Arena(512)
    head = new_head(arena, 2)
    append_to(head, [(s, t, 1.0) for t in range(100) for s in range(2)])
    assert np.count_nonzero(arena.ticks[:, TICK_OWNER]) == 2
    head.hide_sealed(head.freeze(100), 100)
    head.drop_hidden(0)
    assert not arena.ticks[:, TICK_OWNER].any()


def test_a_reader_may_stay_for_very_many_seals() -> None:
    """Letting go of it then frees all that was dropped meanwhile, without a deep recursion."""
    arena = Arena(64)
    first = last = Epoch(arena)
    none = np.zeros(0, dtype=np.int32)
    for _ in range(20_000):
        last = last.end(none, none)
    last = last.end(arena.take_value_pages(5), arena.take_time_pages(5))
    assert arena.used_share > 0
    del first
    gc.collect()
    assert arena.used_share == 0


def test_estimates_do_not_shrink_because_of_one_late_sample(tmp_path: Path) -> None:
    """A sample of last week does not make today's ten thousand look like a hundred."""
    store = open_store(tmp_path)
    db = _db(store)
    append(db, *((s, NOW_MS - HOUR_MS + k * 1000, 1.0) for k in range(1000) for s in range(10)))
    append(db, (0, _OLD_MS, 1.0))
    store.maintain()
    append(db, (0, NOW_MS - 200 * HOUR_MS, 1.0))
    hour = Hints(NOW_MS - HOUR_MS, NOW_MS)
    assert 9_000 <= db.view().resolve((), hour).estimated_samples() <= 11_000
    half = Hints(NOW_MS - HOUR_MS, NOW_MS - HOUR_MS + 500_000)
    assert 4_000 <= db.view().resolve((), half).estimated_samples() <= 6_000
    old = Hints(NOW_MS - 300 * HOUR_MS, NOW_MS - 100 * HOUR_MS)
    assert 1 <= db.view().resolve((), old).estimated_samples() <= 10
    store.close()


def test_blocks_of_a_tenant_that_nobody_asks_for_are_dropped_too(tmp_path: Path) -> None:
    """Retention does not wait for the next request."""
    now = [NOW_MS]
    options = DbOptions(retention_ms=20 * HOUR_MS)
    store = open_store(tmp_path, options=options, now_ms=lambda: now[0])
    append(_db(store), (0, _OLD_MS, 1.0))
    now[0] += 4 * HOUR_MS
    store.maintain()
    assert _db(store).stats().blocks == 1
    store.close()
    store = open_store(tmp_path, options=options, now_ms=lambda: now[0])
    assert store.opened() == {}
    now[0] += 2 * HOUR_MS
    store.maintain()
    assert store.opened() == {}
    now[0] += 20 * HOUR_MS
    store.maintain()
    gc.collect()
    now[0] += HOUR_MS
    store.maintain()
    assert [*(tmp_path / "tenants/t/blocks").iterdir()] == []
    store.close()


def test_a_tenant_that_cannot_be_sealed_does_not_stop_the_others(tmp_path: Path) -> None:
    """Whatever is wrong with it; the error names it."""
    store = open_store(tmp_path)
    for name in ("a", "b"):
        append(store.tenant_for_write(name), (0, _OLD_MS, 1.0), (0, NOW_MS, 1.0))
    broken, sound = store.tenant_for_write("a"), store.tenant_for_write("b")
    with (
        mock.patch.object(broken, "maintain", side_effect=MemoryError),
        pytest.raises(ExceptionGroup) as caught,
    ):
        store.maintain()
    (error,) = caught.value.exceptions
    assert error.__notes__ == ["while sealing tenant a"]
    assert sound.stats().blocks == 1
    store.close()

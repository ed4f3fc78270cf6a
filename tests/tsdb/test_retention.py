"""Old blocks go by age and by size; a clock that jumps costs nothing."""

from pathlib import Path

import pytest

from tests.tsdb.databases import HOUR_MS, NOW_MS, append, bits, everything, open_store
from tsdb.clock import BELIEVED_SECONDS, SLACK_MS, Clock
from tsdb.db import Db, DbOptions
from tsdb.store import Store

DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS


class _Time:
    """A wall clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.wall_ms = NOW_MS
        self.seconds = 5000.0

    def passes(self, elapsed_ms: int) -> None:
        self.wall_ms += elapsed_ms
        self.seconds += elapsed_ms / 1000

    def open(self, directory: Path, options: DbOptions | None = None) -> Store:
        return open_store(
            directory,
            options=options or DbOptions(retention_ms=10 * DAY_MS),
            now_ms=lambda: self.wall_ms,
            monotonic=lambda: self.seconds,
        )


def _db(store: Store) -> Db:
    return store.tenant_for_write("t")


def _filled(time: _Time, store: Store, days: int = 8) -> list[tuple[int, int, float]]:
    """A sample every six hours, in blocks of their own."""
    samples = []
    for _ in range(days * 4):
        samples.append((0, time.wall_ms, 1.0))
        append(_db(store), samples[-1])
        time.passes(6 * HOUR_MS)
        store.maintain()
    append(_db(store), (0, time.wall_ms, 2.0))
    samples.append((0, time.wall_ms, 2.0))
    return samples


@pytest.mark.parametrize(
    "jump_ms", [HOUR_MS, -HOUR_MS, 30 * DAY_MS, 10 * YEAR_MS, -(NOW_MS - 1000)]
)
def test_a_jump_of_the_clock_and_back_drops_nothing(tmp_path: Path, jump_ms: int) -> None:
    """An hour, ten years ahead, back to 1970: no block goes, and right samples are taken."""
    time = _Time()
    store = time.open(tmp_path)
    samples = _filled(time, store)
    right_ms = time.wall_ms
    time.wall_ms += jump_ms
    for _ in range(20):
        store.maintain()
        right_ms += 60_000
        time.passes(60_000)
        samples.append((0, right_ms, 3.0))
        assert append(_db(store), samples[-1]).samples == 1, "what comes with the right time"
    stats = _db(store).stats()
    assert stats.dropped_blocks == 0
    assert stats.retention_held == (stats.blocks if jump_ms > 10 * DAY_MS else 0)
    time.wall_ms -= jump_ms
    store.maintain()
    assert _db(store).stats().dropped_blocks == 0
    assert _db(store).stats().retention_held == 0
    assert everything(_db(store)) == bits(samples)
    store.close()


def test_a_clock_that_stays_where_it_jumped_is_believed_after_a_day(tmp_path: Path) -> None:
    """Then the retention counts from it; a clock that jumps again waits anew."""
    time = _Time()
    store = time.open(tmp_path)
    _filled(time, store)
    time.wall_ms += 30 * DAY_MS
    for hour in range(30):
        if hour == 12:
            time.wall_ms += 5 * DAY_MS
        store.maintain()
        time.passes(HOUR_MS)
    assert _db(store).stats().blocks > 0
    for _ in range(8):
        store.maintain()
        time.passes(HOUR_MS)
    assert _db(store).stats().blocks == 0
    store.close()


def test_a_wrong_clock_at_the_start_drops_nothing(tmp_path: Path) -> None:
    """What the manifest says of the time counts against it, for a day of running."""
    time = _Time()
    store = time.open(tmp_path)
    samples = _filled(time, store)
    store.close()
    for wrong_ms in (10 * YEAR_MS, -(NOW_MS - 1000)):
        time.wall_ms += wrong_ms
        store = time.open(tmp_path)
        store.maintain()
        time.passes(HOUR_MS)
        store.maintain()
        assert _db(store).stats().dropped_blocks == 0
        assert append(_db(store), (1, time.wall_ms - wrong_ms, 5.0)).samples == 1
        samples.append((1, time.wall_ms - wrong_ms, 5.0))
        # What is stored with the wrong time does not make it right.
        append(_db(store), (2, time.wall_ms, 6.0))
        store.maintain()
        store.close()
        store = time.open(tmp_path)
        store.maintain()
        assert _db(store).stats().dropped_blocks == 0
        store.close()
        time.wall_ms -= wrong_ms
    store = time.open(tmp_path)
    for labels, own in bits(samples).items():
        assert own.items() <= everything(_db(store))[labels].items()
    store.close()


def test_a_server_that_was_off_for_long_drops_after_a_day(tmp_path: Path) -> None:
    """All of its data is too old then; while it is off for a night only, nothing is held."""
    time = _Time()
    store = time.open(tmp_path)
    _filled(time, store, days=9)
    store.close()
    time.passes(12 * HOUR_MS)
    store = time.open(tmp_path)
    store.maintain()
    assert _db(store).stats().retention_held == 0
    store.close()
    time.passes(40 * DAY_MS)
    store = time.open(tmp_path)
    store.maintain()
    held = _db(store).stats()
    assert held.blocks > 0 and held.retention_held == held.blocks
    time.passes(25 * HOUR_MS)
    store.maintain()
    assert _db(store).stats().blocks == 0
    store.close()


def test_a_clock_that_is_set_a_little_is_followed() -> None:
    """Drift and small corrections are no jumps, however much they add up to."""
    time = _Time()
    clock = Clock(lambda: time.wall_ms, lambda: time.seconds)
    for _ in range(100):
        time.passes(60_000)
        time.wall_ms += SLACK_MS - 1
        assert not clock.is_doubted and clock.earliest_ms == clock.latest_ms == time.wall_ms
    time.wall_ms += SLACK_MS + 1
    assert clock.is_doubted
    assert (clock.earliest_ms, clock.latest_ms) == (time.wall_ms - SLACK_MS - 1, time.wall_ms)
    time.passes(int(BELIEVED_SECONDS) * 1000 - 1)
    assert clock.is_doubted
    time.passes(1)
    assert not clock.is_doubted and clock.believed_ms == time.wall_ms


def test_by_size_the_oldest_blocks_of_all_tenants_go_first(tmp_path: Path) -> None:
    """Of tenants that are open and of those that are not, until the rest is small enough."""
    time = _Time()
    store = time.open(tmp_path, DbOptions(retention_ms=0))
    for _ in range(3):
        for name in ("a", "b"):
            for k in range(40):
                append(store.tenant_for_write(name), (k, time.wall_ms, float(k)))
            time.passes(9 * HOUR_MS)
            store.maintain()
    blocks = {name: store.tenant_for_write(name).blocks for name in ("a", "b")}
    store.close()
    whole = sum(block.size_bytes for own in blocks.values() for block in own)
    # The heads are sealed, so that the logs are empty; the limit takes about half of it.
    store = time.open(tmp_path, DbOptions(retention_ms=0, retention_bytes=whole))
    total = whole + sum(db.log_bytes for db in store.opened().values())
    store.close()
    store = time.open(tmp_path, DbOptions(retention_ms=0, retention_bytes=total - whole // 2))
    store.maintain()
    left = {name: store.tenant_for_write(name).blocks for name in ("a", "b")}
    kept = sum(block.size_bytes for own in left.values() for block in own)
    assert 0 < kept <= whole - whole // 2
    gone = [block for name, own in blocks.items() for block in own if block not in left[name]]
    stayed = [block for own in left.values() for block in own]
    assert max(one.max_time_ms for one in gone) < min(one.max_time_ms for one in stayed)
    assert sum(db.stats().dropped_blocks for db in store.opened().values()) == len(gone)
    store.close()

"""Pools and their manager: beats, limits, targets that come and go, configurations that change."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import httpx
import orjson
import pytest

from scrape.config import Config, load_config
from scrape.manager import Manager
from tests.scrape.worlds import NOW_MS, STALE, World, answer

TARGETS = "static_configs: [{targets: ['one:1', 'two:1']}]"
ONE, TWO = "http://one:1/metrics", "http://two:1/metrics"
MINUTE_MS = 60_000


@pytest.fixture
def world() -> World:
    """Two targets that show one series each."""
    found = World()
    found.show(ONE, "a 1\n")
    found.show(TWO, "a 2\n")
    return found


def config_of(directory: Path, *jobs: str) -> Config:
    file = directory / "prometheus.yml"
    file.write_text("scrape_configs:\n" + "".join(f"  - {{{job}}}\n" for job in jobs))
    return load_config(file)


def play(world: World, scenes: Callable[[Manager], Awaitable[None]]) -> None:
    """Runs *scenes* with a manager, which is closed behind them."""

    async def run() -> None:
        manager = Manager(world.around)
        await scenes(manager)
        await manager.close()

    asyncio.run(run())


def times(world: World, metric: str, instance: str) -> list[int]:
    [points] = world.points(metric, instance=instance).values()
    return [time - NOW_MS for time, _ in points]


def test_each_target_has_its_beat(world: World, tmp_path: Path) -> None:
    """Visits of a target are an interval apart, all samples of one at the same time."""

    async def scenes(manager: Manager) -> None:
        manager.apply(config_of(tmp_path, f"job_name: j, {TARGETS}"))
        await world.clock.advance(3 * MINUTE_MS)

    play(world, scenes)

    for instance in ("one:1", "two:1"):
        seen = times(world, "a", instance)
        assert len(seen) == 3
        assert {b - a for a, b in itertools.pairwise(seen)} == {MINUTE_MS}
        assert times(world, "up", instance) == seen
    assert times(world, "a", "one:1") != times(world, "a", "two:1")


def test_a_late_visit_tells_its_own_time(world: World, tmp_path: Path) -> None:
    """A little late it carries the tick's time, later the time it has."""
    lateness = {1: 15, 2: 5_000}

    async def scenes(manager: Manager) -> None:
        sleep = world.clock.sleep
        count = 0

        async def late(seconds: float) -> None:
            nonlocal count
            count += 1
            await sleep(seconds + lateness.get(count, 0) / 1000)

        world.clock.sleep = late  # type: ignore[method-assign]
        targets = "static_configs: [{targets: ['one:1']}]"
        manager.apply(config_of(tmp_path, f"job_name: j, {targets}"))
        await world.clock.advance(3 * MINUTE_MS)

    play(world, scenes)

    first, second, third = times(world, "a", "one:1")
    assert (second - first, third - first) == (MINUTE_MS + 5_000, 2 * MINUTE_MS)


def test_a_slow_visit_leaves_ticks_out(world: World, tmp_path: Path) -> None:
    """Visits of a target never overlap; the ticks that passed meanwhile are counted."""
    running: list[int] = []

    async def scenes(manager: Manager) -> None:
        async def slow(request: httpx.Request) -> httpx.Response:
            running.append(1)
            assert len(running) == 1
            await world.clock.sleep(150)
            running.pop()
            return answer(b"a 1\n")

        world.around = type(world.around)(
            world.clock, world.around.deliver, world.counters, httpx.MockTransport(slow)
        )
        manager = Manager(world.around)
        targets = "static_configs: [{targets: ['one:1']}]"
        manager.apply(config_of(tmp_path, f"job_name: j, {targets}"))
        await world.clock.advance(8 * MINUTE_MS)
        await manager.close()

    play(world, scenes)

    seen = times(world, "a", "one:1")
    assert {b - a for a, b in itertools.pairwise(seen)} == {3 * MINUTE_MS}
    assert world.counters.skipped_ticks == 2 * len(seen)


def test_a_clock_that_falls_back_stops_nobody(world: World, tmp_path: Path) -> None:
    """After the machine's time was set back by an hour the beat goes on from there."""

    async def scenes(manager: Manager) -> None:
        manager.apply(config_of(tmp_path, f"job_name: j, {TARGETS}"))
        await world.clock.advance(MINUTE_MS)
        fallen_ms = 3_600_000
        now_ms = world.clock.now_ms
        world.clock.now_ms = lambda: now_ms() - fallen_ms  # type: ignore[method-assign]
        await world.clock.advance(3 * MINUTE_MS)

    play(world, scenes)

    assert len(times(world, "up", "one:1")) >= 3


def test_targets_of_a_watched_file_come_and_go(world: World, tmp_path: Path) -> None:
    """A target that left is ended at its next tick; one that stayed goes on."""
    file = tmp_path / "t.json"

    def write(*targets: str) -> None:
        file.write_bytes(orjson.dumps([{"targets": targets}]) + b" " * len(targets))

    async def scenes(manager: Manager) -> None:
        write("one:1", "two:1")
        manager.apply(config_of(tmp_path, "job_name: j, file_sd_configs: [{files: [t.json]}]"))
        await world.clock.advance(MINUTE_MS)
        write("one:1")
        await world.clock.advance(2 * MINUTE_MS)
        [pool] = manager.pools.values()
        assert [visitor.target.url for visitor in pool.visitors] == [ONE]

    play(world, scenes)

    assert world.values("a", instance="two:1") == [2, STALE]
    assert world.values("up", instance="two:1") == [1, STALE]
    assert times(world, "a", "two:1")[1] - times(world, "a", "two:1")[0] == MINUTE_MS
    assert world.values("a", instance="one:1") == [1, 1, 1]


def test_a_target_that_comes_back_in_time_is_not_ended(world: World, tmp_path: Path) -> None:
    """Its series go on without a marker between."""
    file = tmp_path / "t.json"

    async def scenes(manager: Manager) -> None:
        file.write_text('[{"targets": ["one:1"]}]')
        manager.apply(config_of(tmp_path, "job_name: j, file_sd_configs: [{files: [t.json]}]"))
        await world.clock.advance(MINUTE_MS)
        file.write_text("[]")
        await world.clock.advance(2_000)
        file.write_text('[{"targets": ["one:1"] }]')
        await world.clock.advance(2 * MINUTE_MS)

    play(world, scenes)

    assert STALE not in world.values("a", instance="one:1")
    assert len(world.values("a", instance="one:1")) == 3


def test_two_groups_with_the_same_target_are_one(world: World, tmp_path: Path) -> None:
    """It is visited once."""
    targets = "static_configs: [{targets: ['one:1']}, {targets: ['one:1']}]"

    async def scenes(manager: Manager) -> None:
        manager.apply(config_of(tmp_path, f"job_name: j, {targets}"))
        await world.clock.advance(MINUTE_MS)

    play(world, scenes)

    assert len(world.requests) == 1


def test_too_many_targets_fail_all(world: World, tmp_path: Path) -> None:
    """Beyond ``target_limit`` no target is asked, and each says why."""

    async def scenes(manager: Manager) -> None:
        manager.apply(config_of(tmp_path, f"job_name: j, target_limit: 1, {TARGETS}"))
        await world.clock.advance(MINUTE_MS)
        [pool] = manager.pools.values()
        assert {visitor.last_error for visitor in pool.visitors} == {
            "target_limit exceeded (number of targets: 2, limit: 1)"
        }

    play(world, scenes)

    assert world.requests == []
    assert [world.values("up", instance=name) for name in ("one:1", "two:1")] == [[0], [0]]


def test_dropped_targets_are_shown(world: World, tmp_path: Path) -> None:
    """As many as the job keeps, all of them counted."""
    rules = "relabel_configs: [{action: drop}], keep_dropped_targets: 1"

    async def scenes(manager: Manager) -> None:
        manager.apply(config_of(tmp_path, f"job_name: j, {rules}, {TARGETS}"))
        await world.clock.advance(MINUTE_MS)
        [pool] = manager.pools.values()
        assert (len(pool.dropped), pool.dropped_count, pool.visitors) == (1, 2, [])
        assert pool.dropped[0].get("__address__") == "one:1"

    play(world, scenes)


def test_an_equal_configuration_disturbs_nothing(world: World, tmp_path: Path) -> None:
    """The same pools go on, at the same beat."""

    async def scenes(manager: Manager) -> None:
        manager.apply(config_of(tmp_path, f"job_name: j, {TARGETS}"))
        await world.clock.advance(MINUTE_MS)
        before = dict(manager.pools)
        manager.apply(config_of(tmp_path, f"job_name: j, {TARGETS}", "job_name: k"))
        await world.clock.advance(MINUTE_MS)
        assert manager.pools["j"] is before["j"]

    play(world, scenes)

    assert world.values("a", instance="one:1") == [1, 1]


def test_a_changed_job_goes_on_with_its_series(world: World, tmp_path: Path) -> None:
    """What its new rules still store is not interrupted; what they drop is ended."""
    world.show(ONE, "a 1\nb 1\n")
    drop = "metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]"

    async def scenes(manager: Manager) -> None:
        manager.apply(config_of(tmp_path, f"job_name: j, {TARGETS}"))
        await world.clock.advance(MINUTE_MS)
        manager.apply(config_of(tmp_path, f"job_name: j, {drop}, {TARGETS}"))
        await world.clock.advance(MINUTE_MS)

    play(world, scenes)

    assert world.values("a", instance="one:1") == [1, 1]
    assert world.values("b", instance="one:1") == [1, STALE]
    assert world.values("up", instance="one:1") == [1, 1]


def test_a_removed_job_is_ended(world: World, tmp_path: Path) -> None:
    """At the next tick of each of its targets."""

    async def scenes(manager: Manager) -> None:
        manager.apply(config_of(tmp_path, f"job_name: j, {TARGETS}"))
        await world.clock.advance(MINUTE_MS)
        manager.apply(config_of(tmp_path, "job_name: k"))
        await world.clock.advance(2 * MINUTE_MS)
        manager.apply(config_of(tmp_path, "job_name: k"))

    play(world, scenes)

    for instance, value in (("one:1", 1), ("two:1", 2)):
        assert world.values("a", instance=instance) == [value, STALE]
        assert world.values("up", instance=instance) == [1, STALE]


def test_closing_ends_no_series(world: World, tmp_path: Path) -> None:
    """A restart may go on with them."""

    async def scenes(manager: Manager) -> None:
        manager.apply(config_of(tmp_path, f"job_name: j, {TARGETS}"))
        await world.clock.advance(MINUTE_MS)
        await manager.close()
        await world.clock.advance(3 * MINUTE_MS)

    play(world, scenes)

    assert all(STALE not in [value for _, value in points] for points in world.points().values())


def test_bad_targets_do_not_harm_the_others(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are logged, the others are visited."""
    (tmp_path / "t.json").write_text('[{"targets": ["http://bad/x", "one:1"]}]')

    async def scenes(manager: Manager) -> None:
        manager.apply(config_of(tmp_path, "job_name: j, file_sd_configs: [{files: [t.json]}]"))
        await world.clock.advance(MINUTE_MS)

    play(world, scenes)

    assert world.values("up", instance="one:1") == [1]
    assert "is not a valid hostname" in caplog.text


def test_a_broken_discovery_is_logged(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours in one mechanism neither stays silent nor stops the others."""
    monkeypatch.setattr("scrape.discovery.glob.glob", cast(object, None))
    both = f"job_name: j, file_sd_configs: [{{files: [t.json]}}], {TARGETS}"

    async def scenes(manager: Manager) -> None:
        manager.apply(config_of(tmp_path, both))
        await world.clock.advance(MINUTE_MS)

    play(world, scenes)

    assert "looks for no more targets" in caplog.text
    assert world.values("up", instance="one:1") == [1]

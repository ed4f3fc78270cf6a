"""Rows 1 and 2 of the faults, see ``test_fault_rows.py``: a server is killed at whatever moment."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest

from benchmarks.faults import kills
from benchmarks.faults.systems import Running
from benchmarks.faults.truth import Count, count_all, make_writers
from benchmarks.processes import wait_for
from benchmarks.remote_write import Sender
from benchmarks.workload import Workload, starting_now
from tests.real.fault_tools import (
    DAY_MS,
    HOUR_MS,
    LOADED,
    READY_S_PER_MILLION,
    SYSTEM,
    ask,
    assert_sound,
    page,
    post,
)

pytestmark = pytest.mark.server

# Row 1


def test_two_kills_while_four_writers_send(warm: None, tmp_path: Path) -> None:
    """Row 1: all acknowledged samples are there, those sent again as well, once."""
    assert_sound(kills.kill_ingest(SYSTEM, tmp_path, 2, 1.0, 1), 4_000)


@pytest.mark.long
def test_a_hundred_kills_while_four_writers_send(warm: None, tmp_path: Path) -> None:
    """Row 1 in full."""
    assert_sound(kills.kill_ingest(SYSTEM, tmp_path, 100, 2.0, 2), 100_000)


def test_a_million_samples_of_log_are_ready_in_time(warm: None, tmp_path: Path) -> None:
    """Row 1: a start takes at most two seconds a million samples longer than an empty one."""
    work = Workload(instances=100, span_s=100 * 15)
    work = replace(work, start_ms=starting_now(work))
    with Running(SYSTEM, tmp_path) as running:
        running.restart()  # the empty one
        sender = Sender(running.url)
        sent = 0
        for _, body, samples in work.bodies(1):
            assert sender.send(body)[0] == 204
            sent += samples
        sender.close()
        running.kill()
        running.start()
        empty_s, full_s = running.ready_s
        replayed = page(running.server)["o11y_replay_samples_total"]
    assert replayed == sent == LOADED
    assert full_s - empty_s < READY_S_PER_MILLION * sent / 1e6, (empty_s, full_s)


# Row 2


def test_two_kills_in_seals_and_merges(warm: None, tmp_path: Path) -> None:
    """Row 2: the kill comes right after a change among the sealed files."""
    assert_sound(kills.kill_seal(SYSTEM, tmp_path, 2, 1.0, 3), 4_000)


@pytest.mark.long
def test_thirty_kills_in_seals_and_merges(warm: None, tmp_path: Path) -> None:
    """Row 2 in full."""
    assert_sound(kills.kill_seal(SYSTEM, tmp_path, 30, 2.0, 4), 30_000)


def kill_within(running: Running, act: Callable[[], httpx.Response], seconds: float) -> bool:
    """Kills the server so long after *act* began and starts it again; whether it was answered."""
    answered = threading.Event()

    def carry_out() -> None:
        try:
            answer = act()
        except httpx.TransportError:
            return  # the kill
        assert answer.status_code in (200, 204), answer.text
        answered.set()

    thread = threading.Thread(target=carry_out)
    thread.start()
    time.sleep(seconds)
    running.kill()
    thread.join(60)
    running.start()
    return answered.is_set()


def rest(data: Path) -> list[Path]:
    """What lies half written in the directory; there may be some while a merge is under way."""
    return list(data.rglob("*.tmp*"))


def kill_in_acts(tmp_path: Path, rounds: int) -> None:
    """Kills in deletions, clean-ups and snapshots; deleted series are whole or gone."""
    draw = random.Random(rounds)
    kept, gone = make_writers(2, int(time.time() * 1000) - 6 * HOUR_MS, 90_000)
    match = f'{{writer="{gone.number}"}}'
    acts: dict[str, dict[str, str]] = {
        "delete_series": {"match[]": match},
        "clean_tombstones": {},
        "snapshot": {},
    }
    is_deleted = False
    with Running(SYSTEM, tmp_path) as running:
        for _ in range(8):
            for one in (kept, gone):
                assert one.send_some(running.url, 20) == 20
        for _ in range(rounds):
            for name, parameters in acts.items():
                act = partial(post, running.url, f"/api/v1/admin/tsdb/{name}", **parameters)
                answered = kill_within(running, act, draw.random() * 0.15)
                assert count_all(running.url, [kept]) == Count(8_000, 8_000)
                left = count_all(running.url, [gone])
                assert left.invented == left.double == 0
                assert left.readable in ((0,) if is_deleted else (0, 8_000)), (name, left)
                is_deleted |= left.readable == 0
                assert is_deleted or not (name == "delete_series" and answered)
                wait_for(lambda: not rest(running.data), "nothing half written")
        assert kept.send_some(running.url, 1) == 1
        running.restart()
        assert count_all(running.url, [kept]) == Count(8_050, 8_050)


def test_kills_in_deletions_and_snapshots(warm: None, tmp_path: Path) -> None:
    """Row 2: nothing else is touched, nothing half written stays, what is gone stays gone."""
    kill_in_acts(tmp_path, 1)


@pytest.mark.long
def test_many_kills_in_deletions_and_snapshots(warm: None, tmp_path: Path) -> None:
    """The same with thirty kills."""
    kill_in_acts(tmp_path, 10)


def test_a_kill_while_retention_drops_blocks(warm: None, tmp_path: Path) -> None:
    """Row 2: all samples within the retention are there, of older ones each at most once."""
    now_ms = int(time.time() * 1000)
    (one,) = make_writers(1, now_ms - 10 * DAY_MS, 4 * HOUR_MS, 10)
    first_kept = next(k for k in range(999) if one.first_ms + k * one.step_ms > now_ms - 4 * DAY_MS)
    with Running(SYSTEM, tmp_path) as running:
        assert one.send_some(running.url, 60) == 60
        # Window by window: what a clean stop seals at once would be one block of ten days.
        wait_for(lambda: page(running.server)["o11y_seal_duration_seconds_count"] >= 30, "seals")
        running.restart()
        names = running.sealed_names()
    for _ in range(2):
        with SYSTEM.start(tmp_path, "--retention", "4d") as server:
            ask(server.url, "opens_the_tenant", now_ms)
            deadline = time.monotonic() + 30
            while SYSTEM.sealed_names(tmp_path / "data") == names and time.monotonic() < deadline:
                time.sleep(0.002)
            server.process.kill()
        names = SYSTEM.sealed_names(tmp_path / "data")
    with SYSTEM.start(tmp_path, "--retention", "4d") as server:
        wait_for(lambda: count_all(server.url, [one]).lost > 0, "old blocks dropped")
    with Running(SYSTEM, tmp_path) as running:
        whole = count_all(running.url, [one])
        assert whole.invented == whole.double == 0 and whole.lost > 0
        assert count_all(running.url, [one], [first_kept]).lost == 0
        wait_for(lambda: not rest(running.data), "no merge under way")

"""kill -9 while samples come in, at any instant or when files are sealed and merged."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from benchmarks.faults.outcome import Outcome
from benchmarks.faults.systems import Running, System
from benchmarks.faults.truth import Count, Writer, make_writers, read, write_together

WRITERS = 4
PER_SECOND = 40.0
"""Requests of each writer."""
INGEST_STEP_MS, SEAL_STEP_MS = 1_000, 90_000
"""Time between two samples of a series: some hours in all rounds, or two hours in two seconds."""
SEAL_SPAN_MS = 50 * 86_400_000
WATCHED_S = 4.0
"""The longest time that a kill waits for a change among the sealed files."""
JOIN_S = 60.0
LEAST, SLOW_S = 40, 30.0
"""Requests acknowledged at least between two kills, and the longest time that they may take."""


def kill_ingest(system: System, home: Path, rounds: int, seconds: float, seed: int) -> Outcome:
    """Kills at random instants, each after up to *seconds* of writing."""
    draw = random.Random(seed)
    longest_ms = int(rounds * (seconds + 1) * PER_SECOND) * INGEST_STEP_MS
    writers = make_writers(WRITERS, int(time.time() * 1000) - longest_ms, INGEST_STEP_MS)
    with Running(system, home) as running:
        killed_s = [
            _strike(running, writers, lambda: time.sleep(draw.uniform(0.2, 1) * seconds))
            for _ in range(rounds)
        ]
        return _judge(running, writers, killed_s, f"{rounds} kills")


def kill_seal(system: System, home: Path, rounds: int, seconds: float, seed: int) -> Outcome:
    """Kills right after a change among the sealed files; an hour of samples comes in a second."""
    draw = random.Random(seed)
    writers = make_writers(WRITERS, int(time.time() * 1000) - SEAL_SPAN_MS, SEAL_STEP_MS)
    most_s = SEAL_SPAN_MS / SEAL_STEP_MS / PER_SECOND / rounds - WATCHED_S
    seen = []
    with Running(system, home) as running:

        def wait() -> None:
            time.sleep(draw.uniform(0.2, 1) * min(seconds, max(most_s, 1)))
            if system.merge_path:
                _ask_for_merge(running)
            seen.append(_wait_for_change(running))
            time.sleep(draw.random() * 0.03)

        killed_s = [_strike(running, writers, wait) for _ in range(rounds)]
        return _judge(
            running,
            writers,
            killed_s,
            f"{rounds} kills, {sum(seen)} within 30 ms of a seal or merge",
        )


def _strike(running: Running, writers: Sequence[Writer], wait: Callable[[], None]) -> float:
    """Writes while *wait* waits, then kills and starts again; when it killed (monotonic)."""
    before, deadline = _acked(writers), time.monotonic() + SLOW_S
    threads = write_together(running.url, writers, PER_SECOND)
    try:
        while _acked(writers) - before < LEAST and time.monotonic() < deadline:
            time.sleep(0.01)
        wait()
    finally:
        running.kill()
        killed_s = time.monotonic()
        for thread in threads:
            thread.join(JOIN_S)
    running.start()
    return killed_s


def _acked(writers: Sequence[Writer]) -> int:
    return sum(len(writer.acked_s) for writer in writers)


def _judge(
    running: Running, writers: Sequence[Writer], killed_s: Sequence[float], note: str
) -> Outcome:
    """Reads everything; notes how long before its kill the oldest lost sample was acknowledged."""
    total = Count()
    oldest_s = 0.0
    for writer in writers:
        count, lost = writer.find(read(running.url, writer).series)
        total += count
        for request in lost.nonzero()[0].tolist():
            acked_s = writer.acked_s[request]
            oldest_s = max(
                oldest_s, min((at for at in killed_s if at >= acked_s), default=acked_s) - acked_s
            )
    notes = [note]
    if total.lost:
        notes.append(f"lost up to {oldest_s:.1f} s before a kill")
    return Outcome(total, ready_s=running.ready_s, notes=notes)


def _ask_for_merge(running: Running) -> None:
    """Makes the system merge, in the background: the kill may come before the answer."""

    def ask() -> None:
        try:
            httpx.get(f"{running.url}{running.system.merge_path}", timeout=30, trust_env=False)
        except httpx.TransportError:
            pass  # that is the fault

    threading.Thread(target=ask, daemon=True).start()


def _wait_for_change(running: Running) -> bool:
    """Until a name among the sealed files comes or goes; False where none does in time."""
    names, deadline = running.sealed_names(), time.monotonic() + WATCHED_S
    while time.monotonic() < deadline:
        if running.sealed_names() != names:
            return True
        time.sleep(0.002)
    return False

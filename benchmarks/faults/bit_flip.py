"""One bit flips in one file of a stopped server, region by region."""

import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.outcome import Outcome, Skipped
from benchmarks.faults.systems import Running, System, copy_data
from benchmarks.faults.truth import (
    Count,
    Unreadable,
    Writer,
    count_all,
    make_writers,
    read,
)
from benchmarks.processes import NotStarted

WRITERS = 2
STEP_MS = 60_000
SEALED, RECENT = 600, 40
"""Requests of ten hours that are sealed, and those after the last restart."""
SLICE = 60
"""Requests of an hour."""
SEALED_S, QUIET_S = 30.0, 2.0


@dataclass(frozen=True)
class _Seen:
    """What became of one flip; *ready_s* is None where the server did not start."""

    count: Count
    ready_s: float | None
    is_noticed: bool

    @property
    def did_harm(self) -> bool:
        return bool(self.count.lost or self.count.invented or self.count.double)


def prepare(system: System, home: Path) -> tuple[Path, list[Writer]]:
    """A data directory with sealed samples and a log, killed; the writers know what it holds.

    What the kill itself cost does not count as acknowledged.
    """
    span_ms = (SEALED + RECENT) * STEP_MS
    writers = make_writers(WRITERS, int(time.time() * 1000) - span_ms, STEP_MS)
    with Running(system, home / "origin") as running:
        for requests in (SEALED, RECENT):
            for begin in range(0, requests, 20):
                for writer in writers:
                    some = min(20, requests - begin)
                    if writer.send_some(running.url, some) < some:
                        raise Unreadable(f"it takes no samples: {writer.refusal}")
            if requests == SEALED:
                _wait_until_quiet(running)
                running.restart()
        time.sleep(system.held_s)
        _wait_until_quiet(running)
        running.kill()
    origin = home / "origin" / "data"
    copy_data(origin, home / "sound")
    with Running(system, home / "sound") as running:
        count = count_all(running.url, writers)
        running.kill()
    if count.lost:
        raise Skipped(f"{count.lost} samples were lost by the kill already")
    return origin, writers


def bit_flip(
    system: System,
    home: Path,
    region: str,
    origin: Path,
    writers: list[Writer],
    flips: int,
    seed: int,
) -> Outcome:
    """*flips* times one bit, each in a fresh copy of *origin*, which holds what *writers* sent."""
    draw = random.Random(f"{seed} {region}")
    seen = []
    for _ in range(flips):
        flipped = home / "flipped"
        copy_data(origin, flipped)
        if flip_one(system, flipped / "data", region, draw) is None:
            raise Skipped(f"it has no {region} in files of its own")
        seen.append(_look(system, flipped, writers))
        shutil.rmtree(flipped)
    ready_s = [one.ready_s for one in seen if one.ready_s is not None]
    notes = [f"{flips} flips, {sum(one.is_noticed for one in seen)} noticed"]
    harm = [one for one in seen if one.did_harm]
    if harm:
        silent = sum(not one.is_noticed for one in harm)
        notes.append(f"{len(harm)} did harm, {silent} of them unnoticed")
    if len(ready_s) < flips:
        notes.append(f"{flips - len(ready_s)} times it did not start")
    return Outcome(sum((one.count for one in seen), Count()), ready_s=ready_s, notes=notes)


def flip_one(system: System, data: Path, region: str, draw: random.Random) -> str | None:
    """Flips one bit of a file of *region*, large files more often; its path below *data*."""
    files = sorted(
        file
        for pattern in system.regions.get(region, ())
        for file in data.glob(pattern)
        if file.stat().st_size
    )
    if not files:
        return None
    file = draw.choices(files, [one.stat().st_size for one in files])[0]
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)
    return str(file.relative_to(data))


def _look(system: System, home: Path, writers: list[Writer]) -> _Seen:
    """Starts a server there, reads everything and its log."""
    began = time.monotonic()
    try:
        server = system.start(home)
    except NotStarted:
        return _Seen(sum((writer.find({})[0] for writer in writers), Count()), None, True)
    ready_s = time.monotonic() - began
    count, is_noticed = Count(), False
    with server:
        for writer in writers:
            found, warned = _read(server.url, writer)
            count += found
            is_noticed |= warned
        is_noticed |= bool(system.complaints(home))
        server.process.kill()
    return _Seen(count, ready_s, is_noticed)


def _read(url: str, writer: Writer) -> tuple[Count, bool]:
    """All of *writer*, by the hour where the whole cannot be read; whether there was a warning."""
    try:
        answer = read(url, writer)
    except Unreadable:
        count = Count()
        for first in range(0, len(writer.states), SLICE):
            try:
                series = read(url, writer, first, first + SLICE).series
            except Unreadable:
                series = {}
            count += writer.find(series, first, first + SLICE)[0]
        return count, True
    return writer.find(answer.series)[0], bool(answer.warnings)


def _wait_until_quiet(running: Running) -> None:
    """Until there are sealed files and none comes or goes for a while, or SEALED_S."""
    patterns = running.system.regions["data"]
    deadline = time.monotonic() + SEALED_S
    names, since = running.sealed_names(), time.monotonic()
    while time.monotonic() < min(deadline, since + QUIET_S):
        time.sleep(0.1)
        sealed = any(True for pattern in patterns for _ in running.data.glob(pattern))
        if running.sealed_names() != names or not sealed:
            names, since = running.sealed_names(), time.monotonic()

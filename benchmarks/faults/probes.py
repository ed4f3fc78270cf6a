"""A sample from the future, a batch sent again, two servers on one directory."""

import time
from pathlib import Path

from benchmarks.faults.outcome import Outcome
from benchmarks.faults.systems import Running, System
from benchmarks.faults.truth import State, Writer, count_all, make_writers
from benchmarks.processes import NotStarted
from benchmarks.remote_write import Sender, write_body

TEN_YEARS_MS = 3652 * 86_400_000
REQUESTS = 10
STEP_MS = 1_000
PAST_MS = 600_000


def future_sample(system: System, home: Path) -> Outcome:
    """One sample ten years ahead, then ordinary samples of other series, and a restart."""
    now_ms = int(time.time() * 1000)
    first, second = make_writers(2, now_ms - PAST_MS, STEP_MS)
    future = write_body([({"__name__": "from_the_future"}, [(now_ms + TEN_YEARS_MS, 1.0)])])
    with Running(system, home) as running:
        first.send_some(running.url, REQUESTS)
        (status,) = _send(running.url, [future])
        second.send_some(running.url, REQUESTS)
        running.restart()
        count = count_all(running.url, [first, second])
        refused = first.samples(State.REFUSED) + second.samples(State.REFUSED)
        notes = [f"answered {status}; {refused} ordinary samples after it are refused"]
        return Outcome(count, refused, running.ready_s, notes)


def retried_batch(system: System, home: Path) -> Outcome:
    """Requests sent twice, and once more after a restart."""
    (writer,) = make_writers(1, int(time.time() * 1000) - PAST_MS, STEP_MS)
    with Running(system, home) as running:
        writer.send_some(running.url, REQUESTS)
        bodies = [writer.body(request) for request in range(REQUESTS)]
        statuses = set(_send(running.url, bodies))
        running.restart()
        statuses |= set(_send(running.url, bodies))
        running.restart()
        count = count_all(running.url, [writer])
        factor = 1 + count.double / max(count.readable, 1)
        answered = " and ".join(map(str, sorted(statuses)))
        notes = [f"sent three times, answered {answered}; counted {factor:.3g} times"]
        return Outcome(count, 0, running.ready_s, notes)


def two_servers(system: System, home: Path) -> Outcome:
    """A second server on the directory of a first; where it starts, both are written to."""
    first, second = make_writers(2, int(time.time() * 1000) - PAST_MS, STEP_MS)
    beside = home / "beside"
    beside.mkdir(parents=True)
    (beside / "data").symlink_to(home / "data")
    with Running(system, home) as running:
        first.send_some(running.url, REQUESTS // 2)
        note = _write_beside(running, beside, second)
        first.send_some(running.url, REQUESTS - REQUESTS // 2)
        running.restart()
        count = count_all(running.url, [first, second])
        return Outcome(count, 0, running.ready_s, [note])


def _write_beside(running: Running, beside: Path, writer: Writer) -> str:
    """Starts the second server, writes to it and stops it; what came of it."""
    system = running.system
    try:
        other = system.start(beside)
    except NotStarted:
        text = (beside / system.log_name).read_text(errors="replace")
        named = [
            word
            for word, found in (
                ("pid", str(running.server.process.pid)),
                ("path", "data/"),
            )
            if found in text
        ]
        return "the second does not start" + (f", names {' and '.join(named)}" if named else "")
    with other:
        writer.send_some(other.url, REQUESTS)
        other.process.terminate(60)
    return "the second starts and takes samples"


def _send(url: str, bodies: list[bytes]) -> list[int]:
    """The status of each answer."""
    sender = Sender(url)
    try:
        return [sender.send(body)[0] for body in bodies]
    finally:
        sender.close()

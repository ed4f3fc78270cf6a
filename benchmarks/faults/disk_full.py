"""A small disk that something else fills while samples come in, and then gives back."""

import http.client
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.faults.outcome import Outcome, Skipped
from benchmarks.faults.systems import Running, System
from benchmarks.faults.truth import State, Writer, count_all, make_writers
from benchmarks.processes import find_program
from benchmarks.remote_write import Sender

DISK_BYTES = 64 << 20
BEFORE_S = 10
"""How long samples come in before; long enough that everybody has written something to the disk."""
EACH_SECOND = 10
"""Requests meanwhile."""
TIMES = 5
"""How often the disk is full: whether a write is torn then is a matter of luck."""
FULL_S = 1.5
"""How long the disk is full each time, and a sender goes on trying."""
AFTER = 10
"""Requests after each time."""
RECOVERY_S = 30.0
STEP_MS = 1_000
FILL_BYTES = 1 << 20


@contextmanager
def small_disk(size_bytes: int) -> Iterator[Path]:
    """A directory that is a tmpfs of its own; Skipped where one must not mount."""
    if os.geteuid() != 0 or find_program("mount") is None:
        raise Skipped("a small tmpfs can only be mounted by root")
    with tempfile.TemporaryDirectory(prefix="o11y-small-disk-") as folder:
        argv = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", folder]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            raise Skipped(f"a small tmpfs cannot be mounted: {done.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], timeout=30, check=True)


def fill(file: Path) -> None:
    """Grows *file* until its disk has no byte left."""
    with file.open("wb", buffering=0) as out:
        piece = bytes(FILL_BYTES)
        while piece:
            try:
                out.write(piece)
            except OSError:
                piece = piece[: len(piece) // 2]


def disk_full(system: System, home: Path) -> Outcome:
    """Several times a full disk that is freed and written to again; a clean stop and a start."""
    ended = 0
    statuses: set[str] = set()
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(DISK_BYTES))
        home.mkdir(parents=True)
        (disk / "data").mkdir()
        (home / "data").symlink_to(disk / "data")  # so that its messages lie elsewhere
        running = stack.enter_context(Running(system, home))
        (writer,) = make_writers(1, int(time.time() * 1000) - 3_600_000, STEP_MS)
        for _ in range(BEFORE_S):
            writer.send_some(running.url, EACH_SECOND)
            time.sleep(1)
        first = len(writer.states)
        filler = disk / "filler"
        for _ in range(TIMES):
            fill(filler)
            statuses |= _keep_trying(running.url, writer)
            filler.unlink()
            if not running.server.process.running:
                ended += 1
                running.start()
            if writer.send_some(running.url, AFTER, RECOVERY_S) < AFTER:
                break
        running.ready_s.clear()
        running.restart()
        count, later = count_all(running.url, [writer]), count_all(running.url, [writer], [first])
        notes = [
            f"{TIMES} times full; answers then: {', '.join(sorted(statuses))}",
            f"{later.lost:,} of {later.acked:,} acknowledged since the first time are lost",
        ]
        if writer.states[-1] == State.UNANSWERED:
            notes.append(f"took nothing more for {RECOVERY_S:g} s: {writer.refusal}")
        notes += [f"the server ended {ended} times"] if ended else []
        left = writer.samples(State.REFUSED) + writer.samples(State.UNANSWERED)
        return Outcome(count, left, running.ready_s, notes)


def _keep_trying(url: str, writer: Writer) -> set[str]:
    """Sends on and on for FULL_S, as real senders do; the status of all answers."""
    deadline = time.monotonic() + FULL_S
    sender = Sender(url)
    statuses = set()
    while time.monotonic() < deadline:
        try:
            state = writer.send(sender)
            statuses.add("204" if state == State.ACKED else writer.refusal[:3])
        except (OSError, http.client.HTTPException):
            statuses.add("none")
        time.sleep(0.05)
    sender.close()
    return statuses

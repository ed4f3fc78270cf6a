"""The fuzzer's loop: choose, change, decode, judge, and keep what was new."""

import faulthandler
import itertools
import mmap
import random
import resource
import signal
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.fuzz.mutate import FLOOD_BYTES, mutate
from tests.fuzz.target import Outcome, Target

MEMORY_EVERY = 64
"""Allocations of every so-many-th input are measured, and of all with a new outcome."""
MAX_POOL = 4000
ADDRESS_SPACE_BYTES = 2 << 30
"""What the whole process may take beyond what it has when it begins."""
WATCH_EVERY, WATCH_SECONDS = 256, 120.0
"""So many inputs must be done in so many seconds."""
_MAX_TRIES = 400
_MAX_SHRINK_SECONDS = 60.0


class TooSlow(Exception):
    """An input took more processor time than it may."""


@dataclass(slots=True)
class Finding:
    """An input that a decoder does not stand, as small as it could be made."""

    data: bytes
    error: str


@dataclass(slots=True)
class Report:
    """What a run did; ``pool`` has an input for each kind of outcome."""

    runs: int = 0
    seconds: float = 0.0
    pool: list[bytes] = field(default_factory=list)
    outcomes: set[Outcome] = field(default_factory=set)
    finding: Finding | None = None


class Slate:
    """A file that holds the input being decoded, for whoever finds the process dead."""

    def __init__(self, path: str) -> None:
        with open(path, "w+b") as file:
            file.truncate(8 + FLOOD_BYTES)
            self._map = mmap.mmap(file.fileno(), 8 + FLOOD_BYTES)

    def write(self, data: bytes) -> None:
        kept = data[:FLOOD_BYTES]
        self._map[: 8 + len(kept)] = len(kept).to_bytes(8, "little") + kept

    @staticmethod
    def read(path: str) -> bytes:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            return file.read(size)


def fuzz(
    target: Target,
    corpus: list[bytes],
    seed: int,
    *,
    seconds: float = float("inf"),
    runs: int = 1 << 62,
    slate: Slate | None = None,
) -> Report:
    """Runs *target* on changed inputs until it has had its *seconds* or *runs*, or breaks.

    Each input has ``target.seconds`` of processor time; compiled code that never comes back ends
    the process.
    """
    signal.signal(signal.SIGPROF, _too_slow)
    rng = random.Random(seed)
    report = Report()
    began = time.monotonic()
    write: Callable[[bytes], None] = slate.write if slate else lambda data: None
    for data in itertools.chain(corpus, _changed(rng, target, report)):
        if report.runs >= runs or time.monotonic() - began > seconds:
            break
        if report.runs % WATCH_EVERY == 0:
            faulthandler.dump_traceback_later(WATCH_SECONDS, exit=True)
        report.runs += 1
        write(data)
        measured = report.runs % MEMORY_EVERY == 0
        try:
            # The first inputs pay for what is loaded and compiled once.
            limit = target.seconds if report.runs > len(corpus) else 20.0
            outcome = _judged(target, data, limit, measured)
            if outcome not in report.outcomes:
                report.outcomes.add(outcome)
                if len(report.pool) < MAX_POOL:
                    report.pool.append(data)
                if report.runs > len(corpus):
                    _judged(target, data, target.seconds, True)
        except Exception:
            faulthandler.cancel_dump_traceback_later()
            report.finding = Finding(_smaller(target, data), traceback.format_exc())
            break
    faulthandler.cancel_dump_traceback_later()
    report.seconds = time.monotonic() - began
    return report


def _changed(rng: random.Random, target: Target, report: Report) -> Iterator[bytes]:
    """Inputs without end, made of the pool as it is when each is asked for."""
    while True:
        pool = report.pool or [b""]
        # The newest are the least tried.
        recent = pool[-max(len(pool) // 4, 1) :]
        data = rng.choice(recent if rng.random() < 0.3 else pool)
        yield mutate(rng, data, rng.choice(pool), target.words, target.shape)


def _judged(target: Target, data: bytes, seconds: float, measured: bool) -> Outcome:
    """The outcome of *data*; AssertionError where it took too much memory."""
    with _time_limit(seconds * 4 if measured else seconds):
        if not measured:
            return target.outcome(data)
        tracemalloc.start()
        try:
            outcome = target.outcome(data)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    limit_bytes = target.base_bytes + target.bytes_per_byte * len(data)
    assert peak_bytes <= limit_bytes, f"{len(data)} bytes took {peak_bytes} bytes of memory"
    return outcome


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _smaller(target: Target, data: bytes) -> bytes:
    """*data* with everything taken out that the failure does not need, in a bounded time."""
    tries = 0
    until = time.monotonic() + _MAX_SHRINK_SECONDS
    size = len(data) // 2
    while size and tries < _MAX_TRIES and time.monotonic() < until:
        at = 0
        while at < len(data) and tries < _MAX_TRIES and time.monotonic() < until:
            tries += 1
            shorter = data[:at] + data[at + size :]
            if _breaks(target, shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data


def _breaks(target: Target, data: bytes) -> bool:
    try:
        _judged(target, data, target.seconds, True)
    except Exception:
        return True
    return False


def _too_slow(*_: object) -> None:
    raise TooSlow


def limit_memory() -> None:
    """Allocations far beyond what any decoder needs fail from now on."""
    with open("/proc/self/statm") as file:
        now_bytes = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now_bytes + ADDRESS_SPACE_BYTES,) * 2)

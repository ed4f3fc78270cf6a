"""The rows of the table: what is done, and by which function."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults import bit_flip, disk_full, kills, probes
from benchmarks.faults.outcome import Outcome
from benchmarks.faults.systems import System
from benchmarks.faults.truth import Writer

REGIONS = ("log", "data", "index", "manifest")


@dataclass(frozen=True)
class Effort:
    """How much is done: kills in a row, seconds of writing before one, bit flips in a region."""

    rounds: int = 100
    seconds: float = 8.0
    flips: int = 20
    seed: int = 1


QUICK = Effort(rounds=3, seconds=2.0, flips=3)


@dataclass
class Prepared:
    """Data directories that several rows of one system begin with, made once."""

    sealed: dict[str, tuple[Path, list[Writer]]] = field(default_factory=dict)


Perform = Callable[[System, Path, Effort, Prepared], Outcome]


def _flip(region: str) -> Perform:
    def perform(system: System, home: Path, effort: Effort, prepared: Prepared) -> Outcome:
        if system.name not in prepared.sealed:
            made = bit_flip.prepare(system, home.parent / f"{system.name}-sealed")
            prepared.sealed[system.name] = made
        origin, writers = prepared.sealed[system.name]
        return bit_flip.bit_flip(system, home, region, origin, writers, effort.flips, effort.seed)

    return perform


def _kill(
    perform: Callable[[System, Path, int, float, int], Outcome],
) -> Perform:
    return lambda system, home, effort, _: perform(
        system, home, effort.rounds, effort.seconds, effort.seed
    )


def _simple(perform: Callable[[System, Path], Outcome]) -> Perform:
    return lambda system, home, _, __: perform(system, home)


ROWS: dict[str, tuple[str, Perform]] = {
    "kill": ("kill -9 while samples come in", _kill(kills.kill_ingest)),
    "kill-seal": ("kill -9 during seal and merge", _kill(kills.kill_seal)),
    "disk-full": ("disk full, freed, written, restarted", _simple(disk_full.disk_full)),
    **{f"flip-{region}": (f"one bit flips: {region}", _flip(region)) for region in REGIONS},
    "future": ("a sample ten years ahead", _simple(probes.future_sample)),
    "retry": ("a batch sent three times", _simple(probes.retried_batch)),
    "two-servers": ("two servers on one directory", _simple(probes.two_servers)),
}
"""Name of a row -> its title and what performs it."""
FLIPS = frozenset(f"flip-{region}" for region in REGIONS)
"""The rows in which samples may be lost, for the disk has changed them."""

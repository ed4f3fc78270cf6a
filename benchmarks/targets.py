"""What the rows of the table are to reach: ours by the best peer's figure, on one core and on two.

Times and CPU are at most, ingest at least that many times the peer's. A bound is absolute: seconds
or MiB.
"""

from dataclasses import dataclass

from benchmarks.lines import Line
from benchmarks.peers import OURS


@dataclass(frozen=True)
class Target:
    """*one* and *two*: the ratio on so many cores, None where nothing is wanted there."""

    one: float | None
    two: float | None = None
    absolute: bool = False
    """Whether they bound our figure itself."""

    def wanted(self, cores: int) -> float | None:
        return self.one if cores == 1 else self.two


TARGETS = {
    "ingest-10000": Target(2.5),
    "ingest-500": Target(1.5),
    "ingest-50": Target(0.3),
    "ingest-50-16": Target(0.7),
    "ingest-50-16-interval": Target(1.0),
    "d": Target(1 / 4, 1 / 4),
    "d2": Target(1 / 4, 1 / 4),
    "n": Target(1 / 4, 1 / 4),
    "e": Target(1 / 4, 1 / 3),
    "f": Target(1 / 4, 1 / 3),
    "h": Target(1 / 4, 1 / 3),
    "g": Target(1 / 3, 1 / 3),
    "g2": Target(1 / 20, 1 / 20),
    "b": Target(1 / 3, 1 / 3),
    "f2": Target(1 / 3, 1 / 3),
    "h2": Target(1 / 3, 1 / 3),
    "i": Target(1 / 3, 1 / 3),
    "j": Target(1 / 3, 1 / 3),
    "c": Target(1 / 2, 1 / 2),
    "k": Target(1 / 2, 1 / 2),
    "l": Target(1 / 2, 1 / 2),
    "m3": Target(1 / 2, 1 / 2),
    "a": Target(2, 2),
    "a2": Target(2, 2),
    "c2": Target(2, 2),
    "m": Target(2, 2),
    "m2": Target(2, 2),
    "m4": Target(2, 2),
    "a-load-cpu": Target(2),
    "a2-load-cpu": Target(2),
    "c2-load-cpu": Target(2),
    "m-load-cpu": Target(2),
    "m2-load-cpu": Target(2),
    "m4-load-cpu": Target(2),
    "start-up": Target(1.5, 1.5, absolute=True),
    "memory-idle": Target(220, 220, absolute=True),
    "memory-peak": Target(320, 320, absolute=True),
}


def reached(line: Line) -> float | None:
    """What of *line* is compared with its target: the ratio, or our figure; None without one."""
    target = TARGETS.get(line.row)
    if target is None or target.wanted(line.cores) is None:
        return None
    return line.row_figures.get(OURS) if target.absolute else line.ratio


def is_met(line: Line) -> bool | None:
    """Whether *line* reaches its target; None where it has none or was not measured."""
    found, target = reached(line), TARGETS.get(line.row)
    wanted = target.wanted(line.cores) if target else None
    if found is None or wanted is None:
        return None
    return found >= wanted if line.more else found <= wanted

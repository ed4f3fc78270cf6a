"""The lines of a report: the figures of all servers for one measured thing, and their ratio."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.peers import OURS

Figures = dict[str, float]
"""What was measured by its name; one that could not be measured is left out."""


@dataclass(frozen=True)
class Line:
    """One row of the table on *cores* cores.

    *judged* is the figure of which the ratio is made, *shown* those that stand in the table; *more*
    says that larger is better. *servers* holds the figures of each server by its name.
    """

    row: str
    title: str
    cores: int
    unit: str
    judged: str
    shown: tuple[str, ...]
    more: bool = False
    servers: dict[str, Figures] = field(default_factory=dict)

    @property
    def row_figures(self) -> Figures:
        """The judged figure of every server that has it."""
        return {n: f[self.judged] for n, f in self.servers.items() if self.judged in f}

    @property
    def best_peer(self) -> str | None:
        """The peer with the best figure."""
        peers = {name: value for name, value in self.row_figures.items() if name != OURS}
        if not peers:
            return None
        return (max if self.more else min)(peers, key=lambda name: peers[name])

    @property
    def ratio(self) -> float | None:
        """Ours by the best peer's; None without one of them."""
        best, figures = self.best_peer, self.row_figures
        if best is None or OURS not in figures or figures[best] <= 0:
            return None
        return figures[OURS] / figures[best]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, with the ratio for those who read the file."""
        return asdict(self) | {"best_peer": self.best_peer, "ratio": self.ratio}


def from_dict(data: Mapping[str, Any]) -> Line:
    """The line of ``as_dict``."""
    known = {name: data[name] for name in Line.__dataclass_fields__}
    return Line(**(known | {"shown": tuple(data["shown"])}))


def find(lines: Sequence[Line], row: str, cores: int) -> Line | None:
    """The line of *row* on *cores* cores."""
    return next((line for line in lines if (line.row, line.cores) == (row, cores)), None)

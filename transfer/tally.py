"""What an import or an export has come to so far."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from series.ports import Refusal

SHOWN = 10
"""So many refusals are named; the others are counted."""


@dataclass(slots=True)
class Tally:
    """Counts of samples; ``skipped`` is what was in order and has no place where it goes.

    ``series`` counts those that were seen, ``exemplars`` those that an import stored beside the
    samples (on a server: sent), ``named`` holds the first refusals as texts.
    """

    series: int = 0
    samples: int = 0
    exemplars: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def refuse(
        self, refused: Mapping[str, int], refusals: Iterable[Refusal], where: str = ""
    ) -> None:
        """Counts what was *refused*, and names the first of the *refusals*."""
        self.refused.update(refused)
        for one in refusals:
            labels = f" for series {one.labels}" if len(one.labels) else ""
            at = f" at {one.time_ms / 1000:.3f}" if one.time_ms else ""
            self.name(f"{where}{one.reason}: {one.detail}{labels}{at}")

    def name(self, text: str) -> None:
        """Names one refusal, where it is among the first."""
        if len(self.named) < SHOWN:
            self.named.append(text)

    def lines(self, verb: str) -> list[str]:
        """The summary: what was done, and by reason what was not."""
        lines = [f"{verb} {self.samples} samples of {self.series} series"]
        lines += [f"{verb} {self.exemplars} exemplars"] if self.exemplars else []
        lines += [f"skipped {count} {kind}" for kind, count in sorted(self.skipped.items())]
        lines += [f"refused {count} {reason}" for reason, count in sorted(self.refused.items())]
        return [*lines, *(f"  {text}" for text in self.named)]

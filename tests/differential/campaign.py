"""Rounds of random questions to both sides: ``python -m tests.differential.campaign --help``."""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.differential.compare import Verdict, judge
from tests.differential.constructs import KNOWN, constructs
from tests.differential.data import Data, make_data
from tests.differential.dialect import FLAGS
from tests.differential.generate import Question, make_question
from tests.differential.sides import Ours, Reference
from tests.harness.servers import start_prometheus

ROUND = 100
"""Questions about the same data."""


@dataclass
class Report:
    """What a campaign found."""

    seed: int
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    with_data: int = 0
    with_errors: int = 0
    uses: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(KNOWN, 0)))
    """How many queries that both sides answered use each construct."""
    faults: list[str] = field(default_factory=list)

    @property
    def asked(self) -> int:
        return self.verdicts.total()

    def rarest(self, count: int = 8) -> list[tuple[str, int]]:
        """The constructs that the fewest answered queries use."""
        return sorted(self.uses.items(), key=lambda use: use[1])[:count]

    def __str__(self) -> str:
        share = self.with_data / max(self.asked, 1)
        lines = [
            f"seed {self.seed}: {self.asked} queries, {share:.0%} with data on both sides, "
            f"{self.with_errors} refused by both, "
            f"{self.verdicts[Verdict.DIFFERENT]} different, {self.known.total()} known",
            "rarest: " + ", ".join(f"{name} {count}" for name, count in self.rarest()),
            *(f"known: {name}: {count}" for name, count in self.known.items()),
            *self.faults,
        ]
        return "\n".join(lines)


def run_campaign(
    ours: Ours, reference: Reference, seed: int, questions: int, rounds_before: int = 0
) -> Report:
    """Asks both sides; *rounds_before* of other campaigns have filled the reference already."""
    report = Report(seed)
    for number in range((questions + ROUND - 1) // ROUND):
        # A round depends on its number alone, so that one can be repeated without the others.
        random = Random(f"{seed}/{number}")
        data = make_data(random, rounds_before + number)
        reference.load(data)
        source = ours.load(data)
        for question in _questions(random, data, min(ROUND, questions - number * ROUND)):
            got, wanted = ours.ask(source, question), reference.ask(question)
            verdict, reason = judge(question, got, wanted)
            report.verdicts[verdict] += 1
            report.with_data += bool(got.rows) and bool(wanted.rows)
            report.with_errors += bool(got.error) and bool(wanted.error)
            if not got.error and not wanted.error:
                report.uses.update(constructs(question.text))
            if verdict is Verdict.KNOWN:
                report.known[reason] += 1
            elif verdict is Verdict.DIFFERENT:
                report.faults.append(f"round {number}: {question}\n    {reason}")
    return report


def _questions(random: Random, data: Data, count: int) -> Iterator[Question]:
    for _ in range(count):
        yield make_question(random, data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else time.time_ns() % 1_000_000
    with (
        tempfile.TemporaryDirectory() as home,
        start_prometheus(Path(home) / "reference", None, *FLAGS) as server,
    ):
        ours, reference = Ours(Path(home) / "ours"), Reference(server.url)
        report = run_campaign(ours, reference, seed, options.queries)
        ours.close()
        reference.close()
    print(report)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())

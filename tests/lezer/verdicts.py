"""The file of lezer's verdicts: one line of JSON about the whole, then one for each expression."""

import json
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "@prometheus-io/lezer-promql"
FILE = Path(__file__).with_name("verdicts.jsonl")


@dataclass(frozen=True)
class Verdicts:
    """Where *version* of lezer-promql sees the first error of each expression, -1 for nowhere.

    Places count code points from 0. The last *mistakes* expressions were made wrong on purpose.
    """

    version: str
    seed: int
    mistakes: int
    errors: dict[str, int]

    @property
    def refused(self) -> int:
        """How many expressions have an error."""
        return sum(at >= 0 for at in self.errors.values())

    @property
    def refused_mistakes(self) -> int:
        """How many of those that were made wrong have one."""
        return sum(at >= 0 for at in list(self.errors.values())[-self.mistakes :])


def read_verdicts(file: Path = FILE) -> Verdicts:
    head, *lines = file.read_text().splitlines()
    about = json.loads(head)
    errors = {text: at for at, text in map(json.loads, lines)}
    return Verdicts(about["version"], about["seed"], about["mistakes"], errors)


def write_verdicts(file: Path, told: Verdicts) -> None:
    about = {
        "package": PACKAGE,
        "version": told.version,
        "seed": told.seed,
        "mistakes": told.mistakes,
    }
    lines = [json.dumps(about), *(json.dumps([at, text]) for text, at in told.errors.items())]
    file.write_text("\n".join(lines) + "\n")

"""All rows on all systems, one after the other."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.faults.outcome import Outcome, Skipped
from benchmarks.faults.rows import FLIPS, ROWS, Effort, Prepared
from benchmarks.faults.systems import OURS, SYSTEMS, absence
from benchmarks.faults.truth import Unreadable
from benchmarks.processes import NotStarted, scratch


def run(
    rows: Sequence[str],
    systems: Sequence[str],
    effort: Effort,
    console: Console,
    parent: Path | None = None,
) -> dict[str, dict[str, Outcome]]:
    """Row -> system -> outcome; data lie below *parent* (a temporary directory) while it runs.

    Systems that are not installed are left out, and *console* says so. A system that does not
    come back after a fault has lost what it had: its outcome says what happened.
    """
    outcomes: dict[str, dict[str, Outcome]] = {}
    prepared = Prepared()
    with scratch("o11y-faults-", parent) as home:
        present = []
        for name in systems:
            missing = absence(name)
            if missing:
                console.print(f"without {name}: {missing}")
            else:
                present.append(name)
                with SYSTEMS[name].start(home / f"{name}-warm"):
                    pass  # ours may have to compile its kernels
        for row in rows:
            for name in present:
                outcome = _perform(row, name, home / f"{name}-{row}", effort, prepared)
                outcomes.setdefault(row, {})[name] = outcome
                console.print(_progress(row, name, outcome), soft_wrap=True)
    return outcomes


def _perform(row: str, name: str, home: Path, effort: Effort, prepared: Prepared) -> Outcome:
    try:
        return ROWS[row][1](SYSTEMS[name], home, effort, prepared)
    except Skipped as reason:
        return Outcome(skipped=str(reason))
    except (NotStarted, Unreadable) as error:
        return Outcome(failed=str(error).partition("; its output ends:")[0])


def _progress(row: str, name: str, outcome: Outcome) -> str:
    if outcome.skipped:
        return f"{row} {name}: not done: {outcome.skipped}"
    if outcome.failed:
        return f"{row} {name}: [red]{outcome.failed}[/red]"
    count = outcome.count
    text = f"{count.acked:,} acknowledged, {count.lost:,} lost, {count.invented:,} invented"
    return f"{row} {name}: {text}, {count.double:,} double; {'; '.join(outcome.notes)}"


def all_sound(outcomes: dict[str, dict[str, Outcome]]) -> bool:
    """Whether ours came back in every row with no sample lost, invented or double.

    Samples on which a bit flipped may be lost.
    """
    return all(
        by_system[OURS].sound or (row in FLIPS and by_system[OURS].exact)
        for row, by_system in outcomes.items()
        if OURS in by_system
    )

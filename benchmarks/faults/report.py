"""The outcomes as a table for people, as Markdown for README.md and as JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.faults.outcome import Outcome
from benchmarks.faults.rows import ROWS
from benchmarks.faults.systems import SYSTEMS

Outcomes = Mapping[str, Mapping[str, Outcome]]
"""Row -> system -> what became of it."""

COLUMNS = ("acknowledged", "readable", "lost", "invented", "double", "ready, s")


def print_table(outcomes: Outcomes, console: Console) -> None:
    """One line for each row and system, with all figures."""
    table = Table(title="Faults", title_justify="left")
    for name in ("fault", "system"):
        table.add_column(name)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    table.add_column("notes", ratio=1)
    for row, by_system in outcomes.items():
        for number, (system, outcome) in enumerate(by_system.items()):
            title = ROWS[row][0] if number == 0 else ""
            table.add_row(title, system, *_cells(outcome), end_section=number + 1 == len(by_system))
    console.print(table)


def markdown(outcomes: Outcomes) -> str:
    """A table with one column for each system; what is lost of what was acknowledged, and notes."""
    systems = list(dict.fromkeys(name for by_system in outcomes.values() for name in by_system))
    lines = [
        _line(["fault", *(SYSTEMS[name].title for name in systems)]),
        _line(["---"] * (len(systems) + 1)),
    ]
    for row, by_system in outcomes.items():
        cells = [_sentence(by_system[name]) if name in by_system else "" for name in systems]
        lines.append(_line([ROWS[row][0], *cells]))
    return "\n".join(lines) + "\n"


def write_json(outcomes: Outcomes, path: Path) -> None:
    document = {
        row: {name: outcome.as_dict() for name, outcome in by_system.items()}
        for row, by_system in outcomes.items()
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def _cells(outcome: Outcome) -> list[str]:
    if outcome.skipped:
        return ["-"] * len(COLUMNS) + [f"not done: {outcome.skipped}"]
    if outcome.failed:
        return ["-"] * len(COLUMNS) + [outcome.failed]
    count = outcome.count
    figures = (count.acked, count.readable, count.lost, count.invented, count.double)
    return [*(f"{one:,}" for one in figures), outcome.ready_text, "; ".join(outcome.notes)]


def _sentence(outcome: Outcome) -> str:
    """A cell: bold where nothing is lost, invented or double."""
    if outcome.skipped:
        return f"not done: {outcome.skipped}"
    if outcome.failed:
        return outcome.failed
    count = outcome.count
    parts = [f"lost {count.lost:,} of {count.acked:,}"]
    parts += [f"{count.invented:,} invented"] if count.invented else []
    parts += [f"{count.double:,} double"] if count.double else []
    figures = ", ".join(parts)
    bold = f"**{figures}**" if outcome.sound else figures
    ready = f"ready in {outcome.ready_text} s" if outcome.ready_s else "never ready"
    return "; ".join([bold, ready, *outcome.notes])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

"""The results of a run as a table for people and as JSON for programs."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.lines import Figures, Line, from_dict
from benchmarks.targets import TARGETS, is_met

WIDTH = 160
"""Columns of the printed table."""
HEADER = ["row", "cores"]
FOOTER = ["ours/best", "wanted", "met"]
FIGURES = (
    "Ingest (always, interval: --wal-sync of ours): samples a CPU-second of the server until it is"
    " idle / samples a second. Queries: p50 / p95 / server CPU a query. Under load: queries a"
    " second at 1 / 4 / 16 connections, and server CPU a query. Disk: without / with logs."
)


def print_table(results: Mapping[str, Any], console: Console) -> None:
    """Prints one line for each that was measured, and what differed."""
    table = Table(title=FIGURES, title_justify="left", title_style="")
    names = list(results["servers"])
    for name in [*HEADER, *names, *FOOTER]:
        table.add_column(name, justify="left" if name in HEADER else "right", no_wrap=True)
    for line in lines_of(results):
        table.add_row(*cells(line, names))
    console.print(table)
    console.print(verdict(results))
    for title, found in results["differences"].items():
        console.print(f"[red]{title}[/red]: {found}", soft_wrap=True)


def write_json(results: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(results, indent=1) + "\n")


def lines_of(results: Mapping[str, Any]) -> list[Line]:
    """The lines of results as they were written."""
    return [from_dict(data) for data in results["lines"]]


def cells(line: Line, names: list[str]) -> list[str]:
    """The texts of one line of the table, with the servers *names*."""
    ratio, target, met = line.ratio, TARGETS.get(line.row), is_met(line)
    wanted = target.wanted(line.cores) if target else None
    sign = "" if wanted is None else "≥ " if line.more else "≤ "
    unit = f" {line.unit}" if target and target.absolute else "x"
    return [
        f"{line.title}, {line.unit}" if line.unit else line.title,
        f"{line.cores}",
        *(" / ".join(_texts(line, line.servers.get(name, {}))) for name in names),
        "-" if ratio is None else f"{_short(ratio)}x",
        "" if wanted is None else f"{sign}{_short(wanted)}{unit}",
        "" if wanted is None else "-" if met is None else "yes" if met else "NO",
    ]


def told(line: Line) -> str:
    """One line as text, while the run goes on."""
    figures = {name: " / ".join(_texts(line, found)) for name, found in line.servers.items()}
    return f"{line.title}, {line.cores} core{'s' if line.cores > 1 else ''}: {figures}"


def verdict(results: Mapping[str, Any]) -> str:
    """How many targets are met."""
    met = [is_met(line) for line in lines_of(results)]
    return f"{met.count(True)} targets met, {met.count(False)} missed"


def _texts(line: Line, figures: Figures) -> Iterator[str]:
    for name in line.shown:
        yield _short(figures[name]) if name in figures else "-"


def _short(figure: float) -> str:
    if figure >= 100_000:
        return f"{figure / 1e6:.2f} M"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"

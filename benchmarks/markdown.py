"""The results of a run as a Markdown report, with its plots in files beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.lines import Line
from benchmarks.plot import Bar, draw
from benchmarks.targets import TARGETS


def write_markdown(results: Mapping[str, Any], path: Path) -> None:
    """Writes the report to *path* and a plot for each number of cores beside it."""
    path.write_text(as_markdown(results, path.stem))
    for cores in _cores(results):
        drawn = draw(_title(cores), bars_of(report.lines_of(results), cores))
        path.with_name(_plot_name(path.stem, cores)).write_text(drawn)


def as_markdown(results: Mapping[str, Any], stem: str) -> str:
    """The report; its plots are files named after *stem*."""
    workload, machine, names = results["workload"], results["machine"], list(results["servers"])
    parts = [
        "# Measured",
        f"{workload['samples']:,} samples of {workload['series']:,} series, every"
        f" {workload['step_s']} s for {workload['span_s'] / 3600:g} h,"
        f" {workload['senders']} senders, seed {workload['seed']};"
        f" {machine['processor']}, {machine['cores']} cores.",
        "\n".join(
            f"- {name}: {server['kind'] or 'unknown'} {server['version']}".rstrip()
            for name, server in results["servers"].items()
        ),
        f"{report.FIGURES} {report.verdict(results)}.",
        "\n".join(_table(results, names)),
        *(f"![{_title(cores)}]({_plot_name(stem, cores)})" for cores in _cores(results)),
    ]
    if results["differences"]:
        parts.append("## Answers that differ")
        parts += [f"- {title}: {found}" for title, found in results["differences"].items()]
    return "\n\n".join(parts) + "\n"


def bars_of(lines: list[Line], cores: int) -> list[Bar]:
    """A bar for each row on *cores* cores that has a ratio."""
    bars = []
    for line in lines:
        ratio, target = line.ratio, TARGETS.get(line.row)
        if line.cores != cores or not ratio:
            continue
        wanted = None if target is None or target.absolute else target.wanted(cores)
        if not line.more:
            ratio, wanted = 1 / ratio, wanted and 1 / wanted
        bars.append(Bar(line.title, ratio, wanted))
    return bars


def _table(results: Mapping[str, Any], names: list[str]) -> list[str]:
    header = [*report.HEADER, *names, *report.FOOTER]
    rows = [header, ["---"] * len(header)]
    rows += [report.cells(line, names) for line in report.lines_of(results)]
    return [f"| {' | '.join(row)} |" for row in rows]


def _cores(results: Mapping[str, Any]) -> list[int]:
    return sorted({line.cores for line in report.lines_of(results)})


def _title(cores: int) -> str:
    return f"Ours against the best peer on {cores} core{'s' if cores > 1 else ''} (right is better)"


def _plot_name(stem: str, cores: int) -> str:
    return f"{stem}-{cores}.svg"

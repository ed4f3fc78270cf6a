"""``o11y bench``: what this server does beside others, measured on this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

bench_app = typer.Typer(
    help="Compare with Prometheus and VictoriaMetrics, on loopback.", no_args_is_help=True
)


WIDTH = 150
"""Columns of the printed table."""


@bench_app.callback()
def main() -> None:
    """A verb of its own for each comparison."""


@bench_app.command()
def faults(
    quick: Annotated[bool, typer.Option("--quick", help="A few rounds of everything.")] = False,
    rounds: Annotated[int | None, typer.Option(help="Kills in a row; 100, quick 3.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Of writing before a kill, at most; 8, quick 2.")
    ] = None,
    flips: Annotated[int | None, typer.Option(help="Bits in each region; 20, quick 3.")] = None,
    seed: Annotated[int, typer.Option(help="Of instants and places.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A row; may be given several times.")
    ] = None,
    systems: Annotated[
        str, typer.Option(help="Which, comma-separated.")
    ] = "ours,prometheus,victoria-metrics",
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where the data lie while it runs.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table for a README as well.")
    ] = False,
) -> None:
    """Kill servers, fill disks, flip bits: what is left of the acknowledged samples.

    Exits with 1 when ours has lost, invented or doubled a sample.
    """
    from benchmarks.faults import report, rows, run
    from benchmarks.faults.systems import SYSTEMS

    wanted, names = only or list(rows.ROWS), [one.strip() for one in systems.split(",")]
    _check(wanted, rows.ROWS, "--only")
    _check(names, SYSTEMS, "--systems")
    usual = rows.QUICK if quick else rows.Effort()
    effort = rows.Effort(
        rounds=usual.rounds if rounds is None else rounds,
        seconds=usual.seconds if seconds is None else seconds,
        flips=usual.flips if flips is None else flips,
        seed=seed,
    )
    outcomes = run.run(wanted, names, effort, Console(stderr=True), directory)
    report.print_table(outcomes, Console(width=WIDTH))
    if markdown:
        print(report.markdown(outcomes))
    if json is not None:
        report.write_json(outcomes, json)
    raise typer.Exit(0 if run.all_sound(outcomes) else 1)


def _check(given: list[str], known: Mapping[str, object], option: str) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        text = f"no {', '.join(unknown)} among {', '.join(known)}"
        raise typer.BadParameter(text, param_hint=option)

"""``o11y bench``: what this server does beside others, measured on this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

bench_app = typer.Typer(help="Compare with Prometheus and VictoriaMetrics, on loopback.")


WIDTH = 150
"""Columns of the printed table."""


@bench_app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    url: Annotated[
        list[str] | None,
        typer.Option("--url", help="NAME=http://HOST:PORT, a running, empty server; repeatable."),
    ] = None,
    peers: Annotated[
        str | None, typer.Option(help="Servers to start, comma-separated; beside --url only ours.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One ingest and one query.")] = False,
    instances: Annotated[int, typer.Option(help="Of up to 100 series each.")] = 100,
    hours: Annotated[float, typer.Option(help="Of scrapes.")] = 6,
    step: Annotated[int, typer.Option(help="Seconds between two scrapes.")] = 15,
    jitter: Annotated[int, typer.Option(help="Milliseconds around each scrape.")] = 5,
    churn: Annotated[float, typer.Option(help="Share of instances replaced once.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of values and times.")] = 1,
    parts: Annotated[
        str | None, typer.Option(help="Of small, ingest, state, queries, load.")
    ] = None,
    queries: Annotated[str | None, typer.Option(help="Letters, such as a,d2,n.")] = None,
    server_cores: Annotated[
        str | None, typer.Option(help="On how many cores, one pass for each.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where the data lie while it runs.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write a report there, with plots beside.")
    ] = None,
) -> None:
    """Give all servers the same samples, compare their answers, and measure them in turn.

    What else can be set tells python -m benchmarks.run --help. Exits with 1 when an answer differs.
    """
    if context.invoked_subcommand is not None:
        return
    from benchmarks.options import Options
    from benchmarks.run import run

    options = Options(
        url=url or [],
        peers=peers,
        quick=quick,
        instances=instances,
        hours=hours,
        step=step,
        jitter=jitter,
        churn=churn,
        seed=seed,
        parts=parts,
        queries=queries,
        server_cores=server_cores,
        dir=directory,
        json=json,
        markdown=markdown,
    )
    try:
        options.check()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    raise typer.Exit(run(options))


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
    from rich.console import Console

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

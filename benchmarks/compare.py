"""Compares two runs, or this tree with another commit.

python -m benchmarks.compare old.json new.json
python -m benchmarks.compare --against HEAD~1 [--pairs 9] [--queries a,d2]
"""

import argparse
import json
import os
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import commits, ingest_rows, options, pairs, servers
from benchmarks.lines import Line, find
from benchmarks.options import Options
from benchmarks.pairs import NEW, OLD, Paired
from benchmarks.peers import OURS
from benchmarks.processes import scratch
from benchmarks.queries import chosen
from benchmarks.report import lines_of

INSTANCES = 50
"""Of a comparison with a commit, unless told otherwise: 7.2 million samples in six hours."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", type=Path, help="the JSON of two runs, old and new")
    parser.add_argument("--against", metavar="COMMIT", help="measure this tree beside it")
    parser.add_argument("--pairs", type=int, default=9, help="of measurements, for each figure")
    options.add_to(parser)
    parser.set_defaults(instances=INSTANCES)
    given = parser.parse_args(arguments)
    console = Console(width=140)
    if given.against and not given.files:
        found = against(given.against, given.pairs, options.from_parsed(parser, given))
        console.print(pair_table(found, commits.resolved(given.against)))
        return 0
    if len(given.files) != 2 or given.against:
        parser.error("give two files, or --against COMMIT")
    old, new = (lines_of(json.loads(path.read_text())) for path in given.files)
    console.print(run_table(old, new))
    return 0


def against(commit: str, count: int, asked: Options) -> list[Paired]:
    """Every figure of this tree (new) and of *commit* (old), in *count* pairs."""
    say = Console(stderr=True, width=140).print
    cores = sorted(os.sched_getaffinity(0))
    server_cores = cores[-asked.cores[0] :]
    workload = asked.workload()
    with (
        scratch("o11y-bench-", asked.dir) as home,
        ExitStack() as stack,
    ):
        program = stack.enter_context(commits.installed(commit, home))
        os.sched_setaffinity(0, cores[: -len(server_cores)] or cores)
        stack.callback(os.sched_setaffinity, 0, cores)
        start = pairs.starter({OLD: program, NEW: servers.O11Y}, server_cores)
        shards = ingest_rows.prepare(workload, 10_000, asked.senders)
        found = []
        if "ingest" in asked.measured:
            found.append(pairs.ingest_pairs(start, shards, count, home))
            say(_told(found[-1]))
        running = pairs.loaded(start, shards, home, stack)
        for query in chosen(asked.letters if "queries" in asked.measured else []):
            found += pairs.query_pairs(query, running, workload, count)
            say(_told(found[-2]))
    return found


def pair_table(found: list[Paired], commit: str) -> Table:
    """The medians of both, and of the pairs' ratios, with the range that half of them lie in."""
    table = Table(title=f"this tree by {commit}, medians of pairs", title_justify="left")
    for name in ["figure", "unit", commit, "this tree", "ratio", "half of the pairs"]:
        table.add_column(name, justify="left" if name in ("figure", "unit") else "right")
    for one in found:
        ranked = sorted(one.ratios)
        low, high = ranked[len(ranked) // 4], ranked[-1 - len(ranked) // 4]
        medians = [f"{statistics.median(side):.4g}" for side in (one.old, one.new)]
        table.add_row(
            one.title, one.unit, *medians, f"{one.ratio:.3f}x", f"{low:.3f} to {high:.3f}"
        )
    return table


def run_table(old: list[Line], new: list[Line]) -> Table:
    """Ours in two runs, and against the best peer in each; lines of one run only are left out."""
    table = Table(title="two runs", title_justify="left")
    columns = ["row", "cores", "ours, old", "new", "new/old", "ours/best, old", "new"]
    for name in columns:
        table.add_column(name, justify="left" if name == "row" else "right")
    for line in new:
        before = find(old, line.row, line.cores)
        if before is None:
            continue
        figures = [one.row_figures.get(OURS) for one in (before, line)]
        quotient = figures[1] / figures[0] if figures[0] and figures[1] else None
        texts = [_text(one) for one in (*figures, quotient, before.ratio, line.ratio)]
        table.add_row(line.title, f"{line.cores}", *texts)
    return table


def _text(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:,.4g}" if figure < 1e5 else f"{figure:,.0f}"


def _told(one: Paired) -> str:
    return f"{one.title}: {one.ratio:.3f}x"


if __name__ == "__main__":
    sys.exit(main())

"""Measures ours beside Debian's Prometheus and VictoriaMetrics; see docs/benchmarks.md.

python -m benchmarks.run --quick
"""

import os
import platform
import sys
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import idle, ingest_rows, load_rows, peers, query_rows, report, state_rows
from benchmarks.ingest_rows import IngestRow
from benchmarks.lines import Line
from benchmarks.markdown import write_markdown
from benchmarks.options import Options, parse
from benchmarks.peers import OURS, Peer, Target
from benchmarks.processes import scratch
from benchmarks.queries import NARROW, chosen
from benchmarks.servers import Absent
from benchmarks.workload import Workload


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments, "python -m benchmarks.run", __doc__)
    return run(options)


def run(options: Options) -> int:
    """Measures, prints and writes as *options* say; 1 when an answer differs, else 0."""
    cores = os.sched_getaffinity(0)
    try:
        results = Run(options, sorted(cores)).measure()
    finally:
        os.sched_setaffinity(0, cores)
    report.print_table(results, Console(width=report.WIDTH))
    if options.json:
        report.write_json(results, options.json)
    if options.markdown:
        write_markdown(results, options.markdown)
    return 1 if results["differences"] else 0


class Run:
    """One run: what was found until now, and on which cores who runs."""

    def __init__(self, options: Options, cores: list[int]) -> None:
        self.options, self._cores = options, cores
        self.lines: list[Line] = []
        self.differences: dict[str, list[str]] = {}
        self._console = Console(stderr=True, width=140)
        os.sched_setaffinity(0, cores[: -max(options.cores)] or cores[:-1] or cores)

    def measure(self) -> dict[str, Any]:
        """All parts; the results as plain data."""
        options = self.options
        workload = options.workload()
        with scratch("o11y-bench-", options.dir) as home:
            if "small" in options.measured and options.started:
                self._small(workload, home)
            workload, servers = self._large(options.workload(), home)
        return {
            "workload": asdict(workload)
            | {"series": workload.series, "samples": workload.samples, "senders": options.senders},
            "machine": {"cores": len(self._cores), "processor": _processor()},
            "servers": servers,
            "lines": [line.as_dict() for line in self.lines],
            "differences": self.differences,
        }

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False)

    def _small(self, workload: Workload, home: Path) -> None:
        """The ingest rows with fresh servers."""
        options, cores = self.options, self._server_cores(self.options.cores[0])
        small = ingest_rows.small_workload(workload, options.small_samples)
        medium = ingest_rows.medium_workload(workload, options.medium_hours)
        rows = [(ingest_rows.MEDIUM, medium), *((row, small) for row in ingest_rows.SMALL)]
        for number, (row, load) in enumerate(rows):
            self.say(f"{load.samples:,} samples, {row.samples} a request, {row.senders} senders")
            where = home / f"ingest-{number}"
            self._add(*ingest_rows.fresh_row(row, load, options.started, where, cores, self.say))

    def _large(self, workload: Workload, home: Path) -> tuple[Workload, dict[str, Any]]:
        """The large ingest and what is asked of the servers afterwards."""
        options, cores = self.options, self._server_cores(self.options.cores[0])
        self.say(f"{workload.samples:,} samples of {workload.series:,} series, 10,000 a request")
        with ExitStack() as stack:
            started = self._start(home, cores, stack)
            targets: list[Target] = [
                *started,
                *(peers.remote(name, url) for name, url in options.urls.items()),
            ]
            row = IngestRow(10_000, options.senders, ingest_rows.LARGE.rows)
            shards = ingest_rows.prepare(workload, row.samples, row.senders)
            found = ingest_rows.ingest_together(targets, shards)
            del shards
            self._add(*ingest_rows.lines_of(row, found, len(cores)))
            self._add(state_rows.peak_line(found, len(cores)))
            for peer in started:
                peer.wait_for_compaction()
            for number, count in enumerate(options.cores):
                self._pass(started, targets, workload, count, first=number == 0)
            servers = {target.name: _described(target) for target in targets}
        return workload, servers

    def _pass(
        self,
        started: list[Peer],
        targets: list[Target],
        workload: Workload,
        count: int,
        *,
        first: bool,
    ) -> None:
        """All queries with the servers on *count* cores; under load in the *first* pass only."""
        options, cores = self.options, self._server_cores(count)
        if started and ("state" in options.measured or not first):
            lines = state_rows.restarted(started, cores, workload.samples)
            if "state" in options.measured:
                self._add(*lines)
        idle.wait([peer.pid for peer in started], idle.RESTED_S)
        for query in chosen(options.letters if "queries" in options.measured else []):
            line, found = query_rows.ask_all(query, targets, workload, count, options.budget)
            self.differences |= {f"{query.name} {name}": what for name, what in found.items()}
            self._add(line)
        loaded = [letter for letter in options.letters if letter in NARROW]
        for query in chosen(loaded if first and "load" in options.measured else []):
            try:
                self._add(
                    *load_rows.load_all(query, targets, workload, count, options.load_seconds)
                )
            except (RuntimeError, OSError) as error:
                self.differences[f"{query.name} under load"] = [str(error)]

    def _start(self, home: Path, cores: list[int], stack: ExitStack) -> list[Peer]:
        running: list[Peer] = []
        for name in self.options.started:
            try:
                running.append(stack.enter_context(peers.start(name, home / name, cores)))
            except Absent as absent:
                self.say(f"without {name}: {absent}")
        return running

    def _server_cores(self, count: int) -> list[int]:
        return self._cores[-count:]

    def _add(self, *lines: Line) -> None:
        self.lines += lines
        for line in lines:
            self.say(report.told(line))


def _described(target: Target) -> dict[str, Any]:
    kind, released = peers.kind_and_version(target.url)
    own = version("hanzo-o11y") if kind == OURS and target.pid is not None else released
    return {"kind": kind, "version": own, "measured": target.pid is not None}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())

"""What a run measures, and with how much effort."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from benchmarks import peers
from benchmarks.queries import QUERIES, QUICK
from benchmarks.workload import CLASSES, Workload, starting_now

PARTS = ["small", "ingest", "state", "queries", "load"]
"""Ingest in small requests; the large ingest; disk, start-up and memory; latencies; queries/s."""


@dataclass(frozen=True)
class Options:
    """One run; the fields are the options of the command line, where each is told."""

    instances: int = 100
    hours: float = 6.0
    step: int = 15
    jitter: int = 5
    churn: float = 0.0
    classes: str = ",".join(CLASSES)
    seed: int = 1
    quick: bool = False
    peers: str | None = None
    url: Sequence[str] = ()
    parts: str | None = None
    queries: str | None = None
    server_cores: str | None = None
    senders: int = 2
    small_samples: int = 500_000
    medium_hours: float = 3.0
    budget: float = 4.0
    load_seconds: float = 1.0
    dir: Path | None = None
    json: Path | None = None
    markdown: Path | None = None

    def check(self) -> None:
        """ValueError where a name is unknown or a figure out of bounds."""
        _ = self.urls, self.measured, self.letters, self.cores, self.workload()
        if not self.started and not self.url:
            raise ValueError("no server: give --peers or --url")
        if not 0 <= self.jitter <= 40:
            raise ValueError("--jitter is from 0 to 40 ms")

    def workload(self) -> Workload:
        """The large one, ending now."""
        made = Workload(
            instances=self.instances,
            span_s=round(self.hours * 3600),
            step_s=self.step,
            seed=self.seed,
            jitter_ms=self.jitter,
            churn=self.churn,
            classes=tuple(_names(self.classes, list(CLASSES), "--classes")),
        )
        return replace(made, start_ms=starting_now(made))

    @property
    def started(self) -> list[str]:
        """The servers to start: all, beside servers by URL only ours, unless --peers says so."""
        if self.peers is not None:
            return _names(self.peers, peers.NAMES, "--peers")
        if self.url:
            return [peers.OURS]
        return peers.NAMES[:2] if self.quick else peers.NAMES

    @property
    def urls(self) -> dict[str, str]:
        """Name -> URL of the servers that run already."""
        found = dict(text.split("=", 1) for text in self.url if "=" in text)
        wrong = [url for url in found.values() if not url.startswith("http://")]
        if len(found) != len(self.url) or wrong or found.keys() & set(self.started):
            raise ValueError("--url is NAME=http://HOST:PORT, each name once")
        return found

    @property
    def measured(self) -> list[str]:
        """Which of PARTS."""
        usual = ["ingest", "queries"] if self.quick else PARTS
        return usual if self.parts is None else _names(self.parts, PARTS, "--parts")

    @property
    def letters(self) -> list[str]:
        """Which queries."""
        known = [query.letter for query in QUERIES]
        if self.queries is None:
            return QUICK if self.quick else known
        return _names(self.queries, known, "--queries")

    @property
    def cores(self) -> list[int]:
        """On how many cores the servers are measured, one pass for each."""
        text = self.server_cores or ("1" if self.quick else "1,2")
        found = [int(part) for part in text.split(",")]
        if min(found) < 1:
            raise ValueError("--server-cores are numbers from 1 on, such as 1,2")
        return found


def parse(arguments: Sequence[str] | None, program: str, text: str | None) -> Options:
    """The options of a command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(
        prog=program, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_to(parser)
    return from_parsed(parser, parser.parse_args(arguments))


def add_to(parser: argparse.ArgumentParser) -> None:
    """Declares the options at *parser*."""
    usual = Options()
    for one in fields(Options):
        flag, default = "--" + one.name.replace("_", "-"), getattr(usual, one.name)
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true", help=HELP[one.name])
        elif one.name == "url":
            parser.add_argument(flag, action="append", default=[], help=HELP[one.name])
        else:
            kind = Path if one.name in ("dir", "json", "markdown") else type(default or "")
            parser.add_argument(flag, type=kind, default=default, help=HELP[one.name])


def from_parsed(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Options:
    """The options of ``add_to``; ends the program where they are wrong."""
    options = Options(**{one.name: getattr(given, one.name) for one in fields(Options)})
    try:
        options.check()
    except ValueError as error:
        parser.error(str(error))
    return options


HELP = {
    "instances": "of up to 100 series each",
    "hours": "of scrapes",
    "step": "seconds between two scrapes",
    "jitter": "ms around each scrape, at most 40",
    "churn": "share of the instances that are replaced once by others",
    "classes": f"of values, of {','.join(CLASSES)}",
    "seed": "of values and times",
    "quick": "the large ingest and d2 on one core, beside Prometheus",
    "peers": f"the servers to start, of {','.join(peers.NAMES)}; beside --url only ours",
    "url": "NAME=http://HOST:PORT, a running server that is empty; may be given several times",
    "parts": f"of {','.join(PARTS)}",
    "queries": "letters, such as a,d2,n; default all",
    "server_cores": "on how many cores, one pass for each; default 1,2",
    "senders": "connections of the large ingest",
    "small_samples": "in all, of the rows with 50 samples a request",
    "medium_hours": "at most, of the row with 500 samples a request",
    "budget": "seconds that a query may take of a server in all, after three repetitions",
    "load_seconds": "that each server is loaded with a query, at each number of connections",
    "dir": "where the servers' data lie while it runs",
    "json": "write the figures to this file",
    "markdown": "write a report to this file, with plots beside it",
}


def _names(text: str, known: Sequence[str], option: str) -> list[str]:
    found = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in found if name not in known]:
        raise ValueError(f"{option}: no {', '.join(unknown)} among {', '.join(known)}")
    return found

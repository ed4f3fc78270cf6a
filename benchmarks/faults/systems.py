"""The systems that the faults are done to, each started in a fresh directory on loopback."""

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import servers
from benchmarks.servers import Server

OURS, PROMETHEUS, VICTORIA_METRICS = "ours", "prometheus", "victoria-metrics"
RETENTION = "60d"
ULID = "0" + "?" * 25
"""The name of a block of Prometheus."""


@dataclass(frozen=True)
class System:
    """A database under test; its samples lie in the directory ``home / "data"``."""

    name: str
    title: str
    begin: Callable[[Path, Sequence[str]], Server]
    log_name: str
    complaint: str
    """What a line of its log looks like that tells of damage."""
    regions: Mapping[str, Sequence[str]]
    """Part of its files -> patterns of their paths below the data directory."""
    log_words: frozenset[str] = frozenset()
    """Names of files and directories of its log, which do not change by a seal or a merge."""
    held_s: float = 0.0
    """How long it may hold acknowledged samples before it writes them."""
    merge_path: str = ""
    """A request that makes it merge."""

    def start(self, home: Path, *arguments: str) -> Server:
        """The server, ready; NotStarted when it does not come up."""
        home.mkdir(parents=True, exist_ok=True)
        return self.begin(home, arguments)

    def sealed_names(self, data: Path) -> set[str]:
        """All files and directories below *data* that are not its log's."""
        names = set()
        for where, folders, files in os.walk(data):
            folders[:] = [name for name in folders if name not in self.log_words]
            names |= {os.path.join(where, name) for name in folders + files}
        return names

    def complaints(self, home: Path) -> list[str]:
        """The lines of the last start's log that complain about something."""
        text = (home / self.log_name).read_text(errors="replace")
        return [line for line in text.splitlines() if re.search(self.complaint, line)]


@dataclass
class Running:
    """A system that runs in *home*, and how long its starts took."""

    system: System
    home: Path
    server: Server = field(init=False)
    ready_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = self.system.start(self.home)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def data(self) -> Path:
        return self.home / "data"

    def sealed_names(self) -> set[str]:
        return self.system.sealed_names(self.data)

    def start(self) -> None:
        """Starts it again, after it was killed or stopped, and takes the time until it is ready."""
        began = time.monotonic()
        self.server = self.system.start(self.home)
        self.ready_s.append(time.monotonic() - began)

    def restart(self) -> None:
        """A clean stop and a start."""
        self.server.process.terminate(60)
        self.start()

    def kill(self) -> None:
        self.server.process.kill()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.server.process.__exit__(None, None, None)


def copy_data(source: Path, home: Path) -> None:
    """A fresh *home* with a copy of the data directory *source*."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    shutil.copytree(source, home / "data")


def absence(name: str) -> str:
    """Why system *name* cannot be started here; empty when it can."""
    try:
        if name != OURS:
            servers.program(name, name)
    except servers.Absent as error:
        return str(error)
    return ""


def _ours(home: Path, arguments: Sequence[str]) -> Server:
    return servers.start_o11y(
        home / "data", home / "o11y.log", "--retention", RETENTION, *arguments
    )


def _prometheus(home: Path, arguments: Sequence[str]) -> Server:
    retention = f"--storage.tsdb.retention.time={RETENTION}"
    return servers.start_prometheus(home, None, retention, *arguments)


def _victoria_metrics(home: Path, arguments: Sequence[str]) -> Server:
    return servers.start_victoria_metrics(home, f"-retentionPeriod={RETENTION}", *arguments)


SYSTEMS = {
    OURS: System(
        OURS,
        "Hanzo O11y",
        _ours,
        "o11y.log",
        r"level=(warn|error)|^o11y: ",
        {
            "log": ["tenants/*/wal/*.wal"],
            "data": ["tenants/*/blocks/*/data"],
            "index": ["tenants/*/blocks/*/index"],
            "manifest": ["tenants/*/manifest"],
        },
        frozenset({"wal"}),
    ),
    PROMETHEUS: System(
        PROMETHEUS,
        "Prometheus",
        _prometheus,
        "prometheus.log",
        r"level=(warn|error)|^panic",
        {
            "log": ["wal/[0-9]*"],
            "data": [f"{ULID}/chunks/*"],
            "index": [f"{ULID}/index"],
            "manifest": [f"{ULID}/meta.json"],
        },
        frozenset({"wal", "chunks_head"}),
    ),
    VICTORIA_METRICS: System(
        VICTORIA_METRICS,
        "VictoriaMetrics",
        _victoria_metrics,
        "victoria-metrics.log",
        r"\t(warn|error|panic|fatal)\t|^panic",
        {
            "data": [
                "data/*/*/*/values.bin",
                "data/*/*/*/timestamps.bin",
            ],
            "index": [
                "data/*/*/*/index.bin",
                "data/*/*/*/metaindex.bin",
                "indexdb/*/*/*.bin",
            ],
            "manifest": ["indexdb/*/*/metadata.json"],
        },
        held_s=12.0,
        merge_path="/internal/force_merge",
    ),
}

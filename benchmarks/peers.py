"""The servers that are measured: ours, Debian's Prometheus and VictoriaMetrics, others by URL."""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import httpx

from benchmarks import servers
from benchmarks.api import Api, Refused
from benchmarks.servers import Server

OURS, PROMETHEUS, VICTORIA_METRICS = "o11y", "prometheus", "victoria-metrics"
NAMES = [OURS, PROMETHEUS, VICTORIA_METRICS]
HEAD_MS = 3 * 3600 * 1000
"""Prometheus cuts its head once it spans more than one and a half blocks of two hours."""
COMPACTION_S = 150.0
_VERSION = re.compile(
    r'^(vm_app_version|prometheus_build_info|o11y_build_info)\{.*?\b(?:short_)?version="([^"]+)"',
    re.M,
)
_KINDS = {
    "vm_app_version": VICTORIA_METRICS,
    "prometheus_build_info": PROMETHEUS,
    "o11y_build_info": OURS,
}


class Target(Protocol):
    """A server to send to and to ask; *kind* is one of NAMES, or empty where nobody knows."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def pid(self) -> int | None:
        """None where the process is not ours: CPU and memory cannot be measured then."""


@dataclass(frozen=True)
class Remote:
    """A server that somebody else runs."""

    name: str
    url: str
    kind: str
    pid: None = None


@dataclass
class Peer:
    """A server that was started here; *data* is where its samples lie."""

    name: str
    server: Server
    data: Path
    start: Callable[[Sequence[int]], Server]
    """Starts it again on the same data, on these cores."""
    kind: str

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def pid(self) -> int:
        return self.server.process.pid

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.process.__exit__(kind, error, trace)

    def restart(self, cores: Sequence[int]) -> float:
        """Stops the server and starts it on *cores*; the seconds from start to first answer."""
        self.server.process.terminate(120)
        began = time.perf_counter()
        self.server = self.start(cores)
        api = Api(self.server.url)
        try:
            api.instant('count({__name__=~".+"})', time.time())
        finally:
            api.close()
        return time.perf_counter() - began

    def disk_bytes(self) -> tuple[int, int]:
        """(everything in the data directory, the same without logs and mapped head chunks)."""
        everything = blocks = 0
        for where, _, names in os.walk(self.data):
            size = sum(os.stat(os.path.join(where, name)).st_blocks * 512 for name in names)
            everything += size
            if not {"wal", "chunks_head"} & set(Path(where).relative_to(self.data).parts):
                blocks += size
        return everything, blocks

    def samples_in_blocks(self, samples: int) -> int:
        """How many of all *samples* are not in logs alone: Prometheus' newest hours are."""
        if self.kind != PROMETHEUS:
            return samples
        metas = [json.loads(file.read_text()) for file in self.data.glob("*/meta.json")]
        return sum(int(meta["stats"].get("numSamples", 0)) for meta in metas)

    def wait_for_compaction(self) -> None:
        """Prometheus compacts once a minute; waits until its head is as short as it gets."""
        if self.kind != PROMETHEUS:
            return
        api = Api(self.server.url)
        deadline = time.monotonic() + COMPACTION_S
        try:
            while time.monotonic() < deadline:
                head = api.call("/api/v1/status/tsdb")["headStats"]
                if head["maxTime"] - head["minTime"] <= HEAD_MS:
                    return
                time.sleep(1)
        except Refused as error:
            raise RuntimeError(f"{self.name}: {error}") from error
        finally:
            api.close()


def start(
    name: str,
    home: Path,
    cores: Sequence[int],
    *arguments: str,
    kind: str | None = None,
    program: Path = servers.O11Y,
) -> Peer:
    """A fresh peer in *home*, bound to *cores*; servers.Absent when it is not installed.

    *kind* says what it is where *name* does not; *program* is the ``o11y`` of a peer of ours.
    """
    home.mkdir(parents=True, exist_ok=True)
    kind = kind or name

    def begin(cores: Sequence[int]) -> Server:
        prefix = ["taskset", "-c", ",".join(map(str, cores))]
        if kind == OURS:
            log = home / "o11y.log"
            return servers.start_o11y(
                home / "data", log, *arguments, prefix=prefix, program=program
            )
        if kind == PROMETHEUS:
            return servers.start_prometheus(home, None, *arguments, prefix=prefix)
        return servers.start_victoria_metrics(
            home, "-retentionPeriod=1y", *arguments, prefix=prefix
        )

    return Peer(name, begin(cores), home / "data", begin, kind)


def remote(name: str, url: str) -> Remote:
    """The server at *url*; OSError where nobody answers."""
    try:
        return Remote(name, url.rstrip("/"), kind_and_version(url)[0])
    except httpx.TransportError as error:
        raise OSError(f"{name} at {url}: {error}") from error


def kind_and_version(url: str) -> tuple[str, str]:
    """What kind of server answers at *url*, by its /metrics, and its version; empty if unknown."""
    text = httpx.get(f"{url.rstrip('/')}/metrics", timeout=30, trust_env=False).text
    found = _VERSION.search(text)
    return (_KINDS[found[1]], found[2]) if found else ("", "")


@contextmanager
def awake_alone(target: Target, others: Sequence[Target]) -> Iterator[None]:
    """Stops the processes of *others* meanwhile, so that they neither take the core nor tick."""
    stopped = [other.pid for other in others if other.pid is not None and other.pid != target.pid]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)

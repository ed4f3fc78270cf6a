"""The servers that are measured: ours and Debian's Prometheus and VictoriaMetrics, on loopback."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType

from benchmarks import servers
from benchmarks.api import Api, Refused
from benchmarks.servers import Server

OURS, PROMETHEUS, VICTORIA_METRICS = "o11y", "prometheus", "victoria-metrics"
NAMES = [OURS, PROMETHEUS, VICTORIA_METRICS]
HEAD_MS = 3 * 3600 * 1000
"""Prometheus cuts its head once it spans more than one and a half blocks of two hours."""
COMPACTION_S = 150.0


@dataclass
class Peer:
    """A server under measurement; *data* is where its samples lie."""

    name: str
    server: Server
    data: Path
    start: Callable[[], Server]
    extra: dict[str, str] = field(default_factory=dict)
    """Parameters that every query carries."""

    @property
    def exact(self) -> bool:
        """Whether its rate means the same as the reference's."""
        return self.name != VICTORIA_METRICS

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.process.__exit__(kind, error, trace)

    def restart(self) -> float:
        """Stops and starts the server; the seconds from its start to its first answer."""
        self.server.process.terminate(120)
        began = time.perf_counter()
        self.server = self.start()
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

    def wait_for_compaction(self) -> None:
        """Prometheus compacts once a minute; waits until its head is as short as it gets."""
        if self.name != PROMETHEUS:
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


def start(name: str, home: Path, cores: Sequence[int]) -> Peer:
    """A fresh peer in *home*, bound to *cores*; servers.Absent when it is not installed."""
    home.mkdir(parents=True, exist_ok=True)
    prefix = ["taskset", "-c", ",".join(map(str, cores))]
    begin = partial(_STARTERS[name], home, prefix)
    extra = {"nocache": "1"} if name == VICTORIA_METRICS else {}
    return Peer(name, begin(), home / "data", begin, extra)


def _start_ours(home: Path, prefix: Sequence[str]) -> Server:
    return servers.start_o11y(home / "data", home / "o11y.log", prefix=prefix)


def _start_prometheus(home: Path, prefix: Sequence[str]) -> Server:
    return servers.start_prometheus(home, None, prefix=prefix)


def _start_victoria_metrics(home: Path, prefix: Sequence[str]) -> Server:
    return servers.start_victoria_metrics(home, "-retentionPeriod=1y", prefix=prefix)


_STARTERS = {
    OURS: _start_ours,
    PROMETHEUS: _start_prometheus,
    VICTORIA_METRICS: _start_victoria_metrics,
}

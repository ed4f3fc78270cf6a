"""Sends prepared remote-write bodies as fast as a server takes them, and measures the server."""

import math
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from benchmarks.processes import cpu_seconds, memory_bytes
from benchmarks.remote_write import Sender
from benchmarks.servers import Server


class Request(NamedTuple):
    """A compressed body, the samples in it, and its place in the time order of all requests."""

    body: bytes
    samples: int
    order: int


IDLE_S = 3.0
IDLE_SHARE = 0.03
"""A server is idle when it takes less than this share of a core for IDLE_S."""
SETTLE_S = 120.0
AHEAD = 8
"""How far one connection may be ahead of another in order: Prometheus takes no late samples."""


@dataclass(frozen=True)
class Ingest:
    """One ingest: wall time from first request to last answer, CPU until the server is idle."""

    samples: int
    wall_s: float
    cpu_s: float
    request_p50_ms: float
    request_p95_ms: float
    peak_bytes: int

    @property
    def per_second(self) -> float:
        return self.samples / self.wall_s

    @property
    def per_cpu_second(self) -> float:
        """Samples per CPU-second of the server, user and system, seals and merges included."""
        return self.samples / self.cpu_s

    def as_dict(self) -> dict[str, float]:
        rates = {"per_second": self.per_second, "per_cpu_second": self.per_cpu_second}
        return asdict(self) | rates


def ingest(server: Server, shards: Sequence[Sequence[Request]]) -> Ingest:
    """Sends each of *shards* over its own connection; RuntimeError at the first refusal."""
    pid = server.process.pid
    took_ms: list[float] = []
    refused: list[str] = []
    pace = _Pace([shard[0].order if shard else math.inf for shard in shards])
    threads = [
        threading.Thread(target=_send, args=(server.url, number, shard, pace, took_ms, refused))
        for number, shard in enumerate(shards)
    ]
    cpu_before, began = cpu_seconds(pid), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall_s = time.perf_counter() - began
    if refused:
        raise RuntimeError(f"{server.url} refused a request: {refused[0]}")
    settle(server)
    return Ingest(
        samples=sum(request.samples for shard in shards for request in shard),
        wall_s=wall_s,
        cpu_s=cpu_seconds(pid) - cpu_before,
        request_p50_ms=statistics.median(took_ms),
        request_p95_ms=quantile(took_ms, 0.95),
        peak_bytes=memory_bytes(pid, "VmHWM"),
    )


def settle(server: Server) -> None:
    """Waits until the server is idle, or SETTLE_S."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        before = cpu_seconds(server.process.pid)
        time.sleep(IDLE_S)
        if cpu_seconds(server.process.pid) - before < IDLE_SHARE * IDLE_S:
            return


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which *share* of *values* lies (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


class _Pace:
    """Keeps the connections together, as the shared queue of a real sender does."""

    def __init__(self, due: list[float]) -> None:
        """*due*: the order of the request that each connection sends next."""
        self._due = due
        self._changed = threading.Condition()

    def wait(self, connection: int, order: float) -> None:
        """Says that *order* is due on *connection*; returns once it is not too far ahead."""
        with self._changed:
            self._due[connection] = order
            self._changed.notify_all()
            self._changed.wait_for(lambda: order - min(self._due) <= AHEAD)

    def leave(self, connection: int) -> None:
        """Nobody waits for *connection* any more."""
        with self._changed:
            self._due[connection] = math.inf
            self._changed.notify_all()


def _send(
    url: str,
    number: int,
    shard: Sequence[Request],
    pace: _Pace,
    took_ms: list[float],
    refused: list[str],
) -> None:
    sender = Sender(url, timeout_s=120)
    try:
        for request in shard:
            pace.wait(number, request.order)
            began = time.perf_counter()
            status, text = sender.send(request.body)
            took_ms.append((time.perf_counter() - began) * 1000)
            if status // 100 != 2:
                raise RuntimeError(f"{status} {text[:300]}")
    except Exception as error:
        refused.append(f"{error}")
    finally:
        pace.leave(number)
        sender.close()

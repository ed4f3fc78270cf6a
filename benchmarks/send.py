"""Sends prepared remote-write bodies as fast as a server takes them, and measures the server."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks import idle
from benchmarks.http1 import Answered, drive, post
from benchmarks.processes import cpu_seconds, memory_bytes
from benchmarks.remote_write import HEADERS
from benchmarks.servers import Server

WRITE = "/api/v1/write"
AHEAD = 4
"""How many requests a connection one connection may be ahead of another: Prometheus takes no late
samples."""


class Request(NamedTuple):
    """A compressed body, the samples in it, and its place in the time order of all requests."""

    body: bytes
    samples: int
    order: int


Shards = Sequence[Sequence[Request]]
"""What each connection sends, in order."""


@dataclass
class Sent:
    """What was sent until now; *wall_s* from the first request to the last answer."""

    samples: int = 0
    wall_s: float = 0.0
    took_ms: list[float] = field(default_factory=list)

    @property
    def figures(self) -> dict[str, float]:
        """What the sender sees."""
        return {
            "samples": self.samples,
            "wall_s": self.wall_s,
            "per_second": self.samples / self.wall_s,
            "request_p50_ms": statistics.median(self.took_ms),
            "request_p95_ms": quantile(self.took_ms, 0.95),
        }


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


def ingest(server: Server, shards: Shards) -> Ingest:
    """Sends each of *shards* over its own connection; RuntimeError at the first refusal."""
    pid, sent = server.process.pid, Sent()
    before_s = cpu_seconds(pid)
    send(server.url, shards, sent)
    return Ingest(
        samples=sent.samples,
        wall_s=sent.wall_s,
        cpu_s=idle.wait([pid])[pid] - before_s,
        request_p50_ms=statistics.median(sent.took_ms),
        request_p95_ms=quantile(sent.took_ms, 0.95),
        peak_bytes=memory_bytes(pid, "VmHWM"),
    )


def settle(server: Server) -> None:
    """Waits until the server is idle, or idle.SETTLE_S."""
    idle.wait([server.process.pid])


def send(url: str, shards: Shards, sent: Sent) -> None:
    """Sends each of *shards* over its own connection, together in time, and adds to *sent*."""
    pace = _Pace(url, shards, sent)
    began = time.perf_counter()
    drive(url, len(shards), pace.due, pace.answered)
    sent.wall_s += time.perf_counter() - began


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which *share* of *values* lies (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


class _Pace:
    """Keeps the connections together, as the shared queue of a real sender does."""

    def __init__(self, url: str, shards: Shards, sent: Sent) -> None:
        self._url, self._shards, self._sent = url, shards, sent
        self._next = [0] * len(shards)
        self._ahead = AHEAD * len(shards)

    def due(self, connection: int) -> bytes | None:
        """The next request of *connection*, unless it is too far ahead."""
        order = self._order(connection)
        first = min(map(self._order, range(len(self._shards))))
        if order == math.inf or order - first > self._ahead:
            return None
        request = self._shards[connection][self._next[connection]]
        return post(self._url, WRITE, HEADERS, request.body)

    def answered(self, answer: Answered) -> None:
        """Counts the request as sent; RuntimeError when it was refused."""
        if answer.reader.status // 100 != 2:
            text = answer.reader.reply.body[:300]
            raise RuntimeError(f"{self._url} refused a request: {answer.reader.status} {text!r}")
        at = self._next[answer.connection]
        self._sent.samples += self._shards[answer.connection][at].samples
        self._sent.took_ms.append(answer.took_ms)
        self._next[answer.connection] += 1

    def _order(self, connection: int) -> float:
        shard, at = self._shards[connection], self._next[connection]
        return shard[at].order if at < len(shard) else math.inf

"""A cardinality bomb in one tenant leaves the others alone and its own known series accepted.

Tenant ``bomb`` sends requests of 10,000 new series each over two connections, far beyond its
limit, and meanwhile the series that it has; tenant ``steady`` writes and queries at a constant
pace. Both phases, quiet and under the bomb, are measured in one run of one server, from the same
threads, and printed as a table.
"""

import http.client
import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
import pytest

from benchmarks.processes import cpu_seconds
from benchmarks.remote_write import Sender, compress, encode_labels, encode_series
from tests.harness import servers

pytestmark = pytest.mark.server

LIMIT = 20_000
REQUEST_SERIES = 10_000
BODIES = 20
STEADY_SERIES = 1_000
QUIET_S, BOMB_S = 6.0, 10.0
PACES_S = {"write": 0.05, "query": 0.05, "health": 0.02}
ALLOWED_RATIO, ALLOWED_S = 5, 0.05
"""The 99th percentile under the bomb: so many times that of the quiet phase, or this."""
LIMITS = f"""
defaults: {{max_global_series_per_user: 0, ingestion_rate: 0}}
tenants:
  bomb: {{max_global_series_per_user: {LIMIT}}}
"""
REFUSAL = (
    f"err-max-series-per-tenant: tenant bomb has {LIMIT} of {LIMIT} series; new series are refused"
)
QUERIES = (
    ("/api/v1/query?query=", 'sum by (shard) (rate(steady_total{shard=~"[0-4]"}[5m]))', ""),
    ("/api/v1/query_range?query=", "sum(rate(steady_total[2m]))", "&start={0}&end={1}&step=15"),
    ("/api/v1/series?match[]=", 'steady_total{shard="7"}', ""),
)

Values = list[float]


def labels(name: str, number: int) -> bytes:
    return encode_labels(
        {
            "__name__": name,
            "instance": f"10.0.{number % 250}.7:9100",
            "job": "api",
            "path": f"/v1/accounts/{number * 7919:09}/orders",
            "shard": f"{number % 10}",
        }
    )


def body(encoded: list[bytes], time_ms: int, value: float) -> bytes:
    return compress(b"".join(encode_series(one, [(time_ms, value)]) for one in encoded))


@dataclass
class Paced:
    """Does one thing again and again at a constant pace, and notes how long each took.

    *prepare* makes what is then done and timed, and answers what went wrong. What is late is not
    made up for.
    """

    name: str
    prepare: Callable[[], Callable[[], str]]
    seconds: dict[str, Values] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def run(self, phase: Callable[[], str]) -> None:
        """Until *phase* is empty; the times are noted by the phase in which they began."""
        while name := phase():
            act = self.prepare()
            began = time.perf_counter()
            if failure := act():
                self.failures.append(failure)
            took = time.perf_counter() - began
            self.seconds.setdefault(name, []).append(took)
            time.sleep(max(0.0, PACES_S[self.name] - took))

    def quantile_ms(self, phase: str, q: float) -> float:
        return float(np.quantile(self.seconds[phase], q)) * 1000


class Asker:
    """GET over one connection; the text of an answer other than 200, else ''."""

    def __init__(self, url: str, tenant: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._headers = {"X-Org-Id": tenant}

    def __call__(self, path: str) -> str:
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        return "" if answer.status == 200 else f"{path}: {answer.status} {text[:200]!r}"


class Writer:
    """Writes the *encoded* series of *tenant*, all at the time of each request."""

    def __init__(self, url: str, tenant: str, encoded: list[bytes]) -> None:
        self._sender = Sender(url, {"X-Org-Id": tenant})
        self._encoded = encoded

    def at(self, time_ms: int) -> Callable[[], str]:
        whole = body(self._encoded, time_ms, time_ms)

        def write() -> str:
            status, text = self._sender.send(whole)
            return "" if status == 204 else f"{status} {text[:500]}"

        return write

    def now(self) -> Callable[[], str]:
        return self.at(int(time.time() * 1000))


def steady_asker(url: str) -> Callable[[], Callable[[], str]]:
    ask = Asker(url, "steady")
    count = 0

    def prepare() -> Callable[[], str]:
        nonlocal count
        path, text, rest = QUERIES[count % len(QUERIES)]
        count += 1
        now_s = int(time.time())
        return partial(ask, path + quote(text) + rest.format(now_s - 600, now_s))

    return prepare


class Bomber:
    """Sends new series without a pause, and counts what it hears of them."""

    def __init__(self, url: str, bodies: list[bytes]) -> None:
        self.sender = Sender(url, {"X-Org-Id": "bomb"})
        self.bodies = bodies
        self.requests = self.refused = 0
        self.failures: list[str] = []

    def run(self, phase: Callable[[], str]) -> None:
        while phase() == "bomb":
            status, text = self.sender.send(self.bodies[self.requests % len(self.bodies)])
            self.requests += 1
            found = re.search(r"refused: (\d+) max-series-per-tenant; stored: 0$", text.strip())
            if status != 400 or found is None or not text.startswith(REFUSAL):
                self.failures.append(f"{status} {text[:500]}")
                return
            self.refused += int(found[1])


def refused_samples(url: str) -> float:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    name = 'o11y_ingest_refused_samples_total{door="remote_write",reason="max-series-per-tenant"}'
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


def test_a_cardinality_bomb_hurts_only_its_tenant(warm: None, tmp_path: Path) -> None:
    """Latency of the others stays, known series pass, refusals are named and counted."""
    file = tmp_path / "limits.yml"
    file.write_text(LIMITS)
    with ExitStack() as stack:
        server = stack.enter_context(
            servers.start_o11y(tmp_path / "data", tmp_path / "log", "--limits", str(file))
        )
        own = [labels("known_total", number) for number in range(LIMIT)]
        now_ms = int(time.time() * 1000)
        first = Sender(server.url, {"X-Org-Id": "bomb"})
        for at in range(0, LIMIT, REQUEST_SERIES):
            assert first.send(body(own[at : at + REQUEST_SERIES], now_ms, 0.0)) == (204, "")
        bodies = [
            body(
                [labels("bomb_total", k * REQUEST_SERIES + n) for n in range(REQUEST_SERIES)],
                now_ms,
                1.0,
            )
            for k in range(BODIES)
        ]
        bombers = [Bomber(server.url, bodies[half::2]) for half in range(2)]
        health = Asker(server.url, "steady")
        encoded = [labels("steady_total", number) for number in range(STEADY_SERIES)]
        steady = Writer(server.url, "steady", encoded)
        for k in range(40, 0, -1):  # ten minutes of history
            assert steady.at(now_ms - 15_000 * k)() == ""
        paced = [
            Paced("write", steady.now),
            Paced("query", steady_asker(server.url)),
            Paced("health", lambda: partial(health, "/-/healthy")),
        ]
        own_writes = Paced("write", Writer(server.url, "bomb", own[:STEADY_SERIES]).now)
        phases = ["quiet"]
        threads = [
            threading.Thread(target=one.run, args=(lambda: phases[-1],))
            for one in (*paced, own_writes)
        ]
        for thread in threads:
            thread.start()
        time.sleep(QUIET_S)
        cpu = cpu_seconds(server.process.pid)
        phases.append("bomb")
        bombing = [threading.Thread(target=one.run, args=(lambda: phases[-1],)) for one in bombers]
        for thread in bombing:
            thread.start()
        time.sleep(BOMB_S)
        cpu = cpu_seconds(server.process.pid) - cpu
        phases.append("")
        for thread in threads + bombing:
            thread.join(60)
        counted = refused_samples(server.url)

    print(f"\n{sum(one.requests for one in bombers)} requests of {REQUEST_SERIES} new series")
    print(f"server: {cpu / BOMB_S:.2f} cores under the bomb")
    print("ms              quiet p50     p99    bomb p50     p99")
    for one in paced:
        row = [one.quantile_ms(phase, q) for phase in ("quiet", "bomb") for q in (0.5, 0.99)]
        print(f"{one.name:<14}" + "{:11.1f}{:8.1f}{:12.1f}{:8.1f}".format(*row))
    assert [one.failures for one in (*paced, own_writes)] == [[]] * 4
    assert [one.failures for one in bombers] == [[]] * 2
    assert all(one.requests >= 5 for one in bombers), "the bomb did not go off"
    assert counted == sum(one.refused for one in bombers)
    for one in paced:
        allowed_ms = max(ALLOWED_RATIO * one.quantile_ms("quiet", 0.99), 1000 * ALLOWED_S)
        assert one.quantile_ms("bomb", 0.99) <= allowed_ms, one.name

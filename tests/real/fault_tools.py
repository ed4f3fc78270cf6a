"""What the tests of faults share: one system, its samples, how it is asked."""

import time
from typing import Any

import httpx
import orjson

from benchmarks.faults.outcome import Outcome
from benchmarks.faults.systems import OURS, SYSTEMS
from benchmarks.faults.truth import Writer, make_writers
from benchmarks.remote_write import Sender, write_body
from tests.harness.servers import Server

SYSTEM = SYSTEMS[OURS]
STEP_MS = 1_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LOADED = 1_000_000
READY_S_PER_MILLION = 2.0


def writer(rows: int = 50) -> Writer:
    """One writer whose samples begin an hour ago."""
    return make_writers(1, int(time.time() * 1000) - HOUR_MS, STEP_MS, rows)[0]


def page(server: Server) -> dict[str, float]:
    """/metrics, series -> value."""
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def post(url: str, path: str, **parameters: str) -> httpx.Response:
    return httpx.post(f"{url}{path}", params=parameters, timeout=60, trust_env=False)


def send(url: str, *series: tuple[dict[str, str], list[tuple[int, float]]]) -> tuple[int, str]:
    sender = Sender(url)
    try:
        return sender.send(write_body(series))
    finally:
        sender.close()


def ask(url: str, query: str, end_ms: int) -> list[Any]:
    """The rows that an instant query answers; there must be no warning."""
    form = {"query": query, "time": f"{end_ms / 1000:.3f}"}
    answer = httpx.post(f"{url}/api/v1/query", data=form, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    document = orjson.loads(answer.content)
    assert "warnings" not in document
    rows: list[Any] = document["data"]["result"]
    return rows


def assert_sound(outcome: Outcome, at_least: int) -> None:
    assert outcome.sound, outcome
    assert outcome.count.readable == outcome.count.acked >= at_least, outcome

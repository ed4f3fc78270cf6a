"""Answers at once: a question that came before is answered as it was, without the long way."""

import asyncio
import logging
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from server import connection
from server.access.auth import KeyGate
from server.access.keys import Role, create_key, load_keys, revoke_key
from server.api import quick
from server.app import App
from server.front import Front
from server.heads import Heads
from server.http import Receive, Scope, Send
from tests.server.conftest import NOW_MS, Asker, up
from tests.server.test_connection import connected
from tsdb.log.progress import ReplayProgress

NOW = NOW_MS // 1000
BLOCK = b"Host: localhost\r\nAccept: */*\r\n\r\n"
TARGETS = (
    f"/api/v1/query?query=up&time={NOW}",
    f"/v1/metrics/query?query=rate(up%5B1m%5D)&time={NOW - 15}",
    f"/api/v1/query?query=up+%2B+on()+up&time={NOW}",
    f"/api/v1/query?query=up&time={NOW}&explain=1",
    f"/api/v1/query_range?query=up&start={NOW - 30}&end={NOW}&step=15",
    f"/api/v1/query_range?query=up&start={NOW}&end={NOW - 30}&step=15",
    f"/api/v1/labels?start={NOW - 60}&end={NOW}",
    f"/api/v1/label/job/values?start={NOW - 60}&end={NOW}",
    f"/api/v1/series?match%5B%5D=up&start={NOW - 60}&end={NOW}",
    "/-/healthy",
    "/nowhere",
)
QUICK = [TARGETS[at] for at in (0, 1, 3, 4, 6, 7, 8)]
"""All that are answered at once where they came before: no refusals, and no other routes."""
ROUNDS = 4


@pytest.fixture(autouse=True)
def heads(monkeypatch: pytest.MonkeyPatch) -> Heads:
    """Those that connections remember, none at first."""
    fresh = Heads()
    monkeypatch.setattr(connection, "_heads", fresh)
    return fresh


class _Long:
    """An application that has nothing but the long way."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _get(target: str) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b" % (target.encode(), BLOCK)


def _answers(application: object) -> list[bytes]:
    """Heads and bodies of ROUNDS rounds of all TARGETS, one after the other on one connection."""

    async def talk() -> list[bytes]:
        async with connected(application, proxy_headers=False) as [(reader, writer)]:
            answers = []
            for target in TARGETS * ROUNDS:
                writer.write(_get(target))
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                answers.append(head + await reader.readexactly(length))
            return answers

    return [re.sub(rb"\r\ndate: [^\r]*", b"", answer) for answer in asyncio.run(talk())]


def _counted(asker: Asker) -> dict[str, float]:
    """Requests and queries as /metrics counts them, and the bytes that were sent."""
    text = asker.house.metrics.page().decode()
    shown = re.findall(
        r"^(o11y_(?:http_requests_total|http_sent_bytes_total|http_request_duration_seconds_count"
        r"|query_duration_seconds_count|org_quer\w+_(?:samples_)?total)\S*) (\S+)$",
        text,
        re.MULTILINE,
    )
    return {name: float(value) for name, value in shown if "query_seconds" not in name}


def test_answers_and_counts_are_those_of_the_long_way(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, errors too, and through the front door; and what came before in the same form
    does come at once where every query is quick."""
    monkeypatch.setattr(quick, "QUICK_SECONDS", math.inf)
    monkeypatch.setattr(quick, "SLOW_SECONDS", math.inf)
    asker.write(up("a", 1, 2, 3, 4), up("b", 5, 6, 7, 8))
    front = Front(ReplayProgress())
    front.inner = asker.app
    expected = _answers(_Long(asker.app))
    before = _counted(asker)
    assert _answers(_Long(asker.app)) == expected
    by_the_long_way = {name: value - before.get(name, 0) for name, value in _counted(asker).items()}
    told: list[str] = []
    at_once = App.at_once

    def watched(self: App, scope: Scope) -> object:
        response = at_once(self, scope)
        if response is not None:
            told.append(f"{scope['path']}?{scope['query_string'].decode()}")
        return response

    monkeypatch.setattr(App, "at_once", watched)
    before = _counted(asker)
    assert _answers(front) == expected
    counted = {name: value - before.get(name, 0) for name, value in _counted(asker).items()}
    assert counted == by_the_long_way
    assert Counter(told) == dict.fromkeys(QUICK, ROUNDS)


def test_requests_that_come_together_are_answered_in_order(asker: Asker) -> None:
    """What is answered at once waits for what was begun before it."""
    asker.write(up("a", 1, 2, 3, 4))

    async def talk() -> list[bytes]:
        async with connected(asker.app, proxy_headers=False) as [(reader, writer)]:
            bodies = []
            for parts in ([TARGETS[0]], [TARGETS[0]], [TARGETS[2], TARGETS[0], TARGETS[9]]):
                for target in parts:
                    writer.write(_get(target))
                for _ in parts:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                    bodies.append(await reader.readexactly(length))
            return bodies

    first, second, both, third, healthy = asyncio.run(talk())
    assert first == second == third
    assert b'"8"' in both
    assert healthy.startswith(b"Hanzo")


def test_an_answer_at_once_is_logged_as_others_are(
    asker: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    """With who asked, and the status."""
    asker.write(up("a", 1, 2))
    with caplog.at_level(logging.INFO, "o11y.access"):
        for _ in range(4):
            asker.get(f"/api/v1/query?query=up&time={NOW}")
    assert asker.at_once
    shown = [record.o11y_fields for record in caplog.records]  # type: ignore[attr-defined]
    assert len(shown) == 4
    for one in shown:
        del one["seconds"]
    assert shown[0] == shown[3]


def test_keys_that_are_not_admitted_take_the_long_way(
    make_asker: Callable[..., Asker], tmp_path: Path
) -> None:
    """A wrong key is refused there, after its delay, once for each request; one that was removed
    no longer recalls what it was."""
    keys = tmp_path / "keys.json"
    secret = create_key(keys, "acme", Role.ADMIN)
    asker = make_asker(keys_file=keys)
    target = f"/api/v1/query?query=1&time={NOW}"
    admitted = {"authorization": f"Bearer {secret}"}
    assert asker.write(up("a", 1), headers=admitted).status_code == 204
    for _ in range(4):
        assert asker.get(target, admitted).status_code == 200
    assert asker.at_once
    before = asker.at_once
    for _ in range(3):
        assert asker.get(target, {"authorization": "Bearer hk-wrong"}).status_code == 401
    revoke_key(keys, load_keys(keys)[0].id)
    gate = asker.house.gate
    assert isinstance(gate, KeyGate)
    gate.keys.forget()
    assert asker.get(target, admitted).status_code == 401
    assert asker.at_once == before

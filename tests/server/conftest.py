"""A server in this process: the real house over a temporary directory, asked without sockets."""

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.access.auth import make_gate
from server.app import App
from server.heads import Head
from server.house import House
from server.http import HEAD, Receive, Scope, Send, respond
from server.settings import Settings
from tests.wire import encode

NOW_MS = 1_700_000_000_000
WRITE = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
Headers = dict[str, str] | list[tuple[str, str]] | None


class Asker:
    """Asks an application; every call runs in an event loop of its own.

    As from a connection, a GET whose headers came before brings their Head, and is answered at once
    where that can be.
    """

    def __init__(self, app: App, house: House) -> None:
        self.app, self.house = app, house
        self.heads: dict[tuple[tuple[bytes, bytes], ...], Head] = {}
        self.at_once = 0
        """How many were answered so."""

    def __call__(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._application)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return await http.request(method, path, **arguments)

        return asyncio.run(ask())

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = tuple(scope["headers"])
        if scope["method"] == "GET" and headers in self.heads:
            scope[HEAD] = self.heads[headers]
            response = self.app.at_once(scope)
            if response is not None:
                self.at_once += 1
                await respond(response, send)
                return
        self.heads.setdefault(headers, Head(headers))
        await self.app(scope, receive, send)

    def get(self, path: str, headers: Headers = None, /, **params: Any) -> httpx.Response:
        # Without params httpx keeps the query string of the path.
        return self("GET", path, headers=headers, params=params or None)

    def post(self, path: str, headers: Headers = None, /, **form: Any) -> httpx.Response:
        return self("POST", path, headers=headers, data=form)

    def write(self, *series: encode.Series, headers: Headers = None) -> httpx.Response:
        body = encode.snappy(b"".join(map(encode.series, series)))
        return self.write_body(body, headers)

    def write_body(self, body: bytes, headers: Headers = None) -> httpx.Response:
        sent = [*WRITE.items(), *(headers.items() if isinstance(headers, dict) else headers or ())]
        return self("POST", "/api/v1/write", content=body, headers=sent)

    def values(self, query: str, headers: Headers = None) -> dict[str, str]:
        """job -> value of an instant query now."""
        answer = self.get("/api/v1/query", headers, query=query, time=NOW_MS / 1000)
        assert answer.status_code == 200, answer.text
        return {
            row["metric"].get("job", ""): row["value"][1] for row in answer.json()["data"]["result"]
        }


@pytest.fixture
def make_asker(tmp_path: Path) -> Iterator[Callable[..., Asker]]:
    """Opens a house over the data directory, after closing the one before.

    The clock stands at NOW_MS.
    """
    houses: list[House] = []

    def make(**settings: Any) -> Asker:
        chosen = Settings(**{"data_dir": tmp_path / "data", **settings})
        close()
        house = House.open(chosen, make_gate(chosen), lambda: NOW_MS)
        houses.append(house)
        return Asker(App(house), house)

    def close() -> None:
        while houses:
            houses.pop().close()

    yield make
    close()


@pytest.fixture
def asker(make_asker: Callable[..., Asker]) -> Asker:
    """An open server without data."""
    return make_asker()


def concrete(path: str) -> str:
    """The path of a route with something in the place of its named segments."""
    return re.sub(r"\{\w+:path\}", "a/b", re.sub(r"\{\w+\}", "job", path))


def up(job: str, *values: float, step_ms: int = 15_000) -> encode.Series:
    """``up{job}`` with one value a step, the last at NOW_MS."""
    first = NOW_MS - step_ms * (len(values) - 1)
    samples = [(first + step_ms * k, value) for k, value in enumerate(values)]
    return encode.Series([(b"__name__", b"up"), (b"job", job.encode())], samples)

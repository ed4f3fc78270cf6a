"""Connections: whoever is slow or says too much is let go, and told so where it helps."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from server import connection
from server.connection import Connection, closed
from server.http import Receive, Request, Response, Scope, Send, respond

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n"
SOON = 0.02
WAIT_S = 30


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(Response(await Request(scope, receive).body(100)), send)


async def flood(scope: Scope, receive: Receive, send: Send) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 100_000

    await respond(Response(parts()), send)


@contextlib.asynccontextmanager
async def connected(
    application: object = echo, count: int = 1, **settings: Any
) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """*count* clients of a server over *application*."""
    config = Config(application, log_config=None, lifespan="off", ws="none", **settings)  # type: ignore[arg-type]
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        yield clients
    finally:
        for _, writer in clients:
            writer.transport.abort()
        server.close()


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_SECONDS", "WHOLE_SECONDS", "UNREAD_SECONDS"):
        monkeypatch.setattr(connection, name, SOON)
    for reason in closed:
        monkeypatch.setitem(closed, reason, 0)


def answer_to(*parts: bytes) -> bytes:
    """All that the server says, until it hangs up, to a client that sends *parts* and waits."""

    async def talk() -> bytes:
        async with connected() as [(reader, writer)]:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await asyncio.wait_for(reader.read(), 10)

    return asyncio.run(talk())


@pytest.mark.parametrize("parts", [(), (b"G",), (b"GET / HTTP/1.1\r\n", b"a: b\r\n")])
def test_a_slow_head_ends_the_connection(parts: tuple[bytes, ...]) -> None:
    """With 408, also for who says nothing."""
    assert answer_to(*parts).startswith(b"HTTP/1.1 408")
    assert closed["slow-head"] == 1


def test_a_slow_body_ends_the_connection() -> None:
    """Whatever the handler does about it."""
    assert answer_to(HEAD + b"\r\nabc") == b""
    assert closed["slow-body"] == 1


def test_an_endless_head_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 431, whether it is one line or many."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 10.0)
    monkeypatch.setattr(connection, "MAX_HEAD_BYTES", 10_000)
    assert answer_to(b"GET /" + b"a" * 20_000).startswith(b"HTTP/1.1 431")
    assert answer_to(HEAD + b"a: b\r\n" * 3000).startswith(b"HTTP/1.1 431")
    assert closed["long-head"] == 2


def test_requests_in_time_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces, one after the other, and with nothing in between for longer than a deadline."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(connection, "WHOLE_SECONDS", 0.5)

    async def talk() -> None:
        async with connected() as [(reader, writer)]:
            for pause in (0, 0.6, 0):
                for part in (HEAD, b"\r\nab", b"cde"):
                    writer.write(part)
                    await writer.drain()
                assert (await reader.readuntil(b"abcde")).startswith(b"HTTP/1.1 200")
                await asyncio.sleep(pause)

    asyncio.run(talk())
    assert not any(closed.values())


def test_an_answer_that_nobody_reads_is_dropped() -> None:
    """Its connection ends and the rest of it is never made."""

    async def talk() -> None:
        async with connected(flood) as [(reader, writer)]:
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            async with asyncio.timeout(10):
                while not closed["unread-answer"]:
                    await asyncio.sleep(SOON)

    asyncio.run(talk())


def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more hears 503."""
    monkeypatch.setattr(Connection, "most", 2)

    async def talk() -> bytes:
        async with connected(count=3) as clients:
            return await asyncio.wait_for(clients[2][0].read(), 10)

    assert asyncio.run(talk()).startswith(b"HTTP/1.1 503")
    assert closed["too-many"] == 1


def test_a_request_with_others_behind_it_hears_that_its_asker_has_gone() -> None:
    """As one alone does: whoever asks several things at once and goes leaves nothing at work."""
    begun, heard = asyncio.Event(), asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await Request(scope, receive).gone()
        heard.set()

    async def talk() -> None:
        async with connected(wait) as [(_, writer)]:
            writer.write(b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % at for at in range(3)))
            await asyncio.wait_for(begun.wait(), WAIT_S)
            writer.transport.abort()
            await asyncio.wait_for(heard.wait(), WAIT_S)

    asyncio.run(talk())

"""Heads that came before: what is taken from memory is what the parser would have made of it."""

import asyncio
import gc
import weakref

import pytest

from server import connection
from server.access.auth import Need, OpenGate
from server.heads import MAX_HEAD_BYTES, MAX_HEADS, Head, Heads
from server.http import (
    ANSWER,
    HEAD,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    respond,
    respond_at_once,
)
from tests.server.test_connection import connected

HEADERS = [(b"host", b"x"), (b"accept", b"*/*")]
BLOCK = b"Host: x\r\nAccept: */*\r\n\r\n"


@pytest.fixture(autouse=True)
def heads(monkeypatch: pytest.MonkeyPatch) -> Heads:
    """Those that connections remember, none at first."""
    fresh = Heads()
    monkeypatch.setattr(connection, "_heads", fresh)
    return fresh


def _get(target: bytes = b"/a", block: bytes = BLOCK) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b" % (target, block)


def test_a_head_is_found_again_for_any_plain_target(heads: Heads) -> None:
    """The same object, with path and query string taken apart."""
    heads.learn(_get(), HEADERS)
    first = heads.find(_get(b"/b/c%20d?query=1&time=2?"))
    second = heads.find(_get(b"/?"))
    assert first is not None and second is not None
    assert first[1:] == (b"/b/c%20d", b"query=1&time=2?")
    assert second[1:] == (b"/", b"")
    assert first[0] is second[0]
    assert first[0].headers == tuple(HEADERS)
    assert first[0].by_name == {b"host": [b"x"], b"accept": [b"*/*"]}


@pytest.mark.parametrize(
    "data",
    [
        _get().replace(b"GET", b"HEAD"),
        _get().replace(b"GET", b"get"),
        _get().replace(b"1.1", b"1.0"),
        _get(b"a"),
        _get(b"http://x/a"),
        _get(b"/a#b"),
        _get(b"/a b"),
        _get(b"/\xc3\xa9"),
        _get(b"/a\r\nx: y"),
        _get()[:-1],
        _get() + b"x",
        _get() + _get(),
        b"\r\n" + _get(),
        _get(block=b"Host: y\r\nAccept: */*\r\n\r\n"),
        _get(block=b"host: x\r\nAccept: */*\r\n\r\n"),
        _get(b"/" + b"a" * (1 << 17)),
        b"",
    ],
)
def test_all_else_is_left_to_the_parser(heads: Heads, data: bytes) -> None:
    """Another byte in the head, another kind of target, less or more than one request."""
    heads.learn(_get(), HEADERS)
    assert heads.find(_get()) is not None
    assert heads.find(data) is None


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (_get(), (b"connection", b"close")),
        (_get(), (b"connection", b"keep-alive, upgrade")),
        (_get(), (b"content-length", b"0")),
        (_get(), (b"transfer-encoding", b"chunked")),
        (_get(), (b"expect", b"100-continue")),
        (_get(), (b"upgrade", b"h2c")),
        (_get(b"/a HTTP/1.1\nx: y"), (b"x", b"y HTTP/1.1")),
        (_get() + b"x", (b"x", b"y")),
        (_get().replace(b"GET", b"POST"), (b"x", b"y")),
        (_get().replace(b"1.1", b"1.0"), (b"x", b"y")),
        (_get(block=b"x: %b\r\n\r\n" % (b"y" * MAX_HEAD_BYTES)), (b"x", b"y")),
    ],
)
def test_what_may_go_on_otherwise_is_not_remembered(
    heads: Heads, data: bytes, header: tuple[bytes, bytes]
) -> None:
    """Bodies, upgrades, ends of connections, long heads, and lines that hide in a target."""
    heads.learn(data, [*HEADERS, header])
    assert heads.find(data) is None
    assert heads.find(_get()) is None


def test_no_more_than_so_many_are_remembered(heads: Heads) -> None:
    """The oldest goes."""
    blocks = [b"Host: %d\r\n\r\n" % number for number in range(MAX_HEADS + 1)]
    for block in blocks:
        heads.learn(_get(block=block), HEADERS)
    found = [heads.find(_get(block=block)) is not None for block in blocks]
    assert found == [False] + [True] * MAX_HEADS


async def _mirror(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells what it was asked, and by whom; waits where it is asked to."""
    if scope["path"] == "/slow":
        await asyncio.sleep(0.01)
    shown = {name: scope[name] for name in scope if name not in ("extensions", "client", HEAD)}
    shown["headers"] = list(shown["headers"])
    body = b"" if scope["method"] == "GET" else await Request(scope, receive).body(1000)
    await respond(Response(repr((sorted(shown.items()), body)).encode()), send)


def _answers(*parts: bytes) -> bytes:
    """All that is answered to *parts* on one connection, the last of which ends it."""

    async def talk() -> bytes:
        async with connected(_mirror) as [(reader, writer)]:
            port = str(writer.get_extra_info("peername")[1]).encode()
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.005)
            return (await asyncio.wait_for(reader.read(), 10)).replace(port, b"PORT")

    return asyncio.run(talk())


@pytest.mark.parametrize(
    "parts",
    [
        (_get(b"/a?b=c&d=%2B+1"), _get(b"//x"), _get(b"/%41/b?")),
        (_get() + _get(b"/b"),),
        (_get() + _get(b"/b")[:9], _get(b"/b")[9:]),
        (_get()[:30], _get()[30:], _get()),
        (_get(b"/slow"), _get(b"/b")),
        (_get(b"/slow") + _get(b"/b"), _get(b"/c")),
        (b"G", _get()[1:], b"\r\n", _get()),
        (b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab", b"c", _get()),
        (b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + _get(), _get()),
        (_get().replace(b"GET", b"HEAD"), _get()),
        (_get(block=b"Connection: keep-alive\r\nHost: x\r\n\r\n"), _get()),
        (_get(b"/a#b"), _get(b"http://x/a")),
    ],
)
@pytest.mark.parametrize(
    "last",
    [
        b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        _get().replace(b"1.1", b"1.0"),
        b"nonsense\r\n\r\n",
        _get(b"/a HTTP/1.1\nx: y"),
    ],
)
def test_answers_are_the_same_whether_heads_are_known_or_not(
    heads: Heads, parts: tuple[bytes, ...], last: bytes
) -> None:
    """Byte for byte, however requests come; what follows on the connection too."""
    first = _answers(*parts, last)
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    heads.learn(_get(), HEADERS)
    assert _answers(*parts, last) == first


def test_a_known_head_costs_no_timer_and_no_parser(
    heads: Heads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two connections is not even parsed, and outlives the time for heads."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.02)

    async def talk() -> list[bytes]:
        async with connected(_mirror) as [(reader, writer)]:
            got = []
            for _ in range(2):
                writer.write(_get())
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                got.append(await reader.readexactly(int(length)))
                await asyncio.sleep(0.06)
            return got

    first = asyncio.run(talk())
    monkeypatch.setattr(connection.Connection, "_parse", None)
    assert asyncio.run(talk())[0][:40] == first[0][:40]


def test_an_answered_request_is_let_go_at_once(heads: Heads) -> None:
    """Without a collection of garbage, once the next one has come."""
    heads.learn(_get(), HEADERS)
    cycles: list[weakref.ref[object]] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        cycles.append(weakref.ref(scope["extensions"][ANSWER].__self__))
        assert respond_at_once(Response(b"1", content_type="x"), scope)

    async def talk() -> list[bool]:
        async with connected(application) as [(reader, writer)]:
            for _ in range(3):
                writer.write(_get())
                await reader.readuntil(b"\r\n\r\n1")
            return [cycle() is not None for cycle in cycles]

    gc.disable()
    try:
        assert asyncio.run(talk()) == [False, False, True]
    finally:
        gc.enable()


def test_a_remembered_principal_is_the_head_s(heads: Heads) -> None:
    """An open gate gives the same to the same head, and judges others anew."""
    gate = OpenGate()

    def admit(head: Head) -> object:
        async def receive() -> dict[str, object]:
            return {}

        scope: Scope = {"method": "GET", "path": "/", "headers": head.headers, HEAD: head}
        return gate.admit(Request(scope, receive), Need.READ)

    one = Head([(b"host", b"localhost"), (b"x-org-id", b"one")])
    two = Head([(b"host", b"localhost"), (b"x-org-id", b"two")])
    assert admit(one) is admit(one)
    assert admit(one) != admit(two)

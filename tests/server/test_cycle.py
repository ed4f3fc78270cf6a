"""Requests that are begun at once: what waits goes on as a task, and answers come in order."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.cycle import begin
from server.doors.import_api import _chunks
from server.http import (
    ANSWER,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    in_a_task,
    respond,
    respond_at_once,
)
from tests.server.test_connection import connected

KEEP_ALIVE_SECONDS = 0.1
GET = b"GET /%b HTTP/1.1\r\nhost: x\r\n\r\n"


def test_what_need_not_wait_ends_at_once() -> None:
    """Without a task."""
    seen: list[object] = []

    async def work() -> None:
        seen.append(asyncio.current_task())

    async def main() -> None:
        seen.append(asyncio.current_task())
        assert begin(asyncio.get_running_loop(), work()) is None

    asyncio.run(main())
    assert len(seen) == 2


def test_what_waits_goes_on_as_a_task() -> None:
    """It gets results and errors of what it waits for, and can be cancelled."""
    seen: list[object] = []

    async def work(first: asyncio.Future[int], second: asyncio.Future[int]) -> None:
        seen.append(await first)
        try:
            await second
        except ZeroDivisionError:
            seen.append("error")
        seen.append(asyncio.current_task() is not None)
        await asyncio.Event().wait()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, second = loop.create_future(), loop.create_future()
        task = begin(loop, work(first, second))
        assert task is not None
        first.set_result(7)
        second.set_exception(ZeroDivisionError())
        while len(seen) < 3:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == [7, "error", True]


def test_who_needs_a_task_gets_one() -> None:
    """A timeout can be set after ``in_a_task``."""

    async def work() -> None:
        await in_a_task()
        async with asyncio.timeout(10):
            await asyncio.sleep(0)

    async def main() -> None:
        task = begin(asyncio.get_running_loop(), work())
        assert task is not None
        await task

    asyncio.run(main())


async def _application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the path; below ``/slow`` after a while."""
    if scope["path"].startswith("/slow"):
        await asyncio.sleep(0.01)
    response = Response(scope["path"].encode())
    if scope["path"].endswith("long") or not respond_at_once(response, scope):
        await respond(response, send)


@pytest.mark.parametrize("paths", [(b"a", b"b"), (b"slow1", b"a", b"slow2", b"b"), (b"long", b"a")])
def test_answers_come_in_the_order_of_the_requests(paths: tuple[bytes, ...]) -> None:
    """Also where all are sent at once, and some have to wait."""

    async def talk() -> list[bytes]:
        async with connected(_application) as [(reader, writer)]:
            writer.write(b"".join(GET % path for path in paths))
            return [await _body(reader) for _ in paths]

    assert asyncio.run(talk()) == [b"/" + path for path in paths]


async def _body(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return await reader.readexactly(int(length))


def test_an_answer_in_one_piece_is_that_in_two() -> None:
    """Byte for byte, with what the server adds to the head; HTTP/1.0 is told of the end."""

    async def talk(path: bytes, version: bytes) -> bytes:
        async with connected(_both) as [(reader, writer)]:
            writer.write(
                b"GET %b HTTP/%b\r\nhost: x\r\nconnection: close\r\n\r\n" % (path, version)
            )
            return await reader.read()

    for version in (b"1.1", b"1.0"):
        whole, parts = (asyncio.run(talk(path, version)) for path in (b"/whole", b"/parts"))
        assert whole == parts
        assert b"connection: close" in whole


async def _both(scope: Scope, receive: Receive, send: Send) -> None:
    response = Response(b"[1]")
    if scope["path"] == "/whole":
        assert ANSWER in scope["extensions"]
        assert respond_at_once(response, scope)
    else:
        await respond(response, send)


async def _streamed(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with pieces of as many bytes as the path has numbers."""

    async def pieces() -> AsyncIterator[bytes]:
        for size in scope["path"][1:].split(","):
            yield bytes([int(size) % 251]) * int(size)

    await respond(Response(pieces()), send, head=scope["method"] == "HEAD")


def test_large_pieces_are_chunks_as_small_ones_are() -> None:
    """Whatever a piece's size, the body is all of them in order."""
    sizes = [7, 100_000, 65_537, 65_536, 1, 3_000_000]
    path = b",".join(b"%d" % size for size in sizes)

    async def talk() -> tuple[bytes, list[bytes]]:
        async with connected(_streamed) as [(reader, writer)]:
            writer.write(GET % path)
            head = await reader.readuntil(b"\r\n\r\n")
            found = []
            while size := int(await reader.readline(), 16):
                found.append(await reader.readexactly(size))
                assert await reader.readexactly(2) == b"\r\n"
            return head, found

    head, found = asyncio.run(talk())
    assert b"transfer-encoding: chunked" in head.lower()
    assert found == [bytes([size % 251]) * size for size in sizes]


def test_who_is_silent_for_long_is_let_go() -> None:
    """After the keep-alive time since the last answer, and not before."""

    async def talk() -> float:
        async with connected(_application, timeout_keep_alive=KEEP_ALIVE_SECONDS) as [
            (reader, writer)
        ]:
            loop = asyncio.get_running_loop()
            for path in (b"a", b"slow"):
                writer.write(GET % path)
                await _body(reader)
            answered = loop.time()
            assert await asyncio.wait_for(reader.read(), 10) == b""
            return loop.time() - answered

    assert asyncio.run(talk()) >= KEEP_ALIVE_SECONDS * 0.9


def _post(path: bytes, body: bytes) -> bytes:
    return b"POST /%b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path, len(body), body)


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body, and whether it was read outside of any task."""
    request = Request(scope, receive)
    body = await request.body(1 << 20)
    at_once = asyncio.current_task() is None
    response = Response(b"%b %d" % (body, at_once))
    if not respond_at_once(response, scope):
        await respond(response, send)


def test_a_body_that_comes_with_its_head_is_read_at_once() -> None:
    """Those that come in pieces are waited for; the order of the answers stays."""

    async def talk() -> list[bytes]:
        async with connected(_echo) as [(reader, writer)]:
            writer.write(_post(b"a", b"one") + _post(b"b", b"two"))
            answers = [await _body(reader), await _body(reader)]
            whole = _post(b"c", b"three" * 1000)
            for part in (whole[:20], whole[20:100], whole[100:]):
                writer.write(part)
                await asyncio.sleep(0.01)
            return [*answers, await _body(reader)]

    assert asyncio.run(talk()) == [b"one 1", b"two 1", b"three" * 1000 + b" 0"]


def test_an_answer_without_a_body_has_its_headers_in_one_piece_too() -> None:
    """204 with headers of its own, as in two pieces."""
    answer = Response(b"", 204, headers=((b"x-written", b"3"),))

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/whole" or not respond_at_once(answer, scope):
            await respond(answer, send)

    async def talk(path: bytes) -> bytes:
        async with connected(application) as [(reader, writer)]:
            writer.write(b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % path)
            return await reader.read()

    whole, parts = asyncio.run(talk(b"/whole")), asyncio.run(talk(b"/parts"))
    assert whole == parts
    assert b"x-written: 3\r\n" in whole


def test_a_streamed_import_that_comes_whole_is_read_like_one_in_pieces() -> None:
    """Its timeout needs a task, which it has not been begun in."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        parts = [part async for part in _chunks(Request(scope, receive))]
        await respond(Response(b"".join(parts)), send)

    async def talk() -> bytes:
        async with connected(application) as [(reader, writer)]:
            writer.write(_post(b"a", b"up 1"))
            return await _body(reader)

    assert asyncio.run(talk()) == b"up 1"

"""Cycle: one request and its answer on a connection of uvicorn's.

A request that has come whole is answered before the loop goes on, and becomes a task only where
its handler has to wait: making a task and waking it cost as much as answering a narrow query.
"""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from server.http import Message, Scope, Slices, Whole

_COPIED = 1 << 16
"""Bodies, and pieces of them, up to here are put into one with what precedes them."""


class Cycle(RequestResponseCycle):
    """uvicorn's, and whole bodies and answers in one piece.

    Most requests never wait, so what begins the same for all stands in the class.
    """

    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding = None
    expected_content_length = 0
    _event: asyncio.Event | None = None

    def __init__(
        self, connection: HttpToolsProtocol, scope: Scope, *, keep_alive: bool, expects_100: bool
    ) -> None:
        self.scope = scope  # type: ignore[assignment]
        self.transport = connection.transport
        self.flow = connection.flow
        self.logger = connection.logger
        self.default_headers = connection.server_state.default_headers
        self.on_response = connection.on_response_complete
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expects_100
        self.body = bytearray()

    @property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]
        """Set when there is something to receive; made when somebody asks for it."""
        if self._event is None:
            self._event = asyncio.Event()
        return self._event

    def whole_body(self) -> bytes | None:
        """The body, where all of it that nobody has read is there; None where more is to come."""
        if self.more_body or self.waiting_for_100_continue or self.disconnected:
            return None
        body, self.body = bytes(self.body), bytearray()
        if self._event is not None:
            self._event.clear()
        return body

    def answer(self, status: int, lines: bytes, body: Whole) -> bool:
        """Answers with *lines* of headers, each with its end, and a *body* as long as they say.

        False where it has to be sent in the long way: the peer does not read what it has got.
        """
        if self.flow.write_paused or self.disconnected or self.response_started:
            return False
        self.response_started = self.response_complete = True
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        send(self.transport, (opening(status, self.default_headers), lines, end), body)
        if self._event is not None:
            self._event.set()
        # They lead back here, and without a circle the memory is free at once.
        self.scope.pop("extensions", None)
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """As uvicorn does it, but that large pieces of a body are not copied into their chunks."""
        body = message.get("body", b"")
        is_last = not message.get("more_body", False)
        if len(body) <= _COPIED or is_last or not self.chunked_encoding:
            await super().send(message)  # type: ignore[arg-type]
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if not self.disconnected and self.scope["method"] != "HEAD":
            self.transport.writelines((b"%x\r\n" % len(body), body, b"\r\n"))


class _Openings:
    """What answers begin with: their status and the headers of all, which uvicorn makes anew
    every second."""

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._made: dict[int, bytes] = {}

    def of(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        if headers is not self._headers:
            self._headers, self._made = headers, {}
        made = self._made.get(status)
        if made is None:
            lines = [b"%b: %b\r\n" % header for header in headers]
            made = self._made[status] = b"".join((STATUS_LINE[status], *lines))
        return made


_openings = _Openings()


def opening(status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    """What an answer of *status* begins with where *headers* are those of all."""
    return _openings.of(status, headers)


def send(transport: asyncio.WriteTransport, head: tuple[bytes, ...], body: Whole) -> None:
    """Sends the parts of a *head* and a *body*, which is not copied where it is long."""
    if isinstance(body, Slices):
        transport.writelines([b"".join(head), *body.parts])
    elif len(body) > _COPIED:
        transport.writelines((b"".join(head), body))
    else:
        transport.write(b"".join((*head, body)))


def begin(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]
) -> asyncio.Task[None] | None:
    """Runs *coroutine* to where it first waits, and the rest of it as a task; None without one.

    Until then there is no current task; ``server.http.in_a_task`` is for who needs one.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration:
        return None
    return loop.create_task(_go_on(_Begun(coroutine, awaited)))


class _Begun:
    """A coroutine that has been begun and waits for *awaited*."""

    __slots__ = ("_awaited", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, None], awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, None]:
        awaited = self._awaited
        while True:
            try:
                try:
                    result = yield awaited
                except BaseException as error:  # whatever it is, the coroutine must hear of it
                    awaited = self._coroutine.throw(error)
                else:
                    awaited = self._coroutine.send(result)
            except StopIteration:
                return


async def _go_on(begun: _Begun) -> None:
    await begun

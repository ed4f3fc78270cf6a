"""Cycle: one request and its answer on a connection of uvicorn's.

A request that has come whole is answered before the loop goes on, and becomes a task only where
its handler has to wait: making a task and waking it cost as much as answering a narrow query.
"""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class Cycle(RequestResponseCycle):
    """uvicorn's, and whole bodies and answers in one piece."""

    def whole_body(self) -> bytes | None:
        """The body, where all of it that nobody has read is there; None where more is to come."""
        if self.more_body or self.waiting_for_100_continue or self.disconnected:
            return None
        body, self.body = bytes(self.body), bytearray()
        self.message_event.clear()
        return body

    def answer(self, status: int, lines: bytes, body: bytes) -> bool:
        """Answers with *lines* of headers, each with its end, and a *body* as long as they say.

        False where it has to be sent in the long way: the peer does not read what it has got.
        """
        if self.flow.write_paused or self.disconnected or self.response_started:
            return False
        self.response_started = self.response_complete = True
        head = [STATUS_LINE[status]]
        head += [b"%b: %b\r\n" % header for header in self.default_headers]
        head.append(lines)
        head.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        head.append(body)
        self.transport.write(b"".join(head))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True


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

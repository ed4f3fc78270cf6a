"""Connections: uvicorn's HTTP protocol with deadlines and bounds, and requests begun at once.

Who says nothing, sends its request drop by drop or does not read its answer keeps a connection and
memory for itself, so it is let go: nobody can fill the server up by being slow.
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server.cycle import Cycle, begin, opening, send
from server.heads import Heads
from server.http import (
    ANSWER,
    BODY_SECONDS,
    HEAD,
    WHOLE_BODY,
    Response,
    Scope,
    Whole,
    header_lines,
)

HEAD_SECONDS = 10.0
"""How long a request's line and headers may take, from the first byte (or the connection) on."""
WHOLE_SECONDS = BODY_SECONDS + 5
"""How long a body may take; handlers that read one answer 408 before this ends the connection."""
PARTS_SECONDS = 1.0
"""How long the rest of a write may take that is about to be handed over whole."""
UNREAD_SECONDS = 30.0
"""How long a peer may take none of what we have to say."""
MAX_HEAD_BYTES = 1 << 20
MAX_CONNECTIONS = 4096

closed = dict.fromkeys(("too-many", "slow-head", "long-head", "slow-body", "unread-answer"), 0)
"""Connections that we ended, by reason."""
_heads = Heads()


class _Stage(Enum):
    HEAD = "head"
    BODY = "body"
    IDLE = "idle"


class Connection(HttpToolsProtocol):
    """One connection. Requests that come whole cost no timer."""

    most = MAX_CONNECTIONS
    """How many there may be at once; some open files are left for the storage."""
    _stage = _Stage.HEAD
    _head_bytes = 0
    _messages = 0
    """How many requests began in the bytes that are being parsed."""
    _timer: asyncio.TimerHandle | None = None
    _timed = _Stage.IDLE
    _unread: asyncio.TimerHandle | None = None
    _idle_since = 0.0
    _write_head: Any = None
    """The head of the whole writes that this connection brings, where there were any."""
    _behind: list[bytes] | None = None
    """While a whole write is on its way: what has come behind it."""
    _missing = 0
    _parts_timer: asyncio.TimerHandle | None = None
    _ends = False
    """Whether the connection ends with the answer to that write."""
    _held: Cycle | None = None
    """A request whose body may be about to come, while what came at once is parsed."""
    _at_work: RequestResponseCycle | None = None
    """A request that was being answered when others came behind it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._parts: list[bytes] = []
        """The beginning of a whole write whose rest is about to come; ``_missing`` bytes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._end("too-many", b"503 Service Unavailable")
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._parts.clear()
        timers = (self._timer, self._unread, self.timeout_keep_alive_task, self._parts_timer)
        for timer in timers:
            if timer is not None:
                timer.cancel()
        if (cycle := self._at_work) is not None and not cycle.response_complete:
            # Uvicorn tells the one that came last.
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._behind is not None:
            self._behind.append(data)
            self.flow.pause_reading()
            return
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = self._take_parts()
        is_between = self._is_between()
        if is_between and (self._begin_write(data) or self._begin_known(data)):
            return
        self._parse(data, is_between=is_between)

    def _parse(self, data: bytes, *, is_between: bool) -> None:
        self._messages = 0
        super().data_received(data)
        if is_between and self._messages == 1 and self._stage is not _Stage.HEAD:
            self._learn(data)
        if (held := self._take_held()) is not None:
            self._start_asgi_task(held, self.app)
        if self._stage is _Stage.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._end("long-head", b"431 Request Header Fields Too Large")
        if self._stage is not self._timed:
            self._watch()

    def _is_between(self) -> bool:
        """Whether all that has come belongs to requests that have been answered."""
        if self.cycle is None:
            return self._head_bytes == 0
        return self._stage is _Stage.IDLE and self.cycle.response_complete

    def _begin_known(self, data: bytes) -> bool:
        """Begins the request that *data* is, if it is a whole one whose headers came before."""
        known = _heads.find(data)
        if known is None:
            return False
        head, path, query = known
        text = path.decode("ascii")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": head.headers,
            "state": {},
            "method": "GET",
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            HEAD: head,
        }
        self._stage = _Stage.IDLE
        if self._timed is not _Stage.IDLE:
            self._watch()
        if self._answer_at_once(scope):
            return True
        cycle = self.cycle = Cycle(self, scope, keep_alive=True, expects_100=False)
        cycle.more_body = False
        scope["extensions"] = {ANSWER: cycle.answer, WHOLE_BODY: cycle.whole_body}
        self._begin(cycle)
        return True

    def _answer_at_once(self, scope: Scope) -> bool:
        """Answers the request of *scope* without a Cycle, if the application does so at once."""
        # What stands in front of the application may have none yet.
        at_once: Callable[[Scope], Response | None] | None = getattr(self.app, "at_once", None)
        if at_once is None or self.flow.write_paused or self.transport.is_closing():
            return False
        response = at_once(scope)
        if response is None or not isinstance(response.body, Whole):
            return False
        start = opening(response.status, self.server_state.default_headers)
        send(self.transport, (start, header_lines(response, response.body), b"\r\n"), response.body)
        self.on_response_complete()
        return True

    def _learn(self, data: bytes) -> None:
        if not self.cycle.keep_alive or self.parser.should_upgrade():
            return
        if self._stage is _Stage.IDLE:
            _heads.learn(data, self.headers)
        known = self._write_head
        if self.scope["method"] == "POST" and (known is None or not known.is_of(data)):
            door = getattr(self.app, "whole_writes", None)
            self._write_head = None if door is None else door.learn(self.scope, data)

    # Whole writes, see server/doors/whole_writes.py: what they answer and have parsed.

    def _begin_write(self, data: bytes) -> bool:
        """Hands over the request that *data* is, if it is a whole write as there was before."""
        head = self._write_head
        if head is None or self.flow.write_paused or self.cycle is None:
            return False
        self._missing = head.missing(data)
        if self._missing > 0:
            self._parts.append(data)
            self._parts_timer = self.loop.call_later(PARTS_SECONDS, self._parse_parts)
            return True
        if self._missing < 0 or not head.take(self, data):
            return False
        self._behind = []
        return True

    def _take_parts(self) -> bytes:
        """What has come of a write so far, which is not waited for any more."""
        data = b"".join(self._parts)
        self._parts.clear()
        if self._parts_timer is not None:
            self._parts_timer.cancel()
        return data

    def _parse_parts(self) -> None:
        """Lets a write whose end has not come go the usual way, which has its own deadlines."""
        if self._parts:
            self._parse(self._take_parts(), is_between=True)

    def answer_write(self, status: int, lines: bytes, body: bytes) -> bool:
        """Answers the write that was handed over; as ``Cycle.answer``."""
        behind = self._end_write()
        if self.transport.is_closing():
            return True
        start = opening(status, self.server_state.default_headers)
        end = b"connection: close\r\n\r\n" if self._ends else b"\r\n"
        send(self.transport, (start, lines, end), body)
        self.on_response_complete()
        if self._ends:
            self.transport.close()
        elif behind:
            self.data_received(behind)
        return True

    def parse_write(self, data: bytes) -> None:
        """Lets the write *data* that was handed over go the usual way."""
        behind = self._end_write()
        if self.transport.is_closing():
            return
        self._parse(data, is_between=True)
        if self._ends:
            super().shutdown()
        elif behind:
            self.data_received(behind)

    def _end_write(self) -> bytes:
        """Ends the write that was handed over; what has come behind it."""
        behind = b"".join(self._behind or ())
        self._behind = None
        if behind:
            self.flow.resume_reading()
        return behind

    def shutdown(self) -> None:
        self._parse_parts()
        if self._behind is None:
            super().shutdown()
        else:
            self._ends = True

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._messages += 1
        self._stage = _Stage.HEAD
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """As uvicorn does it, but for the Cycle, and that what has come whole is begun at once."""
        self._stage = _Stage.BODY
        version, method = self.parser.get_http_version(), self.parser.get_method().decode("ascii")
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["method"], scope["http_version"] = method, version
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"], scope["query_string"] = url.path, url.query or b""
        before = self.cycle
        cycle = self.cycle = Cycle(
            self,
            scope,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            expects_100=self.expect_100_continue,
        )
        scope["extensions"] = {ANSWER: cycle.answer, WHOLE_BODY: cycle.whole_body}
        if before is not None and not before.response_complete:
            self.flow.pause_reading()
            if not self.pipeline:
                self._at_work = before
            self.pipeline.appendleft((cycle, self.app))
        elif method in ("GET", "HEAD"):
            self._begin(cycle)
        else:
            self._held = cycle

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._stage = _Stage.IDLE
        if (held := self._take_held()) is not None:
            self._begin(held)

    def _take_held(self) -> Cycle | None:
        held, self._held = self._held, None
        return held

    def _begin(self, cycle: Cycle) -> None:
        if (task := begin(self.loop, cycle.run_asgi(self.app))) is not None:
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def on_response_complete(self) -> None:
        """As uvicorn does it, but for the timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            following = self.pipeline.pop()
            self._at_work = following[0]
            self._start_asgi_task(*following)
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait_idle(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        """Nothing: the timer looks for itself whether there was a request in the meantime."""

    def timeout_keep_alive_handler(self) -> None:
        busy = self._stage is not _Stage.IDLE or not self._is_between()
        busy = busy or self._behind is not None or bool(self._parts)
        idle_since = self.loop.time() if busy else self._idle_since
        left = idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._wait_idle(left)
        else:
            super().timeout_keep_alive_handler()

    def _wait_idle(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _watch(self) -> None:
        """Sets the timer that the stage asks for, none between requests."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timed = self._stage
        if self._stage is not _Stage.IDLE and not self.transport.is_closing():
            seconds = HEAD_SECONDS if self._stage is _Stage.HEAD else WHOLE_SECONDS
            self._timer = self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self.flow.read_paused:
            # It is us who do not read: an earlier request of this connection is still at work.
            self._watch()
        elif self._stage is _Stage.HEAD:
            self._end("slow-head", b"408 Request Timeout")
        else:
            self._end("slow-body")

    def _watch_reader(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self._check_reader, left)

    def _check_reader(self, left: int) -> None:
        if self.transport.get_write_buffer_size() < left:
            self._watch_reader()
            return
        closed["unread-answer"] += 1
        self.transport.abort()

    def _end(self, reason: str, status: bytes = b"") -> None:
        """Closes, with an answer of *status* where no request is being answered."""
        if self.transport.is_closing():
            return
        closed[reason] += 1
        if status and (self.cycle is None or self.cycle.response_complete):
            self.transport.write(
                b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status
            )
        self.transport.close()

"""Connections: uvicorn's HTTP protocol with deadlines and bounds, and requests begun at once.

Who says nothing, sends its request drop by drop or does not read its answer keeps a connection and
memory for itself, so it is let go: nobody can fill the server up by being slow.
"""

import asyncio
from enum import Enum
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.cycle import Cycle, begin
from server.http import ANSWER, BODY_SECONDS, WHOLE_BODY

HEAD_SECONDS = 10.0
"""How long a request's line and headers may take, from the first byte (or the connection) on."""
WHOLE_SECONDS = BODY_SECONDS + 5
"""How long a body may take; handlers that read one answer 408 before this ends the connection."""
UNREAD_SECONDS = 30.0
"""How long a peer may take none of what we have to say."""
MAX_HEAD_BYTES = 1 << 20
MAX_CONNECTIONS = 4096

closed = dict.fromkeys(("too-many", "slow-head", "long-head", "slow-body", "unread-answer"), 0)
"""Connections that we ended, by reason."""


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
    _timer: asyncio.TimerHandle | None = None
    _timed = _Stage.IDLE
    _unread: asyncio.TimerHandle | None = None
    _idle_since = 0.0
    _held: Cycle | None = None
    """A request whose body may be about to come, while what came at once is parsed."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            self._end("too-many", b"503 Service Unavailable")
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._unread, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if (held := self._take_held()) is not None:
            self._start_asgi_task(held, self.app)
        if self._stage is _Stage.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._end("long-head", b"431 Request Header Fields Too Large")
        if self._stage is not self._timed:
            self._watch()

    def on_message_begin(self) -> None:
        super().on_message_begin()
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
            self.scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            self.access_log,
            self.server_state.default_headers,
            asyncio.Event(),
            self.expect_100_continue,
            version != "1.0" and self.parser.should_keep_alive(),
            self.on_response_complete,
        )
        scope["extensions"] = {ANSWER: cycle.answer, WHOLE_BODY: cycle.whole_body}
        if before is not None and not before.response_complete:
            self.flow.pause_reading()
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
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait_idle(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        """Nothing: the timer looks for itself whether there was a request in the meantime."""

    def timeout_keep_alive_handler(self) -> None:
        busy = self._stage is not _Stage.IDLE or not self.cycle.response_complete
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

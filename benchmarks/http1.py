"""HTTP/1.1 over plain sockets with requests made beforehand: what asks and sends costs little.

A connection has one request at a time. Answers may have a length or come in chunks.
"""

import re
import select
import socket
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

RECEIVED = 1 << 16
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.I)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.I)
_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes


def get(url: str, path: str, parameters: Mapping[str, str]) -> bytes:
    """The bytes of a GET to the server at *url*."""
    host = urlsplit(url).netloc
    target = f"{path}?{urlencode(parameters)}"
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def post(url: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of a POST to the server at *url*."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {urlsplit(url).netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class Reader:
    """Takes the bytes of one answer until it is whole."""

    def __init__(self) -> None:
        self._head = b""
        self._parts: list[bytes] = []
        self._missing: int | None = 0
        """Bytes of the body still to come; None where it comes in chunks."""

    def feed(self, data: bytes) -> bool:
        """Whether the answer is whole with *data*."""
        if not self._parts:
            self._head += data
            end = self._head.find(_END)
            if end < 0:
                return False
            data = self._head[end + len(_END) :]
            self._head = self._head[: end + 2]
            self._missing = self._announced()
        self._parts.append(data)
        if self._missing is not None:
            self._missing -= len(data)
            return self._missing <= 0
        tail = data if len(data) >= len(_LAST_CHUNK) else b"".join(self._parts[-8:])
        return tail.endswith(_LAST_CHUNK) or tail == _LAST_CHUNK[2:]

    @property
    def status(self) -> int:
        return int(self._head[9:12])

    @property
    def closes(self) -> bool:
        """Whether the server ends the connection with this answer."""
        return _CLOSE.search(self._head) is not None

    @property
    def reply(self) -> Reply:
        """The answer; only once it is whole."""
        body = b"".join(self._parts)
        return Reply(self.status, _joined(body) if self._missing is None else body)

    def _announced(self) -> int | None:
        if found := _LENGTH.search(self._head):
            return int(found[1])
        return None if _CHUNKED.search(self._head) else 0


def _joined(chunked: bytes) -> bytes:
    """The body without the lines that tell the sizes of its chunks."""
    parts: list[bytes] = []
    at = 0
    while True:
        line = chunked.index(b"\r\n", at)
        size = int(chunked[at:line], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(chunked[line + 2 : line + 2 + size])
        at = line + 4 + size


def connect(url: str, timeout_s: float) -> socket.socket:
    """A connection to the server at *url* whose operations end with TimeoutError."""
    parts = urlsplit(url)
    made = socket.create_connection((parts.hostname, parts.port or 80), timeout_s)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


class Connection:
    """One connection that waits for each answer; a new one where the server has closed it."""

    def __init__(self, url: str, timeout_s: float = 180) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._socket: socket.socket | None = None

    def ask(self, request: bytes) -> Reply:
        """The answer; ConnectionError or TimeoutError without one."""
        connection = self._open()
        connection.sendall(request)
        reader = Reader()
        while not reader.feed(_received(connection)):
            pass
        if reader.closes:
            self.close()
        return reader.reply

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def is_closed(self) -> bool:
        """Whether there is no connection, or the server has closed it since its last answer."""
        # Between requests a server says nothing, unless it hangs up.
        return self._socket is None or bool(select.select([self._socket], [], [], 0)[0])

    def _open(self) -> socket.socket:
        if self.is_closed:
            self.close()
        if self._socket is None:
            self._socket = connect(self._url, self._timeout_s)
        return self._socket


class Answered(NamedTuple):
    """An answer as ``drive`` tells of it."""

    connection: int
    took_ms: float
    reader: Reader


def drive(
    url: str,
    connections: int,
    due: Callable[[int], bytes | None],
    answered: Callable[[Answered], None],
    timeout_s: float = 180,
) -> None:
    """Keeps *connections* busy from one thread, until no answer is awaited and nothing is due.

    *due* gives the next request of a connection, None where there is none now; it is asked again
    after every answer. Raises ConnectionError where a server hangs up, TimeoutError after
    *timeout_s* without any byte, and what *answered* raises.
    """
    sockets = [connect(url, timeout_s) for _ in range(connections)]
    poll = select.epoll()
    try:
        _drive(sockets, poll, due, answered, timeout_s)
    finally:
        poll.close()
        for one in sockets:
            one.close()


class _Busy:
    """A connection with a request under way."""

    __slots__ = ("began", "number", "reader", "rest", "socket")

    def __init__(self, number: int, connection: socket.socket, request: bytes) -> None:
        self.number, self.socket = number, connection
        self.reader = Reader()
        self.began = time.perf_counter()
        self.rest = memoryview(request)
        self.push()

    def push(self) -> None:
        """Sends as much as the socket takes."""
        try:
            self.rest = self.rest[self.socket.send(self.rest) :]
        except BlockingIOError:
            return


def _drive(
    sockets: list[socket.socket],
    poll: select.epoll,
    due: Callable[[int], bytes | None],
    answered: Callable[[Answered], None],
    timeout_s: float,
) -> None:
    busy: dict[int, _Busy] = {}
    idle = set(range(len(sockets)))
    for one in sockets:
        one.setblocking(False)
        poll.register(one.fileno(), select.EPOLLIN)
    while True:
        for number in sorted(idle):
            if (request := due(number)) is not None:
                idle.discard(number)
                made = _Busy(number, sockets[number], request)
                busy[sockets[number].fileno()] = made
                if made.rest:
                    poll.modify(made.socket.fileno(), select.EPOLLOUT)
        if not busy:
            return
        events = poll.poll(timeout_s)
        if not events:
            raise TimeoutError(f"no answer in {timeout_s:g} s")
        for descriptor, _ in events:
            if (asked := busy.get(descriptor)) is None:
                raise ConnectionError("the server closed the connection")
            if asked.rest:
                asked.push()
                if not asked.rest:
                    poll.modify(descriptor, select.EPOLLIN)
            elif asked.reader.feed(_received(asked.socket)):
                took_ms = (time.perf_counter() - asked.began) * 1000
                del busy[descriptor]
                idle.add(asked.number)
                answered(Answered(asked.number, took_ms, asked.reader))


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(RECEIVED)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data

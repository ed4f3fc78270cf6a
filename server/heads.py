"""Heads: the headers of requests that have come before, so that they are not parsed again.

A client sends the same headers with every question; only the target changes. What is remembered
here was parsed whole once, and only what came byte for byte again is taken from memory.
"""

from collections.abc import Iterable

MAX_HEADS = 256
"""So many heads are remembered, ..."""
MAX_HEAD_BYTES = 4096
"""... none of them longer than this."""
MAX_TARGET_BYTES = 1 << 16

_METHOD = b"GET /"
_TARGET_AT = len(b"GET ")
_VERSION = b" HTTP/1.1\r\n"
_END = b"\r\n\r\n"
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/?%"
"""What a target may hold to be taken apart here; a fragment, for one, is left to the parser."""
_TELLING = frozenset(
    (b"connection", b"proxy-connection", b"content-length", b"transfer-encoding", b"expect",
     b"upgrade", b"http2-settings")
)  # fmt: skip
"""Headers that say how a request or its connection goes on."""


class Head:
    """The headers of a request; the same object for all requests that have the same."""

    __slots__ = ("by_name", "headers")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """*headers* in their order, names in lower case."""
        self.headers = tuple(headers)
        self.by_name: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            self.by_name.setdefault(name, []).append(value)


class Heads:
    """The heads that came last."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, bytes, bytes] | None:
        """Head, path and query string of *data*; None unless it is one whole request with a head
        that is known: a GET without a body, on a connection that stays open."""
        if not data.startswith(_METHOD):
            return None
        end = data.find(_VERSION, 0, MAX_TARGET_BYTES)
        if end < 0 or len(data) > end + MAX_HEAD_BYTES:
            return None
        head = self._known.get(data[end:])
        if head is None:
            return None
        target = data[_TARGET_AT:end]
        if target.translate(None, _PLAIN):
            return None
        path, _, query = target.partition(b"?")
        return head, path, query

    def learn(self, data: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        """Remembers the head of *data*, which was parsed as one whole request with *headers*."""
        if not data.startswith(_METHOD):
            return
        end = data.find(_VERSION, 0, MAX_TARGET_BYTES)
        block = data[end:]
        if (
            end < 0
            or len(block) > MAX_HEAD_BYTES
            # What precedes the block must be a request line and no more.
            or data[_TARGET_AT:end].translate(None, _PLAIN)
            or not block.endswith(_END)
            or block in self._known
            or not goes_on(headers)
        ):
            return
        if len(self._known) >= MAX_HEADS:
            del self._known[next(iter(self._known))]
        self._known[block] = Head(headers)


def goes_on(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether nothing but what is usual follows the request on its connection."""
    return all(
        name not in _TELLING or (name == b"connection" and value.lower() == b"keep-alive")
        for name, value in headers
    )

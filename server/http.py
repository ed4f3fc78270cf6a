"""Requests and responses over plain ASGI, and the errors that become responses.

Hot routes see nothing but this file; it knows headers, bodies and status codes, and no route.
"""

import asyncio
import json
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    KeysView,
    Mapping,
    MutableMapping,
)
from dataclasses import dataclass
from typing import Any

import orjson

from server.heads import Head

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
ANSWER = "o11y.answer"
"""The extension of an ASGI scope that writes whole answers in one piece: called with the status,
the lines of headers and the body, it says whether it could."""
WHOLE_BODY = "o11y.whole_body"
"""The extension that gives the request's body where all of it has come, else None."""
HEAD = "o11y.head"
"""Where a scope carries the Head whose headers are its own, if that is known from before."""
BODY_SECONDS = 30.0
"""How long a sender may take over its body."""

_STATUS = {
    "bad_data": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "execution": 422,
    "canceled": 499,
    "internal": 500,
    "timeout": 503,
    "unavailable": 503,
}


class Slices:
    """A whole body in slices, which are long enough not to be copied into one."""

    __slots__ = ("_size", "parts")

    def __init__(self, parts: list[bytes | memoryview]) -> None:
        self.parts = parts
        self._size = sum(map(len, parts))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)


Whole = bytes | Slices


@dataclass(slots=True)
class Response:
    """A status and a body: the whole of it, or pieces that are sent as they come.

    Not to be changed once made.
    """

    body: Whole | AsyncIterator[bytes] = b""
    status: int = 200
    content_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class HttpError(Exception):
    """Ends a request with a response, after a delay where there is one."""

    def __init__(self, response: Response, delay_seconds: float = 0.0) -> None:
        super().__init__(response.status)
        self.response = response
        self.delay_seconds = delay_seconds


def api_error(
    error_type: str, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> HttpError:
    """An error in the shape of Prometheus' API; the type decides the status."""
    body = dumps({"status": "error", "errorType": error_type, "error": text})
    return HttpError(Response(body, _STATUS[error_type], JSON, headers))


def text_error(status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> HttpError:
    """An error as one line of plain text."""
    return HttpError(Response(text.encode() + b"\n", status, TEXT, headers))


def success(
    data: Any, warnings: list[str] | None = None, infos: list[str] | None = None
) -> Response:
    """``{"status":"success","data":...}``; empty notes are left out."""
    answer: dict[str, Any] = {"status": "success", "data": data}
    if warnings:
        answer["warnings"] = warnings
    if infos:
        answer["infos"] = infos
    return Response(dumps(answer))


def dumps(value: Any) -> bytes:
    """JSON bytes; what is not valid Unicode in a text is replaced, as Go's encoder does."""
    try:
        return orjson.dumps(value)
    except TypeError:
        value = _valid_texts(value)
    try:
        return orjson.dumps(value)
    except TypeError:  # the tree or plan of a long expression is deeper than orjson goes
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _valid_texts(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {_valid_texts(k): _valid_texts(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_valid_texts(item) for item in value]
    return value


def _bad_request(text: str) -> HttpError:
    return text_error(400, text)


class Request:
    """One HTTP request; header names are lower-case bytes."""

    __slots__ = ("_by_name", "captures", "method", "receive", "scope", "taken_bytes")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.method: str = scope["method"]
        self.captures: dict[str, str] = {}
        """The named parts of the path."""
        self.taken_bytes = 0
        """Of a body that came without a message."""
        self._by_name: dict[bytes, list[bytes]] | None = None

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def address(self) -> str:
        """The address that the connection comes from; '' where it is unknown."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    @property
    def header_names(self) -> KeysView[bytes]:
        """The names of all headers."""
        return self._values_by_name().keys()

    def headers(self, name: bytes) -> list[str]:
        """Every value of a header, in order, without surrounding blanks."""
        values = self._values_by_name().get(name)
        return [value.decode("latin-1").strip() for value in values] if values else []

    def _values_by_name(self) -> dict[bytes, list[bytes]]:
        if self._by_name is None:
            head: Head | None = self.scope.get(HEAD)
            self._by_name = (head or Head(self.scope["headers"])).by_name
        return self._by_name

    def header(self, name: bytes) -> str:
        """The first value of a header, or ''."""
        values = self._values_by_name().get(name)
        return values[0].decode("latin-1").strip() if values else ""

    async def body(
        self, max_bytes: int, refusal: Callable[[str], HttpError] = _bad_request
    ) -> bytes:
        """The whole body; *refusal* beyond *max_bytes*, HttpError 408 where it comes too slowly."""
        declared = self.header(b"content-length")
        if declared.isdigit() and int(declared) > max_bytes:
            raise refusal(_too_large(int(declared), max_bytes))
        whole = self._whole_body()
        if whole is None:
            message = await self._receive_first()
            if not message.get("more_body"):
                whole = bytes(message.get("body", b""))
        if whole is not None:
            if len(whole) > max_bytes:
                raise refusal(_too_large(len(whole), max_bytes))
            return whole
        parts = [message.get("body", b"")]
        size = len(parts[0])
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while message.get("more_body"):
                    message = self._not_gone(await self.receive())
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > max_bytes:
                        raise refusal(_too_large(size, max_bytes))
        except TimeoutError:
            raise text_error(408, "the request body did not arrive in time") from None
        return b"".join(parts)

    def _whole_body(self) -> bytes | None:
        take = self.scope.get("extensions", {}).get(WHOLE_BODY)
        body: bytes | None = None if take is None else take()
        self.taken_bytes = len(body or b"")
        return body

    async def _receive_first(self) -> Message:
        await in_a_task()  # for the timeout
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return self._not_gone(await self.receive())
        except TimeoutError:
            raise text_error(408, "the request body did not arrive in time") from None

    @staticmethod
    def _not_gone(message: Message) -> Message:
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message

    async def gone(self) -> None:
        """Returns when the asker has gone away; only after the body was read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


async def nothing_comes() -> Message:
    """What a request without a body receives that nobody waits for."""
    raise ClientGone


class ClientGone(Exception):
    """The asker went away before its request was complete; nobody waits for an answer."""


def _too_large(size: int, max_bytes: int) -> str:
    return f"the request body of {size} bytes exceeds the {max_bytes} bytes limit"


async def in_a_task() -> None:
    """Returns in a task; a request without a body is begun outside of any."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)


def respond_at_once(response: Response, scope: Scope, *, head: bool = False) -> bool:
    """Sends *response* in one piece where the server of *scope* can, and says whether it did."""
    body = response.body
    extensions = scope.get("extensions")
    if not extensions or not isinstance(body, Whole) or ANSWER not in extensions:
        return False
    return bool(
        extensions[ANSWER](response.status, header_lines(response, body), b"" if head else body)
    )


def header_lines(response: Response, body: Whole) -> bytes:
    """The headers of *response*, whose whole body is *body*, each with its end."""
    lines = b""
    if response.headers:
        lines = b"".join([b"%b: %b\r\n" % header for header in response.headers])
    if response.status != 204:
        lines += _LINES % (response.content_type.encode(), len(body))
    return lines


_LINES = b"content-type: %b\r\ncontent-length: %d\r\n"


async def respond(response: Response, send: Send, *, head: bool = False) -> None:
    """Sends *response*; without its body where *head*."""
    headers = list(response.headers)
    if response.status != 204:
        headers.append((b"content-type", response.content_type.encode()))
    whole = bytes(response.body) if isinstance(response.body, Whole) else None
    if whole is not None and response.status != 204:
        headers.append((b"content-length", str(len(whole)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if head or isinstance(response.body, Whole):
        body = b"" if head else whole
        await send({"type": "http.response.body", "body": body})
        return
    async for part in response.body:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})

"""Fetching one page over HTTP, within its limits."""

import zlib
from dataclasses import dataclass

import httpx

MAX_BODY_BYTES = 1 << 28
"""No page is larger, whatever the job allows: a small compressed body may unpack to anything."""
ERROR_TEXT = 300


class ScrapeFailed(Exception):
    """A scrape got no page; ``reason`` is one of the words that docs/scraping.md lists."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Page:
    """An uncompressed page and the type it claims to be of."""

    body: bytes
    content_type: str


async def fetch(
    client: httpx.AsyncClient,
    url: str,
    headers: dict[str, str],
    extensions: dict[str, object],
    limit_bytes: int,
) -> Page:
    """The page at *url*, of at most *limit_bytes* (0: MAX_BODY_BYTES); ScrapeFailed else.

    The caller bounds the time.
    """
    try:
        async with client.stream("GET", url, headers=headers, extensions=extensions) as response:
            if response.status_code != 200:
                status = f"{response.status_code} {response.reason_phrase}".strip()
                raise ScrapeFailed("http-status", f"server returned HTTP status {status}")
            body = await _read(response, limit_bytes or MAX_BODY_BYTES)
            return Page(body, response.headers.get("content-type", ""))
    except httpx.TimeoutException as error:
        raise ScrapeFailed("timeout", f'Get "{url}": {_words(error)}') from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ScrapeFailed("connection", f'Get "{url}": {_words(error)}') from None


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:ERROR_TEXT]


async def _read(response: httpx.Response, limit_bytes: int) -> bytes:
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("gzip", "identity", ""):
        raise ScrapeFailed("content-encoding", f'unknown content encoding "{encoding}"')
    inflate = _Inflate(limit_bytes) if encoding == "gzip" else None
    parts: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw():
        part = chunk if inflate is None else inflate.feed(chunk)
        parts.append(part)
        size += len(part)
        if size > limit_bytes:
            raise ScrapeFailed("body-size-limit", "body size limit exceeded")
    if inflate is not None and not inflate.ended:
        raise ScrapeFailed("connection", "gzip: unexpected EOF")
    return parts[0] if len(parts) == 1 else b"".join(parts)


class _Inflate:
    """gzip, one member after the other, never much beyond a limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._room = limit_bytes + 1
        self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def ended(self) -> bool:
        return self._member.eof

    def feed(self, chunk: bytes) -> bytes:
        parts = []
        while chunk and self._room > 0:
            if self._member.eof:
                self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                part = self._member.decompress(chunk, self._room)
            except zlib.error as error:
                raise ScrapeFailed("connection", f"gzip: {error}") from None
            parts.append(part)
            self._room -= len(part)
            chunk = self._member.unused_data
        return b"".join(parts)

"""Imports: text formats of any length, read block by block as they arrive.

What is sound is stored and stays stored; lines that cannot be read are named in a 400 at the end.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qsl

from series.ports import Refusal
from server.call import Call
from server.doors.ingest import MAX_LINES, Delivery, Outcome, http_error, receive
from server.http import (
    BODY_SECONDS,
    ClientGone,
    HttpError,
    Request,
    Response,
    dumps,
    in_a_task,
    text_error,
)
from wire.errors import Malformed
from wire.exposition import Format, TextDecoder, format_of
from wire.exposition_page import Scraped
from wire.influx import InfluxDecoder
from wire.json_lines import JsonLinesDecoder
from wire.line_blocks import ENCODINGS, LineBlocks

MAX_IMPORT_BYTES = 1 << 30
"""How many bytes a request may hold, compressed or not."""
PROGRESS_BYTES = 64 << 10
"""So many bytes must arrive every BODY_SECONDS."""

_INFLUX_VERSION = ((b"x-influxdb-version", b"1.8.10"), (b"x-influxdb-build", b"OSS"))


async def prometheus(call: Call) -> Response:
    """``POST /api/v1/import/prometheus``: text 0.0.4 or OpenMetrics, by content type.

    The parameter ``timestamp`` (ms) is the time of samples that name none.
    """
    params = _params(call.request)
    openmetrics = format_of(call.request.header(b"content-type")) is Format.OPENMETRICS
    decoder = TextDecoder(openmetrics, _now_ms(call, params))
    tally = await _import(call, "import-prometheus", decoder.feed, decoder.finish)
    return tally.outcome().response()


async def json_lines(call: Call) -> Response:
    """``POST /api/v1/import``: JSON lines as VictoriaMetrics exports them."""
    _params(call.request)
    tally = await _import(call, "import-json", JsonLinesDecoder().feed)
    return tally.outcome().response()


async def influx_write(call: Call) -> Response:
    """``POST /write`` and ``/api/v2/write``: Influx line protocol; errors are JSON."""
    params = _params(call.request)
    db = params.get("db") or params.get("bucket", "")
    try:
        decoder = InfluxDecoder(call.house.now_ms(), params.get("precision", ""), db)
        tally = await _import(call, "influx", decoder.feed)
    except Malformed as error:
        raise _influx_error(400, str(error)) from None
    except HttpError as error:
        body = error.response.body
        assert isinstance(body, bytes)
        status, headers = error.response.status, error.response.headers
        raise _influx_error(status, body.decode().strip(), headers) from None
    call.house.metrics.skipped.add(decoder.skipped_texts, "influx", "text-fields")
    outcome = tally.outcome()
    if not outcome.refused:
        return Response(status=204, headers=_INFLUX_VERSION)
    answer = outcome.response()
    raise _influx_error(answer.status, outcome.text(), answer.headers)


async def influx_ping(call: Call) -> Response:
    """``GET /ping``: the writers' way to ask whether anybody is there."""
    del call
    return Response(status=204, headers=_INFLUX_VERSION)


async def influx_query(call: Call) -> Response:
    """``/query``: says yes to whatever a writer asks before it writes, and shows no data."""
    if call.request.method == "POST":
        await call.request.body(PROGRESS_BYTES)
    return Response(dumps({"results": [{"statement_id": 0}]}), headers=_INFLUX_VERSION)


@dataclass(slots=True)
class _Tally:
    """What became of the blocks so far."""

    stored: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)
    error: str = ""
    retry_seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        self.stored += outcome.stored
        self.refused.update(outcome.refused)
        self.refusals += outcome.refusals[: MAX_LINES - len(self.refusals)]
        self.retry_seconds = 0.0 if self.stored else max(self.retry_seconds, outcome.retry_seconds)

    def outcome(self) -> Outcome:
        """The sum; HttpError 400 where the request was cut short by an error."""
        whole = Outcome(self.stored, self.refused, self.refusals, self.retry_seconds)
        if not self.error:
            return whole
        lines = [self.error, *whole.text().splitlines()[-MAX_LINES + 1 :]]
        raise text_error(400, "\n".join(lines))


async def _import(
    call: Call,
    door: str,
    feed: Callable[[bytes], Scraped],
    finish: Callable[[], None] = lambda: None,
) -> _Tally:
    """Reads the body to its end, or up to the first thing that ends it; HttpError 415 or 503."""
    encoding = call.request.header(b"content-encoding").lower()
    if encoding not in ENCODINGS:
        raise text_error(415, f"content encoding {encoding!r} is not one of gzip and zstd")
    tally = _Tally()
    try:
        async for block in _blocks(call, LineBlocks(encoding, MAX_IMPORT_BYTES), encoding):
            outcome = await receive(call, door, len(block), partial(_decode, feed, block))
            tally.add(outcome)
            if outcome.ends_request:
                return tally
        finish()
    except Malformed as error:
        tally.error = str(error)
    except OSError as error:
        raise http_error(error) from None
    return tally


def _decode(feed: Callable[[bytes], Scraped], block: bytes) -> Delivery:
    page = feed(block)
    return Delivery(page.batch, page.metadata, page.refused, page.refusals)


async def _blocks(call: Call, lines: LineBlocks, encoding: str) -> AsyncIterator[bytes]:
    """The body as blocks of lines; compressed ones are made in a worker thread."""
    loop = asyncio.get_running_loop()
    compressed = encoding in ("gzip", "zstd")
    async for chunk in _chunks(call.request):
        made = lines.feed(chunk)
        while True:
            if compressed:
                block = await loop.run_in_executor(call.writes, next, made, None)
            else:
                block = next(made, None)
            if block is None:
                break
            yield block
    if rest := lines.finish():
        yield rest


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """The body as it arrives, gathered to PROGRESS_BYTES; HttpError 400 and 408."""
    await in_a_task()  # for the timeout
    left = MAX_IMPORT_BYTES
    more = True
    while more:
        parts: list[bytes] = []
        gathered = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more and gathered < PROGRESS_BYTES:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    parts.append(message.get("body", b""))
                    gathered += len(parts[-1])
                    more = message.get("more_body", False)
        except TimeoutError:
            raise text_error(408, "the request body did not arrive in time") from None
        left -= gathered
        if left < 0:
            raise text_error(400, f"the request body exceeds the {MAX_IMPORT_BYTES} bytes limit")
        yield b"".join(parts)


def _params(request: Request) -> dict[str, str]:
    """The parameters in the URL, the first of each."""
    pairs = parse_qsl(request.scope["query_string"].decode("latin-1"))
    for name in ("extra_label", "extra_filters"):
        if any(found == name for found, _ in pairs):
            raise text_error(400, f"the parameter {name} is not supported")
    return dict(reversed(pairs))


def _now_ms(call: Call, params: dict[str, str]) -> int:
    text = params.get("timestamp", "")
    if not text:
        return call.house.now_ms()
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise text_error(400, f"cannot parse timestamp {text[:40]!r}: it is no integer of ms")
    return int(text)


def _influx_error(
    status: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> HttpError:
    """An error as clients of both Influx versions read it."""
    body = dumps(
        {"code": "invalid" if status < 500 else "unavailable", "message": text, "error": text}
    )
    return HttpError(Response(body, status, headers=(*headers, *_INFLUX_VERSION)))

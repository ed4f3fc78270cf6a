"""Remote write: bytes to the tenant's storage, and the answer that senders act upon.

204 and 400 end a sender's attempt; with 503 it keeps the batch and tries again. So everything that
is wrong with the *content* is 400, with what can be stored stored.
"""

import asyncio
from collections import Counter
from concurrent.futures import Future

from series.ports import Appended
from server.call import Call
from server.http import Response, text_error
from server.tenants import tenant_db
from wire.errors import Malformed
from wire.remote_write import MAX_DECODED_BYTES, WriteRequest, decode

MAX_BODY_BYTES = MAX_DECODED_BYTES + MAX_DECODED_BYTES // 6 + 32
"""What snappy makes at most of the largest message."""
INLINE_BYTES = 4096
"""A body up to here is decoded and queued faster than handed to another thread."""
MAX_LINES = 10
RETRY_AFTER = ((b"retry-after", b"5"),)

_MESSAGE = "prometheus.WriteRequest"


async def write(call: Call) -> Response:
    """``POST /api/v1/write``: answers once everything accepted is durable."""
    _check_headers(call)
    body = await call.request.body(MAX_BODY_BYTES)
    try:
        if len(body) <= INLINE_BYTES:
            decoded, pending = _queue(call, body)
        else:
            loop = asyncio.get_running_loop()
            decoded, pending = await loop.run_in_executor(call.house.writes, _queue, call, body)
        done = [await asyncio.wrap_future(one) for one in pending]
    except Malformed as error:
        raise text_error(400, str(error)) from None
    except OSError as error:
        raise text_error(503, f"the storage cannot write: {error}", RETRY_AFTER) from None
    return _answer(call, decoded, done)


def _check_headers(call: Call) -> None:
    """415 for what is not snappy-compressed remote write 1.0; missing headers count as it."""
    kind = call.request.header(b"content-type")
    media_type, *parameters = (part.strip() for part in kind.split(";"))
    if media_type.lower() not in ("", "application/x-protobuf"):
        raise text_error(415, f"content type {kind!r} is not application/x-protobuf")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "proto" and value.strip().strip('"') != _MESSAGE:
            raise text_error(415, f"protobuf message {value!r} is not accepted, only {_MESSAGE}")
    encoding = call.request.header(b"content-encoding")
    if encoding.lower() not in ("", "snappy"):
        raise text_error(415, f"content encoding {encoding!r} is not snappy")


def _queue(call: Call, body: bytes) -> tuple[WriteRequest, list["Future[Appended]"]]:
    """Decodes *body* and hands it to the storage; a tenant is made only for something to store."""
    decoded = decode(body)
    if not decoded.batch.series_count and not decoded.metadata:
        return decoded, []
    db = tenant_db(call.house.store, call.principal, create=True)
    assert db is not None
    pending = []
    if decoded.metadata:
        pending.append(db.put_metadata(decoded.metadata))
    if decoded.batch.series_count:
        pending.append(db.append(decoded.batch))
    return decoded, pending


def _answer(call: Call, decoded: WriteRequest, done: list[Appended]) -> Response:
    metrics = call.house.metrics
    stored = sum(one.samples for one in done)
    metrics.samples.inc(stored)
    refused = Counter(decoded.refused)
    for one in done:
        refused.update(one.refused)
    if not refused:
        return Response(status=204)
    for reason, count in refused.items():
        metrics.refused.labels(reason).inc(count)
    refusals = [*decoded.refusals, *(refusal for one in done for refusal in one.refusals)]
    lines = [_line(refusal.detail, str(refusal.labels)) for refusal in refusals]
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
    lines = [*lines[: MAX_LINES - 1], f"refused: {counts}; stored: {stored}"]
    raise text_error(400, "\n".join(lines))


def _line(detail: str, labels: str) -> str:
    text = detail if labels in detail else f"{detail} for series {labels}"
    return text.replace("\n", "\\n")

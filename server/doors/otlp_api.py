"""OTLP/HTTP metrics: an SDK's or a collector's export to the tenant's storage.

A sender hears in its own encoding: 200, with a partial success where points were refused; 400 where
nothing could be stored and sending again cannot help; 429 and 503 with Retry-After where it can.
"""

import numpy as np

from server.call import Call
from server.doors.ingest import (
    INLINE_BYTES,
    RETRY_SECONDS,
    Delivery,
    Outcome,
    receive,
    refusal_text,
    retry_after,
)
from server.http import HttpError, Response, text_error
from wire.compression import decompress
from wire.errors import Malformed
from wire.otlp_json import MAX_JSON_BYTES, to_protobuf
from wire.otlp_reply import (
    INVALID_ARGUMENT,
    JSON,
    PROTOBUF,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    accepted,
    failed,
    partly_accepted,
)
from wire.otlp_request import MetricsRequest

MAX_BODY_BYTES = 32 << 20
MAX_DECODED_BYTES = 32 << 20

_ENCODINGS = ("gzip", "zstd", "deflate", "identity")


async def metrics(call: Call) -> Response:
    """``POST /v1/metrics``: answers once everything accepted is durable."""
    media_type, encoding = _kinds(call)
    body = await call.request.body(MAX_BODY_BYTES)
    decoded = MetricsRequest()

    def decode() -> Delivery:
        nonlocal decoded
        decoded = _decode(call, body, media_type, encoding)
        return Delivery(
            decoded.batch, decoded.metadata, decoded.refused, decoded.refusals, decoded.skipped
        )

    try:
        # Never on the event loop: a small body may be large once decompressed, and the translator
        # may be busy with another request.
        outcome = await receive(call, "otlp", max(len(body), INLINE_BYTES + 1), decode)
    except Malformed as error:
        raise _failure(400, media_type, INVALID_ARGUMENT, str(error)) from None
    except OSError as error:
        text = refusal_text(error)
        raise _failure(503, media_type, UNAVAILABLE, text, RETRY_SECONDS) from None
    decoded.confirm()
    call.house.otlp.count(decoded)
    return _answer(media_type, decoded, outcome)


def _kinds(call: Call) -> tuple[str, str]:
    """(media type, content encoding) of the body; 415 for what is not taken."""
    sent = call.request.header(b"content-type")
    media_type = sent.partition(";")[0].strip().lower()
    if media_type not in (JSON, PROTOBUF):
        raise text_error(415, f"unsupported content type: {sent}, supported: [{JSON}, {PROTOBUF}]")
    encoding = call.request.header(b"content-encoding").lower() or "identity"
    if encoding not in _ENCODINGS:
        known = ", ".join(_ENCODINGS)
        raise text_error(415, f"unsupported compression: {encoding}, supported: [{known}]")
    return media_type, encoding


def _decode(call: Call, body: bytes, media_type: str, encoding: str) -> MetricsRequest:
    is_json = media_type == JSON
    if encoding == "identity" and not is_json:
        message = np.frombuffer(body, dtype=np.uint8)  # read as it came, without a copy
    else:
        message = decompress(body, encoding, MAX_JSON_BYTES if is_json else MAX_DECODED_BYTES)
    if is_json:
        message = decompress(to_protobuf(message.tobytes()), "identity", MAX_DECODED_BYTES)
    translator = call.house.otlp.of(call.principal.tenant)
    return translator.translate(message, call.house.now_ms())


def _answer(media_type: str, decoded: MetricsRequest, outcome: Outcome) -> Response:
    if not outcome.refused:
        return Response(accepted(media_type), content_type=media_type)
    text = outcome.text()
    if outcome.retry_seconds:
        raise _failure(429, media_type, RESOURCE_EXHAUSTED, text, outcome.retry_seconds)
    if not outcome.stored:
        raise _failure(400, media_type, INVALID_ARGUMENT, text)
    # What limits and the storage refuse is counted in samples, of which a point may have many.
    later = sum(outcome.refused.values()) - decoded.refused_points
    rejected = min(decoded.refused_points + later, decoded.points)
    return Response(partly_accepted(media_type, rejected, text), content_type=media_type)


def _failure(
    status: int, media_type: str, code: int, text: str, retry_seconds: float = 0.0
) -> HttpError:
    headers = (retry_after(retry_seconds),) if retry_seconds else ()
    return HttpError(Response(failed(media_type, code, text), status, media_type, headers))

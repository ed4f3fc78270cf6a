"""Remote write 1.0 and 2.0: bytes to the tenant's storage, and the answer that senders act upon.

204 and 400 end a sender's attempt; with 429 and 503 it keeps the batch and tries again. So
everything that is wrong with the *content* is 400, with what can be stored stored.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from series.known import Known
from server.answers.known_series import within_limits
from server.call import Call
from server.doors.ingest import INLINE_BYTES, Delivery, Headers, Outcome, http_error, receive
from server.http import HttpError, Request, Response, text_error
from wire import remote_write, remote_write_v2
from wire.compression import snappy_bytes
from wire.errors import Malformed
from wire.write_request import MAX_DECODED_BYTES, WriteRequest

MAX_BODY_BYTES = MAX_DECODED_BYTES + MAX_DECODED_BYTES // 6 + 32
"""What snappy makes at most of the largest message."""
_INLINE_DECODED_BYTES = 21 * INLINE_BYTES
"""What snappy makes at most of a body of INLINE_BYTES: a larger one may hold no more."""


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of the protocol; ``message`` names it in the content type."""

    message: str
    door: str
    decode: Callable[[bytes, str, Known | None], WriteRequest]


def _decoded_1(body: bytes, encoding: str, known: Known | None) -> WriteRequest:
    return remote_write.decode(body, encoding, known=known)


def _decoded_2(body: bytes, encoding: str, known: Known | None) -> WriteRequest:
    del known
    return remote_write_v2.decode(body, encoding)


_V1 = _Version("prometheus.WriteRequest", "remote_write", _decoded_1)
_V2 = _Version("io.prometheus.write.v2.Request", "remote_write_2", _decoded_2)
_MEDIA_TYPE = "application/x-protobuf"
_ENCODINGS = ("snappy", "zstd")


async def write(call: Call) -> Response:
    """``POST /api/v1/write``: answers once everything accepted is durable."""
    version, encoding = _negotiated(call.request)
    outcome = Outcome(0)
    try:
        body = await call.request.body(MAX_BODY_BYTES)

        # Never on the event loop where a small body may be a large one: a few bytes of zstd.
        small = encoding == "snappy" and snappy_bytes(body) <= _INLINE_DECODED_BYTES
        size_bytes = min(len(body), INLINE_BYTES) if small else INLINE_BYTES + 1

        def decoded() -> Delivery:
            return Delivery.of(version.decode(body, encoding, _known_series(call)))

        outcome = await receive(call, version.door, size_bytes, decoded)
        response = outcome.response()
    except (Malformed, OSError) as error:
        response = http_error(error).response
    except HttpError as error:
        response = error.response
    if version is _V1:
        return response
    return replace(response, headers=(*response.headers, *_written(outcome)))


def _known_series(call: Call) -> Known | None:
    """The series of the tenant that the decoder need not look at again."""
    tenant = call.principal.tenant
    known = call.house.store.known(tenant)
    return None if known is None else within_limits(known, call.house.limits.of(tenant))


def is_plain(request: Request) -> bool:
    """Whether the headers of *request* say 1.0 and snappy."""
    try:
        return _negotiated(request) == (_V1, "snappy")
    except HttpError:
        return False


def _negotiated(request: Request) -> tuple[_Version, str]:
    """The version and the encoding of the body; missing headers mean snappy and 1.0.

    HttpError 415 for others, so that senders fall back to what we take.
    """
    kind = request.header(b"content-type")
    media_type, *parameters = (part.strip() for part in kind.split(";"))
    if media_type.lower() not in ("", _MEDIA_TYPE):
        raise text_error(415, f"content type {kind!r} is not {_MEDIA_TYPE}")
    version = _V1
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "proto":
            version = _version(value.strip().strip('"'))
    encoding = request.header(b"content-encoding").lower() or "snappy"
    if encoding not in _ENCODINGS:
        raise text_error(415, f"content encoding {encoding!r} is not snappy or zstd")
    return version, encoding


def _version(message: str) -> _Version:
    for version in (_V1, _V2):
        if message == version.message:
            return version
    accepted = f"{_V1.message} and {_V2.message}"
    raise text_error(415, f"protobuf message {message!r} is not accepted, only {accepted}")


def _written(outcome: Outcome) -> Headers:
    """What a 2.0 sender learns of what was stored, whatever the status."""
    counts = {
        "samples": outcome.stored - outcome.histograms,
        "histograms": outcome.histograms,
        "exemplars": outcome.exemplars,
    }
    return tuple(
        (f"x-prometheus-remote-write-{what}-written".encode(), str(count).encode())
        for what, count in counts.items()
    )

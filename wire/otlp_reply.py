"""What an OTLP sender is answered, in the encoding it sent: protobuf or JSON.

Source: OTLP specification, "OTLP/HTTP Response"; the messages ExportMetricsServiceResponse and
google.rpc.Status.
"""

import orjson

from wire.otlp_rewrite import varint_bytes

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE = 3, 8, 14
"""google.rpc.Code"""


def accepted(media_type: str) -> bytes:
    """Everything was stored."""
    return b"{}" if media_type == JSON else b""


def partly_accepted(media_type: str, rejected_points: int, text: str) -> bytes:
    """All but *rejected_points* were stored; *text* tells why."""
    if media_type == JSON:
        # 64-bit integers are texts in protobuf's JSON.
        told = {"rejectedDataPoints": str(rejected_points), "errorMessage": text}
        return orjson.dumps({"partialSuccess": told})
    partial = b"\x08" + varint_bytes(rejected_points) + _text(2, text)
    return b"\x0a" + varint_bytes(len(partial)) + partial


def failed(media_type: str, code: int, text: str) -> bytes:
    """A Status: nothing was stored."""
    if media_type == JSON:
        return orjson.dumps({"code": code, "message": text})
    return b"\x08" + varint_bytes(code) + _text(2, text)


def _text(number: int, text: str) -> bytes:
    data = text.encode(errors="replace")
    return varint_bytes(number << 3 | 2) + varint_bytes(len(data)) + data

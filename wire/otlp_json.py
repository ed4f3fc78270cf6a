"""OTLP's JSON: a request as the protobuf bytes that say the same, so that one reader suffices.

Source: OTLP specification, "JSON Protobuf Encoding": keys in lowerCamelCase (the names of the proto
files are taken too), 64-bit integers also as texts, enums as numbers (names are taken too), ids of
traces and spans in hexadecimal, unknown keys ignored, null as if left out.
"""

import base64
import binascii
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from wire.errors import Malformed
from wire.otlp_attributes import MAX_DEPTH
from wire.otlp_rewrite import varint_bytes
from wire.protobuf import BYTES, FIXED64, VARINT

MAX_JSON_BYTES = 8 << 20
"""Parsed JSON takes many times the memory of its text."""

_UINT64 = (1 << 64) - 1
_ENUMS = {
    "AGGREGATION_TEMPORALITY_UNSPECIFIED": 0,
    "AGGREGATION_TEMPORALITY_DELTA": 1,
    "AGGREGATION_TEMPORALITY_CUMULATIVE": 2,
}


def to_protobuf(body: bytes) -> bytes:
    """The protobuf bytes of a JSON ExportMetricsServiceRequest; raises Malformed."""
    if len(body) > MAX_JSON_BYTES:
        raise Malformed(f"json: {len(body)} bytes exceed the {MAX_JSON_BYTES} bytes limit")
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"json: {error}") from None
    return _message("request", request, 0)


Write = Callable[[int, Any, str, int], bytes]
"""(field number, value, the key it has, depth) -> the field's bytes."""


def _integer(value: Any, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str | float):
        raise Malformed(f"json: {key}: not an integer")
    try:
        number = int(value)
    except (ValueError, OverflowError):
        raise Malformed(f"json: {key}: not an integer") from None
    if number != value and not isinstance(value, str):
        raise Malformed(f"json: {key}: {value!r} is not an integer")
    if not -(1 << 63) <= number <= _UINT64:
        raise Malformed(f"json: {key}: {number} does not fit 64 bits")
    return number & _UINT64


def _float(value: Any, key: str) -> float:
    if isinstance(value, str):
        special = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}.get(value)
        try:
            return float(value) if special is None else special
        except ValueError:
            raise Malformed(f"json: {key}: not a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"json: {key}: not a number")
    return float(value)


def _write_bytes(number: int, payload: bytes) -> bytes:
    return varint_bytes(number << 3 | BYTES) + varint_bytes(len(payload)) + payload


def _text(number: int, value: Any, key: str, depth: int) -> bytes:
    if not isinstance(value, str):
        raise Malformed(f"json: {key}: not a string")
    try:
        return _write_bytes(number, value.encode())
    except UnicodeEncodeError:
        raise Malformed(f"json: {key}: not valid Unicode") from None


def _base64(number: int, value: Any, key: str, depth: int) -> bytes:
    try:
        return _write_bytes(number, base64.b64decode(value, validate=True))
    except (TypeError, ValueError, binascii.Error):
        raise Malformed(f"json: {key}: not base64") from None


def _varint(number: int, value: Any, key: str, depth: int) -> bytes:
    return varint_bytes(number << 3 | VARINT) + varint_bytes(_integer(value, key))


def _bool(number: int, value: Any, key: str, depth: int) -> bytes:
    if not isinstance(value, bool):
        raise Malformed(f"json: {key}: not true or false")
    return varint_bytes(number << 3 | VARINT) + (b"\x01" if value else b"\x00")


def _enum(number: int, value: Any, key: str, depth: int) -> bytes:
    if isinstance(value, str) and value in _ENUMS:
        value = _ENUMS[value]
    return _varint(number, value, key, depth)


def _fixed64(number: int, value: Any, key: str, depth: int) -> bytes:
    return varint_bytes(number << 3 | FIXED64) + _integer(value, key).to_bytes(8, "little")


def _double(number: int, value: Any, key: str, depth: int) -> bytes:
    return varint_bytes(number << 3 | FIXED64) + struct.pack("<d", _float(value, key))


def _fixed64s(number: int, value: Any, key: str, depth: int) -> bytes:
    packed = [_integer(one, key).to_bytes(8, "little") for one in _list(value, key)]
    return _write_bytes(number, b"".join(packed))


def _doubles(number: int, value: Any, key: str, depth: int) -> bytes:
    packed = [struct.pack("<d", _float(one, key)) for one in _list(value, key)]
    return _write_bytes(number, b"".join(packed))


def _sint32(number: int, value: Any, key: str, depth: int) -> bytes:
    whole = _integer(value, key)
    whole -= (whole >> 63) << 64
    if not -(1 << 31) <= whole < 1 << 31:
        raise Malformed(f"json: {key}: {whole} does not fit 32 bits")
    return varint_bytes(number << 3 | VARINT) + varint_bytes(
        2 * whole if whole >= 0 else -2 * whole - 1
    )


def _varints(number: int, value: Any, key: str, depth: int) -> bytes:
    packed = [varint_bytes(_integer(one, key)) for one in _list(value, key)]
    return _write_bytes(number, b"".join(packed))


def _hex(number: int, value: Any, key: str, depth: int) -> bytes:
    try:
        return _write_bytes(number, bytes.fromhex(value))
    except (TypeError, ValueError):
        raise Malformed(f"json: {key}: not hexadecimal") from None


def _one(kind: str) -> Write:
    def write(number: int, value: Any, key: str, depth: int) -> bytes:
        return _write_bytes(number, _message(kind, value, depth + 1, key))

    return write


def _many(kind: str) -> Write:
    def write(number: int, value: Any, key: str, depth: int) -> bytes:
        one = _one(kind)
        return b"".join(one(number, item, key, depth) for item in _list(value, key))

    return write


def _list(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed(f"json: {key}: not a list")
    return value


def _message(kind: str, value: Any, depth: int, key: str = "the body") -> bytes:
    """The bytes of a message of that *kind* (a key of ``_MESSAGES``)."""
    if not isinstance(value, dict):
        raise Malformed(f"json: {key}: not an object")
    if depth > MAX_DEPTH + 16:
        raise Malformed(f"json: {key}: nested too deeply")
    known = _MESSAGES[kind]
    parts = []
    for name, item in value.items():
        field = known.get(name)
        if field is not None and item is not None:
            number, write = field
            parts.append(write(number, item, name, depth))
    return b"".join(parts)


def _names(fields: Mapping[str, tuple[int, Write]]) -> dict[str, tuple[int, Write]]:
    """*fields* by their names in lowerCamelCase and as the proto files have them."""
    both = dict(fields)
    for name, field in fields.items():
        first, *rest = name.split("_")
        both[first + "".join(word.capitalize() for word in rest)] = field
    return both


_POINT: dict[str, tuple[int, Write]] = {
    "start_time_unix_nano": (2, _fixed64),
    "time_unix_nano": (3, _fixed64),
}
_FIELDS: dict[str, dict[str, tuple[int, Write]]] = {
    "request": {"resource_metrics": (1, _many("resource_metrics"))},
    "resource_metrics": {
        "resource": (1, _one("resource")),
        "scope_metrics": (2, _many("scope_metrics")),
        "schema_url": (3, _text),
    },
    "resource": {"attributes": (1, _many("key_value"))},
    "scope_metrics": {
        "scope": (1, _one("scope")),
        "metrics": (2, _many("metric")),
        "schema_url": (3, _text),
    },
    "scope": {
        "name": (1, _text),
        "version": (2, _text),
        "attributes": (3, _many("key_value")),
    },
    "metric": {
        "name": (1, _text),
        "description": (2, _text),
        "unit": (3, _text),
        "gauge": (5, _one("numbers")),
        "sum": (7, _one("numbers")),
        "histogram": (9, _one("histograms")),
        "exponential_histogram": (10, _one("exponential_histograms")),
        "summary": (11, _one("summaries")),
    },
    "numbers": {
        "data_points": (1, _many("number")),
        "aggregation_temporality": (2, _enum),
        "is_monotonic": (3, _bool),
    },
    "histograms": {
        "data_points": (1, _many("histogram")),
        "aggregation_temporality": (2, _enum),
    },
    "exponential_histograms": {
        "data_points": (1, _many("exponential_histogram")),
        "aggregation_temporality": (2, _enum),
    },
    "summaries": {"data_points": (1, _many("summary"))},
    "number": {
        **_POINT,
        "attributes": (7, _many("key_value")),
        "as_double": (4, _double),
        "as_int": (6, _fixed64),
        "exemplars": (5, _many("exemplar")),
        "flags": (8, _varint),
    },
    "histogram": {
        **_POINT,
        "attributes": (9, _many("key_value")),
        "count": (4, _fixed64),
        "sum": (5, _double),
        "bucket_counts": (6, _fixed64s),
        "explicit_bounds": (7, _doubles),
        "exemplars": (8, _many("exemplar")),
        "flags": (10, _varint),
    },
    "exponential_histogram": {
        **_POINT,
        "attributes": (1, _many("key_value")),
        "count": (4, _fixed64),
        "sum": (5, _double),
        "scale": (6, _sint32),
        "zero_count": (7, _fixed64),
        "positive": (8, _one("buckets")),
        "negative": (9, _one("buckets")),
        "flags": (10, _varint),
        "exemplars": (11, _many("exemplar")),
        "zero_threshold": (14, _double),
    },
    "buckets": {"offset": (1, _sint32), "bucket_counts": (2, _varints)},
    "exemplar": {
        "time_unix_nano": (2, _fixed64),
        "as_double": (3, _double),
        "span_id": (4, _hex),
        "trace_id": (5, _hex),
        "as_int": (6, _fixed64),
        "filtered_attributes": (7, _many("key_value")),
    },
    "summary": {
        **_POINT,
        "attributes": (7, _many("key_value")),
        "count": (4, _fixed64),
        "sum": (5, _double),
        "quantile_values": (6, _many("quantile")),
        "flags": (8, _varint),
    },
    "quantile": {"quantile": (1, _double), "value": (2, _double)},
    "key_value": {"key": (1, _text), "value": (2, _one("any_value"))},
    "any_value": {
        "string_value": (1, _text),
        "bool_value": (2, _bool),
        "int_value": (3, _varint),
        "double_value": (4, _double),
        "array_value": (5, _one("values")),
        "kvlist_value": (6, _one("key_values")),
        "bytes_value": (7, _base64),
    },
    "values": {"values": (1, _many("any_value"))},
    "key_values": {"values": (1, _many("key_value"))},
}
_MESSAGES = {kind: _names(fields) for kind, fields in _FIELDS.items()}

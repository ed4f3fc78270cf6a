"""Attributes: KeyValue messages as pairs of texts.

A value that is no string becomes the text that the OpenTelemetry collector would make of it:
numbers in decimal, bytes in base64, lists and maps as JSON. Source of the messages:
opentelemetry/proto/common/v1/common.proto.
"""

import base64
import json
import math
import struct
from decimal import Decimal
from functools import lru_cache
from typing import Any

from wire.errors import Malformed
from wire.protobuf import fields

MAX_DEPTH = 32
"""Lists and maps within each other."""

Pairs = list[tuple[str, str]]

_SHORT = 200
_INT64 = 1 << 63
_STRING, _BOOL, _INT, _DOUBLE, _ARRAY, _MAP, _BYTES = range(1, 8)
_WIRE_TYPES = {_STRING: 2, _BOOL: 0, _INT: 0, _DOUBLE: 1, _ARRAY: 2, _MAP: 2, _BYTES: 2}


def attributes(message: bytes, number: int) -> Pairs:
    """The (key, value) pairs in field *number* of *message*, in their order; empty ones too.

    Malformed where the bytes are no such message or a text is not UTF-8.
    """
    return [
        _cached_key_value(payload) if len(payload) <= _SHORT else _key_value(payload)
        for payload in payloads(message, number)
    ]


def payloads(message: bytes, number: int) -> list[bytes]:
    """The length-delimited fields *number* of *message*."""
    found = []
    for one, wire_type, value in fields(message):
        if one == number:
            if not isinstance(value, bytes):
                raise Malformed(f"wrong wireType = {wire_type} for field {number}")
            found.append(value)
    return found


def text(payload: bytes) -> str:
    """UTF-8 as a str; Malformed where it is none."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Malformed("invalid UTF-8") from None


def _key_value(message: bytes) -> tuple[str, str]:
    key, value = "", ""
    for number, wire_type, payload in fields(message):
        if number > 2:
            continue
        if not isinstance(payload, bytes):
            raise Malformed(f"wrong wireType = {wire_type} for field {number}")
        if number == 1:
            key = text(payload)
        else:
            found = _any_value(payload, 0)
            value = found if isinstance(found, str) else _scalar_text(found)
    return key, value


_cached_key_value = lru_cache(16384)(_key_value)


def _any_value(message: bytes, depth: int) -> Any:
    """What an AnyValue holds, as Python has it; None where it holds nothing."""
    if depth > MAX_DEPTH:
        raise Malformed(f"attribute values nested deeper than {MAX_DEPTH}")
    found: Any = None
    for number, wire_type, value in fields(message):
        if number not in _WIRE_TYPES:
            continue
        if wire_type != _WIRE_TYPES[number]:
            raise Malformed(f"wrong wireType = {wire_type} for field {number}")
        if isinstance(value, int):
            found = _number(number, value)
        elif number == _STRING:
            found = text(value)
        elif number == _BYTES:
            found = base64.b64encode(value).decode()
        elif number == _ARRAY:
            found = [_any_value(one, depth + 1) for one in payloads(value, 1)]
        else:
            found = dict(_entry(one, depth + 1) for one in payloads(value, 1))
    return found


def _entry(message: bytes, depth: int) -> tuple[str, Any]:
    keys, values = payloads(message, 1), payloads(message, 2)
    return text(keys[-1]) if keys else "", _any_value(values[-1], depth) if values else None


def _number(number: int, value: int) -> Any:
    if number == _BOOL:
        return value != 0
    if number == _INT:
        return value - 2 * _INT64 if value >= _INT64 else value
    return struct.unpack("<d", struct.pack("<Q", value))[0]


def _scalar_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return float_text(value)
    return json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _finite(value: Any) -> Any:
    """*value* with numbers that JSON lacks as texts, and whole ones without a fraction."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return float_text(value)
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return value


def float_text(value: float) -> str:
    """*value* by its shortest digits: with an exponent below 1e-6 and from 1e21 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        mantissa, _, exponent = repr(value).partition("e")
        return f"{mantissa}e{int(exponent):+03d}"
    return plain_text(value)


def plain_text(value: float) -> str:
    """*value* by its shortest digits without an exponent, as Go's ``'f', -1`` prints it."""
    if not math.isfinite(value):
        return float_text(value)
    return format(Decimal(repr(value)), "f").removesuffix(".0")

"""Parameters of a query: merged from URL and body, parsed as Prometheus parses them.

Source: web/api/v1/api.go of Prometheus 3.14 (parseTime, parseDuration, parseLimitParam).
"""

import asyncio
import math
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

import orjson

from series.durations import parse_duration_ms
from server.http import HttpError, Request, api_error

MAX_FORM_BYTES = 4 << 20
MAX_JSON_BYTES = 1 << 20
"""The JSON parser holds the interpreter, so it must never be busy for long."""
MAX_PARAMS = 1000
"""Values of all parameters together, ``match[]`` among them."""
INLINE_BYTES = 16_384
"""A longer body is taken apart in another thread."""
REMEMBERED = 1000
"""Quoted texts of up to so many characters are remembered: dashboards ask the same again."""
MIN_TIME_MS = -(2**62)
MAX_TIME_MS = 2**62
"""Beyond any sample; far enough from the limits of int64 to add a range to."""

_MIN_TIME_TEXT = "-292273086-05-16T16:47:06Z"
_MAX_TIME_TEXT = "292277025-08-18T07:12:54.999999999Z"
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_GO_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MAX_SECONDS = 9.2e15
_MAX_DURATION_SECONDS = (2**63 - 1) / 1e9


class Params:
    """The values of each parameter: those of the body first, then those of the URL."""

    __slots__ = ("_values",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def get(self, name: str) -> str:
        """The first value, or ''."""
        return self._values[name][0] if name in self._values else ""

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def none_of(self, names: frozenset[str]) -> bool:
        """Whether none of *names* is there."""
        return names.isdisjoint(self._values)

    def time_ms(self, name: str, default_ms: int | None = None) -> int:
        """A timestamp; *default_ms* where it is missing (None: it must be there)."""
        text = self.get(name)
        if text == "" and default_ms is not None:
            return default_ms
        try:
            return parse_time_ms(text)
        except ValueError as error:
            what = f"invalid time value for '{name}': {error}" if default_ms is not None else error
            raise invalid(name, str(what)) from None

    def duration_ms(self, name: str) -> float:
        """A duration in ms with its fraction; it must be there."""
        try:
            return parse_seconds(self.get(name)) * 1000
        except ValueError as error:
            raise invalid(name, str(error)) from None

    def flag(self, name: str) -> bool:
        """Whether it is there and not ``0`` or ``false``."""
        return self.get(name) not in ("", "0", "false")

    def limit(self, name: str = "limit") -> int:
        """A count; 0 where it is missing, which means none."""
        text = self.get(name)
        if text == "":
            return 0
        if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
            raise invalid(name, f'strconv.Atoi: parsing "{text}": invalid syntax')
        if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
            raise invalid(name, f'strconv.Atoi: parsing "{text}": value out of range')
        if int(text) < 0:
            raise invalid(name, "limit must be non-negative")
        return int(text)


def invalid(name: str, reason: str) -> HttpError:
    """The refusal of one parameter."""
    return api_error("bad_data", f'invalid parameter "{name}": {reason}')


def params_at_once(request: Request) -> Params | None:
    """As ``read_params``; None where that may have to wait."""
    url = request.scope["query_string"]
    return (
        Params(_form_pairs(url)) if request.method == "GET" and len(url) <= INLINE_BYTES else None
    )


async def read_params(request: Request) -> Params:
    """The parameters of *request*.

    The body of a POST or PUT is a form whatever its content type says, or a JSON object of texts,
    numbers, booleans and lists of them.
    """
    url = request.scope["query_string"]
    body = b""
    if request.method in ("POST", "PUT"):
        body = (await request.body(MAX_FORM_BYTES, _bad_data)).strip()
    if len(url) + len(body) <= INLINE_BYTES:
        return _params(url, body)
    return await asyncio.to_thread(_params, url, body)


def url_params(request: Request) -> Params:
    """The parameters in the URL of *request*, whose body is something else."""
    return _params(request.scope["query_string"], b"")


def _bad_data(text: str) -> HttpError:
    return api_error("bad_data", text)


def _params(url: bytes, body: bytes) -> Params:
    if not body:
        return Params(_form_pairs(url))
    pairs = _json_pairs(body) if body.startswith(b"{") else _form_pairs(body)
    return Params(pairs + _form_pairs(url))


def _too_many() -> HttpError:
    return api_error("bad_data", f"more than {MAX_PARAMS} parameters")


def _form_pairs(text: bytes) -> list[tuple[str, str]]:
    if text.count(b"&") >= MAX_PARAMS:
        raise _too_many()
    pairs = []
    for piece in text.decode("utf-8", "replace").split("&"):
        if "%" in piece or "+" in piece:
            pairs.append(_remembered(piece) if len(piece) <= REMEMBERED else _unquoted(piece))
        elif piece:
            name, _, value = piece.partition("=")
            pairs.append((name, value))
    return pairs


def _unquoted(piece: str) -> tuple[str, str]:
    name, _, value = piece.partition("=")
    return unquote_plus(name), unquote_plus(value)


_remembered = lru_cache(maxsize=512)(_unquoted)


def _json_pairs(body: bytes) -> list[tuple[str, str]]:
    if len(body) > MAX_JSON_BYTES:
        raise api_error("bad_data", f"the JSON body exceeds the {MAX_JSON_BYTES} bytes limit")
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise api_error("bad_data", f"error parsing JSON body: {error}") from None
    if sum(len(value) if isinstance(value, list) else 1 for value in members.values()) > MAX_PARAMS:
        raise _too_many()
    return [
        (name, _json_text(name, item))
        for name, value in members.items()
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    ]


def _json_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise invalid(name, "must be a string, a number or a list of them")


def parse_time_ms(text: str) -> int:
    """ms since 1970 of unix seconds with a fraction, or of RFC 3339; ValueError else."""
    if (plain := plain_time_ms(text)) is not None:
        return plain
    if _GO_FLOAT.fullmatch(text):
        seconds = float(text)
        if abs(seconds) <= _MAX_SECONDS:
            fraction, whole = math.modf(seconds)
            # Go rounds half away from zero.
            rounded = math.floor(abs(fraction) * 1000 + 0.5)
            return _clamped(int(whole) * 1000 + int(math.copysign(rounded, seconds)))
    elif match := _RFC3339.fullmatch(text):
        parsed = _rfc3339_ms(match)
        if parsed is not None:
            return parsed
    elif text == _MIN_TIME_TEXT:
        return MIN_TIME_MS
    elif text == _MAX_TIME_TEXT:
        return MAX_TIME_MS
    raise ValueError(f'cannot parse "{text}" to a valid timestamp')


def plain_time_ms(text: str) -> int | None:
    """As ``parse_time_ms`` for what most send, digits and up to three decimals; None for others."""
    digits, _, decimals = text.partition(".")
    if len(digits) > 10 or len(decimals) > 3 or not (text.isascii() and digits.isdigit()):
        return None
    if decimals == "":
        return int(digits) * 1000
    return int(digits) * 1000 + int(f"{decimals:0<3}") if decimals.isdigit() else None


def _rfc3339_ms(match: re.Match[str]) -> int | None:
    clock, fraction, sign, hours, minutes = match.groups()
    try:
        at = datetime.fromisoformat(clock).replace(tzinfo=UTC)
    except ValueError:
        return None
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    ms = since // timedelta(milliseconds=1)
    if fraction:
        ms += int(fraction[:3].ljust(3, "0"))
    if sign:
        if int(hours) > 23 or int(minutes) > 59:
            return None
        offset_ms = (int(hours) * 60 + int(minutes)) * 60_000
        ms += offset_ms if sign == "-" else -offset_ms
    return ms


def _clamped(time_ms: int) -> int:
    return min(max(time_ms, MIN_TIME_MS), MAX_TIME_MS)


def parse_seconds(text: str) -> float:
    """Seconds of a number or of a duration like ``1h30m``; ValueError else."""
    if _GO_FLOAT.fullmatch(text):
        seconds = float(text)
        if abs(seconds) > _MAX_DURATION_SECONDS:
            raise ValueError(f'cannot parse "{text}" to a valid duration. It overflows int64')
        return seconds
    try:
        return parse_duration_ms(text) / 1000
    except ValueError:
        raise ValueError(f'cannot parse "{text}" to a valid duration') from None

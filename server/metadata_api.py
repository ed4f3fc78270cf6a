"""What there is to query: series, label names, label values, metric metadata."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, TypeVar

from promql.ast import Modifiers, VectorSelector
from promql.errors import ParseError
from promql.parser import parse
from series.frame import LabelFrame
from series.matcher import Matcher
from series.ports import Hints
from server import tenants
from server.call import Call
from server.http import Response, api_error, success
from server.params import MAX_TIME_MS, MIN_TIME_MS, Params, invalid, read_params

T = TypeVar("T")
Matchers = tuple[Matcher, ...]

TRUNCATED = "results truncated due to limit"
_EMPTY_SELECTOR = "vector selector must contain at least one non-empty matcher"
_EMPTY_MATCH = "match[] must contain at least one non-empty matcher"
_ESCAPE = re.compile(r"_([0-9a-fA-F]{1,6})_|__|_")


async def series(call: Call) -> Response:
    """``/api/v1/series``: the label sets that any of the selectors matches."""
    params = await read_params(call.request)
    if not params.all("match[]"):
        raise api_error("bad_data", "no match[] parameter provided")
    limit = params.limit()
    hints = _time_range(params)
    selectors = _selectors(params)

    def find() -> list[dict[str, str]]:
        source = tenants.view(call.house.store, call.principal)
        frames = [source.resolve(matchers, hints).frame for matchers in selectors]
        frame = LabelFrame.concat(frames)
        if len(frames) > 1:
            frame = frame.take(frame.group_ids()[1])
            frame = frame.take(frame.sort_order())
        return frame.take(slice(0, limit + 1)).as_dicts() if limit else frame.as_dicts()

    return _limited(await _in_worker(call, find), limit)


async def labels(call: Call) -> Response:
    """``/api/v1/labels``: the names of labels."""
    params = await read_params(call.request)
    limit = params.limit()
    hints = _time_range(params)
    selectors = _selectors(params) or [()]

    def find() -> list[str]:
        source = tenants.view(call.house.store, call.principal)
        found = (source.label_names(m, hints.start_ms, hints.end_ms) for m in selectors)
        return sorted({name for names in found for name in names})

    return _limited(await _in_worker(call, find), limit)


async def label_values(call: Call) -> Response:
    """``/api/v1/label/{name}/values``: the values of one label."""
    params = await read_params(call.request)
    name = unescape_name(call.request.captures["name"])
    if name == "" or not _is_utf8(name):
        raise api_error("bad_data", f'invalid label name: "{name}"')
    limit = params.limit()
    hints = _time_range(params)
    selectors = _selectors(params) or [()]

    def find() -> list[str]:
        source = tenants.view(call.house.store, call.principal)
        found = (source.label_values(name, m, hints.start_ms, hints.end_ms) for m in selectors)
        return sorted({value for values in found for value in values})

    return _limited(await _in_worker(call, find), limit)


async def metadata(call: Call) -> Response:
    """``/api/v1/metadata``: what senders told about their metrics."""
    params = await read_params(call.request)
    limit = _number(params, "limit")
    per_metric = _number(params, "limit_per_metric")
    metric = params.get("metric")
    found = tenants.metadata(call.house.store, call.principal)
    names = [metric] if metric else sorted(found)
    if limit >= 0:
        names = names[:limit]
    return success(
        {
            name: []
            if per_metric == 0
            else [{"type": found[name].type, "help": found[name].help, "unit": found[name].unit}]
            for name in names
            if name in found
        }
    )


def unescape_name(name: str) -> str:
    """The label name behind Prometheus' value escaping (``U__http_2e_status``).

    Source: model.UnescapeName of prometheus/common. What is not well-formed stays as it is.
    """
    if not name.startswith("U__"):
        return name
    parts = []
    at = 3
    while at < len(name):
        if name[at] != "_":
            parts.append(name[at])
            at += 1
            continue
        match = _ESCAPE.match(name, at)
        if match is None or match[0] == "_":
            return name
        if match[0] == "__":
            parts.append("_")
        else:
            code = int(match[1], 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                return name
            parts.append(chr(code))
        at = match.end()
    return "".join(parts)


async def _in_worker(call: Call, work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(call.house.queries, work)


def _limited(found: list[Any], limit: int) -> Response:
    if limit and len(found) > limit:
        return success(found[:limit], [TRUNCATED])
    return success(found)


def _time_range(params: Params) -> Hints:
    start_ms = params.time_ms("start", MIN_TIME_MS)
    end_ms = params.time_ms("end", MAX_TIME_MS)
    return Hints(start_ms, end_ms, values=False)


def _selectors(params: Params) -> list[Matchers]:
    found = []
    for text in params.all("match[]"):
        try:
            found.append(_selector(text))
        except (ParseError, ValueError) as error:
            raise invalid("match[]", str(error)) from None
    return found


def _selector(text: str) -> Matchers:
    """The matchers of a plain selector; one of them must not match the empty text."""
    try:
        node = parse(text)
    except ParseError as error:
        if error.message == _EMPTY_SELECTOR:
            raise ValueError(_EMPTY_MATCH) from None
        raise
    if not isinstance(node, VectorSelector) or node.modifiers != Modifiers():
        raise ValueError(f"1:1: parse error: {text!r} is not a series selector")
    if all(matcher.matches("") for matcher in node.all_matchers):
        raise ValueError(_EMPTY_MATCH)
    return node.all_matchers


def _number(params: Params, name: str) -> int:
    text = params.get(name)
    if text == "":
        return -1
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        raise api_error("bad_data", f"{name} must be a number")
    return int(text)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

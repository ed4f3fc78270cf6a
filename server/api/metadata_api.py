"""What there is to query: series, label names, label values, metric metadata."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import orjson

from promql.ast import Modifiers, VectorSelector
from promql.errors import ParseError
from promql.parser import parse
from series.frame import LabelFrame
from series.matcher import Matcher
from series.ports import Context, Hints, Source
from server.access import tenants
from server.access.query_limits import check_queue, readable
from server.api.again import asked_again, remember
from server.api.params import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    Params,
    invalid,
    params_at_once,
    plain_time_ms,
    read_params,
)
from server.api.quick import Kind
from server.call import Call
from server.http import JSON, Response, api_error, dumps, success
from tsdb.view.view import View

Matchers = tuple[Matcher, ...]

MAX_UNMERGED = 1_000_000
"""Label sets that several selectors may find before those found twice are taken together."""
SLICE = 5_000
"""Label sets or texts to write at once."""
FEW = 8
"""So many label sets are kept with their frame as they are written."""
REMEMBERED = 1000
"""Selectors of up to so many characters are remembered."""

_MEMO = "series"

_TIMES = (b"start=", b"end=")

TRUNCATED = "results truncated due to limit"
_EMPTY_SELECTOR = "vector selector must contain at least one non-empty matcher"
_EMPTY_MATCH = "match[] must contain at least one non-empty matcher"
_ESCAPE = re.compile(r"_([0-9a-fA-F]{1,6})_|__|_")


class Find(Protocol):
    """Looks for something within the times of the hints; the context hears of damage."""

    def __call__(self, source: Source, hints: Hints, context: Context) -> Response: ...


@dataclass(slots=True)
class Sought:
    """What is looked for but for its times: ``text`` tells it from all else. Not to be changed
    once made."""

    text: str
    strict: bool
    find: Find


async def series(call: Call) -> Response:
    """``/api/v1/series``: the label sets that any of the selectors matches."""
    return await _answered(call, _series)


def series_at_once(call: Call) -> Response | None:
    """As ``series`` where it came before in other times, and was quick; None for all else."""
    return _answered_at_once(call)


def _series(call: Call, params: Params) -> Sought:
    del call
    if not params.all("match[]"):
        raise api_error("bad_data", "no match[] parameter provided")
    limit = params.limit()

    def find(source: Source, hints: Hints, context: Context) -> Response:
        try:
            chosen = selectors(params)
        except ValueError as error:
            raise invalid("match[]", str(error)) from None
        frame = _union(source, chosen, hints)
        if frame.size <= FEW and not (limit or context.warnings):
            return _whole(_few(frame))
        shown = frame.take(slice(0, limit + 1)) if limit else frame
        return _limited(shown.as_dicts(), limit, context)

    return _sought("series", params, find)


def _few(frame: LabelFrame) -> bytes:
    """The label sets of *frame* as JSON, which it keeps for whoever finds it again."""
    found: bytes | None = frame.memo.get(_MEMO)
    if found is None:
        found = frame.memo[_MEMO] = dumps(frame.as_dicts())
    return found


def _union(source: Source, selectors: list[Matchers], hints: Hints) -> LabelFrame:
    """The distinct label sets that any of *selectors* matches, sorted."""
    frames: list[LabelFrame] = []
    for matchers in selectors:
        frames.append(source.resolve(matchers, hints).frame)
        if sum(frame.size for frame in frames[1:]) > MAX_UNMERGED:
            frames = [_distinct(frames)]
    if len(frames) == 1:
        return frames[0]
    frame = _distinct(frames)
    return frame.take(frame.sort_order())


def _distinct(frames: list[LabelFrame]) -> LabelFrame:
    frame = LabelFrame.concat(frames)
    return frame.take(frame.group_ids()[1])


async def labels(call: Call) -> Response:
    """``/api/v1/labels``: the names of labels."""
    return await _answered(call, _labels)


def labels_at_once(call: Call) -> Response | None:
    """As ``series_at_once`` of ``labels``."""
    return _answered_at_once(call)


def _labels(call: Call, params: Params) -> Sought:
    del call
    limit = params.limit()

    def find(source: Source, hints: Hints, context: Context) -> Response:
        chosen = _optional_selectors(params)
        found = [source.label_names(m, hints.start_ms, hints.end_ms) for m in chosen]
        return _limited(_merged(found), limit, context)

    return _sought("labels", params, find)


async def label_values(call: Call) -> Response:
    """``/api/v1/label/{name}/values``: the values of one label."""
    return await _answered(call, _label_values)


def label_values_at_once(call: Call) -> Response | None:
    """As ``series_at_once`` of ``label_values``."""
    return _answered_at_once(call)


def _label_values(call: Call, params: Params) -> Sought:
    name = unescape_name(call.request.captures["name"])
    if name == "" or not _is_utf8(name):
        raise api_error("bad_data", f'invalid label name: "{name}"')
    limit = params.limit()

    def find(source: Source, hints: Hints, context: Context) -> Response:
        chosen = _optional_selectors(params)
        found = [source.label_values(name, m, hints.start_ms, hints.end_ms) for m in chosen]
        return _limited(_merged(found), limit, context)

    return _sought(f"values of {name}", params, find)


def _merged(found: list[list[str]]) -> list[str]:
    """All texts of sorted lists, each once, sorted."""
    return found[0] if len(found) == 1 else sorted({text for texts in found for text in texts})


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


def _sought(what: str, params: Params, find: Find) -> Sought:
    return Sought("\n".join((what, *params.all("match[]"))), params.flag("strict"), find)


async def _answered(call: Call, sought_by: Callable[[Call, Params], Sought]) -> Response:
    """What the parameters of the request seek: found at once where that was quick before."""
    known = _known(call)
    if known is None:
        params = params_at_once(call.request) or await read_params(call.request)
        sought, hints = sought_by(call, params), _time_range(params)
        remember(call, params, sought, _TIMES)
    else:
        sought, hints = known
    check_queue(call)
    found = _found_at_once(call, sought, hints)
    if found is not None:
        return found
    return await asyncio.get_running_loop().run_in_executor(
        call.queries, _found, call, sought, hints
    )


def _answered_at_once(call: Call) -> Response | None:
    """As ``_answered`` where nobody has to wait; else None."""
    known = _known(call)
    if known is None:
        return None
    check_queue(call)
    return _found_at_once(call, *known)


def _known(call: Call) -> tuple[Sought, Hints] | None:
    """What is sought, where only its times tell it from what was before."""
    known: tuple[Sought, list[str]] | None = asked_again(call, _TIMES)
    if known is None:
        return None
    sought, (start, end) = known
    start_ms, end_ms = plain_time_ms(start), plain_time_ms(end)
    if start_ms is None or end_ms is None:
        return None
    return sought, Hints(start_ms, end_ms, values=False)


def _found_at_once(call: Call, sought: Sought, hints: Hints) -> Response | None:
    """What is *sought*, if finding it was quick before and takes no disk now."""
    tenant = call.principal.tenant
    if not call.house.quick.knows(_like(tenant, sought)) or not call.house.store.is_open(tenant):
        return None
    context = Context(strict=sought.strict)
    source = readable(call, context, tell_cuts=False)
    if isinstance(source, View) and source.has_labels_in_memory(hints.start_ms, hints.end_ms):
        return _found_in(call, source, sought, hints, context)
    return None


def _found(call: Call, sought: Sought, hints: Hints) -> Response:
    context = Context(strict=sought.strict)
    source = readable(call, context, tell_cuts=False)
    return _found_in(call, source, sought, hints, context)


def _found_in(
    call: Call, source: Source, sought: Sought, hints: Hints, context: Context
) -> Response:
    began = time.thread_time()
    response = sought.find(source, hints, context)
    call.house.quick.learn(_like(call.principal.tenant, sought), time.thread_time() - began)
    return response


def _like(tenant: str, sought: Sought) -> Kind:
    """What searches are told by that cost about the same."""
    return tenant, sought.text, 0, JSON


def _limited(found: list[Any], limit: int, context: Context) -> Response:
    """The answer, written in slices so that no call into the JSON writer takes long."""
    if len(found) <= SLICE and not (limit or context.warnings):
        return _whole(dumps(found))
    shown = found
    if limit and len(found) > limit:
        shown = found[:limit]
        context.warn(TRUNCATED)
    slices = (dumps(shown[at : at + SLICE])[1:-1] for at in range(0, len(shown), SLICE))
    return success(orjson.Fragment(b"[%b]" % b",".join(slices)), [*context.warnings])


def _whole(data: bytes) -> Response:
    """A success that tells *data*, JSON, and nothing else."""
    return Response(b'{"status":"success","data":%b}' % data)


def _time_range(params: Params) -> Hints:
    start_ms = params.time_ms("start", MIN_TIME_MS)
    end_ms = params.time_ms("end", MAX_TIME_MS)
    return Hints(start_ms, end_ms, values=False)


def _optional_selectors(params: Params) -> list[Matchers]:
    """Those of the request, or the one that matches everything; HttpError for what is none."""
    try:
        return selectors(params) or [()]
    except ValueError as error:
        raise api_error("bad_data", str(error)) from None


def selectors(params: Params) -> list[Matchers]:
    """ValueError for what is no selector. A long one takes a while, so not on the event loop."""
    texts = params.all("match[]")
    if len(texts) == 1 and len(texts[0]) <= REMEMBERED:
        return [_remembered(texts[0])]
    return [_selector(text) for text in dict.fromkeys(texts)]


def _selector(text: str) -> Matchers:
    """The matchers of a plain selector; one of them must not match the empty text."""
    try:
        node = parse(text)
    except ParseError as error:
        raise ValueError(_EMPTY_MATCH if error.message == _EMPTY_SELECTOR else str(error)) from None
    if not isinstance(node, VectorSelector) or node.modifiers != Modifiers():
        raise ValueError(f"1:1: parse error: {text!r} is not a series selector")
    if all(matcher.matches("") for matcher in node.all_matchers):
        raise ValueError(_EMPTY_MATCH)
    return node.all_matchers


_remembered = lru_cache(maxsize=256)(_selector)


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

"""Instant and range queries.

The order in which parameters are checked and the words of the errors follow web/api/v1/api.go of
Prometheus 3.14.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from promql.answer import Answer
from promql.ast import Node, ValueType
from promql.engine import Engine
from promql.env import QueryTimes
from promql.errors import ParseError
from promql.matrix import Matrix
from promql.parser import parse
from promql.pretty import pretty
from promql.tree import tree
from series.grid import Grid
from series.ports import Context, NotInMemory, TooManySamples
from server.access.query_limits import (
    check_query,
    check_queue,
    clamp_steps,
    few_series,
    readable,
)
from server.answers import answer_json
from server.answers.answer_arrow import arrow_slices
from server.api.params import Params, invalid, parse_seconds, read_params
from server.api.quick import QUICK_SAMPLES, Kind
from server.api.range_asking import LEAST_STEPS, cached_query
from server.api.refusals import Refusals
from server.call import Call
from server.command.asking import ARROW_STREAM
from server.http import JSON, Response, api_error, dumps, success
from tsdb.block.disk_reads import watched

MAX_POINTS = 11_000
WATCH_AFTER_SECONDS = 0.05
"""How long a query runs before we watch whether its asker is still there."""
WHOLE_SLICES = 8
"""An answer of up to so many slices is sent at once, with its length."""

_TOO_MANY_POINTS = (
    "exceeded maximum resolution of 11,000 points per timeseries. "
    "Try decreasing the query resolution (?step=XX)"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked query: what to evaluate, and how to answer."""

    query: str
    at_ms: int
    times: QueryTimes | None
    timeout_ms: float
    limit: int
    lookback_ms: int | None
    stats: str
    warnings: tuple[str, ...] = ()
    explain: bool = False
    analyze: bool = False
    arrow: bool = False
    strict: bool = False
    nocache: bool = False

    @property
    def may_be_cached(self) -> bool:
        """Whether steps of the answer may be known from before, and be kept."""
        if self.times is None or self.times.grid.count < LEAST_STEPS:
            return False
        return not (self.nocache or self.stats or self.analyze or self.strict or self.arrow)

    @property
    def content_type(self) -> str:
        return ARROW_STREAM if self.arrow else JSON


async def query(call: Call) -> Response:
    """``/api/v1/query``: the value at one instant."""
    params = await read_params(call.request)
    limit = params.limit()
    at_ms = params.time_ms("time", call.house.now_ms())
    return await _run(call, _asked(call, params, at_ms, None, limit), "instant")


async def query_range(call: Call) -> Response:
    """``/api/v1/query_range``: the values at every step."""
    params = await read_params(call.request)
    limit = params.limit()
    start_ms = params.time_ms("start")
    end_ms = params.time_ms("end")
    if end_ms < start_ms:
        raise invalid("end", "end timestamp must not be before start time")
    step_ms = params.duration_ms("step")
    if step_ms < 1:
        raise invalid(
            "step",
            "zero or negative query resolution step widths are not accepted. "
            "Try a positive integer",
        )
    if (points := int((end_ms - start_ms) // step_ms)) > MAX_POINTS:
        raise api_error("bad_data", f"{_TOO_MANY_POINTS} ({points} points asked for)")
    times = QueryTimes(start_ms, end_ms, int(step_ms))
    return await _run(call, _asked(call, params, start_ms, times, limit), "range")


async def format_query(call: Call) -> Response:
    """``/api/v1/format_query``: the expression, printed anew."""
    return await _parsed(call, pretty)


async def parse_query(call: Call) -> Response:
    """``/api/v1/parse_query``: the expression as a tree of objects."""
    return await _parsed(call, tree)


async def _parsed(call: Call, printed: Callable[[Node], Any]) -> Response:
    """What *printed* makes of the query, which is checked and not evaluated."""
    check_queue(call)
    text = (await read_params(call.request)).get("query")
    check_query(call, text, 0)

    def formatted() -> Response:
        try:
            return success(printed(parse(text)))
        except ParseError as error:
            raise invalid("query", str(error)) from None

    return await asyncio.get_running_loop().run_in_executor(call.queries, formatted)


def _asked(call: Call, params: Params, at_ms: int, times: QueryTimes | None, limit: int) -> Asked:
    timeout_ms = float(call.house.settings.query_timeout_ms)
    arrow = ARROW_STREAM in call.request.header(b"accept") and not params.flag("explain")
    if params.none_of(_HOW):
        text = params.get("query")
        return Asked(text, at_ms, times, timeout_ms, limit, None, "", arrow=arrow)
    if params.get("timeout"):
        timeout_ms = min(timeout_ms, params.duration_ms("timeout"))
    lookback_ms = None
    if lookback := params.get("lookback_delta"):
        try:
            lookback_ms = int(parse_seconds(lookback) * 1000)
        except ValueError as error:
            text = f"error parsing lookback delta duration: {error}"
            raise api_error("bad_data", text) from None
    stats = params.get("stats")
    warnings = () if stats in ("", "true", "all") else (_deprecated_stats(stats),)
    text = params.get("query")
    return Asked(
        text,
        at_ms,
        times,
        timeout_ms,
        limit,
        lookback_ms,
        stats,
        warnings,
        explain=params.flag("explain"),
        analyze=params.flag("analyze"),
        arrow=arrow,
        strict=params.flag("strict"),
        nocache=params.flag("nocache"),
    )


_HOW = frozenset(("timeout", "lookback_delta", "stats", "explain", "analyze", "strict", "nocache"))
"""The parameters that few questions have."""


def _deprecated_stats(value: str) -> str:
    return (
        f'value "{value}" for parameter "stats" is deprecated and will be rejected in the next '
        'major release, use "true" or "all"'
    )


async def _run(call: Call, asked: Asked, kind: str) -> Response:
    """Evaluates here where that is quick, else in a worker; the asker's leaving cancels."""
    check_queue(call)
    length_ms = asked.times.end_ms - asked.times.start_ms if asked.times is not None else 0
    limits = check_query(call, asked.query, int(length_ms))
    context = Context(
        deadline=time.monotonic() + asked.timeout_ms / 1000,
        max_samples=limits.max_samples_per_query or call.house.options.max_samples,
        strict=asked.strict,
    )
    if asked.stats:
        context.step_samples = {}
    loop = asyncio.get_running_loop()
    tenant = call.principal.tenant

    def org() -> str:
        return tenant if tenant in call.house.store.opened() else ""

    with (
        call.house.metrics.queries.asked(kind, org, context) as asking,
        Refusals(call, asked.timeout_ms),
    ):
        if (whole := _quickly(call, asked, context)) is not None:
            return Response(whole, content_type=asked.content_type)
        watch = loop.call_later(WATCH_AFTER_SECONDS, _watch, call, context, loop)

        def work() -> tuple[bytes, Iterator[bytes] | None]:
            asking.begins()
            context.queued_seconds = time.monotonic() - context.began_seconds
            context.began_seconds = time.monotonic()
            return _answer_slices(call, asked, context)

        try:
            first, rest = await loop.run_in_executor(call.queries, work)
        except BaseException:
            context.cancelled.set()
            watch.cancel()
            raise
    if rest is None:
        watch.cancel()
        return Response(first, content_type=asked.content_type)
    stream = _stream(first, rest, call.queries, context)
    return Response(stream, content_type=asked.content_type)


def _quickly(call: Call, asked: Asked, context: Context) -> bytes | None:
    """The answer, made at once where the same query was quick before; None for the others."""
    kind = _kind(call, asked)
    if not call.house.quick.knows(kind) or not _is_open(call):
        return None
    most = context.max_samples
    context.max_samples, context.memory_only = min(most, QUICK_SAMPLES), True
    try:
        with watched(context):
            whole, rest = _answer_slices(call, asked, context)
    except (TooManySamples, NotInMemory):
        call.house.quick.forget(kind)
        context.samples_read = 0
        return None
    finally:
        context.max_samples, context.memory_only = most, False
    assert rest is None
    return whole


def _is_open(call: Call) -> bool:
    """Whether the asker's data can be asked without a look at the disk."""
    tenant = call.principal.tenant
    return tenant in call.house.store.opened()


def _kind(call: Call, asked: Asked) -> Kind:
    steps = asked.times.grid.count if asked.times is not None else 0
    return call.principal.tenant, asked.query, steps, asked.content_type


def _watch(call: Call, context: Context, loop: asyncio.AbstractEventLoop) -> None:
    async def wait() -> None:
        await call.request.gone()
        context.cancelled.set()

    _watchers.add(task := loop.create_task(wait()))
    task.add_done_callback(_watchers.discard)


_watchers: set[asyncio.Task[None]] = set()
"""The tasks that watch connections; the loop itself keeps only weak references."""


async def _stream(
    first: bytes, rest: Iterator[bytes], workers: Executor, context: Context
) -> AsyncIterator[bytes]:
    """The slices one by one, each made when the one before is sent; none for nobody."""
    loop = asyncio.get_running_loop()
    part = first
    while part and not context.cancelled.is_set():
        yield part
        part = await loop.run_in_executor(workers, next, rest, b"")


def _answer_slices(
    call: Call, asked: Asked, context: Context
) -> tuple[bytes, Iterator[bytes] | None]:
    """The first slices of the answer's body, and the others where there are more."""
    if asked.explain:
        return dumps(
            {"status": "success", "data": {"plan": _explained(call, asked, context)}}
        ), None
    began = time.thread_time()
    answer = _evaluate(call, asked, context)
    slices = _body(answer, asked, context)
    first = b"".join(islice(slices, WHOLE_SLICES))
    following = next(slices, None)
    if following is not None:
        return first + following, slices
    if not (context.touched_disk or context.reused_steps):
        call.house.quick.learn(_kind(call, asked), time.thread_time() - began)
    return first, None


def _engine(call: Call, asked: Asked) -> Engine:
    options = call.house.options
    if asked.lookback_ms is not None and asked.lookback_ms > 0:
        options = replace(options, lookback_ms=asked.lookback_ms)
    return Engine(options)


def _explained(call: Call, asked: Asked, context: Context) -> dict[str, Any]:
    """The plan and what it would read; nothing is read."""
    source = few_series(call, readable(call, context))
    times = asked.times or QueryTimes.instant(asked.at_ms)
    return _engine(call, asked).explain(source, asked.query, times, context)


def _evaluate(call: Call, asked: Asked, context: Context) -> Answer:
    engine, analyze = _engine(call, asked), asked.analyze
    context.check()
    cached = None
    if not context.memory_only and asked.may_be_cached and asked.times is not None:
        cached = cached_query(call, asked.query, asked.times, engine)
    source = few_series(call, readable(call, context))
    if asked.times is None:
        return engine.instant(source, asked.query, asked.at_ms, context, analyze=analyze)
    times = clamp_steps(call, asked.times, context)
    if times is None:
        parse(asked.query)
        nothing = Matrix.empty(asked.times.grid.count)
        return Answer(ValueType.MATRIX, nothing, asked.times.grid, [*context.warnings], [])
    if cached is not None:
        return cached.answer(source, times, context)
    return engine.range(source, asked.query, times, context, analyze=analyze)


def _body(answer: Answer, asked: Asked, context: Context) -> Iterator[bytes]:
    """The whole answer in slices, in the form that was asked for."""
    answer = answer_json.limited(answer, asked.limit)
    if asked.warnings:
        answer = replace(answer, warnings=[*asked.warnings, *answer.warnings])
    if asked.arrow:
        return arrow_slices(answer)
    extra: dict[str, Any] = {}
    if asked.stats:
        extra["stats"] = _stats(context, answer.grid if asked.stats == "all" else None)
    if answer.plan is not None:
        extra["plan"] = answer.plan
    return answer_json.slices(answer, extra)


def _stats(context: Context, grid: Grid | None) -> dict[str, object]:
    """What the query has cost, by step where there is a *grid*.

    The shape is that of util/stats of Prometheus 3.14. Evaluation is not taken apart: sorting
    and preparing are part of it.
    """
    evaluated = time.monotonic() - context.began_seconds
    timings = {
        "evalTotalTime": evaluated,
        "resultSortTime": 0.0,
        "queryPreparationTime": 0.0,
        "innerEvalTime": evaluated,
        "execQueueTime": context.queued_seconds,
        "execTotalTime": evaluated + context.queued_seconds,
    }
    steps = context.step_samples or {}
    samples: dict[str, object] = {
        "totalQueryableSamples": sum(steps.values()),
        "samplesRead": context.samples_read,
        "peakSamples": context.peak_samples,
    }
    if grid is not None:
        pairs = [[at / 1000, steps.get(at, 0)] for at in grid.times_ms().tolist()]
        samples["totalQueryableSamplesPerStep"] = pairs
    return {"timings": timings, "samples": samples}

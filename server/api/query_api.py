"""Instant and range queries: evaluated at once or by a worker, and answered."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
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
from server.answers.result_json import Slice
from server.answers.streaming import Begun, begun, stream
from server.api.asked import Asked, instant_again, instant_asked, range_again, range_asked
from server.api.params import invalid, params_at_once, read_params
from server.api.quick import QUICK_SAMPLES, Kind
from server.api.range_asking import cached_query
from server.api.refusals import refusal_of
from server.call import Call
from server.http import Response, dumps, success
from tsdb.block.disk_reads import Watched

WATCH_AFTER_SECONDS = 0.05
"""How long a query runs before we watch whether its asker is still there."""


async def query(call: Call) -> Response:
    """``/api/v1/query``: the value at one instant."""
    question = instant_again(call)
    if question is None:
        params = params_at_once(call.request) or await read_params(call.request)
        question = instant_asked(call, params)
    return _run_here(call, *question) or await _run(call, *question)


def query_at_once(call: Call) -> Response | None:
    """As ``query`` where it came before in other times, and was quick; None for all else."""
    question = instant_again(call)
    return None if question is None else _run_here(call, *question)


async def query_range(call: Call) -> Response:
    """``/api/v1/query_range``: the values at every step."""
    question = range_again(call)
    if question is None:
        params = params_at_once(call.request) or await read_params(call.request)
        question = range_asked(call, params)
    return _run_here(call, *question) or await _run(call, *question)


def query_range_at_once(call: Call) -> Response | None:
    """As ``query_at_once`` of ``query_range``."""
    question = range_again(call)
    return None if question is None else _run_here(call, *question)


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


def _context(call: Call, asked: Asked, times: QueryTimes) -> Context:
    """What the query may take; HttpError where it may not run."""
    check_queue(call)
    limits = check_query(call, asked.query, times.range_ms)
    context = Context(
        deadline=time.monotonic() + asked.timeout_ms / 1000,
        max_samples=limits.max_samples_per_query or call.house.options.max_samples,
        strict=asked.strict,
    )
    if asked.stats:
        context.step_samples = {}
    return context


def _run_here(call: Call, asked: Asked, times: QueryTimes) -> Response | None:
    """The answer, made at once where the same query was quick before; None for the others."""
    house, tenant = call.house, call.principal.tenant
    like = _like(call, asked, times)
    # What is not open has to be looked for on the disk.
    if not house.quick.knows(like) or not house.store.is_open(tenant):
        return None
    context = _context(call, asked, times)
    most = context.max_samples
    context.max_samples, context.memory_only = min(most, QUICK_SAMPLES), True
    try:
        with Watched(context):
            whole, rest = _answer_slices(call, asked, times, context, like)
    except (TooManySamples, NotInMemory):
        house.quick.forget(like)
        return None
    except Exception as error:
        house.metrics.queries.answered(_kind(times), tenant, context, context.began_seconds)
        raise _refused(call, asked, error) from None
    if rest is not None:
        whole = b"".join((bytes(whole), *rest))
    house.metrics.queries.answered(_kind(times), tenant, context, context.began_seconds)
    return Response(whole, content_type=asked.content_type)


async def _run(call: Call, asked: Asked, times: QueryTimes) -> Response:
    """The answer as a worker makes it; the asker's leaving cancels."""
    loop = asyncio.get_running_loop()
    tenant = call.principal.tenant
    context = _context(call, asked, times)

    def org() -> str:
        return tenant if call.house.store.is_open(tenant) else ""

    with call.house.metrics.queries.asked(_kind(times), org, context) as asking:
        watch = loop.call_later(WATCH_AFTER_SECONDS, _watch, call, context, loop)

        def work() -> Begun:
            asking.begins()
            context.queued_seconds = time.monotonic() - context.began_seconds
            context.began_seconds = time.monotonic()
            return _answer_slices(call, asked, times, context, _like(call, asked, times))

        try:
            first, rest = await loop.run_in_executor(call.queries, work)
        except BaseException as error:
            context.cancelled.set()
            watch.cancel()
            raise _refused(call, asked, error) from None
    if rest is None:
        watch.cancel()
        return Response(first, content_type=asked.content_type)
    pieces = stream(bytes(first), rest, call.queries, context.cancelled)
    return Response(pieces, content_type=asked.content_type)


def _refused(call: Call, asked: Asked, error: BaseException) -> BaseException:
    """*error* as the asker hears it."""
    return refusal_of(call, asked.timeout_ms, error) or error


def _like(call: Call, asked: Asked, times: QueryTimes) -> Kind:
    """What queries are told by that cost about the same."""
    steps = times.grid.count if times.is_range else 0
    return call.principal.tenant, asked.query, steps, asked.content_type


def _kind(times: QueryTimes) -> str:
    return "range" if times.is_range else "instant"


def _watch(call: Call, context: Context, loop: asyncio.AbstractEventLoop) -> None:
    async def wait() -> None:
        await call.request.gone()
        context.cancelled.set()

    _watchers.add(task := loop.create_task(wait()))
    task.add_done_callback(_watchers.discard)


_watchers: set[asyncio.Task[None]] = set()
"""The tasks that watch connections; the loop itself keeps only weak references."""


def _answer_slices(
    call: Call, asked: Asked, times: QueryTimes, context: Context, like: Kind
) -> Begun:
    """The whole body of the answer, or its beginning and the rest of it."""
    if asked.explain:
        return dumps(
            {"status": "success", "data": {"plan": _explained(call, asked, times, context)}}
        ), None
    began = time.thread_time()
    answer = _evaluate(call, asked, times, context)
    whole = answer_json.short(answer) if asked.is_plain else None
    made: Begun = (whole, None) if whole is not None else begun(_body(answer, asked, context))
    is_usual = not (context.touched_disk or context.reused_steps)
    if made[1] is None and is_usual and context.peak_samples <= QUICK_SAMPLES:
        call.house.quick.learn(like, time.thread_time() - began)
    return made


def _engine(call: Call, asked: Asked) -> Engine:
    if asked.lookback_ms is not None and asked.lookback_ms > 0:
        return Engine(replace(call.house.options, lookback_ms=asked.lookback_ms))
    return call.house.engine


def _explained(call: Call, asked: Asked, times: QueryTimes, context: Context) -> dict[str, Any]:
    """The plan and what it would read; nothing is read."""
    source = few_series(call, readable(call, context))
    return _engine(call, asked).explain(source, asked.query, times, context)


def _evaluate(call: Call, asked: Asked, times: QueryTimes, context: Context) -> Answer:
    engine, analyze = _engine(call, asked), asked.analyze
    context.check()
    if not times.is_range:
        source = few_series(call, readable(call, context))
        return engine.instant(source, asked.query, times.start_ms, context, analyze=analyze)
    cached = None
    if not context.memory_only and asked.may_be_cached(times):
        cached = cached_query(call, asked.query, times, engine)
    source = few_series(call, readable(call, context))
    reachable = clamp_steps(call, times, context)
    if reachable is None:
        parse(asked.query)
        nothing = Matrix.empty(times.grid.count)
        return Answer(ValueType.MATRIX, nothing, times.grid, [*context.warnings], [])
    if cached is not None:
        return cached.answer(source, reachable, context)
    return engine.range(source, asked.query, reachable, context, analyze=analyze)


def _body(answer: Answer, asked: Asked, context: Context) -> Iterator[Slice]:
    """The whole answer in slices, in the form that was asked for."""
    if asked.limit:
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

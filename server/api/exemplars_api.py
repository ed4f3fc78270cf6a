"""Exemplars of the series that a query touches.

Source: queryExemplars of web/api/v1/api.go of Prometheus 3.14.
"""

import asyncio
from collections.abc import Iterator

from promql import ast
from promql.errors import ParseError
from promql.parser import parse
from series.matcher import Matcher
from series.ports import SeriesExemplars
from server.access import tenants
from server.access.query_limits import check_query, check_queue
from server.answers.result_json import format_scalar
from server.api.params import MAX_TIME_MS, MIN_TIME_MS, invalid, read_params
from server.call import Call
from server.http import Response, api_error, success


async def query_exemplars(call: Call) -> Response:
    """``/api/v1/query_exemplars``: those of all selectors in the query; 204 without a selector."""
    check_queue(call)
    params = await read_params(call.request)
    start_ms = params.time_ms("start", MIN_TIME_MS)
    end_ms = params.time_ms("end", MAX_TIME_MS)
    if end_ms < start_ms:
        raise api_error("bad_data", "end timestamp must not be before start timestamp")
    text = params.get("query")
    check_query(call, text, 0)

    def find() -> Response:
        try:
            chosen = list(dict.fromkeys(selectors(parse(text))))
        except ParseError as error:
            raise invalid("query", str(error)) from None
        if not chosen:
            return Response(status=204)
        reach_ms = call.house.limits.of(call.principal.tenant).max_query_lookback
        first_ms = max(start_ms, call.house.now_ms() - reach_ms) if reach_ms else start_ms
        found = tenants.exemplars(call.house.store, call.principal, chosen, first_ms, end_ms)
        return success([_object(series) for series in found])

    return await asyncio.get_running_loop().run_in_executor(call.queries, find)


def selectors(node: ast.Node) -> Iterator[tuple[Matcher, ...]]:
    """The matchers of every selector at and below *node*, from left to right."""
    match node:
        case ast.VectorSelector():
            yield node.all_matchers
        case ast.MatrixSelector(vector=vector):
            yield vector.all_matchers
        case ast.Subquery(expr=inner) | ast.Paren(inner=inner) | ast.Unary(operand=inner):
            yield from selectors(inner)
        case ast.Binary(left=left, right=right):
            yield from selectors(left)
            yield from selectors(right)
        case ast.Aggregate(expr=inner, param=param):
            if param is not None:
                yield from selectors(param)
            yield from selectors(inner)
        case ast.Call(args=args):
            for argument in args:
                yield from selectors(argument)


def _object(series: SeriesExemplars) -> dict[str, object]:
    return {
        "seriesLabels": series.labels.as_dict(),
        "exemplars": [
            {
                "labels": one.labels.as_dict(),
                "value": format_scalar(one.value),
                "timestamp": one.time_ms / 1000,
            }
            for one in series.exemplars
        ],
    }

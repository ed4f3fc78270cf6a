"""What one organization may ask at once, and of how much; the words name limit and use."""

from collections.abc import Callable

from promql.notes import ExecutionError
from series.durations import format_duration_ms
from series.matcher import Matcher
from series.ports import Hints, Selection, Source
from server.call import Call
from server.http import HttpError, Response, api_error, dumps
from server.limits import Limits


def check_queue(call: Call) -> None:
    """HttpError 429 where too many queries of the organization wait already."""
    tenant = call.principal.tenant
    most = call.house.limits.of(tenant).max_outstanding_requests_per_tenant
    if most and call.house.queries.waiting(tenant) >= most:
        call.house.metrics.limited.labels("too-many-outstanding-requests").inc()
        text = (
            f"err-too-many-outstanding-requests: {most} queries of organization {tenant} wait "
            f"already (max_outstanding_requests_per_tenant)"
        )
        body = dumps({"status": "error", "errorType": "too_many_requests", "error": text})
        raise HttpError(Response(body, 429, headers=((b"retry-after", b"1"),)))


def check_query(call: Call, text: str, length_ms: int) -> Limits:
    """The limits that hold for a query *text* over *length_ms*; HttpError 422 beyond them."""
    limits = call.house.limits.of(call.principal.tenant)
    most_bytes = limits.max_query_expression_size_bytes
    if most_bytes and len(text.encode(errors="replace")) > most_bytes:
        raise _exceeded(
            call,
            "max-query-expression-size-bytes",
            f"the query is {len(text.encode(errors='replace'))} bytes long, the limit is "
            f"{most_bytes}",
        )
    if limits.max_total_query_length and length_ms > limits.max_total_query_length:
        raise _exceeded(
            call,
            "max-total-query-length",
            f"the query's range is {format_duration_ms(length_ms)}, the limit is "
            f"{format_duration_ms(limits.max_total_query_length)}",
        )
    return limits


def _exceeded(call: Call, limit: str, text: str) -> HttpError:
    call.house.metrics.limited.labels(limit).inc()
    return api_error("execution", f"err-{limit}: {text}")


class FewSeries:
    """A Source whose selectors must not find more than *most* series each."""

    def __init__(self, source: Source, most: int, exceeded: Callable[[], object]) -> None:
        """*exceeded* is called where a selector finds more."""
        self._source = source
        self._most = most
        self._exceeded = exceeded

    def resolve(self, matchers: tuple[Matcher, ...], hints: Hints) -> Selection:
        """ExecutionError where there are more."""
        selection = self._source.resolve(matchers, hints)
        if selection.frame.size > self._most:
            self._exceeded()
            raise ExecutionError(
                f"err-max-fetched-series-per-query: a selector finds {selection.frame.size} "
                f"series, the limit is {self._most}"
            )
        return selection

    def label_names(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[str]:
        return self._source.label_names(matchers, start_ms, end_ms)

    def label_values(
        self, name: str, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> list[str]:
        return self._source.label_values(name, matchers, start_ms, end_ms)

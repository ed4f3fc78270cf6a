"""What one organization may ask at once, and of how much; the words name limit and use."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil

from promql.env import QueryTimes
from promql.notes import ExecutionError
from series.durations import format_duration_ms
from series.matcher import Matcher
from series.ports import Context, Hints, Selection, Source, TooManySamples
from server.access.limits import Limits
from server.access.tenants import view
from server.api.recent import Recent
from server.call import Call
from server.http import HttpError, Response, api_error, dumps
from tsdb.view.view import unheard


def check_queue(call: Call) -> None:
    """HttpError 429 where too many queries of the organization wait already."""
    tenant = call.principal.tenant
    waiting = call.house.queries.waiting(tenant)
    if not waiting:
        return
    most = call.house.limits.of(tenant).max_outstanding_requests_per_tenant
    if most and waiting >= most:
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


def too_many_samples(call: Call, error: TooManySamples) -> HttpError:
    """What Prometheus says, and how far the query came within ``max_samples_per_query``."""
    call.house.metrics.limited.labels("max-samples-per-query").inc()
    text = "query processing would load too many samples into memory in query execution"
    return api_error("execution", f"{text} (max_samples_per_query: {error})")


def timed_out(call: Call, timeout_ms: float) -> HttpError:
    """What Prometheus says, and the time that the query had."""
    call.house.metrics.limited.labels("query-timeout").inc()
    text = "query timed out in expression evaluation"
    return api_error("timeout", f"{text} (timeout: {format_duration_ms(int(timeout_ms))})")


def readable(call: Call, context: Context | None = None, *, tell_cuts: bool = True) -> Source:
    """What the asker may read, frozen now.

    A query with a *context* hears what is damaged and, if it is to be told, what was cut off.
    """
    source = view(call.house.store, call.principal, context.damaged if context else unheard)
    lookback_ms = call.house.limits.of(call.principal.tenant).max_query_lookback
    if not lookback_ms:
        return source

    def cut() -> None:
        if context is not None and tell_cuts:
            context.warn(_cut_off(lookback_ms))

    return Recent(source, call.house.now_ms() - lookback_ms, cut)


def clamp_steps(call: Call, times: QueryTimes, context: Context) -> QueryTimes | None:
    """*times* without the steps before ``max_query_lookback`` ago; None where no step is left."""
    lookback_ms = call.house.limits.of(call.principal.tenant).max_query_lookback
    behind_ms = call.house.now_ms() - lookback_ms - times.start_ms
    if not lookback_ms or behind_ms <= 0:
        return times
    context.warn(_cut_off(lookback_ms))
    start_ms = times.start_ms + ceil(behind_ms / times.step_ms) * times.step_ms
    return replace(times, start_ms=start_ms) if start_ms <= times.end_ms else None


def _cut_off(lookback_ms: int) -> str:
    return (
        f"results truncated: what is older than {format_duration_ms(lookback_ms)} is out of "
        f"reach (max_query_lookback)"
    )


def few_series(call: Call, source: Source) -> Source:
    """*source*, whose selectors must not find more series than the limit."""
    most = call.house.limits.of(call.principal.tenant).max_fetched_series_per_query
    if not most:
        return source
    exceeded = call.house.metrics.limited.labels("max-fetched-series-per-query").inc
    return FewSeries(source, most, exceeded)


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

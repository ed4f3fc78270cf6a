"""Asked: the parameters of a query, checked.

The order in which they are checked and the words of the errors follow web/api/v1/api.go of
Prometheus 3.14.
"""

from dataclasses import dataclass

from promql.env import QueryTimes
from server.api.params import Params, invalid, parse_seconds, plain_time_ms
from server.api.range_asking import LEAST_STEPS
from server.api.shapes import Shape, shape_of
from server.call import Call
from server.command.asking import ARROW_STREAM
from server.http import HEAD, JSON, api_error

MAX_POINTS = 11_000

_TOO_MANY_POINTS = (
    "exceeded maximum resolution of 11,000 points per timeseries. "
    "Try decreasing the query resolution (?step=XX)"
)
_INSTANT = (b"time=",)
_RANGE = (b"start=", b"end=")


@dataclass(slots=True)
class Asked:
    """A checked query: what to evaluate, and how to answer. Not to be changed once made."""

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

    def at(self, at_ms: int, times: QueryTimes | None) -> "Asked":
        """The same at other times."""
        return Asked(
            self.query, at_ms, times, self.timeout_ms, self.limit, self.lookback_ms, self.stats,
            self.warnings, self.explain, self.analyze, self.arrow, self.strict, self.nocache,
        )  # fmt: skip

    @property
    def may_be_cached(self) -> bool:
        """Whether steps of the answer may be known from before, and be kept."""
        if self.times is None or self.times.grid.count < LEAST_STEPS:
            return False
        return not (self.nocache or self.stats or self.analyze or self.strict or self.arrow)

    @property
    def content_type(self) -> str:
        return ARROW_STREAM if self.arrow else JSON


def instant_asked(call: Call, params: Params) -> Asked:
    """What the *params* of an instant query ask; HttpError where one is wrong."""
    limit = params.limit()
    at_ms = params.time_ms("time", 0) if params.get("time") else call.house.now_ms()
    asked = _asked(call, params, at_ms, None, limit)
    _remember(call, params, asked, _INSTANT)
    return asked


def range_asked(call: Call, params: Params) -> Asked:
    """What the *params* of a range query ask; HttpError where one is wrong."""
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
    asked = _asked(call, params, start_ms, times, limit)
    if times.step_ms == step_ms:
        _remember(call, params, asked, _RANGE)
    return asked


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


def instant_again(call: Call) -> Asked | None:
    """What is asked, where only its time tells it from a question that came before."""
    shape = _shape(call, _INSTANT)
    known: Asked | None = None if shape is None else call.house.shapes.get(shape[0])
    if shape is None or known is None:
        return None
    at_ms = plain_time_ms(shape[1][0])
    return None if at_ms is None else known.at(at_ms, None)


def range_again(call: Call) -> Asked | None:
    """As ``instant_again`` for the times of a range."""
    shape = _shape(call, _RANGE)
    known: Asked | None = None if shape is None else call.house.shapes.get(shape[0])
    if shape is None or known is None or known.times is None:
        return None
    start_ms, end_ms = plain_time_ms(shape[1][0]), plain_time_ms(shape[1][1])
    step_ms = known.times.step_ms
    if start_ms is None or end_ms is None or not 0 <= end_ms - start_ms <= MAX_POINTS * step_ms:
        return None
    return known.at(start_ms, QueryTimes(start_ms, end_ms, step_ms))


def _remember(call: Call, params: Params, asked: Asked, names: tuple[bytes, ...]) -> None:
    """Remembers what is *asked* for questions that have other values of *names* only."""
    shape = _shape(call, names)
    if shape is not None and all(
        params.all(name[:-1].decode()) == [value]
        for name, value in zip(names, shape[1], strict=True)
    ):
        call.house.shapes.put(shape[0], asked)


def _shape(call: Call, names: tuple[bytes, ...]) -> Shape | None:
    """None where the question, or the head that it came with, is out of the ordinary."""
    scope = call.request.scope
    head = scope.get(HEAD)
    return None if head is None else shape_of(head, scope["query_string"], names)

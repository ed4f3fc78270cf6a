"""Asked: the parameters of a query, checked.

The order in which they are checked and the words of the errors follow web/api/v1/api.go of
Prometheus 3.14.
"""

from dataclasses import dataclass, field

from promql.env import QueryTimes
from server.api.again import asked_again, remember
from server.api.params import Params, invalid, parse_seconds, plain_time_ms
from server.api.range_asking import LEAST_STEPS
from server.call import Call
from server.command.asking import ARROW_STREAM
from server.http import JSON, api_error

MAX_POINTS = 11_000

_TOO_MANY_POINTS = (
    "exceeded maximum resolution of 11,000 points per timeseries. "
    "Try decreasing the query resolution (?step=XX)"
)
_INSTANT = (b"time=",)
_RANGE = (b"start=", b"end=")


@dataclass(slots=True)
class Asked:
    """A checked query but for its times: what to evaluate, and how to answer.

    Not to be changed once made.
    """

    query: str
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
    is_plain: bool = field(init=False)
    """Whether the answer is JSON and holds what the query comes to, and nothing else."""

    def __post_init__(self) -> None:
        extras = self.limit or self.stats or self.warnings or self.explain or self.analyze
        self.is_plain = not (extras or self.arrow)

    def may_be_cached(self, times: QueryTimes) -> bool:
        """Whether steps of the answer may be known from before, and be kept."""
        if times.grid.count < LEAST_STEPS:
            return False
        return not (self.nocache or self.stats or self.analyze or self.strict or self.arrow)

    @property
    def content_type(self) -> str:
        return ARROW_STREAM if self.arrow else JSON


Question = tuple[Asked, QueryTimes]
"""What is asked, and of which times."""


def instant_asked(call: Call, params: Params) -> Question:
    """What the *params* of an instant query ask; HttpError where one is wrong."""
    limit = params.limit()
    at_ms = params.time_ms("time", 0) if params.get("time") else call.house.now_ms()
    asked = _asked(call, params, limit)
    remember(call, params, asked, _INSTANT)
    return asked, QueryTimes.instant(at_ms)


def range_asked(call: Call, params: Params) -> Question:
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
    asked = _asked(call, params, limit)
    if times.step_ms == step_ms:
        remember(call, params, (asked, times.step_ms), _RANGE)
    return asked, times


def _asked(call: Call, params: Params, limit: int) -> Asked:
    timeout_ms = float(call.house.settings.query_timeout_ms)
    arrow = ARROW_STREAM in call.request.header(b"accept") and not params.flag("explain")
    if params.none_of(_HOW):
        text = params.get("query")
        return Asked(text, timeout_ms, limit, None, "", arrow=arrow)
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


def instant_again(call: Call) -> Question | None:
    """What is asked, where only its time tells it from a question that came before."""
    known: tuple[Asked, list[str]] | None = asked_again(call, _INSTANT)
    if known is None:
        return None
    asked, (at,) = known
    at_ms = plain_time_ms(at)
    return None if at_ms is None else (asked, QueryTimes.instant(at_ms))


def range_again(call: Call) -> Question | None:
    """As ``instant_again`` for the times of a range."""
    known: tuple[tuple[Asked, int], list[str]] | None = asked_again(call, _RANGE)
    if known is None:
        return None
    (asked, step_ms), (start, end) = known
    start_ms, end_ms = plain_time_ms(start), plain_time_ms(end)
    if start_ms is None or end_ms is None or not 0 <= end_ms - start_ms <= MAX_POINTS * step_ms:
        return None
    return asked, QueryTimes(start_ms, end_ms, step_ms)

"""What the duration expressions of a query come to, once its step and range are known."""

import math

import numpy as np

from promql.ast import (
    Duration,
    DurationBinary,
    DurationCall,
    DurationLiteral,
    DurationNumber,
    DurationParen,
    DurationUnary,
    Span,
)
from promql.env import QueryTimes
from promql.errors import ParseError
from promql.floats import ARITHMETIC, go_max, go_min


class InvalidQuery(ParseError):
    """A query that parses but cannot be asked like this; ``str()`` is the bare text."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
        self.message = message
        self.line = self.column = 0


def duration_ms(duration: Duration, query: QueryTimes, *, positive: bool) -> int:
    """The milliseconds of *duration* in a query over the times of *query*; fractions are cut off.

    *positive* durations (ranges and subquery steps) must be greater than 0. Raises
    InvalidQuery, whose text is ``start:end: reason``.
    """
    if isinstance(duration, DurationLiteral):
        # Exact: no way through seconds, and the checker has seen that ranges are positive.
        return duration.milliseconds
    seconds = _seconds(duration, query)
    if math.isnan(seconds) or math.isinf(seconds):
        raise _bad("duration is NaN or infinite", duration.span)
    if positive and seconds <= 0:
        raise _bad("duration must be greater than 0", duration.span)
    if abs(seconds) > (2**63 - 1) / 1e9:
        raise _bad("duration is out of range", duration.span)
    return int(seconds * 1000)


def _seconds(duration: Duration, query: QueryTimes) -> float:
    match duration:
        case DurationLiteral():
            return duration.milliseconds / 1000
        case DurationNumber():
            return duration.seconds
        case DurationCall():
            return _step_or_range_ms(duration.name, query) / 1000
        case DurationParen():
            return _seconds(duration.inner, query)
        case DurationUnary():
            operand = _seconds(duration.operand, query)
            return -operand if duration.op == "-" else operand
        case DurationBinary():
            left, right = _seconds(duration.left, query), _seconds(duration.right, query)
            return _binary(duration, left, right)


def _step_or_range_ms(name: str, query: QueryTimes) -> int:
    """``step()`` and ``range()`` of the query, both 0 in an instant query."""
    return query.step_ms if name == "step" else query.range_ms


_OPERATIONS = {**ARITHMETIC, "min_of": go_min, "max_of": go_max}


def _binary(duration: DurationBinary, left: float, right: float) -> float:
    if duration.op in ("/", "%") and right == 0:
        raise _bad("division by zero" if duration.op == "/" else "modulo by zero", duration.span)
    with np.errstate(all="ignore"):
        return float(_OPERATIONS[duration.op](np.array(left), np.array(right)))


def _bad(reason: str, span: Span) -> InvalidQuery:
    return InvalidQuery(f"{span.start}:{span.end}: {reason}")

"""Builds what grammar.lark says of numbers with a sign and of durations."""

import math
from typing import Any, NamedTuple, cast

from lark import Token, Transformer, v_args

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
from promql.errors import Rejected
from promql.numbers import milliseconds_of, parse_duration, parse_number, seconds_of

MAX_DURATION_DEPTH = 100
"""The deepest nesting of a duration: later walks are recursive, below that of expressions."""


class Amount(NamedTuple):
    """A number with its sign, and where it ends."""

    value: float
    end: int


def start_of(token: Token) -> int:
    return cast(int, token.start_pos)


def end_of(token: Token) -> int:
    return cast(int, token.start_pos) + len(token)


def span_of(first: Token, last: Token) -> Span:
    return Span(start_of(first), end_of(last))


@v_args(inline=True)
class AmountBuilder(Transformer[Token, Any]):
    """One method a rule, as in ``promql.transform.TreeBuilder``."""

    def signed_number(self, *tokens: Token) -> Amount:
        token = tokens[-1]
        if token.type == "DURATION":
            value = seconds_of(parse_duration(token, start_of(token)))
        else:
            value = parse_number(token, start_of(token))
        negated = len(tokens) == 2 and tokens[0] == "-" and not math.isnan(value)
        return Amount(-value if negated else value, end_of(token))

    def duration(self, duration: Duration) -> Duration:
        """In brackets: a range or a step."""
        duration = _finished(duration)
        if isinstance(duration, DurationLiteral) and duration.milliseconds <= 0:
            raise Rejected("duration must be greater than 0", duration.span.start)
        return duration

    def offset(self, operand: Duration) -> tuple[Duration, int]:
        return _finished(operand), operand.span.end

    def offset_signed(self, sign: Token, operand: Duration) -> tuple[Duration, int]:
        return _finished(_signed(sign, operand)), operand.span.end

    def duration_number(self, token: Token) -> Duration:
        span = span_of(token, token)
        seconds = parse_number(token, span.start)
        milliseconds_of(seconds, span.start)
        return DurationNumber(seconds, span=span)

    def duration_literal(self, token: Token) -> Duration:
        span = span_of(token, token)
        return DurationLiteral(parse_duration(token, span.start), span=span)

    def duration_call(self, name: Token, opening: Token, closing: Token) -> Duration:
        return DurationCall(name.lower(), span=span_of(name, closing))

    def duration_extreme(
        self, name: Token, _: Token, left: Duration, __: Token, right: Duration, closing: Token
    ) -> Duration:
        return DurationBinary(name.lower(), left, right, span=span_of(name, closing))

    def duration_paren(self, opening: Token, inner: Duration, closing: Token) -> Duration:
        return DurationParen(inner, span=span_of(opening, closing))

    def duration_unary(self, sign: Token, operand: Duration) -> Duration:
        return _signed(sign, operand)

    def duration_binary(self, left: Duration, op: Token, right: Duration) -> Duration:
        if op in ("/", "%") and _is_zero(right):
            raise Rejected("division by zero" if op == "/" else "modulo by zero", start_of(op))
        span = Span(left.span.start, right.span.end)
        return DurationBinary(str(op), left, right, span=span)


def _signed(sign: Token, operand: Duration) -> Duration:
    """The sign goes into a literal; a plus is dropped."""
    span = Span(start_of(sign), operand.span.end)
    if isinstance(operand, DurationLiteral):
        milliseconds = -operand.milliseconds if sign == "-" else operand.milliseconds
        return DurationLiteral(milliseconds, span=span)
    if isinstance(operand, DurationNumber):
        return DurationNumber(-operand.seconds if sign == "-" else operand.seconds, span=span)
    return DurationUnary("-", operand, span=span) if sign == "-" else operand


def _finished(duration: Duration) -> Duration:
    """A lone number as a literal: ``[300]`` is ``[5m]``; Rejected where the nesting is too deep."""
    at = duration.span.start
    if isinstance(duration, DurationNumber):
        return DurationLiteral(milliseconds_of(duration.seconds, at), span=duration.span)
    level: list[Duration] = [duration]
    for _ in range(MAX_DURATION_DEPTH):
        level = [part for one in level for part in _parts(one)]
        if not level:
            return duration
    text = f"duration is nested too deeply, at most {MAX_DURATION_DEPTH} levels are allowed"
    raise Rejected(text, at)


def _parts(duration: Duration) -> tuple[Duration, ...]:
    match duration:
        case DurationBinary():
            return duration.left, duration.right
        case DurationUnary():
            return (duration.operand,)
        case DurationParen():
            return (duration.inner,)
        case _:
            return ()


def _is_zero(duration: Duration) -> bool:
    if isinstance(duration, DurationLiteral):
        return duration.milliseconds == 0
    return isinstance(duration, DurationNumber) and duration.seconds == 0

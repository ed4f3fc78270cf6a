"""Builds the tree while the parser reduces: one method a rule (or alias) of grammar.lark.

Rules of expressions give a ``Typed``, the others plain parts. A method raises Rejected for what
Prometheus complains about during parsing; complaints about types travel in the Typed.
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple, cast

from lark import Token, v_args

from promql.amounts import Amount, AmountBuilder, end_of, span_of, start_of
from promql.ast import (
    Aggregate,
    AtAnchor,
    Binary,
    Call,
    Cardinality,
    Duration,
    DurationLiteral,
    Edge,
    Matching,
    MatrixSelector,
    Modifiers,
    NumberLiteral,
    Paren,
    Span,
    StringLiteral,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from promql.check import (
    Typed,
    check_aggregate,
    check_binary,
    check_call,
    check_selector,
    check_subquery,
    check_unary,
    matching_of,
    typed,
)
from promql.errors import Rejected
from promql.functions import AGGREGATORS, FUNCTIONS
from promql.numbers import parse_duration, parse_number, seconds_of
from promql.printer import matcher_text, number_text
from promql.strings import is_utf8, quote, replace_invalid, unquote
from series.labels import METRIC_NAME
from series.matcher import Matcher, MatchType

_MAX_AT_MS = 2.0**63
Fields = dict[str, Any]
"""Some fields of a Matching by name."""
_MATCH_TYPES = {kind.value: kind for kind in MatchType}


class Written(NamedTuple):
    """The modifiers of a binary operator as written."""

    return_bool: bool
    matching: Matching


_UNMODIFIED = Written(False, Matching())


class Arguments(NamedTuple):
    """What stands in the parentheses of a call, and where they close."""

    values: list[Typed]
    end: int


class Labels(NamedTuple):
    """A list of label names in parentheses, and where they close."""

    names: tuple[str, ...]
    end: int


class Grouping(NamedTuple):
    without: bool
    labels: Labels


class Braces(NamedTuple):
    """The conditions in braces, and where the braces stand."""

    matchers: tuple[Matcher, ...]
    span: Span


@v_args(inline=True)
class TreeBuilder(AmountBuilder):
    """The methods that Lark calls; none keeps a state."""

    def start(self, expr: Typed) -> Typed:
        return expr

    # --- operands ---------------------------------------------------------------------------

    def number(self, token: Token) -> Typed:
        span = span_of(token, token)
        if token.type == "DURATION":
            seconds = seconds_of(parse_duration(token, span.start))
            return Typed(NumberLiteral(seconds, True, span=span), ValueType.SCALAR)
        value = parse_number(token, span.start)
        return Typed(NumberLiteral(value, span=span), ValueType.SCALAR)

    def string(self, token: Token) -> Typed:
        text = unquote(token, start_of(token))
        return Typed(StringLiteral(text, span=span_of(token, token)), ValueType.STRING)

    def paren(self, opening: Token, inner: Typed, closing: Token) -> Typed:
        return typed(Paren(inner.node, span=span_of(opening, closing)), inner.type, (inner,))

    def selector(self, first: Token | Braces, braces: Braces | None = None) -> Typed:
        if isinstance(first, Braces):
            node = VectorSelector("", first.matchers, span=first.span)
        elif braces is None:
            node = VectorSelector(str(first), span=span_of(first, first))
            return Typed(node, ValueType.VECTOR)
        else:
            span = Span(start_of(first), braces.span.end)
            node = VectorSelector(str(first), braces.matchers, span=span)
        return check_selector(node)

    def matchers(self, opening: Token, *rest: Matcher | Token) -> Braces:
        found = [part for part in rest if isinstance(part, Matcher)]
        if len(found) > 1:
            found.sort(key=matcher_text)
        return Braces(tuple(found), span_of(opening, cast(Token, rest[-1])))

    def matcher(self, name: Token, operator: Token, value: Token) -> Matcher:
        label = str(name)
        if name.type == "STRING":
            label = replace_invalid(unquote(name, start_of(name)))
        text = unquote(value, start_of(value))
        kind = _MATCH_TYPES[str(operator)]
        if kind in (MatchType.REGEX, MatchType.NOT_REGEX) and not is_utf8(text):
            reason = f"error parsing regexp: invalid UTF-8: `{replace_invalid(text)}`"
            raise Rejected(reason, start_of(name))
        try:
            return Matcher(kind, label, replace_invalid(text))
        except ValueError as error:
            raise Rejected(str(error), start_of(name)) from None

    def name_matcher(self, name: Token) -> Matcher:
        text = replace_invalid(unquote(name, start_of(name)))
        return Matcher(MatchType.EQUAL, METRIC_NAME, text)

    # --- calls ------------------------------------------------------------------------------

    def arguments(self, opening: Token, *rest: Typed | Token) -> Arguments:
        values = [part for part in rest if isinstance(part, Typed)]
        return Arguments(values, end_of(cast(Token, rest[-1])))

    def trailing_comma(self, *parts: Typed | Token) -> Arguments:
        comma = cast(Token, parts[-2])
        raise Rejected("trailing commas not allowed in function call args", start_of(comma))

    def call(self, name: Token, arguments: Arguments) -> Typed:
        word = str(name) if name.type == "IDENTIFIER" else name.lower()
        function = FUNCTIONS.get(word)
        if function is None:
            raise Rejected(f"unknown function with name {quote(name)}", start_of(name))
        values = arguments.values
        span = Span(start_of(name), arguments.end)
        node = Call(word, tuple(value.node for value in values), span=span)
        return check_call(node, function, values)

    def aggregate(self, op: Token, arguments: Arguments) -> Typed:
        return _aggregation(op, arguments, (), False, arguments.end)

    def aggregate_grouped(self, op: Token, grouping: Grouping, arguments: Arguments) -> Typed:
        names = grouping.labels.names
        return _aggregation(op, arguments, names, grouping.without, arguments.end)

    def aggregate_grouped_after(self, op: Token, arguments: Arguments, grouping: Grouping) -> Typed:
        labels = grouping.labels
        return _aggregation(op, arguments, labels.names, grouping.without, labels.end)

    def grouping(self, keyword: Token, labels: Labels) -> Grouping:
        return Grouping(keyword.type == "WITHOUT", labels)

    def labels(self, opening: Token, *rest: Token) -> Labels:
        names = []
        for token in rest:
            if token.type in ("COMMA", "RIGHT_PAREN"):
                continue
            name = unquote(token, start_of(token)) if token.type == "STRING" else str(token)
            if name == "" or not is_utf8(name):
                text = f"invalid label name for grouping: {quote(name)}"
                raise Rejected(text, start_of(token))
            names.append(name)
        return Labels(tuple(names), end_of(rest[-1]))

    # --- operators --------------------------------------------------------------------------

    def unary(self, sign: Token, operand: Typed) -> Typed:
        node = operand.node
        span = Span(start_of(sign), node.span.end)
        if isinstance(node, NumberLiteral):
            value = -node.value if sign == "-" else node.value
            value = math.nan if math.isnan(value) else value
            return operand._replace(node=NumberLiteral(value, node.duration, span=span))
        return check_unary(Unary(str(sign), node, span=span), operand)

    def binary(self, left: Typed, op: Token, written: Written, right: Typed) -> Typed:
        word = op.lower()
        span = Span(left.node.span.start, right.node.span.end)
        matching = matching_of(word, left, right, written.matching)
        node = Binary(word, left.node, right.node, matching, written.return_bool, span=span)
        return check_binary(node, left, right, written.matching, start_of(op))

    def matching(self, *parts: Token | Fields) -> Written:
        if not parts:
            return _UNMODIFIED
        return_bool = isinstance(parts[0], Token)
        fields: Fields = {}
        for part in parts[return_bool:]:
            fields |= cast(Fields, part)
        return Written(return_bool, Matching(**fields))

    def vector_match(self, keyword: Token, labels: Labels) -> Fields:
        return {"on": keyword.type == "ON", "labels": labels.names}

    def group(self, keyword: Token, labels: Labels | None = None) -> Fields:
        left = keyword.type == "GROUP_LEFT"
        cardinality = Cardinality.MANY_TO_ONE if left else Cardinality.ONE_TO_MANY
        return {"cardinality": cardinality, "include": labels.names if labels else ()}

    def fill_both(self, _: Token, value: float) -> Fields:
        return {"fill_left": value, "fill_right": value}

    def fill_left(self, _: Token, value: float) -> Fields:
        return {"fill_left": value}

    def fill_right(self, _: Token, value: float) -> Fields:
        return {"fill_right": value}

    def fill_left_right(self, _: Token, left: float, __: Token, right: float) -> Fields:
        return {"fill_left": left, "fill_right": right}

    def fill_right_left(self, _: Token, right: float, __: Token, left: float) -> Fields:
        return {"fill_left": left, "fill_right": right}

    def fill_value(self, opening: Token, amount: Amount, closing: Token) -> float:
        return amount.value

    # --- selectors' modifiers ---------------------------------------------------------------

    def matrix(self, vector: Typed, opening: Token, range_: Duration, closing: Token) -> Typed:
        node = vector.node
        if not isinstance(node, VectorSelector):
            raise Rejected("ranges only allowed for vector selectors", start_of(opening))
        if node.modifiers.offset is not None:
            raise Rejected("no offset modifiers allowed before range", start_of(opening))
        if node.modifiers.at is not None:
            raise Rejected("no @ modifiers allowed before range", start_of(opening))
        span = Span(node.span.start, end_of(closing))
        return vector._replace(node=MatrixSelector(node, range_, span=span), type=ValueType.MATRIX)

    def subquery(self, inner: Typed, opening: Token, range_: Duration, *rest: Any) -> Typed:
        step = rest[1] if len(rest) == 3 else None
        span = Span(inner.node.span.start, end_of(rest[-1]))
        return check_subquery(Subquery(inner.node, range_, step, span=span), inner)

    def offset_by(self, expr: Typed, keyword: Token, offset: tuple[Duration, int]) -> Typed:
        before = _modifiers(expr, "offset modifier")
        if before.offset is not None:
            raise Rejected("offset may not be set multiple times", expr.node.span.start)
        duration, end = offset
        if isinstance(duration, DurationLiteral) and duration.milliseconds == 0:
            return _modified(expr, before, end)
        return _modified(expr, Modifiers(duration, before.at), end)

    def at_time(self, expr: Typed, at: Token, amount: Amount) -> Typed:
        seconds = amount.value
        if not abs(seconds * 1000) < _MAX_AT_MS:
            number = f"{seconds:f}" if math.isfinite(seconds) else number_text(seconds)
            text = f"timestamp out of bounds for @ modifier: {number}"
            raise Rejected(text, expr.node.span.start)
        milliseconds = math.floor(abs(seconds) * 1000 + 0.5)
        return _anchored(expr, milliseconds if seconds >= 0 else -milliseconds, amount.end)

    def at_anchor(self, expr: Typed, at: Token, keyword: Token, _: Token, closing: Token) -> Typed:
        anchor = AtAnchor.START if keyword.type == "START" else AtAnchor.END
        return _anchored(expr, anchor, end_of(closing))

    def edge(self, expr: Typed, keyword: Token) -> Typed:
        edge = Edge(keyword.lower())
        node = expr.node
        vector = node.vector if isinstance(node, MatrixSelector) else node
        at = node.span.start
        if isinstance(node, Subquery):
            raise Rejected(f"{edge.value} modifier is not supported for subqueries", at)
        if not isinstance(vector, VectorSelector):
            raise Rejected(f"{edge.value} modifier not implemented", at)
        if vector.edge not in (Edge.PLAIN, edge):
            raise Rejected("anchored and smoothed modifiers cannot be used together", at)
        span = Span(at, end_of(keyword))
        vector = replace(vector, edge=edge, span=span)
        if isinstance(node, MatrixSelector):
            return expr._replace(node=MatrixSelector(vector, node.range, span=span))
        return expr._replace(node=vector)


def _aggregation(
    op: Token, arguments: Arguments, labels: tuple[str, ...], without: bool, end: int
) -> Typed:
    name, values = op.lower(), arguments.values
    start = start_of(op)
    if not values:
        raise Rejected("no arguments for aggregate expression provided", start)
    wanted = 1 if AGGREGATORS[name] is None else 2
    if len(values) != wanted:
        text = "wrong number of arguments for aggregate expression provided"
        raise Rejected(f"{text}, expected {wanted}, got {len(values)}", start)
    expr = values[-1]
    param = values[0] if wanted == 2 else None
    param_node = param.node if param else None
    node = Aggregate(name, expr.node, param_node, labels, without, span=Span(start, end))
    return check_aggregate(node, expr, param)


def _modifiers(expr: Typed, what: str) -> Modifiers:
    """The modifiers that *expr* has so far; Rejected where it cannot have any."""
    node = expr.node
    if isinstance(node, MatrixSelector):
        return node.vector.modifiers
    if isinstance(node, VectorSelector | Subquery):
        return node.modifiers
    kinds = "an instant vector selector or range vector selector or a subquery"
    raise Rejected(f"{what} must be preceded by {kinds}", node.span.start)


def _anchored(expr: Typed, at: int | AtAnchor, end: int) -> Typed:
    before = _modifiers(expr, "@ modifier")
    if before.at is not None:
        raise Rejected("@ <timestamp> may not be set multiple times", expr.node.span.start)
    return _modified(expr, Modifiers(before.offset, at), end)


def _modified(expr: Typed, modifiers: Modifiers, end: int) -> Typed:
    """*expr* with other *modifiers*, ending at *end*."""
    node = expr.node
    span = Span(node.span.start, end)
    if isinstance(node, MatrixSelector):
        vector = replace(node.vector, modifiers=modifiers)
        return expr._replace(node=MatrixSelector(vector, node.range, span=span))
    assert isinstance(node, VectorSelector | Subquery)
    return expr._replace(node=replace(node, modifiers=modifiers, span=span))

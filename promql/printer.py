"""to_text: a tree as the one line that Prometheus' ``Expr.String()`` prints.

For every tree that ``parse`` gives, ``parse(to_text(tree)) == tree``.
"""

import math
from decimal import Decimal

from promql.ast import (
    Aggregate,
    AtAnchor,
    Binary,
    Call,
    Cardinality,
    Duration,
    DurationBinary,
    DurationCall,
    DurationLiteral,
    DurationNumber,
    DurationParen,
    DurationUnary,
    Edge,
    Matching,
    MatrixSelector,
    Modifiers,
    Node,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)
from promql.go_text import format_g
from promql.strings import quote
from series.durations import format_duration_ms
from series.labels import quote_name
from series.matcher import Matcher

_NOT_BARE = frozenset(("without", "inf", "nan"))
"""Label names that are no label names in a list of labels, unless quoted."""


def to_text(node: Node) -> str:
    """*node* as one line of PromQL."""
    match node:
        case NumberLiteral(value=value, duration=True):
            return _signed_duration(round(value * 1000))
        case NumberLiteral(value=value):
            return number_text(value)
        case StringLiteral(value=text):
            return quote(text)
        case VectorSelector(modifiers=modifiers):
            return selector_text(node) + _at(modifiers) + _edge(node) + _offset(modifiers)
        case MatrixSelector(vector=vector):
            text = f"{selector_text(vector)}[{duration_text(node.range)}]{_edge(vector)}"
            return text + _at(vector.modifiers) + _offset(vector.modifiers)
        case Subquery(expr=expr):
            return to_text(expr) + subquery_suffix(node)
        case Paren(inner=inner):
            return f"({to_text(inner)})"
        case Unary(op=op, operand=operand):
            return op + to_text(operand)
        case Binary():
            return f"{_left_text(node)} {operator_text(node)} {to_text(node.right)}"
        case Aggregate(expr=expr, param=param):
            arguments = to_text(expr) if param is None else f"{to_text(param)}, {to_text(expr)}"
            return f"{aggregation_text(node)}({arguments})"
        case Call(name=name, args=args):
            return f"{name}({', '.join(map(to_text, args))})"


def _left_text(node: Binary) -> str:
    """The left side; ``+Inf ^ 2`` would be read as ``+(Inf ^ 2)``."""
    text = to_text(node.left)
    return text.removeprefix("+") if node.op == "^" and text == "+Inf" else text


def number_text(value: float) -> str:
    """A float64 without an exponent, in the fewest digits that read back (Go's ``'f', -1``)."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


def selector_text(node: VectorSelector) -> str:
    """``name{matchers}`` without modifiers."""
    if not node.matchers and node.name:
        return node.name
    return f"{node.name}{{{','.join(sorted(map(matcher_text, node.matchers)))}}}"


def matcher_text(matcher: Matcher) -> str:
    """``name="value"``"""
    return f"{_label(matcher.name)}{matcher.type.value}{quote(matcher.value)}"


def _label(name: str) -> str:
    return name if quote_name(name) == name else quote(name)


def aggregation_text(node: Aggregate) -> str:
    """``sum by (job) `` or ``sum``: what stands before the arguments."""
    if node.without:
        return f"{node.op} without ({_names(node.grouping)}) "
    return f"{node.op} by ({_names(node.grouping)}) " if node.grouping else node.op


def operator_text(node: Binary) -> str:
    """``== bool on (a) group_left (b)``: the operator with its modifiers."""
    text = f"{node.op} bool" if node.return_bool else node.op
    return text if node.matching is None else text + _matching(node.matching)


def _matching(matching: Matching) -> str:
    text = ""
    grouped = matching.cardinality in (Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY)
    if matching.labels or matching.on or grouped:
        text = f" {'on' if matching.on else 'ignoring'} ({_names(matching.labels)})"
    if grouped:
        side = "left" if matching.cardinality is Cardinality.MANY_TO_ONE else "right"
        text += f" group_{side} ({_names(matching.include)})"
    left, right = matching.fill_left, matching.fill_right
    if left is not None and right is not None and format_g(left) == format_g(right):
        return f"{text} fill ({format_g(left)})"
    text += "" if left is None else f" fill_left ({format_g(left)})"
    return text + ("" if right is None else f" fill_right ({format_g(right)})")


def _names(labels: tuple[str, ...]) -> str:
    return ", ".join(quote(x) if x.lower() in _NOT_BARE else _label(x) for x in labels)


def subquery_suffix(node: Subquery) -> str:
    """``[5m:1m] @ start() offset 1m``"""
    step = "" if node.step is None else duration_text(node.step)
    text = f"[{duration_text(node.range)}:{step}]"
    return text + _at(node.modifiers) + _offset(node.modifiers)


def _edge(node: VectorSelector) -> str:
    return "" if node.edge is Edge.PLAIN else f" {node.edge.value}"


def _at(modifiers: Modifiers) -> str:
    if modifiers.at is None:
        return ""
    if isinstance(modifiers.at, AtAnchor):
        return f" @ {modifiers.at.value}"
    seconds, rest_ms = divmod(abs(modifiers.at), 1000)
    return f" @ {'-' if modifiers.at < 0 else ''}{seconds}.{rest_ms:03d}"


def _offset(modifiers: Modifiers) -> str:
    return "" if modifiers.offset is None else f" offset {duration_text(modifiers.offset)}"


def duration_text(duration: Duration) -> str:
    """A duration expression, as it stands in brackets or after ``offset``."""
    match duration:
        case DurationLiteral(milliseconds=milliseconds):
            return _signed_duration(milliseconds)
        case DurationNumber(seconds=seconds):
            return number_text(seconds)
        case DurationCall(name=name):
            return f"{name}()"
        case DurationUnary(op=op, operand=operand):
            return op + duration_text(operand)
        case DurationBinary(op="min_of" | "max_of" as op, left=left, right=right):
            return f"{op}({duration_text(left)}, {duration_text(right)})"
        case DurationBinary(op=op, left=left, right=right):
            return f"{duration_text(left)} {op} {duration_text(right)}"
        case DurationParen(inner=inner):
            return f"({duration_text(inner)})"


def _signed_duration(milliseconds: int) -> str:
    return ("-" if milliseconds < 0 else "") + format_duration_ms(abs(milliseconds))

"""What one asks of Prometheus 2.42 to learn what 3.14 means: the known differences as rules.

Each rule turns a construct into one that says in 2.42 what the original says since. Together with
``FLAGS``, which do it for instant selectors, they leave no other difference but those that
``compare`` knows.
"""

import dataclasses
from typing import Any

from promql import ast
from promql.check import value_type
from promql.parser import parse
from promql.printer import to_text
from series.matcher import Matcher, MatchType

FLAGS = ("--query.lookback-delta=299999ms", "--enable-feature=native-histograms")
"""Windows were closed on both sides: a millisecond less makes those of five minutes left-open."""

RATES = frozenset(("rate", "increase", "delta"))
"""Functions of the window's length; the questions keep samples off the edges of their windows."""


def to_old_dialect(text: str) -> str:
    """*text*, which parses, for 2.42."""
    return to_text(_rewritten(parse(text)))


def _rewritten(node: Any) -> Any:
    """*node* with every rule applied, from the leaves up."""
    if isinstance(node, ast.Call):
        return _call(node)
    parts = {
        field.name: _rewritten(value)
        for field in dataclasses.fields(node)
        if isinstance(value := getattr(node, field.name), ast.Expr)
    }
    named = isinstance(node, ast.Binary) and value_type(node) is ast.ValueType.VECTOR
    node = dataclasses.replace(node, **parts) if parts else node
    match node:
        case ast.VectorSelector():
            return dataclasses.replace(
                node, matchers=tuple(map(dot_matches_newline, node.matchers))
            )
        case ast.MatrixSelector() | ast.Subquery():
            return left_open(node)
        case ast.Binary(op="atan2") if named:
            return atan2_drops_names(node)
        case ast.Aggregate(op="stddev" | "stdvar"):
            return spread_of_infinities(node)
        case _:
            return node


def _call(node: ast.Call) -> ast.Call:
    name = "holt_winters" if node.name == "double_exponential_smoothing" else node.name
    args = tuple(map(_rewritten, node.args))
    if node.name in RATES:
        args = tuple(
            dataclasses.replace(new, range=old.range)
            if isinstance(old, ast.MatrixSelector | ast.Subquery)
            else new
            for old, new in zip(node.args, args, strict=True)
        )
    if node.name == "label_replace":
        args = (*args[:4], ast.StringLiteral(f"(?s:{node.args[4].value})"))  # type: ignore[union-attr]
    return ast.Call(name, args)


def left_open(node: ast.MatrixSelector | ast.Subquery) -> ast.Node:
    """A window of samples is a millisecond shorter where both its edges belong to it."""
    assert isinstance(node.range, ast.DurationLiteral)
    shorter = ast.DurationLiteral(max(node.range.milliseconds - 1, 1))
    return dataclasses.replace(node, range=shorter)


def dot_matches_newline(matcher: Matcher) -> Matcher:
    """``.`` matches a newline since 3.0."""
    if matcher.type in (MatchType.REGEX, MatchType.NOT_REGEX):
        return dataclasses.replace(matcher, value=f"(?s:{matcher.value})")
    return matcher


def atan2_drops_names(node: ast.Binary) -> ast.Node:
    """A vector from ``atan2`` has no metric name since 3.0."""
    empty = ast.StringLiteral("")
    return ast.Call("label_replace", (node, ast.StringLiteral("__name__"), empty, empty, empty))


def spread_of_infinities(node: ast.Aggregate) -> ast.Node:
    """stddev and stdvar of anything infinite or NaN are NaN, whichever value comes first."""
    zero = ast.Binary(
        "*",
        ast.NumberLiteral(0),
        ast.Aggregate("avg", node.expr, None, node.grouping, node.without),
    )
    return ast.Paren(ast.Binary("+", node, zero, ast.Matching()))

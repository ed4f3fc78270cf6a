"""Which constructs of PromQL a query uses, and which of them the reference knows."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from promql import ast
from promql.check import COMPARISONS, SET_OPERATORS
from promql.functions import AGGREGATORS, FUNCTIONS
from promql.parser import parse

YOUNGER = frozenset(
    (
        *("end", "first_over_time", "histogram_avg", "histogram_quantiles", "histogram_stddev"),
        *("histogram_stdvar", "info", "limit_ratio", "limitk", "mad_over_time", "max_of", "min_of"),
        *("range", "sort_by_label", "sort_by_label_desc", "start", "start_timestamp", "step"),
        *("ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time"),
        "ts_of_min_over_time",
    )
)
"""Functions and aggregations that came after 2.42."""
OPERATORS = frozenset(("+", "-", "*", "/", "%", "^", "atan2", *COMPARISONS, *SET_OPERATORS))
MODIFIERS = frozenset(
    (
        *("unary -", "unary +", "bool", "on", "ignoring", "group_left", "group_right", "by"),
        *("without", "offset", "@ time", "@ start", "@ end", "range", "subquery", "string"),
        *("matcher =", "matcher !=", "matcher =~", "matcher !~"),
    )
)
KNOWN = (frozenset(FUNCTIONS) | frozenset(AGGREGATORS)) - YOUNGER | OPERATORS | MODIFIERS
"""All that a query can use of what the reference knows."""


def constructs(text: str) -> set[str]:
    """What the query *text* uses of FUNCTIONS, AGGREGATORS, OPERATORS and MODIFIERS."""
    return {name for node in _nodes(parse(text)) for name in _names(node)}


def _nodes(node: Any) -> Iterator[Any]:
    """*node* and everything in it."""
    if isinstance(node, tuple):
        for part in node:
            yield from _nodes(part)
    elif dataclasses.is_dataclass(node):
        yield node
        for field in dataclasses.fields(node):
            yield from _nodes(getattr(node, field.name))


def _names(node: Any) -> Iterator[str]:
    match node:
        case ast.Call(name=name):
            yield name
        case ast.Aggregate(op=name, grouping=grouping, without=without):
            yield name
            if without or grouping:
                yield "without" if without else "by"
        case ast.Binary(op=op, return_bool=return_bool):
            yield op
            if return_bool:
                yield "bool"
        case ast.Matching(cardinality=cardinality, on=on, labels=labels):
            if on or labels:
                yield "on" if on else "ignoring"
            if cardinality is ast.Cardinality.MANY_TO_ONE:
                yield "group_left"
            elif cardinality is ast.Cardinality.ONE_TO_MANY:
                yield "group_right"
        case ast.Unary(op=op):
            yield f"unary {op}"
        case ast.Modifiers(offset=offset, at=at):
            if offset is not None:
                yield "offset"
            if at is not None:
                yield f"@ {at.name.lower() if isinstance(at, ast.AtAnchor) else 'time'}"
        case ast.MatrixSelector():
            yield "range"
        case ast.Subquery():
            yield "subquery"
        case ast.StringLiteral():
            yield "string"
        case _:
            if isinstance(node, ast.VectorSelector):
                yield from (f"matcher {matcher.type.value}" for matcher in node.matchers)

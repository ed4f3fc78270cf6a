"""tree: a parsed query as plain objects, in the shape of ``/api/v1/parse_query``.

Source: web/api/v1/translate_ast.go of Prometheus 3.14. Durations that depend on the step or range
of a query come out as for an instant query.
"""

from typing import Any

from promql.ast import (
    Aggregate,
    AtAnchor,
    Binary,
    Call,
    Duration,
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
    ValueType,
    VectorSelector,
)
from promql.duration_values import duration_ms
from promql.env import QueryTimes
from promql.functions import FUNCTIONS
from promql.printer import number_text
from series.matcher import Matcher

_TYPES = {
    ValueType.SCALAR: "scalar",
    ValueType.STRING: "string",
    ValueType.VECTOR: "vector",
    ValueType.MATRIX: "matrix",
}
_INSTANT = QueryTimes.instant(0)


def tree(node: Node) -> dict[str, Any]:
    """*node* and all below it; InvalidQuery where a duration of it cannot be."""
    match node:
        case NumberLiteral(value=value):
            return {"type": "numberLiteral", "val": number_text(value)}
        case StringLiteral(value=text):
            return {"type": "stringLiteral", "val": text}
        case Paren(inner=inner):
            return {"type": "parenExpr", "expr": tree(inner)}
        case Unary(op=op, operand=operand):
            return {"type": "unaryExpr", "op": op, "expr": tree(operand)}
        case VectorSelector():
            return {"type": "vectorSelector", **_selector(node)}
        case MatrixSelector(vector=vector):
            return {"type": "matrixSelector", "range": _ms(node.range), **_selector(vector)}
        case Subquery(expr=expr, step=step):
            return {
                "type": "subquery",
                "expr": tree(expr),
                "range": _ms(node.range),
                "step": 0 if step is None else _ms(step),
                **_modifiers(node.modifiers),
            }
        case Binary():
            return _binary(node)
        case Aggregate():
            return {
                "type": "aggregation",
                "op": node.op,
                "expr": tree(node.expr),
                "param": None if node.param is None else tree(node.param),
                "grouping": list(node.grouping),
                "without": node.without,
            }
        case Call(name=name, args=args):
            return {"type": "call", "func": _function(name), "args": [tree(arg) for arg in args]}


def _selector(node: VectorSelector) -> dict[str, Any]:
    return {
        "name": node.name,
        "matchers": [_matcher(matcher) for matcher in node.all_matchers],
        **_modifiers(node.modifiers),
        "anchored": node.edge is Edge.ANCHORED,
        "smoothed": node.edge is Edge.SMOOTHED,
    }


def _matcher(matcher: Matcher) -> dict[str, str]:
    return {"name": matcher.name, "value": matcher.value, "type": matcher.type.value}


def _modifiers(modifiers: Modifiers) -> dict[str, Any]:
    anchor = modifiers.at.name.lower() if isinstance(modifiers.at, AtAnchor) else None
    return {
        "offset": 0 if modifiers.offset is None else _ms(modifiers.offset, positive=False),
        "timestamp": modifiers.at if isinstance(modifiers.at, int) else None,
        "startOrEnd": anchor,
    }


def _binary(node: Binary) -> dict[str, Any]:
    return {
        "type": "binaryExpr",
        "op": node.op,
        "lhs": tree(node.left),
        "rhs": tree(node.right),
        "matching": None if node.matching is None else _matching(node.matching),
        "bool": node.return_bool,
    }


def _matching(matching: Matching) -> dict[str, Any]:
    return {
        "card": matching.cardinality.value,
        "labels": list(matching.labels),
        "on": matching.on,
        "include": list(matching.include),
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    }


def _function(name: str) -> dict[str, Any]:
    function = FUNCTIONS[name]
    return {
        "name": name,
        "argTypes": [_TYPES[argument] for argument in function.arguments],
        "variadic": function.variadic,
        "returnType": _TYPES[function.returns],
    }


def _ms(duration: Duration, *, positive: bool = True) -> int:
    return duration_ms(duration, _INSTANT, positive=positive)

"""The types of expressions, and Prometheus' complaints where they do not fit.

The rules are those of promql/parser/parse.go of Prometheus 3.14. A tree is checked bottom-up while
it is built: each rule gets its operands with their types already known. A complaint travels up in
``Typed.fault``, because Prometheus speaks of types only when the whole text follows the grammar.
"""

from collections.abc import Sequence
from typing import NamedTuple

from promql.ast import (
    Aggregate,
    Binary,
    Call,
    Cardinality,
    Edge,
    Matching,
    MatrixSelector,
    Node,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from promql.errors import Rejected
from promql.functions import AGGREGATORS, FUNCTIONS, Function
from promql.strings import quote
from series.labels import METRIC_NAME

SCALAR, STRING, VECTOR, MATRIX = (
    ValueType.SCALAR,
    ValueType.STRING,
    ValueType.VECTOR,
    ValueType.MATRIX,
)
COMPARISONS = frozenset(("==", "!=", "<", "<=", ">", ">="))
SET_OPERATORS = frozenset(("and", "or", "unless"))
EDGE_FUNCTIONS = {
    Edge.ANCHORED: ("changes", "delta", "increase", "rate", "resets"),
    Edge.SMOOTHED: ("delta", "increase", "rate"),
}
MAX_DEPTH = 120
"""The deepest nesting of expressions; the left side of a binary operator is no level deeper."""
MAX_HEIGHT = 1_200
"""The highest tree, where every operator of a chain like ``a or b or c`` is a level: who walks a
tree later may do so by recursion, seven calls a level, within promql.parser's RECURSION."""


class Typed(NamedTuple):
    """An expression with what the rules above it want to know."""

    node: Node
    type: ValueType
    depth: int = 1
    fault: Rejected | None = None
    height: int = 1


def value_type(node: Node) -> ValueType:
    """The type of a checked expression."""
    match node:
        case NumberLiteral():
            return SCALAR
        case StringLiteral():
            return STRING
        case MatrixSelector() | Subquery():
            return MATRIX
        case Paren(inner=inner) | Unary(operand=inner):
            return value_type(inner)
        case Call(name=name):
            return FUNCTIONS[name].returns
        case Binary(left=left, right=right):
            both_scalar = value_type(right) is SCALAR and value_type(left) is SCALAR
            return SCALAR if both_scalar else VECTOR
        case _:
            return VECTOR


def typed(
    node: Node, kind: ValueType, parts: Sequence[Typed] = (), fault: Rejected | None = None
) -> Typed:
    """*node* made of *parts*; the first fault among the parts goes before its own *fault*.

    Raises TooDeep where the nesting is deeper than MAX_DEPTH, Rejected where the tree is higher
    than MAX_HEIGHT.
    """
    depth, height = 1, 1
    chained = node.left if isinstance(node, Binary) else None
    for part in reversed(parts):
        depth = max(depth, part.depth + (part.node is not chained))
        height = max(height, part.height + 1)
        fault = part.fault or fault
    if depth > MAX_DEPTH:
        raise TooDeep(depth, node.span.start)
    if height > MAX_HEIGHT:
        raise Rejected(
            f"expression chains too many operators: at least {height - 1}, "
            f"at most {MAX_HEIGHT - 1} are allowed",
            node.span.start,
        )
    return Typed(node, kind, depth, fault, height)


class TooDeep(Rejected):
    """An expression of *depth* levels or more at the character *at*."""

    def __init__(self, depth: int, at: int) -> None:
        super().__init__(
            f"expression is nested too deeply: {depth} levels, at most {MAX_DEPTH} levels are "
            "allowed",
            at,
        )
        self.depth = depth


def check_selector(node: VectorSelector) -> Typed:
    """A selector needs one name at most and one condition that the empty string fails."""
    if node.name:
        fault = next(
            (_named_twice(node, m.value) for m in node.matchers if m.name == METRIC_NAME), None
        )
    elif any(not matcher.matches("") for matcher in node.matchers):
        fault = None
    else:
        fault = Rejected(
            "vector selector must contain at least one non-empty matcher", node.span.start
        )
    return Typed(node, VECTOR, 1, fault)


def _named_twice(node: VectorSelector, other: str) -> Rejected:
    names = f"{quote(node.name)} or {quote(other)}"
    return Rejected(f"metric name must not be set twice: {names}", node.span.start)


def check_subquery(node: Subquery, inner: Typed) -> Typed:
    """Only an instant vector can be evaluated over a range."""
    fault = None
    if inner.type is not VECTOR:
        words = "matrix" if inner.type is MATRIX else inner.type.value
        fault = Rejected(
            f"subquery is only allowed on instant vector, got {words} instead", node.span.start
        )
    return typed(node, MATRIX, (inner,), fault)


def check_unary(node: Unary, operand: Typed) -> Typed:
    """A sign stands before scalars and instant vectors."""
    fault = None
    if operand.type not in (SCALAR, VECTOR):
        words = "unary expression only allowed on expressions of type scalar or instant vector"
        fault = Rejected(f'{words}, got "{operand.type.value}"', node.span.start)
    return typed(node, operand.type, (operand,), fault)


def check_aggregate(node: Aggregate, expr: Typed, param: Typed | None) -> Typed:
    """An aggregation wants an instant vector, and its parameter's type."""
    wanted = AGGREGATORS[node.op]
    fault = None
    if expr.type is not VECTOR:
        fault = _unexpected_type(expr, VECTOR, "aggregation expression")
    elif param is not None and wanted is not None and param.type is not wanted:
        fault = _unexpected_type(param, wanted, "aggregation parameter")
    return typed(node, VECTOR, (expr,) if param is None else (expr, param), fault)


def check_call(node: Call, function: Function, arguments: Sequence[Typed]) -> Typed:
    """The number and the types of the arguments of a call."""
    fault = _arity_fault(node, function, len(arguments))
    if function.name == "info" and len(arguments) == 2:
        arguments = (arguments[0], _info_selector(arguments[1]))
    if fault is None:
        fault = next(
            (
                argument.fault
                or _unexpected_type(argument, wanted, f'call to function "{node.name}"')
                for index, argument in enumerate(arguments)
                if argument.fault is not None
                or argument.type is not (wanted := function.argument_type(index))
            ),
            None,
        )
    fault = fault or _edge_fault(node)
    bare = [argument._replace(fault=None) for argument in arguments] if fault else arguments
    return typed(node, function.returns, bare, fault)


def _arity_fault(node: Call, function: Function, count: int) -> Rejected | None:
    if function.least == function.most:
        if count == function.least:
            return None
        wanted = f"expected {function.least}"
    elif count < function.least:
        wanted = f"expected at least {function.least}"
    elif function.most is not None and count > function.most:
        wanted = f"expected at most {function.most}"
    else:
        return None
    text = f'{wanted} argument(s) in call to "{node.name}", got {count}'
    return Rejected(text, node.span.start)


def _info_selector(argument: Typed) -> Typed:
    """The second argument of ``info``: conditions in braces, which may match everything."""
    node = argument.node
    if argument.type is not VECTOR:
        return argument
    if not isinstance(node, VectorSelector):
        return argument._replace(
            fault=argument.fault or Rejected("expected label selectors only", node.span.start)
        )
    if node.name:
        text = "expected label selectors only, got vector selector instead"
        return argument._replace(fault=Rejected(text, node.span.start))
    return argument._replace(fault=None)


def _edge_fault(node: Call) -> Rejected | None:
    """Only the rate family knows what a value at the edge of a range means."""
    for argument in node.args:
        while isinstance(argument, Paren):
            argument = argument.inner
        if not isinstance(argument, MatrixSelector) or argument.vector.edge is Edge.PLAIN:
            continue
        edge = argument.vector.edge
        if node.name not in EDGE_FUNCTIONS[edge]:
            names = ", ".join(EDGE_FUNCTIONS[edge])
            text = f"{edge.value} modifier can only be used with: {names} - not with {node.name}"
            return Rejected(text, node.span.start)
    return None


def matching_of(op: str, left: Typed, right: Typed, written: Matching) -> Matching | None:
    """How the sides of *op* match: None unless both are vectors; sets are many-to-many."""
    if left.type is not VECTOR or right.type is not VECTOR:
        return None
    if op in SET_OPERATORS and written.cardinality is Cardinality.ONE_TO_ONE:
        return Matching(
            Cardinality.MANY_TO_MANY,
            written.on,
            written.labels,
            written.include,
            written.fill_left,
            written.fill_right,
        )
    return written


def check_binary(node: Binary, left: Typed, right: Typed, written: Matching, op_at: int) -> Typed:
    """The rules of an operator at *op_at* with the modifiers *written* between two operands."""
    kind = SCALAR if left.type is SCALAR and right.type is SCALAR else VECTOR
    fault = (
        _operator_fault(node, kind, written, op_at)
        or _operand_fault(left)
        or _operand_fault(right)
        or _matching_fault(node, left, right, written)
    )
    return typed(node, kind, (left, right), fault)


def _operator_fault(node: Binary, kind: ValueType, written: Matching, at: int) -> Rejected | None:
    compares = node.op in COMPARISONS
    if node.return_bool and not compares:
        return Rejected("bool modifier can only be used on comparison operators", at)
    if compares and not node.return_bool and kind is SCALAR:
        return Rejected("comparisons between scalars must use BOOL modifier", at)
    if written.on:
        for label in written.labels:
            if label in written.include:
                text = f"label {quote(label)} must not occur in ON and GROUP clause at once"
                return Rejected(text, at)
    return None


def _operand_fault(operand: Typed) -> Rejected | None:
    if operand.type in (SCALAR, VECTOR):
        return None
    text = "binary expression must contain only scalar and instant vector types"
    return Rejected(text, operand.node.span.start)


def _matching_fault(node: Binary, left: Typed, right: Typed, written: Matching) -> Rejected | None:
    at = node.span.start
    fills = written.fill_left is not None or written.fill_right is not None
    if left.type is not VECTOR or right.type is not VECTOR:
        if written.labels:
            return Rejected("vector matching only allowed between instant vectors", at)
        if fills:
            text = "filling in missing series only allowed between instant vectors"
            return Rejected(text, at)
        if node.op in SET_OPERATORS:
            text = f'set operator "{node.op}" not allowed in binary scalar expression'
            return Rejected(text, at)
    elif node.op in SET_OPERATORS:
        if written.cardinality is not Cardinality.ONE_TO_ONE:
            return Rejected(f'no grouping allowed for "{node.op}" operation', at)
        if fills:
            return Rejected("filling in missing series not allowed for set operators", at)
    return None


def _unexpected_type(operand: Typed, wanted: ValueType, where: str) -> Rejected:
    text = f"expected type {wanted.value} in {where}, got {operand.type.value}"
    return Rejected(text, operand.node.span.start)

"""Binary operators between scalars and vectors, and unary minus, at every step at once."""

from dataclasses import replace

import numpy as np

from promql import ast
from promql.cells import Points, Side
from promql.env import Env
from promql.floats import ARITHMETIC, COMPARISONS
from promql.histogram_binary import TRIM_OPERATORS, negated, operate
from promql.labelsets import drop_names, merge_equal_labels
from promql.matching import match_pairs
from promql.matrix import Mask, Matrix, ScalarRow, Text, Value, Values
from promql.notes import ExecutionError
from promql.setops import set_operation
from promql.slices import row_slices
from series.frame import LabelFrame
from series.labels import quote

SET_OPERATORS = frozenset(("and", "or", "unless"))


def evaluate(node: ast.Binary, left: Value, right: Value, env: Env) -> Value:
    """``left op right`` on operands evaluated over ``env.grid``.

    Scalars give a ScalarRow, anything else a Matrix. Raises ExecutionError in Prometheus' words
    where the matching is ambiguous or two elements of the result have the same labels.
    """
    env = env.at(node.span)
    with np.errstate(all="ignore"):
        if isinstance(left, ScalarRow) and isinstance(right, ScalarRow):
            return _scalars(node.op, left.values, right.values)
        if isinstance(left, Matrix) and isinstance(right, Matrix):
            return _vectors(node, left, right, env)
        if isinstance(left, Matrix) and isinstance(right, ScalarRow):
            return _vector_and_scalar(node, left, right.values, env, swapped=False)
        if isinstance(left, ScalarRow) and isinstance(right, Matrix):
            return _vector_and_scalar(node, right, left.values, env, swapped=True)
    raise ExecutionError("binary expression must contain only scalar and instant vector types")


def negate(value: Value, env: Env) -> Value:
    """``-value``; a vector loses its names."""
    if isinstance(value, ScalarRow):
        return ScalarRow(-value.values)
    if isinstance(value, Text):
        raise ExecutionError(
            "unary expression only allowed on expressions of type scalar or instant vector, "
            'got "string"'
        )
    return drop_names(negated(value), env)


def _scalars(op: str, left: Values, right: Values) -> ScalarRow:
    if op in ARITHMETIC:
        return ScalarRow(ARITHMETIC[op](left, right))
    if op in COMPARISONS:
        return ScalarRow(COMPARISONS[op](left, right).astype(np.float64))
    raise ExecutionError(f"operator {quote(op)} not allowed for Scalar operations")


def _vectors(node: ast.Binary, left: Matrix, right: Matrix, env: Env) -> Matrix:
    matching = node.matching or ast.Matching()
    if node.op in SET_OPERATORS:
        return set_operation(node.op, left, right, matching, env.context)
    delayed = env.options.delayed_name_removal
    drop = node.op in ARITHMETIC or (node.return_bool and not delayed)
    pairs = match_pairs(left, right, matching, env.context, drop_names=drop)
    points = _combine(node, pairs.left, pairs.right, pairs.present, env)
    marks = np.full(pairs.frame.size, True) if node.return_bool and delayed else None
    return merge_equal_labels(_matrix(pairs.frame, points, marks))


def _combine(node: ast.Binary, left: Side, right: Side, present: Mask, env: Env) -> Points:
    """``left op right`` cell by cell; a kept comparison has its left value."""

    def of_floats() -> tuple[Values, Mask]:
        if node.op in ARITHMETIC:
            return _arithmetic(node.op, left.values, right.values, env), present
        if node.op in TRIM_OPERATORS:
            return left.values, present
        held = _comparison(node.op, left.values, right.values, env)
        if node.return_bool:
            return held.astype(np.float64), present
        return left.values, present & held

    if left.ids is None and right.ids is None and node.op not in TRIM_OPERATORS:
        return Points(*of_floats())
    return operate(node.op, left, right, present, of_floats, env, return_bool=node.return_bool)


def _vector_and_scalar(
    node: ast.Binary, vector: Matrix, scalar: Values, env: Env, *, swapped: bool
) -> Matrix:
    """``vector op scalar``, or ``scalar op vector`` if *swapped*; a filter keeps the vector's."""
    row = Side(np.broadcast_to(scalar, vector.values.shape))
    sides = (row, Side.of(vector)) if swapped else (Side.of(vector), row)
    points = _combine(node, *sides, vector.present, env)
    if node.op in COMPARISONS and not node.return_bool:
        points = replace(points, values=vector.values)
    result = _matrix(vector.frame, points, vector.drop_name)
    keeps_names = node.op in TRIM_OPERATORS or (node.op in COMPARISONS and not node.return_bool)
    return result if keeps_names else drop_names(result, env)


def _matrix(frame: LabelFrame, points: Points, marks: Mask | None) -> Matrix:
    return Matrix(
        frame,
        points.values,
        points.present,
        marks,
        histogram_ids=points.ids,
        histograms=points.histograms,
    )


def _arithmetic(op: str, left: Values, right: Values, env: Env) -> Values:
    out = np.empty(left.shape)
    for rows in row_slices(*_shape(left), env.context):
        out[rows] = ARITHMETIC[op](left[rows], right[rows])
    return out


def _comparison(op: str, left: Values, right: Values, env: Env) -> Mask:
    out = np.empty(left.shape, dtype=np.bool_)
    for rows in row_slices(*_shape(left), env.context):
        out[rows] = COMPARISONS[op](left[rows], right[rows])
    return out


def _shape(values: Values) -> tuple[int, int]:
    rows, steps = values.shape
    return rows, steps

"""Binary operators between scalars and vectors, and unary minus, at every step at once."""

import numpy as np

from promql import ast
from promql.env import Env
from promql.floats import ARITHMETIC, COMPARISONS
from promql.labelsets import drop_names, merge_equal_labels
from promql.matching import Pairs, match_pairs
from promql.matrix import Mask, Matrix, ScalarRow, Text, Value, Values
from promql.notes import ExecutionError
from promql.setops import set_operation
from promql.slices import row_slices
from series.labels import quote

SET_OPERATORS = frozenset(("and", "or", "unless"))
TRIM_OPERATORS = frozenset(("</", ">/"))


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
    return drop_names(Matrix(value.frame, -value.values, value.present, value.drop_name), env)


def _scalars(op: str, left: Values, right: Values) -> ScalarRow:
    if op in ARITHMETIC:
        return ScalarRow(ARITHMETIC[op](left, right))
    if op in COMPARISONS:
        return ScalarRow(COMPARISONS[op](left, right).astype(np.float64))
    raise ExecutionError(f"operator {quote(op)} not allowed for Scalar operations")


def _vectors(node: ast.Binary, left: Matrix, right: Matrix, env: Env) -> Matrix:
    matching = node.matching or ast.Matching()
    if node.op in SET_OPERATORS:
        return set_operation(node.op, left, right, matching)
    delayed = env.options.delayed_name_removal
    drop = node.op in ARITHMETIC or (node.return_bool and not delayed)
    pairs = match_pairs(left, right, matching, env.context, drop_names=drop)
    values, present = _combine(node, pairs, env)
    marks = np.full(pairs.frame.size, True) if node.return_bool and delayed else None
    return merge_equal_labels(Matrix(pairs.frame, values, present, marks))


def _combine(node: ast.Binary, pairs: Pairs, env: Env) -> tuple[Values, Mask]:
    """The values and points of a vector operation; a kept comparison has its left value."""
    sides = pairs.left, pairs.right
    if node.op in ARITHMETIC:
        return _arithmetic(node.op, *sides, env), pairs.present
    if node.op in TRIM_OPERATORS:
        return pairs.left, _nothing_to_trim(node.op, pairs.present, env)
    held = _comparison(node.op, *sides, env)
    if node.return_bool:
        return held.astype(np.float64), pairs.present
    return pairs.left, pairs.present & held


def _vector_and_scalar(
    node: ast.Binary, vector: Matrix, scalar: Values, env: Env, *, swapped: bool
) -> Matrix:
    """``vector op scalar``, or ``scalar op vector`` if *swapped*; a filter keeps the vector's."""
    row = np.broadcast_to(scalar, vector.values.shape)
    left, right = (row, vector.values) if swapped else (vector.values, row)
    if node.op in ARITHMETIC:
        values = _arithmetic(node.op, left, right, env)
        return drop_names(Matrix(vector.frame, values, vector.present), env)
    if node.op in TRIM_OPERATORS:
        present = _nothing_to_trim(node.op, vector.present, env)
        return Matrix(vector.frame, vector.values, present, vector.drop_name)
    held = _comparison(node.op, left, right, env)
    if node.return_bool:
        return drop_names(Matrix(vector.frame, held.astype(np.float64), vector.present), env)
    return Matrix(vector.frame, vector.values, vector.present & held, vector.drop_name)


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


def _nothing_to_trim(op: str, present: Mask, env: Env) -> Mask:
    """No points: trimming is for histograms, so floats vanish with an info."""
    if present.any():
        env.info(
            f"incompatible sample types encountered for binary operator {quote(op)}: "
            f"float {op} float"
        )
    return np.zeros_like(present)

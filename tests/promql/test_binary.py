"""Operators with scalars, unary minus, and the names that results keep."""

import math
import operator
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql import ast
from promql.binary import evaluate, negate
from promql.matrix import Matrix, ScalarRow, Text
from promql.notes import ExecutionError
from tests.examples import examples
from tests.promql.matrices import VALUES, ZERO, Bench, matrices, matrix, points, row, same

NAN, INF = math.nan, math.inf
HOLDS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def binary(op: str, return_bool: bool = False) -> ast.Binary:
    return ast.Binary(op, ZERO, ZERO, None, return_bool)


@pytest.mark.parametrize(
    ("a", "op", "b", "wanted"),
    [
        (7.0, "%", 3.0, 1.0),
        (-7.0, "%", 3.0, -1.0),
        (7.0, "%", -3.0, 1.0),
        (7.0, "%", 0.0, NAN),
        (7.0, "%", INF, 7.0),
        (INF, "%", 7.0, NAN),
        (-0.0, "%", 7.0, -0.0),
        (2.0, "^", 10.0, 1024.0),
        (0.0, "^", 0.0, 1.0),
        (NAN, "^", 0.0, 1.0),
        (1.0, "^", NAN, 1.0),
        (-1.0, "^", INF, 1.0),
        (-8.0, "^", 1 / 3, NAN),
        (-0.0, "^", -3.0, -INF),
        (0.0, "^", -2.0, INF),
        (1.0, "/", 0.0, INF),
        (-1.0, "/", 0.0, -INF),
        (0.0, "/", 0.0, NAN),
        (0.0, "atan2", -0.0, math.pi),
        (-0.0, "atan2", 0.0, -0.0),
        (INF, "atan2", -INF, 3 * math.pi / 4),
        (INF, "-", INF, NAN),
        (1.0, "==", 1.0, 1.0),
        (NAN, "==", NAN, 0.0),
        (NAN, "!=", NAN, 1.0),
        (NAN, "<=", 1.0, 0.0),
    ],
)
def test_scalar_operations_follow_gos_math(a: float, op: str, b: float, wanted: float) -> None:
    """The special cases of math.Mod, math.Pow, math.Atan2 and of IEEE comparisons."""
    found = evaluate(binary(op, True), row(a), row(b), Bench(1).env)
    assert isinstance(found, ScalarRow)
    assert same(float(found.values[0]), wanted)


@examples(100)
@given(
    vector=matrices(["a", "b"], {"i": ["1", "2"]}),
    scalar=st.lists(VALUES, min_size=3, max_size=3),
    op=st.sampled_from(sorted(HOLDS)),
    swapped=st.booleans(),
)
def test_comparisons_with_a_scalar_keep_the_vectors_value(
    vector: Matrix, scalar: list[float], op: str, swapped: bool
) -> None:
    """A filter passes the element itself, on whichever side it stands, name and all."""
    hold = HOLDS[op]
    right = ScalarRow(np.array(scalar))
    left_value, right_value = (right, vector) if swapped else (vector, right)
    found = evaluate(binary(op), left_value, right_value, Bench().env)
    assert isinstance(found, Matrix)
    for at in range(vector.series_count):
        for step in range(3):
            value = float(vector.values[at, step])
            held = hold(scalar[step], value) if swapped else hold(value, scalar[step])
            assert found.present[at, step] == (vector.present[at, step] and held)
            assert same(float(found.values[at, step]), value)
    assert found.frame.all_labels() == vector.frame.all_labels()


def test_arithmetic_with_a_scalar_drops_names_now_or_late() -> None:
    """At once by default, by a mark under delayed name removal."""
    vector = matrix({"a{i=1}": [1.0, None, 3.0]})
    now = evaluate(binary("*"), vector, row(2.0, 2.0, 2.0), Bench(delayed=False).env)
    assert points(now) == {"{i=1}": [2.0, None, 6.0]}
    late = evaluate(binary("*"), row(2.0, 2.0, 2.0), vector, Bench().env)
    assert points(late) == {"a{i=1}": [2.0, None, 6.0]}
    assert isinstance(late, Matrix) and late.marks().all()


def test_bool_gives_zero_and_one_and_drops_the_name() -> None:
    """Every element has a result."""
    vector = matrix({"a": [1.0, None, 3.0]})
    found = evaluate(binary(">", True), vector, row(2.0, 2.0, 2.0), Bench(delayed=False).env)
    assert points(found) == {"": [0.0, None, 1.0]}


def test_series_that_become_equal_are_refused_only_where_they_meet() -> None:
    """Without names two series may be one, while their points are disjoint."""
    apart = matrix({"a": [1.0, None, None], "b": [None, 2.0, None]})
    assert points(negate(apart, Bench(delayed=False).env)) == {"": [-1.0, -2.0, None]}
    together = matrix({"a": [1.0, None, None], "b": [1.0, 2.0, None]})
    with pytest.raises(ExecutionError, match="cannot contain metrics with the same labelset"):
        negate(together, Bench(delayed=False).env)


def test_negation_of_scalars() -> None:
    """Zero becomes minus zero."""
    found = negate(row(0.0, 1.0), Bench(2).env)
    assert isinstance(found, ScalarRow)
    assert np.signbit(found.values).all()


def test_a_string_is_no_operand() -> None:
    """The checker refuses it already; the operator does so in the same words."""
    with pytest.raises(ExecutionError, match="must contain only scalar and instant vector types"):
        evaluate(binary("+"), Text("x"), row(1.0), Bench(1).env)
    with pytest.raises(ExecutionError, match="unary expression only allowed"):
        negate(Text("x"), Bench(1).env)

"""``and``, ``or``, ``unless`` against a walk step by step."""

from hypothesis import given
from hypothesis import strategies as st

from promql import ast
from promql.ast import Cardinality, Matching
from promql.binary import evaluate
from promql.matrix import Matrix
from tests.examples import examples
from tests.promql.matrices import (
    ZERO,
    Bench,
    Element,
    elements,
    matrices,
    matrix,
    points,
    same_elements,
)
from tests.promql.test_matching import match_labels


def twin_step(op: str, m: Matching, left: list[Element], right: list[Element]) -> list[Element]:
    left_keys = {match_labels(element[0], m) for element in left}
    right_keys = {match_labels(element[0], m) for element in right}
    if op == "and":
        return [element for element in left if match_labels(element[0], m) in right_keys]
    if op == "unless":
        return [element for element in left if match_labels(element[0], m) not in right_keys]
    return left + [element for element in right if match_labels(element[0], m) not in left_keys]


@examples(100)
@given(
    left=matrices(["a", "b"], {"i": ["", "1", "2"], "j": ["", "x"]}),
    right=matrices(["a", "b"], {"i": ["", "1", "2"], "j": ["", "x"]}),
    op=st.sampled_from(["and", "or", "unless"]),
    on=st.booleans(),
    labels=st.sampled_from([(), ("i",), ("i", "j"), ("__name__",)]),
)
def test_set_operations_equal_a_walk_step_by_step(
    left: Matrix, right: Matrix, op: str, on: bool, labels: tuple[str, ...]
) -> None:
    """Elements, values, labels and order (left before right) are those of the plain walk."""
    matching = Matching(Cardinality.MANY_TO_MANY, on, labels)
    found = evaluate(ast.Binary(op, ZERO, ZERO, matching), left, right, Bench().env)
    for step in range(3):
        wanted = twin_step(op, matching, elements(left, step), elements(right, step))
        assert same_elements(elements(found, step), wanted)


def test_or_joins_the_points_of_one_series_from_both_sides() -> None:
    """The same labels on both sides are one series of the result."""
    left = matrix({"a": [1.0, None, None]})
    right = matrix({"a": [10.0, 20.0, None], "b": [None, None, 5.0]})
    node = ast.Binary("or", ZERO, ZERO, Matching(Cardinality.MANY_TO_MANY))
    assert points(evaluate(node, left, right, Bench().env)) == {
        "a": [1.0, 20.0, None],
        "b": [None, None, 5.0],
    }


def test_marks_of_late_name_removal_survive() -> None:
    """Set operators leave names as they are, marked ones included."""
    left, right = matrix({"a": [1.0] * 3}, marked=True), matrix({"b{i=1}": [1.0] * 3})
    node = ast.Binary("or", ZERO, ZERO, Matching(Cardinality.MANY_TO_MANY))
    found = evaluate(node, left, right, Bench().env)
    assert [element[2] for element in elements(found, 0)] == [True, False]

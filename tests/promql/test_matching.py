"""Arithmetic and comparisons between vectors, against an evaluator that goes pair by pair."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql import ast
from promql.ast import Cardinality, Matching
from promql.binary import evaluate
from promql.matrix import Matrix
from promql.notes import ExecutionError
from series.labels import METADATA_LABELS, Labels
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

OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "atan2": math.atan2,
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
}
EXPLICIT = (
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
)

UNIQUE = "multiple matches for labels: grouping labels must ensure unique matches"
SAME = "vector cannot contain metrics with the same labelset"


def binary(op: str, matching: Matching, return_bool: bool = False) -> ast.Binary:
    return ast.Binary(op, ZERO, ZERO, matching, return_bool)


def match_labels(labels: Labels, m: Matching) -> Labels:
    if m.on:
        return Labels(pair for pair in labels if pair[0] in m.labels)
    return labels.without(("__name__", *m.labels))


class Refused(Exception):
    """The twin's error."""


def twin_step(
    op: str,
    return_bool: bool,
    m: Matching,
    delayed: bool,
    left: list[Element],
    right: list[Element],
) -> list[Element]:
    """``left op right`` at one step, as Prometheus goes about it."""
    if not (left or right) or (
        not (left and right) and m.fill_left is None and m.fill_right is None
    ):
        return []
    swapped = m.cardinality is Cardinality.ONE_TO_MANY
    many, one = (right, left) if swapped else (left, right)
    partners: dict[Labels, Element] = {}
    for element in one:
        key = match_labels(element[0], m)
        if key in partners:
            a, b = sorted((str(partners[key][0]), str(element[0])))
            raise Refused(
                f"found duplicate series for the match group {key} on the "
                f"{'left' if swapped else 'right'} hand-side of the operation: [{a}, {b}];"
                "many-to-many matching not allowed: matching labels must be unique on one side"
            )
        partners[key] = element
    seen: dict[Labels, set[Labels]] = {}
    out: list[Element] = []

    def meet(a: tuple[Labels, float], b: tuple[Labels, float]) -> None:
        x, y = (b[1], a[1]) if swapped else (a[1], b[1])
        labels = a[0]
        if op in OPERATIONS or (return_bool and not delayed):
            labels = labels.without(METADATA_LABELS)
        if m.cardinality is Cardinality.ONE_TO_ONE:
            labels = Labels(pair for pair in labels if (pair[0] in m.labels) == m.on)
        else:
            rest = labels.without(m.include)
            labels = Labels([*rest, *((name, b[0].get(name)) for name in m.include)])
        taken = seen.setdefault(match_labels(a[0], m), set())
        if m.cardinality is Cardinality.ONE_TO_ONE and taken:
            raise Refused(EXPLICIT)
        if labels in taken:
            raise Refused(UNIQUE)
        taken.add(labels)
        if op in OPERATIONS:
            out.append((labels, OPERATIONS[op](x, y), False))
        elif return_bool:
            out.append((labels, float(COMPARISONS[op](x, y)), delayed))
        elif COMPARISONS[op](x, y):
            out.append((labels, x, False))

    for labels, value, _ in many:
        key = match_labels(labels, m)
        if key in partners:
            meet((labels, value), partners[key][:2])
        elif m.fill_right is not None:
            meet((labels, value), (key, m.fill_right))
    if m.fill_left is not None:
        for labels, value, _ in one:
            key = match_labels(labels, m)
            if key not in seen:
                meet((key, m.fill_left), (labels, value))
    if len({labels for labels, _, _ in out}) < len(out):
        raise Refused(SAME)
    return out


LABELS = {"i": ["", "1", "2"], "j": ["", "x", "y"], "__type__": ["", "counter"]}
MATCHINGS = st.builds(
    Matching,
    cardinality=st.sampled_from(
        [Cardinality.ONE_TO_ONE, Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY]
    ),
    on=st.booleans(),
    labels=st.sampled_from([(), ("i",), ("j",), ("i", "j"), ("__name__",)]),
    include=st.sampled_from([(), ("j",), ("k",), ("__name__",)]),
    fill_left=st.sampled_from([None, None, 7.0]),
    fill_right=st.sampled_from([None, None, -7.0]),
)


def with_include(m: Matching) -> bool:
    """Whether the parser would let it through."""
    if m.cardinality is Cardinality.ONE_TO_ONE:
        return not m.include
    return not (m.on and set(m.include) & set(m.labels))


@examples(150)
@given(
    left=matrices(["a", "b"], LABELS),
    right=matrices(["a", "c"], {**LABELS, "k": ["", "1"]}),
    op=st.sampled_from([*OPERATIONS, *COMPARISONS]),
    return_bool=st.booleans(),
    matching=MATCHINGS.filter(with_include),
    delayed=st.booleans(),
)
def test_vector_operations_equal_pair_by_pair_evaluation(
    left: Matrix, right: Matrix, op: str, return_bool: bool, matching: Matching, delayed: bool
) -> None:
    """Every step has the elements, or the first failing step the error, of the plain walk."""
    return_bool = return_bool and op in COMPARISONS
    bench = Bench(delayed=delayed)
    wanted: list[list[Element]] = []
    error = None
    for step in range(3):
        try:
            wanted.append(
                twin_step(
                    op, return_bool, matching, delayed, elements(left, step), elements(right, step)
                )
            )
        except Refused as refused:
            error = error or str(refused)
    node = binary(op, matching, return_bool)
    if error is not None:
        with pytest.raises(ExecutionError) as raised:
            evaluate(node, left, right, bench.env)
        assert str(raised.value) == error or SAME in (str(raised.value), error)
        return
    found = evaluate(node, left, right, bench.env)
    for step in range(3):
        assert same_elements(elements(found, step), wanted[step]), step


def test_series_that_replace_each_other_match_as_one() -> None:
    """Several rows of one match group are fine while their points do not meet."""
    left = matrix({"a{pod=1}": [1.0, None, None], "a{pod=2}": [None, 2.0, None]})
    right = matrix({"b{host=x}": [10.0, None, None], "b{host=y}": [None, 20.0, 30.0]})
    found = evaluate(binary("+", Matching(on=True)), left, right, Bench().env)
    assert points(found) == {"": [11.0, 22.0, None]}


def test_duplicates_where_the_other_side_is_empty_are_no_error() -> None:
    """Nothing is matched at a step where a side has no element."""
    left = matrix({"a": [1.0, None, 1.0]})
    right = matrix({"b{i=1}": [1.0, 1.0, 1.0], "b{i=2}": [None, 1.0, None]})
    found = evaluate(binary("+", Matching(on=True)), left, right, Bench().env)
    assert points(found) == {"": [2.0, None, 2.0]}


def test_the_error_of_duplicates_names_group_and_series() -> None:
    """The text is Prometheus' own, the two series in ascending order."""
    left, right = matrix({"a": [1.0] * 3}), matrix({"b{i=2}": [1.0] * 3, "b{i=1}": [1.0] * 3})
    with pytest.raises(ExecutionError) as raised:
        evaluate(binary("+", Matching(on=True)), left, right, Bench().env)
    assert str(raised.value) == (
        "found duplicate series for the match group {} on the right hand-side of the operation: "
        '[{__name__="b", i="1"}, {__name__="b", i="2"}];many-to-many matching not allowed: '
        "matching labels must be unique on one side"
    )


def test_group_right_takes_the_left_value_of_a_comparison() -> None:
    """The sides are swapped for matching only."""
    left, right = matrix({"a": [1.0, 5.0, 3.0]}), matrix({"b{i=1}": [2.0, 2.0, 2.0]})
    matching = Matching(cardinality=Cardinality.ONE_TO_MANY, on=True)
    found = evaluate(binary(">", matching), left, right, Bench().env)
    assert points(found) == {"b{i=1}": [None, 5.0, 3.0]}


def test_trimming_floats_gives_nothing_and_an_info() -> None:
    """``</`` and ``>/`` are for histograms."""
    bench = Bench()
    left = matrix({"a": [1.0, 2.0, 3.0]})
    found = evaluate(binary("</", Matching()), left, left, bench.env)
    assert points(found) == {}
    assert bench.infos == [
        "PromQL info: incompatible sample types encountered for binary operator "
        '"</": float </ float (1:1)'
    ]


def test_empty_operands_give_empty_results() -> None:
    """Vectors without series meet nothing."""
    empty, one = Matrix.empty(3), matrix({"a": [1.0, 2.0, 3.0]})
    for left, right in ((empty, one), (one, empty), (empty, empty)):
        assert points(evaluate(binary("+", Matching()), left, right, Bench().env)) == {}
    filled = Matching(fill_left=1.0, fill_right=2.0)
    assert points(evaluate(binary("+", filled), one, empty, Bench().env)) == {"": [3.0, 4.0, 5.0]}

"""The order that sort and its kin give to an instant answer."""

import math

from promql import ast
from promql.instant import CALLS
from promql.matrix import Matrix, Text, Value
from tests.promql.matrices import Bench, elements, matrix


def order(name: str, vector: Matrix, *labels: str, key: str = "i") -> list[str]:
    """The values of label *key* in the order of the answer."""
    bench = Bench(1, is_range=False)
    args: list[Value] = [vector, *(Text(label) for label in labels)]
    found = CALLS[name](args, ast.Call(name, ()), bench.env)
    assert bench.warnings == []
    return [labels.get(key) for labels, _, _ in elements(found, 0)]


def test_sort_puts_nan_last_both_ways() -> None:
    """Absent elements do not appear."""
    vector = matrix({"a{i=1}": [2.0], "a{i=2}": [math.nan], "a{i=3}": [-1.0], "a{i=4}": [None]}, 1)
    assert order("sort", vector) == ["3", "1", "2"]
    assert order("sort_desc", vector) == ["1", "3", "2"]


def test_labels_sort_naturally() -> None:
    """Runs of digits compare as numbers."""
    vector = matrix({f"a{{i={i}}}": [1.0] for i in ("b10", "b2", "a", "b", "10", "9")}, 1)
    natural = ["9", "10", "a", "b", "b2", "b10"]
    assert order("sort_by_label", vector, "i") == natural
    assert order("sort_by_label_desc", vector, "i") == natural[::-1]


def test_ties_go_by_further_labels_then_by_all() -> None:
    """A missing label sorts first."""
    rows = {"a{i=1,j=y,k=1}": [1.0], "a{i=2,j=x}": [1.0], "b{i=3,j=x}": [1.0], "b{i=4}": [1.0]}
    vector = matrix(rows, 1)
    assert order("sort_by_label", vector, "j") == ["4", "2", "3", "1"]
    assert order("sort_by_label", vector, "j", "i") == ["4", "2", "3", "1"]
    assert order("sort_by_label", vector, "nope") == ["1", "2", "3", "4"]
    assert order("sort_by_label_desc", vector, "nope") == ["4", "3", "2", "1"]


def test_a_range_query_is_only_warned() -> None:
    """The vector comes back as it was."""
    for name in ("sort", "sort_desc", "sort_by_label", "sort_by_label_desc"):
        bench = Bench()
        vector = matrix({"a": [1.0, 2.0, 3.0]})
        assert CALLS[name]([vector], ast.Call(name, ()), bench.env) is vector
        assert bench.warnings == [
            "PromQL warning: sort is ineffective for range queries since results are always "
            "ordered by labels (1:1)"
        ]

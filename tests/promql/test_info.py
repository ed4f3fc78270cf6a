"""info(): labels of info metrics on the series of their target."""

import numpy as np
import pytest

from promql import ast, info
from promql.info import info_selector
from promql.matrix import Matrix
from promql.notes import ExecutionError
from promql.parser import parse
from tests.promql.matrices import Bench, Points, elements, matrix, points


def call(query: str) -> ast.Call:
    node = parse(query)
    assert isinstance(node, ast.Call)
    return node


def enriched(
    query: str, base: Matrix, infos: dict[str, Points], times_ms: list[list[int]]
) -> Matrix:
    """The call over *base* and info series whose samples have the given times."""
    plain = matrix(infos)
    timed = Matrix(
        plain.frame, plain.values, plain.present, None, np.array(times_ms).reshape(len(infos), 3)
    )
    found = info.info([base, timed], call(query), Bench().env)
    assert isinstance(found, Matrix)
    return found


BASE = {"a{instance=i,job=j}": [1.0, 2.0, 3.0]}
TICKS = [0, 1000, 2000]


def test_labels_follow_the_newest_info_series() -> None:
    """A series has other labels at the steps where another info series is newer."""
    infos: dict[str, Points] = {
        "target_info{instance=i,job=j,v=old}": [1.0, 1.0, 1.0],
        "target_info{instance=i,job=j,v=new}": [None, None, 1.0],
        "target_info{instance=i,job=other,v=x}": [1.0, 1.0, 1.0],
    }
    found = enriched("info(a)", matrix(BASE), infos, [[0, 1000, 1000], TICKS, TICKS])
    assert points(found) == {
        "a{instance=i,job=j,v=old}": [1.0, 2.0, None],
        "a{instance=i,job=j,v=new}": [None, None, 3.0],
    }


def test_equally_new_info_series_are_an_error() -> None:
    """It names both and their time."""
    infos: dict[str, Points] = {
        "target_info{instance=i,job=j,v=1}": [None, 1.0, None],
        "target_info{instance=i,job=j,v=2}": [None, 1.0, None],
    }
    with pytest.raises(ExecutionError) as raised:
        enriched("info(a)", matrix(BASE), infos, [TICKS, TICKS])
    assert str(raised.value) == (
        'found duplicate series for info metric: existing {__name__="target_info", instance="i", '
        'job="j", v="1"} @ 1000, new {__name__="target_info", instance="i", job="j", v="2"} @ 1000'
    )


def test_info_metrics_that_disagree_are_an_error() -> None:
    """Two metrics of one target, two values of one label."""
    infos: dict[str, Points] = {
        "target_info{instance=i,job=j,v=1}": [1.0] * 3,
        "build_info{instance=i,job=j,v=2}": [1.0] * 3,
    }
    with pytest.raises(ExecutionError, match="conflicting label: v"):
        enriched('info(a, {__name__=~".+_info"})', matrix(BASE), infos, [TICKS, TICKS])


def test_only_the_named_labels_are_copied_and_none_replaced() -> None:
    """Labels of the base win; a series without partner goes where a label is demanded."""
    rows: dict[str, Points] = {
        "a{instance=i,job=j,own=1}": [1.0] * 3,
        "a{instance=k,job=j}": [2.0, 2.0, None],
    }
    infos: dict[str, Points] = {"target_info{instance=i,job=j,own=2,v=3,w=4}": [1.0, None, 1.0]}
    found = enriched('info(a, {own=~".+", v=~".*"})', matrix(rows), infos, [TICKS])
    assert points(found) == {"a{instance=i,job=j,own=1,v=3}": [1.0, None, 1.0]}
    found = enriched('info(a, {v=~".*"})', matrix(rows), infos, [TICKS])
    assert points(found) == {
        "a{instance=i,job=j,own=1,v=3}": [1.0, None, 1.0],
        "a{instance=i,job=j,own=1}": [None, 1.0, None],
        "a{instance=k,job=j}": [2.0, 2.0, None],
    }


def test_info_series_and_series_without_target_pass_through() -> None:
    """With the marks of late name removal."""
    rows: dict[str, Points] = {"target_info{instance=i}": [1.0] * 3, "a": [2.0] * 3}
    found = enriched('info(a, {v="1"})', matrix(rows, marked=True), {}, [])
    assert sorted((str(e[0]), e[2]) for e in elements(found, 0)) == [
        ('{__name__="a"}', True),
        ('{__name__="target_info", instance="i"}', True),
    ]


@pytest.mark.parametrize(
    ("query", "selector"),
    [
        ("info(a)", '{__name__="target_info"}'),
        ('info(a, {v="1"})', '{__name__="target_info",v="1"}'),
        ('info(a, {__name__="b_info"})', '{__name__="b_info"}'),
        ('info(a, {__name__!="b_info"})', '{__name__!="b_info",__name__=~".+_info"}'),
    ],
)
def test_the_selector_of_the_info_series(query: str, selector: str) -> None:
    """target_info unless another metric is named; anything in _info where only some are not."""
    found = info_selector(call(query))
    assert "{" + ",".join(str(matcher) for matcher in found.all_matchers) + "}" == selector


@pytest.mark.parametrize(
    ("query", "as_of"),
    [
        ("info(a offset 1m)", "a offset 1m"),
        ("info(sum by (job) (rate(a[5m] @ 60 offset 1m)))", "a @ 60 offset 1m"),
        ("info(last_over_time(a[5m:] @ 60))", "a @ 60"),
        ("info(last_over_time((a @ 30)[5m:] @ 60))", "a @ 30"),
        ("info(last_over_time((a offset 1m)[5m:] @ 60))", "a @ 60 offset 1m"),
        ("info(-(1 + a offset 1m))", "a offset 1m"),
    ],
)
def test_info_series_are_looked_up_when_the_base_is(query: str, as_of: str) -> None:
    """At the instant of the first selector, through the subqueries around it."""
    wanted = parse(as_of)
    assert isinstance(wanted, ast.VectorSelector)
    assert info_selector(call(query)).modifiers == wanted.modifiers


def test_offsets_of_nested_subqueries_add_up() -> None:
    """Outside ``@``."""
    found = info_selector(call("info(last_over_time((a offset 1m)[5m:] offset 2m))")).modifiers
    assert found.offset == ast.DurationBinary(
        "+", ast.DurationLiteral(120_000), ast.DurationLiteral(60_000)
    )

"""Which plans are step-local: every function and operator is either known to be so, or is not."""

import pytest

from promql.check import COMPARISONS, SET_OPERATORS
from promql.env import Options, QueryTimes
from promql.functions import AGGREGATORS, FUNCTIONS
from promql.operators import ROW_BY_ROW
from promql.parser import parse
from promql.plan import make_plan
from promql.rollup import ROLLUPS
from promql.step_local import (
    CELLS,
    CHOSEN,
    COUNTED,
    FILTERS,
    FOLDED,
    NOTHING_AHEAD_MS,
    OPERATORS,
    OTHERS,
    RANKED,
    SCALARS,
    VECTORS,
    WINDOWS,
    StepLocal,
    step_local,
)

MINUTE_MS = 60_000


def found(query: str, steps: int = 20, options: Options | None = None) -> StepLocal | None:
    options = options or Options()
    times = QueryTimes(1_000_000, 1_000_000 + (steps - 1) * 15_000, 15_000)
    return step_local(query, make_plan(parse(query), times, options), options)


def test_every_function_is_declared_once() -> None:
    """A new function must say whether steps that use it may be kept."""
    tables = (WINDOWS, CELLS, SCALARS, VECTORS, OTHERS)
    assert sorted(name for table in tables for name in table) == sorted(FUNCTIONS)


def test_every_aggregation_is_declared_once() -> None:
    """A new one must say whether the order of its rows counts."""
    tables = (FOLDED, COUNTED, CHOSEN, RANKED)
    assert sorted(name for table in tables for name in table) == sorted(AGGREGATORS)


def test_every_operator_is_declared() -> None:
    """Those that are not step-local are the power, the angle and what trims histograms."""
    others = {"^", "atan2", "</", ">/"}
    known = {"+", "-", "*", "/", "%", *COMPARISONS, *SET_OPERATORS} - others
    assert OPERATORS | FILTERS | {"or"} == known


def test_the_tables_name_what_they_say() -> None:
    """Windows are those of range vectors; functions of points are evaluated row by row."""
    assert not WINDOWS - set(ROLLUPS)
    assert CELLS <= ROW_BY_ROW


@pytest.mark.parametrize(
    ("query", "ahead_ms"),
    [
        ("x", 0),
        ("x offset 1m", -MINUTE_MS),
        ("x offset -1m", MINUTE_MS),
        ("x offset 1m + rate(x[5m] offset -2m)", 2 * MINUTE_MS),
        ("max_over_time(x[5m:1m])", 0),
        ("max_over_time(x[5m:1m] offset 3m)", -3 * MINUTE_MS),
        ("max_over_time((x offset -4m)[5m:1m] offset 3m)", MINUTE_MS),
        ("vector(1)", NOTHING_AHEAD_MS),
        ("time()", NOTHING_AHEAD_MS),
        ("1 + 1", NOTHING_AHEAD_MS),
    ],
)
def test_how_far_steps_look_ahead(query: str, ahead_ms: int) -> None:
    """No sample that is later than that after a step matters to it."""
    local = found(query)
    assert local is not None
    assert local.ahead_ms == ahead_ms


@pytest.mark.parametrize(
    "query",
    [
        "sum(x)",
        "sum by (a) (rate(x[5m]))",
        "topk(3, x)",
        "sum(topk(3, x))",
        "sum(-abs(x) * 2 > 1)",
        "count(x or y)",
        "sum(x and y)",
        "max_over_time(sum(x)[5m:1m])",
        "x * on (a) group_left () y",
        "count by (a) (sum by (a, b) (x))",
    ],
)
def test_no_order_of_groups_counts(query: str) -> None:
    """Rows of selectors keep their order whatever the range; of others the order does not count."""
    local = found(query)
    assert local is not None
    assert not local.orders


@pytest.mark.parametrize(
    "query",
    [
        "sum(sum by (a) (x))",
        "topk(3, sum by (a) (rate(x[5m])))",
        "max(-sum by (a) (x) > 0)",
        "sum(topk(3, sum by (a) (x)))",
        "histogram_quantile(0.9, sum by (le) (x))",
        "sum(max_over_time(sum by (a) (x)[5m:1m]))",
    ],
)
def test_the_order_of_groups_counts(query: str) -> None:
    """Sums and choices among groups depend on how these stand."""
    local = found(query)
    assert local is not None
    assert {node.op for _, node in local.orders} == {"sum"}
    assert all(leaf is local.leaves[0] for leaf, _ in local.orders)


@pytest.mark.parametrize(
    "query",
    [
        "x @ 5",
        "x @ end()",
        "sum(x @ start())",
        "sum_over_time(x[5m:1m] @ end())",
        "sum_over_time((x @ start())[5m:1m])",
        "rate(x[5m] anchored)",
        "rate(x[5m] smoothed)",
        "x smoothed",
        "rate(x[range() / 10])",
        "x offset range()",
        "range() * x",
        "start() * x",
        "info(x)",
        "sort(x)",
        "sort_by_label(x, 'a')",
        "exp(x)",
        "x ^ 2",
        "x atan2 y",
        "quantile_over_time(0.5, x[5m])",
        "histogram_count(x)",
        "sum(rate(x[5m])) / histogram_sum(x)",
        "sum(x or y)",
        "sum(x / y)",
        "sum(label_replace(x, 'b', '$1', 'a', '(.*)'))",
        "topk(3, x + on (a) y)",
        "sum(sum by (a) (sum by (a, b) (x)))",
        "sum(count_values('v', x))",
        "sum(quantile by (a) (0.5, x))",
        "sum(sum by (__name__) (x))",
        "topk(scalar(y), x)",
        "rate((x or y)[5m:1m])",
        "max_over_time(topk(3, x)[5m:1m])",
        "absent_over_time((x or y)[5m:1m])",
    ],
)
def test_what_is_not_known_to_be_step_local(query: str) -> None:
    """Such queries depend on the range, or nobody has shown that they do not."""
    assert found(query) is None


def test_a_single_step_is_another_matter() -> None:
    """It counts as an instant in some places, as does a subquery of a single instant."""
    assert found("x", steps=1) is None
    assert found("x", steps=2) is not None
    assert found("max_over_time(x[1h:1h])", steps=2) is None


@pytest.mark.parametrize(
    "options", [Options(delayed_name_removal=True), Options(use_start_timestamps=True)]
)
def test_features_that_look_further(options: Options) -> None:
    """Marks of names are kept for a whole range, and start times lie before windows."""
    assert found("x", options=options) is None


def test_the_word_range_keeps_a_query_out() -> None:
    """Only where it stands can the query's length come in, in whatever way it is written."""
    assert found("x{a='range'}") is None
    assert found("max_over_time(x[RANGE (): 1m])") is None
    assert found("range_total") is not None

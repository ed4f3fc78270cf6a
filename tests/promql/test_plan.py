"""Plans: which instants each part of a query is evaluated at."""

import pytest

from promql.duration_values import InvalidQuery
from promql.env import Options, QueryTimes
from promql.explain import explain
from promql.parser import parse
from promql.plan import (
    Aggregation,
    InstantCall,
    Negation,
    Operation,
    Plan,
    RangeCall,
    Repeat,
    Select,
    SelectRange,
    SubqueryRange,
    make_plan,
)
from series.grid import Grid

TIMES = QueryTimes(600_000, 1_200_000, 60_000)
QUERY = TIMES.grid


def planned(text: str, query: QueryTimes = TIMES) -> Plan:
    return make_plan(parse(text), query, Options())


def test_offset_moves_the_instants_of_a_leaf() -> None:
    """A selector looks at earlier instants, or at later ones where the offset is negative."""
    plan = planned("x offset 5m")
    assert isinstance(plan, Select)
    assert plan.grid == QUERY and plan.at == QUERY.shifted(-300_000)
    plan = planned("x offset -1m")
    assert isinstance(plan, Select) and plan.at == QUERY.shifted(60_000)


@pytest.mark.parametrize(
    ("modifier", "at_ms"),
    [("@ 30", 30_000), ("@ start()", 600_000), ("@ end()", 1_200_000), ("@ 30 offset 10s", 20_000)],
)
def test_pinned_selectors_are_evaluated_once(modifier: str, at_ms: int) -> None:
    """``@`` makes one instant of a selector, which is repeated; the offset counts from it."""
    plan = planned(f"x {modifier}")
    assert isinstance(plan, Repeat) and isinstance(plan.inner, Select)
    assert plan.grid == QUERY
    assert plan.inner.at == Grid.instant(at_ms)


@pytest.mark.parametrize(
    ("query", "valued"),
    [
        ("count(x)", False),
        ("group by (a) ((x offset 5m))", False),
        ("sum(x)", True),
        ("count(x > 1)", True),
        ("count(-x)", True),
        ("count_values('a', x)", True),
        ("histogram_count(group(x))", True),
    ],
)
def test_who_counts_asks_for_presence_alone(query: str, valued: bool) -> None:
    """Where nothing but a selector stands below; hints of resets need the samples."""
    selects: list[Select] = []
    waiting: list[object] = [planned(query)]
    while waiting:
        match waiting.pop():
            case Select() as select:
                selects.append(select)
            case Aggregation(inner=inner) | Negation(inner=inner):
                waiting.append(inner)
            case Operation(left=left):
                waiting.append(left)
            case InstantCall(arguments=arguments):
                waiting += arguments
    assert [select.valued for select in selects] == [valued]
    pinned = planned("count(x @ 30)")
    assert isinstance(pinned, Repeat) and isinstance(pinned.inner, Aggregation)
    assert isinstance(pinned.inner.inner, Select) and not pinned.inner.inner.valued


def test_the_largest_pinned_part_is_repeated() -> None:
    """One Repeat stands above all that does not change from step to step."""
    plan = planned("y + sum(rate(x[5m] @ 30)) * 2")
    assert isinstance(plan, Operation)
    assert isinstance(plan.left, Select)
    assert isinstance(plan.right, Repeat) and isinstance(plan.right.inner, Operation)
    assert isinstance(planned("-sum(x @ 30)"), Repeat)


def test_nothing_is_repeated_in_an_instant_query() -> None:
    """One step needs no repetition."""
    assert isinstance(planned("sum(x @ 30)", QueryTimes.instant(0)), Aggregation)


def test_functions_of_time_are_evaluated_at_every_step() -> None:
    """predict_linear and timestamp change with the step though their selector is pinned."""
    plan = planned("predict_linear(x[5m] @ 30, 60)")
    assert isinstance(plan, RangeCall) and plan.grid == QUERY
    assert plan.source.ends == Grid.instant(30_000)
    plan = planned("timestamp(x @ 30)")
    assert isinstance(plan, InstantCall) and isinstance(plan.arguments[0], Repeat)
    assert isinstance(plan.arguments[0].inner, Select) and plan.arguments[0].inner.timed


def test_subqueries_step_on_multiples_of_their_step() -> None:
    """Instants are absolute, the first lies after the left edge, the last at or before the end."""
    plan = planned("max_over_time(x[10m:90s])", QueryTimes.instant(1_000_000))
    assert isinstance(plan, RangeCall) and isinstance(plan.source, SubqueryRange)
    assert plan.source.inner.grid == Grid.between(450_000, 990_000, 90_000)
    plan = planned("max_over_time(x[2m:1m])", QueryTimes.instant(60_000))
    assert isinstance(plan, RangeCall) and isinstance(plan.source, SubqueryRange)
    assert plan.source.inner.grid == Grid.between(0, 60_000, 60_000)


def test_subqueries_without_a_step_take_the_default() -> None:
    """The default interval is the engine's option."""
    plan = planned("max_over_time(x[5m:] @ 600)", QueryTimes.instant(0))
    assert isinstance(plan, RangeCall) and isinstance(plan.source, SubqueryRange)
    assert plan.source.inner.grid == Grid.between(360_000, 600_000, 60_000)


def test_plus_and_parentheses_leave_no_trace() -> None:
    """Only a minus is an operation."""
    assert isinstance(planned("+(x)"), Select)
    assert isinstance(planned("-(x)"), Negation)


@pytest.mark.parametrize(
    ("text", "range_ms"),
    [
        ("x[5m * 2]", 600_000),
        ("x[step()]", 60_000),
        ("x[range() / 2]", 300_000),
        ("x[max_of(step(), 90s)]", 90_000),
        ("x[2 ^ 3]", 8_000),
        ("x[1.0015]", 1_001),
    ],
)
def test_duration_expressions_know_the_query(text: str, range_ms: int) -> None:
    """step() and range() are those of the query; fractions of a millisecond are cut off."""
    plan = planned(text)
    assert isinstance(plan, SelectRange) and plan.range_ms == range_ms


def test_durations_without_a_value_are_refused() -> None:
    """step() is 0 in an instant query, which is no range and no divisor."""
    with pytest.raises(InvalidQuery, match=r"^\d+:\d+: duration must be greater than 0$"):
        planned("x[step()]", QueryTimes.instant(0))
    with pytest.raises(InvalidQuery, match=r"^\d+:\d+: division by zero$"):
        planned("x[1m / step()]", QueryTimes.instant(0))


def test_explain_shows_where_instants_change() -> None:
    """One line a node, with the instants where they are not those of the line above."""
    assert explain(planned("sum by (job) (rate(x[5m] offset 1m)) + (y @ 30)")).splitlines() == [
        "operator +  at 600s ... 1200s step 1m",
        "  aggregate sum by (job)",
        "    call rate",
        '      windows of {__name__="x"} over 5m ending at 540s ... 1140s step 1m',
        "  repeat",
        '    select {__name__="y"} looking at 30s  at 600s',
    ]

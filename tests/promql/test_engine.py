"""The engine from text to answer: shapes, order, errors, limits, slabs."""

import time

import numpy as np
import pytest

from promql.answer import Answer, Raw
from promql.ast import ValueType
from promql.engine import Engine
from promql.env import Options, QueryTimes
from promql.errors import ParseError
from promql.matrix import Matrix, ScalarRow, Text
from promql.notes import ExecutionError
from series.batch import STALE_NAN
from series.grid import Grid
from series.labels import Labels
from series.ports import Context, QueryCanceled, QueryTimeout, TooManySamples
from tests.memory_source import MemorySource, Samples

TIMES = QueryTimes(600_000, 1_200_000, 60_000)


def metric(name: str, **labels: str) -> Labels:
    return Labels.of({"__name__": name, **labels})


def steady(rise: float, count: int = 100) -> Samples:
    return [(tick * 15_000, tick * rise) for tick in range(count)]


SOURCE = MemorySource(
    {
        metric("x_total", job=job, i=str(i)): steady(i + 1.0 + (job == "b") / 3)
        for job in "ab"
        for i in range(9)
    }
    | {metric("gauge", job="a"): [(0, 1.0), (900_000, 5.0)]}
    | {metric("stale"): [(590_000, 1.0), (800_000, STALE_NAN), (1_000_000, 2.0)]}
)


def instant(query: str, at_ms: int = 900_000, options: Options | None = None) -> Answer:
    return Engine(options or Options()).instant(SOURCE, query, at_ms, Context())


def ranged(query: str, times: QueryTimes = TIMES, options: Options | None = None) -> Answer:
    return Engine(options or Options()).range(SOURCE, query, times, Context())


def matrix(answer: Answer) -> Matrix:
    assert isinstance(answer.value, Matrix)
    answer.value.check()
    return answer.value


def test_an_instant_query_answers_each_type() -> None:
    """Scalars, strings, vectors and range vectors come as what they are."""
    scalar = instant("1 + 2")
    assert scalar.type is ValueType.SCALAR and isinstance(scalar.value, ScalarRow)
    assert scalar.value.values.tolist() == [3.0]
    text = instant("'hello'")
    assert text.type is ValueType.STRING and text.value == Text("hello")
    vector = instant("gauge")
    assert vector.type is ValueType.VECTOR and vector.grid == Grid.instant(900_000)
    assert matrix(vector).values.tolist() == [[5.0]]
    assert instant("gauge[1m]").type is ValueType.MATRIX


def test_a_range_vector_shows_the_samples_themselves() -> None:
    """Their own times, left-open, without stale markers and without series that have none."""
    answer = instant('{__name__=~"stale|gauge"}[10m]', at_ms=1_100_000)
    assert isinstance(answer.value, Raw)
    raw = answer.value
    raw.batch.check(rising=True)
    assert [labels.metric for labels in raw.frame.all_labels()] == ["gauge", "stale"]
    assert raw.batch.row_times_ms(0).tolist() == [900_000]
    assert raw.batch.row_times_ms(1).tolist() == [590_000, 1_000_000]
    assert raw.batch.row_values(1).tolist() == [1.0, 2.0]


def test_a_subquery_shows_its_points() -> None:
    """An instant subquery gives one sample for each of its steps."""
    answer = instant("sum(x_total)[2m:30s]")
    assert isinstance(answer.value, Raw)
    assert answer.value.batch.row_times_ms(0).tolist() == [810_000, 840_000, 870_000, 900_000]


def test_range_queries_sort_by_labels_and_drop_empty_rows() -> None:
    """Rows without a point are left out; a scalar is one series without labels."""
    rows = matrix(ranged("x_total")).frame.all_labels()
    assert rows == sorted(rows) and len(rows) == 18
    assert matrix(ranged("x_total > 1e9")).series_count == 0
    scalar = ranged("1")
    assert scalar.type is ValueType.MATRIX
    assert matrix(scalar).frame.all_labels() == [Labels()]


@pytest.mark.parametrize(("query", "kind"), [("gauge[5m]", "range vector"), ("'a'", "string")])
def test_range_queries_refuse_other_types(query: str, kind: str) -> None:
    """The error is a kind of ParseError in Prometheus' words, without a position."""
    with pytest.raises(ParseError) as error:
        ranged(query)
    assert str(error.value) == (
        f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector'
    )


def test_lookback_and_stale_markers_end_a_series() -> None:
    """A sample is seen for five minutes, or until a stale marker."""
    present = matrix(ranged("stale", QueryTimes(580_000, 1_320_000, 20_000))).present[0]
    times = np.arange(580_000, 1_320_001, 20_000)[present]
    assert times[0] == 600_000 and times[-1] == 1_280_000
    assert not ((times >= 800_000) & (times < 1_000_000)).any()


def test_only_a_bare_selector_has_times_of_its_own() -> None:
    """timestamp() sees them through parentheses, but not through a unary plus."""
    assert matrix(instant("timestamp((gauge))", 960_000)).values.tolist() == [[900.0]]
    assert matrix(instant("timestamp(+gauge)", 960_000)).values.tolist() == [[960.0]]
    assert matrix(instant("timestamp(+gauge @ 930)", 960_000)).values.tolist() == [[960.0]]


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("end()", 1_210.0),
        ("range()", 610.0),
        ("timestamp(x_total{job='a',i='0'} @ end())", 1_200.0),
        ("max_over_time(timestamp(x_total{job='a',i='0'})[range():15s] @ end())", 1_200.0),
        ("max_over_time(x_total{job='a',i='0'}[range()] @ end())", 80.0),
    ],
)
def test_a_query_ends_when_the_asker_says(query: str, value: float) -> None:
    """The end need not be a step."""
    found = matrix(ranged(query, QueryTimes(600_000, 1_210_000, 60_000)))
    assert found.values.tolist() == [[value] * 11]


def test_a_range_query_of_one_step_has_a_step() -> None:
    """step() is what the asker gave, range() is 0; both are 0 in an instant query."""
    once = QueryTimes(900_000, 900_000, 60_000)
    assert matrix(ranged("step() + range()", once)).values.tolist() == [[60.0]]
    assert matrix(ranged("count_over_time(x_total{job='a',i='0'}[step()])", once)).values == [[4.0]]
    assert instant("step() + range()").value == ScalarRow(np.array([0.0]))


def test_pinned_parts_repeat_on_every_step() -> None:
    """``@`` gives one value for all steps, also below time functions."""
    assert (matrix(ranged("gauge @ 900")).values == 5.0).all()
    assert matrix(ranged("gauge @ 900")).present.all()
    stamps = matrix(ranged("timestamp(gauge @ 1000)"))
    assert (stamps.values == 900.0).all() and stamps.present.all()
    ahead = matrix(ranged("predict_linear(x_total{i='0',job='a'}[5m] @ 900, 0)"))
    np.testing.assert_allclose(ahead.values[0], TIMES.grid.times_ms() / 15_000)


@pytest.mark.parametrize(
    "query",
    [
        "x_total",
        "rate(x_total[5m])",
        "sum by (job) (rate(x_total[5m]))",
        "avg without (i) (abs(-x_total * 2))",
        "stddev by (job) (x_total) + on (job) max by (job) (last_over_time(x_total[1m]))",
        "sum(increase(x_total[5m]) > 100)",
        "max_over_time(sum by (job) (x_total)[5m:30s])",
        "topk by (job) (3, x_total)",
        "count by (__name__) (x_total)",
        "sum({__name__=~'x_total|gauge'})",
        "absent_over_time(nothing{a='b'}[5m])",
        "count_values('v', x_total)",
        "rate(x_total[5m] @ 900)",
    ],
)
@pytest.mark.parametrize("delayed", [False, True])
def test_answers_do_not_depend_on_slabs(query: str, delayed: bool) -> None:
    """Slabs of 1, 7 and 4096 rows give the same labels, presence and bits."""
    answers = [
        matrix(
            Engine(Options(delayed_name_removal=delayed), slab_rows=rows).range(
                SOURCE, query, TIMES, Context()
            )
        )
        for rows in (4096, 7, 1)
    ]
    whole = answers[0]
    assert whole.series_count
    for cut in answers[1:]:
        assert cut.frame.all_labels() == whole.frame.all_labels()
        assert (cut.present == whole.present).all()
        assert cut.values[cut.present].tobytes() == whole.values[whole.present].tobytes()


@pytest.mark.parametrize(
    "query", ["abs(m)", "-m", "m + 1", "sum(abs(m))", "rate(m[5m])", "sum(rate(m[5m]))"]
)
def test_series_that_lose_only_their_names_collide(query: str) -> None:
    """Equal label sets in one vector are an error, also inside an aggregation."""
    source = MemorySource({metric("a_total"): steady(1), metric("b_total"): steady(2)})
    text = query.replace("m", '{__name__=~"a_total|b_total"}', 1)
    if query.startswith("sum"):
        text = query.replace("(m", '({__name__=~"a_total|b_total"}')
    with pytest.raises(
        ExecutionError, match="vector cannot contain metrics with the same labelset"
    ):
        Engine().range(source, text, TIMES, Context())


def test_series_with_equal_labels_and_no_common_step_merge() -> None:
    """Instant functions merge such series, functions of ranges do not."""
    source = MemorySource(
        {metric("a_total"): [(600_000, 1.0)], metric("b_total"): [(1_200_000, 2.0)]}
    )
    merged = Engine().range(source, 'abs({__name__=~".+_total"})', TIMES, Context())
    assert matrix(merged).series_count == 1
    assert matrix(merged).present.sum() == 6
    with pytest.raises(ExecutionError, match="same labelset"):
        Engine().range(source, 'count_over_time({__name__=~".+_total"}[1m])', TIMES, Context())


def test_names_go_away_late_if_asked() -> None:
    """With delayed removal a name is there to group by and gone in the answer."""
    late = Options(delayed_name_removal=True)
    grouped = matrix(instant("sum by (__name__) (rate(x_total[5m]))", options=late))
    assert grouped.frame.all_labels() == [Labels()]
    kept = instant('label_replace(rate(x_total{i="1"}[5m]), "was", "$1", "__name__", "(.*)")')
    assert set(matrix(kept).frame.texts("was")) == {""}
    kept = instant(
        'label_replace(rate(x_total{i="1"}[5m]), "was", "$1", "__name__", "(.*)")', options=late
    )
    assert set(matrix(kept).frame.texts("was")) == {"x_total"}
    assert set(matrix(kept).frame.texts("__name__")) == {""}


def test_rates_of_gauges_earn_an_info() -> None:
    """One info a metric name, at the place of the range selector; none for counters."""
    assert instant("rate(x_total[5m])").infos == []
    info = instant("increase(gauge[20m])", at_ms=1_000_000).infos
    assert info == [
        "PromQL info: metric might not be a counter, name does not end in "
        '_total/_sum/_count/_bucket: "gauge" (1:10)'
    ]


def test_bad_quantiles_over_time_earn_a_warning_at_the_parameter() -> None:
    """The place is that of the quantile."""
    assert instant("quantile_over_time(2, x_total[5m])").warnings == [
        "PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)"
    ]


def test_points_in_memory_are_limited() -> None:
    """The budget counts the points of the vectors that are held."""
    Engine().range(SOURCE, "x_total", TIMES, Context(max_samples=18 * 11))
    with pytest.raises(TooManySamples):
        Engine().range(SOURCE, "x_total", TIMES, Context(max_samples=18 * 11 - 1))
    with pytest.raises(TooManySamples):
        Engine().range(SOURCE, "sum(x_total)", TIMES, Context(max_samples=18 * 11 - 1))
    with pytest.raises(TooManySamples):
        Engine().instant(SOURCE, "x_total[5m]", 900_000, Context(max_samples=18 * 20 - 1))


@pytest.mark.parametrize(
    "inner",
    [
        "x_total",
        "gauge @ 900",
        "x_total + on (job, i) x_total @ 900",
        "topk(1, x_total)",
        "rate(x_total[5m] @ 900)",
        "predict_linear(x_total[5m] @ 900, 1)",
        "quantile(2, x_total)",
        "count_values('v', x_total)",
        "absent(x_total)",
        "limit_ratio(0.5, x_total)",
        "vector(1)",
    ],
)
def test_subqueries_without_a_step_in_their_range_are_empty(inner: str) -> None:
    """A range shorter than the step may hold no multiple of it."""
    query = f"count_over_time(({inner})[1ms:7m])"
    assert matrix(instant(query)).series_count == 0
    assert matrix(ranged(query)).series_count <= 18


def test_giant_subqueries_are_refused_before_they_start() -> None:
    """A subquery of more steps than the budget has samples cannot be answered."""
    with pytest.raises(TooManySamples):
        instant("sum_over_time(vector(1)[100y:1ms])")


def test_queries_stop_when_they_must() -> None:
    """A deadline and a cancel are seen before the next slab."""
    with pytest.raises(QueryTimeout):
        Engine().range(SOURCE, "x_total", TIMES, Context(deadline=time.monotonic() - 1))
    cancelled = Context()
    cancelled.cancelled.set()
    with pytest.raises(QueryCanceled):
        Engine().range(SOURCE, "x_total", TIMES, cancelled)


def test_empty_results_are_no_errors() -> None:
    """A metric that nobody has gives empty vectors all the way up."""
    for query in ("nothing", "rate(nothing[5m])", "sum(nothing)", "topk(3, nothing)", "-nothing"):
        assert matrix(ranged(query)).series_count == 0
        assert matrix(instant(query)).series_count == 0
    raw = instant("nothing[5m]").value
    assert isinstance(raw, Raw) and raw.batch.series_count == 0

"""Straight answers are those of a run, to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.answer import Answer
from promql.engine import Engine
from promql.env import Options, QueryTimes
from promql.matrix import Matrix
from promql.notes import ExecutionError
from promql.rollup import ROLLUPS
from promql.straight import straight
from series.batch import STALE_NAN
from series.histogram import Histogram
from series.labels import Labels
from series.matcher import Matcher
from series.ports import Context, Hints, TooManySamples
from tests.examples import examples
from tests.memory_source import MemorySelection, MemorySource
from tests.promql.test_native_selectors import SOURCE as NATIVE_SOURCE

_BY_RUNS = 1_000_000
"""Slabs of a size that was chosen are made by a Run alone."""

_NAMES = ("x_total", "gauge")
_OTHERS = {"quantile_over_time", "predict_linear", "double_exponential_smoothing"}
"""Functions of more than a range vector."""
_CALLS = sorted(ROLLUPS.keys() - _OTHERS)
_OFFSETS = ("", " offset 7s", " offset -7s", " offset (7s + 1s)", " @ 60", " @ end()")
_QUERIES = st.one_of(
    st.builds("{}{}".format, st.sampled_from(_NAMES), st.sampled_from(_OFFSETS)),
    st.builds(
        "{}({}[{}]{})".format,
        st.one_of(st.sampled_from(["rate", "increase"]), st.sampled_from(_CALLS)),
        st.sampled_from(_NAMES),
        st.sampled_from(("1s", "25s", "1m", "10s + 5s")),
        st.sampled_from(_OFFSETS),
    ),
)
_VALUES = st.sampled_from([STALE_NAN, float("nan"), 0.0, -0.0, 1.0, 2.5, 7.0, 1e300, float("inf")])
_SECONDS = st.integers(0, 40)
_SAMPLES = st.dictionaries(_SECONDS, _VALUES, min_size=1, max_size=40).map(
    lambda found: [(time_s * 1000, value) for time_s, value in sorted(found.items())]
)
_SERIES = st.fixed_dictionaries(
    {
        Labels({"__name__": "x_total", "job": "a"}.items()): _SAMPLES,
        Labels({"__name__": "gauge", "zone": "é"}.items()): _SAMPLES,
    },
    optional={Labels({"__name__": "gauge", "zone": "ö"}.items()): _SAMPLES},
)
_TIMES = st.one_of(
    st.builds(QueryTimes.instant, _SECONDS.map(lambda time_s: time_s * 1000)),
    st.builds(QueryTimes, st.integers(0, 40_000), st.integers(40_000, 70_000), st.just(1_000)),
)


def _asked(engine: Engine, source: MemorySource, query: str, times: QueryTimes) -> Answer | str:
    """The answer, or what is wrong with the query."""
    try:
        if times.is_range:
            return engine.range(source, query, times, Context())
        return engine.instant(source, query, times.start_ms, Context())
    except ExecutionError as error:
        return str(error)


def _told(answer: Answer | str) -> object:
    """All that an answer says, in which NaNs of the same bits are the same."""
    if isinstance(answer, str):
        return answer
    assert isinstance(answer.value, Matrix)
    answer.value.check()
    bits = np.where(answer.value.present, answer.value.values, 0.0).view(np.uint64)
    return (
        answer.type,
        answer.grid,
        answer.warnings,
        answer.infos,
        answer.value.frame.as_dicts(),
        answer.value.present.tolist(),
        bits.tolist(),
        answer.value.histogram_ids is not None,
    )


@examples(300)
@given(_SERIES, _QUERIES, _TIMES, st.sampled_from([1_000, 5_000, 300_000]))
def test_straight_answers_are_those_of_a_run(
    series: dict[Labels, list[tuple[int, float]]], query: str, times: QueryTimes, lookback_ms: int
) -> None:
    """Whatever the query, the samples, the times and the lookback are, notes among it."""
    options, source = Options(lookback_ms=lookback_ms), MemorySource(series)
    by_run = _asked(Engine(options, _BY_RUNS), source, query, times)
    assert _told(_asked(Engine(options), source, query, times)) == _told(by_run)


@pytest.mark.parametrize("query", ["h", "rate(h[1m])", "last_over_time(h[1m])"])
def test_histograms_are_left_to_a_run(query: str) -> None:
    """A series of native histograms is answered as ever."""
    for times in (QueryTimes.instant(60_000), QueryTimes(0, 60_000, 10_000)):
        by_run = _asked(Engine(slab_rows=_BY_RUNS), NATIVE_SOURCE, query, times)
        assert _told(_asked(Engine(), NATIVE_SOURCE, query, times)) == _told(by_run)


@pytest.mark.parametrize(
    "query", ["x", "x offset 5m", "rate(x[5m])", 'last_over_time({a=~"b|c"}[5m] offset -1h)']
)
def test_these_are_straight(query: str) -> None:
    """One selector with a fixed offset, or a function of one over a fixed range."""
    assert straight(query, Options(), Context()) is not None


@pytest.mark.parametrize(
    "query",
    [
        *("1", "x[5m]", "-x", "x + x", "sum(x)", "x @ 5", "x offset step()", "timestamp(x)"),
        *("rate(x[step()])", "rate(x[5m:1m])", "rate(x[5m] anchored)", "absent_over_time(x[5m])"),
        *("quantile_over_time(0.5, x[5m])", "rate(x[5m] @ end())", "(x)"),
    ],
)
def test_these_are_run(query: str) -> None:
    """Whatever else there is in a query, and what depends on the query's times."""
    assert straight(query, Options(), Context()) is None


def test_what_is_counted_by_step_is_run() -> None:
    """Samples by step, late removal of names and start times are what a Run knows of."""
    counting = Context()
    counting.step_samples = {}
    assert straight("x", Options(), counting) is None
    assert straight("x", Options(delayed_name_removal=True), Context()) is None
    assert straight("x", Options(use_start_timestamps=True), Context()) is None


@pytest.mark.parametrize("slab_rows", [None, _BY_RUNS])
def test_the_budget_holds(slab_rows: int | None) -> None:
    """More steps or more samples in a window than the query may hold are refused, by both ways."""
    samples = [(1_000 * second, 1.0) for second in range(100)]
    source = MemorySource({Labels({"__name__": "x"}.items()): samples})
    engine = Engine(slab_rows=slab_rows)
    times = QueryTimes(0, 99_000, 1_000)
    for query, most in (("x", 99), ("rate(x[50s])", 99), ("count_over_time(x[200s])", 99)):
        with pytest.raises(TooManySamples):
            engine.range(source, query, times, Context(max_samples=most))
        engine.range(source, query, times, Context(max_samples=100))
    with pytest.raises(TooManySamples):
        engine.instant(source, "rate(x[50s])", 99_000, Context(max_samples=49))
    engine.instant(source, "rate(x[50s])", 99_000, Context(max_samples=50))


def test_what_was_found_on_the_way_is_not_looked_for_again() -> None:
    """A selector of several series is resolved once, though the query is run after all."""
    labels = [Labels({"__name__": "x", "n": f"{n}"}.items()) for n in range(3)]
    source = _Counting({one: [(1_000, 1.0)] for one in labels})
    answer = Engine().instant(source, "x", 1_000, Context())
    assert isinstance(answer.value, Matrix) and answer.value.series_count == 3
    assert source.resolved == 1


class _Counting(MemorySource):
    """Counts how often it is asked for series."""

    resolved = 0

    def resolve(self, matchers: tuple[Matcher, ...], hints: Hints) -> MemorySelection:
        type(self).resolved += 1
        return super().resolve(matchers, hints)


def test_native_source_has_histograms() -> None:
    """Else nothing would have been left to a run above."""
    assert any(isinstance(v, Histogram) for row in NATIVE_SOURCE.series.values() for _, v in row)

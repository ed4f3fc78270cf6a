"""Long work goes in slices: answers do not depend on them, and the context is asked in between."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql import buckets, rollup, slices
from promql.ast import Edge
from promql.edges import edge_rollup
from promql.engine import Engine
from promql.env import QueryTimes
from promql.notes import ExecutionError
from promql.rollup import CALL_NS, ROLLUPS
from series.histogram import Histogram
from series.labels import Labels
from series.ports import Context, QueryCanceled, TooManySamples
from tests.examples import examples
from tests.memory_source import MemorySource
from tests.promql.test_engine import SOURCE, TIMES, matrix

PARAMETERS = {
    "quantile_over_time": "0.3, {}",
    "predict_linear": "{}, 60",
    "double_exponential_smoothing": "{}, 0.5, 0.25",
}
WINDOWED = [
    f"{name}({PARAMETERS.get(name, '{}').format('x_total[5m]')})"
    for name in ROLLUPS
    if name != "absent_over_time"
]


class Asked(Context):
    """Counts how often it is asked; cancelled at the given time."""

    def __init__(self, cancel_at: int = 1 << 60) -> None:
        super().__init__()
        self.times, self.cancel_at = 0, cancel_at

    def check(self) -> None:
        self.times += 1
        if self.times >= self.cancel_at:
            self.cancelled.set()
        super().check()


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of one step or row, wherever work is cut."""
    monkeypatch.setattr(slices, "CELLS", 1)
    monkeypatch.setattr(buckets, "_CELLS_PER_CALL", 1)
    monkeypatch.setattr(rollup, "CALL_NS", 1)


OTHERS = [
    "x_total + x_total",
    "x_total > bool on (job) group_left gauge",
    "x_total == x_total",
    "x_total % 7 >= 3",
    "x_total + on (i, job) fill (0) (x_total > 20)",
    "x_total or on (i) gauge",
    "x_total and on (job) (x_total > 20)",
    "x_total unless on (i) (x_total > 100)",
    "topk(3, x_total)",
    "bottomk by (job) (2, x_total)",
    "quantile by (i) (0.3, x_total)",
    "count_values by (job) ('v', floor(x_total / 3))",
    "limit_ratio(0.5, x_total)",
    "histogram_quantile(0.9, label_replace(x_total, 'le', '$1', 'i', '(.*)') or vector(1))",
    "increase(x_total[5m] anchored)",
    "rate(x_total[5m] smoothed)",
    "max_over_time(stddev_over_time(x_total[3m])[5m:1m])",
]


@pytest.mark.parametrize("query", [*WINDOWED, *OTHERS])
def test_answers_do_not_depend_on_slices(query: str, request: pytest.FixtureRequest) -> None:
    """The thinnest slices give the labels, presence and bits of the thickest, and ask more."""
    thick, thin = Asked(), Asked()
    whole = matrix(Engine().range(SOURCE, query, TIMES, thick))
    request.getfixturevalue("thin")
    cut = matrix(Engine().range(SOURCE, query, TIMES, thin))
    assert whole.series_count
    assert cut.frame.all_labels() == whole.frame.all_labels()
    assert (cut.present == whole.present).all()
    assert cut.values[cut.present].tobytes() == whole.values[whole.present].tobytes()
    name = query.partition("(")[0]
    if query in OTHERS or ROLLUPS[name].visit_ns or ROLLUPS[name].window_ns:
        assert thin.times > thick.times


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("query", ["sum_over_time(x_total[5m])", "topk(3, x_total)"])
def test_work_stops_between_slices(query: str) -> None:
    """A query cancelled while it works on one slab does not finish it."""
    asked = Asked()
    Engine().range(SOURCE, query, TIMES, asked)
    with pytest.raises(QueryCanceled):
        Engine().range(SOURCE, query, TIMES, Asked(cancel_at=asked.times - 1))


def test_texts_of_histograms_are_written_one_by_one() -> None:
    """``count_values``, which writes every histogram as a text, can be stopped at each."""
    samples = [(n * 60_000, Histogram(count=float(n), sum=1.0)) for n in range(20)]
    source = MemorySource({Labels.of({"__name__": "h"}): samples})
    times, query = QueryTimes(0, 19 * 60_000, 60_000), "count_values('v', h)"
    asked = Asked()
    assert matrix(Engine().range(source, query, times, asked)).series_count == 20
    assert asked.times > 20
    with pytest.raises(QueryCanceled):
        Engine().range(source, query, times, Asked(cancel_at=asked.times - 10))


@examples(100)
@given(st.lists(st.integers(0, CALL_NS * 3), max_size=8))
def test_runs_of_steps_are_cheap_or_single(costs_ns: list[int]) -> None:
    """Every step is in one run, in order; a run of several costs no more than twice the aim."""
    runs = list(rollup.step_slices(np.array(costs_ns, dtype=np.int64)))
    assert [step for run in runs for step in range(run.start, run.stop)] == [*range(len(costs_ns))]
    for run in runs:
        assert run.stop - run.start <= 1 or sum(costs_ns[run]) <= 2 * CALL_NS + max(costs_ns[run])


def test_functions_of_edges_are_cut_too() -> None:
    """Those of anchored and smoothed windows look at all their samples as well."""
    for edge in ("anchored", "smoothed"):
        found = Engine().range(SOURCE, f"rate(x_total[5m] {edge})", TIMES, Context())
        assert matrix(found).series_count
    assert edge_rollup("rate", Edge.SMOOTHED).visit_ns > 0


def product(size: int) -> MemorySource:
    """*size* series of each of two metrics: ``a`` always there, ``b`` one after the other."""
    always = [(n * 240_000, 1.0) for n in range(size)]
    series = {Labels.of({"__name__": "a", "i": str(n)}): always for n in range(size)}
    return MemorySource(
        series
        | {
            Labels.of({"__name__": "b", "k": str(n)}): [(n * 600_000, float(n))]
            for n in range(size)
        }
    )


def test_products_of_series_are_refused_early() -> None:
    """Pairs that would exhaust the memory are not made, whether they are too many or ambiguous."""
    source, query = product(40), "a * on () group_left (k) b"
    times = QueryTimes(0, 9_000_000, 600_000)
    found = Engine().range(source, query, times, Context(max_samples=40 * 16 * 16))
    assert matrix(found).series_count == 40 * 16
    with pytest.raises(TooManySamples):
        Engine().range(source, query, times, Context(max_samples=40 * 16 * 16 - 1))
    ambiguous = QueryTimes(0, 9_000_000, 100_000)
    widely = "a * on () group_left (k) last_over_time(b[1h])"
    with pytest.raises(ExecutionError, match="found duplicate series for the match group"):
        Engine().range(source, widely, ambiguous, Context(max_samples=10_000))


def test_counted_values_are_limited() -> None:
    """Every distinct value is a series, and series of no points cost memory too."""
    source, query = product(100), "count_values('v', b)"
    times = QueryTimes(0, 6_000_000, 600_000)
    with pytest.raises(TooManySamples):
        Engine().range(source, query, times, Context(max_samples=29))
    found = Engine().range(source, query, times, Context(max_samples=30))
    assert matrix(found).series_count == 11

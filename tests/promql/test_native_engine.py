"""Native histograms through the engine where names go away at once, and mixed with classic ones."""

from promql.engine import Engine
from promql.env import Options, QueryTimes
from series.batch import STALE_NAN
from series.histogram import Histogram
from series.labels import Labels
from series.ports import Context
from tests.memory_source import MemorySource
from tests.promqltest_compare import Points, answer_rows
from tests.promqltest_histograms import parse_histogram

ONE = parse_histogram("{{count:2 sum:3 buckets:[1 1]}}")
NAN = parse_histogram("{{count:4 sum:NaN buckets:[3]}}")


def labels(name: str, **others: str) -> Labels:
    return Labels.of({"__name__": name, **others})


SOURCE = MemorySource(
    {
        labels("h", i="1", __type__="histogram"): [(0, ONE), (60_000, ONE)],
        labels("odd"): [(0, NAN)],
        labels("both"): [(0, ONE), (60_000, ONE)],
        labels("both", le="1"): [(60_000, 1.0)],
        labels("both", le="+Inf"): [(60_000, 2.0)],
        labels("early"): [(0, 1.0), (60_000, STALE_NAN)],
        labels("late"): [(60_000, ONE)],
    }
)


def ask(query: str, *, delayed: bool = False) -> tuple[dict[Labels, Points], list[str]]:
    engine = Engine(Options(delayed_name_removal=delayed))
    answer = engine.range(SOURCE, query, QueryTimes(0, 60_000, 60_000), Context())
    return dict(answer_rows(answer)), [*answer.warnings, *answer.infos]


def test_simple_functions_drop_the_metric_name_only() -> None:
    """Of the name labels, the type stays; other functions drop both."""
    rows, _ = ask("histogram_count(h)")
    assert rows == {Labels.of({"i": "1", "__type__": "histogram"}): {0: 2, 60_000: 2}}
    rows, _ = ask("histogram_quantile(1, h)")
    assert rows == {Labels.of({"i": "1"}): {0: 2, 60_000: 2}}


def test_notes_name_the_metric_only_where_it_is_still_there() -> None:
    """The same note with and without late removal of names."""
    text = "PromQL info: input to histogram_quantile has NaN observations, result is skewed higher"
    assert ask("histogram_quantile(0.5, odd)")[1] == [f"{text} (1:25)"]
    named = [f'{text} for metric name "odd" (1:25)']
    assert ask("histogram_quantile(0.5, odd)", delayed=True)[1] == named


def test_classic_and_native_histograms_of_the_same_labels_exclude_each_other() -> None:
    """Only at the steps where both are; others are answered."""
    rows, notes = ask("histogram_quantile(1, both)")
    assert rows == {Labels(): {0: 2}}
    assert notes == [
        "PromQL warning: vector contains a mix of classic and native histograms (1:23)"
    ]


def test_series_that_become_one_keep_both_kinds_of_points() -> None:
    """Rows that come to carry equal labels are one row, each with its own steps."""
    ((labels_, points),) = ask('-{__name__=~"early|late"}')[0].items()
    assert labels_ == Labels() and points[0] == -1
    late = points[60_000]
    assert isinstance(late, Histogram) and late.count == -2

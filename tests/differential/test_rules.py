"""Each known difference between the reference's 2.42 and 3.14, which we answer by."""

import math

import pytest

from series.labels import Labels
from series.ports import Source
from tests.differential.compare import Verdict, judge
from tests.differential.conftest import Pair
from tests.differential.data import EPOCH_MS, Data
from tests.differential.generate import Question

pytestmark = pytest.mark.server

T = EPOCH_MS
"""Milliseconds of the first sample, a whole minute after which another one comes."""

ROWS = {
    Labels.of({"__name__": "m", "x": "1"}): [(T + 60_000 * n, 1.5 * n) for n in range(8)],
    Labels.of({"__name__": "m", "x": "2"}): [(T + 60_000 * n, 3.0) for n in range(8)],
    Labels.of({"__name__": "lines", "x": "a\nb"}): [(T, 1.0)],
    Labels.of({"__name__": "infinite"}): [(T, math.inf)],
    Labels.of({"__name__": "jump"}): [(T, 1.0), (T + 60_000, 2.0), (T + 120_000, math.inf)],
    Labels.of({"__name__": "huge"}): [(T + 30_000 * n, (-1) ** n * 1e200) for n in range(4)],
    Labels.of({"__name__": "one", "y": "1"}): [(T, 0.0)],
    Labels.of({"__name__": "young_total"}): [(T + 40_000, 8.0), (T + 50_000, 18.0)],
}
DATA = Data(T, False, dict(sorted(ROWS.items())))


@pytest.fixture(scope="module")
def source(pair: Pair) -> Source:
    """Both sides hold the rows; the value is ours."""
    pair.reference.load(DATA)
    return pair.ours.load(DATA)


def values(
    pair: Pair, source: Source, text: str, at_ms: int, until_ms: int = 0
) -> tuple[list[list[float]], list[list[float]], list[list[float]]]:
    """The points of every series: ours, the reference's as translated, and as it stands."""
    step_ms = 60_000 if until_ms else 0
    question = Question(text, at_ms, until_ms or at_ms, step_ms)
    replies = (
        pair.ours.ask(source, question),
        pair.reference.ask(question),
        pair.reference.ask_as_it_stands(question),
    )
    found = [[list(points.values()) for _, points in reply.rows] for reply in replies]
    return found[0], found[1], found[2]


def test_windows_are_left_open(pair: Pair, source: Source) -> None:
    """A sample on the left edge of a window belonged to it, and does no longer."""
    ours, translated, as_it_stands = values(
        pair, source, 'count_over_time(m{x="1"}[2m])', T + 240_000
    )
    assert ours == translated == [[2.0]]
    assert as_it_stands == [[3.0]]


def test_subqueries_are_left_open(pair: Pair, source: Source) -> None:
    """The same of an instant of a subquery."""
    text = 'count_over_time((m{x="1"})[2m:1m])'
    ours, translated, as_it_stands = values(pair, source, text, (T // 60_000 + 4) * 60_000)
    assert ours == translated == [[2.0]]
    assert as_it_stands == [[3.0]]


def test_the_lookback_is_left_open(pair: Pair, source: Source) -> None:
    """A sample is gone when it is five minutes old, thanks to the flag on the other side too."""
    for age_ms, there in ((299_999, 1), (300_000, 0)):
        ours, translated, _ = values(pair, source, "one", T + age_ms)
        assert len(ours) == len(translated) == there


def test_dots_match_newlines(pair: Pair, source: Source) -> None:
    """``.`` in a selector and in label_replace matches a newline."""
    ours, translated, as_it_stands = values(pair, source, 'lines{x=~"a.b"}', T)
    assert ours == translated == [[1.0]] and as_it_stands == []
    text = 'count by (z) (label_replace(lines, "z", "$1", "x", "a(.)b")) and on (z) vector(1)'
    ours, translated, as_it_stands = values(pair, source, text, T)
    assert ours == translated == [] and as_it_stands == [[1.0]]


def test_atan2_drops_names(pair: Pair, source: Source) -> None:
    """atan2 left the metric name, which now goes as with any arithmetic."""
    question = Question("one atan2 1", T, T, 0)
    ours, theirs = pair.ours.ask(source, question), pair.reference.ask(question)
    assert [labels for labels, _ in ours.rows] == [labels for labels, _ in theirs.rows]
    assert not ours.rows[0][0].metric
    assert pair.reference.ask_as_it_stands(question).rows[0][0].metric == "one"


def test_spread_of_infinities_is_nan(pair: Pair, source: Source) -> None:
    """The deviation of a lone infinity was 0 and is NaN."""
    ours, translated, as_it_stands = values(pair, source, "stddev(infinite)", T)
    assert math.isnan(ours[0][0]) and math.isnan(translated[0][0])
    assert as_it_stands == [[0.0]]


def test_smoothing_has_another_name(pair: Pair, source: Source) -> None:
    """holt_winters is double_exponential_smoothing."""
    text = 'double_exponential_smoothing(m{x="1"}[5m], 0.5, 0.5)'
    ours, translated, as_it_stands = values(pair, source, text, T + 270_000)
    assert ours == translated and ours[0]
    assert as_it_stands == []


def test_filters_do_not_hide_duplicates(pair: Pair, source: Source) -> None:
    """Two matches for one element are refused even if the comparison drops one of them."""
    question = Question("m > on () one < 2", T + 60_000, T + 60_000, 0)
    ours, theirs = pair.ours.ask(source, question), pair.reference.ask(question)
    assert ours.error == "execution"
    assert judge(question, ours, theirs)[0] in (Verdict.KNOWN, Verdict.EQUAL)


def test_zero_limits_extrapolation_last(pair: Pair, source: Source) -> None:
    """Extrapolation to the left is cut at half an interval first, then where a counter was zero.

    The samples 8 and 18 lie 10 s apart and 40 s into a minute: the counter was zero 8 s before
    the first, and half an interval is 5 s.
    """
    ours, _, as_it_stands = values(pair, source, "increase(young_total[1m])", T + 60_000)
    assert ours == [[pytest.approx(10 * (10 + 5 + 10) / 10)]]
    assert as_it_stands == [[pytest.approx(10 * (10 + 8 + 10) / 10)]]


@pytest.mark.parametrize(
    "text",
    ["predict_linear(jump[3m] offset -1m, 60)", "stdvar_over_time(huge[5m] offset -2m)"],
)
def test_infinite_sums(pair: Pair, source: Source, text: str) -> None:
    """Sums that are infinite or become so were NaN; the reply is a known difference."""
    question = Question(text, T + 100_000, T + 100_000, 0)
    ours, theirs = pair.ours.ask(source, question), pair.reference.ask(question)
    assert judge(question, ours, theirs) == (Verdict.KNOWN, "infinite sums")


def test_pinned_where_a_subquery_begins(pair: Pair, source: Source) -> None:
    """A pinned selector stays in a shifted subquery that begins where the query does."""
    begin = (T // 60_000 + 5) * 60_000
    known = 0
    for offset in ("-45s", "-1s", "45s"):
        text = f'max_over_time((m{{x="1"}} @ {begin / 1000:.3f})[47s:] offset {offset})'
        question = Question(text, begin, begin + 120_000, 60_000)
        ours, theirs = pair.ours.ask(source, question), pair.reference.ask(question)
        verdict = judge(question, ours, theirs)
        assert verdict in (
            (Verdict.EQUAL, ""),
            (Verdict.KNOWN, "pinned where a subquery begins"),
        )
        known += verdict[0] is Verdict.KNOWN
    assert known


def test_pinned_windows_of_predict_linear_stay(pair: Pair, source: Source) -> None:
    """Under ``@`` every step sees the same samples; they slid away before."""
    text = f'predict_linear(m{{x="1"}}[90s] @ {(T + 300_000) / 1000:.3f}, 0)'
    ours, _, as_it_stands = values(pair, source, text, T + 300_000, T + 420_000)
    assert ours == [[pytest.approx(7.5), pytest.approx(9.0), pytest.approx(10.5)]]
    assert as_it_stands != ours

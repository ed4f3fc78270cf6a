"""Quantiles and fractions of classic histograms against plain Python."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql import ast
from promql.go_text import format_g, format_g_digits, open_metrics_float, rfc3339_utc
from promql.instant import CALLS
from promql.matrix import Matrix, Text, Value
from series.labels import Labels
from tests.examples import examples
from tests.promql.matrices import VALUES, ZERO, Bench, Points, elements, matrix, of_rows, row, same
from tests.promql.matrices import points as points_of

NAN, INF = math.nan, math.inf
Bucket = tuple[float, float]
BOUNDS = ["0.1", "0.5", "1", "1.0", "10", "+Inf", "-1", "0"]


def coalesced(buckets: list[Bucket]) -> list[Bucket]:
    out: list[Bucket] = []
    for bound, count in sorted(buckets, key=lambda bucket: bucket[0]):
        if out and out[-1][0] == bound:
            out[-1] = (bound, out[-1][1] + count)
        else:
            out.append((bound, count))
    return out


def twin_quantile(q: float, buckets: list[Bucket]) -> float:
    if math.isnan(q):
        return NAN
    if q < 0 or q > 1:
        return math.copysign(INF, q)
    buckets = coalesced(buckets)
    if buckets[-1][0] != INF or len(buckets) < 2:
        return NAN
    counts = [buckets[0][1]]
    for _, count in buckets[1:]:
        last = counts[-1]
        close = count != last and abs(count - last) / (abs(count) + abs(last)) < 1e-12
        counts.append(last if count < last or close else count)
    if counts[-1] == 0:
        return NAN
    rank = q * counts[-1]
    at = next(
        (i for i, count in enumerate(counts[:-1]) if count >= rank),
        len(counts) - 1,
    )
    if at == len(counts) - 1:
        return buckets[-2][0]
    if at == 0 and buckets[0][0] <= 0:
        return buckets[0][0]
    start, below = (buckets[at - 1][0], counts[at - 1]) if at else (0.0, 0.0)
    if counts[at] == below:
        return NAN  # 0 / 0: the rank is not above the bucket's start
    return start + (buckets[at][0] - start) * ((rank - below) / (counts[at] - below))


def twin_fraction(low: float, high: float, buckets: list[Bucket]) -> float:
    buckets = coalesced(buckets)
    total = buckets[-1][1]
    if buckets[-1][0] != INF or total == 0 or math.isnan(low) or math.isnan(high):
        return NAN
    if low >= high:
        return 0.0

    def rank(at: float) -> float:
        below, lower = 0.0, 0.0 if buckets[0][0] > 0 else -INF
        for bound, count in buckets:
            if lower >= at:
                return below
            if bound > at:
                return (
                    count
                    if lower == -INF
                    else below + (count - below) * (at - lower) / (bound - lower)
                )
            below, lower = count, bound
        return total

    return (min(rank(high), total) - min(rank(low), total)) / total


def histogram(counts: dict[str, Points], name: str = "h_bucket") -> list[tuple[Labels, Points]]:
    return [(Labels([("__name__", name), ("le", le)]), points) for le, points in counts.items()]


def buckets_at(counts: dict[str, Points], step: int) -> list[Bucket]:
    found = [(float(le), points[step]) for le, points in counts.items()]
    return [(bound, count) for bound, count in found if count is not None]


def call(name: str, *args: Value, bench: Bench | None = None) -> Value:
    node = ast.Call(name, tuple(ZERO for _ in args))
    return CALLS[name](list(args), node, (bench or Bench()).env)


COUNTS = st.dictionaries(
    st.sampled_from(BOUNDS),
    st.lists(st.none() | st.integers(0, 50).map(float), min_size=3, max_size=3),
    min_size=1,
)
QUANTILES = st.lists(
    st.sampled_from([0.0, 1.0, 0.5, 0.99, -1.0, 2.0, NAN]) | st.floats(0, 1),
    min_size=3,
    max_size=3,
)


@examples(150)
@given(counts=COUNTS, q=QUANTILES)
def test_quantiles_equal_plain_python(counts: dict[str, Points], q: list[float]) -> None:
    """Buckets that come and go, equal bounds, falling counts, a missing +Inf."""
    found = call("histogram_quantile", row(*q), of_rows(histogram(counts), 3))
    for step in range(3):
        buckets = buckets_at(counts, step)
        values = [value for _, value, _ in elements(found, step)]
        assert len(values) == (1 if buckets else 0)
        if buckets:
            assert same(values[0], twin_quantile(q[step], buckets))


@examples(150)
@given(counts=COUNTS, low=VALUES, high=VALUES)
def test_fractions_equal_plain_python(counts: dict[str, Points], low: float, high: float) -> None:
    """Bounds inside buckets, at their edges, infinite and NaN."""
    vector = of_rows(histogram(counts), 3)
    found = call("histogram_fraction", row(*[low] * 3), row(*[high] * 3), vector)
    for step in range(3):
        buckets = buckets_at(counts, step)
        values = [value for _, value, _ in elements(found, step)]
        assert len(values) == (1 if buckets else 0)
        if buckets:
            assert same(values[0], twin_fraction(low, high, buckets))


def test_histograms_are_told_apart_by_all_other_labels() -> None:
    """The metric name counts, too."""
    rows = {
        "a_bucket{i=1,le=1}": [2.0],
        "a_bucket{i=1,le=+Inf}": [4.0],
        "a_bucket{i=2,le=1}": [4.0],
        "a_bucket{i=2,le=+Inf}": [4.0],
        "b_bucket{i=1,le=2}": [4.0],
        "b_bucket{i=1,le=+Inf}": [4.0],
    }
    found = call("histogram_quantile", row(0.5), matrix(rows, 1), bench=Bench(1))
    assert points_of(found) == {
        "a_bucket{i=1}": [1.0],
        "a_bucket{i=2}": [0.5],
        "b_bucket{i=1}": [1.0],
    }


def test_mended_counts_are_told_once_for_all_steps() -> None:
    """Bounds, greatest decrease, number of histograms and steps, first and last time."""
    counts: dict[str, Points] = {
        "0.1": [2.0, 2.0, 20.0],
        "1": [1.0, 2.0, 1.0],
        "10": [5.0, 5.0, 22.0],
        "1000": [9.0, 9.0, 40.0],
        "+Inf": [8.0, 9.0, 40.0],
    }
    bench = Bench()
    call("histogram_quantile", row(0.5, 0.5, 0.5), of_rows(histogram(counts), 3), bench=bench)
    assert bench.infos == [
        "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see "
        "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for "
        'metric name "h_bucket", from buckets 1 to +Inf, with a max diff of 19, over 2 samples '
        "from 1970-01-01T00:00:00Z to 1970-01-01T00:00:02Z (1:1)"
    ]
    early = Bench(delayed=False)
    call("histogram_quantile", row(0.5, 0.5, 0.5), of_rows(histogram(counts), 3), bench=early)
    assert "metric name" not in early.infos[0]


def test_malformed_bounds_are_left_out_with_a_warning() -> None:
    """As are series without ``le``; those without points are not worth a word."""
    vector = of_rows(
        [
            *histogram({"1": [1.0] * 3, "+Inf": [1.0] * 3, "x": [1.0] * 3, "1_0": [None] * 3}),
            (Labels([("__name__", "h_bucket")]), [1.0] * 3),
        ],
        3,
    )
    bench = Bench()
    found = call("histogram_quantile", row(1.0, 1.0, 1.0), vector, bench=bench)
    assert points_of(found) == {"h_bucket": [1.0] * 3}
    malformed = 'PromQL warning: bucket label "le" is missing or has a malformed value of'
    assert bench.warnings == [
        f'{malformed} "x" for metric name "h_bucket" (1:1)',
        f'{malformed} "" for metric name "h_bucket" (1:1)',
    ]


def test_a_quantile_out_of_range_is_warned_about() -> None:
    """Each value once."""
    bench = Bench()
    call("histogram_quantile", row(1.5, NAN, 1.5), Matrix.empty(3), bench=bench)
    assert bench.warnings == [
        "PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:1)",
        "PromQL warning: quantile value should be between 0 and 1, got NaN (1:1)",
    ]


def test_several_quantiles_are_series_of_their_own() -> None:
    """Labelled with the quantile as OpenMetrics writes it."""
    vector = of_rows(histogram({"1": [2.0], "+Inf": [2.0]}), 1)
    found = call(
        "histogram_quantiles", vector, Text("q"), row(0.5), row(1.0), row(NAN), bench=Bench(1)
    )
    assert [(labels.get("q"), value) for labels, value, _ in elements(found, 0)][:2] == [
        ("0.5", 0.5),
        ("1.0", 1.0),
    ]
    assert elements(found, 0)[2][0].get("q") == "NaN"


@pytest.mark.parametrize(
    ("value", "general", "two", "open_metrics"),
    [
        (0.0, "0", "0", "0.0"),
        (1.0, "1", "1", "1.0"),
        (0.25, "0.25", "0.25", "0.25"),
        (1234.5, "1234.5", "1.2e+03", "1234.5"),
        (1000000.0, "1e+06", "1e+06", "1e+06"),
        (100000.0, "100000", "1e+05", "100000.0"),
        (0.0001, "0.0001", "0.0001", "0.0001"),
        (0.000012, "1.2e-05", "1.2e-05", "1.2e-05"),
        (-2.5e300, "-2.5e+300", "-2.5e+300", "-2.5e+300"),
        (NAN, "NaN", "NaN", "NaN"),
        (-INF, "-Inf", "-Inf", "-Inf"),
    ],
)
def test_numbers_are_printed_as_go_prints_them(
    value: float, general: str, two: str, open_metrics: str
) -> None:
    """``%g``, ``%.2g`` and the quantile label."""
    assert (format_g(value), format_g_digits(value, 2), open_metrics_float(value)) == (
        general,
        two,
        open_metrics,
    )


def test_times_are_cut_to_seconds() -> None:
    """RFC 3339 in UTC."""
    assert rfc3339_utc(1_700_000_000_999) == "2023-11-14T22:13:20Z"
    assert rfc3339_utc(-1_500) == "1969-12-31T23:59:59Z"

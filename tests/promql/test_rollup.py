"""Every range-vector function against plain Python over each window."""

import math
import statistics
from collections.abc import Callable
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.notes import ExecutionError
from promql.rollup import ROLLUPS, Windows, without_stale
from series.batch import STALE_NAN, STALE_NAN_BITS, SeriesBatch, build_batch
from series.labels import Labels
from tests.examples import examples

Samples = list[tuple[int, float]]

ordinary = st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.0, 7.0, 10.0, -1.0, -4.0, 1e3])
special = st.sampled_from([math.nan, math.inf, -math.inf, STALE_NAN])
RANGE_MS = 5_000


@st.composite
def rows(draw: st.DrawFn, values: st.SearchStrategy[float] = ordinary) -> list[Samples]:
    """One to four series of up to a dozen samples; some share their times."""
    columns = draw(
        st.lists(
            st.lists(st.integers(0, 20_000), max_size=12, unique=True).map(sorted),
            min_size=1,
            max_size=2,
        )
    )
    return [
        [(time_ms, draw(values)) for time_ms in column]
        for column in draw(st.lists(st.sampled_from(columns), min_size=1, max_size=4))
    ]


def batch_of(series: list[Samples]) -> SeriesBatch:
    """The rows as a batch in which equal times are one column."""
    plain = build_batch([(Labels(), [t for t, _ in row], [v for _, v in row]) for row in series])
    starts: dict[tuple[int, ...], int] = {}
    shared = [
        starts.setdefault(tuple(t for t, _ in row), int(plain.time_starts[at]))
        for at, row in enumerate(series)
    ]
    return SeriesBatch(plain.values, plain.times_ms, plain.offsets, np.array(shared))


def rolled(
    name: str, series: list[Samples], *parameters: float, step_ms: int = 1_000, steps: int = 22
) -> list[list[float | None]]:
    """The values of *name* with None for absence."""
    ends_ms = np.arange(steps, dtype=np.int64) * step_ms
    windows = Windows.over(batch_of(series), ends_ms, ends_ms, RANGE_MS)
    with np.errstate(all="ignore"):
        values, present = ROLLUPS[name].run(windows, *(np.full(steps, p) for p in parameters))
    return [
        [value if there else None for value, there in zip(row, mask, strict=True)]
        for row, mask in zip(values.tolist(), present.tolist(), strict=True)
    ]


def is_stale(value: float) -> bool:
    return int(np.float64(value).view(np.uint64)) == STALE_NAN_BITS


def expected(
    series: list[Samples],
    function: Callable[[Samples, int], float | None],
    step_ms: int = 1_000,
    steps: int = 22,
) -> list[list[float | None]]:
    """*function* over the samples and end of every window."""
    answer = []
    for row in series:
        alive = [(t, v) for t, v in row if not is_stale(v)]
        line = []
        for end in range(0, steps * step_ms, step_ms):
            window = [(t, v) for t, v in alive if end - RANGE_MS < t <= end]
            line.append(function(window, end) if window else None)
        answer.append(line)
    return answer


def assert_same(got: list[list[float | None]], want: list[list[float | None]]) -> None:
    assert len(got) == len(want)
    for got_row, want_row in zip(got, want, strict=True):
        assert [v is None for v in got_row] == [v is None for v in want_row]
        for a, b in zip(got_row, want_row, strict=True):
            if a is not None and b is not None:
                assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) or (a != a and b != b), (a, b)


def slow_rate(counter: bool, per_second: bool) -> Callable[[Samples, int], float | None]:
    def rate(window: Samples, end: int) -> float | None:
        if len(window) < 2:
            return None
        (first_ms, first), (last_ms, last) = window[0], window[-1]
        rise = last - first
        if counter:
            for (_, before), (_, after) in pairwise(window):
                if after < before:
                    rise += before
        covered = (last_ms - first_ms) / 1000
        gap = covered / (len(window) - 1)
        left = (first_ms - (end - RANGE_MS)) / 1000
        right = (end - last_ms) / 1000
        left = gap / 2 if left >= gap * 1.1 else left
        right = gap / 2 if right >= gap * 1.1 else right
        if counter and rise > 0 and first >= 0:
            left = min(left, covered * (first / rise))
        factor = (covered + left + right) / covered
        return rise * (factor / (RANGE_MS / 1000) if per_second else factor)

    return rate


def slow_instant(per_second: bool) -> Callable[[Samples, int], float | None]:
    def change(window: Samples, end: int) -> float | None:
        if len(window) < 2:
            return None
        (before_ms, before), (after_ms, after) = window[-2:]
        if not per_second:
            return after - before
        return (after if after < before else after - before) / ((after_ms - before_ms) / 1000)

    return change


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("rate", slow_rate(counter=True, per_second=True)),
        ("increase", slow_rate(counter=True, per_second=False)),
        ("delta", slow_rate(counter=False, per_second=False)),
        ("irate", slow_instant(per_second=True)),
        ("idelta", slow_instant(per_second=False)),
    ],
)
@examples(60)
@given(data=st.data())
def test_rates_are_those_of_the_definition_to_the_bit(
    name: str, function: Callable[[Samples, int], float | None], data: st.DataObject
) -> None:
    """The rate family agrees exactly, resets and counters near zero included."""
    series = data.draw(rows(st.one_of(ordinary, st.just(STALE_NAN))))
    assert rolled(name, series) == expected(series, function)


def numbers(window: Samples) -> list[float]:
    return [v for _, v in window]


def best(window: Samples, pick: Callable[[list[float]], float]) -> float:
    real = [v for v in numbers(window) if v == v]
    return pick(real) if real else math.nan


def slow_quantile(values: list[float], q: float) -> float:
    ordered = sorted(values, key=lambda v: (v == v, v))
    rank = q * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] * (1 - (rank - low)) + ordered[high] * (rank - low)


def slow_mad(values: list[float]) -> float:
    if any(v != v for v in values):
        return math.nan
    middle = slow_quantile(values, 0.5)
    return slow_quantile([abs(v - middle) for v in values], 0.5)


def neighbours(window: Samples) -> list[tuple[float, float]]:
    return list(pairwise(numbers(window)))


def last_time(window: Samples, largest: bool) -> float:
    extreme = best(window, max if largest else min)
    hits = [t for t, v in window if v == extreme or (extreme != extreme and v != v)]
    return hits[-1] / 1000


SIMPLE: dict[str, Callable[[Samples, int], float | None]] = {
    "sum_over_time": lambda w, _: float(np.sum(numbers(w))),
    "avg_over_time": lambda w, _: float(np.sum(numbers(w))) / len(w),
    "min_over_time": lambda w, _: best(w, min),
    "max_over_time": lambda w, _: best(w, max),
    "count_over_time": lambda w, _: float(len(w)),
    "present_over_time": lambda w, _: 1.0,
    "first_over_time": lambda w, _: w[0][1],
    "last_over_time": lambda w, _: w[-1][1],
    "ts_of_first_over_time": lambda w, _: w[0][0] / 1000,
    "ts_of_last_over_time": lambda w, _: w[-1][0] / 1000,
    "ts_of_min_over_time": lambda w, _: last_time(w, largest=False),
    "ts_of_max_over_time": lambda w, _: last_time(w, largest=True),
    "mad_over_time": lambda w, _: slow_mad(numbers(w)),
    "changes": lambda w, _: float(
        sum(a != b and not (a != a and b != b) for a, b in neighbours(w))
    ),
    "resets": lambda w, _: float(sum(b < a for a, b in neighbours(w))),
}


@pytest.mark.parametrize("name", SIMPLE)
@examples(40)
@given(data=st.data())
def test_functions_over_time_follow_their_definition(name: str, data: st.DataObject) -> None:
    """Sums, extremes, counts, ends, medians and switches, with NaN, infinities and stale marks."""
    series = data.draw(rows(st.one_of(ordinary, special)))
    with np.errstate(all="ignore"):
        assert_same(rolled(name, series), expected(series, SIMPLE[name]))


@examples(60)
@given(rows(), st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.9, 1.0, 1.5, math.nan]))
def test_quantiles_interpolate_between_sorted_neighbours(series: list[Samples], q: float) -> None:
    """A quantile outside [0, 1] is infinite, NaN stays NaN, all else interpolates."""

    def slow(window: Samples, _: int) -> float:
        if q != q:
            return math.nan
        if not 0 <= q <= 1:
            return math.copysign(math.inf, q)
        return slow_quantile(numbers(window), q)

    assert_same(rolled("quantile_over_time", series, q), expected(series, slow))


@examples(60)
@given(rows())
def test_spread_is_that_of_the_population(series: list[Samples]) -> None:
    """stddev and stdvar divide by n."""
    stdvar = expected(series, lambda w, _: statistics.pvariance(numbers(w)))
    assert_same(rolled("stdvar_over_time", series), stdvar)
    stddev = expected(series, lambda w, _: statistics.pstdev(numbers(w)))
    assert_same(rolled("stddev_over_time", series), stddev)


@examples(60)
@given(rows(), st.sampled_from([0.0, 10.0, -3.0]))
def test_lines_are_fitted_by_least_squares(series: list[Samples], ahead: float) -> None:
    """deriv is the slope, predict_linear the line's value that many seconds after the step."""

    def line(window: Samples) -> tuple[float, float] | None:
        if len(window) < 2:
            return None
        xs = [t / 1000 for t, _ in window]
        slope, intercept = statistics.linear_regression(xs, numbers(window))
        return slope, intercept

    def slope(window: Samples, _: int) -> float | None:
        fit = line(window)
        return fit and fit[0]

    def prediction(window: Samples, end: int) -> float | None:
        fit = line(window)
        return fit and fit[0] * (end / 1000 + ahead) + fit[1]

    assert_close(rolled("deriv", series), expected(series, slope))
    assert_close(rolled("predict_linear", series, ahead), expected(series, prediction))


def assert_close(got: list[list[float | None]], want: list[list[float | None]]) -> None:
    """As assert_same, with room for the cancellation of a straight formula."""
    for a, b in zip(chain(*got), chain(*want), strict=True):
        assert (a is None) == (b is None)
        assert a is None or b is None or math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-5)


@examples(40)
@given(rows(), st.sampled_from([0.1, 0.5]), st.sampled_from([0.3, 0.9]))
def test_smoothing_follows_level_and_trend(series: list[Samples], sf: float, tf: float) -> None:
    """Double exponential smoothing starts at the first sample with the first difference."""

    def slow(window: Samples, _: int) -> float | None:
        if len(window) < 2:
            return None
        values = numbers(window)
        before, level, trend = 0.0, values[0], values[1] - values[0]
        for i, value in enumerate(values[1:]):
            if i:
                trend = tf * (level - before) + (1 - tf) * trend
            before, level = level, sf * value + (1 - sf) * (level + trend)
        return level

    assert_same(rolled("double_exponential_smoothing", series, sf, tf), expected(series, slow))


def test_smoothing_refuses_factors_outside_their_range() -> None:
    """The error is in Prometheus' words, and only windows with samples raise it."""
    series = [[(1_000, 1.0), (2_000, 2.0)]]
    with pytest.raises(ExecutionError, match=r"invalid smoothing factor.*< sf < 1, got: 2\.0"):
        rolled("double_exponential_smoothing", series, 2.0, 0.5)
    with pytest.raises(ExecutionError, match=r"invalid trend factor.*< tf < 1, got: 0\.0"):
        rolled("double_exponential_smoothing", series, 0.5, 0.0)
    assert rolled("double_exponential_smoothing", [[]], 2.0, 0.5) == [[None] * 22]


def test_long_means_do_not_overflow() -> None:
    """A sum beyond the largest float goes on as an incremental mean."""
    series = [[(t * 1000, 1.7e308) for t in range(1, 5)]]
    assert rolled("avg_over_time", series, steps=6)[0][5] == pytest.approx(1.7e308, rel=1e-12)
    assert rolled("sum_over_time", series, steps=6)[0][5] == math.inf


def test_sums_keep_small_terms_beside_large_ones() -> None:
    """Kahan's compensation gives back what plain addition loses."""
    series = [[(1_000, 1.0), (2_000, 1e100), (3_000, 1.0), (4_000, -1e100)]]
    assert rolled("sum_over_time", series, steps=6)[0][4] == 2.0


@examples(50)
@given(rows(st.one_of(ordinary, special)))
def test_stale_markers_are_dropped_row_by_row(series: list[Samples]) -> None:
    """The rest keeps its times and order."""
    clean = without_stale(batch_of(series))
    clean.check()
    for row, samples in enumerate(series):
        kept = [(t, v) for t, v in samples if not is_stale(v)]
        assert clean.row_times_ms(row).tolist() == [t for t, _ in kept]
        np.testing.assert_array_equal(clean.row_values(row), [v for _, v in kept])


@examples(50)
@given(
    st.lists(
        st.lists(st.integers(0, 60), max_size=30, unique=True).map(sorted), min_size=1, max_size=4
    ),
    st.lists(st.integers(-5, 70), max_size=20).map(sorted),
    st.integers(1, 20),
    st.data(),
)
def test_windows_hold_the_samples_of_their_range(
    columns: list[list[int]], ends: list[int], range_ms: int, draw: st.DataObject
) -> None:
    """Whatever the distances of samples and steps are, and whichever rows share their times."""
    order = draw.draw(st.lists(st.sampled_from(columns), min_size=1, max_size=6))
    batch = batch_of([[(time, 1.0) for time in column] for column in order])
    ends_ms = np.array(ends, dtype=np.int64)
    windows = Windows.over(batch, ends_ms, ends_ms, range_ms)
    for row, column in enumerate(order):
        lows, highs = (
            bounds[windows.columns[row]].tolist() for bounds in (windows.lows, windows.highs)
        )
        assert [column[low:high] for low, high in zip(lows, highs, strict=True)] == [
            [time for time in column if end - range_ms < time <= end] for end in ends
        ]


def test_windows_are_open_on_the_left() -> None:
    """A sample exactly one range before the step is outside, one at the step is inside."""
    series = [[(0, 1.0), (5_000, 2.0)]]
    counts = rolled("count_over_time", series, step_ms=5_000, steps=3)
    assert counts == [[1.0, 1.0, None]]

"""Every range-vector function over native histograms against plain Python over each window."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.histogram_note_helpers import (
    CONFLICT_AGG,
    IGNORED,
    MIXED_KINDS,
    MIXED_SCHEMAS,
    NOT_COUNTER,
    NOT_GAUGE,
    OVERLAP,
)
from promql.rollup import Windows
from promql.rollup_histograms import Rolled, Samples, roll
from series.batch import STALE_NAN, SeriesBatch, build_batch
from series.histogram import GAUGE, NOT_RESET, OFFSET, RESET, Histogram
from series.labels import Labels
from series.ports import Context
from tests.examples import examples
from tests.promql import native_twin as twin
from tests.promql.native_strategies import rows
from tests.promql.native_twin import Incompatible, Twin

RANGE_MS = 5_000
ENDS_MS = np.arange(12, dtype=np.int64) * 2_000

Sample = float | Histogram
Row = list[tuple[int, Sample]]
Window = list[tuple[int, float | Twin]]
Point = float | Twin | None


@st.composite
def series(draw: st.DrawFn, *, floats: bool) -> list[Row]:
    """One to three rows of histograms, with floats and stale markers between them if *floats*."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        samples: list[Sample] = list(draw(rows()))
        if floats:
            number = st.sampled_from([0.0, 1.0, 2.0, 5.0, STALE_NAN])
            samples = [draw(number) if draw(st.booleans()) else h for h in samples]
        times = draw(
            st.lists(
                st.integers(0, 20_000), min_size=len(samples), max_size=len(samples), unique=True
            )
        )
        found.append(list(zip(sorted(times), samples, strict=True)))
    return found


def batch_of(found: list[Row]) -> SeriesBatch:
    return build_batch([(Labels(), [t for t, _ in row], [v for _, v in row]) for row in found])


def rolled(name: str, found: list[Row], *parameters: float) -> Rolled:
    windows = Windows.over(batch_of(found), ENDS_MS, ENDS_MS, RANGE_MS)
    given_ = [np.full(len(ENDS_MS), p) for p in parameters]
    with np.errstate(all="ignore"):
        return roll(name, Samples(windows, False, Context()), given_)


def points(result: Rolled) -> list[list[object]]:
    """Every point as something that can be compared."""
    out: list[list[object]] = []
    for r in range(len(result.values)):
        line: list[object] = []
        for k in range(result.values.shape[1]):
            ids = result.histogram_ids
            if not result.present[r, k]:
                line.append(None)
            elif ids is not None and result.histograms is not None and ids[r, k] >= 0:
                line.append(Twin.of(result.histograms.one(int(ids[r, k]))).key())
            else:
                line.append(float(result.values[r, k]))
        out.append(line)
    return out


def expected(found: list[Row], function: Callable[[Window, int], Point]) -> list[list[object]]:
    """*function* over the samples and end of every window; Incompatible gives nothing."""
    out = []
    for row in found:
        alive: Window = [
            (t, Twin.of(v) if isinstance(v, Histogram) else v) for t, v in row if v == v
        ]
        line: list[object] = []
        for end in ENDS_MS.tolist():
            window = [(t, v) for t, v in alive if end - RANGE_MS < t <= end]
            try:
                point = function(window, end) if window else None
            except Incompatible:
                point = None
            line.append(point.key() if isinstance(point, Twin) else point)
        out.append(line)
    return out


def kinds(window: Window) -> set[bool]:
    return {isinstance(v, Twin) for _, v in window}


def natives(window: Window) -> list[Twin]:
    return [v for _, v in window if isinstance(v, Twin)]


def slow_rate(counter: bool, per_second: bool) -> Callable[[Window, int], Point]:
    def run(window: Window, end: int) -> Point:
        if kinds(window) != {True}:
            return None
        return twin.rate(window, end, RANGE_MS, counter=counter, per_second=per_second)

    return run


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("rate", slow_rate(counter=True, per_second=True)),
        ("increase", slow_rate(counter=True, per_second=False)),
        ("delta", slow_rate(counter=False, per_second=False)),
    ],
)
@examples(80)
@given(data=st.data())
def test_rates_of_histograms_are_those_of_the_definition_to_the_bit(
    name: str, function: Callable[[Window, int], Point], data: st.DataObject
) -> None:
    """Resets, coarser schemas, other bounds and zero buckets within a window are reconciled."""
    found = data.draw(series(floats=False))
    assert points(rolled(name, found)) == expected(found, function)


def slow_change(per_second: bool) -> Callable[[Window, int], Point]:
    def run(window: Window, _: int) -> Point:
        if len(window) < 2:
            return None
        (before_ms, before), (after_ms, after) = window[-2:]
        seconds = (after_ms - before_ms) / 1000
        if isinstance(before, Twin) and isinstance(after, Twin):
            fresh = per_second and twin.is_reset(before, after)
            result = after if fresh else twin.combined(after, before, -1.0)
            result = replace(result, hint=GAUGE)
            return result.divided(seconds) if per_second else result
        if isinstance(before, Twin) or isinstance(after, Twin):
            return None
        if not per_second:
            return after - before
        return (after if after < before else after - before) / seconds

    return run


@pytest.mark.parametrize(("name", "per_second"), [("irate", True), ("idelta", False)])
@examples(60)
@given(data=st.data())
def test_changes_between_the_last_two_samples(
    name: str, per_second: bool, data: st.DataObject
) -> None:
    """Both floats or both histograms; one of each gives nothing."""
    found = data.draw(series(floats=True))
    assert points(rolled(name, found)) == expected(found, slow_change(per_second))


def slow_total(average: bool) -> Callable[[Window, int], Point]:
    def run(window: Window, _: int) -> Point:
        if kinds(window) == {True}:
            return twin.total(natives(window), average=average)
        if kinds(window) == {False}:
            numbers = [v for _, v in window if isinstance(v, float)]
            return math.fsum(numbers) / (len(numbers) if average else 1)
        return None

    return run


@pytest.mark.parametrize(("name", "average"), [("sum_over_time", False), ("avg_over_time", True)])
@examples(60)
@given(data=st.data())
def test_sums_and_means_over_time(name: str, average: bool, data: st.DataObject) -> None:
    """Of histograms or of floats; both in one window give nothing."""
    found = data.draw(series(floats=True))
    assert points(rolled(name, found)) == expected(found, slow_total(average))


def switches(window: Window, differ: Callable[[float | Twin, float | Twin], bool]) -> float:
    return float(
        sum(
            isinstance(a, Twin) != isinstance(b, Twin) or differ(a, b)
            for (_, a), (_, b) in pairwise(window)
        )
    )


def changed(a: float | Twin, b: float | Twin) -> bool:
    if isinstance(a, Twin) and isinstance(b, Twin):
        return replace(a, hint=0) != replace(b, hint=0)
    return a != b


def fell(a: float | Twin, b: float | Twin) -> bool:
    if isinstance(a, Twin) and isinstance(b, Twin):
        return twin.is_reset(a, b)
    assert not isinstance(a, Twin) and not isinstance(b, Twin)
    return b < a


def numbers(window: Window) -> list[float]:
    return [v for _, v in window if not isinstance(v, Twin)]


SIMPLE: dict[str, Callable[[Window, int], Point]] = {
    "count_over_time": lambda w, _: float(len(w)),
    "present_over_time": lambda w, _: 1.0,
    "first_over_time": lambda w, _: w[0][1],
    "last_over_time": lambda w, _: w[-1][1],
    "ts_of_first_over_time": lambda w, _: w[0][0] / 1000,
    "ts_of_last_over_time": lambda w, _: w[-1][0] / 1000,
    "changes": lambda w, _: switches(w, changed),
    "resets": lambda w, _: switches(w, fell),
    "min_over_time": lambda w, _: min(numbers(w), default=None),
    "max_over_time": lambda w, _: max(numbers(w), default=None),
    "mad_over_time": lambda w, _: None if not numbers(w) else _mad(numbers(w)),
}


def _mad(values: Sequence[float]) -> float:
    middle = float(np.median(values))
    return float(np.median([abs(v - middle) for v in values]))


@pytest.mark.parametrize("name", SIMPLE)
@examples(40)
@given(data=st.data())
def test_functions_over_time_follow_their_definition(name: str, data: st.DataObject) -> None:
    """Counts and ends see both kinds, extremes only floats, switches count between kinds."""
    found = data.draw(series(floats=True))
    assert points(rolled(name, found)) == expected(found, SIMPLE[name])


H = Histogram(count=2.0, sum=1.0, buckets=((OFFSET + 1, 2.0),))
MORE = Histogram(count=3.0, sum=2.0, buckets=((OFFSET + 1, 3.0),))
NHCB = Histogram(schema=-53, count=4.0, buckets=((OFFSET, 4.0),), bounds=(1.0,))


def hinted(h: Histogram, hint: int) -> Histogram:
    return replace(h, hint=hint)


@pytest.mark.parametrize(
    ("name", "samples", "flags"),
    [
        ("rate", [H, MORE], 0),
        ("rate", [H, 1.0], MIXED_KINDS),
        ("rate", [H, NHCB], MIXED_SCHEMAS),
        ("rate", [H, hinted(MORE, GAUGE)], NOT_COUNTER),
        ("delta", [H, MORE], NOT_GAUGE),
        ("irate", [H, 1.0], MIXED_KINDS),
        ("idelta", [H, MORE], NOT_GAUGE),
        ("sum_over_time", [hinted(H, RESET), hinted(MORE, NOT_RESET)], CONFLICT_AGG),
        ("sum_over_time", [H, NHCB], MIXED_SCHEMAS),
        ("max_over_time", [H, 1.0], IGNORED),
        ("max_over_time", [H, MORE], 0),
    ],
)
def test_rows_are_flagged_with_what_there_is_to_say(
    name: str, samples: list[Sample], flags: int
) -> None:
    """Each kind of note has its flag."""
    found = [list(zip((1_000, 2_000), samples, strict=True))]
    # NHCB after an exponential histogram is a reset; a hint keeps the first sample in play.
    if flags == MIXED_SCHEMAS:
        found = [[(1_000, samples[0]), (2_000, hinted(NHCB, NOT_RESET))]]
    assert int(rolled(name, found).flags[0]) == flags


def started(found: Row, starts_ms: Sequence[int]) -> Samples:
    """Samples whose start times count."""
    batch = replace(batch_of([found]), starts_ms=np.array(starts_ms, dtype=np.int64))
    windows = Windows.over(batch, np.array([10_000]), np.array([10_000]), 10_000)
    return Samples(windows, True, Context())


def test_a_counter_counts_from_its_start_within_the_window() -> None:
    """The first sample counts whole, even alone, and nothing is extrapolated to the left."""
    alone = roll("increase", started([(8_000, 6.0)], [2_000]), ())
    assert alone.values[0, 0] == 6.0 * ((6.0 + 0.0 + 0.0) / 6.0) and alone.present[0, 0]
    native = roll("increase", started([(8_000, H)], [2_000]), ())
    assert native.histograms is not None and native.histograms.one(0).count == 2.0
    unknown = roll("increase", started([(8_000, 6.0)], [0]), ())
    assert not unknown.present.any()


def test_a_start_after_the_previous_sample_is_a_reset() -> None:
    """Also where the value rose; a start before the previous sample overlaps."""
    rising: Row = [(6_000, 5.0), (8_000, 6.0)]
    assert roll("resets", started(rising, [1_000, 7_000]), ()).values[0, 0] == 1.0
    assert roll("resets", started(rising, [1_000, 1_000]), ()).values[0, 0] == 0.0
    assert roll("irate", started(rising, [1_000, 7_000]), ()).values[0, 0] == 3.0
    assert roll("rate", started(rising, [1_000, 2_000]), ()).flags[0] == OVERLAP
    natives_: Row = [(6_000, H), (8_000, MORE)]
    assert roll("resets", started(natives_, [1_000, 7_000]), ()).values[0, 0] == 1.0
    assert roll("rate", started(natives_, [1_000, 2_000]), ()).flags[0] == OVERLAP

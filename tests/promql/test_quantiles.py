"""Quantiles of sliding windows of any length against sorting every window, to the bit."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from promql.quantile_kernels import quantile_over

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

ROWS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "noise": lambda random, size: random.normal(size=size),
    "a walk": lambda random, size: (
        np.cumsum(random.normal(size=size)).round(2).astype(np.float64) + 0.0
    ),
    "few values": lambda random, size: random.integers(-3, 4, size).astype(np.float64),
    "one value": lambda random, size: np.full(size, 2.5),
    "a counter": lambda random, size: np.cumsum(random.integers(0, 9, size)).astype(np.float64),
    "falling": lambda random, size: np.sort(random.random(size))[::-1].copy(),
    "near ones and one far": lambda random, size: np.append(1e9 + random.random(size - 1), 1e300),
    "all magnitudes": lambda random, size: (
        random.normal(size=size) * 10.0 ** random.integers(-300, 300, size)
    ),
    "infinities and NaN": lambda random, size: random.choice(
        [1.0, -2.0, math.inf, -math.inf, math.nan, 5e-324, -1.7e308], size
    ),
    "gaps of NaN": lambda random, size: np.where(
        random.random(size) < 0.3, math.nan, random.random(size)
    ),
    "nothing but NaN": lambda random, size: np.full(size, math.nan),
}


def slow(window: Floats, q: float) -> float:
    """The quantile of the sorted window, NaN first."""
    if len(window) == 0 or q != q:
        return math.nan
    if not 0.0 <= q <= 1.0:
        return math.copysign(math.inf, q)
    numbers = np.sort(window)
    numbers = np.roll(numbers, int(np.isnan(window).sum()))
    rank = q * (len(numbers) - 1.0)
    lower = math.floor(rank)
    upper = min(len(numbers) - 1, lower + 1)
    weight = rank - lower
    if math.isnan(numbers[lower]):
        return math.nan
    return float(numbers[lower] * (1.0 - weight) + numbers[upper] * weight)


def slow_distance(window: Floats, q: float) -> float:
    """The median distance from the median; NaN where one of the window is."""
    median = slow(window, q)
    if np.isnan(window).any() or math.isnan(median):
        return math.nan
    distances = np.sort(np.abs(window - median))
    lower, weight = divmod(0.5 * (len(window) - 1.0), 1.0)
    upper = min(len(window) - 1, int(lower) + 1)
    return float(distances[int(lower)] * (1.0 - weight) + distances[upper] * weight)


def each(
    twin: Callable[[Floats, float], float], rows: list[Floats], lows: Ints, highs: Ints, qs: Floats
) -> Floats:
    """The *twin* on every window of every row."""
    windows = list(zip(lows, highs, qs.tolist(), strict=True))
    with np.errstate(all="ignore"):
        return np.array([[twin(row[low:high], q) for low, high, q in windows] for row in rows])


def over(rows: list[Floats], lows: Ints, highs: Ints, qs: Floats, deviation: bool) -> Floats:
    """Rows that share their windows through the kernel."""
    offsets = np.cumsum([0, *map(len, rows)])
    out = np.empty((len(rows), len(lows)))
    present = np.empty(out.shape, dtype=np.bool_)
    columns = np.zeros(len(rows), dtype=np.int64)
    values = np.concatenate(rows)
    bounds = lows[np.newaxis].copy(), highs[np.newaxis].copy()
    quantile_over(values, offsets, columns, *bounds, qs, deviation, out, present)
    assert (present == (highs > lows)).all()
    return out


def assert_same(got: Floats, want: Floats) -> None:
    """Equal bits, but any NaN for a NaN."""
    assert (np.isnan(got) == np.isnan(want)).all()
    there = ~np.isnan(want)
    assert got[there].tobytes() == want[there].tobytes()


@pytest.mark.parametrize("deviation", [False, True])
@pytest.mark.parametrize("size", [4, 9, 30, 240, 3_000])
@pytest.mark.parametrize("stride", [1, 7, 33, 250])
def test_every_window_is_as_if_sorted_alone(size: int, stride: int, deviation: bool) -> None:
    """Windows of *size* samples, *stride* apart, that grow in and run out of samples."""
    random = np.random.default_rng(size * 1_000 + stride)
    steps = min(120, 6_000 // stride)
    highs = np.minimum(np.arange(steps) * stride, 5_500).astype(np.int32)
    lows = np.minimum(np.maximum(np.arange(steps) * stride - size, 0), highs).astype(np.int32)
    rows = [make(random, 5_500) for make in ROWS.values()]
    qs = np.full(steps, 0.5 if deviation else 0.9)
    twin = slow_distance if deviation else slow
    want = each(twin, rows, lows, highs, qs)
    assert_same(over(rows, lows, highs, qs, deviation), want)


@pytest.mark.parametrize("seed", range(8))
def test_windows_and_quantiles_may_change_at_every_step(seed: int) -> None:
    """Bounds that rise unevenly, and another quantile at each step, also outside [0, 1]."""
    random = np.random.default_rng(seed)
    highs = np.sort(random.integers(0, 4_000, 200)).astype(np.int32)
    lows = np.maximum.accumulate(np.maximum(highs - random.integers(0, 400, 200), 0))
    lows = np.minimum(lows, highs).astype(np.int32)
    rows = [make(random, 4_000) for make in ROWS.values()]
    qs = random.choice([-0.5, 0.0, 0.1, 0.5, 0.99, 1.0, 1.5, math.nan], 200)
    want = each(slow, rows, lows, highs, qs)
    assert_same(over(rows, lows, highs, qs, False), want)


@pytest.mark.parametrize("size", [4, 20, 240])
def test_both_zeros_are_equal_and_stay_in_the_order_of_time(size: int) -> None:
    """A zero has the sign of the samples that are at its place when order is by time."""
    random = np.random.default_rng(size)
    row = random.choice([0.0, -0.0, 1.0, -1.0], 1_000)
    highs = np.arange(size, 1_000, 3, dtype=np.int32)
    lows = highs - np.int32(size)
    got = over([row], lows, highs, np.full(len(highs), 0.5), False)[0]
    for low, high, value in zip(lows, highs, got.tolist(), strict=True):
        window = row[low:high]
        numbers = window[np.argsort(window, kind="stable")]
        want = numbers[size // 2 - 1] * 0.5 + numbers[size // 2] * 0.5
        assert (value, math.copysign(1, value)) == (want, math.copysign(1, want))

"""Extremes of windows that hardly or mostly overlap, against a search through every window."""

import math

import numpy as np
import pytest

from promql.extreme_kernels import extreme_over

SAMPLES = 300
DRAW = np.random.default_rng(3)
VALUES = {
    "noise": DRAW.random((2, SAMPLES)),
    "infinities and zeros of both signs": DRAW.choice(
        [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf], (2, SAMPLES)
    ),
    "some NaN": np.where(DRAW.random((2, SAMPLES)) < 0.5, math.nan, DRAW.random((2, SAMPLES))),
    "falling": np.tile(np.arange(SAMPLES)[::-1].astype(np.float64), (2, 1)),
}


def slow(window: np.ndarray, largest: bool) -> int:
    """The place of the first extreme, of the first sample where all are NaN."""
    best = 0
    for i, value in enumerate(window.tolist()):
        current = float(window[best])
        if value == value and (
            current != current or (value > current if largest else value < current)
        ):
            best = i
    return best


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize(("step", "length"), [(1, 7), (4, 64), (3, 100), (50, 60), (70, 1), (9, 0)])
def test_every_window_has_its_first_extreme(
    values: np.ndarray, largest: bool, step: int, length: int
) -> None:
    """Bit for bit; windows grow at the beginning and are cut at the end of a row."""
    ends = np.arange(0, SAMPLES + length + 1, step)
    highs = np.stack([np.minimum(ends, SAMPLES), np.minimum(ends, SAMPLES - 50)]).astype(np.int32)
    lows = np.minimum(np.maximum(ends - length, 0), highs).astype(np.int32)
    out, present = np.empty(lows.shape), np.empty(lows.shape, dtype=np.bool_)
    extreme_over(
        values.reshape(-1),
        np.array([0, SAMPLES, 2 * SAMPLES]),
        np.array([0, 1]),
        lows,
        highs,
        np.arange(2 * SAMPLES),
        np.array([0, SAMPLES]),
        largest,
        False,
        out,
        present,
    )
    assert np.array_equal(present, highs > lows)
    expected = np.zeros(lows.shape)
    for r, k in np.argwhere(present).tolist():
        window = values[r, lows[r, k] : highs[r, k]]
        expected[r, k] = window[slow(window, largest)]
    assert np.array_equal(out.view(np.int64), expected.view(np.int64))

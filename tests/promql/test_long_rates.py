"""Rates of rows that are longer than the runs in which steps are looked at together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.rollup_kernels import RUN
from tests.examples import examples
from tests.promql.test_rollup import Samples, expected, rolled, slow_rate

SAMPLES = 2 * RUN + 60


@st.composite
def long_row(draw: st.DrawFn) -> Samples:
    """A row of some hundred samples a second apart: a counter with jitter, gaps, falls or NaN."""
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    times_ms = np.arange(SAMPLES) * 1_000 + draw(st.integers(0, 999))
    times_ms += random.integers(0, draw(st.sampled_from([1, 300])), SAMPLES)
    values = draw(st.sampled_from([0.0, 0.1, 50.0, 1e6, -30.0])) + np.cumsum(
        random.integers(0, draw(st.sampled_from([1, 2, 100])), SAMPLES)
    )
    for at in draw(st.lists(st.integers(1, SAMPLES - 1), max_size=3)):
        values[at:] -= values[at]
        if draw(st.booleans()):
            values[at - 1] = np.nan
    for at in draw(st.lists(st.integers(0, SAMPLES - 1), max_size=2)):
        values[at] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e308]))
    kept = np.ones(SAMPLES, dtype=np.bool_)
    for at in draw(st.lists(st.integers(0, SAMPLES - 1), max_size=2)):
        kept[at : at + draw(st.integers(1, 12))] = False
    return list(zip(times_ms[kept].tolist(), values[kept].tolist(), strict=True))


@pytest.mark.parametrize("name", ["rate", "increase", "delta"])
@examples(40)
@given(series=st.lists(long_row(), min_size=1, max_size=3), step_ms=st.sampled_from([1_000, 400]))
def test_long_rates_are_those_of_the_definition_to_the_bit(
    name: str, series: list[Samples], step_ms: int
) -> None:
    """Falls, gaps, numbers that are none and counters near zero count where they are in a run."""
    slow = slow_rate(counter=name != "delta", per_second=name == "rate")
    steps = SAMPLES * 1_000 // step_ms + 10
    with np.errstate(all="ignore"):
        want = expected(series, slow, step_ms, steps)
    # As text, since NaN is no number that equals itself.
    assert repr(rolled(name, series, step_ms=step_ms, steps=steps)) == repr(want)

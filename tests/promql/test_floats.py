"""Powers: Go's special cases, and exact powers where they can be exact."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.floats import power

INF, NAN = math.inf, math.nan


def one(base: float, exponent: float) -> float:
    return float(power(np.array([[base]]), np.array([[exponent]]))[0, 0])


@pytest.mark.parametrize(
    ("base", "exponent", "expected"),
    [
        (NAN, 0.0, 1.0),
        (1.0, NAN, 1.0),
        (NAN, 1.0, NAN),
        (0.0, -3.0, INF),
        (-0.0, -3.0, -INF),
        (-0.0, -2.0, INF),
        (-0.0, -INF, INF),
        (-0.0, 3.0, -0.0),
        (-0.0, 0.5, 0.0),
        (-1.0, INF, 1.0),
        (0.5, INF, 0.0),
        (2.0, -INF, 0.0),
        (-INF, 0.5, INF),
        (-INF, 3.0, -INF),
        (-INF, -3.0, -0.0),
        (INF, -1.5, 0.0),
        (-8.0, 1 / 3, NAN),
        (-2.0, 0.5, NAN),
        (-2.0, 1e300, INF),
        (-1.0, 1e300, 1.0),
        (2.0, -1074.0, 5e-324),
        (2.0, 1024.0, INF),
        (10.0, 2.0, 100.0),
    ],
)
def test_special_powers(base: float, exponent: float, expected: float) -> None:
    """As the documentation of Go's math.Pow lists them, the sign of zero included."""
    found = one(base, exponent)
    assert (math.isnan(found) and math.isnan(expected)) or found == expected
    assert math.isnan(expected) or math.copysign(1, found) == math.copysign(1, expected)


@given(st.floats(1e-100, 1e100), st.floats(-3, 3))
def test_powers_agree_with_the_c_library(base: float, exponent: float) -> None:
    """Within the rounding of a logarithm and an exponential."""
    assert one(base, exponent) == pytest.approx(math.pow(base, exponent), rel=1e-13)


def test_a_scalar_exponent_is_like_any_other() -> None:
    """A broadcast row gives what the full array gives, bit for bit."""
    bases = np.array([[-INF, -0.0, 4.0, 3.7], [1e300, 5e-324, -7.0, 0.1]])
    for exponent in (0.5, 2.0, -1.0, 3.0):
        row = np.broadcast_to(np.array([exponent]), bases.shape)
        full = power(bases, np.full(bases.shape, exponent))
        np.testing.assert_array_equal(power(bases, row), full)
    assert power(np.array(2.0), np.array(3.0)) == 8.0


def test_whole_powers_of_small_numbers_are_exact() -> None:
    """Squaring loses nothing while the result has at most 53 bits."""
    for base, exponent in itertools.product(range(-9, 10), range(8)):
        assert one(float(base), float(exponent)) == float(base**exponent)

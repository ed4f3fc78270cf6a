"""Logarithms and powers of two: C's up to the last digits, exact where Go's are."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.log_helpers import go_exp2, go_log, go_log2

POSITIVE = st.floats(5e-324, 1.7e308)


def near(a: float, b: float) -> bool:
    return abs(a - b) <= 2 * max(math.ulp(a), math.ulp(b))


@given(POSITIVE)
def test_logarithms_are_those_of_c_up_to_rounding(x: float) -> None:
    """Within two units in the last place."""
    assert near(go_log(x), math.log(x))
    assert math.isclose(go_log2(x), math.log2(x), rel_tol=1e-15, abs_tol=1e-15)


@given(st.floats(-1070, 1023))
def test_powers_are_those_of_c_up_to_rounding(x: float) -> None:
    """Within two units in the last place."""
    assert near(go_exp2(x), 2.0**x)


@pytest.mark.parametrize("exponent", [-1074, -1022, -3, -1, 0, 1, 10, 1023])
def test_powers_of_two_are_exact(exponent: int) -> None:
    """A power of two and its logarithm lead back to each other."""
    assert go_exp2(float(exponent)) == math.ldexp(1.0, exponent)
    assert go_log2(math.ldexp(1.0, exponent)) == exponent


def test_special_values() -> None:
    """Zero, infinities, NaN and what is below zero."""
    assert go_log2(0.0) == -math.inf and go_log2(math.inf) == math.inf
    assert math.isnan(go_log2(-1.0)) and math.isnan(go_log2(math.nan))
    assert go_exp2(2000.0) == math.inf and go_exp2(-2000.0) == 0
    assert go_exp2(-math.inf) == 0 and math.isnan(go_exp2(math.nan))

"""The calendar functions against Python's, and timestamp()."""

import calendar
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql import ast
from promql.instant import CALLS
from promql.matrix import Matrix, Value
from promql.time_fn import CALENDAR, go_int64
from tests.examples import examples
from tests.promql.matrices import Bench, elements, matrix, points


def call(name: str, *args: Value) -> Value:
    return CALLS[name](list(args), ast.Call(name, ()), Bench().env)


@examples(150)
@given(st.integers(min_value=-62_135_596_800, max_value=253_402_300_799))
def test_calendar_equals_pythons(seconds: int) -> None:
    """In every year that Python knows, before 1970 too."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    wanted = {
        "day_of_month": at.day,
        "day_of_week": at.isoweekday() % 7,
        "day_of_year": at.timetuple().tm_yday,
        "days_in_month": calendar.monthrange(at.year, at.month)[1],
        "hour": at.hour,
        "minute": at.minute,
        "month": at.month,
        "year": at.year,
    }
    found = {name: int(part(np.array([seconds]))[0]) for name, part in CALENDAR.items()}
    assert found == wanted


def test_values_that_are_no_times_are_the_lowest_int64() -> None:
    """As Go converts floats on amd64; fractions are cut off toward zero."""
    lowest = -(2**63)
    values = np.array([math.nan, math.inf, -math.inf, 1e30, 2.0**63, 1.9, -1.9])
    assert go_int64(values).tolist() == [lowest] * 5 + [1, -1]


def test_the_lowest_time_has_a_calendar_too() -> None:
    """NaN and infinities have a year, which Go's arithmetic wraps round, and an hour of a day."""
    odd = matrix({"a": [math.nan, math.inf, 0.0]})
    for name, value in {"year": 292277026596.0, "hour": 15.0, "minute": 30.0}.items():
        assert points(call(name, odd))["a"][:2] == [value, value]
    assert points(call("year", odd))["a"][2] == 1970.0


@pytest.mark.parametrize("name", sorted(CALENDAR))
def test_without_argument_the_step_is_the_time(name: str) -> None:
    """One element without labels."""
    assert points(call(name)) == points(call(name, call("vector", call("time"))))


def test_timestamp_of_a_selector_is_that_of_its_samples() -> None:
    """In seconds; of anything else it is the step."""
    two = matrix({"a": [5.0, None, 5.0], "b": [5.0, 5.0, None]})
    assert points(call("timestamp", two)) == {"a": [0.0, None, 2.0], "b": [0.0, 1.0, None]}
    plain = matrix({"a": [5.0, None, 5.0]})
    times = np.array([[-500, 0, 1250]])
    timed = Matrix(plain.frame, plain.values, plain.present, None, times)
    found = call("timestamp", timed)
    assert points(found) == {"a": [-0.5, None, 1.25]}
    assert elements(found, 0)[0][2]

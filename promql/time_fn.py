"""Functions of time: the evaluation's own, the query's window, and the civil calendar in UTC."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from promql import ast
from promql.env import Env
from promql.math_fn import mapped, vector
from promql.matrix import Matrix, ScalarRow, Value, Values

Seconds = NDArray[np.int64]
Days = NDArray[np.int64]


def time(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``time()``: the seconds of each step."""
    return ScalarRow(env.grid.times_ms() / 1000)


def timestamp(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``timestamp(v)``: when the samples of a bare selector were taken, else the step's time."""
    (source,) = args
    assert isinstance(source, Matrix)
    times_ms = source.times_ms
    if times_ms is None:
        times_ms = np.broadcast_to(env.grid.times_ms(), source.values.shape)
    return mapped(source, times_ms / 1000, env)


def start_timestamp(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``start_timestamp(v)``: since when the samples of a bare selector count, 0 where unknown.

    Nothing for any other vector, and where start times do not count.
    """
    (source,) = args
    assert isinstance(source, Matrix)
    if source.times_ms is None or not env.options.use_start_timestamps:
        return Matrix.empty(source.step_count)
    return mapped(source, source.times_ms / 1000, env)


def start(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``start()``: when the query begins, in seconds."""
    return _constant(env.query.start_ms, env)


def end(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``end()``: when the query ends, in seconds; not always one of its steps."""
    return _constant(env.query.end_ms, env)


def range_(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``range()``: the seconds from ``start()`` to ``end()``; 0 for an instant query."""
    return _constant(env.query.range_ms, env)


def step(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``step()``: the seconds between two steps of the query; 0 for an instant query."""
    return _constant(env.query.step_ms, env)


def _constant(milliseconds: int, env: Env) -> ScalarRow:
    return ScalarRow(np.full(env.grid.count, milliseconds / 1000))


# --- calendar --------------------------------------------------------------------------------


def calendar(args: list[Value], call: ast.Call, env: Env) -> Value:
    """The function of ``CALENDAR`` that *call* names, of the values as seconds since 1970.

    Without an argument it works on the time of each step.
    """
    part = CALENDAR[call.name]
    if not args:
        # Whole seconds, cut off toward zero: a step before 1970 counts as the second after it.
        seconds = np.trunc(env.grid.times_ms() / 1000)
        return vector([ScalarRow(part(go_int64(seconds)).astype(np.float64))], call, env)
    (source,) = args
    assert isinstance(source, Matrix)
    source = source.floats()
    return mapped(source, part(go_int64(source.values)).astype(np.float64), env)


def go_int64(values: Values) -> Seconds:
    """``int64(value)`` of Go on amd64: cut off toward zero, -2**63 for what does not fit."""
    fits = (values >= -(2.0**63)) & (values < 2.0**63)
    return np.where(fits, np.where(fits, values, 0).astype(np.int64), np.iinfo(np.int64).min)


_DAYS_BEFORE_1970 = 106_751_991_073_400
"""Go counts seconds as uint64 from so many days before 1970: earlier times come round again."""


def _absolute(seconds: Seconds) -> NDArray[np.uint64]:
    return seconds.astype(np.uint64) + np.uint64(_DAYS_BEFORE_1970 * 86_400)


def _days(seconds: Seconds) -> Days:
    return (_absolute(seconds) // np.uint64(86_400)).astype(np.int64) - _DAYS_BEFORE_1970


def _second_of_day(seconds: Seconds) -> Days:
    return (_absolute(seconds) % np.uint64(86_400)).astype(np.int64)


def _civil(seconds: Seconds) -> tuple[Days, Days, Days]:
    """Year, month and day of the proleptic Gregorian calendar.

    Years are counted from March, so that the leap day is the last of the year; an era is the 400
    years after which the calendar repeats.
    """
    days = _days(seconds) + 719_468  # since 1 March of the year 0
    era, day_of_era = np.divmod(days, 146_097)
    year_of_era = (
        day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted_month + 2) // 5 + 1
    month = np.where(shifted_month < 10, shifted_month + 3, shifted_month - 9)
    return year_of_era + era * 400 + (month <= 2), month, day


def _leap(year: Days) -> NDArray[np.bool_]:
    return np.asarray((year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0)))


_MONTH_LENGTHS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_DAYS_BEFORE = np.concatenate(([0], np.cumsum(_MONTH_LENGTHS)[:-1]))


def _minute(seconds: Seconds) -> Days:
    return _second_of_day(seconds) // 60 % 60


def _hour(seconds: Seconds) -> Days:
    return _second_of_day(seconds) // 3600


def _day_of_week(seconds: Seconds) -> Days:
    return (_days(seconds) + 4) % 7  # 1 January 1970 was a Thursday; Sunday is 0


def _day_of_month(seconds: Seconds) -> Days:
    return _civil(seconds)[2]


def _day_of_year(seconds: Seconds) -> Days:
    year, month, day = _civil(seconds)
    return np.asarray(_DAYS_BEFORE[month - 1] + day + (_leap(year) & (month > 2)))


def _days_in_month(seconds: Seconds) -> Days:
    year, month, _ = _civil(seconds)
    return np.asarray(_MONTH_LENGTHS[month - 1] + (_leap(year) & (month == 2)))


def _month(seconds: Seconds) -> Days:
    return _civil(seconds)[1]


def _year(seconds: Seconds) -> Days:
    return _civil(seconds)[0]


CALENDAR: dict[str, Callable[[Seconds], Days]] = {
    "day_of_month": _day_of_month,
    "day_of_week": _day_of_week,
    "day_of_year": _day_of_year,
    "days_in_month": _days_in_month,
    "hour": _hour,
    "minute": _minute,
    "month": _month,
    "year": _year,
}
"""Functions of seconds since 1970, negative ones too."""

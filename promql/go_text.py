"""Numbers and times as Go prints them, for the texts of notes and for labels."""

from decimal import Decimal

import numpy as np


def format_g(value: float) -> str:
    """*value* as Go's ``%g``: the shortest digits that read back, ``1e+06`` from a million on."""
    if 1e-4 <= abs(value) < 1e6:
        return repr(float(value)).removesuffix(".0")
    if not np.isfinite(value):
        return _special(value)
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    return _in_g(sign, "".join(map(str, digits)), int(exponent), 6)


def format_g_digits(value: float, precision: int) -> str:
    """*value* as Go's ``%.<precision>g``: at most so many significant digits, >= 1."""
    if not np.isfinite(value):
        return _special(value)
    rounded = Decimal(f"{value:.{precision - 1}e}").normalize()
    sign, digits, exponent = rounded.as_tuple()
    return _in_g(sign, "".join(map(str, digits)), int(exponent), precision)


def open_metrics_float(value: float) -> str:
    """*value* as OpenMetrics writes a quantile label: ``0.5``, ``1.0``, ``NaN``, ``+Inf``."""
    if not np.isfinite(value):
        return _special(value)
    text = format_g(value)
    return text if "e" in text or "." in text else f"{text}.0"


def rfc3339_utc(time_ms: int) -> str:
    """``2024-01-31T00:00:00Z``; the milliseconds are cut off toward zero."""
    seconds = abs(time_ms) // 1000
    return f"{np.datetime64(seconds if time_ms >= 0 else -seconds, 's')}Z"


def _special(value: float) -> str:
    if np.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def _in_g(sign: int, digits: str, exponent: int, precision: int) -> str:
    """``digits * 10**exponent`` with an exponent where it is below -4 or not below *precision*."""
    minus = "-" if sign else ""
    if not digits.strip("0"):
        return f"{minus}0"
    leading = len(digits) + exponent - 1
    if -4 <= leading < precision:
        return minus + format(Decimal((0, tuple(map(int, digits)), exponent)), "f")
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{minus}{digits[0]}{fraction}e{'-' if leading < 0 else '+'}{abs(leading):02d}"

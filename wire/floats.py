"""Numbers as texts, as Go reads and prints them."""

import math
import re
from decimal import Decimal

from series.labels import quote

_DECIMAL = re.compile(r"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?", re.ASCII)
_SPECIAL = re.compile(r"[+-]?inf(?:inity)?|nan", re.IGNORECASE | re.ASCII)
_MAX_SHOWN = 100


def parse(text: str) -> float:
    """The float64 nearest to *text*, as the exposition formats read it.

    ValueError in Go's words: no hexadecimal floats, no underscores, nothing beyond the range.
    """
    if _DECIMAL.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise ValueError(
                f'strconv.ParseFloat: parsing "{text[:_MAX_SHOWN]}": value out of range'
            )
        return value
    if _SPECIAL.fullmatch(text):
        return float(text)
    if any(char in text for char in "pP_"):
        raise ValueError("unsupported character in float")
    raise ValueError(f"strconv.ParseFloat: parsing {quote(text[:_MAX_SHOWN])}: invalid syntax")


def openmetrics_text(value: float) -> str:
    """*value* with its shortest digits and always a point or an exponent: ``1.0``, ``1e+06``."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0.0"
    exact = Decimal(repr(value)).normalize()
    sign, digits, _ = exact.as_tuple()
    exponent = exact.adjusted()
    text = "".join(map(str, digits))
    minus = "-" if sign else ""
    if exponent < -4 or exponent >= 6:
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        return f"{minus}{text[0]}{fraction}e{exponent:+03d}"
    if exponent < 0:
        return f"{minus}0.{'0' * (-exponent - 1)}{text}"
    whole = text[: exponent + 1].ljust(exponent + 1, "0")
    return f"{minus}{whole}.{text[exponent + 1 :] or '0'}"

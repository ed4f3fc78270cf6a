"""Numbers and durations as they are written in a query."""

import math

from promql.errors import Rejected
from series.durations import parse_duration_ms

_MAX_INT = 2**63 - 1
_MAX_DIGITS = 4000
"""More digits are no int64, and Python reads no int of them."""
_MAX_SECONDS = 2**63 / 1e9
"""The longest duration: as many nanoseconds as Go's int64 holds."""


def parse_number(text: str, at: int = 0) -> float:
    """The value of a NUMBER token: Go's integer literals first, else a decimal float.

    A leading zero makes an octal number (``017`` is 15) unless a digit is too large for it.
    Rejected where the value does not fit a float64.
    """
    word = text.lower()
    if word in ("inf", "nan"):
        return math.inf if word == "inf" else math.nan
    digits = word.replace("_", "")
    if digits.startswith("0x"):
        return _hexadecimal(digits[2:].lstrip("0"), text, at)
    if digits.isdigit() and len(digits) <= _MAX_DIGITS:
        octal = digits[0] == "0" and len(digits) > 1 and not set(digits) & {"8", "9"}
        number = int(digits, 8 if octal else 10)
        if number <= _MAX_INT:
            return float(number)
    value = float(digits)
    if math.isinf(value):
        raise _unparsable(text, "value out of range", at)
    return value


def _hexadecimal(digits: str, text: str, at: int) -> float:
    number = int(digits or "0", 16) if len(digits) <= 16 else _MAX_INT + 1
    if number > _MAX_INT:
        raise _unparsable(text, "invalid syntax", at)
    return float(number)


def _unparsable(text: str, reason: str, at: int) -> Rejected:
    words = f'error parsing number: strconv.ParseFloat: parsing "{text}": {reason}'
    return Rejected(words, at)


def parse_duration(text: str, at: int = 0) -> int:
    """The milliseconds of a DURATION token; Rejected where they are too many."""
    if len(text) > _MAX_DIGITS:
        raise Rejected("duration out of range", at)
    try:
        return parse_duration_ms(text)
    except ValueError as error:
        raise Rejected(str(error), at) from None


def seconds_of(milliseconds: int) -> float:
    """Milliseconds as seconds, rounded as Go's ``Duration.Seconds`` does."""
    whole, rest_ms = divmod(abs(milliseconds), 1000)
    return math.copysign(whole + rest_ms * 1_000_000 / 1e9, milliseconds)


def milliseconds_of(seconds: float, at: int = 0) -> int:
    """Seconds as milliseconds, cut towards zero; Rejected beyond 2**63 ns and for NaN."""
    if not abs(seconds) <= _MAX_SECONDS:
        raise Rejected("duration out of range", at)
    nanoseconds = round(abs(seconds) * 1e9)
    return int(math.copysign(nanoseconds // 1_000_000, seconds))

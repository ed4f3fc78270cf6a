"""Helpers of kernels: doubles as text, the shortest digits that read back, as Go writes them.

The digits are found by Schubfach (R. Giulietti, "The Schubfach way to render doubles"): the edges
of the numbers that read back as a double are brought near the integers by one rounded power of ten
of 128 bits, and the shortest integer between them is chosen, of these the nearest to the double.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import callee, fold_u64, helper

NUMBER_ROOM = 25
"""Bytes that a number needs at most."""
OVERRUN = 32
"""Bytes behind a text that are written over: texts are put down a word at a time."""

_LEAST_POWER, _LARGEST_POWER = -292, 324


def _powers() -> NDArray[np.uint64]:
    """10**k as uint64[K, 2], high and low: scaled by a power of two to 128 bits, rounded up."""
    found = np.empty((_LARGEST_POWER - _LEAST_POWER + 1, 2), dtype=np.uint64)
    for k in range(_LEAST_POWER, _LARGEST_POWER + 1):
        above, below = (10**k, 1) if k >= 0 else (1, 10**-k)
        shift = 128 - above.bit_length() + (below.bit_length() if k < 0 else 0)
        scaled = -(-(above << max(shift, 0)) // (below << max(-shift, 0)))
        if scaled >> 128:
            scaled = -(-scaled // 2)
        found[k - _LEAST_POWER] = scaled >> 64, scaled & (1 << 64) - 1
    return found


_POWERS = _powers()
_TENS = np.array([10**k for k in range(20)], dtype=np.uint64)

_U0, _U1, _U2, _U3, _U4, _U5, _U8 = (np.uint64(n) for n in (0, 1, 2, 3, 4, 5, 8))
_U10, _U16, _U20, _U32, _U40 = (np.uint64(n) for n in (10, 16, 20, 32, 40))
_U52, _U60, _U63 = (np.uint64(n) for n in (52, 60, 63))
_HIDDEN = np.uint64(1 << 52)
_FRACTION = np.uint64((1 << 52) - 1)
_HALF = np.uint64(1 << 63)
_TEN = np.uint64(10 << 60)
_UNSURE = np.uint64(4)
"""More than what products that are cut short can be wrong by."""
_PART_4, _PART_2, _PART_1 = (
    np.uint64(n) for n in ((10**4 << 32) - 1, (100 << 16) - 1, (10 << 8) - 1)
)
_NOUGHTS = np.uint64(0x3030303030303030)
_POINT_NOUGHTS = np.uint64(0x3030303030302E30)
_8_DIGITS, _15_DIGITS, _16_DIGITS, _17_DIGITS = (np.uint64(10**n) for n in (8, 15, 16, 17))
_DOT, _MINUS, _PLUS, _ZERO = 0x2E, 0x2D, 0x2B, 0x30


@helper
def put_word(out: Any, at: Any, word: Any) -> Any:
    """Writes the eight bytes of *word* at *at*, the lowest first; one store when compiled."""
    out[at] = word & np.uint64(0xFF)
    out[at + 1] = (word >> np.uint64(8)) & np.uint64(0xFF)
    out[at + 2] = (word >> np.uint64(16)) & np.uint64(0xFF)
    out[at + 3] = (word >> np.uint64(24)) & np.uint64(0xFF)
    out[at + 4] = (word >> np.uint64(32)) & np.uint64(0xFF)
    out[at + 5] = (word >> np.uint64(40)) & np.uint64(0xFF)
    out[at + 6] = (word >> np.uint64(48)) & np.uint64(0xFF)
    out[at + 7] = word >> np.uint64(56)


@helper
def _high(a: Any, b: Any) -> Any:
    """The upper half of the 128-bit product."""
    return fold_u64(a, b) ^ (a * b)


@helper
def _scaled(high: Any, low: Any, factor: Any) -> Any:
    """*factor* times a power of ten without its lower 128 bits, odd where they were not zero."""
    carried = _high(low, factor)
    middle = high * factor + carried
    whole = _high(high, factor)
    if middle < carried:
        whole += _U1
    return whole | _U1 if middle > _U1 else whole


@helper
def _scale_of(power: Any) -> Any:
    """The largest e with ``10**e <= 2**power``."""
    return (power * 1262611) >> 22


@helper
def _shift_of(power: Any, tens: Any) -> Any:
    """By how much a number times 2**power is shifted before it is divided by 10**tens."""
    return np.uint64(power + ((-tens * 1741647) >> 19) + 1)


@helper
def _exact(fraction: Any, exponent: Any) -> Any:
    """As ``_shortest``, of all numbers but whole ones."""
    number = fraction if exponent == 0 else fraction | _HIDDEN
    power = max(exponent, 1) - 1075
    closer = fraction == _U0 and exponent > 1  # to the double below than to the one above
    edge = number & _U1  # an even number owns its edges
    middle = number << _U2
    lower = middle - _U2 + np.uint64(closer)
    # Where the doubles below are closer, 3/4 of the distance above decides the scale.
    tens = (power * 1262611 - 524031) >> 22 if closer else _scale_of(power)
    shift = _shift_of(power, tens)
    at = np.uint64(-tens - _LEAST_POWER)
    high, low = _POWERS[at, _U0], _POWERS[at, _U1]
    below = _scaled(high, low, lower << shift) + edge
    above = _scaled(high, low, (middle + _U2) << shift) - edge
    scaled = _scaled(high, low, middle << shift)
    digits = scaled >> _U2
    fewer = digits // _U10
    down, up = below <= fewer * _U40, (fewer + _U1) * _U40 <= above
    if down != up and fewer != _U0:
        return fewer + np.uint64(up), tens + 1
    down, up = below <= digits << _U2, (digits + _U1) << _U2 <= above
    if down == up:
        half = (digits << _U2) + _U2
        up = scaled > half or (scaled == half and digits & _U1 != _U0)
    return digits + np.uint64(up), tens


@helper
def _shortest(fraction: Any, exponent: Any) -> Any:
    """(D, e): D * 10**e is the shortest decimal that reads back as the double; D may end in zeros.

    One product says it, but for numbers with an edge, or the middle between two integers, too
    near to tell on which side they are, and those with unequal or few digits.
    """
    number, power = fraction | _HIDDEN, exponent - 1075
    if -53 < power <= 0:
        whole = number >> np.uint64(-power)
        if whole << np.uint64(-power) == number:
            return whole, np.int64(0)
    tens = _scale_of(power)
    shift = _shift_of(power, tens)
    at = np.uint64(-tens - _LEAST_POWER)
    high, low = _POWERS[at, _U0], _POWERS[at, _U1]
    factor = number << shift
    carried = _high(low, factor)
    part = high * factor + carried
    whole = _high(high, factor) + np.uint64(part < carried)
    fewer = whole // _U10
    over = ((whole - fewer * _U10) << _U60) | (part >> _U4)
    reach = high >> (_U5 - shift)
    up = over + reach
    if (
        exponent == 0
        or fraction == _U0
        or (over - reach) + _UNSURE <= _UNSURE << _U1
        or (up - _TEN) + _UNSURE <= _UNSURE << _U1
        or (part - _HALF) + _UNSURE <= _UNSURE << _U1
    ):
        return _exact(fraction, exponent)
    shorter = (fewer + np.uint64(up > _TEN)) * _U10
    return (shorter if over < reach or up > _TEN else whole + (part >> _U63)), tens


@helper
def _eight_digits(number: Any) -> Any:
    """The digits of a number below 10**8 as the bytes of a word, the first digit lowest."""
    # Each step parts a into a // b, which stays, and a % b, which goes 32, 16 or 8 bits higher.
    fours = (number << _U32) - ((number * np.uint64(109951163)) >> _U40) * _PART_4
    hundreds = ((fours * np.uint64(10486)) >> _U20) & np.uint64(0x7F0000007F)
    twos = (fours << _U16) - hundreds * _PART_2
    tens = ((twos * np.uint64(103)) >> _U10) & np.uint64(0x000F000F000F000F)
    return (twos << _U8) - tens * _PART_1


@helper
def _top_bit(number: Any) -> Any:
    """The position of the highest bit that is set; one more where the next 53 are set, too."""
    bits = np.float64(np.float64(number)).view(np.uint64)
    return np.int64(bits >> _U52) - 1023


@helper
def _length(number: Any) -> Any:
    """How many decimal digits *number* > 0 has."""
    if number >= _15_DIGITS:
        return 16 + np.int64(number >= _16_DIGITS)
    least = ((_top_bit(number) + 1) * 1233) >> 12
    return least + np.int64(number >= _TENS[np.uint64(least)])


@helper
def _last(upper: Any, lower: Any) -> Any:
    """The position of the last of 17 digits that is not 0; the words hold all but the first."""
    if lower != _U0:
        return 9 + (_top_bit(lower) >> 3)
    if upper != _U0:
        return 1 + (_top_bit(upper) >> 3)
    return 0


@helper
def _put_power(power: Any, out: Any, at: Any) -> Any:
    """Writes ``e±dd`` or ``e±ddd``."""
    out[at] = 0x65
    out[at + 1] = _MINUS if power < 0 else _PLUS
    at += 2
    size = abs(power)
    if size >= 100:
        out[at] = _ZERO + size // 100
        at += 1
    out[at] = _ZERO + size // 10 % 10
    out[at + 1] = _ZERO + size % 10
    return at + 2


@helper
def _put_special(negative: Any, fraction: Any, out: Any, at: Any) -> Any:
    if fraction != _U0:
        out[at], out[at + 1], out[at + 2] = 0x4E, 0x61, 0x4E  # NaN
        return at + 3
    out[at] = _MINUS if negative else _PLUS
    out[at + 1], out[at + 2], out[at + 3] = 0x49, 0x6E, 0x66  # Inf
    return at + 4


@helper
def _put_digits(first: Any, upper: Any, lower: Any, out: Any, at: Any) -> Any:
    out[at] = first | np.uint64(_ZERO)
    put_word(out, at + 1, upper)
    put_word(out, at + 9, lower)


@helper
def _put_positional(
    first: Any, upper: Any, lower: Any, last: Any, power: Any, out: Any, at: Any
) -> Any:
    """Writes a number of 1 or more up to below 1e21, whose last digit is not 0."""
    _put_digits(first, upper, lower, out, at)
    put_word(out, at + 17, _NOUGHTS)
    if last <= power:
        return at + power + 1
    out[at + power + 1] = _DOT
    before = np.uint64(power)
    if power >= 8:
        upper, lower, before = lower, _U0, before - _U8
    before <<= _U3
    put_word(out, at + power + 2, (upper >> before) | (lower << _U1 << (_U63 - before)))
    put_word(out, at + power + 10, lower >> before)
    return at + last + 2


@callee
def put_number(value: Any, out: Any, at: Any) -> Any:
    """Writes *value* at *at*; the position behind it.

    Positional from 1e-6 up to below 1e21, else ``d.ddde±xx``. The bytes up to OVERRUN behind the
    text may be written, too.
    """
    bits = np.float64(value).view(np.uint64)
    negative = bits >> _U63 != _U0
    exponent = np.int64((bits >> _U52) & np.uint64(0x7FF))
    fraction = bits & _FRACTION
    if exponent == 0x7FF:
        return _put_special(negative, fraction, out, at)
    if negative:
        out[at] = _MINUS
        at += 1
    if exponent == 0 and fraction == _U0:
        out[at] = _ZERO
        return at + 1
    number, tens = _shortest(fraction, exponent)
    if number == _17_DIGITS:  # rounded up to one digit more than there is room for
        number, tens = _U1, tens + 17
    length = _length(number)
    number *= _TENS[np.uint64(17 - length)]
    first = number // _16_DIGITS
    number -= first * _16_DIGITS
    halfway = number // _8_DIGITS
    upper, lower = _eight_digits(halfway), _eight_digits(number - halfway * _8_DIGITS)
    last = _last(upper, lower)
    upper, lower = upper | _NOUGHTS, lower | _NOUGHTS
    power = length + tens - 1
    if 0 <= power < 21:
        return _put_positional(first, upper, lower, last, power, out, at)
    if -7 < power < 0:
        put_word(out, at, _POINT_NOUGHTS)
        at += 1 - power
        _put_digits(first, upper, lower, out, at)
        return at + last + 1
    _put_digits(first, upper, lower, out, at + 1)
    out[at], out[at + 1] = out[at + 1], _DOT
    return _put_power(power, out, at + last + 2 if last > 0 else at + 1)

"""Helpers of kernels: doubles as whole numbers over a power of ten."""

from typing import Any

import numpy as np

from series.jit import helper

_POWERS = np.array([10.0**e for e in range(23)])
_MAX_EXPONENT = 15
_GUESSED = 8
"""So many samples are looked at to guess the exponent of all."""
_NEGATIVE_ZERO = np.uint64(1 << 63)
_LONG = np.int64(1 << 50)
"""Decimals of so many digits are no decimals, but doubles that could be anything."""


@helper
def _as_scaled(value: Any, exponent: Any) -> Any:
    """(exact, n): whether ``n / 10**exponent`` is *value*, bit for bit, and n."""
    if value == 0.0 and np.copysign(1.0, value) < 0.0:
        return False, 0
    if exponent == 0:
        if not abs(value) < 4611686018427387904.0:
            return False, 0
        whole = np.int64(value)
        return np.float64(whole) == value, whole
    scaled = value * _POWERS[exponent]
    if not abs(scaled) < 9007199254740992.0:
        return False, 0
    whole = np.int64(np.rint(scaled))
    return np.float64(whole) / _POWERS[exponent] == value, whole


@helper
def _all_whole(values: Any, bits: Any, whole: Any) -> Any:
    """Whether all values are whole numbers, which *whole* then holds."""
    others = 0
    for i in range(len(values)):
        value = values[i] if abs(values[i]) < 4611686018427387904.0 else 0.5
        whole[i] = np.int64(value)
        others += np.float64(whole[i]) != value or bits[i] == _NEGATIVE_ZERO
    return others == 0


@helper
def _all_scaled(values: Any, bits: Any, exponent: Any, whole: Any) -> Any:
    """Whether all values are ``whole / 10**exponent``, with an exponent above 0."""
    power = _POWERS[exponent]
    others = 0
    for i in range(len(values)):
        scaled = values[i] * power
        scaled = scaled if abs(scaled) < 9007199254740992.0 else 0.5
        whole[i] = np.int64(np.rint(scaled))
        others += np.float64(whole[i]) / power != values[i] or bits[i] == _NEGATIVE_ZERO
    return others == 0


@helper
def _guess(values: Any) -> Any:
    """The exponent that the first values need; 0 where one of them has none."""
    exponent = 0
    for i in range(min(_GUESSED, len(values))):
        exact, _ = _as_scaled(values[i], exponent)
        while not exact:
            exponent += 1
            if exponent > _MAX_EXPONENT:
                return 0
            exact, _ = _as_scaled(values[i], exponent)
    return exponent


@helper
def scale(values: Any, bits: Any, whole: Any, odd: Any) -> Any:
    """(exponent, odd count): values as ``whole / 10**exponent``, the positions that are odd.

    The exponent is -1 where too many are odd. An odd position repeats its predecessor in *whole*.
    """
    if _all_whole(values, bits, whole):
        return 0, 0
    exponent = _guess(values)
    if exponent > 0 and _all_scaled(values, bits, exponent, whole):
        return exponent, 0
    return _scale_some(values, whole, odd)


@helper
def _scale_some(values: Any, whole: Any, odd: Any) -> Any:
    """As ``_scale``, sample by sample."""
    count = len(values)
    most = count // 32 + 2
    exponent = 0
    while True:
        odd_count = 0
        previous = np.int64(0)
        higher = exponent
        for i in range(count):
            value = values[i]
            exact, number = _as_scaled(value, exponent)
            if not exact and value != 0.0 and np.isfinite(value):
                higher = exponent + 1
                while higher <= _MAX_EXPONENT and not exact:
                    exact, number = _as_scaled(value, higher)
                    if not exact:
                        higher += 1
                if exact:
                    break
                higher = exponent
            if not exact:
                if odd_count == most:
                    return -1, 0
                odd[odd_count] = i
                odd_count += 1
                number = previous
            whole[i] = number
            previous = number
        if higher == exponent:
            break
        exponent = higher
    if odd_count == count:
        return -1, 0
    good = 0
    while good < odd_count and odd[good] == good:
        good += 1
    for i in range(good):
        whole[i] = whole[good]
    return exponent, odd_count


@helper
def are_short(numbers: Any) -> Any:
    """Whether these are decimals, and not doubles that could be anything."""
    longest = np.int64(0)
    for i in range(len(numbers)):
        longest = max(longest, abs(numbers[i]))
    return longest < _LONG

"""Powers as Go's ``math.Pow`` computes them."""

import math
from typing import Any

import numpy as np

from series.jit import helper, kernel

_HUGE = 9.223372036854775808e18  # 2 ** 63


@helper
def _is_odd(y: Any) -> Any:
    """Whether *y* is an odd whole number."""
    if abs(y) >= 9007199254740992.0:  # 2 ** 53: all larger floats are even
        return False
    return y == math.floor(y) and y * 0.5 != math.floor(y * 0.5)


@helper
def _of_zero(x: Any, y: Any) -> Any:
    negative = math.copysign(1.0, x) < 0 and _is_odd(y)
    if y < 0:
        return -math.inf if negative else math.inf
    return x if negative else 0.0


@helper
def _of_infinity(x: Any, y: Any) -> Any:
    if x < 0:
        return _of_zero(-0.0, -y)
    return 0.0 if y < 0 else math.inf


@helper
def _finite(x: Any, y: Any) -> Any:
    """By squaring the mantissa; the exponent is carried apart."""
    size = abs(y)
    whole = np.floor(size)
    rest = size - whole
    if rest != 0 and x < 0:
        return math.nan
    if whole >= _HUGE:
        if x == -1.0:
            return 1.0
        return 0.0 if (abs(x) < 1) == (y > 0) else math.inf
    power, exponent = 1.0, np.int64(0)
    if rest != 0:
        if rest > 0.5:
            rest -= 1.0
            whole += 1.0
        power = math.exp(rest * math.log(x))
    mantissa, shift = math.frexp(x)
    e = np.int64(shift)
    left = np.int64(whole)
    while left != 0:
        if e < -4096 or e > 4096:
            exponent += e
            break
        if left & 1:
            power *= mantissa
            exponent += e
        mantissa *= mantissa
        e <<= 1
        if mantissa < 0.5:
            mantissa += mantissa
            e -= 1
        left >>= 1
    if y < 0:
        power = 1.0 / power
        exponent = -exponent
    # Beyond this it is zero or infinite in any case.
    return math.ldexp(power, int(min(max(int(exponent), -10_000), 10_000)))


@kernel("void(Array(f8, 2, 'C', True), Array(f8, 2, 'C', True), f8[:, ::1])")
def power(bases: Any, exponents: Any, out: Any) -> None:
    """``bases ** exponents``, all [S, T]. Source: math/pow.go of Go."""
    for s in range(bases.shape[0]):
        for t in range(bases.shape[1]):
            x, y = bases[s, t], exponents[s, t]
            if y == 0 or x == 1:
                out[s, t] = 1.0
            elif y == 1:
                out[s, t] = x
            elif x != x or y != y:
                out[s, t] = math.nan
            elif x == 0:
                out[s, t] = _of_zero(x, y)
            elif abs(y) == math.inf:
                if x == -1:
                    out[s, t] = 1.0
                else:
                    out[s, t] = 0.0 if (abs(x) < 1) == (y > 0) else math.inf
            elif abs(x) == math.inf:
                out[s, t] = _of_infinity(x, y)
            elif y == 0.5:
                out[s, t] = math.sqrt(x) if x >= 0 else math.nan
            elif y == -0.5:
                out[s, t] = 1.0 / math.sqrt(x) if x >= 0 else math.nan
            else:
                out[s, t] = _finite(x, y)

"""Logarithms and powers of two as Go's ``math`` computes them, for kernels.

The polynomials are those of FreeBSD's msun (e_log.c, e_exp.c), in Go's order of operations; C's
libraries differ from them in the last digit.
"""

import math

import numpy as np

from series.jit import helper

_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_HALF_SQRT2 = math.sqrt(2) / 2
_PER_LN2 = 1 / math.log(2)


@helper
def go_log(x: float) -> float:
    """``math.Log``."""
    if np.isnan(x) or x == np.inf:
        return x
    if x < 0:
        return np.nan
    if x == 0:
        return -np.inf
    f, exponent = math.frexp(x)
    if f < _HALF_SQRT2:
        f *= 2
        exponent -= 1
    f -= 1
    k = float(exponent)
    s = f / (2 + f)
    s2 = s * s
    s4 = s2 * s2
    t1 = s2 * (
        6.666666666666735130e-01
        + s4
        * (
            2.857142874366239149e-01
            + s4 * (1.818357216161805012e-01 + s4 * 1.479819860511658591e-01)
        )
    )
    t2 = s4 * (
        3.999999999940941908e-01 + s4 * (2.222219843214978396e-01 + s4 * 1.531383769920937332e-01)
    )
    r = t1 + t2
    half = 0.5 * f * f
    return float(k * _LN2_HIGH - ((half - (s * (half + r) + k * _LN2_LOW)) - f))


@helper
def go_log2(x: float) -> float:
    """``math.Log2``: exact for powers of two."""
    if np.isnan(x) or np.isinf(x) or x <= 0:
        return go_log(x)
    fraction, exponent = math.frexp(x)
    if fraction == 0.5:
        return float(exponent - 1)
    return go_log(fraction) * _PER_LN2 + float(exponent)


@helper
def go_exp2(x: float) -> float:
    """``math.Exp2``."""
    if np.isnan(x) or x == np.inf:
        return x
    if x > 1.0239999999999999e03:
        return np.inf
    if x < -1.0740e03:
        return 0.0
    k = 0
    if x > 0:
        k = int(x + 0.5)
    elif x < 0:
        k = int(x - 0.5)
    t = x - float(k)
    high = t * _LN2_HIGH
    low = -t * _LN2_LOW
    r = high - low
    t = r * r
    c = r - t * (
        1.66666666666666657415e-01
        + t
        * (
            -2.77777777770155933842e-03
            + t
            * (
                6.61375632143793436117e-05
                + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08)
            )
        )
    )
    y = 1 - ((low - (r * c) / (2 - c)) - high)
    return math.ldexp(y, k)

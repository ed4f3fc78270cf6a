"""Float arithmetic as Go's ``math`` defines it, on arrays.

numpy's ufuncs are C's functions, whose special cases for zeros, infinities and NaN are Go's except
where a function here says otherwise.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from promql import power_kernels

Floats = NDArray[np.float64]
FloatOperation = Callable[[Floats, Floats], Floats]


def power(base: Floats, exponent: Floats) -> Floats:
    """``math.Pow``; at most two dimensions."""
    shape = np.broadcast_shapes(np.shape(base), np.shape(exponent))
    rows = shape if len(shape) == 2 else (1, math.prod(shape))
    out = np.empty(rows)
    bases = np.ascontiguousarray(np.broadcast_to(base, shape)).reshape(rows)
    exponents = np.ascontiguousarray(np.broadcast_to(exponent, shape)).reshape(rows)
    power_kernels.power(bases, exponents, out)
    return out.reshape(shape)


ARITHMETIC: dict[str, FloatOperation] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": power,
    "atan2": np.arctan2,
}

COMPARISONS: dict[str, Callable[[Floats, Floats], NDArray[np.bool_]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def go_max(a: Floats, b: Floats) -> Floats:
    """``math.Max``: +Inf wins even over NaN, then NaN, and +0 over -0."""
    larger = np.maximum(a, b)
    if (larger == 0).any():
        larger = np.where((a == 0) & (b == 0), np.add(a, b), larger)
    if np.isnan(larger).any():
        larger = np.where(np.isposinf(a) | np.isposinf(b), np.inf, larger)
    return larger


def go_min(a: Floats, b: Floats) -> Floats:
    """``math.Min``: -Inf wins even over NaN, then NaN, and -0 over +0."""
    return -go_max(-a, -b)


def sgn(x: Floats) -> Floats:
    """-1, 1, or the value itself where it is NaN or a zero of either sign."""
    return np.where(x < 0, -1.0, np.where(x > 0, 1.0, x))


def log2(x: Floats) -> Floats:
    """``math.Log2``: the logarithm of the mantissa, in the order in which Go computes it."""
    mantissa, exponent = np.frexp(x)
    bits = np.log(mantissa) * (1 / math.log(2)) + exponent
    return np.where(mantissa == 0.5, exponent - 1.0, bits)


_LOG10_OF_2 = math.log10(2)


def log10(x: Floats) -> Floats:
    """``math.Log10``, which Go derives from Log2."""
    return log2(x) * _LOG10_OF_2


def sinh(x: Floats) -> Floats:
    """``math.Sinh``, infinite as soon as half of e**x would only just not be."""
    return np.where(np.abs(x) > 21, np.copysign(np.exp(np.abs(x)) * 0.5, x), np.sinh(x))


def cosh(x: Floats) -> Floats:
    """``math.Cosh``, see ``sinh``."""
    return np.where(np.abs(x) > 21, np.exp(np.abs(x)) * 0.5, np.cosh(x))


def degrees(x: Floats) -> Floats:
    return x * 180 / np.pi


def radians(x: Floats) -> Floats:
    return x * np.pi / 180


def round_to(x: Floats, nearest: Floats) -> Floats:
    """*x* rounded to a multiple of *nearest*, ties up."""
    inverse = 1.0 / nearest
    return np.floor(x * inverse + 0.5) / inverse

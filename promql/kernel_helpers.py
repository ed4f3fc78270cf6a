"""What kernels of several files are made of."""

import math

import numpy as np
from numpy.typing import NDArray

from series.jit import helper


@helper
def kahan(increment: float, total: float, c: float) -> tuple[float, float]:
    """One step of a Kahan-Neumaier sum: the new total and compensation."""
    t = total + increment
    if math.isinf(t):
        return t, 0.0
    if abs(total) >= abs(increment):
        return t, c + ((total - t) + increment)
    return t, c + ((increment - t) + total)


@helper
def longest_row(offsets: NDArray[np.int64]) -> int:
    """The length of the longest row of a batch, at least 1."""
    longest = 1
    for r in range(len(offsets) - 1):
        longest = max(longest, offsets[r + 1] - offsets[r])
    return longest

"""A sum for kernels, quick although nothing is reassociated behind one's back."""

from typing import Any

import numpy as np

from series.jit import helper


@helper
def total_of(numbers: Any, count: Any) -> Any:
    """The sum of the first *count* of *numbers*, which are overwritten.

    The upper half is added to the lower one, again and again: additions that do not wait for each
    other.
    """
    left = count
    while left > 8:
        half = left >> 1
        left -= half
        upper = np.uint64(left)  # unsigned: an index that might be negative costs a check
        for i in range(np.uint64(half)):
            numbers[i] += numbers[upper + i]
    total = 0.0
    for i in range(left):
        total += numbers[i]
    return total

"""Arrays that grow at the end."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


def grown(array: NDArray[T], size: int) -> NDArray[T]:
    """*array*, or a copy with room for at least *size* rows and for half as many again as now.

    What is added is 0.
    """
    if size <= len(array):
        return array
    larger: NDArray[T] = np.zeros(
        (max(size, len(array) * 3 // 2), *array.shape[1:]), dtype=array.dtype
    )
    larger[: len(array)] = array
    return larger

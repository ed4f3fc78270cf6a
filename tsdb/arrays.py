"""Arrays that grow at the end."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tsdb.memory import memory_bytes

T = TypeVar("T", bound=np.generic)

_LARGE_BYTES = 8 << 20


def grown(array: NDArray[T], size: int) -> NDArray[T]:
    """*array*, or a copy with room for at least *size* rows and for half as many again as now.

    What is added is 0. A large copy gets address space for a quarter of the memory, of which the
    system backs only what is touched: so it is the last one, and no writer waits for a longer one.
    """
    if size <= len(array):
        return array
    rows = max(size, len(array) * 3 // 2)
    row_bytes = array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    if rows * row_bytes >= _LARGE_BYTES:
        try:
            return _copied(array, max(rows, memory_bytes() // 4 // row_bytes))
        except MemoryError:  # so much address space is not to be had
            return _copied(array, rows)
    return _copied(array, rows)


def _copied(array: NDArray[T], rows: int) -> NDArray[T]:
    larger: NDArray[T] = np.zeros((rows, *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger

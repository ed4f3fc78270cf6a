"""The kernels that decode, for one frame body."""

import numpy as np
from numpy.typing import NDArray

from tsdb.block import decode_kernels

Bytes = NDArray[np.uint8]


def decode_values(
    body: Bytes, pieces: NDArray[np.int64], first: int, end: int, out: NDArray[np.float64]
) -> bool:
    """Whether the body holds the pieces *first* up to *end*, which then are in *out*."""
    starts, runs = np.array([0, len(body)]), np.array([first, end])
    return decode_kernels.decode_values(body, starts, pieces, runs, out) == 1


def decode_times(
    body: Bytes, pieces: NDArray[np.int64], first: int, end: int, out: NDArray[np.int64]
) -> bool:
    """As ``decode_values``."""
    starts, runs = np.array([0, len(body)]), np.array([first, end])
    return decode_kernels.decode_times(body, starts, pieces, runs, out) == 1

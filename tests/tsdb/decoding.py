"""The kernels that decode, for one frame body."""

import numpy as np
from numpy.typing import NDArray

from tsdb.block import decode_kernels
from tsdb.block.frame_cache import place_of
from tsdb.block.planned_read import NO_MOVES

Bytes = NDArray[np.uint8]


def decode_values(
    body: Bytes, pieces: NDArray[np.int64], first: int, end: int, out: NDArray[np.float64]
) -> bool:
    """Whether the body holds the pieces *first* up to *end*, which then are in *out*."""
    held, runs = np.ascontiguousarray(body), np.array([first, end])
    return (
        decode_kernels.decode_values(np.array([place_of(held)]), pieces, runs, NO_MOVES, out) == 1
    )


def decode_times(
    body: Bytes, pieces: NDArray[np.int64], first: int, end: int, out: NDArray[np.int64]
) -> bool:
    """As ``decode_values``."""
    held, runs = np.ascontiguousarray(body), np.array([first, end])
    return decode_kernels.decode_times(np.array([place_of(held)]), pieces, runs, NO_MOVES, out) == 1

"""FrameBody: what a frame holds, in memory, as the kernels that decode take it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class FrameBody(NamedTuple):
    """``data`` uint8[n] are the unpacked bytes, ``place`` their address and size."""

    data: NDArray[np.uint8]
    place: tuple[int, int]

    @staticmethod
    def of(data: NDArray[np.uint8]) -> "FrameBody":
        """*data* must be contiguous, as ``unpack_frame`` makes it."""
        return FrameBody(data, (data.ctypes.data, data.nbytes))


def places_of(bodies: Sequence[FrameBody]) -> NDArray[np.int64]:
    """int64[2, B], addresses and sizes; good for as long as the caller holds *bodies*."""
    return np.array([body.place for body in bodies], dtype=np.int64).T.copy()

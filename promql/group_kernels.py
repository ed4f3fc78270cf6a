"""Kernels of groups: rows [S, T] folded into their groups [G, T], where ``ids[S]`` names them."""

import numpy as np
from numpy.typing import NDArray

from series.jit import kernel

I8 = NDArray[np.int64]
B1 = NDArray[np.bool_]


@kernel("void(b1[:, ::1], i8[::1], b1[:, ::1], b1[::1])")
def mark(present: B1, ids: I8, any_of: B1, repeated: B1) -> None:
    """Where each group has a point, and the steps at which one has several; both start False."""
    for r in range(present.shape[0]):
        g = ids[r]
        for k in range(present.shape[1]):
            repeated[k] |= any_of[g, k] & present[r, k]
            any_of[g, k] |= present[r, k]


@kernel("void(i8[:, ::1], b1[:, ::1], i8[::1], i8[:, ::1])")
def unite(bits: I8, present: B1, ids: I8, out: I8) -> None:
    """The bits of each group's points, united; *out* starts as zeros."""
    for r in range(present.shape[0]):
        g = ids[r]
        for k in range(present.shape[1]):
            if present[r, k]:
                out[g, k] |= bits[r, k]

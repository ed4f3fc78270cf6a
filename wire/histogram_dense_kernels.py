"""Buckets of classic histograms, one stretch of counts each, laid down as those of native ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import kernel
from wire.histogram_helpers import put_spread


@kernel("i8(f8[::1], i8[::1], i8[::1], i8[::1], i4[::1], f8[::1])")
def place(
    counts: NDArray[np.float64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    offsets: NDArray[np.int64],
    positions: NDArray[np.int32],
    bucket_counts: NDArray[np.float64],
) -> Any:
    """Lays down ``counts[starts[h] : ends[h]]``, from index 0 on, as the buckets of histogram h.

    Fills ``offsets[h : h + 2]``, *positions* and *bucket_counts*, which have room for all counts.
    Returns how many buckets there are.
    """
    used: Any = np.int64(0)
    offsets[0] = 0
    for h in range(len(starts)):
        begin = used
        last: Any = np.int64(0)
        for index in range(ends[h] - starts[h]):
            used, last = put_spread(
                positions, bucket_counts, begin, used, last, index, counts[starts[h] + index]
            )
        offsets[h + 1] = used
    return used

"""Kernel that lists the buckets of native histograms with their bounds."""

import numpy as np
from numpy.typing import NDArray

from promql.bucket_helpers import walk
from promql.histogram_helpers import OFFSETS, POOL, SCHEMAS, Pool
from series.histogram import CUSTOM_SCHEMA
from series.jit import kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
U1 = NDArray[np.uint8]

LEFT_OPEN, RIGHT_OPEN, OPEN, CLOSED = 0, 1, 2, 3
"""Which of its bounds a bucket takes in, as the HTTP API numbers it."""


@kernel(f"void({POOL}, i8[::1], f8[::1], f8[::1], f8[::1], u1[::1])")
def list_buckets(pool: Pool, offsets: I8, lowers: F8, uppers: F8, counts: F8, rules: U1) -> None:
    """Histogram h has the buckets from ``offsets[h]`` to ``offsets[h + 1]``, empty ones left out.

    The arrays have room for all buckets of the pool and one more a histogram.
    """
    n = 0
    offsets[0] = 0
    for at in range(len(pool[SCHEMAS])):
        room = pool[OFFSETS][at + 1] - pool[OFFSETS][at] + 1
        stretch = slice(n, n + room)
        size, zero = walk(pool, at, lowers[stretch], uppers[stretch], counts[stretch], True)
        custom = pool[SCHEMAS][at] == CUSTOM_SCHEMA
        start = n
        for i in range(start, start + size):
            if counts[i] == 0.0:
                continue
            lower, upper = lowers[i], uppers[i]
            lowers[n], uppers[n], counts[n] = lower, upper, counts[i]
            if i - start == zero or (custom and lower == -np.inf):
                rules[n] = CLOSED
            elif lower < 0 and not custom:
                rules[n] = RIGHT_OPEN
            else:
                rules[n] = LEFT_OPEN if upper > 0 or custom else OPEN
            n += 1
        offsets[at + 1] = n

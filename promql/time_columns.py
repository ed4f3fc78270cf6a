"""Which rows of a slab share their times."""

import numpy as np
from numpy.typing import NDArray


def distinct_columns(
    starts: NDArray[np.int64], lengths: NDArray[np.int64], samples: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows that have each distinct column of times first, int64[C], and the rows' columns.

    Row r has the ``lengths[r]`` times from ``starts[r]`` on; none has more than *samples*.
    """
    # Where all share theirs a look at the first and last row spares one at all.
    if len(starts) < 2 or (starts[-1] > starts[0] and (starts[1:] > starts[:-1]).all()):
        own = np.arange(len(starts))
        return own, own
    # One integer for start and length together: distinct pairs give distinct integers.
    pairs = starts * (samples + 1) + lengths
    if (pairs == pairs[0]).all():
        return np.zeros(1, dtype=np.int64), np.zeros(len(pairs), dtype=np.int64)
    begins = np.ones(len(pairs), dtype=np.bool_)
    np.not_equal(pairs[1:], pairs[:-1], out=begins[1:])
    first = begins.nonzero()[0]
    heads = pairs[first]
    if (heads[1:] > heads[:-1]).all():  # rows that share their times mostly stand together
        return first, begins.cumsum() - 1
    _, first, columns = np.unique(pairs, return_index=True, return_inverse=True)
    return first, columns

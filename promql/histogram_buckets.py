"""The buckets of native histograms as columns, for answers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promql.bucket_walk_kernels import list_buckets
from series.histogram import Histograms

Ids = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets that count anything, histogram by histogram, in ascending order.

    ``offsets`` int64[H + 1]; ``lowers``, ``uppers``, ``counts`` float64[B]; ``rules`` uint8[B]:
    0 (lower, upper], 1 [lower, upper), 2 (lower, upper), 3 [lower, upper].
    """

    offsets: Ids
    lowers: Values
    uppers: Values
    counts: Values
    rules: NDArray[np.uint8]

    @classmethod
    def of(cls, histograms: Histograms) -> "Buckets":
        room = len(histograms.positions) + histograms.size
        offsets = np.empty(histograms.size + 1, dtype=np.int64)
        columns = np.empty(room), np.empty(room), np.empty(room)
        rules = np.empty(room, dtype=np.uint8)
        list_buckets(histograms.columns, offsets, *columns, rules)
        size = int(offsets[-1])
        lowers, uppers, counts = (column[:size] for column in columns)
        return cls(offsets, lowers, uppers, counts, rules[:size])


def bucket_columns(histograms: Histograms) -> tuple[Ids, Values, Values, Values]:
    """Offsets, lower and upper bounds and counts of ``Buckets.of``."""
    buckets = Buckets.of(histograms)
    return buckets.offsets, buckets.lowers, buckets.uppers, buckets.counts

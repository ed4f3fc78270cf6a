"""Instant selectors: the newest sample within the lookback at every step."""

import numpy as np
from numpy.typing import NDArray

from promql.lookup_kernels import newest_samples
from promql.matrix import Matrix
from series.batch import STALE_NAN_BITS, SeriesBatch
from series.frame import LabelFrame


def lookup(
    frame: LabelFrame,
    batch: SeriesBatch,
    ends_ms: NDArray[np.int64],
    lookback_ms: int,
    *,
    timed: bool = False,
) -> Matrix:
    """The vectors of the rows of *batch* at *ends_ms* (int64[T], never falling).

    *frame* labels the rows; with *timed* the answer carries the samples' own times.
    """
    shape = (batch.series_count, len(ends_ms))
    values, present = np.empty(shape), np.empty(shape, dtype=np.bool_)
    times_ms = np.empty(shape if timed else (0, len(ends_ms)), dtype=np.int64)
    newest_samples(
        batch.values,
        batch.values.view(np.uint64),
        batch.offsets,
        batch.times_ms,
        batch.time_starts,
        ends_ms,
        lookback_ms,
        STALE_NAN_BITS,
        values,
        present,
        times_ms,
    )
    return Matrix(frame, values, present, times_ms=times_ms if timed else None)

"""Instant selectors: the newest sample within the lookback at every step."""

import math

import numpy as np
from numpy.typing import NDArray

from promql import lookup_kernels as kernels
from promql.matrix import Mask, Matrix
from series.batch import STALE_NAN_BITS, SeriesBatch
from series.frame import LabelFrame
from series.histogram import Histograms

Ids = NDArray[np.int64]


def lookup(
    frame: LabelFrame,
    batch: SeriesBatch,
    ends_ms: NDArray[np.int64],
    lookback_ms: int,
    *,
    timed: bool = False,
    started: bool = False,
) -> Matrix:
    """The vectors of the rows of *batch* at *ends_ms* (int64[T], never falling).

    *frame* labels the rows; with *timed* the answer carries the samples' own times, with *started*
    their start times in the place of these (0 where unknown).
    """
    if started or batch.histogram_ids is not None:
        return _lookup(frame, batch, ends_ms, lookback_ms, timed=timed, started=started)
    shape = (batch.series_count, len(ends_ms))
    values, present = np.empty(shape), np.empty(shape, dtype=np.bool_)
    times_ms = np.empty(shape if timed else (0, len(ends_ms)), dtype=np.int64)
    kernels.newest_samples(
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


def lookup_row(
    frame: LabelFrame, batch: SeriesBatch, end_ms: int, lookback_ms: int
) -> Matrix | None:
    """``lookup`` of a single row of floats at *end_ms*, without kernels; None without a point."""
    times_ms, values = batch.row_times_ms(0), batch.row_values(0)
    at = len(times_ms) - 1
    if at >= 0 and times_ms.item(at) > end_ms:
        at = int(times_ms.searchsorted(end_ms, side="right")) - 1
    if at < 0 or times_ms.item(at) <= end_ms - lookback_ms:
        return None
    point = values[at : at + 1].reshape(1, 1)
    if math.isnan(point.item()) and point.view(np.uint64).item() == STALE_NAN_BITS:
        return None
    return Matrix(frame, point, np.array([[True]]))


def _lookup(
    frame: LabelFrame,
    batch: SeriesBatch,
    ends_ms: NDArray[np.int64],
    lookback_ms: int,
    *,
    timed: bool,
    started: bool,
) -> Matrix:
    """The same by the samples' places."""
    found = np.empty((batch.series_count, len(ends_ms)), dtype=np.int64)
    ids = batch.histogram_ids
    kernels.newest_places(
        batch.values.view(np.uint64),
        np.zeros(0, dtype=np.int64) if ids is None else ids,
        batch.offsets,
        batch.times_ms,
        batch.time_starts,
        ends_ms,
        lookback_ms,
        STALE_NAN_BITS,
        found,
    )
    present = found >= 0
    if not batch.sample_count:
        return Matrix(frame, np.zeros(found.shape), present, times_ms=found if timed else None)
    at = np.where(present, found, 0)
    times_ms = None
    if started:
        starts_ms = batch.starts_ms
        times_ms = np.zeros(found.shape, dtype=np.int64) if starts_ms is None else starts_ms[at]
    elif timed:
        times_ms = batch.times_ms[at + (batch.time_starts - batch.offsets[:-1])[:, None]]
    if ids is None or batch.histograms is None:
        return Matrix(frame, batch.values[at], present, times_ms=times_ms)
    picked, histograms = packed(np.where(present, ids[at], -1), present, batch.histograms)
    return Matrix(frame, batch.values[at], present, None, times_ms, picked, histograms)


def packed(ids: Ids, present: Mask, histograms: Histograms) -> tuple[Ids, Histograms]:
    """Ids (int64[S, T]) and histograms without most of those that no present point names."""
    used = np.zeros(histograms.size + 1, dtype=np.bool_)
    used[ids[present]] = True  # -1 falls on the last place
    used = used[:-1]
    count = int(np.count_nonzero(used))
    if 2 * count > histograms.size:
        return ids, histograms
    numbers = np.append(np.cumsum(used) - 1, -1)
    return numbers[ids], histograms.take(np.flatnonzero(used))

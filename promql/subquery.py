"""Subqueries: the points of a vector become the samples of a range vector."""

from dataclasses import replace

import numpy as np

from promql.matrix import Matrix
from series.batch import SeriesBatch
from series.grid import Grid
from series.histogram import GAUGE, UNKNOWN, Histograms


def batch_of(matrix: Matrix, grid: Grid) -> SeriesBatch:
    """The points of *matrix*, which was evaluated over *grid*, as samples row by row.

    Rows that have a point at every step share one column of times. What is known of resets between
    histograms does not hold at other intervals, so only gauges keep their hint.
    """
    times_ms = grid.times_ms()
    ids, histograms = matrix.histogram_ids, matrix.histograms
    if histograms is not None:
        histograms = _without_resets(histograms)
    if matrix.present.all():
        rows = matrix.series_count
        return SeriesBatch(
            matrix.values.reshape(-1),
            times_ms,
            np.arange(rows + 1, dtype=np.int64) * grid.count,
            np.zeros(rows, dtype=np.int64),
            histogram_ids=None if ids is None else ids.reshape(-1),
            histograms=histograms,
        )
    rows_of, steps_of = np.nonzero(matrix.present)
    offsets = np.zeros(matrix.series_count + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows_of, minlength=matrix.series_count), out=offsets[1:])
    return SeriesBatch(
        matrix.values[rows_of, steps_of],
        times_ms[steps_of],
        offsets,
        offsets[:-1].copy(),
        histogram_ids=None if ids is None else ids[rows_of, steps_of],
        histograms=histograms,
    )


def _without_resets(histograms: Histograms) -> Histograms:
    hints = np.where(histograms.hints == GAUGE, np.uint8(GAUGE), np.uint8(UNKNOWN))
    return replace(histograms, hints=hints)

"""Subqueries: the points of a vector become the samples of a range vector."""

import numpy as np

from promql.matrix import Matrix
from series.batch import SeriesBatch
from series.grid import Grid


def batch_of(matrix: Matrix, grid: Grid) -> SeriesBatch:
    """The points of *matrix*, which was evaluated over *grid*, as samples row by row.

    Rows that have a point at every step share one column of times.
    """
    times_ms = grid.times_ms()
    if matrix.present.all():
        rows = matrix.series_count
        return SeriesBatch(
            matrix.values.reshape(-1),
            times_ms,
            np.arange(rows + 1, dtype=np.int64) * grid.count,
            np.zeros(rows, dtype=np.int64),
        )
    rows_of, steps_of = np.nonzero(matrix.present)
    offsets = np.zeros(matrix.series_count + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows_of, minlength=matrix.series_count), out=offsets[1:])
    return SeriesBatch(
        matrix.values[rows_of, steps_of],
        times_ms[steps_of],
        offsets,
        offsets[:-1].copy(),
    )

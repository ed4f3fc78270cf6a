"""``anchored`` and ``smoothed``: selectors that look beyond the edges of their window."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from promql import edge_kernels as kernels
from promql.ast import Edge
from promql.matrix import Matrix, Values
from promql.notes import ExecutionError
from promql.rollup import ROLLUPS, Function, Points, Rollup, Windows
from series.batch import SeriesBatch
from series.frame import LabelFrame


def edge_rollup(name: str, edge: Edge) -> Rollup:
    """The function *name* over windows with such edges; ExecutionError where it knows none."""
    if edge is Edge.PLAIN:
        return ROLLUPS[name]
    rollup = _ROLLUPS[edge].get(name)
    if rollup is None:
        names = ", ".join(sorted(_ROLLUPS[edge]))
        raise ExecutionError(
            f"{edge.value} modifier can only be used with: {names} - not with {name}"
        )
    return rollup


def edge_windows(plain: Windows, edge: Edge, lookback_ms: int) -> Windows:
    """The windows of *plain* from the sample at the left edge to that at the right one.

    At the left edge stands the newest sample at or before it that is not older than the lookback
    (else the first one inside); at the right edge of a smoothed window the oldest sample at or
    after it within the lookback (else the last one inside). Windows without a sample after the
    left edge are empty.
    """
    if edge is Edge.PLAIN:
        return plain
    wide = plain.moved(0, plain.range_ms + lookback_ms)
    lows = np.maximum(wide.lows, plain.lows - 1)
    if edge is Edge.ANCHORED:
        highs, filled = plain.highs, plain.lows < plain.highs
    else:
        wide = plain.moved(lookback_ms, plain.range_ms + 2 * lookback_ms)
        at_end = plain.moved(-1, plain.range_ms)
        lasts = np.minimum(at_end.highs, wide.highs - 1)
        highs = (lasts + 1).astype(np.int32)
        filled = (wide.highs > wide.lows) & (lasts >= plain.lows)
    return plain.bounded(np.where(filled, lows, 0), np.where(filled, highs, 0))


def smooth_lookup(
    frame: LabelFrame, batch: SeriesBatch, ends_ms: NDArray[np.int64], lookback_ms: int
) -> Matrix:
    """The vectors of ``selector smoothed``: values on the lines between neighbouring samples."""
    windows = Windows.over(batch, ends_ms + lookback_ms, ends_ms, 2 * lookback_ms)
    values, present = windows.out()
    batch = windows.batch
    kernels.interpolate(
        *windows.samples(), batch.times_ms, batch.time_starts, ends_ms, values, present
    )
    return Matrix(frame, values, present)


def _edge_to_edge(smoothed: bool, is_counter: bool, is_rate: bool) -> Function:
    def run(windows: Windows, *parameters: Values) -> Points:
        values, present = windows.out()
        kernels.edge_to_edge(
            *windows.samples(),
            windows.batch.times_ms,
            windows.batch.time_starts,
            windows.ends_ms,
            windows.range_ms,
            smoothed,
            is_counter,
            is_rate,
            values,
            present,
        )
        return values, present

    return run


def _rates(smoothed: bool) -> dict[str, Rollup]:
    return {
        "rate": Rollup(_edge_to_edge(smoothed, is_counter=True, is_rate=True), visit_ns=5),
        "increase": Rollup(_edge_to_edge(smoothed, is_counter=True, is_rate=False), visit_ns=5),
        "delta": Rollup(_edge_to_edge(smoothed, is_counter=False, is_rate=False), visit_ns=5),
    }


_ROLLUPS: Mapping[Edge, Mapping[str, Rollup]] = {
    Edge.ANCHORED: {
        **_rates(smoothed=False),
        "changes": ROLLUPS["changes"],
        "resets": ROLLUPS["resets"],
    },
    Edge.SMOOTHED: _rates(smoothed=True),
}

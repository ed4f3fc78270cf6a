"""``anchored`` and ``smoothed``: selectors that look beyond the edges of their window."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from promql import edge_kernels as kernels
from promql import histogram_edge_kernels as native_kernels
from promql.ast import Edge
from promql.env import Env
from promql.histogram_helpers import Pool
from promql.histogram_note_helpers import MIXED_KINDS
from promql.matrix import Mask, Matrix, Values
from promql.notes import ExecutionError
from promql.rollup import ROLLUPS, Function, Points, Rollup, Windows, last_samples
from promql.rollup_histograms import (
    Ids,
    Rolled,
    Samples,
    emptied,
    flagged,
    histogram_samples,
    in_parts,
    pool_of,
)
from promql.rollup_notes import note_flags
from series.batch import SeriesBatch, build_batch
from series.frame import LabelFrame
from series.labels import Labels


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
    frame: LabelFrame, batch: SeriesBatch, ends_ms: NDArray[np.int64], lookback_ms: int, env: Env
) -> Matrix:
    """The vectors of ``selector smoothed``: values on the lines between neighbouring samples.

    ``env.span`` is the selector's.
    """
    windows = Windows.over(batch, ends_ms + lookback_ms, ends_ms, 2 * lookback_ms)
    values, present = windows.out()
    batch = windows.batch
    kernels.interpolate(
        *windows.samples(), batch.times_ms, batch.time_starts, ends_ms, values, present
    )
    if batch.histogram_ids is None:
        return Matrix(frame, values, present)

    def run(part: Windows, out: Ids, said: NDArray[np.uint16]) -> Pool:
        return native_kernels.interpolate_histograms(
            pool_of(part),
            *histogram_samples(part),
            part.batch.times_ms,
            part.batch.time_starts,
            part.evaluated_ms,
            out,
            said,
        )

    ids, histograms, said = in_parts(windows, 600, 50, env.context, run)
    note_flags(frame, said, env)
    previous = _newest_kinds(windows)
    present &= np.where(previous, ids >= 0, ids == -1)
    return Matrix(frame, values, present, None, None, ids, histograms)


def _newest_kinds(windows: Windows) -> Mask:
    """bool[S, T]: whether the newest sample at or before each step is a histogram."""
    batch = windows.batch
    if batch.histogram_ids is None or not batch.sample_count:
        return np.zeros(windows.shape, dtype=np.bool_)
    before = windows.moved(-windows.range_ms // 2, windows.range_ms)
    at = np.maximum(last_samples(before), 0) + batch.offsets[:-1, None]
    return np.asarray(batch.histogram_ids[np.minimum(at, batch.sample_count - 1)] >= 0)


def edge_samples(plain: Windows, edge: Edge, lookback_ms: int) -> tuple[Mask, SeriesBatch]:
    """The rows with samples in the only window of *plain* (bool[S]), and their samples.

    They begin and end with the values at the edges. ExecutionError where there are histograms.
    """
    windows = edge_windows(plain, edge, lookback_ms)
    batch = windows.batch
    if batch.histogram_ids is not None and (batch.histogram_ids >= 0).any():
        raise ExecutionError(f"{edge.value} modifier is not supported with histograms")
    end_ms = int(windows.ends_ms[0])
    begin_ms = end_ms - windows.range_ms
    filled = windows.counts()[:, 0] > 0
    rows = []
    for row in np.flatnonzero(filled).tolist():
        column = windows.columns[row]
        window = slice(int(windows.lows[column, 0]), int(windows.highs[column, 0]))
        times_ms, values = batch.row_times_ms(row)[window], batch.row_values(row)[window]
        ends = (begin_ms, end_ms)
        if edge is Edge.SMOOTHED:
            left, right = (_on_line(times_ms, values, at_ms) for at_ms in ends)
        else:
            left, right = values[0], values[-1]
        inner = (times_ms > begin_ms) & (times_ms < end_ms)
        rows.append(
            (
                Labels(),
                [begin_ms, *times_ms[inner].tolist(), end_ms],
                [float(left), *values[inner].tolist(), float(right)],
            )
        )
    return filled, build_batch(rows)


def _on_line(times_ms: Ids, values: Values, at_ms: int) -> float:
    """The value at *at_ms* between the samples, or that of the nearest one outside of them."""
    after = int(np.searchsorted(times_ms, at_ms))
    if after == len(times_ms) or times_ms[after] == at_ms or after == 0:
        return float(values[min(after, len(values) - 1)])
    before_ms, before, value = times_ms[after - 1], values[after - 1], values[after]
    return float(
        before + (value - before) * float(at_ms - before_ms) / float(times_ms[after] - before_ms)
    )


def roll_edges(name: str, edge: Edge, samples: Samples) -> Rolled:
    """rate, increase and delta over windows with both kinds of samples and such edges."""
    lookback_ms = samples.lookback_ms
    wide = (
        samples.plain.moved(0, samples.plain.range_ms + lookback_ms)
        if edge is Edge.ANCHORED
        else samples.plain.moved(lookback_ms, samples.plain.range_ms + 2 * lookback_ms)
    )
    mixed = Samples(wide, False, samples.context).mixed
    flags = flagged(mixed, MIXED_KINDS)
    values, present = edge_rollup(name, edge).over(
        emptied(samples.floats, mixed), (), samples.context
    )
    windows = emptied(samples.histograms, mixed)
    if not windows.batch.sample_count:
        return Rolled(values, present, samples.has_floats, flags)

    def run(part: Windows, out: Ids, said: NDArray[np.uint16]) -> Pool:
        return native_kernels.histogram_edges(
            pool_of(part),
            *histogram_samples(part),
            part.batch.times_ms,
            part.batch.time_starts,
            part.ends_ms,
            part.range_ms,
            edge is Edge.SMOOTHED,
            name != "delta",
            name == "rate",
            out,
            said,
        )

    ids, histograms, said = in_parts(windows, 600, 50, samples.context, run)
    return Rolled(values, present | (ids >= 0), samples.has_floats, flags | said, ids, histograms)


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

"""One slab of a range-vector function: its samples to a Matrix, with the notes on it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from promql.ast import Edge
from promql.edges import edge_rollup, edge_windows, roll_edges
from promql.histograms import sample_weights
from promql.matrix import Mask, Matrix, Values
from promql.plan import RangeCall, SelectRange
from promql.rollup import Windows
from promql.rollup_histograms import COUNTER_CALLS, Samples, roll
from promql.rollup_notes import note_flags, note_rollup, noted_span
from promql.run import Run
from series.batch import SeriesBatch
from series.frame import LabelFrame


def rolled(
    run: Run,
    plan: RangeCall,
    frame: LabelFrame,
    batch: SeriesBatch,
    marks: Mask | None,
    parameters: Sequence[Values],
) -> Matrix:
    """The function of *plan* on the rows of *batch*, which *frame* labels.

    *marks*: the rows whose names go away late.
    """
    name = plan.call.name
    edge = plan.source.edge if isinstance(plan.source, SelectRange) else Edge.PLAIN
    rollup = edge_rollup(name, edge)
    evaluated_ms = plan.grid.times_ms()
    ends_ms = evaluated_ms if plan.source.ends == plan.grid else plan.source.ends.times_ms()
    if len(ends_ms) != len(evaluated_ms):
        ends_ms = np.full(len(evaluated_ms), ends_ms[0])
    plain = Windows.over(batch, ends_ms, evaluated_ms, plan.source.range_ms)
    windows = edge_windows(plain, edge, run.options.lookback_ms)
    run.context.hold(run.held + _largest(windows))
    if run.context.step_samples is not None:
        run.tally(plan.grid, _window_weights(windows).sum(axis=0))
    starts = run.options.use_start_timestamps and edge is Edge.PLAIN and name in COUNTER_CALLS
    if batch.histogram_ids is None and not (starts and batch.starts_ms is not None):
        with np.errstate(all="ignore"):
            values, present = rollup.over(windows, parameters, run.context)
        matrix = Matrix(frame, values, present, marks)
        note_rollup(plan, matrix, windows, parameters, run.env(plan))
    else:
        samples = Samples(
            windows,
            starts,
            run.context,
            lambda other: edge_windows(other, edge, run.options.lookback_ms),
            plain,
            run.options.lookback_ms,
        )
        with np.errstate(all="ignore"):
            found = (
                roll(name, samples, parameters)
                if edge is Edge.PLAIN or name in ("changes", "resets")
                else roll_edges(name, edge, samples)
            )
        matrix = Matrix(
            frame, found.values, found.present, marks, None, found.histogram_ids, found.histograms
        )
        note_rollup(plan, matrix.floats(), samples.floats, parameters, run.env(plan))
        note_flags(frame, found.flags, run.env(plan).at(noted_span(plan)))
    if rollup.keeps_name:
        return matrix
    return matrix.without_names(delayed=run.options.delayed_name_removal)


def _largest(windows: Windows) -> int:
    """The samples of the fullest window, as a query's budget counts them."""
    if windows.batch.histogram_ids is None:
        return windows.largest()
    return int(_window_weights(windows).max(initial=0))


def _window_weights(windows: Windows) -> NDArray[np.int64]:
    """int64[S, T]: the samples of every window, as a query's budget counts them."""
    batch = windows.batch
    if batch.histogram_ids is None or batch.histograms is None or not batch.sample_count:
        return windows.counts()
    ids = batch.histogram_ids
    weights = np.where(ids >= 0, sample_weights(batch.histograms)[ids], 1)
    running = np.concatenate(([0], np.cumsum(weights)))
    starts = batch.offsets[:-1, None]
    lows, highs = windows.lows[windows.columns], windows.highs[windows.columns]
    return np.asarray(running[starts + highs] - running[starts + lows])

"""Functions of native histograms; floats are passed over."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from promql import ast
from promql import native_kernels as kernels
from promql.cells import Cells, Ids, cell_slices
from promql.env import Env
from promql.labelsets import merge_equal_labels
from promql.matrix import Matrix, Value, Values
from series.histogram import Histograms
from series.labels import METRIC_NAME, quote

Saying = NDArray[np.uint8]

_QUANTILE_NAN = "input to histogram_quantile has NaN observations, result is "
_TEXTS = {
    kernels.NAN_RESULT: f"{_QUANTILE_NAN}NaN",
    kernels.NAN_SKEWED: f"{_QUANTILE_NAN}skewed higher",
    kernels.NAN_EXCLUDED: "input to histogram_fraction has NaN observations, which are excluded "
    "from all fractions",
}


def simple(args: list[Value], call: ast.Call, env: Env) -> Value:
    """The function of ``SIMPLE`` that *call* names.

    Where names go away at once, only the metric name does.
    """
    (vector,) = args
    assert isinstance(vector, Matrix)
    if vector.histograms is None:
        return Matrix.empty(env.grid.count)
    result = _mapped(vector, lambda at, _: SIMPLE[call.name](vector.histograms, at), env)
    if env.options.delayed_name_removal:
        return result.without_names(delayed=True)
    frame = result.frame.drop((METRIC_NAME,))
    return merge_equal_labels(Matrix(frame, result.values, result.present))


def _average(histograms: Histograms, ids: Ids) -> Values:
    return np.asarray(histograms.sums[ids] / histograms.counts[ids])


def _variance(*, root: bool) -> Callable[[Histograms, Ids], Values]:
    def of(histograms: Histograms, ids: Ids) -> Values:
        out = np.empty(len(ids))
        kernels.native_variances(histograms.columns, ids, root, out)
        return out

    return of


SIMPLE: dict[str, Callable[..., Values]] = {
    "histogram_avg": _average,
    "histogram_count": lambda histograms, ids: histograms.counts[ids],
    "histogram_stddev": _variance(root=True),
    "histogram_stdvar": _variance(root=False),
    "histogram_sum": lambda histograms, ids: histograms.sums[ids],
}
"""Functions of one histogram (as pool and ids) to a float, by name."""


def quantiles(native: Matrix, q: Values, env: Env) -> Matrix:
    """The quantile ``q[T]`` of every histogram of *native*, with names; notes on NaN."""
    said = np.zeros(native.present.shape, dtype=np.uint8)

    def of(at: Ids, cells: Cells) -> Values:
        out, here = np.empty(len(at)), np.empty(len(at), dtype=np.uint8)
        kernels.native_quantiles(_columns(native), at, q[cells[1]], out, here)
        said[cells] = here
        return out

    result = _mapped(native, of, env)
    _say(native, said, env)
    return result


def fractions(native: Matrix, lowest: Values, highest: Values, env: Env) -> Matrix:
    """The share of observations from ``lowest[T]`` to ``highest[T]``; notes on NaN."""
    said = np.zeros(native.present.shape, dtype=np.uint8)

    def of(at: Ids, cells: Cells) -> Values:
        out, here = np.empty(len(at)), np.empty(len(at), dtype=np.uint8)
        bounds = lowest[cells[1]], highest[cells[1]]
        kernels.native_fractions(_columns(native), at, *bounds, out, here)
        said[cells] = here
        return out

    result = _mapped(native, of, env)
    _say(native, said, env)
    return result


def _columns(native: Matrix) -> tuple[object, ...]:
    assert native.histograms is not None
    return native.histograms.columns


def _mapped(vector: Matrix, function: Callable[[Ids, Cells], Values], env: Env) -> Matrix:
    """The histograms of *vector* as floats, its floats gone.

    *function* is given the ids of some histograms and the rows and steps where they are.
    """
    assert vector.histogram_ids is not None
    present = vector.holds_histograms
    values = np.zeros(present.shape)
    for cells in cell_slices(present, env):
        values[cells] = function(vector.histogram_ids[cells], cells)
    return vector.with_points_of(values, present)


def _say(native: Matrix, said: Saying, env: Env) -> None:
    """An info for each metric name and kind in *said*; no names where they are gone by then."""
    for row in np.flatnonzero(said.any(axis=1)).tolist():
        name = ""
        if env.options.delayed_name_removal:
            name = native.frame.labels(row).metric
        for kind in np.unique(said[row]).tolist():
            if kind:
                env.info(f"{_TEXTS[kind]}{f' for metric name {quote(name)}' if name else ''}")

"""Binary operators cell by cell where a side holds native histograms.

Histograms are added to and subtracted from each other, compared for equality, scaled and trimmed
by floats; every other encounter gives nothing, and an info. As in Prometheus the last thing that
there is to say about a step is what is said about it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from promql.cells import Cells, Points, Side, cell_slices
from promql.env import Env
from promql.histograms import combine, compact, equal, filled, room, scale
from promql.matrix import Mask, Matrix, Values
from promql.trim_kernels import trimmed
from series.histogram import GAUGE, Histograms
from series.labels import quote

TRIM_OPERATORS = frozenset(("</", ">/"))

# What there is to say of a cell; the first four are what the left and the right side are.
_FLOATS, _FLOAT_HISTOGRAM, _HISTOGRAM_FLOAT, _HISTOGRAMS = 1, 2, 3, 4
_LAYOUT, _CONFLICT, _RECONCILED = 5, 6, 7
_KINDS = {
    _FLOATS: ("float", "float"),
    _FLOAT_HISTOGRAM: ("float", "histogram"),
    _HISTOGRAM_FLOAT: ("histogram", "float"),
    _HISTOGRAMS: ("histogram", "histogram"),
}


def operate(
    op: str,
    left: Side,
    right: Side,
    present: Mask,
    of_floats: Callable[[], tuple[Values, Mask]],
    env: Env,
    *,
    return_bool: bool,
) -> Points:
    """``left op right`` where *present*.

    *of_floats* gives the result as if all were floats: values, and where they are kept.
    """
    left_is, right_is = left.is_histogram(), right.is_histogram()
    pairs = {
        _FLOATS: present & ~left_is & ~right_is,
        _FLOAT_HISTOGRAM: present & ~left_is & right_is,
        _HISTOGRAM_FLOAT: present & left_is & ~right_is,
        _HISTOGRAMS: present & left_is & right_is,
    }
    work = _Work(op, left, right, np.zeros(present.shape, dtype=np.uint8), env)
    values, kept = of_floats()
    kept = kept & pairs[_FLOATS]
    if op in TRIM_OPERATORS:
        work.said[pairs[_FLOATS]] = _FLOATS
        kept = np.zeros_like(kept)
    for kind in (_FLOAT_HISTOGRAM, _HISTOGRAM_FLOAT, _HISTOGRAMS):
        handled = work.histogram_cells(kind)
        for cells in cell_slices(pairs[kind], env):
            if handled is None:
                work.say(cells, kind)
            else:
                handled(cells)
    if op in ("==", "!="):
        return work.compared(values, kept, pairs[_HISTOGRAMS], return_bool=return_bool)
    return work.collected(values, kept)


class _Work:
    """The results so far, cells in any order."""

    def __init__(self, op: str, left: Side, right: Side, said: NDArray[np.uint8], env: Env) -> None:
        self.op, self.left, self.right, self.said, self.env = op, left, right, said, env
        self.cells: list[Cells] = []
        self.pools: list[Histograms] = []
        self.equal = np.zeros(said.shape, dtype=np.bool_)

    def histogram_cells(self, kind: int) -> Callable[[Cells], None] | None:
        """What works on cells of *kind*; None where the operator is not made for them."""
        match kind, self.op:
            case 2, "*":
                return lambda cells: self._scaled(cells, self.right, self.left)
            case 3, "*" | "/":
                return lambda cells: self._scaled(cells, self.left, self.right)
            case 3, "</" | ">/":
                return self._trimmed
            case 4, "+" | "-":
                return self._added
            case 4, "==" | "!=":
                return self._equal
            case _:
                return None

    def say(self, cells: Cells, kind: int) -> None:
        self.said[cells] = kind

    def _scaled(self, cells: Cells, histograms: Side, factors: Side) -> None:
        pool, ids = histograms.at(cells)
        scaled = scale(pool.take(ids), factors.values[cells], divide=self.op == "/")
        self._keep(cells, compact(scaled))

    def _trimmed(self, cells: Cells) -> None:
        pool, ids = self.left.at(cells)
        buckets = int(np.diff(pool.offsets)[ids].sum())
        bounds = int(np.diff(pool.bound_offsets)[ids].sum())
        out = room(len(ids), buckets, bounds)
        trimmed(pool.columns, ids, self.right.values[cells], self.op == "</", out)
        self._keep(cells, filled(out))

    def _added(self, cells: Cells) -> None:
        result = combine(*self.left.at(cells), *self.right.at(cells), subtract=self.op == "-")
        histograms = result.histograms
        if self.op == "-":
            histograms = replace(histograms, hints=np.full_like(histograms.hints, GAUGE))
        kept = result.ok & ~result.conflict
        rows, steps = cells
        self.say((rows[result.reconciled], steps[result.reconciled]), _RECONCILED)
        self.say((rows[result.conflict], steps[result.conflict]), _CONFLICT)
        self.say((rows[~result.ok], steps[~result.ok]), _LAYOUT)
        if not kept.all():
            histograms = histograms.take(np.flatnonzero(kept))
        self._keep((rows[kept], steps[kept]), compact(histograms))

    def _equal(self, cells: Cells) -> None:
        self.equal[cells] = equal(*self.left.at(cells), *self.right.at(cells))

    def _keep(self, cells: Cells, histograms: Histograms) -> None:
        self.cells.append(cells)
        self.pools.append(histograms)

    def collected(self, values: Values, kept: Mask) -> Points:
        """The floats that were *kept*, and the histograms that were made."""
        self._note()
        if not self.pools:
            return Points(values, kept)
        ids, start = np.full(kept.shape, -1, dtype=np.int64), 0
        for cells, pool in zip(self.cells, self.pools, strict=True):
            ids[cells] = np.arange(start, start + pool.size)
            start += pool.size
        return Points(
            values, kept | (ids >= 0), ids, Histograms.concat(self.pools, self.env.context.check)
        )

    def compared(
        self, values: Values, kept: Mask, histograms: Mask, *, return_bool: bool
    ) -> Points:
        """The floats that were *kept*, and the left histograms for which ``==`` (``!=``) holds."""
        self._note()
        holds = histograms & (self.equal == (self.op == "=="))
        if return_bool:
            return Points(np.where(histograms, holds, values), kept | histograms)
        return Points(values, kept | holds, self.left.ids, self.left.histograms)

    def _note(self) -> None:
        """What the last cell that has something to say says about each step."""
        if not self.said.any():
            return
        spoken = self.said != 0
        last = len(self.said) - 1 - np.argmax(spoken[::-1], axis=0)
        steps = np.flatnonzero(spoken.any(axis=0))
        for kind in np.unique(self.said[last[steps], steps]).tolist():
            note(self.op, kind, self.env)


def note(op: str, kind: int, env: Env) -> None:
    """The note on what the cells of one *kind* met."""
    operation = "addition" if op == "+" else "subtraction"
    if kind in _KINDS:
        sides = f" {op} ".join(_KINDS[kind])
        env.info(f"incompatible sample types encountered for binary operator {quote(op)}: {sides}")
    elif kind == _LAYOUT:
        env.warn(f"incompatible bucket layout encountered for binary operator {op}")
    elif kind == _CONFLICT:
        env.warn(f"conflicting counter resets during histogram {operation}")
    else:
        env.info(f"mismatched custom buckets were reconciled during {operation}")


def negated(matrix: Matrix) -> Matrix:
    """All histograms of *matrix* times -1, floats negated."""
    values = -matrix.values
    if matrix.histogram_ids is None or matrix.histograms is None:
        return replace(matrix, values=values, times_ms=None)
    holds = matrix.holds_histograms
    pool = matrix.histograms.take(matrix.histogram_ids[holds])
    ids = np.full(holds.shape, -1, dtype=np.int64)
    ids[holds] = np.arange(pool.size)
    return replace(
        matrix,
        values=values,
        times_ms=None,
        histogram_ids=ids,
        histograms=scale(pool, np.full(pool.size, -1.0), divide=False),
    )

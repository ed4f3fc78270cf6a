"""Cells of matrices side by side: what operators and functions of histograms work on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promql.env import Env
from promql.matrix import Mask, Matrix, Values
from promql.stacking import pooled, stacked
from series.histogram import Histograms
from series.ports import Context

Ids = NDArray[np.int64]
Cells = tuple[Ids, Ids]
"""The rows and steps of some cells."""

_CELLS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Side:
    """One operand at [P, T] cells; see ``Matrix`` for what the fields mean."""

    values: Values
    ids: Ids | None = None
    histograms: Histograms | None = None

    @classmethod
    def of(cls, matrix: Matrix) -> "Side":
        return cls(matrix.values, matrix.histogram_ids, matrix.histograms)

    @classmethod
    def concat(cls, sides: Sequence["Side"], context: Context) -> "Side":
        """The cells of all *sides* (rows of equally many steps), in order.

        Raises where the query must stop.
        """
        values = stacked([side.values for side in sides], context)
        pools = [(side.values.shape, side.ids, side.histograms) for side in sides]
        return cls(values, *pooled(pools, context))

    def at(self, cells: Cells) -> tuple[Histograms, Ids]:
        """The pool, and the ids of histograms at *cells*."""
        assert self.ids is not None and self.histograms is not None
        return self.histograms, self.ids[cells]

    def is_histogram(self) -> Mask:
        return np.zeros(self.values.shape, np.bool_) if self.ids is None else self.ids >= 0


@dataclass(frozen=True, slots=True)
class Points:
    """The result at [P, T] cells."""

    values: Values
    present: Mask
    ids: Ids | None = None
    histograms: Histograms | None = None


def cell_slices(chosen: Mask, env: Env) -> Iterator[Cells]:
    """The (rows, steps) of the *chosen* cells, some thousands at a time; raises as a query must."""
    rows, steps = np.nonzero(chosen)
    for start in range(0, len(rows), _CELLS_AT_ONCE):
        env.context.check()
        part = slice(start, start + _CELLS_AT_ONCE)
        yield rows[part], steps[part]

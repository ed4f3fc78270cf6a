"""sum and avg of native histograms, slab by slab."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from promql import histogram_total_kernels as kernels
from promql.histograms import filled
from promql.matrix import Mask, Matrix, Values
from series.histogram import Histograms

Ids = NDArray[np.int64]


@dataclass(slots=True)
class HistogramFold:
    """The running sums or means of the histograms of G groups over T steps.

    ``seen``: uint8[G * T], what each cell has met, in the terms of ``histogram_total_kernels``;
    it may start with floats that were seen before the first histogram.
    """

    average: bool
    groups: int
    steps: int
    seen: NDArray[np.uint8]
    _arena: kernels.Arena = field(init=False)
    _places: Ids = field(init=False)
    _sizes: Ids = field(init=False)
    _numbers: Values = field(init=False)
    _counts: Values = field(init=False)
    _incremental: Mask = field(init=False)

    def __post_init__(self) -> None:
        cells = self.groups * self.steps
        empty = np.empty(0)
        taken = np.zeros(2, dtype=np.int64)
        self._arena = np.empty(0, dtype=np.int32), empty, empty, empty, taken
        self._places = np.zeros((cells, 6), dtype=np.int64)
        self._sizes = np.full((cells, 2), -1, dtype=np.int64)
        self._numbers = np.zeros((cells, 7))
        self._counts = np.zeros(cells)
        self._incremental = np.zeros(cells, dtype=np.bool_)

    def add(self, slab: Matrix, ids: Ids) -> Mask:
        """Takes the rows of *slab*, whose groups are ``ids[S]``.

        bool[S]: those that brought custom buckets to exponential ones, or the other way round.
        """
        histograms = slab.histograms or Histograms.empty()
        which = slab.histogram_ids
        if which is None:
            which = np.full(slab.present.shape, -1, dtype=np.int64)
        order = np.argsort(ids, kind="stable")
        groups, starts = np.unique(ids[order], return_index=True)
        broke = np.zeros(slab.series_count, dtype=np.bool_)
        self._arena = kernels.fold_histograms(
            histograms.columns,
            which,
            slab.present,
            groups,
            order,
            np.append(starts, len(order)),
            self.average,
            self._arena,
            self._places,
            self._sizes,
            self._numbers,
            self._counts,
            self._incremental,
            self.seen,
            broke,
            *self._largest(),
        )
        return broke

    def result(self) -> tuple[Ids, Histograms]:
        """int64[G, T], which histogram a cell has (-1: none or no valid one), and all of them."""
        met = self.seen & (kernels.SEEN_FLOAT | kernels.SEEN_HISTOGRAM | kernels.BROKEN)
        cells = np.flatnonzero(met == kernels.SEEN_HISTOGRAM)
        pool = kernels.settled(
            self._arena,
            self._places,
            self._sizes,
            self._numbers,
            cells,
            self._counts,
            self.average,
            self._incremental,
            *self._largest(),
        )
        ids = np.full(self.groups * self.steps, -1, dtype=np.int64)
        ids[cells] = np.arange(len(cells))
        return ids.reshape(self.groups, self.steps), filled(pool)

    def _largest(self) -> tuple[int, int]:
        """The most buckets and custom bounds that any cell has."""
        return int(self._sizes[:, 0].max(initial=0)), int(self._sizes[:, 1].max(initial=0))

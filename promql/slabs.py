"""Slabs: how many rows of a selection are worked on at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch

SLAB_CELLS = 1 << 20
"""Samples read and points made of them that a slab aims at, together: some 7 MiB. Smaller ones
stay in nearer caches, but each costs some hundred calls, and two threads hinder each other at
every call."""

LITTLE_CELLS = 3 << 18
"""So much is done about as soon as another thread could help."""

SLAB_MULTIPLE = 16
"""Slabs hold a multiple of so many rows: databases compress so many neighbours together."""

HISTOGRAM_SLAB_BYTES = 4 << 20
"""What the histograms of a slab aim at, once the size of a row is known from those before."""


@dataclass(slots=True)
class Slabs:
    """The slabs of *size* rows, each of about *row_cells* samples and points.

    *rows* is how many a slab has; None picks them by their size. *ends*, int64 and rising up to
    *size*, are rows behind which a slab had better end.
    """

    size: int
    row_cells: int
    rows: int | None = None
    ends: NDArray[np.int64] | None = None

    @property
    def is_little(self) -> bool:
        """Whether two threads are too many for it."""
        return self.size * self.row_cells <= LITTLE_CELLS

    def slices(self) -> Iterator[slice]:
        """The rows of one slab after the other; the first are few, so that ``learn`` is in time."""
        few = self.size if self.is_little else min(SLAB_MULTIPLE, SLAB_CELLS // self.row_cells)
        start = planned = known = 0
        rows = self.rows or max(few, 1)
        while start < self.size:
            planned = min(max(start, planned) + rows, self.size)
            stop = self._end_near(planned, start, rows)
            yield slice(start, stop)
            start = stop
            if known != self.row_cells and not self.rows:
                known, planned = self.row_cells, start
                rows = self._equal(self.size - start)

    def learn(self, batch: SeriesBatch) -> None:
        """Takes into account how large the histograms of a slab were."""
        if batch.histograms is not None:
            row_bytes = batch.histograms.size_bytes // max(batch.series_count, 1)
            self.row_cells = max(self.row_cells, SLAB_CELLS * row_bytes // HISTOGRAM_SLAB_BYTES)

    def _end_near(self, planned: int, start: int, rows: int) -> int:
        """The one of ``ends`` that is nearest to *planned*, which stands if none is near."""
        if self.ends is None or self.rows:
            return planned
        at = int(np.searchsorted(self.ends, planned))
        far = max(rows // 2, 4 * SLAB_MULTIPLE)
        beside = self.ends[max(at - 1, 0) : at + 1].tolist()
        near = [end for end in beside if end > start and abs(end - planned) <= far]
        return min(near, key=lambda end: abs(end - planned), default=planned)

    def _equal(self, left: int) -> int:
        """The rows of each of the slabs of the *left* rows: as many for each of two threads."""
        pairs = max(1, round(left * self.row_cells / (2 * SLAB_CELLS)))
        rows = max(1, -(-left // (2 * pairs)))
        if rows < 4 * SLAB_MULTIPLE:
            return rows // SLAB_MULTIPLE * SLAB_MULTIPLE or rows
        return -(-rows // SLAB_MULTIPLE) * SLAB_MULTIPLE

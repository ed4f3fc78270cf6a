"""Exemplars as columns: examples of observations, with labels (a trace id, say) of their own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Exemplars:
    """E exemplars of the series of a batch, in the order of their arrival.

    - ``rows``: int64[E], the row of the batch that each belongs to.
    - ``times_ms``: int64[E]; ``values``: float64[E].
    - ``keys``: uint8[K]; ``key_ends``: int64[E]: the canonical keys of their labels, end to end.
    """

    rows: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    keys: NDArray[np.uint8]
    key_ends: NDArray[np.int64]

    @property
    def size(self) -> int:
        return len(self.rows)

    def key(self, at: int) -> bytes:
        """The canonical key of the labels of exemplar *at*."""
        start = int(self.key_ends[at - 1]) if at else 0
        return self.keys[start : self.key_ends[at]].tobytes()

    def check(self) -> None:
        """Asserts the invariants."""
        for column in (self.times_ms, self.values, self.key_ends):
            assert len(column) == self.size
        assert (np.diff(self.key_ends, prepend=0) >= 0).all()
        assert not self.size or self.key_ends[-1] == len(self.keys)

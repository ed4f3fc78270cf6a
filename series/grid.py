"""Grid: the time axis of an answer."""

import numpy as np
from numpy.typing import NDArray

from series.immutable import immutable


@immutable
class Grid:
    """The instants ``start_ms + k * step_ms`` for k in [0, count).

    An instant query is a Grid of one point. ``offset``, ``@`` and subqueries turn the query's Grid
    into another one for the leaves below them.

    *Invariants*: ``count >= 0``; ``step_ms > 0`` (1 where ``count <= 1`` and no step is known).
    """

    start_ms: int
    step_ms: int
    count: int

    @classmethod
    def instant(cls, at_ms: int) -> "Grid":
        return cls(at_ms, 1, 1)

    @classmethod
    def between(cls, start_ms: int, end_ms: int, step_ms: int) -> "Grid":
        """Every step from *start_ms* up to and including *end_ms*."""
        return cls(start_ms, step_ms, max(0, (end_ms - start_ms) // step_ms + 1))

    @property
    def end_ms(self) -> int:
        """The last instant (``start_ms`` for an empty grid)."""
        return self.start_ms + max(self.count - 1, 0) * self.step_ms

    def shifted(self, by_ms: int) -> "Grid":
        if not by_ms:
            return self
        return Grid(self.start_ms + by_ms, self.step_ms, self.count)

    def times_ms(self) -> NDArray[np.int64]:
        """int64[count]: the instants."""
        if self.count == 1:
            return np.array([self.start_ms], dtype=np.int64)
        return self.start_ms + self.step_ms * np.arange(self.count, dtype=np.int64)

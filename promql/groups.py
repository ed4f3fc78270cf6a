"""Groups: reductions over rows that share a group id, at every step at once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from promql import group_kernels as kernels
from promql.matrix import Mask, Matrix, Values

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Groups:
    """``ids`` int64[S] assigns every row one of ``count`` groups; a group may have no row."""

    ids: Ids
    count: int

    @cached_property
    def sizes(self) -> Ids:
        """int64[count]: how many rows each group has."""
        return np.bincount(self.ids, minlength=self.count)

    @property
    def unique(self) -> bool:
        """Whether no group has more than one row."""
        return not len(self.ids) or int(self.sizes.max()) <= 1

    @cached_property
    def order(self) -> Ids:
        """int64[S]: the rows group by group, in their order within a group."""
        return np.argsort(self.ids, kind="stable")

    @cached_property
    def starts(self) -> Ids:
        """int64[count]: where each group begins in ``order``."""
        return np.cumsum(self.sizes) - self.sizes

    def any(self, present: Mask) -> Mask:
        """bool[count, T]: whether any row of the group has a point, for bool[S, T]."""
        return self._marked(present)[0]

    def repeated(self, present: Mask) -> Mask:
        """bool[T]: the steps at which some group has more than one point."""
        shared = self.sizes[self.ids] > 1
        if not shared.any():
            return np.zeros(present.shape[1], dtype=np.bool_)
        _, ids = np.unique(self.ids[shared], return_inverse=True)
        return Groups(ids, int(ids.max()) + 1)._marked(present[shared])[1]

    def greatest(self, numbers: Ids) -> Ids:
        """int64[count, T]: the greatest number of each group, 0 where it has no row."""
        out = np.zeros((self.count, numbers.shape[1]), dtype=np.int64)
        filled = np.flatnonzero(self.sizes)
        out[filled] = np.maximum.reduceat(numbers[self.order], self.starts[filled], axis=0)
        return out

    def only(self, values: Values, present: Mask) -> Values:
        """float64[count, T]: the value of the one point a group has, bit for bit, else 0."""
        out = np.zeros((self.count, values.shape[1]), dtype=np.int64)
        kernels.unite(values.view(np.int64), present, self.ids, out)
        return out.view(np.float64)

    def merged(self, matrix: Matrix) -> Matrix:
        """A row a group, with the one point that it has at a step; without sample times.

        Its labels are those of the group's first row; the mark is set where any row's is.
        """
        ids = matrix.histogram_ids
        if ids is not None:
            ids = self.only(ids.view(np.float64), matrix.present).view(np.int64)
        first = self.order[self.starts]
        marks = matrix.drop_name
        return Matrix(
            matrix.frame.take(first),
            self.only(matrix.values, matrix.present),
            self.any(matrix.present),
            None if marks is None else self.any(marks[:, None])[:, 0],
            None,
            ids,
            matrix.histograms,
        )

    def _marked(self, present: Mask) -> tuple[Mask, Mask]:
        """``any``, and ``repeated``."""
        any_of = np.zeros((self.count, present.shape[1]), dtype=np.bool_)
        repeated = np.zeros(present.shape[1], dtype=np.bool_)
        kernels.mark(np.ascontiguousarray(present), self.ids, any_of, repeated)
        return any_of, repeated

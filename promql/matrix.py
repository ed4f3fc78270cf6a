"""Matrix: what the operators of the engine hand each other.

Labels x Grid: a row a series, a column a step::

                 t0    t1    t2
    {job="a"}  [ 1.0   --    3.0 ]     values[S, T] and present[S, T]
    {job="b"}  [ NaN   2.0   2.5 ]     absence is the mask; NaN is a value like any other

A point is a float, or a native histogram where ``histogram_ids`` says which.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from promql.stacking import pooled, stacked, taken
from series.frame import LabelFrame
from series.histogram import Histograms
from series.immutable import immutable
from series.labels import METADATA_LABELS
from series.ports import Context

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


@immutable
class Matrix:
    """Instant vectors at every step of a Grid.

    - ``frame``: the labels of the S rows.
    - ``values``: float64[S, T]; meaningless where not present.
    - ``present``: bool[S, T].
    - ``drop_name``: bool[S] where names are removed late (``promql-delayed-name-removal``): the
      rows whose name labels go away at the end of the query. None means no row.
    - ``times_ms``: int64[S, T], the times of the samples themselves; only a bare selector under
      ``timestamp()`` has them.
    - ``histogram_ids``: int64[S, T], which of ``histograms`` a point is, -1 for a float; the
      value of such a point, and the id of an absent one, mean nothing. None where all are floats.

    *Invariants* (``check`` asserts them): shapes agree; arrays are C-contiguous. Rows without any
    present point are allowed and mean nothing; two rows may carry equal labels only while their
    points are disjoint.
    """

    frame: LabelFrame
    values: Values
    present: Mask
    drop_name: Mask | None = None
    times_ms: NDArray[np.int64] | None = None
    histogram_ids: NDArray[np.int64] | None = None
    histograms: Histograms | None = None

    @classmethod
    def empty(cls, steps: int) -> "Matrix":
        """No series over *steps* steps."""
        return cls(
            LabelFrame.empty_labels(0), np.zeros((0, steps)), np.zeros((0, steps), dtype=np.bool_)
        )

    @classmethod
    def concat(cls, slabs: Sequence["Matrix"], context: Context | None = None) -> "Matrix":
        """The rows of all *slabs* (at least one, all over the same Grid), in order.

        Raises where the query of *context* must stop.
        """
        if len(slabs) == 1:
            return slabs[0]
        marked = any(slab.drop_name is not None for slab in slabs)
        timed = all(slab.times_ms is not None for slab in slabs)
        ids, histograms = pooled(
            [(slab.present.shape, slab.histogram_ids, slab.histograms) for slab in slabs], context
        )
        return cls(
            LabelFrame.concat([slab.frame for slab in slabs]),
            stacked([slab.values for slab in slabs], context),
            stacked([slab.present for slab in slabs], context),
            np.concatenate([slab.marks() for slab in slabs]) if marked else None,
            stacked([s.times_ms for s in slabs if s.times_ms is not None], context)
            if timed
            else None,
            ids,
            histograms,
        )

    @property
    def series_count(self) -> int:
        return len(self.values)

    @property
    def step_count(self) -> int:
        return int(self.values.shape[1])

    @property
    def with_points(self) -> Mask:
        """bool[S]: the rows that have a point at some step."""
        return np.asarray(self.present.any(axis=1))

    def alive(self, context: Context | None = None) -> "Matrix":
        """Without the rows that have no point; raises where the query of *context* must stop."""
        if self.present.all() and self.step_count:
            return self
        with_points = self.with_points
        return self if with_points.all() else self.take(with_points, context)

    def marks(self) -> Mask:
        """bool[S]: ``drop_name``, or all False."""
        if self.drop_name is not None:
            return self.drop_name
        return np.zeros(self.series_count, dtype=np.bool_)

    def take(
        self, rows: NDArray[np.int64] | NDArray[np.bool_], context: Context | None = None
    ) -> "Matrix":
        """The given rows (indices or a mask), in that order; raises where the query must stop."""
        times, ids = self.times_ms, self.histogram_ids
        return Matrix(
            self.frame.take(rows),
            taken(self.values, rows, context),
            taken(self.present, rows, context),
            None if self.drop_name is None else self.drop_name[rows],
            None if times is None else taken(times, rows, context),
            None if ids is None else taken(ids, rows, context),
            self.histograms,
        )

    def at_steps(self, steps: slice) -> "Matrix":
        """All rows at some of the steps, without the samples' times."""
        ids = self.histogram_ids
        return Matrix(
            self.frame,
            np.ascontiguousarray(self.values[:, steps]),
            np.ascontiguousarray(self.present[:, steps]),
            self.drop_name,
            None,
            None if ids is None else np.ascontiguousarray(ids[:, steps]),
            self.histograms,
        )

    @property
    def holds_histograms(self) -> Mask:
        """bool[S, T]: the points that are histograms."""
        if self.histogram_ids is None:
            return np.zeros_like(self.present)
        return np.asarray(self.present & (self.histogram_ids >= 0))

    def floats(self) -> "Matrix":
        """Only the points that are floats; all rows."""
        if self.histogram_ids is None:
            return self
        present = self.present & (self.histogram_ids < 0)
        return replace(self, present=present, histogram_ids=None, histograms=None)

    def with_points_of(self, values: Values, present: Mask) -> "Matrix":
        """The same rows with other points, all of them floats, without the samples' times."""
        return Matrix(self.frame, values, present, self.drop_name)

    def without_names(self, *, delayed: bool) -> "Matrix":
        """The name labels removed: at once, or marked for the end of the query if *delayed*."""
        if delayed:
            marks = np.ones(self.series_count, dtype=np.bool_)
            return replace(self, drop_name=marks, times_ms=None)
        frame = self.frame.drop(METADATA_LABELS)
        ids, histograms = self.histogram_ids, self.histograms
        return Matrix(frame, self.values, self.present, None, None, ids, histograms)

    def check(self) -> None:
        """Asserts the invariants."""
        shape = (self.frame.size, self.step_count)
        assert self.values.shape == self.present.shape == shape
        assert self.values.dtype == np.float64 and self.present.dtype == np.bool_
        assert self.values.flags.c_contiguous and self.present.flags.c_contiguous
        assert self.drop_name is None or self.drop_name.shape == shape[:1]
        assert self.times_ms is None or self.times_ms.shape == shape
        if self.histogram_ids is not None:
            assert self.histogram_ids.shape == shape and self.histograms is not None
            ids = self.histogram_ids[self.present]
            assert (ids >= -1).all() and (ids < self.histograms.size).all()


@immutable
class ScalarRow:
    """A scalar at every step: float64[T]."""

    values: Values


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal's value."""

    value: str


Value = Matrix | ScalarRow | Text

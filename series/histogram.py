"""Native histograms as columns.

A histogram is counts of observations in *buckets*, beside their overall count and sum::

    offsets        [ 0, 3, 5, ... B ]                        H + 1
    positions      [ -(OFFSET + 2)  OFFSET + 1  OFFSET + 2 | ... ]
    bucket_counts  [ 1.0            4.0         2.0        | ... ]  histogram h at [offsets[h], ...)

A bucket's *position* is one number that rises with the observations it takes: ``OFFSET + index``
for positive ones, ``-(OFFSET + index)`` for negative ones. So the buckets of a histogram stand in
ascending order, and histograms are added by merging them.

Exponential histograms have a *schema* of -4 to 8: with b = 2 ** 2 ** -schema, bucket *index* takes
observations in ``(b ** (index - 1), b ** index]``, and the zero bucket, whose count stands apart,
those of at most the zero threshold. With ``CUSTOM_SCHEMA`` bucket *index* (from 0) ends at
``bounds[index]``, the one after the last bound at infinity; there is no zero bucket and nothing
negative.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from series import histogram_kernels

OFFSET = 1 << 29
"""What the position of a positive bucket lies above its index."""
MIN_SCHEMA, MAX_SCHEMA = -4, 8
CUSTOM_SCHEMA = -53

UNKNOWN, RESET, NOT_RESET, GAUGE = 0, 1, 2, 3
"""What is known of a counter reset between a histogram and the one before it."""

Scalar = TypeVar("Scalar", bound=np.generic)
Floats = NDArray[np.float64]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Histograms:
    """Columns of H histograms with B buckets and C custom bounds in all.

    - ``schemas``: int32[H]; ``hints``: uint8[H], UNKNOWN, RESET, NOT_RESET or GAUGE.
    - ``counts``, ``sums``, ``zero_thresholds``, ``zero_counts``: float64[H].
    - ``offsets``: int64[H + 1]; ``positions``: int32[B]; ``bucket_counts``: float64[B].
    - ``bound_offsets``: int64[H + 1]; ``bounds``: float64[C], strictly rising in a histogram.

    *Invariants* (``check`` asserts them): offsets begin at 0, never fall and end at B (C);
    positions strictly rise within a histogram. Buckets may be empty. Whether the counts add up is
    the sender's affair.
    """

    schemas: Int32s
    hints: NDArray[np.uint8]
    counts: Floats
    sums: Floats
    zero_thresholds: Floats
    zero_counts: Floats
    offsets: Int64s
    positions: Int32s
    bucket_counts: Floats
    bound_offsets: Int64s
    bounds: Floats

    @classmethod
    def empty(cls) -> "Histograms":
        """No histograms."""
        return build_histograms(())

    @classmethod
    def concat(
        cls, parts: Sequence["Histograms"], check: Callable[[], None] = lambda: None
    ) -> "Histograms":
        """The histograms of all *parts* (at least one), in order.

        *check*, called in between, may raise to stop.
        """
        if len(parts) == 1:
            return parts[0]

        def joined(columns: Sequence[NDArray[Scalar]]) -> NDArray[Scalar]:
            out = np.empty(sum(map(len, columns)), dtype=columns[0].dtype)
            at = 0
            for column in columns:
                check()
                out[at : at + len(column)] = column
                at += len(column)
            return out

        return cls(
            joined([part.schemas for part in parts]),
            joined([part.hints for part in parts]),
            joined([part.counts for part in parts]),
            joined([part.sums for part in parts]),
            joined([part.zero_thresholds for part in parts]),
            joined([part.zero_counts for part in parts]),
            offsets_of(joined([np.diff(part.offsets) for part in parts])),
            joined([part.positions for part in parts]),
            joined([part.bucket_counts for part in parts]),
            offsets_of(joined([np.diff(part.bound_offsets) for part in parts])),
            joined([part.bounds for part in parts]),
        )

    @property
    def size(self) -> int:
        return len(self.schemas)

    @property
    def columns(
        self,
    ) -> tuple[
        Int32s, NDArray[np.uint8], Floats, Floats, Floats, Floats, Int64s, Int32s, Floats, Int64s,
        Floats,
    ]:  # fmt: skip
        """All columns in the order of the fields, as kernels take them."""
        return (
            self.schemas, self.hints, self.counts, self.sums, self.zero_thresholds,
            self.zero_counts, self.offsets, self.positions, self.bucket_counts,
            self.bound_offsets, self.bounds,
        )  # fmt: skip

    @property
    def size_bytes(self) -> int:
        return sum(column.nbytes for column in self.columns)

    def take(self, ids: Int64s) -> "Histograms":
        """The histograms *ids* (int64[n]), in that order; IndexError where there is none such."""
        return gather([(self, ids, np.arange(len(ids)))], len(ids))

    def one(self, at: int) -> "Histogram":
        """Histogram *at* as an object; for texts, answers and tests."""
        buckets = slice(*self.offsets[at : at + 2].tolist())
        pairs = zip(
            self.positions[buckets].tolist(), self.bucket_counts[buckets].tolist(), strict=True
        )
        return Histogram(
            schema=int(self.schemas[at]),
            count=float(self.counts[at]),
            sum=float(self.sums[at]),
            zero_threshold=float(self.zero_thresholds[at]),
            zero_count=float(self.zero_counts[at]),
            buckets=tuple(pairs),
            bounds=tuple(self.bounds[slice(*self.bound_offsets[at : at + 2].tolist())].tolist()),
            hint=int(self.hints[at]),
        )

    def check(self) -> None:
        """Asserts the invariants."""
        assert all(column.flags.c_contiguous for column in self.columns)
        for column in (self.hints, self.counts, self.sums, self.zero_thresholds, self.zero_counts):
            assert len(column) == self.size
        for offsets, content in (
            (self.offsets, self.positions),
            (self.offsets, self.bucket_counts),
            (self.bound_offsets, self.bounds),
        ):
            assert len(offsets) == self.size + 1
            assert offsets[0] == 0 and offsets[-1] == len(content)
            assert (np.diff(offsets) >= 0).all()
        first = np.zeros(len(self.positions) + 1, dtype=np.bool_)
        first[self.offsets] = True
        assert (np.diff(self.positions.astype(np.int64)) > 0)[~first[1:-1]].all()


@dataclass(frozen=True, slots=True)
class Histogram:
    """One histogram; ``buckets`` are (position, count) pairs in ascending order."""

    schema: int = 0
    count: float = 0.0
    sum: float = 0.0
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    buckets: tuple[tuple[int, float], ...] = field(default=())
    bounds: tuple[float, ...] = ()
    hint: int = UNKNOWN

    @property
    def is_custom(self) -> bool:
        return self.schema == CUSTOM_SCHEMA


def build_histograms(histograms: Iterable[Histogram]) -> Histograms:
    """The columns of some histograms; for tests, imports and small writes."""
    rows = tuple(histograms)
    return Histograms(
        schemas=np.array([row.schema for row in rows], dtype=np.int32),
        hints=np.array([row.hint for row in rows], dtype=np.uint8),
        counts=np.array([row.count for row in rows], dtype=np.float64),
        sums=np.array([row.sum for row in rows], dtype=np.float64),
        zero_thresholds=np.array([row.zero_threshold for row in rows], dtype=np.float64),
        zero_counts=np.array([row.zero_count for row in rows], dtype=np.float64),
        offsets=offsets_of([len(row.buckets) for row in rows]),
        positions=np.array([at for row in rows for at, _ in row.buckets], dtype=np.int32),
        bucket_counts=np.array([n for row in rows for _, n in row.buckets], dtype=np.float64),
        bound_offsets=offsets_of([len(row.bounds) for row in rows]),
        bounds=np.array([bound for row in rows for bound in row.bounds], dtype=np.float64),
    )


def offsets_of(lengths: Sequence[int] | Int64s) -> Int64s:
    """int64[n + 1]: 0 and the running sums of *lengths*."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def gather(parts: Iterable[tuple[Histograms, Int64s, Int64s]], count: int) -> Histograms:
    """*count* histograms: of each part (pool, ids, places) number ``ids[k]`` at ``places[k]``.

    Every place of the answer is named once. Each histogram is copied once. IndexError where a
    pool has none of such a number.
    """
    parts = [
        (pool, np.ascontiguousarray(ids, dtype=np.int64), places) for pool, ids, places in parts
    ]
    offsets, bound_offsets = np.zeros((2, count + 1), dtype=np.int64)
    for pool, ids, places in parts:
        if not histogram_kernels.measure(
            pool.offsets, pool.bound_offsets, ids, places, offsets[1:], bound_offsets[1:]
        ):
            raise IndexError("no such histogram")
    np.cumsum(offsets, out=offsets)
    np.cumsum(bound_offsets, out=bound_offsets)
    counts, sums, zero_thresholds, zero_counts = np.empty((4, count))
    made = Histograms(
        np.empty(count, dtype=np.int32), np.empty(count, dtype=np.uint8),
        counts, sums, zero_thresholds, zero_counts,
        offsets, np.empty(offsets[-1], dtype=np.int32), np.empty(offsets[-1]),
        bound_offsets, np.empty(bound_offsets[-1]),
    )  # fmt: skip
    for pool, ids, places in parts:
        histogram_kernels.copy(*pool.columns, ids, places, *made.columns)
    return made

"""EntryIndex: where the entries of a block stand, and how some of them are read.

See ``tsdb/sample/entry_kernels.py`` for how a run of them stands in columns; the columns of a run
are consecutive segments of one frame.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.histogram import Histograms, offsets_of
from series.ports import StorageError
from tsdb.block.entry_writer import POSITION_BIAS
from tsdb.block.format import ColumnReader, DamagedError
from tsdb.block.kernels import MAX_SEGMENT
from tsdb.sample import entry_kernels
from tsdb.sample.entries import Entries
from tsdb.sample.entry_kernels import FLOAT_COLUMNS, HISTOGRAM_COLUMNS

Int64s = NDArray[np.int64]


class EntryPlan(NamedTuple):
    """How E entries are read: ``pieces`` and ``bounds`` decode ``size`` numbers (see
    ``block_kernels``), of which entry e has those from ``places[e]`` on, ``steps[e]`` apart.
    """

    pieces: Int64s
    bounds: Int64s
    size: int
    places: Int64s
    steps: Int64s
    layouts: Int64s


class EntryIndex(NamedTuple):
    """For r runs: ``firsts`` int64[r + 1], the numbers of their first entries and of none;
    ``rows``, ``layouts`` (0 of floats), ``frames``, ``slots`` int64[r]; ``lost`` bool[r], those in
    damaged frames. ``shapes`` is a histogram of layout 1, 2, ... without counts.
    """

    firsts: Int64s
    rows: Int64s
    layouts: Int64s
    frames: Int64s
    slots: Int64s
    lost: NDArray[np.bool_]
    shapes: Histograms

    @classmethod
    def load(cls, layouts: ColumnReader, runs: ColumnReader) -> "EntryIndex":
        """From the two sections of an index that ``EntryWriter`` makes.

        DamagedError where they disagree.
        """
        schemas = _int32s(layouts)
        hints = layouts.column().astype(np.uint8)
        offsets = offsets_of(layouts.sizes())
        positions = _int32s(layouts)
        bound_offsets = offsets_of(layouts.sizes())
        bounds = layouts.column().view(np.float64)
        count = len(schemas)
        _expect(len(hints) == len(offsets) - 1 == len(bound_offsets) - 1 == count)
        _expect(offsets[-1] == len(positions) and bound_offsets[-1] == len(bounds))
        zeros = np.zeros(count)
        shapes = Histograms(
            schemas, hints, zeros, zeros, zeros, zeros, offsets, positions,
            np.zeros(len(positions)), bound_offsets, bounds,
        )  # fmt: skip
        lengths = runs.sizes()
        rows, layout_numbers, frames, slots = (runs.sizes() for _ in range(4))
        _expect(len(lengths) == len(rows) == len(layout_numbers) == len(frames) == len(slots))
        _expect(lengths.max(initial=0) <= MAX_SEGMENT and layout_numbers.max(initial=0) <= count)
        return cls(
            firsts=offsets_of(lengths),
            rows=rows,
            layouts=layout_numbers,
            frames=frames,
            slots=slots,
            lost=np.zeros(len(lengths), dtype=np.bool_),
            shapes=shapes,
        )

    @property
    def size_bytes(self) -> int:
        arrays = [field for field in self if isinstance(field, np.ndarray)]
        return self.shapes.size_bytes + sum(array.nbytes for array in arrays)

    def without(self, frame: int) -> "EntryIndex":
        """Without the runs that stand in *frame*."""
        return self._replace(lost=self.lost | (self.frames == frame))

    def runs_of(self, numbers: Int64s) -> Int64s:
        """The run of each of the entries *numbers*; StorageError where there are none such."""
        runs = np.searchsorted(self.firsts, numbers, side="right") - 1
        if len(runs) and int(runs.max()) >= len(self.rows):
            raise StorageError("a block refers to samples that it does not hold")
        return runs

    def plan(self, numbers: Int64s) -> EntryPlan:
        """How to read the entries *numbers* (int64[E]), none of which is lost."""
        runs, owners = np.unique(self.runs_of(numbers), return_inverse=True)
        within = numbers - self.firsts[runs][owners]
        lows = np.full(len(runs), 2**62)
        highs = np.zeros(len(runs), dtype=np.int64)
        np.minimum.at(lows, owners, within)
        np.maximum.at(highs, owners, within + 1)
        lengths = highs - lows
        widths = np.concatenate(
            ([FLOAT_COLUMNS], HISTOGRAM_COLUMNS + np.diff(self.shapes.offsets))
        )[self.layouts[runs]]
        sizes = widths * lengths
        places = np.cumsum(sizes) - sizes
        columns = np.arange(int(widths.sum())) - np.repeat(np.cumsum(widths) - widths, widths)
        frames = np.repeat(self.frames[runs], widths)
        pieces = np.stack(
            (
                frames,
                np.repeat(self.slots[runs], widths) + columns,
                np.repeat(lows, widths),
                np.repeat(lengths, widths),
                np.repeat(places, widths) + columns * np.repeat(lengths, widths),
            )
        )
        return EntryPlan(
            pieces=pieces,
            bounds=np.append(np.flatnonzero(np.diff(frames, prepend=-1)), len(frames)),
            size=int(sizes.sum()),
            places=places[owners] + within - lows[owners],
            steps=lengths[owners],
            layouts=self.layouts[runs][owners],
        )

    def gather(self, plan: EntryPlan, numbers: NDArray[np.float64]) -> Entries:
        """The entries of *plan* from the *numbers* that its pieces decode."""
        is_histogram = plan.layouts > 0
        ids = np.where(is_histogram, np.cumsum(is_histogram) - 1, -1)
        shapes = self.shapes.take(plan.layouts[is_histogram] - 1)
        values, starts_ms = np.empty(len(ids)), np.empty(len(ids), dtype=np.int64)
        counts, sums, zero_thresholds, zero_counts = np.empty((4, shapes.size))
        entry_kernels.from_columns(
            numbers, plan.places, plan.steps, ids, shapes.offsets, values, starts_ms,
            counts, sums, zero_thresholds, zero_counts, shapes.bucket_counts,
        )  # fmt: skip
        found = Histograms(
            shapes.schemas, shapes.hints, counts, sums, zero_thresholds, zero_counts,
            shapes.offsets, shapes.positions, shapes.bucket_counts, shapes.bound_offsets,
            shapes.bounds,
        )  # fmt: skip
        return Entries(values, starts_ms, ids, found)


def _int32s(read: ColumnReader) -> NDArray[np.int32]:
    """The numbers of the next column, to which POSITION_BIAS was added."""
    numbers = read.column() - POSITION_BIAS
    _expect(numbers.min(initial=0) >= -(2**31) and numbers.max(initial=0) < 2**31)
    return numbers.astype(np.int32)


def _expect(holds: bool) -> None:
    if not holds:
        raise DamagedError("sections of entries disagree")

"""BlockIndex: the directory of a block as arrays, from the sections of its index."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.histogram import offsets_of
from tsdb.block import kernels as block_kernels
from tsdb.block.entry_index import EntryIndex
from tsdb.block.format import (
    DATA_HEADER,
    BlockMeta,
    ColumnReader,
    DamagedError,
    FrameKind,
    Section,
    Sections,
    unpack_seed,
)
from tsdb.block.kernels import FRAME_SEGMENTS, MAX_SEGMENT
from tsdb.block.label_sections import LabelSections
from tsdb.block.layout import lay_out
from tsdb.label.postings import LabelIndex
from tsdb.view.part import Fingerprints, Refs

Int64s = NDArray[np.int64]


class Reach(NamedTuple):
    """What stands in a frame: samples of ``rows`` (int64[n], rising), about how many, their times.

    Of entries it is only known which rows they belong to.
    """

    rows: Int64s
    samples: int
    min_time_ms: int
    max_time_ms: int


class LeftOut(NamedTuple):
    """What is left out of a block, the series that it touches (bool[s]), and why."""

    reach: Reach
    touched: NDArray[np.bool_]
    text: str


class BlockIndex(NamedTuple):
    """The directory of a block. For s series, g segments, l lines, c time columns, f frames:

    - ``series_segments`` int64[s + 1]: series r has the segments from the r-th up to the next;
      ``segment_frames`` int32[g], ``segment_slots`` uint8[g]: where each one stands;
      ``segment_flags`` uint8[g]: what is known of its values, see ``model_kernels``.
    - ``series_lines`` int32[s]: the *line* of a series is the list of the time columns of its
      segments, ``line_columns[line_bounds[l] : line_bounds[l + 1]]``; ``line_bounds``
      int64[l + 1], ``line_samples`` int64[l].
    - ``column_first_ms``, ``column_last_ms``, ``column_counts`` int64[c]; ``time_frames``
      int64[ceil(c / 16)]: where 16 of them each stand.
    - ``frame_offsets`` int64[f + 1].
    """

    labels: LabelIndex
    fingerprints: Fingerprints
    series_segments: Int64s
    series_lines: NDArray[np.int32]
    segment_frames: NDArray[np.int32]
    segment_slots: NDArray[np.uint8]
    segment_flags: NDArray[np.uint8]
    line_bounds: Int64s
    line_columns: Int64s
    line_samples: Int64s
    column_first_ms: Int64s
    column_last_ms: Int64s
    column_counts: Int64s
    time_frames: Int64s
    frame_offsets: Int64s
    entries: EntryIndex | None = None
    damage: tuple[LeftOut, ...] = ()

    @property
    def size_bytes(self) -> int:
        arrays = [field for field in self if isinstance(field, np.ndarray)]
        entries = 0 if self.entries is None else self.entries.size_bytes
        return self.labels.size_bytes + entries + sum(array.nbytes for array in arrays)

    def sample_counts(self, refs: Refs) -> Int64s:
        """int64[n]: how many samples each of *refs* has."""
        counts: Int64s = self.line_samples[self.series_lines[refs]]
        return counts

    def without(self, frame: int, text: str) -> "BlockIndex":
        """Without the samples whose values, times or entries stand in *frame*."""
        taken = self.reach(frame)
        series = len(self.series_lines)
        touched = np.zeros(series, dtype=np.bool_)
        touched[taken.rows] = True
        rows, columns = self._segment_rows(), self._segment_columns()
        kept = ~self._segments_in(frame, columns)
        counts = np.bincount(rows[kept], minlength=series)
        lines = _Lines.of(columns[kept], counts)
        return self._replace(
            series_segments=offsets_of(counts),
            series_lines=lines.numbers,
            segment_frames=self.segment_frames[kept],
            segment_slots=self.segment_slots[kept],
            segment_flags=self.segment_flags[kept],
            line_bounds=lines.bounds,
            line_columns=lines.columns,
            line_samples=lines.samples(self.column_counts),
            entries=self.entries and self.entries.without(frame),
            damage=(*self.damage, LeftOut(taken, touched, text)),
        )

    def reach(self, frame: int) -> Reach:
        """What the loss of *frame* takes."""
        rows, segment_columns = self._segment_rows(), self._segment_columns()
        hit = self._segments_in(frame, segment_columns)
        touched = rows[hit]
        samples = int(self.column_counts[segment_columns[hit]].sum())
        if self.entries is not None:
            runs = self.entries.frames == frame
            touched = np.concatenate((touched, self.entries.rows[runs]))
            samples += int(np.diff(self.entries.firsts)[runs].sum())
            hit = hit | np.isin(rows, self.entries.rows[runs])
        columns = segment_columns[hit]
        return Reach(
            rows=np.unique(touched),
            samples=samples,
            min_time_ms=int(self.column_first_ms[columns].min(initial=2**62)),
            max_time_ms=int(self.column_last_ms[columns].max(initial=-(2**62))),
        )

    def _segments_in(self, frame: int, segment_columns: Int64s) -> NDArray[np.bool_]:
        """bool[g]: the segments whose values or times stand in *frame*."""
        time_frames = self.time_frames[segment_columns // FRAME_SEGMENTS]
        hit: NDArray[np.bool_] = (time_frames == frame) | (self.segment_frames == frame)
        return hit

    def _segment_rows(self) -> Int64s:
        """int64[g]: the row of each segment."""
        return np.repeat(np.arange(len(self.series_lines)), np.diff(self.series_segments))

    def _segment_columns(self) -> Int64s:
        """int64[g]: the time column of each segment."""
        shifts = self.line_bounds[self.series_lines] - self.series_segments[:-1]
        at = np.arange(len(self.segment_frames)) + np.repeat(shifts, np.diff(self.series_segments))
        columns: Int64s = self.line_columns[at]
        return columns


class _Lines(NamedTuple):
    """The lines ``numbers`` int32[s] of series; see ``BlockIndex``."""

    numbers: NDArray[np.int32]
    bounds: Int64s
    columns: Int64s

    @classmethod
    def of(cls, segment_columns: Int64s, counts: Int64s) -> "_Lines":
        """Of series that have *counts* (int64[s]) of the segments with these columns."""
        starts = np.cumsum(counts) - counts
        ids, firsts = np.empty((2, len(counts)), dtype=np.int64)
        found = block_kernels.number_stretches(segment_columns, starts, counts, ids, firsts)
        firsts = firsts[:found]
        bounds = offsets_of(counts[firsts])
        at = np.arange(bounds[-1]) + np.repeat(starts[firsts] - bounds[:-1], counts[firsts])
        return cls(ids.astype(np.int32), bounds, segment_columns[at])

    @classmethod
    def unpack(cls, read: ColumnReader, series: int, columns: int) -> "_Lines":
        """From a section SEGMENTS; DamagedError where it cannot be that of so many of both."""
        numbers = read.differences()
        sizes = read.sizes()
        listed = read.differences()
        _expect(len(numbers) == series and _all_below(numbers, len(sizes)))
        _expect(sizes.min(initial=1) > 0 and sizes.sum() == len(listed))
        _expect(_all_below(listed, columns))
        return cls(numbers.astype(np.int32), offsets_of(sizes), listed)

    def rise(self, first_ms: Int64s, last_ms: Int64s) -> bool:
        """Whether every column of a line begins after the one before, whose times are given."""
        rises = first_ms[self.columns[1:]] > last_ms[self.columns[:-1]]
        rises[self.bounds[1:-1] - 1] = True
        return bool(rises.all())

    def samples(self, column_counts: Int64s) -> Int64s:
        """int64[l]: how many samples the columns of each line have."""
        return np.diff(offsets_of(column_counts[self.columns])[self.bounds])


def parse_index(sections: Sections, meta: BlockMeta) -> BlockIndex:
    """The index of the block that *meta* describes; DamagedError where *sections* disagree."""
    read = {kind: ColumnReader(content) for kind, content in sections.items()}
    labels = LabelSections.unpack(sections, meta.series)
    columns = read[Section.TIME_COLUMNS]
    first_ms, last_ms = columns.column() + meta.min_time_ms, columns.column() + meta.min_time_ms
    column_counts = columns.sizes()
    frame_sizes, kinds = read[Section.FRAMES].sizes(), read[Section.FRAMES].column()
    time_frames = np.flatnonzero(kinds == FrameKind.TIMES)
    value_frames = np.flatnonzero(kinds == FrameKind.VALUES)
    group_rows = read[Section.GROUPS].sizes()
    _expect(
        len(first_ms) == len(last_ms) == len(column_counts) <= FRAME_SEGMENTS * len(time_frames)
    )
    _expect(len(kinds) == len(frame_sizes))
    _expect(column_counts.min(initial=1) > 0 and column_counts.max(initial=0) <= MAX_SEGMENT)
    lines = _Lines.unpack(read[Section.SEGMENTS], meta.series, len(column_counts))
    flags = read[Section.SEGMENTS].column()
    _expect(group_rows.sum() == meta.series)
    _expect(group_rows.min(initial=1) > 0 and group_rows.max(initial=0) <= FRAME_SEGMENTS)
    line_samples = lines.samples(column_counts)
    _expect(line_samples[lines.numbers].sum() == meta.samples and lines.rise(first_ms, last_ms))
    row_segments = np.diff(lines.bounds)[lines.numbers]
    _expect(row_segments.sum() <= FRAME_SEGMENTS * len(value_frames))
    layout = lay_out(row_segments, group_rows)
    _expect(len(layout.bounds) - 1 == len(value_frames))
    in_frame = np.diff(layout.bounds)
    _expect(len(flags) == len(layout.order) and _all_below(flags, 256))
    frames = np.empty(len(layout.order), dtype=np.int32)
    slots, segment_flags = np.empty((2, len(layout.order)), dtype=np.uint8)
    segment_flags[layout.order] = flags
    frames[layout.order] = np.repeat(value_frames, in_frame)
    slots[layout.order] = np.arange(len(slots)) - np.repeat(layout.bounds[:-1], in_frame)
    entries = None
    if Section.ENTRY_RUNS in read and Section.ENTRY_LAYOUTS in read:
        entries = EntryIndex.load(read[Section.ENTRY_LAYOUTS], read[Section.ENTRY_RUNS])
        _expect(_all_below(entries.rows, meta.series) and _all_below(entries.frames, len(kinds)))
    frame_offsets = offsets_of(frame_sizes) + DATA_HEADER.size
    _expect(frame_offsets[-1] <= meta.data_bytes)
    return BlockIndex(
        labels=labels.loaded(),
        fingerprints=labels.fingerprints(unpack_seed(sections)),
        series_segments=offsets_of(row_segments),
        series_lines=lines.numbers,
        segment_frames=frames,
        segment_slots=slots,
        segment_flags=segment_flags,
        line_bounds=lines.bounds,
        line_columns=lines.columns,
        line_samples=line_samples,
        column_first_ms=first_ms,
        column_last_ms=last_ms,
        column_counts=column_counts,
        time_frames=time_frames,
        frame_offsets=frame_offsets,
        entries=entries,
    )


def _all_below(numbers: Int64s, bound: int) -> bool:
    """Whether all are from 0 up to below *bound*."""
    return bool(numbers.min(initial=0) >= 0 and numbers.max(initial=-1) < bound)


def _expect(holds: bool) -> None:
    if not holds:
        raise DamagedError("sections of the index disagree")

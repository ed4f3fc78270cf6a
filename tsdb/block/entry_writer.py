"""Writing the entries of a block: runs of equal layout as columns, in frames of their own."""

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.histogram import Histograms
from tsdb.block.codec import SEGMENT_REST_SAMPLES, SEGMENT_SAMPLES, FrameEncoder
from tsdb.block.contents import Contents
from tsdb.block.data_file import DataFile
from tsdb.block.format import FrameKind, Section, pack_column
from tsdb.sample import entry_kernels
from tsdb.sample.entries import Entries
from tsdb.sample.entry_kernels import FLOAT_COLUMNS, HISTOGRAM_COLUMNS

Int64s = NDArray[np.int64]

_FRAME_NUMBERS = 1 << 13
"""A frame is full with so many numbers; it may hold one larger run."""
_RUN_NUMBERS = 1 << 16
"""Runs of wide histograms are cut so that they do not hold many more."""
_MIN_RUN = 16
POSITION_BIAS = 1 << 31
"""Added to schemas and bucket positions, which may be negative, in the index."""
_NO_RUNS = np.zeros(0, dtype=np.int64)


class _Runs(NamedTuple):
    """Runs in the order of their entries; ``histograms`` is the first one's number, -1 of floats.

    ``rows`` are those of the block, ``layouts`` count the distinct ones from 1 on, 0 for floats;
    ``widths`` are their columns, ``sizes`` all their numbers.
    """

    firsts: Int64s
    rows: Int64s
    lengths: Int64s
    histograms: Int64s
    layouts: Int64s
    widths: Int64s
    sizes: Int64s


class EntryWriter:
    """Takes the entries of rows in ascending order and writes them frame by frame.

    Where frames begin depends on the entries alone, not on the calls that brought them.
    """

    def __init__(self, data: DataFile, seed: bytes) -> None:
        """*seed* keeps senders from choosing layouts that are taken for others."""
        self._data = data
        self._encoder = FrameEncoder()
        self._layouts = Contents(seed)
        self._shapes = [Histograms.empty()]
        self._widths = np.array([FLOAT_COLUMNS])
        self._entries = Entries.empty()
        self._rows = np.zeros(0, dtype=np.int64)
        self._runs = _Runs(*[_NO_RUNS] * 7)
        self._ends: deque[int] = deque()
        self._done = 0
        self._numbers = 0
        self._written: list[NDArray[np.int64]] = []
        self.count = 0
        """The number of the next entry."""

    def add(self, entries: Entries, rows: Int64s) -> None:
        """Adds *entries* of the block rows *rows* (int64[E]); all of one row come in one call."""
        self.count += entries.size
        entries = entries.take(np.arange(entries.size))
        self._plan(Entries.concat([self._entries, entries]), np.concatenate((self._rows, rows)))

    def write_full(self, end_row: int) -> None:
        """Writes the frames that entries of rows before *end_row* have filled."""
        while self._ends and self._runs.rows[self._ends[0] - 1] < end_row:
            self._write(self._ends.popleft())

    def keep(self) -> None:
        """Lets go of what was written."""
        if self._done:
            first = int(np.append(self._runs.firsts, self._entries.size)[self._done])
            waiting = self._entries.take(np.arange(first, self._entries.size))
            self._plan(waiting, self._rows[first:].copy())

    def finish(self) -> dict[Section, list[bytes]]:
        """Writes all that waits; the sections of the index that tell where the entries stand."""
        if not self.count:
            return {}
        while self._ends:
            self._write(self._ends.popleft())
        if self._done < len(self._runs.rows):
            self._write(len(self._runs.rows))
        shapes = Histograms.concat(self._shapes)
        return {
            Section.ENTRY_LAYOUTS: [
                pack_column(shapes.schemas.astype(np.int64) + POSITION_BIAS),
                pack_column(shapes.hints),
                pack_column(np.diff(shapes.offsets)),
                pack_column(shapes.positions.astype(np.int64) + POSITION_BIAS),
                pack_column(np.diff(shapes.bound_offsets)),
                pack_column(shapes.bounds.view(np.uint64)),
            ],
            Section.ENTRY_RUNS: list(map(pack_column, np.concatenate(self._written, axis=1))),
        }

    def _plan(self, entries: Entries, rows: Int64s) -> None:
        """Cuts *entries*, those that wait, into runs and these into frames."""
        self._entries, self._rows = entries, rows
        stretches = _stretches(entries, rows)
        layouts = self._number(stretches)
        self._runs = runs = _cut(entries, rows, stretches, layouts, self._widths)
        totals = self._numbers + np.cumsum(runs.sizes)
        is_full = totals // _FRAME_NUMBERS != (totals - runs.sizes) // _FRAME_NUMBERS
        self._ends = deque((np.flatnonzero(is_full) + 1).tolist())
        self._done = 0

    def _number(self, stretches: Int64s) -> Int64s:
        """The layout of each of the *stretches* of the entries that wait."""
        ids = self._entries.histogram_ids[stretches]
        found = self._entries.histograms.take(ids[ids >= 0])
        keys, sizes = _layout_keys(found)
        numbers, firsts = self._layouts.number(keys, np.cumsum(sizes) - sizes, sizes)
        self._shapes.append(found.take(firsts))
        new_widths = HISTOGRAM_COLUMNS + np.diff(self._shapes[-1].offsets)
        self._widths = np.concatenate((self._widths, new_widths))
        layouts = np.zeros(len(stretches), dtype=np.int64)
        layouts[ids >= 0] = numbers + 1
        return layouts

    def _write(self, end: int) -> None:
        """Writes the next frame: the runs up to *end*."""
        part = slice(self._done, end)
        runs = _Runs(*(field[part] for field in self._runs))
        entries, found = self._entries, self._entries.histograms
        columns = np.empty(int(runs.sizes.sum()))
        entry_kernels.to_columns(
            runs.firsts, runs.lengths, runs.histograms, entries.values, entries.starts_ms,
            found.counts, found.sums, found.zero_thresholds, found.zero_counts, found.offsets,
            found.bucket_counts, columns,
        )  # fmt: skip
        lengths = np.repeat(runs.lengths, runs.widths)
        number = self._data.next_frame
        frame, _ = self._encoder.values(columns, np.cumsum(lengths) - lengths, lengths)
        self._data.add(frame, FrameKind.ENTRIES)
        slots = np.cumsum(runs.widths) - runs.widths
        frames = np.full(len(slots), number)
        self._written.append(np.stack((runs.lengths, runs.rows, runs.layouts, frames, slots)))
        self._numbers += len(columns)
        self._done = end


def _stretches(entries: Entries, rows: Int64s) -> Int64s:
    """The first entries of the longest possible runs."""
    found = entries.histograms
    changed = np.empty(found.size, dtype=np.bool_)
    entry_kernels.find_changes(
        found.schemas, found.hints, found.offsets, found.positions, found.bound_offsets,
        found.bounds.view(np.int64), changed,
    )  # fmt: skip
    kinds = entries.is_histogram
    begins = np.ones(entries.size, dtype=np.bool_)
    begins[1:] = (np.diff(rows) != 0) | (kinds[1:] != kinds[:-1])
    begins[kinds] |= changed
    return np.flatnonzero(begins)


def _layout_keys(found: Histograms) -> tuple[Int64s, Int64s]:
    """All that tells layouts apart, end to end, and the sizes of these keys."""
    buckets, bounds = np.diff(found.offsets), np.diff(found.bound_offsets)
    sizes = 3 + buckets + bounds
    starts = np.cumsum(sizes) - sizes
    keys = np.empty(int(sizes.sum()), dtype=np.int64)
    keys[starts], keys[starts + 1], keys[starts + 2] = found.schemas, found.hints, buckets
    at = np.repeat(starts + 3 - found.offsets[:-1], buckets)
    keys[at + np.arange(len(at))] = found.positions
    at = np.repeat(starts + 3 + buckets - found.bound_offsets[:-1], bounds)
    keys[at + np.arange(len(at))] = found.bounds.view(np.int64)
    return keys, sizes


def _cut(
    entries: Entries, rows: Int64s, stretches: Int64s, layouts: Int64s, layout_widths: Int64s
) -> _Runs:
    """Cuts the *stretches* evenly into runs that are not too long."""
    longest = np.clip(
        _RUN_NUMBERS // layout_widths[layouts], _MIN_RUN, SEGMENT_SAMPLES + SEGMENT_REST_SAMPLES
    )
    lengths = np.diff(np.append(stretches, entries.size))
    parts = -(-lengths // longest)
    owners = np.repeat(np.arange(len(stretches)), parts)
    kth = np.arange(len(owners)) - np.repeat(np.cumsum(parts) - parts, parts)
    firsts = stretches[owners] + kth * lengths[owners] // parts[owners]
    run_lengths = np.diff(np.append(firsts, entries.size))
    widths = layout_widths[layouts[owners]]
    return _Runs(
        firsts=firsts,
        rows=rows[firsts],
        lengths=run_lengths,
        histograms=entries.histogram_ids[firsts],
        layouts=layouts[owners],
        widths=widths,
        sizes=widths * run_lengths,
    )

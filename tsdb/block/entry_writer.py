"""Writing the entries of a block: runs of equal layout as columns, in frames of their own."""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.histogram import Histograms
from tsdb.block import kernels as block_kernels
from tsdb.block.codec import SEGMENT_REST_SAMPLES, SEGMENT_SAMPLES, FrameEncoder
from tsdb.block.data_file import DataFile
from tsdb.block.format import Section, pack_column
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


class _Runs(NamedTuple):
    """Runs in the order of their entries; ``histograms`` is the first one's number, -1 of floats.

    ``layouts`` counts the distinct ones from 1 on, 0 for floats; ``widths`` are their columns.
    """

    firsts: Int64s
    lengths: Int64s
    histograms: Int64s
    layouts: Int64s
    widths: Int64s


def write_entries(data: DataFile, entries: Entries, rows: Int64s) -> dict[Section, list[bytes]]:
    """Writes *entries*, of the ascending block rows *rows* (int64[E]), to *data*.

    Returns the sections of the index that tell where they stand.
    """
    entries = entries.take(np.arange(entries.size))
    stretches = _stretches(entries, rows)
    layouts, shapes = _layouts(entries, stretches)
    runs = _cut(entries, stretches, layouts, shapes)
    frames, slots = _write_frames(data, entries, runs)
    return {
        Section.ENTRY_LAYOUTS: [
            pack_column(shapes.schemas.astype(np.int64) + POSITION_BIAS),
            pack_column(shapes.hints),
            pack_column(np.diff(shapes.offsets)),
            pack_column(shapes.positions.astype(np.int64) + POSITION_BIAS),
            pack_column(np.diff(shapes.bound_offsets)),
            pack_column(shapes.bounds.view(np.uint64)),
        ],
        Section.ENTRY_RUNS: [
            pack_column(runs.lengths),
            pack_column(rows[runs.firsts]),
            pack_column(runs.layouts),
            pack_column(frames),
            pack_column(slots),
        ],
    }


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


def _layouts(entries: Entries, stretches: Int64s) -> tuple[Int64s, Histograms]:
    """The layout of each of the *stretches*, 0 of floats; a histogram of layout 1, 2, ..."""
    ids = entries.histogram_ids[stretches]
    found = entries.histograms.take(ids[ids >= 0])
    buckets, bounds = np.diff(found.offsets), np.diff(found.bound_offsets)
    sizes = 3 + buckets + bounds
    starts = np.cumsum(sizes) - sizes
    keys = np.empty(int(sizes.sum()), dtype=np.int64)
    keys[starts], keys[starts + 1], keys[starts + 2] = found.schemas, found.hints, buckets
    at = np.repeat(starts + 3 - found.offsets[:-1], buckets)
    keys[at + np.arange(len(at))] = found.positions
    at = np.repeat(starts + 3 + buckets - found.bound_offsets[:-1], bounds)
    keys[at + np.arange(len(at))] = found.bounds.view(np.int64)
    numbers, firsts = np.empty((2, found.size), dtype=np.int64)
    count = block_kernels.number_stretches(keys, starts, sizes, numbers, firsts)
    layouts = np.zeros(len(stretches), dtype=np.int64)
    layouts[ids >= 0] = numbers + 1
    return layouts, found.take(firsts[:count])


def _cut(entries: Entries, stretches: Int64s, layouts: Int64s, shapes: Histograms) -> _Runs:
    """Cuts the *stretches* evenly into runs that are not too long."""
    layout_widths = np.concatenate(([FLOAT_COLUMNS], HISTOGRAM_COLUMNS + np.diff(shapes.offsets)))
    longest = np.clip(
        _RUN_NUMBERS // layout_widths[layouts], _MIN_RUN, SEGMENT_SAMPLES + SEGMENT_REST_SAMPLES
    )
    lengths = np.diff(np.append(stretches, entries.size))
    parts = -(-lengths // longest)
    owners = np.repeat(np.arange(len(stretches)), parts)
    kth = np.arange(len(owners)) - np.repeat(np.cumsum(parts) - parts, parts)
    firsts = stretches[owners] + kth * lengths[owners] // parts[owners]
    return _Runs(
        firsts=firsts,
        lengths=np.diff(np.append(firsts, entries.size)),
        histograms=entries.histogram_ids[firsts],
        layouts=layouts[owners],
        widths=layout_widths[layouts[owners]],
    )


def _write_frames(data: DataFile, entries: Entries, runs: _Runs) -> tuple[Int64s, Int64s]:
    """Writes the *runs*; returns the frame of each, and the slot of its first column there."""
    encoder = FrameEncoder()
    found = entries.histograms
    sizes = runs.widths * runs.lengths
    full = (np.cumsum(sizes) - sizes) // _FRAME_NUMBERS
    bounds = np.append(np.flatnonzero(np.diff(full, prepend=-1)), len(full)).tolist()
    frames = np.empty(len(full), dtype=np.int64)
    slots = np.empty(len(full), dtype=np.int64)
    for start, end in itertools.pairwise(bounds):
        part = slice(start, end)
        columns = np.empty(int(sizes[part].sum()))
        entry_kernels.to_columns(
            runs.firsts[part], runs.lengths[part], runs.histograms[part],
            entries.values, entries.starts_ms,
            found.counts, found.sums, found.zero_thresholds, found.zero_counts, found.offsets,
            found.bucket_counts, columns,
        )  # fmt: skip
        lengths = np.repeat(runs.lengths[part], runs.widths[part])
        frames[part] = data.next_frame
        slots[part] = np.cumsum(runs.widths[part]) - runs.widths[part]
        frame, _ = encoder.values(data.next_frame, columns, np.cumsum(lengths) - lengths, lengths)
        data.add(frame)
    return frames, slots

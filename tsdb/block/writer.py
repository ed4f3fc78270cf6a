"""Writing a block: rows of samples to a directory that is complete or not there.

Rows stand in label order, about 16 to a *group* of (as far as possible) one metric. The k-th
segments of a group's rows make up a frame, so a short range of many series touches few frames and
each holds samples that resemble each other. Time columns are stored once a block, however many
segments share them.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import METRIC_NAME
from tsdb.block import kernels
from tsdb.block.codec import (
    SEGMENT_REST_SAMPLES,
    SEGMENT_SAMPLES,
    FrameEncoder,
)
from tsdb.block.data_file import DataFile
from tsdb.block.entry_writer import write_entries
from tsdb.block.format import (
    BlockMeta,
    Section,
    block_directory,
    pack_column,
    pack_index,
)
from tsdb.files import Files
from tsdb.label.interner import Interner
from tsdb.label.label_texts import LabelTable
from tsdb.sample.entries import box, ticket_places
from tsdb.view.part import Fingerprints

Int64s = NDArray[np.int64]

_GROUP_MIN_ROWS = 8
"""From so many rows on, a group ends where the metric does."""


class _Segments(NamedTuple):
    """The segments of a batch, series by series, and how frames take them up.

    ``tiled`` orders them frame by frame; ``frames`` (counted from 0) and ``slots`` say where each
    one stands.
    """

    per_series: Int64s
    offsets: Int64s
    counts: Int64s
    time_starts: Int64s
    tiled: Int64s
    frames: Int64s
    slots: Int64s


class _TimeColumns(NamedTuple):
    """The distinct time columns in order of first use by frames; ``ids`` one for each segment."""

    ids: Int64s
    starts: Int64s
    counts: Int64s


def write_block(
    root: Path,
    sequence: int,
    batch: SeriesBatch,
    fingerprints: Fingerprints,
    *,
    late: bool,
    files: Files,
) -> BlockMeta:
    """Writes block *sequence* of the rows of *batch* below *root*; durable when it returns.

    The rows ascend by their labels, carry keys, hold a sample at least and strictly rising times;
    ``fingerprints`` is uint64[rows, 2]. Raises OSError where the disk refuses; the block then does
    not exist (a directory left aside is removed by ``remove_strays``).
    """
    directory = block_directory(root, sequence)
    aside = directory.with_suffix(".tmp")
    files.remove_tree(aside)
    files.mkdir(aside)
    interner = Interner()
    interner.append(batch.keys, batch.key_starts, batch.key_ends)
    labels = interner.table()
    segments = _cut(batch, labels)
    columns = _time_columns(batch, segments)
    bits, entries = box(batch)
    entry_sections: dict[Section, list[bytes]] = {}
    data = DataFile(files, aside / "data", sequence)
    try:
        column_frames = _write_times(data, batch, columns)
        flags = _write_values(data, bits.view(np.float64), segments)
        if entries is not None:
            rows = np.searchsorted(batch.offsets, ticket_places(bits), side="right") - 1
            entry_sections = write_entries(data, entries, rows)
        data.finish()
    finally:
        data.close()
    meta = BlockMeta(
        sequence=sequence,
        min_time_ms=int(batch.times_ms[columns.starts].min()),
        max_time_ms=int(batch.times_ms[columns.starts + columns.counts - 1].max()),
        series=batch.series_count,
        samples=batch.sample_count,
        index_bytes=0,
        data_bytes=data.size_bytes,
        late=late,
    )
    content = pack_index(
        sequence,
        {
            Section.SUMMARY: _summary(meta),
            **_label_sections(labels),
            Section.FINGERPRINTS: [np.ascontiguousarray(fingerprints, dtype="<u8").tobytes()],
            Section.SEGMENTS: [
                pack_column(segments.per_series),
                pack_column(columns.ids),
                pack_column(segments.frames + column_frames),
                pack_column(segments.slots),
                pack_column(flags),
            ],
            Section.TIME_COLUMNS: _column_section(batch, columns, meta.min_time_ms),
            Section.FRAMES: [pack_column(np.array(data.frame_bytes, dtype=np.int64))],
            **entry_sections,
        },
    )
    _write_file(files, aside / "index", content)
    files.sync_directory(aside)
    files.rename(aside, directory)
    files.sync_directory(root)
    return replace(meta, index_bytes=len(content))


def _cut(batch: SeriesBatch, labels: LabelTable) -> _Segments:
    """Cuts the rows into segments and lays these into frames."""
    lengths = np.diff(batch.offsets)
    per_series = np.maximum(1, -((SEGMENT_REST_SAMPLES - lengths) // SEGMENT_SAMPLES))
    series = np.repeat(np.arange(len(lengths)), per_series)
    firsts = np.cumsum(per_series) - per_series
    kth = np.arange(len(series)) - firsts[series]
    starts = kth * SEGMENT_SAMPLES
    last = kth == per_series[series] - 1
    counts = np.where(last, lengths[series] - starts, SEGMENT_SAMPLES)
    groups = _groups(labels)[series]
    tiled = np.lexsort((series, kth, groups))
    new_frame = np.ones(len(tiled), dtype=np.bool_)
    new_frame[1:] = (np.diff(groups[tiled]) != 0) | (np.diff(kth[tiled]) != 0)
    frame_starts = np.flatnonzero(new_frame)
    frames = np.empty(len(tiled), dtype=np.int64)
    slots = np.empty(len(tiled), dtype=np.int64)
    frames[tiled] = np.cumsum(new_frame) - 1
    slots[tiled] = np.arange(len(tiled)) - frame_starts[frames[tiled]]
    return _Segments(
        per_series=per_series,
        offsets=batch.offsets[series] + starts,
        counts=counts,
        time_starts=batch.time_starts[series] + starts,
        tiled=tiled,
        frames=frames,
        slots=slots,
    )


def _groups(labels: LabelTable) -> Int64s:
    """int64[rows]: the rising number of each row's group."""
    rows = len(labels.row_starts) - 1
    metrics = np.full(rows, -1)
    if METRIC_NAME in labels.names:
        name = labels.names.index(METRIC_NAME)
        first, end = labels.name_firsts[name : name + 2]
        found = np.flatnonzero((labels.row_labels >= first) & (labels.row_labels < end))
        metrics[np.searchsorted(labels.row_starts, found, side="right") - 1] = labels.row_labels[
            found
        ]
    ends = np.append(np.flatnonzero(np.diff(metrics)) + 1, rows)
    bounds = [0]
    for end in ends.tolist():
        while end - bounds[-1] >= kernels.FRAME_SEGMENTS:
            bounds.append(bounds[-1] + kernels.FRAME_SEGMENTS)
        if end - bounds[-1] >= _GROUP_MIN_ROWS:
            bounds.append(end)
    if bounds[-1] < rows:
        bounds.append(rows)
    return np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))


def _time_columns(batch: SeriesBatch, segments: _Segments) -> _TimeColumns:
    order = segments.tiled
    starts, counts = segments.time_starts[order], segments.counts[order]
    ids = np.empty(len(order), dtype=np.int64)
    firsts = np.empty(len(order), dtype=np.int64)
    found = kernels.number_stretches(batch.times_ms, starts, counts, ids, firsts)
    own = firsts[:found]
    by_series = np.empty(len(order), dtype=np.int64)
    by_series[order] = ids
    return _TimeColumns(by_series, starts[own], counts[own])


def _write_times(data: DataFile, batch: SeriesBatch, columns: _TimeColumns) -> int:
    """Writes the time columns and returns how many frames they take."""
    encoder = FrameEncoder()
    for first in range(0, len(columns.starts), kernels.FRAME_SEGMENTS):
        part = slice(first, first + kernels.FRAME_SEGMENTS)
        frame = encoder.times(
            data.next_frame, batch.times_ms, columns.starts[part], columns.counts[part]
        )
        data.add(frame)
    return data.next_frame


def _write_values(data: DataFile, values: NDArray[np.float64], segments: _Segments) -> Int64s:
    """Writes the value frames; returns the segments' flags."""
    encoder = FrameEncoder()
    order = segments.tiled
    starts, counts = segments.offsets[order], segments.counts[order]
    flags = np.zeros(len(order), dtype=np.int64)
    bounds = np.append(np.flatnonzero(segments.slots[order] == 0), len(order)).tolist()
    for number in range(len(bounds) - 1):
        part = slice(bounds[number], bounds[number + 1])
        frame, flags[order[part]] = encoder.values(
            data.next_frame, values, starts[part], counts[part]
        )
        data.add(frame)
    return flags


def _summary(meta: BlockMeta) -> list[bytes]:
    numbers = (meta.series, meta.samples, meta.data_bytes, int(meta.late))
    times = np.array([meta.min_time_ms, meta.max_time_ms], dtype="<i8")
    return [pack_column(np.array(numbers, dtype=np.int64)), pack_column(times.view("<u8"))]


def _label_sections(labels: LabelTable) -> dict[Section, list[bytes]]:
    names = [name.encode() for name in labels.names]
    return {
        Section.NAMES: [
            pack_column(np.diff(labels.name_firsts)),
            pack_column(np.array([len(name) for name in names], dtype=np.int64)),
            *names,
        ],
        Section.VALUES: [pack_column(np.diff(labels.value_starts)), labels.values],
        Section.ROWS: [pack_column(np.diff(labels.row_starts)), pack_column(labels.row_labels)],
    }


def _column_section(batch: SeriesBatch, columns: _TimeColumns, min_time_ms: int) -> list[bytes]:
    """First and last times, relative to the block's first (modulo 2**64), and counts."""
    first = batch.times_ms[columns.starts].view(np.uint64)
    last = batch.times_ms[columns.starts + columns.counts - 1].view(np.uint64)
    origin = np.array(min_time_ms, dtype=np.int64).view(np.uint64)
    return [pack_column(first - origin), pack_column(last - origin), pack_column(columns.counts)]


def _write_file(files: Files, path: Path, content: bytes) -> None:
    fd = files.create(path)
    try:
        files.write(fd, [content])
        files.fdatasync(fd)
    finally:
        files.close(fd)

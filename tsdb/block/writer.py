"""Writing a block: rows of samples to a directory that is complete or not there.

Rows stand in label order, about 16 to a *group* of (as far as possible) one metric. The k-th
segments of a group's rows make up a frame, so a short range of many series touches few frames and
each holds samples that resemble each other. Time columns are stored once a block, however many
segments share them.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.block.codec import FrameEncoder
from tsdb.block.data_file import DataFile
from tsdb.block.entry_writer import EntryWriter
from tsdb.block.format import (
    BlockMeta,
    FrameKind,
    Section,
    block_directory,
    pack_column,
    pack_index,
    pack_origin,
    pack_summary,
)
from tsdb.block.index_copy import write_file
from tsdb.block.label_writer import LabelWriter
from tsdb.block.layout import FinishedGroups, Rows, Segments, cut, group_ends, joined
from tsdb.block.line_writer import LineWriter
from tsdb.block.time_writer import TimeWriter
from tsdb.files import Files
from tsdb.sample.entries import box, moved_tickets, ticket_places

Int64s = NDArray[np.int64]
Flags = NDArray[np.uint8]


class BlockWriter:
    """Writes one block from rows in ascending order of their labels, some at a time.

    What is written does not depend on how the rows are spread over calls of ``add``, but that a
    group ends where others follow that are finished. In memory
    stand the rows of one call, up to 15 of those before, and the index. All methods raise OSError
    where the disk refuses; then ``abandon`` is all that is left to do.
    """

    def __init__(
        self,
        root: Path,
        sequence: int,
        *,
        late: bool,
        seed: bytes,
        sources: tuple[int, ...] = (),
        rank: int | None = None,
        files: Files,
    ) -> None:
        """Begins block *sequence* below *root*, aside; *seed* is the tenant's (16 bytes).

        *rank* is by default the sequence; for *sources* see ``BlockMeta``.
        """
        self._root = root
        self._directory = block_directory(root, sequence)
        self._aside = self._directory.with_suffix(".tmp")
        self._files = files
        files.remove_tree(self._aside)
        files.mkdir(self._aside)
        self._seed = seed
        self._meta = BlockMeta(
            sequence=sequence,
            min_time_ms=0,
            max_time_ms=0,
            series=0,
            samples=0,
            index_bytes=0,
            data_bytes=0,
            late=late,
            rank=sequence if rank is None else rank,
            sources=sources,
        )
        self._data = DataFile(files, self._aside / "data", sequence)
        self._encoder = FrameEncoder()
        self._labels = LabelWriter()
        self._times = TimeWriter(self._data, seed)
        self._entries = EntryWriter(self._data, seed)
        self._open_rows: list[Rows] = []
        self._rows = 0
        self._samples = 0
        self._group_rows: list[Int64s] = []
        self._lines = LineWriter(seed)
        self._flags: list[Flags] = []

    def add(self, batch: SeriesBatch) -> None:
        """Adds the rows of *batch*, which follow all those before in the order of their labels.

        They carry keys, hold a sample at least and strictly rising times.
        """
        bits, entries = box(batch)
        if entries is not None:
            rows = np.searchsorted(batch.offsets, ticket_places(bits), side="right") - 1
            bits = moved_tickets(bits, self._entries.count)
            self._entries.add(entries, rows + self._labels.rows)
        metrics = self._labels.add(batch)
        self._samples += batch.sample_count
        fresh = Rows(
            bits.view(np.float64), batch.offsets, batch.times_ms, batch.time_starts, metrics
        )
        self._take(fresh)
        self._times.keep()
        self._entries.keep()

    def add_finished(self, groups: FinishedGroups) -> None:
        """Adds *groups*, whose rows follow all those before in the order of their labels.

        Their frames are written as they are. They may hold no tickets.
        """
        self._close_group()
        self._labels.add(groups.rows)
        self._samples += int(groups.segments.counts.sum())
        bounds = itertools.pairwise(groups.segments.layout.bounds.tolist())
        flags = (groups.flags[first:end] for first, end in bounds)
        frames = zip(groups.frames, flags, strict=True)
        self._write_frames(frames, groups.times_ms, groups.segments, groups.group_rows)
        self._times.keep()

    def finish(self) -> BlockMeta:
        """Writes what is left and the index; the block is durable when it returns.

        ValueError where there are no rows.
        """
        if not self._samples:
            raise ValueError("a block needs a sample")
        self._close_group()
        self._times.finish()
        entry_sections = self._entries.finish()
        min_time_ms, max_time_ms = self._times.range_ms()
        meta = replace(
            self._meta,
            min_time_ms=min_time_ms,
            max_time_ms=max_time_ms,
            series=self._labels.rows,
            samples=self._samples,
        )
        index = pack_index(
            meta.sequence,
            {
                Section.SUMMARY: pack_summary(meta),
                Section.ORIGIN: pack_origin(meta, self._seed),
                **self._labels.sections(),
                Section.FRAMES: self._data.section(),
                Section.GROUPS: [pack_column(np.concatenate(self._group_rows))],
                Section.SEGMENTS: [
                    *self._lines.columns(),
                    pack_column(np.concatenate(self._flags)),
                ],
                Section.TIME_COLUMNS: self._times.section(),
                **entry_sections,
            },
        )
        self._data.finish(index)
        self._data.close()
        write_file(self._files, self._aside / "index", index)
        self._files.sync_directory(self._aside)
        self._files.rename(self._aside, self._directory)
        self._files.sync_directory(self._root)
        return replace(meta, index_bytes=len(index), data_bytes=self._data.size_bytes)

    def abandon(self) -> None:
        """Removes what was written, whether or not it was finished."""
        self._data.close()
        self._files.remove_tree(self._aside)
        self._files.remove_tree(self._directory)

    def _take(self, fresh: Rows) -> None:
        """Writes the groups that *fresh* completes and keeps the rest."""
        open_rows = sum(rows.size for rows in self._open_rows)
        ends = group_ends(np.concatenate([rows.metrics for rows in (*self._open_rows, fresh)]))
        begin = 0
        if ends and self._open_rows:
            begin = ends[0] - open_rows
            first = joined([*self._open_rows, fresh.part(0, begin)])
            self._open_rows = []
            self._write_groups(first, np.array(ends[:1]))
            ends = ends[1:]
        if ends:
            bounds = np.array([begin, *(end - open_rows for end in ends)])
            self._write_groups(fresh.part(begin, int(bounds[-1])), np.diff(bounds))
            begin = int(bounds[-1])
        if begin < fresh.size:
            self._open_rows.append(joined([fresh.part(begin, fresh.size)]))

    def _close_group(self) -> None:
        """Writes the rows that wait for others of their group as a group of their own."""
        if self._open_rows:
            rows = joined(self._open_rows)
            self._open_rows = []
            self._write_groups(rows, np.array([rows.size]))

    def _write_groups(self, rows: Rows, group_rows: Int64s) -> None:
        """Writes the frames of *rows*, which make up whole groups."""
        segments = cut(rows, group_rows)
        frames = self._encoded(rows.values, segments)
        self._write_frames(frames, rows.times_ms, segments, group_rows)

    def _encoded(
        self, values: NDArray[np.float64], segments: Segments
    ) -> Iterator[tuple[bytes, Flags]]:
        for first, end in itertools.pairwise(segments.layout.bounds.tolist()):
            yield self._encoder.values(
                values, segments.starts[first:end], segments.counts[first:end]
            )

    def _write_frames(
        self,
        frames: Iterator[tuple[bytes, Flags]],
        times_ms: Int64s,
        segments: Segments,
        group_rows: Int64s,
    ) -> None:
        """Writes the *frames* of whole groups, each with the flags of its segments, and what
        becomes due by them.
        """
        columns = self._times.number(times_ms, segments.time_starts, segments.counts)
        self._group_rows.append(group_rows)
        self._lines.add(columns, segments)
        layout = segments.layout
        known_columns = iter(np.maximum.accumulate(columns)[layout.bounds[1:] - 1].tolist())
        row_ends = self._rows + np.cumsum(group_rows)
        for count, end_row in zip(layout.group_frames.tolist(), row_ends.tolist(), strict=True):
            for frame, flags in itertools.islice(frames, count):
                self._times.write_full(next(known_columns) + 1)
                self._data.add(frame, FrameKind.VALUES)
                self._flags.append(flags)
            self._entries.write_full(end_row)
        self._rows += len(segments.row_segments)

"""Block: an immutable directory of sealed series, read frame by frame. A Part.

Opening reads nothing; the index is read when it is asked for, and kept as arrays in the cache. A
ref is the row of a series in the block's label order. A frame that turns out to be damaged is
left out from then on: the rest is read as if it had never been.
"""

import itertools
import logging
import threading
import weakref
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.matcher import Matcher
from series.ports import StorageError, go_on
from tsdb.block import decode_kernels
from tsdb.block import kernels as block_kernels
from tsdb.block.cache import BlockCache
from tsdb.block.codec import unpack_frame
from tsdb.block.entry_index import EntryIndex
from tsdb.block.format import (
    DATA_HEADER,
    BlockMeta,
    ColumnReader,
    DamagedError,
    Section,
    check_data_header,
    unpack_index,
)
from tsdb.label.label_texts import LabelTable
from tsdb.label.postings import LabelIndex
from tsdb.lru import Lru
from tsdb.sample.entries import Entries, entry_numbers, leave_out, ticket_places, unbox
from tsdb.view.part import Fingerprints, PartRows, Refs

Int64s = NDArray[np.int64]

log = logging.getLogger("o11y.storage")

_numbers = itertools.count()


class _Index(NamedTuple):
    """The directory of a block. For s series, g segments, c time columns, f frames:

    ``series_segments`` int64[s + 1]; ``segment_*`` int64[g]; ``column_*`` int64[c];
    ``frame_offsets`` int64[f + 1]. The time columns fill the first frames, by their numbers.
    """

    labels: LabelIndex
    fingerprints: Fingerprints
    series_segments: Int64s
    series_samples: Int64s
    segment_columns: Int64s
    segment_frames: Int64s
    segment_slots: Int64s
    column_first_ms: Int64s
    column_last_ms: Int64s
    column_counts: Int64s
    frame_offsets: Int64s
    entries: EntryIndex | None = None
    damage: tuple[tuple[NDArray[np.bool_], str], ...] = ()
    """What was left out: the series that it touches (bool[s]), and a text."""

    @property
    def size_bytes(self) -> int:
        arrays = [field for field in self if isinstance(field, np.ndarray)]
        entries = 0 if self.entries is None else self.entries.size_bytes
        return self.labels.size_bytes + entries + sum(array.nbytes for array in arrays)

    def without(self, frame: int, text: str) -> "_Index":
        """Without the samples whose values, times or entries stand in *frame*."""
        in_time_frame = self.segment_columns // block_kernels.FRAME_SEGMENTS == frame
        kept = ~((self.segment_frames == frame) | in_time_frame)
        series = len(self.series_segments) - 1
        rows = np.repeat(np.arange(series), np.diff(self.series_segments))
        touched = np.zeros(series, dtype=np.bool_)
        touched[rows[~kept]] = True
        entries = self.entries
        if entries is not None:
            entries = entries.without(frame)
            touched[entries.rows[entries.frames == frame]] = True
        columns = self.segment_columns[kept]
        series_segments = _bounds(np.bincount(rows[kept], minlength=series))
        return self._replace(
            series_segments=series_segments,
            series_samples=_series_samples(series_segments, self.column_counts[columns]),
            segment_columns=columns,
            segment_frames=self.segment_frames[kept],
            segment_slots=self.segment_slots[kept],
            entries=entries,
            damage=(*self.damage, (touched, text)),
        )


class _DamagedFrame(Exception):
    """A frame cannot be what was written; its number, and what is wrong."""

    def __init__(self, frame: int, text: str) -> None:
        super().__init__(text)
        self.frame = frame


class Block:
    """See the module's head. Threads may read at once."""

    def __init__(self, directory: Path, meta: BlockMeta, cache: BlockCache) -> None:
        """The block that *meta* describes, in its own *directory*."""
        self.directory = directory
        self._data = directory / "data"
        self.meta = meta
        self._cache = cache
        self._number = next(_numbers)
        self._loading = threading.Lock()
        self._damaged: dict[int, str] = {}

    @property
    def sequence(self) -> int:
        return self.meta.sequence

    @property
    def min_time_ms(self) -> int:
        return self.meta.min_time_ms

    @property
    def max_time_ms(self) -> int:
        return self.meta.max_time_ms

    @property
    def on_disk(self) -> bool:
        return True

    @property
    def token(self) -> Hashable:
        return ("block", self._number)

    def select(self, matchers: tuple[Matcher, ...], check: Callable[[], None] = go_on) -> PartRows:
        index = self._loaded()
        refs = index.labels.select(matchers, check=check)
        return PartRows(refs, index.fingerprints[refs], index.labels.frame(refs), True)

    def label_names(self, matchers: tuple[Matcher, ...]) -> list[str]:
        labels = self._loaded().labels
        return labels.label_names(labels.select(matchers) if matchers else None)

    def label_values(self, name: str, matchers: tuple[Matcher, ...]) -> list[str]:
        labels = self._loaded().labels
        return labels.label_values(name, labels.select(matchers) if matchers else None)

    def estimated_samples(self, refs: Refs, start_ms: int, end_ms: int) -> int:
        covered = min(end_ms, self.max_time_ms) - max(start_ms, self.min_time_ms)
        if covered < 0:
            return 0
        share = (covered + 1) / (self.max_time_ms - self.min_time_ms + 1)
        return int(self._loaded().series_samples[refs].sum() * share) + 1

    @property
    def index_bytes(self) -> int:
        """The memory that the index takes at the moment."""
        return self._cache.indexes.size_of(self._number)

    @property
    def damaged_frames(self) -> int:
        """How many frames have been found to be damaged."""
        return len(self._damaged)

    def damage(self, refs: Refs) -> list[str]:
        if not self._damaged:
            return []
        return [text for touched, text in self._loaded().damage if touched[refs].any()]

    def read(self, refs: Refs, start_ms: int, end_ms: int) -> SeriesBatch:
        while True:
            index = self._loaded()
            try:
                return self._read(index, refs, start_ms, end_ms)
            except _DamagedFrame as found:
                offset = int(index.frame_offsets[found.frame])
                text = f"{self._data} is damaged at offset {offset}: {found}; samples are left out"
                log.error("%s", text)
                self._damaged[found.frame] = text
                self._cache.indexes.drop(self._number)

    def _read(self, index: _Index, refs: Refs, start_ms: int, end_ms: int) -> SeriesBatch:
        firsts, counts, sequences, ends, pieces, runs = block_kernels.plan_times(
            np.ascontiguousarray(refs, dtype=np.int64),
            index.series_segments,
            index.segment_columns,
            index.column_first_ms,
            index.column_last_ms,
            index.column_counts,
            start_ms,
            end_ms,
        )
        times_ms = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.int64)
        self._decode(index, decode_kernels.decode_times, pieces, runs, times_ms)
        offsets, time_starts, pieces, runs = block_kernels.plan_values(
            firsts,
            counts,
            sequences,
            ends,
            times_ms,
            index.segment_columns,
            index.segment_frames,
            index.segment_slots,
            index.column_counts,
            start_ms,
            end_ms,
        )
        values = np.empty(int(offsets[-1]))
        self._decode(index, decode_kernels.decode_values, pieces, runs, values)
        batch = SeriesBatch(values, times_ms, offsets, time_starts)
        return batch if index.entries is None else self._unboxed(index, index.entries, batch)

    def _unboxed(self, index: _Index, entries: EntryIndex, batch: SeriesBatch) -> SeriesBatch:
        """*batch* with the entries in the place of its tickets, without those that are lost."""
        if entries.lost.any():
            bits = batch.values.view(np.uint64)
            places = ticket_places(bits)
            lost = entries.lost[entries.runs_of(entry_numbers(bits[places]))]
            batch = leave_out(batch, places[lost])

        def find(numbers: Int64s) -> Entries:
            plan = entries.plan(numbers)
            columns = np.empty(plan.size)
            self._decode(index, decode_kernels.decode_values, plan.pieces, plan.bounds, columns)
            return entries.gather(plan, columns)

        return unbox(batch, find)

    def _decode(
        self,
        index: _Index,
        kernel: Callable[..., bool],
        pieces: Int64s,
        runs: Int64s,
        out: NDArray[np.float64] | Int64s,
    ) -> None:
        """Decodes all *pieces*, frame by frame, into *out*."""
        for first, end in itertools.pairwise(runs.tolist()):
            frame = int(pieces[0, first])
            body = self._cache.frame((self._number, frame), partial(self._load_frame, index, frame))
            if not kernel(body, pieces, first, end, out):
                raise _DamagedFrame(frame, "frame does not hold the samples it should")

    def _load_frame(self, index: _Index, frame: int) -> NDArray[np.uint8]:
        start, end = index.frame_offsets[frame : frame + 2].tolist()
        try:
            with self._cache.opened(self._data) as fd:
                data = self._cache.files.pread(fd, end - start, start)
            return unpack_frame(data, frame)
        except OSError as error:
            raise StorageError(f"cannot read {self._data} at offset {start}: {error}") from error
        except ValueError as error:
            raise _DamagedFrame(frame, str(error)) from None

    def _loaded(self) -> _Index:
        indexes: Lru[int, _Index] = self._cache.indexes
        index = indexes.get(self._number)
        if index is None:
            with self._loading:
                index = indexes.get(self._number)
                if index is None:
                    index = self._load_index()
                    for frame, text in list(self._damaged.items()):
                        index = index.without(frame, text)
                    indexes.put(self._number, index, index.size_bytes)
        return index

    def _load_index(self) -> _Index:
        path = self.directory / "index"
        files = self._cache.files
        try:
            content = files.read(path)
            index = _parse_index(unpack_index(content, self.sequence), self.meta)
            path = self._data
            with self._cache.opened(path) as fd:
                check_data_header(files.pread(fd, DATA_HEADER.size, 0), self.sequence)
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error}") from error
        except DamagedError as error:
            raise StorageError(f"{path} is damaged at offset {error.offset}: {error}") from None
        return index

    def remove_when_unused(self) -> None:
        """Has the block's files removed by a ``sweep`` after its last reader has let go of it."""
        weakref.finalize(self, self._cache.retire, self.directory)


def _parse_index(sections: dict[Section, bytes], meta: BlockMeta) -> _Index:
    read = {kind: ColumnReader(content) for kind, content in sections.items()}
    series, samples, data_bytes, _ = read[Section.SUMMARY].column().tolist()
    min_time_ms, _ = read[Section.SUMMARY].column().tolist()
    if (series, samples, data_bytes) != (meta.series, meta.samples, meta.data_bytes):
        raise DamagedError("the block is not the one that the manifest names")
    segments, columns = read[Section.SEGMENTS], read[Section.TIME_COLUMNS]
    per_series = segments.column()
    segment_columns = segments.column()
    column_first_ms = columns.column() + min_time_ms
    column_last_ms = columns.column() + min_time_ms
    column_counts = columns.column()
    series_segments = _bounds(per_series)
    fingerprints = np.frombuffer(sections[Section.FINGERPRINTS], dtype=np.uint64).reshape(-1, 2)
    entries = None
    if Section.ENTRY_RUNS in read and Section.ENTRY_LAYOUTS in read:
        entries = EntryIndex.load(read[Section.ENTRY_LAYOUTS], read[Section.ENTRY_RUNS])
    index = _Index(
        labels=LabelIndex.load(_label_table(read)),
        fingerprints=fingerprints,
        series_segments=series_segments,
        series_samples=_series_samples(series_segments, column_counts[segment_columns]),
        segment_columns=segment_columns,
        segment_frames=segments.column(),
        segment_slots=segments.column(),
        column_first_ms=column_first_ms,
        column_last_ms=column_last_ms,
        column_counts=column_counts,
        frame_offsets=_bounds(read[Section.FRAMES].column()) + DATA_HEADER.size,
        entries=entries,
    )
    if not index.labels.size == len(fingerprints) == len(per_series) == series:
        raise DamagedError("sections of the index disagree on the count of series")
    return index


def _label_table(read: dict[Section, ColumnReader]) -> LabelTable:
    names, values, rows = read[Section.NAMES], read[Section.VALUES], read[Section.ROWS]
    name_firsts = _bounds(names.column())
    name_bounds = _bounds(names.column()).tolist()
    texts = names.rest()
    value_starts = _bounds(values.column())
    return LabelTable(
        names=tuple(texts[a:b].decode() for a, b in itertools.pairwise(name_bounds)),
        name_firsts=name_firsts,
        values=values.rest(),
        value_starts=value_starts,
        row_starts=_bounds(rows.column()),
        row_labels=rows.column().astype(np.int32),
    )


def _series_samples(series_segments: Int64s, counts: Int64s) -> Int64s:
    return np.diff(_bounds(counts)[series_segments])


def _bounds(sizes: Int64s) -> Int64s:
    """int64[n + 1]: 0 and the running sums of *sizes*."""
    bounds = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=bounds[1:])
    return bounds

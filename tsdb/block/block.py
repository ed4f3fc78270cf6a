"""Block: an immutable directory of sealed series, read frame by frame. A Part.

Opening reads nothing; the index is read when it is asked for, and kept as arrays in the cache. A
ref is the row of a series in the block's label order. Where the index file is damaged, the copy of
it in ``data`` takes its place. A frame that turns out to be damaged is left out from then on: the
rest is read as if it had never been.
"""

import copy
import itertools
import threading
import weakref
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.matcher import Matcher
from series.ports import StorageError, go_on
from tsdb.block import decode_kernels
from tsdb.block.cache import BlockCache
from tsdb.block.codec import unpack_frame
from tsdb.block.disk_reads import note_read
from tsdb.block.entry_index import EntryIndex
from tsdb.block.format import (
    DATA_HEADER,
    BlockMeta,
    DamagedError,
    WrongBlockError,
    check_data_header,
    unpack_meta,
)
from tsdb.block.frame_cache import SIZE, place_of
from tsdb.block.frame_source import FrameSource
from tsdb.block.index import BlockIndex, parse_index
from tsdb.block.index_copy import read_index, write_index
from tsdb.block.planned_read import NO_MOVES, PlannedRead
from tsdb.block.row_cache import MAX_SPAN_MS
from tsdb.damage import FRAME, INDEX, Finding, Lost
from tsdb.lru import Lru
from tsdb.sample.entries import Entries, entry_numbers, leave_out, ticket_places, unbox
from tsdb.versions import UnsupportedFormat
from tsdb.view.part import PartLost, PartRows, ReadAnew, Refs

Int64s = NDArray[np.int64]

_numbers = itertools.count()


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
        self._index_damage = ""
        self._lost: list[str] = []  # one text at most; a list, because twins share it

    @property
    def sequence(self) -> int:
        return self.meta.sequence

    @property
    def rank(self) -> int:
        return self.meta.rank

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
    def has_labels_in_memory(self) -> bool:
        return self.index_bytes > 0

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

    def samples_of(self, refs: Refs) -> int:
        return int(self.sample_counts(refs).sum())

    def estimated_samples(self, samples: int, start_ms: int, end_ms: int) -> int:
        covered = min(end_ms, self.max_time_ms) - max(start_ms, self.min_time_ms)
        if covered < 0:
            return 0
        share = (covered + 1) / (self.max_time_ms - self.min_time_ms + 1)
        return int(samples * share) + 1

    def sample_counts(self, refs: Refs) -> Int64s:
        """int64[n]: how many samples each of *refs* has."""
        return self._loaded().sample_counts(refs)

    def time_ranges(self, refs: Refs) -> tuple[Int64s, Int64s]:
        """The times of the first and last sample of each of *refs*, int64[n] twice.

        Of a series of which damage has left nothing the first is above the last.
        """
        index = self._loaded()
        lines = index.series_lines[refs]
        begins, ends = index.line_bounds[lines], index.line_bounds[lines + 1]
        filled = ends > begins
        first_ms, last_ms = np.ones(len(refs), dtype=np.int64), np.zeros(len(refs), dtype=np.int64)
        first_ms[filled] = index.column_first_ms[index.line_columns[begins[filled]]]
        last_ms[filled] = index.column_last_ms[index.line_columns[ends[filled] - 1]]
        return first_ms, last_ms

    def apart(self, frame_bytes: int) -> "Block":
        """The same block for whoever reads all of it: its frames push out none of other readers.

        They are kept apart, up to *frame_bytes*.
        """
        twin = copy.copy(self)
        twin._cache = self._cache.apart(frame_bytes)
        return twin

    def frame_source(self) -> FrameSource:
        """Its frames as they stand, where none is known to be damaged; raises as these do."""
        return FrameSource(self._data, self.sequence, self._loaded(), self._cache)

    @property
    def index_bytes(self) -> int:
        """The memory that the index takes at the moment."""
        return self._cache.indexes.size_of(self._number)

    @property
    def damaged_frames(self) -> int:
        """How many frames have been found to be damaged."""
        return len(self._damaged)

    def damage_texts(self) -> list[str]:
        """All that is known to be damaged in the block."""
        return [text for text in (self.lost, self._index_damage, *self._damaged.values()) if text]

    @property
    def lost(self) -> str:
        """Why nothing of the block can be read, where that was found out; else ''."""
        return self._lost[0] if self._lost else ""

    def damage(self, refs: Refs) -> list[str]:
        if not self._damaged:
            return []
        return [one.text for one in self._loaded().damage if one.touched[refs].any()]

    def read(
        self,
        refs: Refs,
        start_ms: int,
        end_ms: int,
        *,
        newest: bool = False,
        values: bool = True,
    ) -> SeriesBatch:
        while True:
            index = self._loaded()
            decode = partial(self._decode, index)
            try:
                if index.entries is None:
                    asked = index, refs, start_ms, end_ms, decode
                    if values and len(refs) == 1 and end_ms - start_ms <= MAX_SPAN_MS:
                        return self._cache.rows.read(self._number, *asked, newest=newest)
                    return PlannedRead(*asked, newest=newest, values=values).batch()
                # Entries may turn out to be lost: then the sample before is the newest.
                batch = PlannedRead(index, refs, start_ms, end_ms, decode).batch()
                return self._unboxed(index, index.entries, batch)
            except ReadAnew:
                continue

    def plan(
        self, refs: Refs, start_ms: int, end_ms: int, *, newest: bool = False
    ) -> PlannedRead | None:
        """What ``read`` would decode; None where there may be more than floats.

        It raises ReadAnew where it comes upon damage.
        """
        index = self._loaded()
        if index.entries:
            return None
        decode = partial(self._decode, index)
        return PlannedRead(index, refs, start_ms, end_ms, decode, newest=newest)

    def leave_out(self, finding: Finding) -> None:
        """Notes a damaged frame, whose samples are left out from now on."""
        self._cache.notes.note(finding)
        self._damaged[finding.frame] = f"{finding}; samples are left out"
        self._cache.indexes.drop(self._number)

    def losses(self) -> list[Lost]:
        """What the damaged frames that are known have taken, for when the block is gone."""
        file = f"{self.directory.parent.name}/{self.directory.name}"
        damage = self._loaded().damage if self._damaged else ()
        return [
            Lost(file, one.reach.min_time_ms, one.reach.max_time_ms, one.text) for one in damage
        ]

    def _unboxed(self, index: BlockIndex, entries: EntryIndex, batch: SeriesBatch) -> SeriesBatch:
        """*batch* with the entries in the place of its tickets, without those that are lost."""
        if entries.lost.any():
            bits = batch.values.view(np.uint64)
            places = ticket_places(bits)
            lost = entries.lost[entries.runs_of(entry_numbers(bits[places]))]
            batch = leave_out(batch, places[lost])

        def find(numbers: Int64s) -> Entries:
            plan = entries.plan(numbers)
            columns = np.empty(plan.size)
            kernel = decode_kernels.decode_values
            self._decode(index, kernel, plan.pieces, plan.bounds, NO_MOVES, columns)
            return entries.gather(plan, columns)

        return unbox(batch, find)

    def _decode(
        self,
        index: BlockIndex,
        kernel: Callable[..., int],
        pieces: Int64s,
        runs: Int64s,
        moves: Int64s,
        out: NDArray[np.float64] | Int64s,
    ) -> None:
        """Decodes all *pieces*, which *runs* divide by frames, into *out*; ReadAnew where a frame
        is damaged."""
        if len(runs) == 1:
            return
        frames = pieces[0, runs[:-1]]
        # The bodies stay where they are: to join them would cost more memory than is decoded.
        places, held = self._cache.frames.find(self._number, frames)
        done = kernel(places, pieces, runs, moves, out)
        if done < len(frames) and not places[done, SIZE]:
            held = held, self._load_frames(index, frames, places)
            done += kernel(places[done:], pieces, runs[done:], moves, out)
        del held
        if done < len(frames):
            text = "frame does not hold the samples it should"
            raise self._noted(index, int(frames[done]), text)

    def _load_frames(
        self, index: BlockIndex, frames: Int64s, places: Int64s
    ) -> list[NDArray[np.uint8]]:
        """Reads those of *frames* that have no place yet, and gives them theirs."""
        bodies, count = [], len(index.frame_offsets) - 1
        for at in np.flatnonzero(places[:, SIZE] == 0).tolist():
            frame = int(frames[at])
            bodies.append(self._load_frame(index, frame))
            places[at, : SIZE + 1] = place_of(bodies[-1])
            self._cache.frames.put(self._number, count, frame, bodies[-1])
        return bodies

    def _noted(self, index: BlockIndex, frame: int, text: str) -> ReadAnew:
        offset = int(index.frame_offsets[frame])
        self.leave_out(Finding(FRAME, self._data, offset, text, frame=frame))
        return ReadAnew()

    def _load_frame(self, index: BlockIndex, frame: int) -> NDArray[np.uint8]:
        note_read()
        start, end = index.frame_offsets[frame : frame + 2].tolist()
        try:
            with self._cache.opened(self._data) as fd:
                data = self._cache.files.pread(fd, end - start, start)
            return unpack_frame(data, frame)
        except OSError as error:
            raise StorageError(f"cannot read {self._data} at offset {start}: {error}") from error
        except ValueError as error:
            raise self._noted(index, frame, str(error)) from None

    def _loaded(self) -> BlockIndex:
        indexes: Lru[int, BlockIndex] = self._cache.indexes
        index = indexes.get(self._number)
        if index is None:
            note_read()
            with self._loading:
                index = indexes.get(self._number)
                if index is None:
                    index = self._load_index()
                    for frame, text in list(self._damaged.items()):
                        index = index.without(frame, text)
                    indexes.put(self._number, index, index.size_bytes)
        return index

    def _load_index(self) -> BlockIndex:
        if self._lost:
            raise PartLost(self, self.lost)
        path, meta, files = self.directory / "index", self.meta, self._cache.files
        try:
            found = read_index(files, self.directory, self.sequence)
            said = unpack_meta(
                found.sections,
                self.sequence,
                index_bytes=meta.index_bytes,
                data_bytes=meta.data_bytes,
            )
            if said != meta:
                raise WrongBlockError("the block is not the one that the manifest names")
            index = parse_index(found.sections, meta)
            if found.damage is not None:
                self._index_damage = str(self._note(path, found.damage, "; its copy is used"))
            path = self._data
            self._check_data()
        except UnsupportedFormat as error:
            raise UnsupportedFormat(f"{path}: {error}") from None
        except DamagedError as error:
            self._lost.append(str(self._note(path, error, "")))
            raise PartLost(self, self.lost) from None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error}") from error
        return index

    def _check_data(self) -> None:
        """DamagedError where the data is not there, or another block's.

        Else a damaged header is noted; it takes no samples.
        """
        try:
            with self._cache.opened(self._data) as fd:
                header = self._cache.files.pread(fd, DATA_HEADER.size, 0)
            check_data_header(header, self.sequence)
        except FileNotFoundError:
            raise DamagedError("the file is missing") from None
        except WrongBlockError:
            raise
        except DamagedError as error:
            self._note(self._data, error, "; nothing is lost by it")

    def _note(self, path: Path, error: DamagedError, consolation: str) -> Finding:
        text = f"{error}{consolation}"
        finding = Finding(INDEX, path, error.offset, text, is_loss=not consolation)
        self._cache.notes.note(finding)
        return finding

    @property
    def index_damage(self) -> str:
        """What is wrong with the index file, of which the copy is used; '' where nothing is known.

        ``rewrite_index`` mends it.
        """
        return self._index_damage

    def rewrite_index(self) -> None:
        """Writes the index file anew from its copy in ``data``; durable when it returns.

        OSError where the disk refuses, StorageError where the copy is damaged too; nothing has
        changed then.
        """
        try:
            write_index(self._cache.files, self.directory, self.sequence)
        except DamagedError as error:
            raise StorageError(f"{self._data} is damaged: {error}") from None
        self._index_damage = ""

    def let_go(self) -> None:
        """Forgets the index, which takes memory; it is read again when somebody needs it."""
        self._cache.indexes.drop(self._number)

    def remove_when_unused(self) -> None:
        """Has the block's files removed by a ``sweep`` after its last reader has let go of it.

        Where samples of it were damaged, they go to quarantine instead.
        """
        damage = self._lost or self._damaged
        weakref.finalize(self, self._cache.retire, self.directory, damage)

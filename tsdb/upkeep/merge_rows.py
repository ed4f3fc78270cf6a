"""The series of several parts in the order of their labels, read some rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.labels import Labels
from tsdb.block import kernels as block_kernels
from tsdb.block.block import Block
from tsdb.block.format import DamagedError
from tsdb.block.layout import FinishedGroups
from tsdb.head.registry_kernels import copy_spans
from tsdb.label.interner import Interner
from tsdb.label.interner_kernels import sort_rows
from tsdb.upkeep import merge_kernels
from tsdb.upkeep.merge_copy import CopySource, Stretch, copy_source, plan_copies, read_groups
from tsdb.view.join import Piece, join
from tsdb.view.part import PartRows
from tsdb.view.undeleted import Undeleted

Int64s = NDArray[np.int64]
Bytes = NDArray[np.uint8]

SLAB_SAMPLES = 1 << 18
COPIED_SAMPLES = 1 << 20
"""Of groups that are taken over, which take a byte or two a sample."""
GROUP_ROWS = 16
_KEYS_AT_ONCE = 4096


class Source(NamedTuple):
    """A block that is merged, and the part to read it by: without what was deleted of it."""

    block: Block
    part: Block | Undeleted


class MergedRows:
    """The series of all *sources*: those of equal fingerprint are one."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sorted(sources, key=lambda source: source.block.min_time_ms)
        self._interner = Interner()
        self._order: Int64s = np.zeros(0, dtype=np.int64)
        self._refs: Int64s = np.zeros((0, 0), dtype=np.int64)
        self._samples: Int64s = np.zeros(0, dtype=np.int64)

    def unify(self) -> Iterator[None]:
        """Finds out which series there are, bit by bit; to be done before anything else."""
        found: list[PartRows] = []
        for source in self._sources:
            found.append(source.part.select(()))
            yield
        fingerprints = np.concatenate([rows.fingerprints for rows in found])
        count = len(fingerprints)
        ids, firsts = np.empty((2, count), dtype=np.int64)
        series = block_kernels.number_stretches(
            np.ascontiguousarray(fingerprints).view(np.int64).reshape(-1),
            np.arange(count) * 2,
            np.full(count, 2),
            ids,
            firsts,
        )
        firsts = firsts[:series]
        self._refs = np.full((len(found), series), -1, dtype=np.int64)
        self._samples = np.zeros(series, dtype=np.int64)
        start = 0
        for at, (rows, source) in enumerate(zip(found, self._sources, strict=True)):
            end = start + len(rows.refs)
            own_ids = ids[start:end]
            self._refs[at, own_ids] = rows.refs
            self._samples[own_ids] += source.block.sample_counts(rows.refs)
            new = firsts[(firsts >= start) & (firsts < end)] - start
            for first in range(0, len(new), _KEYS_AT_ONCE):
                self._intern(rows.frame.take(new[first : first + _KEYS_AT_ONCE]))
                yield
            start = end
        interner = self._interner
        self._order = np.arange(series)
        sort_rows(
            interner.row_starts,
            interner.row_labels,
            interner.ranks(interner.labels),
            self._order,
        )
        self._samples = self._samples[self._order]
        for own in self._refs:
            own[:] = own[self._order]

    def slabs(self, start_ms: int, end_ms: int) -> Iterator[SeriesBatch | FinishedGroups]:
        """All rows that have samples within the times (both included), with these and their keys,
        some rows at a time: as groups that can be taken over, or else decoded.
        """
        copied = [copy_source(source.part, start_ms, end_ms) for source in self._sources]
        done = 0
        for stretch in plan_copies(copied, self._refs):
            yield from self._decoded(done, int(stretch.begins[0]), start_ms, end_ms)
            done = int(stretch.ends[-1])
            yield from self._taken_over(copied, stretch, start_ms, end_ms)
        yield from self._decoded(done, len(self._order), start_ms, end_ms)

    def _taken_over(
        self, copied: Sequence[CopySource | None], stretch: Stretch, start_ms: int, end_ms: int
    ) -> Iterator[SeriesBatch | FinishedGroups]:
        """The groups of *stretch*, but decoded where a frame of a slab is not sound."""
        for groups in self._slab_groups(stretch):
            begin, end = int(groups.begins[0]), int(groups.ends[-1])
            keys = self._with_keys(_no_samples(end - begin), self._order[begin:end])
            try:
                found = read_groups(
                    copied, self._refs[:, begin:end], groups.ends - groups.begins, keys
                )
            except DamagedError:
                yield from self._decoded(begin, end, start_ms, end_ms)
            else:
                yield found

    def _decoded(self, begin: int, end: int, start_ms: int, end_ms: int) -> Iterator[SeriesBatch]:
        for part in self._slab_rows(begin, end):
            pieces = []
            for source, refs in zip(self._sources, self._refs[:, part], strict=True):
                present = np.flatnonzero(refs >= 0)
                if len(present):
                    batch = source.part.read(refs[present], start_ms, end_ms)
                    pieces.append(Piece(batch, present, source.part.rank))
            rows = self._order[part]
            batch = join(pieces, len(rows))
            filled = np.diff(batch.offsets) > 0
            if not filled.all():
                batch, rows = batch.take(filled), rows[filled]
            if len(rows):
                yield self._with_keys(batch, rows)

    def _intern(self, frame: LabelFrame) -> None:
        keys, ends = frame_keys(frame)
        self._interner.append(keys, np.concatenate((ends[:1] * 0, ends[:-1])), ends)

    def _slab_rows(self, begin: int, end: int) -> Iterator[slice]:
        """The rows from *begin* to *end*, whole groups of 16 with samples enough."""
        ends = np.cumsum(self._samples[begin:end])
        done, before = 0, 0
        while done < len(ends):
            rows = int(np.searchsorted(ends, before + SLAB_SAMPLES)) - done
            upto = min(done + max(GROUP_ROWS, rows - rows % GROUP_ROWS), len(ends))
            yield slice(begin + done, begin + upto)
            done, before = upto, int(ends[upto - 1])

    def _slab_groups(self, stretch: Stretch) -> Iterator[Stretch]:
        """The groups of *stretch*, some with samples enough at a time."""
        begins, ends = stretch
        sums = np.cumsum(self._samples[begins[0] : ends[-1]])[ends - begins[0] - 1]
        first, before = 0, 0
        while first < len(begins):
            last = max(first + 1, int(np.searchsorted(sums, before + COPIED_SAMPLES)))
            yield Stretch(begins[first:last], ends[first:last])
            first, before = last, int(sums[last - 1])

    def _with_keys(self, batch: SeriesBatch, rows: Int64s) -> SeriesBatch:
        interner = self._interner
        key_ends = np.empty(len(rows), dtype=np.int64)
        where = (interner.label_starts, interner.row_starts, interner.row_labels, rows)
        merge_kernels.measure_keys(*where, key_ends)
        keys = np.empty(int(key_ends[-1]), dtype=np.uint8)
        merge_kernels.spell_keys(interner.text, *where, keys)
        key_starts = np.concatenate((np.zeros(1, dtype=np.int64), key_ends[:-1]))
        return replace(batch, keys=keys, key_starts=key_starts, key_ends=key_ends)


def _no_samples(rows: int) -> SeriesBatch:
    none = np.zeros(0, dtype=np.int64)
    offsets = np.zeros(rows + 1, dtype=np.int64)
    return SeriesBatch(none.astype(np.float64), none, offsets, offsets[:-1])


def frame_keys(frame: LabelFrame) -> tuple[Bytes, Int64s]:
    """The canonical keys of all rows of *frame*, end to end, and where each ends."""
    starts, ends = np.zeros((2, frame.size, len(frame.columns)), dtype=np.int64)
    texts: list[bytes] = []
    text_bytes = 0
    for at, name in enumerate(sorted(frame.columns)):
        codes, values = frame.columns[name]
        used, within = np.unique(codes, return_inverse=True)
        own = [Labels([(name, values[code])]).key if code else b"" for code in used.tolist()]
        bounds = text_bytes + np.cumsum([0, *map(len, own)])
        starts[:, at], ends[:, at] = bounds[within], bounds[within + 1]
        texts += own
        text_bytes = int(bounds[-1])
    key_ends = np.cumsum((ends - starts).sum(axis=1))
    keys = np.empty(int(key_ends[-1]) if len(key_ends) else 0, dtype=np.uint8)
    text = np.frombuffer(b"".join(texts), dtype=np.uint8)
    copy_spans(text, starts.reshape(-1), ends.reshape(-1), keys, 0)
    return keys, key_ends

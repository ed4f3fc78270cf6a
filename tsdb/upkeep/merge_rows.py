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
from tsdb.head.registry_kernels import copy_spans
from tsdb.label.interner import Interner
from tsdb.label.interner_kernels import sort_rows
from tsdb.upkeep import merge_kernels
from tsdb.view.join import Piece, join
from tsdb.view.part import Part, PartRows

Int64s = NDArray[np.int64]
Bytes = NDArray[np.uint8]

SLAB_SAMPLES = 1 << 18
GROUP_ROWS = 16
_KEYS_AT_ONCE = 4096


class Source(NamedTuple):
    """A block that is merged, and the part to read it by: without what was deleted of it."""

    block: Block
    part: Part


class MergedRows:
    """The series of all *sources*: those of equal fingerprint are one."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
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

    def slabs(self, start_ms: int, end_ms: int) -> Iterator[SeriesBatch]:
        """All rows that have samples within the times (both included), with these and their keys,
        some rows at a time.
        """
        for rows in self._slab_rows():
            pieces = []
            for source, refs in zip(self._sources, self._refs[:, rows], strict=True):
                present = np.flatnonzero(refs >= 0)
                if len(present):
                    batch = source.part.read(refs[present], start_ms, end_ms)
                    pieces.append(Piece(batch, present, source.part.rank))
            batch = join(pieces, len(rows))
            filled = np.diff(batch.offsets) > 0
            if not filled.all():
                batch, rows = batch.take(filled), rows[filled]
            if len(rows):
                yield self._with_keys(batch, rows)

    def _intern(self, frame: LabelFrame) -> None:
        keys, ends = frame_keys(frame)
        self._interner.append(keys, np.concatenate((ends[:1] * 0, ends[:-1])), ends)

    def _slab_rows(self) -> Iterator[Int64s]:
        """The rows in the order of their labels, whole groups of 16 with samples enough."""
        ends = np.cumsum(self._samples[self._order])
        begin = 0
        while begin < len(self._order):
            before = int(ends[begin - 1]) if begin else 0
            rows = int(np.searchsorted(ends, before + SLAB_SAMPLES)) - begin
            end = begin + max(GROUP_ROWS, rows - rows % GROUP_ROWS)
            yield self._order[begin:end]
            begin = end

    def _with_keys(self, batch: SeriesBatch, rows: Int64s) -> SeriesBatch:
        interner = self._interner
        key_ends = np.empty(len(rows), dtype=np.int64)
        where = (interner.label_starts, interner.row_starts, interner.row_labels, rows)
        merge_kernels.measure_keys(*where, key_ends)
        keys = np.empty(int(key_ends[-1]), dtype=np.uint8)
        merge_kernels.spell_keys(interner.text, *where, keys)
        key_starts = np.concatenate((np.zeros(1, dtype=np.int64), key_ends[:-1]))
        return replace(batch, keys=keys, key_starts=key_starts, key_ends=key_ends)


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

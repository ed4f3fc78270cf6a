"""Undeleted: a block without what was deleted of it. A Part.

Which series the deletions hit is found once for a block and kept beside its index; reads leave out
the samples of the deleted times. A block that no deletion hits is never wrapped, so that nobody
else pays for deletions.
"""

import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.matcher import Matcher
from series.ports import go_on
from tsdb.block.block import Block
from tsdb.deletion import Deletion
from tsdb.lru import Lru
from tsdb.view import deletion_kernels
from tsdb.view.part import PartLost, PartRows, Refs

Int64s = NDArray[np.int64]

_numbers = itertools.count(1)


class _Hits(NamedTuple):
    """What deletions take from each of s series.

    ``groups`` int32[s]: series of one group lose the times within ``starts[k]`` to ``ends[k]`` for
    k in ``[bounds[group], bounds[group + 1])``; those of group 0 lose nothing. ``gone`` bool[s]:
    those that lose all they have.
    """

    groups: NDArray[np.int32]
    bounds: Int64s
    starts: Int64s
    ends: Int64s
    gone: NDArray[np.bool_]

    @property
    def size_bytes(self) -> int:
        return sum(array.nbytes for array in self)


class Undeleted:
    """See the module's head. Threads may read at once."""

    def __init__(
        self, block: Block, deletions: tuple[Deletion, ...], indexes: Lru[int, Any]
    ) -> None:
        """*block* without what *deletions*, which all hit it, take away.

        What is found out of it is held in *indexes*.
        """
        self.block = block
        self.deletions = deletions
        self._indexes = indexes
        self._number = -next(_numbers)
        """Its place among the indexes; blocks have the numbers from 0 on."""

    @property
    def rank(self) -> int:
        return self.block.rank

    @property
    def min_time_ms(self) -> int:
        return self.block.min_time_ms

    @property
    def max_time_ms(self) -> int:
        return self.block.max_time_ms

    @property
    def on_disk(self) -> bool:
        return True

    @property
    def has_labels_in_memory(self) -> bool:
        return False

    @property
    def token(self) -> Hashable:
        return ("undeleted", self._number)

    def select(self, matchers: tuple[Matcher, ...], check: Callable[[], None] = go_on) -> PartRows:
        """The matching series of which something is left."""
        with self._as_own():
            rows = self.block.select(matchers, check)
            gone = self._hits(check).gone[rows.refs]
        if not gone.any():
            return rows
        left = ~gone
        return PartRows(
            rows.refs[left],
            rows.fingerprints[left],
            rows.frame.take(left),
            rows.in_label_order,
        )

    @property
    def takes_any(self) -> bool:
        """Whether there is a series in the block that one of the deletions hits, or might be."""
        try:
            return bool(self._hits().groups.any())
        except PartLost:
            return True

    @property
    def touched(self) -> NDArray[np.bool_]:
        """bool[s]: the series of the block of which something may be deleted."""
        with self._as_own():
            touched: NDArray[np.bool_] = self._hits().groups != 0
        return touched

    def samples_of(self, refs: Refs) -> int:
        with self._as_own():
            return self.block.samples_of(refs)

    def estimated_samples(self, samples: int, start_ms: int, end_ms: int) -> int:
        return self.block.estimated_samples(samples, start_ms, end_ms)

    def read(
        self,
        refs: Refs,
        start_ms: int,
        end_ms: int,
        *,
        newest: bool = False,
        values: bool = True,
    ) -> SeriesBatch:
        del newest  # it might be deleted
        with self._as_own():
            batch = self.block.read(refs, start_ms, end_ms, values=values)
            hits = self._hits()
        groups = hits.groups[refs]
        if not groups.any():
            return batch
        kept = np.ones(batch.sample_count, dtype=np.bool_)
        deleted = deletion_kernels.mark_deleted(
            batch.offsets, batch.time_starts, batch.times_ms, groups,
            hits.bounds, hits.starts, hits.ends, kept,
        )  # fmt: skip
        return _only(batch, kept) if deleted else batch

    def damage(self, refs: Refs) -> Sequence[str]:
        return self.block.damage(refs)

    def label_names(self, matchers: tuple[Matcher, ...]) -> list[str]:
        with self._as_own():
            return self.block.label_names(matchers)

    def label_values(self, name: str, matchers: tuple[Matcher, ...]) -> list[str]:
        with self._as_own():
            return self.block.label_values(name, matchers)

    @contextmanager
    def _as_own(self) -> Iterator[None]:
        """Where the block is lost, this part is."""
        try:
            yield
        except PartLost as lost:
            raise PartLost(self, str(lost)) from None

    def _hits(self, check: Callable[[], None] = go_on) -> _Hits:
        found: _Hits | None = self._indexes.get(self._number)
        if found is None:
            found = _find_hits(self.block, self.deletions, check)
            self._indexes.put(self._number, found, found.size_bytes)
        return found


def _find_hits(block: Block, deletions: Sequence[Deletion], check: Callable[[], None]) -> _Hits:
    """Series that the same deletions hit are of one group."""
    groups = np.zeros(block.meta.series, dtype=np.int32)
    hitting: list[tuple[Deletion, ...]] = [()]
    for deletion in deletions:
        hit = block.select(deletion.selector, check).refs
        before, within = np.unique(groups[hit], return_inverse=True)
        groups[hit] = len(hitting) + within
        hitting += [(*hitting[group], deletion) for group in before.tolist()]
    times = [_united(group) for group in hitting]
    bounds = np.cumsum([0, *map(len, times)])
    ranges = np.array([one for group in times for one in group], dtype=np.int64)
    starts, ends = ranges.reshape(-1, 2).T.copy()
    refs = np.flatnonzero(groups)
    first_ms, last_ms = block.time_ranges(refs)
    gone = np.zeros(block.meta.series, dtype=np.bool_)
    for group, own in enumerate(times):
        of_group = groups[refs] == group
        for start_ms, end_ms in own:
            gone[refs[of_group & (first_ms >= start_ms) & (last_ms <= end_ms)]] = True
    return _Hits(groups, bounds, starts, ends, gone)


def _united(deletions: Sequence[Deletion]) -> list[tuple[int, int]]:
    """The times of all *deletions* as disjoint ascending ranges, both ends included."""
    found: list[tuple[int, int]] = []
    for start_ms, end_ms in sorted((one.start_ms, one.end_ms) for one in deletions):
        if found and start_ms <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], end_ms)
        else:
            found.append((start_ms, end_ms))
    return found


def _only(batch: SeriesBatch, kept: NDArray[np.bool_]) -> SeriesBatch:
    """All rows of *batch* with only the samples of *kept*.

    Rows that lose some have times of their own, the others share them as before.
    """
    offsets = np.concatenate(([0], np.cumsum(kept)))[batch.offsets]
    lengths, before = np.diff(offsets), np.diff(batch.offsets)
    changed = lengths < before
    at = np.flatnonzero(kept & np.repeat(changed, before))
    shifts = np.repeat(batch.time_starts - batch.offsets[:-1], before)
    own_ends = np.cumsum(lengths[changed])
    time_starts = batch.time_starts.copy()
    time_starts[changed] = len(batch.times_ms) + own_ends - lengths[changed]
    return replace(
        batch,
        values=batch.values[kept],
        times_ms=np.concatenate((batch.times_ms, batch.times_ms[at + shifts[at]])),
        offsets=offsets,
        time_starts=time_starts,
        histogram_ids=None if batch.histogram_ids is None else batch.histogram_ids[kept],
        starts_ms=None if batch.starts_ms is None else batch.starts_ms[kept],
    )

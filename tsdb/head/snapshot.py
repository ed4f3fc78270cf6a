"""HeadSnapshot: a head at one moment, as readers and seals see it. A Part.

Positions in the arena are written once, so a copy of each series' state is all it takes.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.matcher import Matcher
from series.ports import go_on
from tsdb.head import kernels, read_kernels
from tsdb.head.arena import Arena, Epoch
from tsdb.head.late import LateSamples
from tsdb.head.pool import Chunks, take
from tsdb.head.registry import Registry
from tsdb.label.postings import LabelIndex
from tsdb.sample.entries import unbox
from tsdb.view.part import Fingerprints, PartRows, Refs

HEAD_RANK = 2**62
"""The head is younger than every block."""
_BATCH_SERIES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class HeadSnapshot:
    """A Part: the samples of a head at one moment. A ref is the number of the series."""

    arena: Arena
    epoch: Epoch
    registry: Registry
    index: LabelIndex
    state: NDArray[np.int32]
    late: LateSamples
    pool: Chunks
    fingerprints: Fingerprints
    visible_from_ms: int
    first_ms: int
    token: Hashable
    min_time_ms: int
    max_time_ms: int
    rank: int = HEAD_RANK
    on_disk: bool = False
    has_labels_in_memory: bool = True

    def batches_between(self, start_ms: int, end_ms: int) -> Iterator[SeriesBatch]:
        """The samples within [start_ms, end_ms] as a block takes them, some series at a time.

        Only series that have some, ascending by their labels, with keys.
        """
        if end_ms < self.visible_from_ms:  # then all of them came late
            chosen = (self.late.times >= start_ms) & (self.late.times <= end_ms)
            refs = np.unique(self.late.series[chosen]).astype(np.int64)
        else:
            refs = self._matching(())
        refs = self.index.in_label_order(refs)
        for begin in range(0, len(refs), _BATCH_SERIES):
            batch = self._with_keys(refs[begin : begin + _BATCH_SERIES], start_ms, end_ms)
            if batch.series_count:
                yield batch

    def _with_keys(self, refs: Refs, start_ms: int, end_ms: int) -> SeriesBatch:
        """What ``read`` gives of the *refs* that have samples there, with their keys."""
        batch = self.read(refs, start_ms, end_ms)
        filled = np.diff(batch.offsets) > 0
        keys, key_ends = self.registry.keys(refs[filled])
        return replace(
            batch,
            offsets=np.concatenate([batch.offsets[:1], batch.offsets[1:][filled]]),
            time_starts=batch.time_starts[filled],
            keys=keys,
            key_starts=np.concatenate([np.zeros(1, dtype=np.int64), key_ends])[:-1],
            key_ends=key_ends,
        )

    def select(self, matchers: tuple[Matcher, ...], check: Callable[[], None] = go_on) -> PartRows:
        """The matching series that have samples."""
        refs = self._matching(matchers, check)
        return PartRows(refs, self.fingerprints[refs], self.index.frame(refs))

    def label_names(self, matchers: tuple[Matcher, ...]) -> list[str]:
        return self.index.label_names(self._matching(matchers))

    def label_values(self, name: str, matchers: tuple[Matcher, ...]) -> list[str]:
        return self.index.label_values(name, self._matching(matchers))

    def samples_of(self, refs: Refs) -> int:
        return int(self.state[refs, kernels.COUNT].sum())

    def estimated_samples(self, samples: int, start_ms: int, end_ms: int) -> int:
        times = self.late.times
        late = int(np.count_nonzero((times >= start_ms) & (times <= end_ms)))
        if self.first_ms > self.max_time_ms:
            # There are none, or a seal has hidden the oldest and not seen yet where others begin.
            return samples + late
        covered_ms = min(end_ms, self.max_time_ms) - max(start_ms, self.first_ms) + 1
        share = max(0, covered_ms) / (self.max_time_ms - self.first_ms + 1)
        return int(samples * share) + late

    def read(
        self,
        refs: Refs,
        start_ms: int,
        end_ms: int,
        *,
        newest: bool = False,
        values: bool = True,
    ) -> SeriesBatch:
        """Exactly the samples within the range, or the newest of them and those that came late."""
        del values  # they are there
        arena = self.arena
        start_in_pages_ms = max(start_ms, self.visible_from_ms)
        whole = read_kernels.read_pages(
            refs, self.state, arena.values, arena.times, arena.pages,
            start_in_pages_ms, max(end_ms, start_in_pages_ms - 1), newest,
        )  # fmt: skip
        rows = len(refs)
        values_at = 2 * rows + 1
        times_at = values_at + whole.item(rows)
        batch = SeriesBatch(
            whole[values_at:times_at].view(np.float64),
            whole[times_at:],
            whole[: rows + 1],
            whole[rows + 1 : values_at],
        )
        if len(self.late.series):
            batch = self.late.merged_into(batch, refs, len(self.state), start_ms, end_ms)
        return unbox(batch, partial(take, self.pool)) if self.pool else batch

    def damage(self, refs: Refs) -> tuple[str, ...]:
        """Nothing: memory is not checked."""
        del refs
        return ()

    def _matching(self, matchers: tuple[Matcher, ...], check: Callable[[], None] = go_on) -> Refs:
        refs = self.index.select(matchers, len(self.state), check)
        filled = self.state[refs, kernels.FIRST] >= 0
        if not filled.all():
            late = np.zeros(len(self.state), dtype=np.bool_)
            late[self.late.series] = True
            refs = refs[filled | late[refs]]
        return refs

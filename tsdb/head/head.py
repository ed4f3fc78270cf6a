"""Head: the open window of one tenant in memory.

One thread at a time changes a head (its Db sees to that); readers work on snapshots and take no
lock. See ``tsdb/head/kernels.py`` for how samples stand in the pages of the arena.
"""

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.arrays import grown
from tsdb.changes import Changes
from tsdb.head import kernels
from tsdb.head.arena import Arena, Epoch, HeadFull, Pages
from tsdb.head.late import LateBuffer
from tsdb.head.pool import Chunk, Pool, take
from tsdb.head.registry import Ids, Registry, Rows
from tsdb.head.snapshot import HeadSnapshot
from tsdb.label.postings import LabelIndex
from tsdb.sample.entries import FIRST_TICKET, Entries, entry_numbers, moved_tickets, ticket_places
from tsdb.sample.samples import Samples
from tsdb.view.part import NEVER_MS, Fingerprints

_NO_SAMPLES = (-1, -1, 0, 0)
_ROW_BYTES = 16 + 8 + 8
"""What a series takes in the tables of states, of last times and of the log."""
_BRANCHES, _DROP_SERIES = 256, 16_384
_SCARCE_SHARE, _PLENTY_SHARE, _KEPT_OF_PLENTY = 0.5, 0.1, 8
_NO_TIMES = np.zeros(0, dtype=np.int64)
_NO_BITS = np.zeros(0, dtype=np.uint64)


class Head:
    """The series and samples that are not sealed yet.

    - ``visible_from_ms``: samples before it stand in blocks; what the pages still hold of them is
      out of sight.
    - ``late_before_ms``: in-order samples begin here; earlier ones are late. Above
      ``visible_from_ms`` only while a seal is on its way.
    """

    def __init__(self, arena: Arena, registry: Registry, visible_from_ms: int = NEVER_MS) -> None:
        self.registry = registry
        self.index = LabelIndex()
        self._arena = arena
        self._epoch = Epoch(arena)
        self._state = np.empty((16, 4), dtype=np.int32)
        self._last_times = np.empty(16, dtype=np.int64)
        self._value_pool: Pages = np.zeros(0, dtype=np.int32)
        self._time_pool: Pages = np.zeros(0, dtype=np.int32)
        self._branches = np.full(_BRANCHES, -1, dtype=np.int32)
        self._late, self._pool = LateBuffer.empty(), Pool(arena)
        self._numbers = np.zeros(kernels.NUMBERS, dtype=np.int64)
        self._numbers[kernels.OWN] = arena.new_owner()
        self._numbers[kernels.LATE_BEFORE] = self._numbers[kernels.VISIBLE_FROM] = visible_from_ms
        self._min_time_ms, self._first_ms, self._max_time_ms = 2**63 - 1, 2**63 - 1, NEVER_MS
        self._drops, self._used_share = 0, 0.0  # of the arena, when it was last asked for pages
        self._snapshot: HeadSnapshot | None = None
        self.changes = Changes()
        """Hears of the samples that are appended; of the rest whoever changes it tells."""
        self.page_count = 0
        """The pages of values that are taken, reserved ones included."""
        self.starved = False
        """Whether a ``reserve`` has failed since the last seal."""
        self.table_bytes = 0
        """About the memory of what is known of the series: keys, tables, labels."""

    @property
    def series_count(self) -> int:
        return self.registry.size

    @property
    def late_count(self) -> int:
        return int(self._numbers[kernels.LATE_COUNT])

    @property
    def hidden_late_count(self) -> int:
        """The late samples of times that are sealed."""
        late = self._late.frozen(self.late_count)
        return int(np.count_nonzero(late.times < self.visible_from_ms))

    @property
    def sample_count(self) -> int:
        """The samples in pages, out of sight or not, and the late ones."""
        return int(self._state[: self.series_count, kernels.COUNT].sum()) + self.late_count

    @property
    def has_full_tables(self) -> bool:
        """Whether there is no memory left for what is known of series, of this or other heads."""
        return self._arena.table_share >= 1

    @property
    def pool_bytes(self) -> int:
        """The memory of the samples that need more than 64 bits."""
        return self._pool.size_bytes

    @property
    def visible_from_ms(self) -> int:
        return int(self._numbers[kernels.VISIBLE_FROM])

    @property
    def first_ms(self) -> int:
        """No sample that is not late is earlier; above ``max_time_ms`` where there is none."""
        return self._first_ms

    @property
    def max_time_ms(self) -> int:
        """The latest sample ever appended; NEVER_MS before the first."""
        return self._max_time_ms

    def register(self, batch: SeriesBatch, ids: Ids, fingerprints: Fingerprints) -> None:
        """Makes the rows of *batch* with id -1 known and fills in their ids.

        ValueError where a key is malformed; then nothing has changed.
        """
        known = self.registry.size
        new_rows = self.registry.add(batch, ids, fingerprints)
        try:
            self.index.append(batch.keys, batch.key_starts[new_rows], batch.key_ends[new_rows])
        except ValueError:
            self.registry.forget_from(known)
            raise
        self.registry.publish()
        self._make_room(known)
        self._count_tables()

    def reserve(self, samples: int) -> None:
        """Takes pages for *samples* samples that are to be appended: in the worst case each of
        them begins a page. HeadFull, and ``starved`` from then on, where there are not so many.
        """
        numbers, arena = self._numbers, self._arena
        free = int(numbers[kernels.FREE_VALUE_PAGES])
        try:
            if free < samples:
                self._used_share = arena.used_share
                more = arena.take_value_pages(samples - free)
                self._value_pool = np.concatenate([self._value_pool[:free], more])
                numbers[kernels.FREE_VALUE_PAGES] = samples
                self.page_count += len(more)
            free = int(numbers[kernels.FREE_TIME_PAGES])
            if free < samples:
                more = arena.take_time_pages(samples - free)
                self._time_pool = np.concatenate([self._time_pool[:free], more])
                numbers[kernels.FREE_TIME_PAGES] = samples
        except HeadFull:
            self.starved = True
            raise

    def check_pool(self, entries: Entries | None) -> None:
        """HeadFull, and ``starved`` from then on, where the pools have no room for *entries*.

        A pool with nothing in it takes whatever comes.
        """
        if entries is None or not self._pool.size_bytes:
            return
        if self._arena.pool_bytes + entries.size_bytes > self._arena.pool_capacity_bytes:
            self.starved = True
            raise HeadFull

    def release_reserve(self, *, kept: int = 0) -> None:
        """Gives pages back that were reserved and not needed, for any head to take.

        Up to *kept* of each kind stay where memory is not scarce, more where there is plenty: so a
        small append need not ask for any.
        """
        numbers = self._numbers
        free = max(int(numbers[kernels.FREE_VALUE_PAGES]), int(numbers[kernels.FREE_TIME_PAGES]))
        if self._used_share < _PLENTY_SHARE:
            kept = max(kept, min(_KEPT_OF_PLENTY * kept, self._arena.capacity_pages >> 8))
        if 0 < free <= kept and self._used_share < _SCARCE_SHARE:
            return
        values = self._value_pool[: numbers[kernels.FREE_VALUE_PAGES]]
        times = self._time_pool[: numbers[kernels.FREE_TIME_PAGES]]
        self._value_pool = self._time_pool = np.zeros(0, dtype=np.int32)
        numbers[kernels.FREE_VALUE_PAGES] = numbers[kernels.FREE_TIME_PAGES] = 0
        self.page_count -= len(values)
        self._arena.give_back(values, times)

    def release(self) -> None:
        """Gives all pages back once the last reader has gone; the head is done."""
        self.release_reserve()
        self._numbers[kernels.VISIBLE_FROM] = 2**63 - 1
        done = 0
        while done < self.series_count:
            done = self.drop_hidden(done)
        self._pool.clear()
        self._arena.count_table_bytes(-self.table_bytes)
        self.table_bytes = 0

    def append(self, samples: Samples, span_ms: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Appends *samples* in their order; uint8[N] says what became of each. *span_ms*: their
        ``span_ms``, where that is at hand.

        STORED, DUPLICATE (the same stands there) or CONFLICT (another does: not stored). Call
        ``reserve`` first: HeadFull midway leaves a part of the samples appended.
        """
        count = len(samples.series)
        outcomes = np.empty(count, dtype=np.uint8)
        bits, existing = samples.bits, _NO_BITS
        if samples.entries is not None:
            bits = moved_tickets(bits, self._pool.next_number)
            existing = np.zeros(count, dtype=np.uint64)
        if count:
            first_ms, last_ms = span_ms or samples.span_ms
            self.changes.note(first_ms)
        done = 0
        while True:
            done = kernels.append_samples(
                samples.series, samples.times, bits, done,
                self._state, self._last_times,
                self._arena.values, self._arena.times, self._arena.pages, self._arena.ticks,
                self._value_pool, self._time_pool, self._branches,
                self._late.series, self._late.times, self._late.bits, self._late.slots,
                self._numbers, outcomes, existing,
            )  # fmt: skip
            if done == count:
                break
            if self.late_count == len(self._late.series):
                self._late = self._late.larger(self.late_count)
            else:
                self.reserve(count - done)
        if samples.entries is not None:
            self._settle(samples, samples.entries, bits, existing, outcomes)
        if count:
            late_before_ms = int(self._numbers[kernels.LATE_BEFORE])
            self._min_time_ms = min(self._min_time_ms, first_ms)
            self._max_time_ms = max(self._max_time_ms, last_ms)
            if last_ms >= late_before_ms:
                self._first_ms = min(self._first_ms, max(first_ms, late_before_ms))
            self._snapshot = None
        return outcomes

    def _settle(
        self,
        samples: Samples,
        entries: Entries,
        bits: NDArray[np.uint64],
        existing: NDArray[np.uint64],
        outcomes: NDArray[np.uint8],
    ) -> None:
        """Takes the *entries* of stored *samples* into the pool; *bits* are theirs in the head.

        Two tickets at one instant are a conflict to the kernel, which left the one that stands
        there in *existing*: they are a duplicate where their entries are the same.
        """
        first = self._pool.next_number
        at = np.flatnonzero(
            (outcomes == kernels.CONFLICT)
            & (bits.view(np.int64) >= FIRST_TICKET)
            & (existing.view(np.int64) >= FIRST_TICKET)
        )
        if len(at):
            sent = entries.ordered(entry_numbers(bits[at]) - first)
            same = self._standing(entry_numbers(existing[at]), entries).same_as(sent)
            outcomes[at[same]] = kernels.DUPLICATE
        at = ticket_places(bits)
        numbers, stored = entry_numbers(bits[at]) - first, outcomes[at] == kernels.STORED
        if stored.any():
            times = np.empty(entries.size, dtype=np.int64)
            kept = np.zeros(entries.size, dtype=np.bool_)
            times[numbers], kept[numbers] = samples.times[at], stored
            self._pool.add(entries.blanked(kept), times)

    def _standing(self, numbers: NDArray[np.int64], new: Entries) -> Entries:
        """The entries *numbers* of the pool and of *new*, which is about to be appended to it."""
        last = Chunk(self._pool.next_number, new, _NO_TIMES, 0)
        return take((*self._pool.chunks, last), numbers)

    def sample_at(self, series: int, time_ms: int) -> SeriesBatch:
        """A sample that is there."""
        return self.snapshot().read(np.array([series], dtype=np.int64), time_ms, time_ms)

    def snapshot(self) -> HeadSnapshot:
        """What is there now; the same object as long as nothing changes."""
        if self._snapshot is None:
            self._snapshot = HeadSnapshot(
                arena=self._arena,
                epoch=self._epoch,
                registry=self.registry,
                index=self.index,
                state=self._state[: self.series_count].copy(),
                late=self._late.frozen(self.late_count),
                pool=self._pool.chunks,
                fingerprints=self.registry.fingerprints,
                token=("head", int(self._numbers[kernels.OWN]), self.generation),
                visible_from_ms=self.visible_from_ms,
                first_ms=self.first_ms,
                min_time_ms=self._min_time_ms,
                max_time_ms=self._max_time_ms,
            )
        return self._snapshot

    @property
    def generation(self) -> int:
        """Grows whenever a series gets its first sample or loses its last one."""
        return int(self._numbers[kernels.FILLED]) + self._drops

    def freeze(self, until_ms: int) -> HeadSnapshot:
        """The snapshot to seal up to *until_ms*: from now on earlier samples are late."""
        numbers = self._numbers
        numbers[kernels.LATE_BEFORE] = max(int(numbers[kernels.LATE_BEFORE]), until_ms)
        return self.snapshot()

    def hide_sealed(self, frozen: HeadSnapshot, until_ms: int) -> None:
        """Takes out of sight what a seal of *frozen* up to *until_ms* put into blocks."""
        self._numbers[kernels.VISIBLE_FROM] = until_ms
        self._first_ms = 2**63 - 1
        self.starved = False
        late = self._late.frozen(self.late_count)
        if len(frozen.late.series):
            kept = late.times >= until_ms
            kept[len(frozen.late.series) :] = True
            self._late, self._numbers[kernels.LATE_COUNT] = self._late.take(kept)
            late = self._late.frozen(self.late_count)
        if self._pool.chunks:
            self._pool.drop(until_ms, entry_numbers(late.bits[ticket_places(late.bits)]))
        earliest_late_ms = int(late.times.min()) if len(late.times) else until_ms
        self._min_time_ms = max(self._min_time_ms, min(until_ms, earliest_late_ms))
        self._snapshot = None

    def drop_hidden(self, begin: int) -> int:
        """Frees the pages that are out of sight, of some series from *begin* on.

        Returns where to go on; ``series_count`` once all are done.
        """
        end = min(begin + _DROP_SERIES, self.series_count)
        value_pages = np.empty(65_536, dtype=np.int32)
        time_pages = np.empty(65_536, dtype=np.int32)
        freed = np.array([0, 0, self._first_ms])
        done = kernels.drop_before(
            self._state, self._arena.times, self._arena.pages, self._arena.ticks,
            begin, end, self.visible_from_ms, value_pages, time_pages, freed,
        )  # fmt: skip
        self._epoch = self._epoch.end(value_pages[: freed[0]], time_pages[: freed[1]])
        self._first_ms = int(freed[2])
        self.page_count -= int(freed[0])
        self._drops += 1
        self._snapshot = None
        return int(done)

    def empty_series(self) -> NDArray[np.bool_]:
        """bool[S]: the series without a sample."""
        empty: NDArray[np.bool_] = self._state[: self.series_count, kernels.FIRST] < 0
        empty[self._late.series[: self.late_count]] = False
        return empty

    def silent_series(self, before_ms: int) -> int:
        """How many series have no sample from *before_ms* on, or none at all."""
        return int(np.count_nonzero(self._last_times[: self.series_count] < before_ms))

    def renumbered(self, rows: Rows) -> tuple[Registry, LabelIndex]:
        """Registry and index of only the series *rows* (int64), numbered in their order.

        Another thread may append meanwhile.
        """
        registry, index = Registry(self.registry.seed), LabelIndex()
        _adopt(registry, index, self.registry, rows)
        return registry, index

    def forget_all_but(self, kept: Rows, registry: Registry, index: LabelIndex) -> None:
        """Continues with what ``renumbered`` made of *kept*, which all have samples.

        Series that have got their first sample meanwhile are kept, too.
        """
        gone = self.empty_series()
        gone[kept] = True
        kept = np.concatenate([kept, np.flatnonzero(~gone)])
        _adopt(registry, index, self.registry, kept[registry.size :])
        new_number = np.full(self.series_count, -1, dtype=np.int32)
        new_number[kept] = np.arange(len(kept))
        self.registry, self.index = registry, index
        self._state = self._state[kept]
        self._last_times = self._last_times[kept]
        late, count = self._late, self.late_count
        moved = LateBuffer(late.series.copy(), late.times, late.bits, late.slots)
        moved.series[:count] = new_number[late.series[:count]]
        self._late, _ = moved.take(np.ones(count, dtype=np.bool_))
        self._count_tables()
        self._drops += 1
        self._snapshot = None

    def _count_tables(self) -> None:
        size_bytes = (
            self.registry.size_bytes + self.index.size_bytes + _ROW_BYTES * self.series_count
        )
        self._arena.count_table_bytes(size_bytes - self.table_bytes)
        self.table_bytes = size_bytes

    def _make_room(self, known: int) -> None:
        """Rows for all series; those from number *known* on begin empty."""
        self._state = grown(self._state, self.series_count)
        self._state[known : self.series_count] = _NO_SAMPLES
        self._last_times = grown(self._last_times, self.series_count)
        self._last_times[known : self.series_count] = NEVER_MS


def _adopt(registry: Registry, index: LabelIndex, other: Registry, rows: Rows) -> None:
    registry.adopt(other, rows)
    keys, ends = other.keys(rows)
    index.append(keys, np.concatenate([np.zeros(1, dtype=np.int64), ends])[:-1], ends)

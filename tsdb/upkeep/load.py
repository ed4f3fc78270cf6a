"""Loading: samples of any age and order, written straight into blocks.

History does not go through log and head: samples are gathered, sorted, cut by days and streamed
into one block a day. As long as what follows ascends by labels, as files of exports and blocks of
Prometheus do, it goes on in the same blocks; else these are closed, and become visible. A crash
costs the blocks that are still open. Of two samples at one instant the one that was there first
stays, and what the database holds already stays too.
"""

import threading
from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import Labels
from series.ports import Refusal
from tsdb.admission import DUPLICATE_TIMESTAMP, admit
from tsdb.block.writer import BlockWriter
from tsdb.head.registry import Registry
from tsdb.label.postings import LabelIndex
from tsdb.metric_limit import SHOWN_REFUSALS
from tsdb.sample.entries import entry_numbers, ticket_places, unbox
from tsdb.sample.samples import Samples, join_samples
from tsdb.state import State
from tsdb.upkeep.load_exemplars import ExemplarLoader

BUFFER_SAMPLES = 1 << 21
"""So many samples are sorted at a time; up to four times as many wait where a series has more."""
DAY_MS = 24 * 3_600_000
MAX_WRITERS = 40
"""Blocks open at a time."""
_MAX_WINDOWS = 32

Int64s = NDArray[np.int64]


class Loader:
    """Loads into one tenant; used by one thread. ``finish`` or ``abandon`` ends it.

    ``stored`` counts samples in blocks, exact duplicates included, ``series`` those that were
    seen; ``refused`` counts by reason, ``refusals`` shows the first. All but ``abandon`` raise
    OSError where the disk refuses: what was visible before stays so.
    """

    def __init__(self, state: State, maintenance: threading.Lock) -> None:
        """*maintenance* keeps seals and merges away while blocks are put into the manifest."""
        self._state = state
        self._maintenance = maintenance
        self._registry = Registry(state.manifest.seed)
        self._index = LabelIndex()
        self._waiting: list[Samples] = []
        self._waiting_samples = 0
        self._flush_at = BUFFER_SAMPLES
        self._window_ms = DAY_MS
        self._writers: dict[int, BlockWriter] = {}
        self._last = Labels()
        self._open_samples = 0
        self._exemplars = ExemplarLoader(state)
        self.stored = 0
        self.refused: Counter[str] = Counter()
        self.refusals: list[Refusal] = []

    @property
    def series(self) -> int:
        return self._registry.size

    @property
    def stored_exemplars(self) -> int:
        """Those that are kept, or were there already; known once the load is finished."""
        return self._exemplars.stored

    def add(self, batch: SeriesBatch) -> None:
        """Takes the samples of *batch*, in any order, and its exemplars.

        ValueError where a key is malformed.
        """
        state = self._state
        newest_ms = state.machine.clock.latest_ms + state.options.max_future_ms
        admitted = admit(batch, state.oldest_ms, newest_ms)
        self.refused += admitted.refused
        self._show(admitted.refusals)
        used = np.zeros(batch.series_count, dtype=np.bool_)
        used[admitted.rows] = True
        self._exemplars.add(batch, used)
        if not len(admitted.rows):
            return
        ids, fingerprints = self._registry.look_up(batch)
        ids[(ids < 0) & ~used] = 0
        if (ids < 0).any():
            new = self._registry.add(batch, ids, fingerprints)
            self._index.append(batch.keys, batch.key_starts[new], batch.key_ends[new])
        self._waiting.append(
            Samples(ids[admitted.rows], admitted.times, admitted.bits, admitted.entries)
        )
        self._waiting_samples += len(admitted.rows)
        if self._waiting_samples >= self._flush_at:
            self._flush(last=False)
            self._flush_at = self._waiting_samples + BUFFER_SAMPLES

    def finish(self) -> None:
        """Makes everything durable and visible."""
        self._flush(last=True)
        self._publish()
        self._exemplars.finish()
        self.refused += self._exemplars.refused

    def abandon(self) -> None:
        """Drops what is not visible yet; what the disk does not let go goes at the next start."""
        writers, self._writers = self._writers, {}
        for writer in writers.values():
            try:
                writer.abandon()
            except OSError:
                pass
        self._waiting, self._waiting_samples = [], 0

    def _flush(self, *, last: bool) -> None:
        """Writes what waits; unless it is the *last*, the last series may go on and stays."""
        samples = join_samples(self._waiting)
        self._waiting, self._waiting_samples = [], 0
        if not len(samples.series):
            return
        space = self._state.machine.space
        if space.is_low:
            raise space.low()
        ordered = self._index.in_label_order(np.unique(samples.series).astype(np.int64))
        open_ended = samples.series == ordered[-1]
        if not last and np.count_nonzero(open_ended) < 4 * BUFFER_SAMPLES:
            self._waiting = [samples.take(open_ended)]
            self._waiting_samples = len(self._waiting[0].series)
            samples, ordered = samples.take(~open_ended), ordered[:-1]
            if not len(ordered):
                return
        ranks = np.zeros(self._registry.size, dtype=np.int64)
        ranks[ordered] = np.arange(len(ordered))
        samples = self._distinct(_sorted(samples, ranks[samples.series]))
        first, end = (Labels.from_key(self._registry.key(int(ordered[at]))) for at in (0, -1))
        windows = self._windows(samples.times, ascends=self._last < first)
        self._last = end
        for window in np.unique(windows).tolist():
            self._write(window, samples.take(windows == window))

    def _windows(self, times: Int64s, *, ascends: bool) -> Int64s:
        """int64[N], the window of each sample; closes the open blocks where they cannot go on."""
        span_ms = int(times.max()) - int(times.min())
        window_ms = DAY_MS
        while span_ms // window_ms >= _MAX_WINDOWS:
            window_ms *= 2
        if not ascends or window_ms > self._window_ms:
            self._publish()
        if not self._writers:
            self._window_ms = window_ms
        windows = times // self._window_ms
        if len({*np.unique(windows).tolist(), *self._writers}) > MAX_WRITERS:
            self._publish()
            self._window_ms = window_ms
            windows = times // window_ms
        return windows

    def _write(self, window: int, samples: Samples) -> None:
        """Adds *samples*, sorted by label order and time, to the block of *window*."""
        firsts = np.flatnonzero(np.diff(samples.series, prepend=-1))
        rows = samples.series[firsts].astype(np.int64)
        keys, key_ends = self._registry.keys(rows)
        offsets = np.append(firsts, len(samples.series))
        batch = SeriesBatch(
            values=samples.bits.view(np.float64),
            times_ms=samples.times,
            offsets=offsets,
            time_starts=firsts,
            keys=keys,
            key_starts=np.concatenate([np.zeros(1, dtype=np.int64), key_ends[:-1]]),
            key_ends=key_ends,
        )
        if samples.entries is not None:
            batch = unbox(batch, samples.entries.take)
        writer = self._writers.get(window)
        if writer is None:
            state = self._state
            state.machine.files.mkdir(state.blocks_directory)
            with state.commit:
                sequence = state.take_sequence()
            writer = self._writers[window] = BlockWriter(
                state.blocks_directory,
                sequence,
                late=True,
                seed=state.manifest.seed,
                files=state.machine.files,
            )
        writer.add(batch)
        self._open_samples += len(samples.series)

    def _publish(self) -> None:
        """Closes the open blocks and puts them into the manifest."""
        if not self._writers:
            return
        state = self._state
        metas = sorted(
            (writer.finish() for writer in self._writers.values()), key=lambda one: one.sequence
        )
        self._writers = {}
        with self._maintenance, state.commit:
            blocks = sorted((*state.manifest.blocks, *metas), key=lambda one: one.sequence)
            try:
                state.save_manifest(replace(state.manifest, blocks=tuple(blocks)))
            except OSError:
                state.discard_blocks(meta.sequence for meta in metas)
                raise
            with state.publish:
                state.blocks = (*state.blocks, *map(state.open_block, metas))
        self.stored += self._open_samples
        self._open_samples = 0
        self._last = Labels()

    def _distinct(self, samples: Samples) -> Samples:
        """*samples*, sorted, with the first of each instant; the others are counted."""
        again = np.zeros(len(samples.series), dtype=np.bool_)
        again[1:] = (np.diff(samples.series) == 0) & (np.diff(samples.times) == 0)
        if not again.any():
            return samples
        at = np.flatnonzero(again)
        first = np.maximum.accumulate(np.where(again, 0, np.arange(len(again))))[at]
        conflicts = at[~_same(samples, first, at)]
        self.refused[DUPLICATE_TIMESTAMP] += len(conflicts)
        for place in conflicts[: SHOWN_REFUSALS - len(self.refusals)].tolist():
            labels = Labels.from_key(self._registry.key(int(samples.series[place])))
            detail = "duplicate sample for timestamp"
            time_ms = int(samples.times[place])
            self._show([Refusal(DUPLICATE_TIMESTAMP, detail, labels, time_ms)])
        if not self.refused[DUPLICATE_TIMESTAMP]:
            del self.refused[DUPLICATE_TIMESTAMP]
        self.stored += len(at) - len(conflicts)
        return samples.take(~again)

    def _show(self, refusals: list[Refusal]) -> None:
        self.refusals += refusals[: max(0, SHOWN_REFUSALS - len(self.refusals))]


def _sorted(samples: Samples, ranks: Int64s) -> Samples:
    """*samples* by rank, then by time, else as they come."""
    falls = np.diff(ranks) < 0
    if not falls.any() and not ((np.diff(ranks) == 0) & (np.diff(samples.times) < 0)).any():
        return samples
    return samples.take(np.lexsort((samples.times, ranks)))


def _same(samples: Samples, first: Int64s, second: Int64s) -> NDArray[np.bool_]:
    """Whether the samples at *first* and at *second* are the same, bit for bit."""
    same: NDArray[np.bool_] = samples.bits[first] == samples.bits[second]
    if samples.entries is None:
        return same
    boxed = np.zeros(len(samples.bits), dtype=np.bool_)
    boxed[ticket_places(samples.bits)] = True
    both = np.flatnonzero(boxed[first] & boxed[second])
    mine, others = (
        samples.entries.take(entry_numbers(samples.bits[places[both]]))
        for places in (first, second)
    )
    same[both] = mine.same_as(others)
    return same

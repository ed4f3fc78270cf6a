"""Db: one tenant's database, a Sink and a maker of Sources.

A write goes through four steps on a committer thread: judge the times, find the series, log and
sync, apply to the head. What readers see has been synced, and a write that fails at the disk has
changed nothing. A round takes all writes that wait, so they share one record and one sync.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.metadata import Metadata
from series.ports import Appended
from tsdb.admission import Admitted, SeriesLimit, admit, conclude, resolve_series
from tsdb.committer import Committer
from tsdb.head.arena import PAGE_BYTES
from tsdb.log.replay import replay
from tsdb.log.round_log import RoundLog
from tsdb.sample.exemplar_admission import take_exemplars
from tsdb.sample.samples import Samples, join_samples
from tsdb.state import DbOptions, Machine, State
from tsdb.stats import DbStats, collect_stats
from tsdb.upkeep import seal
from tsdb.view.part import Part
from tsdb.view.view import View

__all__ = ["Db", "DbOptions", "DbStats"]

_ROUND_SAMPLES = 1 << 17


class _Waiting(NamedTuple):
    """A write that waits for its round: a batch, or metadata."""

    batch: SeriesBatch | None
    metadata: Mapping[str, Metadata]
    future: "Future[Appended]"
    since_seconds: float
    """When it came, by ``time.monotonic``."""


class _Entered(NamedTuple):
    """A batch on its way through a round; ``at`` is its place in the round."""

    at: int
    admitted: Admitted
    samples: Samples


class Db:
    """See the module's head. Any thread may call any method."""

    def __init__(
        self, directory: Path, options: DbOptions, machine: Machine, committer: Committer
    ) -> None:
        """Opens the database in *directory* and replays its log; makes nothing where it is new.

        Raises OSError or StorageError where files cannot be read, ``records.UnsupportedFormat``
        for a log of a newer version.
        """
        self._state = State(directory, options, machine)
        self._committer = committer
        self._maintenance = threading.Lock()
        self.series_limit = SeriesLimit()
        self._entrance = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._closed = machine.read_only
        self._log = RoundLog(self._state)
        replay(self._state)

    # Writing

    def append(self, batch: SeriesBatch) -> "Future[Appended]":
        """Stores the batch; see ``series.ports.Sink``. Returns at once."""
        return self._enqueue(_Waiting(batch, {}, Future(), time.monotonic()))

    def put_metadata(self, metadata: Mapping[str, Metadata]) -> "Future[Appended]":
        """Remembers what is told of metrics; the future resolves once that is durable."""
        return self._enqueue(_Waiting(None, metadata, Future(), time.monotonic()))

    def _enqueue(self, waiting: _Waiting) -> "Future[Appended]":
        with self._entrance:
            if not self._closed:
                self._waiting.append(waiting)
                self._committer.wake(self)
                return waiting.future
        text = "open for reading only" if self._state.machine.read_only else "closed"
        waiting.future.set_exception(OSError(f"the database is {text}"))
        return waiting.future

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def commit_waiting(self) -> None:
        """Carries out writes that wait, in one round; then their futures are resolved."""
        with self._state.commit:
            due = self._take_waiting()
            began = time.monotonic()
            try:
                results = self._round(due)
            except BaseException as error:  # whatever it is, the senders must hear of it
                for one in due:
                    one.future.set_exception(error)
                return
            finally:
                self._count_round(due, began)
        for one, result in zip(due, results, strict=True):
            if isinstance(result, Appended):
                one.future.set_result(result)
            else:
                one.future.set_exception(result)

    def _count_round(self, due: list[_Waiting], began: float) -> None:
        counters = self._state.counters
        counters.rounds += 1
        counters.round_seconds += time.monotonic() - began
        counters.writes += len(due)
        counters.write_wait_seconds += sum(began - one.since_seconds for one in due)

    def _take_waiting(self) -> list[_Waiting]:
        """The writes of the next round: all that wait, but not much more than a round holds."""
        due: list[_Waiting] = []
        samples = 0
        while self._waiting and samples < _ROUND_SAMPLES:
            one = self._waiting.popleft()
            if one.future.set_running_or_notify_cancel():
                due.append(one)
                samples += _weight(one.batch)
        return due

    def _round(self, due: list[_Waiting]) -> list[Appended | ValueError]:
        """What becomes of each of *due*; a batch with a malformed key fails alone."""
        state = self._state
        now_ms = state.machine.now_ms()
        oldest_ms, newest_ms = state.oldest_ms, now_ms + state.options.max_future_ms
        ceiling = self.series_limit.ceiling(state.head)
        results: list[Appended | ValueError] = [Appended(0)] * len(due)
        entered: list[_Entered] = []
        for at, one in enumerate(due):
            if one.batch is not None:
                try:
                    admitted = admit(one.batch, oldest_ms, newest_ms)
                    samples = resolve_series(
                        admitted, state.head, state.publish, ceiling, self.series_limit
                    )
                    entered.append(_Entered(at, admitted, samples))
                except ValueError as error:
                    results[at] = error
        told = {name: one for waiting in due for name, one in waiting.metadata.items()}
        metadata = {name: one for name, one in told.items() if state.metadata.get(name) != one}
        samples = join_samples([one.samples for one in entered])
        batches = [one.admitted for one in entered]
        exemplars = take_exemplars(batches, state.head, state.exemplars)
        try:
            state.head.check_pool(samples.entries)
            state.head.reserve(len(samples.series))
            if len(samples.series) or exemplars.kept or metadata:
                self._log.write(samples, exemplars, metadata)
                state.metadata = {**state.metadata, **metadata}
            with state.publish:
                outcomes = state.head.append(samples)
                state.exemplars.add(exemplars.kept)
                for entry, result in zip(entered, self._conclude(entered, outcomes), strict=True):
                    results[entry.at] = result
        finally:
            state.head.release_reserve()
        state.last_append_ms = now_ms
        return results

    def _conclude(self, entered: list[_Entered], outcomes: NDArray[np.uint8]) -> Iterator[Appended]:
        counters = self._state.counters
        at = 0
        for one in entered:
            end = at + len(one.samples.series)
            result = conclude(one.admitted, one.samples, outcomes[at:end], self._state.head)
            counters.appended += result.samples
            counters.histograms += result.histograms
            counters.exemplars += result.exemplars
            for reason, count in result.refused.items():
                counters.refused[reason] = counters.refused.get(reason, 0) + count
            yield result
            at = end

    # Reading

    def view(self) -> View:
        """What is there now, frozen for one reader."""
        state = self._state
        with state.publish:
            parts: tuple[Part, ...] = (*state.blocks, state.head.snapshot())
            generation = state.head.generation + state.counters.dropped_blocks
        return View(parts, state.machine.maps, generation, state.exemplars)

    def metadata(self) -> dict[str, Metadata]:
        """What senders have told of their metrics, by metric name."""
        return dict(self._state.metadata)

    def stats(self) -> DbStats:
        """Its numbers for /metrics."""
        return collect_stats(self._state, len(self._waiting))

    # Upkeep

    @property
    def head_pages(self) -> int:
        """How much of the memory for samples is taken, in pages of the arena."""
        head = self._state.head
        return head.page_count + head.pool_bytes // PAGE_BYTES

    @property
    def head_times_ms(self) -> tuple[int, int]:
        """The first and last time in the head; (0, 0) where there is none."""
        head = self._state.head
        if head.first_ms > head.max_time_ms:
            return 0, 0
        return head.first_ms, head.max_time_ms

    def maintain(self) -> None:
        """Seals what is due and drops blocks older than the retention.

        OSError where the disk refused: nothing is lost, the next call tries again.
        """
        with self._maintenance:
            seal.maintain(self._state)

    def refuse_writes(self) -> None:
        """From now on every write fails; those that wait are still carried out."""
        with self._entrance:
            self._closed = True

    def close(self) -> None:
        """Lets go of files and memory; no write may be on its way."""
        with self._maintenance, self._state.commit:
            self._state.wal.close_segment()
            self._state.head.release()


def _weight(batch: SeriesBatch | None) -> int:
    """How many samples' worth of a round *batch* is."""
    if batch is None:
        return 0
    histograms = batch.histograms.size_bytes // 16 if batch.histograms is not None else 0
    return batch.sample_count + histograms

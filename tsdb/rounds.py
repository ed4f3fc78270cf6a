"""Rounds: how the writes that wait become one record of the log and samples of the head."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.metadata import Metadata
from series.ports import Appended
from tsdb.admission import Admitted, SeriesLimit, admit, conclude, resolve_series
from tsdb.log.round_log import RoundLog
from tsdb.sample.exemplar_admission import take_exemplars
from tsdb.sample.samples import Samples, join_samples
from tsdb.state import State

ROUND_SAMPLES = 1 << 17
"""A round that has so many samples takes no more writes."""
_KEPT_PAGES = 128


class Waiting(NamedTuple):
    """A write that waits for its round: a batch, or metadata."""

    batch: SeriesBatch | None
    metadata: Mapping[str, Metadata]
    future: "Future[Appended]"
    since_seconds: float
    """When it came, by ``time.monotonic``."""

    @property
    def weight(self) -> int:
        """How many samples' worth of a round it is."""
        if self.batch is None:
            return 0
        histograms = self.batch.histograms
        size_bytes = histograms.size_bytes if histograms is not None else 0
        return self.batch.sample_count + size_bytes // 16


class _Entered(NamedTuple):
    """A batch on its way through a round; ``at`` is its place in the round."""

    at: int
    admitted: Admitted
    samples: Samples


class Rounds:
    """The rounds of one tenant; used under ``State.commit``."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._log = RoundLog(state)

    @property
    def are_quick(self) -> bool:
        """Whether the next round is logged without a wait for the disk, as far as one can tell."""
        return self._state.is_stored and self._state.wal.is_quick

    def carry_out(self, due: list[Waiting], limit: SeriesLimit) -> list[Appended | ValueError]:
        """What becomes of each of *due*; a batch with a malformed key fails alone."""
        state = self._state
        now_ms = state.machine.clock.believed_ms
        oldest_ms = state.oldest_ms
        newest_ms = state.machine.clock.latest_ms + state.options.max_future_ms
        ceiling = limit.ceiling(state.head)
        results: list[Appended | ValueError] = [Appended(0)] * len(due)
        entered: list[_Entered] = []
        for at, one in enumerate(due):
            if one.batch is not None:
                try:
                    ids = state.head.registry.ids_of(one.batch)
                    admitted = admit(one.batch, oldest_ms, newest_ms, ids)
                    samples = resolve_series(admitted, state.head, state.publish, ceiling, limit)
                    entered.append(_Entered(at, admitted, samples))
                except ValueError as error:
                    results[at] = error
        metadata = self._new_metadata(due)
        samples = join_samples([one.samples for one in entered])
        batches = [one.admitted for one in entered]
        exemplars = take_exemplars(batches, state.head, state.exemplars)
        try:
            state.head.check_pool(samples.entries)
            state.head.reserve(len(samples.series))
            span_ms = samples.span_ms
            if len(samples.series) or exemplars.kept or metadata:
                self._log.write(samples, span_ms, exemplars, metadata)
            if metadata:
                state.metadata = {**state.metadata, **metadata}
            with state.publish:
                outcomes = state.head.append(samples, span_ms)
                state.exemplars.add(exemplars.kept)
                for entry, result in zip(entered, self._conclude(entered, outcomes), strict=True):
                    results[entry.at] = result
        finally:
            state.head.release_reserve(kept=_KEPT_PAGES)
        state.last_append_ms = now_ms
        return results

    def _new_metadata(self, due: list[Waiting]) -> dict[str, Metadata]:
        """What *due* tell of metrics that is not known."""
        told = {name: one for waiting in due for name, one in waiting.metadata.items()}
        known = self._state.metadata
        return {name: one for name, one in told.items() if known.get(name) != one}

    def count(self, due: list[Waiting], began: float) -> None:
        """Counts the round of *due* that began at *began*, by ``time.monotonic``."""
        counters = self._state.counters
        counters.rounds += 1
        counters.round_seconds += time.monotonic() - began
        counters.writes += len(due)
        counters.write_wait_seconds += sum(began - one.since_seconds for one in due)

    def _conclude(self, entered: list[_Entered], outcomes: NDArray[np.uint8]) -> Iterator[Appended]:
        counters = self._state.counters
        all_stored = not outcomes.any()
        at = 0
        for one in entered:
            end = at + len(one.samples.series)
            part = None if all_stored else outcomes[at:end]
            result = conclude(one.admitted, one.samples, part, self._state.head)
            counters.appended += result.samples
            counters.histograms += result.histograms
            counters.exemplars += result.exemplars
            for reason, count in result.refused.items():
                counters.refused[reason] = counters.refused.get(reason, 0) + count
            yield result
            at = end

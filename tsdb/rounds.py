"""Rounds: how the writes that wait become one record of the log and samples of the head."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch, known_batch
from series.known import KnownSamples
from series.metadata import Metadata
from series.ports import Appended
from tsdb.admission import Admitted, SeriesLimit, admit, conclude, resolve_series
from tsdb.head.kernels import CONFLICT
from tsdb.log.round_log import RoundLog
from tsdb.sample.exemplar_admission import NO_EXEMPLARS, take_exemplars
from tsdb.sample.samples import Samples, join_samples
from tsdb.state import State

ROUND_SAMPLES = 1 << 17
"""A round that has so many samples takes no more writes."""
_KEPT_PAGES = 128


Result = Appended | list[Appended] | BaseException
"""What becomes of a write; of KnownSamples a list, one of each write, empty where all is stored."""


class Promise(Protocol):
    """Who waits for a Result; a ``Future``, say."""

    def set_running_or_notify_cancel(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class Told:
    """A Promise that calls *tell*, in the thread that has the result."""

    __slots__ = ("set_exception", "set_result")

    def __init__(self, tell: Callable[[Any], None]) -> None:
        self.set_result = self.set_exception = tell

    def set_running_or_notify_cancel(self) -> bool:
        return True


class Waiting(NamedTuple):
    """A write that waits for its round: a batch, writes of known series, or metadata."""

    batch: SeriesBatch | KnownSamples | None
    metadata: Mapping[str, Metadata]
    promise: Promise
    since_seconds: float
    """When it came, by ``time.monotonic``."""

    def resolve(self, result: Result) -> None:
        """Tells who waits."""
        if isinstance(result, BaseException):
            self.promise.set_exception(result)
        else:
            self.promise.set_result(result)

    @property
    def writes(self) -> int:
        """How many writes it is."""
        return len(self.batch.ends) if isinstance(self.batch, KnownSamples) else 1

    @property
    def weight(self) -> int:
        """How many samples' worth of a round it is."""
        if self.batch is None:
            return 0
        if isinstance(self.batch, KnownSamples):
            return len(self.batch.ids)
        histograms = self.batch.histograms
        size_bytes = histograms.size_bytes if histograms is not None else 0
        return self.batch.sample_count + size_bytes // 16


class _Entered(NamedTuple):
    """A batch on its way through a round; ``at`` is its place in the round.

    ``admitted`` is None for KnownSamples of which none has been refused; those of which some were
    enter as a batch for each of their writes.
    """

    at: int
    admitted: Admitted | None
    samples: Samples


class _Bounds(NamedTuple):
    """What a round takes: of times, and of series; see ``admit`` and ``resolve_series``."""

    oldest_ms: int
    newest_ms: int
    ceiling: int
    limit: SeriesLimit


_NOTHING = Appended(0)


class Rounds:
    """The rounds of one tenant; used under ``State.commit``."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._log = RoundLog(state)

    @property
    def are_quick(self) -> bool:
        """Whether the next round is logged without a wait for the disk, as far as one can tell."""
        return self._state.is_stored and self._state.wal.is_quick

    def carry_out(self, due: list[Waiting], limit: SeriesLimit) -> list[Result]:
        """What becomes of each of *due*; a batch with a malformed key fails alone."""
        state = self._state
        now_ms, wall_ms = state.machine.clock.look()
        oldest_ms = state.oldest_at(min(now_ms, wall_ms))
        newest_ms = max(now_ms, wall_ms) + state.options.max_future_ms
        only = due[0].batch if len(due) == 1 else None
        results: list[Result]
        if isinstance(only, KnownSamples) and self._is_plain(only, oldest_ms, newest_ms):
            results = [self._carry_out_plain(only)]
        else:
            bounds = _Bounds(oldest_ms, newest_ms, limit.ceiling(state.head), limit)
            results = self._carry_out(due, bounds)
        state.last_append_ms = now_ms
        return results

    def _is_plain(self, sent: KnownSamples, oldest_ms: int, newest_ms: int) -> bool:
        """Whether *sent* has samples, numbered as the head does it, and none out of bounds."""
        is_known = sent.known.numbering is self._state.head.registry.numbering
        return is_known and oldest_ms <= sent.first_ms <= sent.last_ms <= newest_ms

    def _carry_out_plain(self, sent: KnownSamples) -> Result:
        """What becomes of *sent*, which is plain, as a round of its own; most rounds are that."""
        state = self._state
        samples = Samples(sent.ids, sent.times_ms, sent.bits)
        span_ms = sent.first_ms, sent.last_ms
        head = state.head
        try:
            head.reserve(len(sent.ids))
            self._log.write(samples, span_ms, NO_EXEMPLARS, {})
            with state.publish:
                return self._concluded_known(sent, head.append(samples, span_ms))
        finally:
            head.release_reserve(kept=_KEPT_PAGES)

    def _carry_out(self, due: list[Waiting], bounds: _Bounds) -> list[Result]:
        """As ``carry_out``, of writes of all kinds."""
        state = self._state
        results: list[Result] = []
        entered: list[_Entered] = []
        for at, one in enumerate(due):
            results.append([] if isinstance(one.batch, KnownSamples) else _NOTHING)
            try:
                if isinstance(one.batch, KnownSamples):
                    entered += self._enter_known(at, one.batch, bounds)
                elif one.batch is not None:
                    entered.append(self._enter(at, one.batch, bounds))
            except ValueError as error:
                results[at] = error
        metadata = self._new_metadata(due)
        samples = join_samples([one.samples for one in entered])
        batches = [one.admitted for one in entered if one.admitted is not None]
        exemplars = NO_EXEMPLARS
        if batches:
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
                if exemplars.kept:
                    state.exemplars.add(exemplars.kept)
                self._conclude(due, entered, outcomes, results)
        finally:
            state.head.release_reserve(kept=_KEPT_PAGES)
        return results

    def _enter(self, at: int, batch: SeriesBatch, bounds: _Bounds) -> _Entered:
        state = self._state
        ids = state.head.registry.ids_of(batch)
        admitted = admit(batch, bounds.oldest_ms, bounds.newest_ms, ids)
        samples = resolve_series(admitted, state.head, state.publish, bounds.ceiling, bounds.limit)
        return _Entered(at, admitted, samples)

    def _enter_known(self, at: int, sent: KnownSamples, bounds: _Bounds) -> list[_Entered]:
        """*sent* as it is; write by write where the head has numbered anew or a time is refused."""
        if self._is_plain(sent, bounds.oldest_ms, bounds.newest_ms):
            return [_Entered(at, None, Samples(sent.ids, sent.times_ms, sent.bits))]
        return [
            self._enter(at, known_batch(sent, begin, end), bounds)
            for begin, end in pairwise((0, *sent.ends))
        ]

    def _new_metadata(self, due: list[Waiting]) -> dict[str, Metadata]:
        """What *due* tell of metrics that is not known."""
        if not any(waiting.metadata for waiting in due):
            return {}
        told = {name: one for waiting in due for name, one in waiting.metadata.items()}
        known = self._state.metadata
        return {name: one for name, one in told.items() if known.get(name) != one}

    def count(self, due: list[Waiting], began: float) -> None:
        """Counts the round of *due* that began at *began*, by ``time.monotonic``."""
        counters = self._state.counters
        counters.rounds += 1
        counters.round_seconds += time.monotonic() - began
        for one in due:
            counters.writes += one.writes
            counters.write_wait_seconds += one.writes * (began - one.since_seconds)

    def _conclude(
        self,
        due: Sequence[Waiting],
        entered: Sequence[_Entered],
        outcomes: NDArray[np.uint8],
        results: list[Result],
    ) -> None:
        """Counts what became of the samples and puts it into *results*."""
        at = 0
        for one in entered:
            part = outcomes[at : at + len(one.samples.series)]
            at += len(part)
            sent = due[one.at].batch
            if isinstance(sent, KnownSamples):
                told = results[one.at]
                assert isinstance(told, list)
                if one.admitted is not None:
                    told.append(self._concluded(one.admitted, one.samples, part))
                else:
                    told += self._concluded_known(sent, part)
            else:
                assert one.admitted is not None
                results[one.at] = self._concluded(one.admitted, one.samples, part)

    def _concluded_known(self, sent: KnownSamples, outcomes: NDArray[np.uint8]) -> list[Appended]:
        """What is told of each write of *sent*; nothing where all is stored."""
        if not np.count_nonzero(outcomes) or not (outcomes == CONFLICT).any():
            self._state.counters.appended += len(sent.ids)
            return []
        told = []
        for begin, end in pairwise((0, *sent.ends)):
            batch = known_batch(sent, begin, end)
            admitted = admit(batch, sent.first_ms, sent.last_ms, sent.ids[begin:end])
            samples = Samples(admitted.series, admitted.times, admitted.bits)
            told.append(self._concluded(admitted, samples, outcomes[begin:end]))
        return told

    def _concluded(
        self, admitted: Admitted, samples: Samples, outcomes: NDArray[np.uint8]
    ) -> Appended:
        counters = self._state.counters
        others = outcomes if np.count_nonzero(outcomes) else None
        result = conclude(admitted, samples, others, self._state.head)
        counters.appended += result.samples
        counters.histograms += result.histograms
        counters.exemplars += result.exemplars
        for reason, count in result.refused.items():
            counters.refused[reason] = counters.refused.get(reason, 0) + count
        return result

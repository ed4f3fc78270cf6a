"""RoundLog: one round of writes as one record of the log."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from series.metadata import Metadata
from tsdb.log import records
from tsdb.log.records import LoggedExemplars, LoggedSamples, NewSeries, Section
from tsdb.sample.exemplar_admission import TakenExemplars
from tsdb.sample.samples import Samples
from tsdb.state import State
from tsdb.view.part import NEVER_MS

_KEYS_IN_SEGMENT, _FEW_KEYS_BYTES = 4, 16 << 20
"""Each segment names all series that it holds samples of. Where they are many it may grow to four
times what their names take, so that the log does not consist of names.
"""


class RoundLog:
    """The log of one tenant, with the ids by which its open segment names the head's series.

    What a record names the next one names again, so that damage to one record takes its own samples
    only.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._segment = -1
        self._local_ids = np.zeros(0, dtype=np.int32)
        self._local_count = 0
        self._just_named: list[tuple[int, NDArray[np.int64]]] = []
        """Of the last record: the first id, and the series that got ids from there on."""

    def write(
        self,
        samples: Samples,
        span_ms: tuple[int, int],
        exemplars: TakenExemplars,
        metadata: Mapping[str, Metadata],
    ) -> None:
        """Logs a round; OSError where the disk refused, then nothing of it counts.

        *span_ms*: the first and the last time of the samples, where there are any.
        """
        state = self._state
        if not state.is_stored:
            state.save_manifest(state.manifest)
        many_keys_bytes = max(0, state.head.registry.key_bytes - _FEW_KEYS_BYTES)
        state.wal.segment_bytes = max(
            state.options.wal_segment_bytes, _KEYS_IN_SEGMENT * many_keys_bytes
        )
        segment = state.wal.open_segment()
        if segment != self._segment:
            self._local_ids = np.full(state.head.series_count, -1, dtype=np.int32)
            self._local_count = 0
            self._just_named = []
            self._segment = segment
        named_before, self._just_named = self._just_named, []
        max_time_ms = NEVER_MS
        try:
            sections = [self._names(first_id, series) for first_id, series in named_before]
            if metadata:
                sections.append(records.encode_metadata(metadata))
            if exemplars.kept:
                ids, named = self._named(exemplars.series)
                sections += named
                logged = LoggedExemplars.of(ids, exemplars.kept)
                sections.append(records.encode_exemplars(logged))
            if len(samples.series):
                sections += self._sections(samples, span_ms)
                max_time_ms = span_ms[1]
            state.wal.append(sections, max_time_ms)
        except BaseException as error:
            self._segment = -1
            state.wal.close_segment()
            if isinstance(error, OSError):
                refusal = state.machine.space.note(error)
                if refusal is not error:
                    raise refusal from error
            raise

    def _sections(self, samples: Samples, span_ms: tuple[int, int]) -> list[Section]:
        """The samples by the segment's own ids, before them what they refer to."""
        ids, sections = self._named(samples.series)
        if samples.entries is not None:
            sections.append(records.encode_entries(samples.entries))
        logged = LoggedSamples(ids, samples.times, samples.bits)
        return [*sections, records.encode_samples(logged, span_ms)]

    def _named(self, series: NDArray[np.int32]) -> tuple[NDArray[np.uint32], list[Section]]:
        """The segment's ids (uint32) of the *series*, and what says so where some are new."""
        size = self._state.head.registry.size
        if size > len(self._local_ids):
            more = np.full(max(size, 2 * len(self._local_ids)), -1, dtype=np.int32)
            more[: len(self._local_ids)] = self._local_ids
            self._local_ids = more
        ids = self._local_ids.take(series)
        if self._local_count == size or not len(ids) or ids.min() >= 0:
            return ids.view(np.uint32), []
        named = self._name(np.unique(series[ids < 0]).astype(np.int64))
        return self._local_ids.take(series).view(np.uint32), [named]

    def _name(self, new: NDArray[np.int64]) -> Section:
        """Gives ids to series that have none yet."""
        first_id = self._local_count
        self._local_ids[new] = first_id + np.arange(len(new))
        self._local_count += len(new)
        self._just_named.append((first_id, new))
        return self._names(first_id, new)

    def _names(self, first_id: int, series: NDArray[np.int64]) -> Section:
        keys, key_ends = self._state.head.registry.keys(series)
        return records.encode_series(NewSeries(first_id, keys, key_ends))

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
    """The log of one tenant, with the ids by which its open segment names the head's series."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._segment = -1
        self._local_ids = np.zeros(0, dtype=np.int64)
        self._local_count = 0

    def write(
        self, samples: Samples, exemplars: TakenExemplars, metadata: Mapping[str, Metadata]
    ) -> None:
        """Logs a round; OSError where the disk refused, then nothing of it counts."""
        state = self._state
        if not state.is_stored:
            state.save_manifest(state.manifest)
        many_keys_bytes = max(0, state.head.registry.key_bytes - _FEW_KEYS_BYTES)
        state.wal.segment_bytes = max(
            state.options.wal_segment_bytes, _KEYS_IN_SEGMENT * many_keys_bytes
        )
        segment = state.wal.open_segment()
        if segment != self._segment:
            self._local_ids = np.full(state.head.series_count, -1, dtype=np.int64)
            self._local_count = 0
            self._segment = segment
        sections: list[Section] = []
        max_time_ms = NEVER_MS
        try:
            if metadata:
                sections.append(records.encode_metadata(metadata))
            if exemplars.kept:
                sections += self._name(exemplars.series)
                ids = self._local_ids[exemplars.series]
                logged = LoggedExemplars.of(ids, exemplars.kept)
                sections.append(records.encode_exemplars(logged))
            if len(samples.series):
                sections += self._sections(samples)
                max_time_ms = int(samples.times.max())
            state.wal.append(sections, max_time_ms)
        except BaseException as error:
            self._segment = -1
            state.wal.close_segment()
            if isinstance(error, OSError):
                refusal = state.machine.space.note(error)
                if refusal is not error:
                    raise refusal from error
            raise

    def _sections(self, samples: Samples) -> list[Section]:
        """The samples by the segment's own ids, before them what they refer to."""
        sections = self._name(samples.series)
        if samples.entries is not None:
            sections.append(records.encode_entries(samples.entries))
        local = self._local_ids[samples.series].astype(np.uint32)
        logged = LoggedSamples(local, samples.times, samples.bits)
        return [*sections, records.encode_samples(logged)]

    def _name(self, series: NDArray[np.int32]) -> list[Section]:
        """Gives the *series* ids that have none yet, and says so."""
        registry = self._state.head.registry
        missing = registry.size - len(self._local_ids)
        if missing > 0:
            more = np.full(max(missing, len(self._local_ids)), -1, dtype=np.int64)
            self._local_ids = np.concatenate([self._local_ids, more])
        unnamed = self._local_ids[series] < 0
        if not unnamed.any():
            return []
        new = np.unique(series[unnamed]).astype(np.int64)
        self._local_ids[new] = self._local_count + np.arange(len(new))
        keys, key_ends = registry.keys(new)
        named = records.encode_series(NewSeries(self._local_count, keys, key_ends))
        self._local_count += len(new)
        return [named]

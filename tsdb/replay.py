"""Replay: the write-ahead log back into the head, once at the start."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb import records, seal
from tsdb.head import NEVER_MS, Head, Samples, join_samples
from tsdb.records import LoggedSamples, NewSeries
from tsdb.state import State
from tsdb.wal import Segment

_APPEND_SAMPLES = 1 << 17


def replay(state: State) -> None:
    """Appends all that the blocks do not hold yet, in the order in which it was acknowledged.

    Segments that turn out to be covered by blocks are deleted. Damage is skipped and counted in
    ``state.replayed``; raises ``records.UnsupportedFormat`` for a log of a newer version.
    """
    for segment in tuple(state.wal.segments):
        sealed_until_ms = NEVER_MS
        if segment.number <= state.manifest.wal_through:
            sealed_until_ms = state.manifest.sealed_until_ms
        for samples in _collected(_segment(state, segment), sealed_until_ms):
            state.head.reserve(len(samples.series))
            state.head.append(samples)
            state.replayed.samples += len(samples.series)
        if state.machine.arena.used_share > state.options.max_used_share:
            seal.seal_replayed(state, segment.number)
    seal.remove_covered(state)
    seal.forget_empty_series(state)
    state.head.release_reserve()


def _segment(state: State, segment: Segment) -> Iterator[Samples]:
    """The samples of one segment, record by record, by the head's series."""
    series_of = np.zeros(0, dtype=np.int32)
    for sections in state.wal.replay(segment, state.replayed):
        for section in sections:
            if section.kind == records.SERIES:
                new = records.decode_series(section.content)
                series_of = _extended(series_of, new.first_id, _register(state.head, new))
            elif section.kind == records.SAMPLES:
                logged = records.decode_samples(section.content)
                segment.max_time_ms = max(segment.max_time_ms, int(logged.times.max()))
                yield _known(series_of, logged, state)
            elif section.kind == records.METADATA and segment.number > state.manifest.wal_through:
                state.metadata.update(records.decode_metadata(section.content))


def _register(head: Head, new: NewSeries) -> NDArray[np.int32]:
    rows = len(new.key_ends)
    batch = SeriesBatch(
        values=np.zeros(0),
        times_ms=np.zeros(0, dtype=np.int64),
        offsets=np.zeros(rows + 1, dtype=np.int64),
        time_starts=np.zeros(rows, dtype=np.int64),
        keys=new.keys,
        key_starts=np.concatenate([np.zeros(1, dtype=np.int64), new.key_ends])[:-1],
        key_ends=new.key_ends,
    )
    ids, fingerprints = head.registry.look_up(batch)
    if (ids < 0).any():
        head.register(batch, ids, fingerprints)
    return ids


def _extended(
    series_of: NDArray[np.int32], first_id: int, ids: NDArray[np.int32]
) -> NDArray[np.int32]:
    """*series_of* with *ids* from *first_id* on; ids that damage took from between stay -1."""
    lost = np.full(max(0, first_id - len(series_of)), -1, dtype=np.int32)
    return np.concatenate([series_of[:first_id], lost, ids])


def _known(series_of: NDArray[np.int32], logged: LoggedSamples, state: State) -> Samples:
    ids = logged.ids.astype(np.int64)
    named = ids < len(series_of)
    series = np.full(len(ids), -1, dtype=np.int32)
    series[named] = series_of[ids[named]]
    known = series >= 0
    if known.all():
        return Samples(series, logged.times, logged.bits)
    state.replayed.lost_samples += len(ids) - int(np.count_nonzero(known))
    return Samples(series[known], logged.times[known], logged.bits[known])


def _collected(parts: Iterator[Samples], sealed_until_ms: int) -> Iterator[Samples]:
    """The samples from *sealed_until_ms* on, small parts joined to large ones."""
    waiting: list[Samples] = []
    count = 0
    for part in parts:
        left = part
        if sealed_until_ms > NEVER_MS:
            chosen = part.times >= sealed_until_ms
            left = Samples(part.series[chosen], part.times[chosen], part.bits[chosen])
        waiting.append(left)
        count += len(left.series)
        if count >= _APPEND_SAMPLES:
            yield join_samples(waiting)
            waiting, count = [], 0
    if count:
        yield join_samples(waiting)

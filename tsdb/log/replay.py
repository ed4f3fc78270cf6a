"""Replay: the write-ahead log back into the head, once at the start."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.ports import StorageError
from tsdb import quarantine
from tsdb.damage import EXEMPLARS, FOREVER_MS, Finding, Lost
from tsdb.head.arena import HeadFull
from tsdb.head.head import Head
from tsdb.log import records
from tsdb.log.check import check_segment
from tsdb.log.records import LoggedExemplars, LoggedSamples, NewSeries
from tsdb.log.wal import Segment
from tsdb.sample import exemplar_file
from tsdb.sample.entries import Entries, box_bits
from tsdb.sample.exemplar_file import Saved
from tsdb.sample.exemplars import Kept
from tsdb.sample.samples import Samples, join_samples
from tsdb.state import State
from tsdb.upkeep import seal
from tsdb.view.part import NEVER_MS

log = logging.getLogger("o11y.storage")

_APPEND_SAMPLES = 1 << 17


def replay(state: State) -> None:
    """Appends all that the blocks do not hold yet, in the order in which it was acknowledged.

    Segments that turn out to be covered by blocks are deleted. Damage is skipped and counted in
    ``state.replayed``; raises ``records.UnsupportedFormat`` for a log of a newer version, and
    ReplayStopped where ``machine.progress`` was stopped. Where the memory does not suffice, what
    has been replayed so far is sealed.

    Where nothing may change on disk, StorageError is raised instead and no segment is deleted.
    """
    _load_exemplars(state)
    most = max(1, min(_APPEND_SAMPLES, state.machine.arena.capacity_pages // 8))
    for segment in tuple(state.wal.segments):
        sealed_until_ms = NEVER_MS
        if segment.number <= state.manifest.wal_through:
            sealed_until_ms = state.manifest.sealed_until_ms
        for samples in _collected(_segment(state, segment), sealed_until_ms, most):
            _append(state, samples, segment.number - 1)
        _make_room(state, segment.number)
        if segment.is_damaged:
            _note_damage(state, segment)
    if not state.machine.read_only:
        seal.remove_covered(state, Saved(state.wal.last_number, state.exemplars.all()))
        seal.forget_empty_series(state)
    for message in state.replayed.messages:
        log.warning("%s", message)


def _load_exemplars(state: State) -> None:
    saved = exemplar_file.load(state.directory, state.machine.files)
    if saved is None:
        path = state.directory / exemplar_file.NAME
        text = "it is no sound record; the exemplars in the log are left"
        state.machine.cache.notes.note(Finding(EXEMPLARS, path, 0, text))
        if not state.machine.read_only:
            quarantine.keep(state.directory, path, state.machine.files)
    elif state.exemplars.capacity:
        state.exemplars.add(saved.exemplars)
        state.exemplars_through = saved.through
    if saved is not None:
        state.wal.skip_to(saved.through)


def _note_damage(state: State, segment: Segment) -> None:
    """Has the manifest remember of which times damage has taken samples; that needs no hurry.

    Before the segment is let go of, the manifest is saved.
    """
    manifest = state.manifest
    later = segment.path.with_name(f"{segment.number + 1:010d}.wal")
    files = state.machine.files
    lost = []
    for found in check_segment(segment.path, later if files.exists(later) else None, files):
        if isinstance(found, Finding):
            state.machine.cache.notes.note(found)
            first_ms, last_ms = found.times_ms or (NEVER_MS, FOREVER_MS)
            in_blocks = (
                segment.number <= manifest.wal_through and last_ms < manifest.sealed_until_ms
            )
            if found.is_loss and not in_blocks:
                file = f"{segment.path.parent.name}/{segment.path.name}"
                lost.append(Lost(file, first_ms, last_ms, str(found)))
    state.manifest = replace(manifest, lost=tuple(dict.fromkeys((*manifest.lost, *lost))))


def _append(state: State, samples: Samples, through: int) -> None:
    """Appends *samples* of the segment behind *through*, with a seal where they need room."""
    head = state.head
    _make_room(state, through)
    try:
        head.reserve(len(samples.series))
    except HeadFull:
        if state.machine.read_only:
            raise StorageError(
                f"the log in {state.directory} is too large to be read into memory"
            ) from None
        seal.seal_replayed(state, through)
        head.reserve(len(samples.series))
    head.append(samples)
    head.release_reserve()
    state.replayed.samples += len(samples.series)


def _make_room(state: State, through: int) -> None:
    is_full = state.machine.arena.used_share > state.options.max_used_share
    if is_full and not state.machine.read_only:
        seal.seal_replayed(state, through)


def _segment(state: State, segment: Segment) -> Iterator[Samples]:
    """The samples of one segment, record by record, by the head's series."""
    series_of = np.zeros(0, dtype=np.int32)
    for sections in state.wal.replay(segment, state.replayed, state.machine.progress):
        entries = None
        for section in sections:
            if section.kind == records.SERIES:
                new = records.decode_series(section.content)
                series_of = _extended(series_of, new.first_id, _register(state.head, new))
            elif section.kind == records.ENTRIES:
                entries = records.decode_entries(section.content)
            elif section.kind == records.EXEMPLARS and segment.number > state.exemplars_through:
                logged_exemplars = records.decode_exemplars(section.content)
                state.exemplars.add(_named(series_of, logged_exemplars, state.head))
            elif section.kind == records.SAMPLES:
                logged = records.decode_samples(section.content)
                segment.max_time_ms = max(segment.max_time_ms, int(logged.times.max()))
                yield _known(series_of, logged, entries, state)
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
    unknown = ids < 0
    if unknown.any():
        try:
            head.register(batch, ids, fingerprints)
        except ValueError as error:
            log.warning("the log names series that cannot be, which are left out: %s", error)
            ids[unknown] = -1
    return ids


def _extended(
    series_of: NDArray[np.int32], first_id: int, ids: NDArray[np.int32]
) -> NDArray[np.int32]:
    """*series_of* with *ids* from *first_id* on; ids that damage took from between stay -1."""
    lost = np.full(max(0, first_id - len(series_of)), -1, dtype=np.int32)
    return np.concatenate([series_of[:first_id], lost, ids])


def _known(
    series_of: NDArray[np.int32], logged: LoggedSamples, entries: Entries | None, state: State
) -> Samples:
    ids = logged.ids.astype(np.int64)
    named = ids < len(series_of)
    series = np.full(len(ids), -1, dtype=np.int32)
    series[named] = series_of[ids[named]]
    bits = logged.bits
    if entries is None:
        bits, entries = box_bits(bits)
    samples = Samples(series, logged.times, bits, entries)
    known = series >= 0
    if known.all():
        return samples
    state.replayed.lost_samples += len(ids) - int(np.count_nonzero(known))
    return samples.take(known)


def _named(series_of: NDArray[np.int32], logged: LoggedExemplars, head: Head) -> list[Kept]:
    """The exemplars whose series was not named in a damaged record."""
    ids = logged.ids.tolist()
    series = [int(series_of[at]) if at < len(series_of) else -1 for at in ids]
    keys = [head.registry.key(one) if one >= 0 else b"" for one in series]
    return [one for one, at in zip(logged.named(keys), series, strict=True) if at >= 0]


def _collected(parts: Iterator[Samples], sealed_until_ms: int, most: int) -> Iterator[Samples]:
    """The samples from *sealed_until_ms* on, joined and cut to at most *most*."""
    waiting: list[Samples] = []
    count = 0
    for part in parts:
        left = part
        if sealed_until_ms > NEVER_MS:
            left = part.take(part.times >= sealed_until_ms)
        waiting.append(left)
        count += len(left.series)
        if count >= most:
            yield from _slices(join_samples(waiting), most)
            waiting, count = [], 0
    if count:
        yield join_samples(waiting)


def _slices(samples: Samples, most: int) -> Iterator[Samples]:
    for start in range(0, len(samples.series), most):
        yield samples.take(slice(start, start + most))

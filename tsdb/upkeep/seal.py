"""Seal: from the head into blocks, and blocks out of the retention.

A seal up to time T takes all samples before T from the head: those since the last seal into an
in-order block, earlier ones, which came late, into a late block; where they are of many days, into
several (see ``tsdb/upkeep/cuts.py``). The log is closed at the freeze,
so everything in segments up to that one and before T is in blocks; that is all the manifest says.
Samples before T that arrive after the freeze are late: they stay in the head until the next seal.
"""

import itertools
import logging
import time
from dataclasses import replace

import numpy as np

from tsdb.block.format import BlockMeta
from tsdb.block.writer import BlockWriter
from tsdb.head.snapshot import HeadSnapshot
from tsdb.sample import exemplar_file
from tsdb.sample.exemplar_file import Saved
from tsdb.state import State
from tsdb.upkeep import cuts, retention
from tsdb.upkeep.merge_plan import Rules
from tsdb.view.part import NEVER_MS

log = logging.getLogger("o11y.storage")

_LARGE_HEAD = 256
"""A head with one of so many parts of the arena or of the room for pools is worth a seal for its
memory."""


def maintain(state: State) -> None:
    """One round: seals what is due, then drops blocks older than the retention."""
    try:
        while (until_ms := finished_window(state)) is not None:
            seal(state, until_ms)
        seal_doubtful(state)
        # Once a round only: what is sealed may not be free before its readers are gone.
        until_ms = overfull(state)
        if until_ms is None:
            until_ms = crowded(state)
        if until_ms is not None:
            seal(state, until_ms)
    except OSError:
        state.counters.seal_failures += 1
        raise
    retention.drop_expired(state)
    with state.commit:
        if state.is_idle:
            state.wal.close_segment()


def finished_window(state: State) -> int | None:
    """The end of the head's first window, where it is due; None where not.

    It is due once there are samples half a window after its end, as in Prometheus.
    """
    head, range_ms = state.head, state.options.block_range_ms
    if head.first_ms > head.max_time_ms:
        return None
    newest_ms = head.max_time_ms
    if state.is_idle:
        newest_ms = max(newest_ms, state.machine.clock.believed_ms)
    window_end_ms = (head.first_ms // range_ms + 1) * range_ms
    return window_end_ms if newest_ms >= window_end_ms + range_ms // 2 else None


def overfull(state: State) -> int | None:
    """The time up to which the head must be sealed although no window is due, or None."""
    head, options = state.head, state.options
    has_samples = head.first_ms <= head.max_time_ms
    arena = state.machine.arena
    is_large = (
        head.page_count * _LARGE_HEAD >= arena.capacity_pages
        or head.pool_bytes * _LARGE_HEAD >= arena.pool_capacity_bytes
    )
    if has_samples and (head.starved or (is_large and arena.used_share > options.max_used_share)):
        return head.max_time_ms + 1
    most_late = 0 if state.is_idle and not has_samples else options.max_late_samples
    if head.late_count <= most_late:
        return None
    hidden = head.hidden_late_count
    return head.visible_from_ms if 2 * hidden > head.late_count else head.max_time_ms + 1


def crowded(state: State) -> int | None:
    """The time up to which the head must be sealed so that silent series can leave it, or None.

    Where programs are replaced all the time, most series of a window fall silent long before its
    end. They go sooner where little memory is left for what is known of series.
    """
    head, options = state.head, state.options
    silent_ms, share, least = options.silent_ms, 2, options.min_silent_series
    if state.machine.arena.table_share > options.max_used_share:
        silent_ms, share, least = silent_ms // 5, 3, options.min_empty_series
    until_ms = head.max_time_ms - silent_ms
    if until_ms <= head.first_ms or until_ms < head.visible_from_ms + silent_ms:
        return None
    if head.series_count < least:
        return None
    silent = head.silent_series(until_ms)
    return until_ms if silent >= least and silent * share > head.series_count else None


def seal(state: State, until_ms: int) -> None:
    """Seals up to *until_ms*; OSError leaves all as it was, the samples in the head."""
    began = time.monotonic()
    with state.commit:
        state.wal.close_segment()
        through = state.wal.last_number
        saved = Saved(through, state.exemplars.all())
        with state.publish:
            frozen = state.head.freeze(until_ms)
    _write(state, frozen, until_ms, through)
    begin = 0
    while begin < state.head.series_count:
        with state.commit, state.publish:
            begin = state.head.drop_hidden(begin)
    remove_covered(state, saved)
    forget_empty_series(state)
    state.counters.seals += 1
    state.counters.seal_seconds += time.monotonic() - began


def seal_doubtful(state: State) -> None:
    """Seals all that there is where a sync of the log has failed after it was acknowledged."""
    if state.wal.is_doubtful(state.manifest.wal_through, state.manifest.sealed_until_ms):
        seal_all(state)


def end_log(state: State) -> None:
    """Closes the log for good; raises nothing, since nobody could try again."""
    with state.commit:
        state.wal.close_segment()
    try:
        seal_doubtful(state)
    except OSError as error:
        log.error(
            "%s: the last sync of the log failed, and so did a seal (%s): "
            "a power failure may take what was acknowledged last",
            state.directory, error,
        )  # fmt: skip


def seal_all(state: State) -> None:
    """Seals all that the log holds; as ``seal``."""
    if state.wal.segments:
        seal(state, max(state.head.max_time_ms + 1, state.head.visible_from_ms))


def seal_replayed(state: State, through: int) -> None:
    """Seals all that was replayed so far, before anybody else looks.

    That is all of the segments up to *through*, and may be a part of the next one.
    """
    if state.head.max_time_ms == NEVER_MS:
        return
    until_ms = max(state.head.max_time_ms + 1, state.head.visible_from_ms)
    _write(state, state.head.freeze(until_ms), until_ms, through)
    begin = 0
    while begin < state.head.series_count:
        begin = state.head.drop_hidden(begin)


def _write(state: State, frozen: HeadSnapshot, until_ms: int, through: int) -> None:
    """Writes the blocks, commits the manifest, and puts the blocks in the samples' place."""
    options = state.options
    range_ms = Rules.of(options.block_range_ms, options.retention_ms).window_ranges_ms[-1]
    first_sequence = state.next_sequence
    metas: list[BlockMeta] = []
    try:
        for start_ms, end_ms in cuts.late_spans(frozen, range_ms):
            metas += _block_of(state, frozen, start_ms, end_ms, late=True)
        for start_ms, end_ms in cuts.spans(frozen, until_ms, range_ms):
            metas += _block_of(state, frozen, start_ms, end_ms, late=False)
        # Writes go on: nobody else saves the manifest of a tenant that has one.
        state.save_manifest(
            replace(
                state.manifest,
                blocks=(*state.manifest.blocks, *metas),
                wal_through=through,
                sealed_until_ms=until_ms,
            )
        )
        with state.commit, state.publish:
            state.exchange_blocks((*state.blocks, *map(state.open_block, metas)))
            state.head.hide_sealed(frozen, until_ms)
    except OSError:
        state.discard_blocks_from(first_sequence)
        raise


def _block_of(
    state: State, frozen: HeadSnapshot, start_ms: int, end_ms: int, *, late: bool
) -> list[BlockMeta]:
    batches = frozen.batches_between(start_ms, end_ms)
    first = next(batches, None)
    if first is None:
        return []
    files = state.machine.files
    files.mkdir(state.blocks_directory)
    sequence, seed = state.take_sequence(), state.manifest.seed
    writer = BlockWriter(state.blocks_directory, sequence, late=late, seed=seed, files=files)
    try:
        for batch in itertools.chain([first], batches):
            writer.add(batch)
        return [writer.finish()]
    except BaseException:
        writer.abandon()
        raise


def remove_covered(state: State, saved: Saved) -> None:
    """Deletes the segments of the log whose samples all stand in blocks.

    Before that the exemplars that *saved* has of these segments are put aside. Writes go on
    meanwhile: deleting a large file takes its time.
    """
    with state.commit:
        covered = state.wal.covered(state.manifest.wal_through, state.manifest.sealed_until_ms)
    if covered and saved.exemplars:
        exemplar_file.save(state.directory, saved, state.machine.files)
        state.exemplars_through = saved.through
    for segment in covered:
        state.wal.remove(segment)


def forget_empty_series(state: State) -> None:
    """Renumbers the head's series without the empty ones, where these are more than a third.

    The log then names series anew, in a new segment. Writes go on until the last moment.
    """
    with state.publish:
        empty = state.head.empty_series()
    kept = np.flatnonzero(~empty)
    gone = len(empty) - len(kept)
    if gone >= state.options.min_empty_series and 2 * gone > len(kept):
        registry, index = state.head.renumbered(kept)
        with state.commit:
            state.wal.close_segment()
            with state.publish:
                state.head.forget_all_but(kept, registry, index)

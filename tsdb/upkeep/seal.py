"""Seal: from the head into blocks, and blocks out of the retention.

A seal up to time T takes all samples before T from the head: those since the last seal into an
in-order block, earlier ones, which came late, into a late block. The log is closed at the freeze,
so everything in segments up to that one and before T is in blocks; that is all the manifest says.
Samples before T that arrive after the freeze are late: they stay in the head until the next seal.
"""

import time
from dataclasses import replace

import numpy as np

from tsdb.block.format import BlockMeta
from tsdb.block.writer import write_block
from tsdb.head.snapshot import HeadSnapshot
from tsdb.sample import exemplar_file
from tsdb.sample.exemplar_file import Saved
from tsdb.state import State
from tsdb.view.part import NEVER_MS

_LARGE_HEAD = 256
"""A head with one of so many parts of the arena or of the room for pools is worth a seal for its
memory."""


def maintain(state: State) -> None:
    """One round: seals what is due, then drops blocks older than the retention."""
    try:
        while (until_ms := finished_window(state)) is not None:
            seal(state, until_ms)
        # Once a round only: what is sealed may not be free before its readers are gone.
        if (until_ms := overfull(state)) is not None:
            seal(state, until_ms)
    except OSError:
        state.counters.seal_failures += 1
        raise
    drop_old_blocks(state)
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
        newest_ms = max(newest_ms, state.machine.now_ms())
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
    sealed_before_ms = frozen.visible_from_ms
    first_sequence = state.next_sequence
    metas: list[BlockMeta] = []
    try:
        if sealed_before_ms > NEVER_MS:
            metas += _block_of(state, frozen, NEVER_MS, sealed_before_ms - 1, late=True)
        metas += _block_of(state, frozen, sealed_before_ms, until_ms - 1, late=False)
        with state.commit:
            state.save_manifest(
                replace(
                    state.manifest,
                    blocks=(*state.manifest.blocks, *metas),
                    wal_through=through,
                    sealed_until_ms=until_ms,
                )
            )
            with state.publish:
                state.blocks = (*state.blocks, *map(state.open_block, metas))
                state.head.hide_sealed(frozen, until_ms)
    except OSError:
        state.discard_blocks_from(first_sequence)
        raise


def _block_of(
    state: State, frozen: HeadSnapshot, start_ms: int, end_ms: int, *, late: bool
) -> list[BlockMeta]:
    batch, fingerprints = frozen.rows_between(start_ms, end_ms)
    if not batch.sample_count:
        return []
    files = state.machine.files
    files.mkdir(state.blocks_directory)
    sequence = state.take_sequence()
    return [
        write_block(state.blocks_directory, sequence, batch, fingerprints, late=late, files=files)
    ]


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
    """Renumbers the head's series without the empty ones, where these are most.

    The log then names series anew, in a new segment. Writes go on until the last moment.
    """
    with state.publish:
        empty = state.head.empty_series()
    kept = np.flatnonzero(~empty)
    gone = len(empty) - len(kept)
    if gone >= state.options.min_empty_series and gone > len(kept):
        registry, index = state.head.renumbered(kept)
        with state.commit:
            state.wal.close_segment()
            with state.publish:
                state.head.forget_all_but(kept, registry, index)


def drop_old_blocks(state: State) -> None:
    """Drops the blocks whose samples all are older than the retention.

    Their files go once the last reader has let go of them.
    """
    oldest_ms = state.oldest_ms
    old = [block for block in state.blocks if block.max_time_ms < oldest_ms]
    if not old:
        return
    kept = tuple(block for block in state.blocks if block.max_time_ms >= oldest_ms)
    with state.commit:
        state.save_manifest(replace(state.manifest, blocks=tuple(block.meta for block in kept)))
        with state.publish:
            state.blocks = kept
    state.counters.dropped_blocks += len(old)
    for block in old:
        block.remove_when_unused()

"""Seal: from the head into blocks, and blocks out of the retention.

A seal up to time T takes all samples before T from the head: those since the last seal into an
in-order block, earlier ones, which came late, into a late block. The log is closed at the freeze,
so everything in segments up to that one and before T is in blocks; that is all the manifest says.
Samples before T that arrive after the freeze are late: they stay in the head until the next seal.
"""

from dataclasses import replace

import numpy as np

from tsdb.block_format import BlockMeta
from tsdb.block_writer import write_block
from tsdb.head import NEVER_MS, HeadSnapshot
from tsdb.state import State


def maintain(state: State) -> None:
    """One round: seals what is due, then drops blocks older than the retention."""
    try:
        while (until_ms := due(state)) is not None:
            seal(state, until_ms)
    except OSError:
        state.counters.seal_failures += 1
        raise
    drop_old_blocks(state)
    with state.commit:
        if state.machine.now_ms() - state.last_append_ms > state.options.idle_ms:
            state.wal.close_segment()
            state.head.release_reserve()


def due(state: State) -> int | None:
    """The time up to which the head should be sealed now, None where nothing is due.

    A window is due once there are samples half a window after its end, as in Prometheus.
    """
    head, options = state.head, state.options
    first_ms, newest_ms = head.first_ms, head.max_time_ms
    now_ms = state.machine.now_ms()
    if now_ms - state.last_append_ms > options.idle_ms:
        newest_ms = max(newest_ms, now_ms)
    if first_ms <= head.max_time_ms:
        window_end_ms = (first_ms // options.block_range_ms + 1) * options.block_range_ms
        if newest_ms >= window_end_ms + options.block_range_ms // 2:
            return window_end_ms
        if state.machine.arena.used_share > options.max_used_share:
            return head.max_time_ms + 1
    if head.late_count > options.max_late_samples and head.visible_from_ms > NEVER_MS:
        return head.visible_from_ms
    return None


def seal(state: State, until_ms: int) -> None:
    """Seals up to *until_ms*; OSError leaves all as it was, the samples in the head."""
    with state.commit:
        state.wal.close_segment()
        through = state.wal.last_number
        with state.publish:
            frozen = state.head.freeze(until_ms)
    _write(state, frozen, until_ms, through)
    begin = 0
    while begin < state.head.series_count:
        with state.commit, state.publish:
            begin = state.head.drop_hidden(begin)
    with state.commit:
        remove_covered(state)
        forget_empty_series(state)
    state.counters.seals += 1


def seal_replayed(state: State, through: int) -> None:
    """Seals all that was replayed of the segments up to *through*, before anybody else looks."""
    until_ms = state.head.max_time_ms + 1
    _write(state, state.head.freeze(until_ms), until_ms, through)
    begin = 0
    while begin < state.head.series_count:
        begin = state.head.drop_hidden(begin)


def _write(state: State, frozen: HeadSnapshot, until_ms: int, through: int) -> None:
    """Writes the blocks, commits the manifest, and puts the blocks in the samples' place."""
    sealed_before_ms = frozen.visible_from_ms
    late = []
    if sealed_before_ms > NEVER_MS:
        late = _block_of(state, frozen, NEVER_MS, sealed_before_ms - 1, late=True)
    metas = late + _block_of(state, frozen, sealed_before_ms, until_ms - 1, late=False)
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


def _block_of(
    state: State, frozen: HeadSnapshot, start_ms: int, end_ms: int, *, late: bool
) -> list[BlockMeta]:
    batch, fingerprints = frozen.rows_between(start_ms, end_ms)
    if not batch.sample_count:
        return []
    files = state.machine.files
    files.mkdir(state.blocks_directory)
    sequence = state.next_sequence()
    return [
        write_block(state.blocks_directory, sequence, batch, fingerprints, late=late, files=files)
    ]


def remove_covered(state: State) -> None:
    """Deletes the segments of the log whose samples all stand in blocks."""
    manifest = state.manifest
    state.wal.remove(
        [
            segment
            for segment in state.wal.segments
            if segment.number <= manifest.wal_through
            and segment.max_time_ms < manifest.sealed_until_ms
        ]
    )


def forget_empty_series(state: State) -> None:
    """Renumbers the head's series without the empty ones, where these are most.

    The log then names series anew, in a new segment.
    """
    empty = int(np.count_nonzero(state.head.empty_series()))
    if empty >= state.options.min_empty_series and 2 * empty > state.head.series_count:
        state.wal.close_segment()
        with state.publish:
            state.head.forget_empty_series()


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

"""Retention: blocks that are dropped because they are too old, or because there is too much.

By age a block goes when its last sample is older than the retention, by the believed clock (see
``tsdb/clock.py``). By size the oldest blocks of all tenants go first.
"""

import logging
from collections.abc import Collection
from dataclasses import replace

from tsdb.deletion import still_needed
from tsdb.state import State

log = logging.getLogger("o11y.storage")


def drop_expired(state: State) -> None:
    """Drops the blocks whose samples all are older than the retention."""
    oldest_ms = state.oldest_ms
    drop(state, {block.sequence for block in state.blocks if block.max_time_ms < oldest_ms})


def held_blocks(state: State) -> int:
    """How many blocks would be dropped for their age if the wall clock were believed."""
    options, clock = state.options, state.machine.clock
    if not options.retention_ms or not clock.is_doubted:
        return 0
    wall_ms = state.machine.now_ms() - options.retention_ms
    return sum(state.oldest_ms <= block.max_time_ms < wall_ms for block in state.blocks)


def drop(state: State, sequences: Collection[int]) -> None:
    """Drops the blocks of these *sequences*; their files go once the last reader has.

    OSError where the disk refuses; then they are still there.
    """
    gone = [block for block in state.blocks if block.sequence in sequences]
    if not gone:
        return
    kept = tuple(block for block in state.blocks if block.sequence not in sequences)
    metas = tuple(block.meta for block in kept)
    deletions = still_needed(state.manifest.deletions, metas)
    state.save_manifest(replace(state.manifest, blocks=metas, deletions=deletions))
    with state.publish:
        state.blocks = kept
    state.counters.dropped_blocks += len(gone)
    for block in gone:
        block.remove_when_unused()

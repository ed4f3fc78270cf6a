"""Merging: blocks into one, as ``merge_plan`` wants it, some hundred thousand samples at a time.

The sources are read without what was deleted of them and without what is older than the retention.
They count until the manifest lists the new block in their place, and stay on disk until their last
reader has gone. A merge that ends before that, for whatever reason, leaves nothing behind.
"""

import logging
import time
from collections.abc import Generator, Sequence
from dataclasses import replace

from series.ports import StorageError
from tsdb.block.block import Block
from tsdb.block.format import BlockMeta
from tsdb.block.layout import FinishedGroups
from tsdb.block.writer import BlockWriter
from tsdb.deletion import still_needed
from tsdb.state import State
from tsdb.upkeep.merge_plan import MergePlan, Rules, plan_merge
from tsdb.upkeep.merge_rows import MergedRows, Source
from tsdb.view.part import PartLost
from tsdb.view.undeleted import Undeleted

log = logging.getLogger("o11y.storage")

_FRAME_BYTES = 32 << 20
"""What a merge keeps of the frames of all its sources."""
_ROW_BYTES = 256
"""More than a series takes in the index of a block."""
_FOREVER_MS = 2**63 - 1
_FIRST_WAIT_SECONDS = 10.0
_LONGEST_WAIT_SECONDS = 3600.0


class Merger:
    """The merges of one database, one at a time.

    Whoever calls holds the lock of its upkeep, but for ``stop``. Between calls seals may add
    blocks, and blocks that are being merged may be dropped; then the merge is given up.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._running: Generator[None, None, None] | None = None
        self._nothing_due: object = None
        self._failures = 0
        self._wait_until_seconds = 0.0
        self._stopped = False
        self.is_reserved = False
        """While somebody else says what is merged, ``advance`` does nothing."""

    @property
    def is_running(self) -> bool:
        """Whether a merge is under way."""
        return self._running is not None

    def advance(self, until_seconds: float) -> bool:
        """Merges what is due until ``time.monotonic()`` is *until_seconds*, or all is done.

        Returns whether a merge is under way then. OSError or StorageError where the disk refuses,
        or the data: the sources stay, and it is tried again after a while.
        """
        if self.is_reserved:
            return False
        while not self._stopped and (self._running is not None or self._begin()):
            self.step()
            if time.monotonic() >= until_seconds:
                break
        return self._running is not None

    def begin(self, plan: MergePlan) -> None:
        """Begins to carry out *plan*, in the place of what was under way."""
        self.abandon()
        self._running = self._merging(plan)

    def step(self) -> None:
        """Goes on with what is under way, for some milliseconds; raises as ``advance``."""
        running, began = self._running, time.monotonic()
        if running is None:
            return
        self._running = None
        counters = self._state.counters
        try:
            next(running)
            self._running = running
        except StopIteration:
            self._failures = 0
        except PartLost as error:
            # The block says so from now on, and is left alone.
            counters.merge_failures += 1
            log.error("a merge was given up: %s", error)
        except (OSError, StorageError):
            counters.merge_failures += 1
            self._wait()
            raise
        finally:
            counters.merge_seconds += time.monotonic() - began

    def abandon(self) -> None:
        """Gives up what is under way; nothing is left of it."""
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def stop(self) -> None:
        """From now on nothing is begun, and ``advance`` returns as soon as it can."""
        self._stopped = True

    def _begin(self) -> bool:
        """Begins with what is due; False where nothing is, or it must wait."""
        state = self._state
        if state.machine.monotonic() < self._wait_until_seconds:
            return False
        options = state.options
        complete_ms = state.manifest.sealed_until_ms
        if state.is_idle:
            complete_ms = max(complete_ms, state.machine.clock.earliest_ms)
        asked = (
            state.manifest.blocks, state.manifest.deletions, complete_ms // options.block_range_ms
        )  # fmt: skip
        if asked == self._nothing_due:
            return False
        most_rows = state.machine.cache.indexes.max_bytes // (2 * _ROW_BYTES)
        rules = Rules.of(options.block_range_ms, options.retention_ms, most_rows)
        blocks, deletions, _ = asked
        lost = {block.sequence for block in state.blocks if block.lost}
        plan = plan_merge(blocks, deletions, complete_ms, rules, lost)
        if plan is None:
            self._nothing_due = asked
            return False
        if not state.machine.space.has_room(plan.size_bytes):
            state.counters.merge_skipped += 1
            self._wait()
            return False
        self._running = self._merging(plan)
        return True

    def _wait(self) -> None:
        """The more attempts have failed, the longer the next one waits."""
        seconds = min(_FIRST_WAIT_SECONDS * 2**self._failures, _LONGEST_WAIT_SECONDS)
        self._wait_until_seconds = self._state.machine.monotonic() + seconds
        self._failures = min(self._failures + 1, 16)

    def _merging(self, plan: MergePlan) -> Generator[None, None, None]:
        state = self._state
        numbers = {meta.sequence for meta in plan.sources}
        blocks = tuple(block for block in state.blocks if block.sequence in numbers)
        sequence = state.take_sequence()
        frame_bytes = _FRAME_BYTES // len(blocks)
        rows = MergedRows([_source(state, block, frame_bytes) for block in blocks])
        writer: BlockWriter | None = None
        meta: BlockMeta | None = None
        try:
            yield from rows.unify()
            for slab in rows.slabs(state.oldest_ms, _FOREVER_MS):
                if writer is None:
                    writer = BlockWriter(
                        state.blocks_directory, sequence,
                        late=all(block.meta.late for block in blocks),
                        seed=state.manifest.seed,
                        sources=tuple(sorted(numbers)), rank=plan.rank,
                        files=state.machine.files,
                    )  # fmt: skip
                if isinstance(slab, FinishedGroups):
                    writer.add_finished(slab)
                else:
                    writer.add(slab)
                yield
            meta = writer.finish() if writer is not None else None
            yield
            done = _switch(state, blocks, meta)
        except BaseException:
            _discard(state, writer, meta, sequence)
            raise
        if not done:
            _discard(state, writer, meta, sequence)
            return
        state.counters.merges += 1
        state.counters.merge_written_bytes += meta.size_bytes if meta is not None else 0


def _source(state: State, block: Block, frame_bytes: int) -> Source:
    apart = block.apart(frame_bytes)
    deletions = tuple(one for one in state.manifest.deletions if one.hits(block))
    if not deletions:
        return Source(apart, apart)
    return Source(apart, Undeleted(apart, deletions, state.machine.cache.indexes))


def _switch(state: State, sources: Sequence[Block], meta: BlockMeta | None) -> bool:
    """Puts the block of *meta*, if any, in the place of *sources*; False where one has gone."""
    gone = {block.sequence for block in sources}
    lost = tuple(one for block in sources for one in block.losses())
    kept = tuple(block for block in state.blocks if block.sequence not in gone)
    if len(kept) + len(sources) != len(state.blocks):
        return False
    new = () if meta is None else (state.open_block(meta),)
    blocks = tuple(sorted((*kept, *new), key=lambda block: block.sequence))
    metas = tuple(block.meta for block in blocks)
    state.save_manifest(
        replace(
            state.manifest,
            blocks=metas,
            deletions=still_needed(state.manifest.deletions, metas),
            lost=(*state.manifest.lost, *lost),
        )
    )
    # Nothing was left out: neither deleted, nor expired, nor damaged, nor twice there.
    is_same = meta is not None and meta.samples == sum(one.meta.samples for one in sources)
    with state.publish:
        if is_same:
            state.exchange_blocks(blocks)
        else:
            state.blocks = blocks
    for file in dict.fromkeys(one.file for one in lost):
        state.counters.merge_damaged_blocks += 1
        log.error(
            "%s in %s was merged as far as it is sound, and goes to quarantine",
            file,
            state.directory,
        )
    for block in sources:
        block.remove_when_unused()
    return True


def _discard(
    state: State, writer: BlockWriter | None, meta: BlockMeta | None, sequence: int
) -> None:
    """Removes what a merge has written; of a finished one not where a manifest on disk lists it.

    What cannot be removed now is removed when the tenant is opened.
    """
    if writer is None or meta is not None:
        state.discard_blocks([sequence])
        return
    try:
        writer.abandon()
    except OSError as error:
        log.warning("what a merge has left of block %d stays for now: %s", sequence, error)

"""Deletions: samples that are out of sight at once, and off the disk with the next merges.

A deletion hits samples in blocks only, and only in those that are there when it is made: first all
that is in memory is sealed. So what is written afterwards, be it of the same times, is new, and the
log holds nothing of what was deleted.
"""

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace

from series.matcher import Matcher
from series.ports import Hints
from tsdb.block.format import BlockMeta
from tsdb.deletion import Deletion, still_needed
from tsdb.state import State
from tsdb.upkeep.merge import Merger
from tsdb.upkeep.merge_plan import MergePlan
from tsdb.upkeep.seal import seal_all
from tsdb.view.undeleted import Undeleted
from tsdb.view.view import View

_TURN_SECONDS, _PAUSE_SECONDS = 0.2, 0.001
_DONE = object()


def delete(state: State, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> int:
    """Deletes the samples from *start_ms* to *end_ms* (both included) of the series that satisfy
    all *matchers*; how many series that may be. Durable when it returns.

    OSError where the disk refuses: then nothing was deleted. StorageError where data cannot be
    read.
    """
    seal_all(state)
    view = View(state.parts, state.machine.maps)
    series = view.resolve(matchers, Hints(start_ms, end_ms)).frame.size
    if not series:
        return 0
    deletion = Deletion.of(matchers, start_ms, end_ms, state.next_sequence - 1)
    kept = [one for one in state.manifest.deletions if not deletion.covers(one)]
    _save(state, (*kept, deletion))
    state.counters.deletions += 1
    return series


def rewritten(state: State, merger: Merger) -> Generator[None, None, None]:
    """Writes every block anew of which something was deleted, one after the other, bit by bit;
    then no deletion is left of those that there were. OSError also where there is no room for it.

    Raises as ``Merger.step``; what was done by then stays done.
    """
    deletions = state.manifest.deletions
    merger.is_reserved = True
    try:
        for sequence in [block.sequence for block in state.blocks]:
            meta = next((meta for meta in _hit(state) if meta.sequence == sequence), None)
            if meta is None:
                continue
            if not state.machine.space.has_room(meta.size_bytes):
                raise state.machine.space.low()
            merger.begin(MergePlan((meta,), meta.rank))
            while merger.is_running:
                merger.step()
                yield
    finally:
        merger.abandon()
        merger.is_reserved = False
    left = _hit(state)
    _save(
        state,
        tuple(
            one
            for one in state.manifest.deletions
            if one not in deletions or any(one.hits(meta) for meta in left)
        ),
    )


def _hit(state: State) -> list[BlockMeta]:
    """The blocks that hold series of which something was deleted."""
    return [
        part.block.meta
        for part in state.parts.parts
        if isinstance(part, Undeleted) and part.takes_any
    ]


def take_turns(
    steps: Generator[None, None, None], turn: threading.Lock, check: Callable[[], object]
) -> None:
    """Takes all *steps* under the lock *turn*, which others get in between.

    *check* raises where they must end.
    """
    is_done = False
    try:
        while not is_done:
            with turn:
                until_seconds = time.monotonic() + _TURN_SECONDS
                while not is_done and time.monotonic() < until_seconds:
                    check()
                    is_done = next(steps, _DONE) is _DONE
            time.sleep(_PAUSE_SECONDS)
    finally:
        with turn:
            steps.close()


def _save(state: State, deletions: tuple[Deletion, ...]) -> None:
    """Makes *deletions* those that count."""
    needed = still_needed(deletions, state.manifest.blocks)
    if needed != state.manifest.deletions:
        state.save_manifest(replace(state.manifest, deletions=needed))
        with state.publish:
            state.blocks = state.blocks

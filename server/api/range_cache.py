"""RangeCache: range answers that are kept, so that a dashboard that slides on computes few steps.

An answer from here is, byte for byte, what the whole evaluation would give. Steps are kept of
queries that are known to be step-local (``promql/step_local.py``), with the version of the data
that they were computed from (``tsdb/changes.py``); a step counts as long as no sample that could
matter to it has changed. Whatever is out of the ordinary, be it a note, an error, damage or native
histograms, is computed as a whole and not kept.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from time import thread_time
from typing import NamedTuple

from promql.aggregate import group_labels
from promql.answer import Answer
from promql.ast import ValueType
from promql.engine import Engine
from promql.env import QueryTimes
from promql.matrix import Matrix
from promql.notes import ExecutionError
from promql.operators import select_hints
from promql.parser import parse
from promql.plan import make_plan
from promql.step_local import StepLocal, step_local
from series.grid import Grid
from series.labels import METADATA_LABELS, METRIC_NAME
from series.matcher import Matcher
from series.ports import Context, Hints, Selection, Source, StorageError, TooManySamples
from server.api.range_steps import Known, Piece, Watched, compact, joined, size_bytes
from server.http import dumps
from tsdb.changes import Changes
from tsdb.lru import Lru

LEAST_SECONDS = 0.001
"""An answer that took less of its thread's processor time is not kept, as it may again."""
_LEAST_SHARE = 4
"""One of so many steps at least must be there, else all are computed."""
_MAX_SHARE = 4
"""One of so many parts of the cache is the most that an answer may take."""
_MAX_CHARACTERS = 10_000
_MAX_GROUPS = 10_000
_MAX_KNOWN = 4096


class Key(NamedTuple):
    """What an answer depends on besides data and times; ``phase_ms`` is that of its steps."""

    tenant: str
    scope: tuple[Matcher, ...]
    query: str
    lookback_ms: int
    step_ms: int
    phase_ms: int


class Moment(NamedTuple):
    """Which data an answer was made of: what stood there when ``changes`` had the *version*, and
    so many places of damage were known."""

    changes: Changes
    version: int
    damage: int


@dataclass(frozen=True, slots=True)
class _Kept:
    """``order`` tells how the groups stood where that counts, ``seconds`` what all steps cost."""

    matrix: Matrix
    grid: Grid
    moment: Moment
    order: bytes
    seconds: float


class RangeCache:
    """Answers up to *max_bytes*, those that were used last; 0 is none. For all threads."""

    def __init__(self, max_bytes: int) -> None:
        self._kept: Lru[Key, _Kept] = Lru(max_bytes)
        self._lock = threading.Lock()
        self._slow: dict[Key, bool] = {}
        """Queries that took long: whether their answers can be kept."""
        self.requests = dict.fromkeys(("hit", "partial", "miss"), 0)
        self.reused_steps = 0
        self.outdated_steps = 0

    @property
    def max_bytes(self) -> int:
        return self._kept.max_bytes

    @property
    def size_bytes(self) -> int:
        return self._kept.size_bytes

    def get(self, key: Key) -> _Kept | None:
        return self._kept.get(key)

    def put(self, key: Key, kept: _Kept) -> None:
        size = size_bytes(kept.matrix) + len(key.query)
        if size <= self.max_bytes // _MAX_SHARE:
            self._kept.put(key, kept, size)
        else:
            self._kept.drop(key)

    def drop(self, key: Key) -> None:
        self._kept.drop(key)

    def is_slow_again(self, key: Key) -> bool:
        """Whether *key*, that took long, did so before, and its answer may be one to keep.

        So what is asked once does not take the place of what is asked again and again.
        """
        with self._lock:
            known = self._slow.get(key)
            if known is None and len(key.query) <= _MAX_CHARACTERS:
                if len(self._slow) >= _MAX_KNOWN:
                    del self._slow[next(iter(self._slow))]
                self._slow[key] = True
            return bool(known)

    def never(self, key: Key) -> None:
        """Answers of *key* cannot be kept."""
        self._kept.drop(key)
        with self._lock:
            if key in self._slow:
                self._slow[key] = False

    def count(self, result: str, reused: int = 0, outdated: int = 0) -> None:
        with self._lock:
            self.requests[result] += 1
            self.reused_steps += reused
            self.outdated_steps += outdated


class _NotSoError(Exception):
    """The answer must be computed as a whole."""


@dataclass(frozen=True, slots=True)
class CachedQuery:
    """One query that goes through *cache*.

    ``moment`` was read before the data that it is asked of were frozen; ``is_open`` tells whether
    these are of the database that the moment is of.
    """

    cache: RangeCache
    engine: Engine
    key: Key
    moment: Moment
    is_open: Callable[[Changes], bool]

    def answer(self, source: Source, times: QueryTimes, context: Context) -> Answer:
        """As ``Engine.range``."""
        kept = self.cache.get(self.key)
        if kept is not None and not context.warnings:
            try:
                return self._continued(kept, source, times, context)
            except (_NotSoError, ExecutionError, TooManySamples, StorageError, OSError):
                # Whatever there is to say is said by the whole evaluation.
                context.warnings.clear()
                self.cache.drop(self.key)
        return self._whole(source, times, context)

    # All steps

    def _whole(self, source: Source, times: QueryTimes, context: Context) -> Answer:
        watched = Watched(source)
        began = thread_time()
        answer = self.engine.range(watched, self.key.query, times, context)
        seconds = thread_time() - began
        self.cache.count("miss")
        if seconds >= LEAST_SECONDS and self.cache.is_slow_again(self.key):
            try:
                self._keep(answer, watched, times, context, seconds)
            except (_NotSoError, ExecutionError, StorageError, OSError):
                self.cache.drop(self.key)
        return answer

    def _keep(
        self, answer: Answer, source: Watched, times: QueryTimes, context: Context, seconds: float
    ) -> None:
        matrix = _plain(answer, source)
        local = self._local(times)
        if local is None:
            self.cache.never(self.key)
            return
        selections = _selections(local, source, context)
        order = _order(local, selections)
        _expect(not context.warnings and self.is_open(self.moment.changes))
        matrix = Matrix(compact(matrix.frame), matrix.values.copy(), matrix.present.copy())
        self.cache.put(self.key, _Kept(matrix, answer.grid, self.moment, order, seconds))

    def _local(self, times: QueryTimes) -> StepLocal | None:
        options = self.engine.options
        return step_local(self.key.query, make_plan(parse(self.key.query), times, options), options)

    # Some steps

    def _continued(
        self, kept: _Kept, source: Source, times: QueryTimes, context: Context
    ) -> Answer:
        """The answer of the steps that are *kept* and still hold, and of others computed now."""
        began = thread_time()
        _expect(kept.moment.changes is self.moment.changes)
        _expect(kept.moment.damage == self.moment.damage)
        local, grid = self._local(times), times.grid
        if local is None:
            raise _NotSoError
        selections = _selections(local, source, context)
        _expect(not context.warnings and _order(local, selections) == kept.order)
        ahead = (grid.start_ms - kept.grid.start_ms) // grid.step_ms
        there = range(max(0, -ahead), max(0, -ahead, min(grid.count, kept.grid.count - ahead)))
        held = self._held(kept, grid, there, local.ahead_ms)
        _expect(len(held) * _LEAST_SHARE >= grid.count)
        pieces = [Piece(kept.matrix, slice(held.start + ahead, held.stop + ahead), held.start)]
        for steps in (range(held.start), range(held.stop, grid.count)):
            if steps:
                asked = Watched(source, self._known(local, selections, _part(steps, grid)))
                pieces.append(self._computed(steps, asked, grid, context))
        matrix = joined(pieces, grid.count)
        context.hold(int(matrix.present.sum()))
        context.reused_steps = len(held)
        result = "hit" if len(held) == grid.count else "partial"
        self.cache.count(result, len(held), len(there) - len(held))
        if thread_time() - began > kept.seconds:
            self.cache.drop(self.key)
        else:
            self.cache.put(self.key, replace(kept, matrix=matrix, grid=grid, moment=self.moment))
        return Answer(ValueType.MATRIX, matrix, grid, [], [])

    def _held(self, kept: _Kept, grid: Grid, there: range, ahead_ms: int) -> range:
        """Those of the steps *there* of *grid* that no change reaches, all *kept*.

        Asked after the data were frozen, so whatever these show has been noted.
        """
        earliest_ms = kept.moment.changes.earliest_since(kept.moment.version)
        _expect(self.is_open(kept.moment.changes))
        last = (earliest_ms - 1 - ahead_ms - grid.start_ms) // grid.step_ms
        return range(there.start, max(there.start, min(there.stop, last + 1)))

    def _known(self, local: StepLocal, selections: Sequence[Selection], part: Grid) -> Known:
        """What the leaves of the query over *part* select: the same as over the whole range."""
        of_part = self._local(QueryTimes(part.start_ms, part.end_ms, part.step_ms))
        if of_part is None:
            raise _NotSoError
        known: dict[tuple[tuple[Matcher, ...], int, int], tuple[Selection, float]] = {}
        for leaf, whole, selection in zip(of_part.leaves, local.leaves, selections, strict=True):
            hints, all_hints = select_hints(leaf), select_hints(whole)
            share = (hints.end_ms - hints.start_ms + 1) / (
                all_hints.end_ms - all_hints.start_ms + 1
            )
            key = leaf.matchers, hints.start_ms, hints.end_ms
            _expect(known.setdefault(key, (selection, share))[0].frame is selection.frame)
        return known

    def _computed(self, steps: range, source: Watched, grid: Grid, context: Context) -> Piece:
        """The *steps* of *grid*, computed now."""
        part = _part(steps, grid)
        times = QueryTimes(part.start_ms, part.end_ms, part.step_ms)
        matrix = _plain(self.engine.range(source, self.key.query, times, context), source)
        first = (part.start_ms - grid.start_ms) // grid.step_ms
        return Piece(matrix, slice(steps.start - first, steps.stop - first), steps.start)


def _span_ms(hints: Hints) -> int:
    return hints.end_ms - hints.start_ms + 1


def _part(steps: range, grid: Grid) -> Grid:
    """*steps* of *grid*, and a neighbour of a single one: that would count as an instant."""
    first = min(steps.start, grid.count - 2)
    count = max(steps.stop - first, 2)
    return Grid(grid.start_ms + first * grid.step_ms, grid.step_ms, count)


def _plain(answer: Answer, source: Watched) -> Matrix:
    """The value of *answer*: all floats, made of floats, without notes."""
    _expect(not (answer.warnings or answer.infos or source.has_histograms))
    matrix = answer.value
    if not isinstance(matrix, Matrix) or matrix.histogram_ids is not None:
        raise _NotSoError
    return matrix


def _selections(local: StepLocal, source: Source, context: Context) -> list[Selection]:
    """What the leaves select; each must find series of one name, without types and units."""
    selections = []
    for leaf in local.leaves:
        selection = source.resolve(leaf.matchers, replace(select_hints(leaf), check=context.check))
        for name in METADATA_LABELS:
            column = selection.frame.columns.get(name)
            if column is not None and len(column.codes):
                code = column.codes[0] if name == METRIC_NAME else 0
                _expect(bool((column.codes == code).all()))
        selections.append(selection)
    return selections


def _order(local: StepLocal, selections: Sequence[Selection]) -> bytes:
    """A digest of the order of groups where that counts."""
    digest = blake2b(digest_size=16)
    frames = {id(leaf): one.frame for leaf, one in zip(local.leaves, selections, strict=True)}
    for leaf, node in local.orders:
        labels = group_labels(frames[id(leaf)], node)
        first = labels.group_ids()[1]
        _expect(len(first) <= _MAX_GROUPS)
        digest.update(dumps(labels.take(first).as_dicts()))
    return digest.digest()


def _expect(is_so: bool) -> None:
    if not is_so:
        raise _NotSoError

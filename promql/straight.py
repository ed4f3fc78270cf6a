"""Straight: queries of one selector, or one function of it, that find a single series or none.

Most of what dashboards and rules ask is of this kind, and making a plan and running it takes longer
there than the samples do. The answer is made of the same parts, so it is the same to the bit;
whatever is not plain is left to a Run.
"""

import functools
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from promql.ast import Call, DurationLiteral, Edge, MatrixSelector, Modifiers, Span, VectorSelector
from promql.env import Env, Options, QueryTimes
from promql.lookup import lookup, lookup_row
from promql.matrix import Matrix
from promql.notes import Notes
from promql.parser import MAX_CACHED_CHARACTERS, parse
from promql.rollup import ROLLUPS, Windows
from promql.rollup_kernels import rate_at
from promql.rollup_notes import COUNTER_RATES, note_non_counters
from series.batch import STALE_NAN_BITS, SeriesBatch
from series.frame import LabelFrame
from series.grid import Grid
from series.labels import METADATA_LABELS
from series.matcher import Matcher
from series.ports import Context, Hints, Selection, Source, TooManySamples

Resolved = dict[Hashable, Selection]
"""What selectors have found, by their matchers and hints."""

_ONE_ROW = slice(0, 1)
_POINT, _NO_POINT = np.ones((1, 1), dtype=np.bool_), np.zeros((1, 1), dtype=np.bool_)
_RATES = {"rate": (True, True), "increase": (True, False), "delta": (False, False)}
"""Whether it is of a counter, and by the second."""
_ELSEWHERE = frozenset(("absent_over_time",))
"""Functions that give something where nothing is found."""


@dataclass(frozen=True, slots=True)
class Straight:
    """What a query asks; ``call`` is its function, '' for an instant selector alone.

    ``span`` is that of the selector, times are in milliseconds.
    """

    matchers: tuple[Matcher, ...]
    offset_ms: int
    span: Span
    call: str = ""
    range_ms: int = 0

    def matrix(
        self,
        source: Source,
        times: QueryTimes,
        options: Options,
        context: Context,
        notes: Notes,
        resolved: Resolved,
    ) -> Matrix | None:
        """The rows that have a point, at most one; None where the query must be run.

        *resolved* gets what the selector has found. Raises what a Run does.
        """
        context.check()
        grid = times.grid
        if grid.count > context.max_samples:
            raise TooManySamples(grid.count, context.max_samples)
        ends = grid.shifted(-self.offset_ms)
        hints = self._hints(ends, options, context)
        selection = source.resolve(self.matchers, hints)
        frame = selection.frame
        if frame.size == 0:
            return Matrix.empty(grid.count)
        if frame.size > 1:
            resolved[resolved_key(self.matchers, hints)] = selection
            return None
        batch = selection.read(_ONE_ROW, hints.start_ms, hints.end_ms, context)
        if batch.histogram_ids is not None:
            return None
        context.samples_read += batch.sample_count
        if self.call:
            env = Env(options, notes, context, grid, times, self.span)
            matrix = self._named(self._rolled(frame, batch, ends, grid, context), env)
        elif grid.count == 1:
            return self._point(frame, batch, ends.start_ms, options, context)
        else:
            matrix = lookup(frame, batch, ends.times_ms(), options.lookback_ms)
        present = matrix.present
        points = int(present.item() if present.size == 1 else np.count_nonzero(present))
        context.hold(points)
        return matrix if points else Matrix.empty(grid.count)

    def _hints(self, ends: Grid, options: Options, context: Context) -> Hints:
        window_ms = self.range_ms if self.call else options.lookback_ms
        return Hints(
            ends.start_ms - window_ms + 1,
            ends.end_ms,
            ends.step_ms,
            self.range_ms,
            newest=not self.call and ends.count == 1,
            check=context.check,
        )

    def _point(
        self, frame: LabelFrame, batch: SeriesBatch, end_ms: int, options: Options, context: Context
    ) -> Matrix:
        matrix = lookup_row(frame, batch, end_ms, options.lookback_ms)
        context.hold(0 if matrix is None else 1)
        return Matrix.empty(1) if matrix is None else matrix

    def _rolled(
        self, frame: LabelFrame, batch: SeriesBatch, ends: Grid, evaluated: Grid, context: Context
    ) -> Matrix:
        """The function's values, still with the name of the metric."""
        if ends.count == 1 and self.call in _RATES:
            values, times_ms = batch.values, batch.row_times_ms(0)
            value, count = rate_at(
                values, times_ms, ends.start_ms, self.range_ms, *_RATES[self.call], STALE_NAN_BITS
            )
            if count >= 0:
                context.hold(count)
                return Matrix(frame, np.array([[value]]), _POINT if count > 1 else _NO_POINT)
        ends_ms = ends.times_ms()
        evaluated_ms = evaluated.times_ms() if self.offset_ms else ends_ms
        windows = Windows.over(batch, ends_ms, evaluated_ms, self.range_ms)
        context.hold(windows.largest())
        return Matrix(frame, *ROLLUPS[self.call].over(windows, (), context))

    def _named(self, matrix: Matrix, env: Env) -> Matrix:
        """*matrix* with the names that a function leaves, once it is known what to say of them."""
        if self.call in COUNTER_RATES:
            note_non_counters(matrix, env)
        if ROLLUPS[self.call].keeps_name:
            return matrix
        return Matrix(matrix.frame.drop(METADATA_LABELS), matrix.values, matrix.present)


def resolved_key(matchers: tuple[Matcher, ...], hints: Hints) -> Hashable:
    """What a selector's finds depend on within one query."""
    return matchers, hints.start_ms, hints.end_ms, hints.newest, hints.values


def straight(query: str, options: Options, context: Context) -> Straight | None:
    """What *query* asks, where the way to its answer may be straight; raises ParseError."""
    if options.delayed_name_removal or options.use_start_timestamps:
        return None
    if context.step_samples is not None or len(query) > MAX_CACHED_CHARACTERS:
        return None
    return _straight(query)


@functools.lru_cache(maxsize=4096)
def _straight(query: str) -> Straight | None:
    match parse(query):
        case VectorSelector(edge=Edge.PLAIN) as vector:
            offset_ms = _offset_ms(vector.modifiers)
            if offset_ms is not None:
                return Straight(vector.all_matchers, offset_ms, vector.span)
        case Call(
            name=name,
            args=(
                MatrixSelector(
                    vector=VectorSelector(edge=Edge.PLAIN) as vector,
                    range=DurationLiteral(milliseconds=range_ms),
                    span=span,
                ),
            ),
        ) if name in ROLLUPS and name not in _ELSEWHERE:
            offset_ms = _offset_ms(vector.modifiers)
            if offset_ms is not None:
                return Straight(vector.all_matchers, offset_ms, span, name, range_ms)
    return None


def _offset_ms(modifiers: Modifiers) -> int | None:
    """The offset where that is all there is, and is fixed."""
    if modifiers.at is not None:
        return None
    if modifiers.offset is None:
        return 0
    return modifiers.offset.milliseconds if isinstance(modifiers.offset, DurationLiteral) else None

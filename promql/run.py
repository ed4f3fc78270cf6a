"""Run: one query in evaluation.

``value`` gives the whole value of a plan node. ``rows`` gives a vector in slabs of rows, as they
are decoded, so that an aggregation over a selector never holds all its series at once.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from promql.ahead import ahead
from promql.env import Env, Options, QueryTimes
from promql.histograms import sample_weights
from promql.matrix import Matrix, ScalarRow, Value, Values
from promql.notes import ExecutionError, Notes
from promql.plan import Plan, Step
from promql.slabs import Slabs
from promql.slices import CELLS_PER_SAMPLE
from promql.straight import Resolved, resolved_key
from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.grid import Grid
from series.labels import METADATA_LABELS
from series.matcher import Matcher
from series.ports import Context, Hints, Selection, Source, TooManySamples


@dataclass(frozen=True, slots=True)
class Rows:
    """A vector in slabs: every slab holds the next rows of ``frame``, over the same grid.

    The frame may still have name labels that the slabs have lost; else its labels are theirs.
    Where slabs can be used by the threads that make them, ``used`` gives them so instead.
    """

    frame: LabelFrame
    slabs: Iterator[Matrix]
    used: "Callable[[Use, Ends], Iterator[Used]] | None" = None


T = TypeVar("T")
Operator = Callable[["Run", Any], Value]
Stream = Callable[["Run", Any], Rows | None]
Work = Callable[["Run", slice, LabelFrame, SeriesBatch], T]
"""One slab of a selector: its rows, their labels and samples to what is made of them. Nothing of
the Run that it gets is shared with other threads, so far as it changes."""
Use = Callable[["Run", slice, Matrix], Matrix | None]
"""Takes a slab of the given rows, as ``Work`` does; what it gives back is still to be used."""
Used = tuple[slice, Matrix | None]
Ends = NDArray[np.int64]
"""The rows behind which slabs had better end, see ``Slabs``."""


@dataclass(slots=True)
class Run:
    """The state of one query.

    - ``operators``: how to evaluate each kind of plan node.
    - ``streams``: how to evaluate some of them in slabs; None where the node at hand cannot.
    - ``slab_rows``: the rows of a slab; None picks them by size.
    - ``resolved``: what selectors have found.
    - ``held``: the points of all values in memory, counted as Prometheus does.
    """

    operators: Mapping[type[Step], Operator]
    streams: Mapping[type[Step], Stream]
    source: Source
    options: Options
    notes: Notes
    context: Context
    query: QueryTimes
    slab_rows: int | None = None
    resolved: Resolved = field(default_factory=dict)
    held: int = 0
    _whole: set[int] = field(default_factory=set)
    """The nodes, by identity, that are known not to stream; asking one anew asks all below."""

    def env(self, plan: Plan) -> Env:
        return Env(
            self.options,
            self.notes,
            self.context,
            plan.grid,
            self.query,
            plan.span,
        )

    def value(self, plan: Plan) -> Value:
        """The value of *plan* at every instant of its grid."""
        self.context.check()
        if plan.grid.count > self.context.max_samples:
            raise TooManySamples(plan.grid.count, self.context.max_samples)
        before = self.held
        value = self.operators[type(plan)](self, plan)
        self.held = before
        if isinstance(value, Matrix):
            self.hold(value)
        return value

    def vector(self, plan: Plan) -> Matrix:
        value = self.value(plan)
        if not isinstance(value, Matrix):
            raise ExecutionError("expected an instant vector")
        return value

    def scalar(self, plan: Plan) -> Values:
        """float64[T] of a scalar."""
        value = self.value(plan)
        if not isinstance(value, ScalarRow):
            raise ExecutionError("expected a scalar")
        return value.values

    def rows(self, plan: Plan) -> Rows:
        """The rows of *plan*, a vector, in order; in one slab where it cannot be streamed."""
        rows = self.streamed(plan)
        if rows is None:
            matrix = self.vector(plan)
            return Rows(matrix.frame, iter((matrix,)))
        return Rows(rows.frame, map(self.counted, rows.slabs), rows.used)

    def streamed(self, plan: Plan) -> Rows | None:
        """The rows of *plan* where it can be streamed."""
        if id(plan) in self._whole:
            return None
        stream = self.streams.get(type(plan))
        rows = stream(self, plan) if stream else None
        if rows is None:
            self._whole.add(id(plan))
        return rows

    def hold(self, matrix: Matrix) -> None:
        """Counts the points of *matrix* against the query's budget."""
        self.held += int(np.count_nonzero(matrix.present))
        if matrix.histograms is not None and matrix.histogram_ids is not None:
            extra = sample_weights(matrix.histograms) - 1
            self.held += int(extra[matrix.histogram_ids[matrix.holds_histograms]].sum())
        self.context.hold(self.held)

    def hold_cells(self, cells: int) -> None:
        """Raises TooManySamples where a matrix of so many *cells* could exhaust the memory.

        Cells without a point cost memory too, but are not what the budget counts.
        """
        if (samples := cells // CELLS_PER_SAMPLE) > self.context.max_samples:
            raise TooManySamples(samples, self.context.max_samples)

    def gathered(self, rows: Rows, steps: int) -> Matrix:
        """All *rows* as one Matrix over *steps* steps, without those that have no point."""
        slabs, cells = [], 0
        for slab in rows.slabs:
            slabs.append(self.counted(slab).alive())
            cells += slabs[-1].values.size
            self.hold_cells(cells)
        return Matrix.concat(slabs, self.context) if slabs else Matrix.empty(steps)

    def counted(self, slab: Matrix) -> Matrix:
        """*slab*, whose points count from now on; raises where the query must stop."""
        self.context.check()
        self.hold(slab)
        return slab

    def tally(self, grid: Grid, counts: NDArray[np.int64]) -> None:
        """Counts the samples that the values at the steps of *grid* are made of (int64[T])."""
        steps = self.context.step_samples
        if steps is None:
            return
        if grid == self.query.grid:
            for at, count in zip(grid.times_ms().tolist(), counts.tolist(), strict=True):
                steps[at] = steps.get(at, 0) + count
        else:
            end = self.query.grid.end_ms
            steps[end] = steps.get(end, 0) + int(counts.sum())

    def untallied(self, plan: Plan) -> Matrix:
        """The vector of *plan*, a subquery's, whose windows are what counts and not its samples."""
        steps, self.context.step_samples = self.context.step_samples, None
        try:
            return self.vector(plan)
        finally:
            self.context.step_samples = steps

    def tally_repeated(self, plan: Plan, grid: Grid) -> Value:
        """The value of *plan*, whose samples count at every step of *grid*."""
        context = self.context
        if context.step_samples is None:
            return self.value(plan)
        outer, context.step_samples = context.step_samples, {}
        try:
            value = self.value(plan)
            once = sum(context.step_samples.values())
        finally:
            context.step_samples = outer
        self.tally(grid, np.full(grid.count, once, dtype=np.int64))
        return value

    def select(self, matchers: tuple[Matcher, ...], hints: Hints) -> Selection:
        """What *matchers* select, resolved once in a query."""
        key = resolved_key(matchers, hints)
        selection = self.resolved.get(key)
        if selection is None:
            hints = replace(hints, check=self.context.check)
            selection = self.resolved[key] = self.source.resolve(matchers, hints)
        return selection

    def slabs(
        self,
        selection: Selection,
        start_ms: int,
        end_ms: int,
        steps: int,
        work: Work[T],
        ends: Ends | None = None,
    ) -> Iterator[T]:
        """What *work* makes of the series of *selection*, in slabs that fit the cache, in order.

        Two threads may be at work at once. Slabs end at *ends* where they can.
        """
        frame = selection.frame
        slabs = self.cut(frame.size, 0 if frame.size < 2 else selection.estimated_samples(), steps)
        slabs.ends = ends

        def done(part: Run, rows: slice) -> T:
            part.context.check()
            batch = selection.read(rows, start_ms, end_ms, part.context)
            part.context.samples_read += batch.sample_count
            slabs.learn(batch)
            return work(part, rows, frame.take(rows), batch)

        def done_apart(rows: slice) -> tuple[T, Run]:
            part = self._apart()
            return done(part, rows), part

        if slabs.is_little:
            yield from (done(self, rows) for rows in slabs.slices())
            return
        for slab, part in ahead(done_apart, slabs.slices()):
            self._join(part)
            yield slab

    def cut(self, size: int, samples: int, steps: int) -> Slabs:
        """How *size* rows of so many *samples* in all become slabs over *steps* steps."""
        return Slabs(size, max(samples // max(size, 1) + steps, 1), self.slab_rows)

    def _apart(self) -> "Run":
        """This run for a part of the work that another thread may do, until it is joined."""
        return replace(self, notes=Notes(self.notes.query), context=self.context.apart(), held=0)

    def _join(self, part: "Run") -> None:
        """What *part* had to say, and to hold, becomes this run's."""
        self.notes.join(part.notes)
        self.context.join(part.context, self.held)
        self.held += part.held


def point_weights(matrix: Matrix) -> NDArray[np.int64]:
    """int64[S, T]: how many samples each point counts as; a histogram is several."""
    weights = matrix.present.astype(np.int64)
    if matrix.histograms is not None and matrix.histogram_ids is not None:
        native = matrix.holds_histograms
        weights[native] = sample_weights(matrix.histograms)[matrix.histogram_ids[native]]
    return weights


def names_matter(frame: LabelFrame) -> bool:
    """Whether rows of *frame* could become equal by losing their name labels."""
    columns = [frame.columns[name] for name in METADATA_LABELS if name in frame.columns]
    return any(bool((codes != codes[0]).any()) for codes, _ in columns if len(codes))

"""Engine: a query's text and a database to an answer."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from promql.analyze import Recorder, plan_tree
from promql.answer import Answer, Raw
from promql.ast import Edge, ValueType
from promql.duration_values import InvalidQuery
from promql.edges import edge_samples
from promql.env import Options, QueryTimes
from promql.labelsets import merge_equal_labels
from promql.matrix import Matrix, ScalarRow, Text, Value
from promql.notes import Notes, limited
from promql.operators import OPERATORS, STREAMS, range_slabs
from promql.parser import parse
from promql.plan import Plan, SelectRange, String, SubqueryRange, make_plan
from promql.rollup import Windows
from promql.run import Run
from promql.stacking import pooled
from promql.straight import Resolved, straight
from promql.subquery import batch_of
from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.labels import METADATA_LABELS
from series.ports import Context, Source


@dataclass(frozen=True, slots=True)
class Engine:
    """Answers queries; holds no state, so one serves all threads.

    ``slab_rows`` fixes how many series are decoded at once (None: by their size); answers do not
    depend on it.
    """

    options: Options = field(default_factory=Options)
    slab_rows: int | None = None

    def instant(
        self, source: Source, query: str, at_ms: int, context: Context, *, analyze: bool = False
    ) -> Answer:
        """The value of *query* at one instant; with *analyze* also its plan, measured.

        Raises ParseError (also InvalidQuery, a kind of it), ExecutionError, and what the context
        and the source raise.
        """
        times, resolved = QueryTimes.instant(at_ms), Resolved()
        if not analyze and (found := self._straight(source, query, times, context, resolved)):
            return found
        recorder = Recorder() if analyze else None
        run, plan = self._prepared(source, query, times, context, recorder, resolved)
        answer = self._instant(run, plan)
        return answer if recorder is None else replace(answer, plan=plan_tree(run, plan, recorder))

    def _instant(self, run: Run, plan: Plan) -> Answer:
        if isinstance(plan, SelectRange | SubqueryRange):
            return _answer(run, ValueType.MATRIX, _raw(run, plan))
        value = run.value(plan)
        match value:
            case ScalarRow():
                return _answer(run, ValueType.SCALAR, value)
            case Text():
                return _answer(run, ValueType.STRING, value)
            case Matrix():
                return _answer(run, ValueType.VECTOR, _finished(value, run.context))

    def range(
        self,
        source: Source,
        query: str,
        times: QueryTimes,
        context: Context,
        *,
        analyze: bool = False,
    ) -> Answer:
        """The values of *query*, a scalar or an instant vector, at every step of *times*.

        Raises as ``instant``; the limit on steps is the caller's.
        """
        resolved = Resolved()
        if not analyze and (found := self._straight(source, query, times, context, resolved)):
            return found
        recorder = Recorder() if analyze else None
        run, plan = self._prepared(source, query, times, context, recorder, resolved)
        _refuse_type(plan)
        matrix = _finished(_as_matrix(run.value(plan)), context)
        answer = _answer(run, ValueType.MATRIX, _sorted(matrix, context))
        return answer if recorder is None else replace(answer, plan=plan_tree(run, plan, recorder))

    def explain(
        self, source: Source, query: str, times: QueryTimes, context: Context
    ) -> dict[str, Any]:
        """The plan of *query* with what its nodes will find, about; no sample is read.

        Raises as ``instant``.
        """
        run, plan = self._prepared(source, query, times, context, None, Resolved())
        if times.is_range:
            _refuse_type(plan)
        return plan_tree(run, plan)

    def _prepared(
        self,
        source: Source,
        query: str,
        times: QueryTimes,
        context: Context,
        recorder: Recorder | None,
        resolved: Resolved,
    ) -> tuple[Run, Plan]:
        tree = parse(query)
        run = Run(
            operators=OPERATORS if recorder is None else recorder.operators,
            streams=STREAMS if recorder is None else recorder.streams,
            source=source,
            options=self.options,
            notes=Notes(query),
            context=context,
            query=times,
            slab_rows=self.slab_rows,
            resolved=resolved,
        )
        return run, make_plan(tree, times, self.options)

    def _straight(
        self, source: Source, query: str, times: QueryTimes, context: Context, resolved: Resolved
    ) -> Answer | None:
        """The answer where the way there is straight; else None, and what was *resolved* on it."""
        asked = straight(query, self.options, context) if self.slab_rows is None else None
        if asked is None:
            return None
        notes = Notes(query)
        matrix = asked.matrix(source, times, self.options, context, notes, resolved)
        if matrix is None:
            return None
        kind = ValueType.MATRIX if times.is_range else ValueType.VECTOR
        return _noted(kind, matrix, times, context, notes)


def _answer(run: Run, kind: ValueType, value: Matrix | ScalarRow | Text | Raw) -> Answer:
    return _noted(kind, value, run.query, run.context, run.notes)


def _noted(
    kind: ValueType,
    value: Matrix | ScalarRow | Text | Raw,
    times: QueryTimes,
    context: Context,
    notes: Notes,
) -> Answer:
    warnings = [*context.warnings, *limited(notes.warnings, "warning")]
    return Answer(kind, value, times.grid, warnings, limited(notes.infos, "info"))


def _refuse_type(plan: Plan) -> None:
    kinds = {String: "string", SelectRange: "range vector", SubqueryRange: "range vector"}
    if (kind := kinds.get(type(plan))) is not None:
        raise InvalidQuery(
            f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector'
        )


def _as_matrix(value: Value) -> Matrix:
    """A vector as it is, a scalar as one series without labels."""
    if isinstance(value, Matrix):
        return value
    assert isinstance(value, ScalarRow)
    shape = 1, len(value.values)
    return Matrix(
        LabelFrame.empty_labels(1), value.values.reshape(shape), np.ones(shape, dtype=np.bool_)
    )


def _sorted(matrix: Matrix, context: Context) -> Matrix:
    if matrix.series_count < 2:
        return matrix
    order = matrix.frame.sort_order()
    return matrix if (order[1:] > order[:-1]).all() else matrix.take(order, context)


def _finished(matrix: Matrix, context: Context) -> Matrix:
    """*matrix* without the names that were marked, without empty rows, labels all distinct."""
    matrix = matrix.alive(context)
    if matrix.drop_name is not None and matrix.drop_name.any():
        frame = matrix.frame.drop_where(METADATA_LABELS, matrix.drop_name)
        matrix = replace(matrix, frame=frame, drop_name=None, times_ms=None)
    return merge_equal_labels(matrix)


def _raw(run: Run, plan: SelectRange | SubqueryRange) -> Raw:
    """The samples of a range vector at one instant; series without any are left out."""
    if isinstance(plan, SubqueryRange):
        matrix = _finished(run.vector(plan.inner), run.context)
        slabs = iter([(matrix.frame, batch_of(matrix, plan.inner.grid))])
    else:
        slabs = range_slabs(run, plan, lambda part, rows, frame, batch: (frame, batch))
    frames, parts = [], []
    ends_ms = plan.ends.times_ms()
    for frame, batch in slabs:
        windows = Windows.over(batch, ends_ms, ends_ms, plan.range_ms)
        if isinstance(plan, SelectRange) and plan.edge is not Edge.PLAIN:
            filled, samples = edge_samples(windows, plan.edge, plan.lookback_ms)
        else:
            filled = windows.counts()[:, 0] > 0
            samples = _windowed(windows, filled)
        frames.append(frame.take(filled))
        parts.append(samples)
        run.held += parts[-1].sample_count
        run.context.hold(run.held)
    if not frames:
        return Raw(LabelFrame.empty_labels(0), _joined([]))
    return Raw(LabelFrame.concat(frames), _joined(parts))


def _windowed(windows: Windows, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> SeriesBatch:
    """The samples in the only window of each of *rows* (a mask)."""
    batch = windows.batch
    lows = windows.lows[windows.columns, 0][rows].astype(np.int64)
    lengths = windows.counts()[rows, 0]
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    at = within + np.repeat(batch.offsets[:-1][rows] + lows, lengths)
    times_ms = batch.times_ms[within + np.repeat(batch.time_starts[rows] + lows, lengths)]
    ids, histograms = batch.histogram_ids, batch.histograms
    if ids is not None and histograms is not None:
        ids = ids[at]
        kept = ids[ids >= 0]
        ids = np.where(ids >= 0, np.cumsum(ids >= 0) - 1, -1)
        histograms = histograms.take(kept)
    return SeriesBatch(
        batch.values[at],
        times_ms,
        offsets,
        offsets[:-1].copy(),
        histogram_ids=ids,
        histograms=histograms,
    )


def _joined(parts: list[SeriesBatch]) -> SeriesBatch:
    """The rows of all *parts*, each with its own times."""
    lengths = [np.diff(part.offsets) for part in parts]
    offsets = np.concatenate(([0], np.cumsum(np.concatenate([*lengths, []])))).astype(np.int64)
    ids, histograms = pooled(
        [(part.values.shape, part.histogram_ids, part.histograms) for part in parts], None
    )
    return SeriesBatch(
        np.concatenate([*(part.values for part in parts), np.zeros(0)]),
        np.concatenate([*(part.times_ms for part in parts), np.zeros(0, dtype=np.int64)]),
        offsets,
        offsets[:-1].copy(),
        histogram_ids=ids,
        histograms=histograms,
    )

"""Engine: a query's text and a database to an answer."""

from dataclasses import dataclass, field

import numpy as np

from promql.answer import Answer, Raw
from promql.ast import Edge, ValueType
from promql.duration_values import InvalidQuery
from promql.env import Options, QueryTimes
from promql.labelsets import merge_equal_labels
from promql.matrix import Matrix, ScalarRow, Text, Value
from promql.notes import ExecutionError, Notes, limited
from promql.operators import OPERATORS, STREAMS, range_batches
from promql.parser import parse
from promql.plan import Plan, SelectRange, String, SubqueryRange, make_plan
from promql.rollup import Windows
from promql.run import Run
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

    def instant(self, source: Source, query: str, at_ms: int, context: Context) -> Answer:
        """The value of *query* at one instant.

        Raises ParseError (also InvalidQuery, a kind of it), ExecutionError, and what the context
        and the source raise.
        """
        run, plan = self._prepared(source, query, QueryTimes.instant(at_ms), context)
        if isinstance(plan, SelectRange | SubqueryRange):
            return _answer(run, ValueType.MATRIX, _raw(run, plan))
        value = run.value(plan)
        match value:
            case ScalarRow():
                return _answer(run, ValueType.SCALAR, value)
            case Text():
                return _answer(run, ValueType.STRING, value)
            case Matrix():
                return _answer(run, ValueType.VECTOR, _finished(value))

    def range(self, source: Source, query: str, times: QueryTimes, context: Context) -> Answer:
        """The values of *query*, a scalar or an instant vector, at every step of *times*.

        Raises as ``instant``; the limit on steps is the caller's.
        """
        run, plan = self._prepared(source, query, times, context)
        _refuse_type(plan)
        matrix = _finished(_as_matrix(run.value(plan)))
        return _answer(run, ValueType.MATRIX, _sorted(matrix))

    def _prepared(
        self, source: Source, query: str, times: QueryTimes, context: Context
    ) -> tuple[Run, Plan]:
        tree = parse(query)
        run = Run(
            operators=OPERATORS,
            streams=STREAMS,
            source=source,
            options=self.options,
            notes=Notes(query),
            context=context,
            query=times,
            slab_rows=self.slab_rows,
        )
        return run, make_plan(tree, times, self.options)


def _answer(run: Run, kind: ValueType, value: Matrix | ScalarRow | Text | Raw) -> Answer:
    notes = run.notes
    warnings = [*run.context.warnings, *limited(notes.warnings, "warning")]
    return Answer(kind, value, run.query.grid, warnings, limited(notes.infos, "info"))


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


def _sorted(matrix: Matrix) -> Matrix:
    order = matrix.frame.sort_order()
    return matrix if (order[1:] > order[:-1]).all() else matrix.take(order)


def _finished(matrix: Matrix) -> Matrix:
    """*matrix* without the names that were marked, without empty rows, labels all distinct."""
    matrix = matrix.alive()
    if matrix.drop_name is not None and matrix.drop_name.any():
        frame = matrix.frame.drop_where(METADATA_LABELS, matrix.drop_name)
        matrix = Matrix(frame, matrix.values, matrix.present)
    return merge_equal_labels(matrix)


def _raw(run: Run, plan: SelectRange | SubqueryRange) -> Raw:
    """The samples of a range vector at one instant; series without any are left out."""
    if isinstance(plan, SubqueryRange):
        matrix = _finished(run.vector(plan.inner))
        slabs = iter([(matrix.frame, batch_of(matrix, plan.inner.grid))])
    elif plan.edge is not Edge.PLAIN:
        raise ExecutionError(f"{plan.edge.value} modifier of a bare range is not supported yet")
    else:
        slabs = range_batches(run, plan)
    frames, parts = [], []
    ends_ms = plan.ends.times_ms()
    for frame, batch in slabs:
        windows = Windows.over(batch, ends_ms, ends_ms, plan.range_ms)
        filled = windows.counts()[:, 0] > 0
        frames.append(frame.take(filled))
        parts.append(_windowed(windows, filled))
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
    values = batch.values[within + np.repeat(batch.offsets[:-1][rows] + lows, lengths)]
    times_ms = batch.times_ms[within + np.repeat(batch.time_starts[rows] + lows, lengths)]
    return SeriesBatch(values, times_ms, offsets, offsets[:-1].copy())


def _joined(parts: list[SeriesBatch]) -> SeriesBatch:
    """The rows of all *parts*, each with its own times."""
    lengths = [np.diff(part.offsets) for part in parts]
    offsets = np.concatenate(([0], np.cumsum(np.concatenate([*lengths, []])))).astype(np.int64)
    return SeriesBatch(
        np.concatenate([*(part.values for part in parts), np.zeros(0)]),
        np.concatenate([*(part.times_ms for part in parts), np.zeros(0, dtype=np.int64)]),
        offsets,
        offsets[:-1].copy(),
    )

"""What each kind of plan node does: the OPERATORS table, and STREAMS for those that give slabs."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np

from promql import binary
from promql.absent import absence
from promql.aggregate import FOLDS, count_values, quantile
from promql.edges import smooth_lookup
from promql.folding import folded
from promql.instant import CALLS
from promql.labelsets import SAME_LABELSET
from promql.lookup import lookup
from promql.matrix import Matrix, ScalarRow, Text, Value, Values
from promql.notes import ExecutionError
from promql.plan import (
    Aggregation,
    InstantCall,
    Negation,
    Number,
    Operation,
    Plan,
    RangeCall,
    Repeat,
    Select,
    SelectRange,
    Step,
    String,
    SubqueryRange,
)
from promql.reset_hints import with_hints
from promql.rollup import ROLLUPS
from promql.rollup_slab import rolled
from promql.run import (
    Ends,
    Operator,
    Rows,
    Run,
    Stream,
    Use,
    Used,
    Work,
    names_matter,
    point_weights,
)
from promql.selecting import SELECTING, select_rows
from promql.subquery import batch_of
from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.ports import Hints, Selection

T = TypeVar("T")

ROW_BY_ROW = frozenset(
    (
        *("abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "sgn", "round"),
        *("clamp", "clamp_min", "clamp_max", "deg", "rad", "sin", "cos", "tan"),
        *("asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
        *("timestamp", "minute", "hour", "day_of_week", "day_of_month", "day_of_year"),
        *("days_in_month", "month", "year"),
    )
)
"""Functions of a vector that treat every row by itself and drop the names."""


# --- literals and selectors ------------------------------------------------------------------


def _number(run: Run, plan: Number) -> Value:
    return ScalarRow(np.full(plan.grid.count, plan.value))


def _string(run: Run, plan: String) -> Value:
    return Text(plan.value)


def select_hints(plan: Select | SelectRange) -> Hints:
    """What the selector of *plan* asks of the database."""
    if isinstance(plan, SelectRange):
        return Hints(plan.start_ms, plan.end_ms, plan.ends.step_ms, plan.range_ms)
    ahead_ms = plan.lookback_ms if plan.smoothed else 0
    start_ms, end_ms = plan.at.start_ms - plan.lookback_ms + 1, plan.at.end_ms + ahead_ms
    # Hints of resets need the samples before.
    newest = plan.at.count == 1 and not plan.smoothed and not plan.hinted
    return Hints(start_ms, end_ms, plan.at.step_ms, values=plan.valued, newest=newest)


def _select(run: Run, plan: Select) -> Value:
    if not plan.smoothed and (found := _only_row(run, plan)) is not None:
        frame, batch = found
        ends_ms = plan.at.times_ms()
        matrix = lookup(
            frame, batch, ends_ms, plan.lookback_ms, timed=plan.timed, started=plan.started
        )
        return matrix.alive()
    return run.gathered(_select_rows(run, plan), plan.grid.count)


def _only_row(run: Run, plan: Select | SelectRange) -> tuple[LabelFrame, SeriesBatch] | None:
    """The only series that the selector finds, read without the ado of slabs; None for others."""
    if plan.hinted or run.context.step_samples is not None:
        return None
    hints = select_hints(plan)
    selection = run.select(plan.matchers, hints)
    if selection.frame.size != 1:
        return None
    run.context.check()
    batch = selection.read(_ONE_ROW, hints.start_ms, hints.end_ms, run.context)
    run.context.samples_read += batch.sample_count
    return selection.frame, batch


_ONE_ROW = slice(0, 1)


def _select_rows(run: Run, plan: Select) -> Rows:
    selection = run.select(plan.matchers, select_hints(plan))
    ends_ms = plan.at.times_ms()

    def looked_up(part: Run, rows: slice, frame: LabelFrame, batch: SeriesBatch) -> Matrix:
        if plan.smoothed:
            slab = smooth_lookup(frame, batch, ends_ms, plan.lookback_ms, part.env(plan))
        else:
            timed, started = plan.timed, plan.started
            slab = lookup(frame, batch, ends_ms, plan.lookback_ms, timed=timed, started=started)
        if part.context.step_samples is not None:
            part.tally(plan.grid, point_weights(slab).sum(axis=0))
        return slab

    return _made(run, plan, selection, looked_up)


# --- functions of range vectors --------------------------------------------------------------


def select_range(run: Run, plan: SelectRange) -> Selection:
    return run.select(plan.matchers, select_hints(plan))


def range_slabs(run: Run, plan: SelectRange, work: Work[T]) -> Iterator[T]:
    """What *work* makes of the samples that the windows of *plan* see, slab by slab."""
    return _slabs(run, plan, select_range(run, plan), work)


def _slabs(
    run: Run,
    plan: Select | SelectRange,
    selection: Selection,
    work: Work[T],
    ends: Ends | None = None,
) -> Iterator[T]:
    def hinted(part: Run, rows: slice, frame: LabelFrame, batch: SeriesBatch) -> T:
        return work(part, rows, frame, with_hints(batch))

    hints = select_hints(plan)
    asked = selection, hints.start_ms, hints.end_ms, plan.grid.count
    return run.slabs(*asked, hinted if plan.hinted else work, ends)


def _made(run: Run, plan: Select | SelectRange, selection: Selection, work: Work[Matrix]) -> Rows:
    """The rows that *work* makes of *selection*, which that of *plan* found."""

    def used(use: Use, ends: Ends) -> Iterator[Used]:
        def made(part: Run, rows: slice, frame: LabelFrame, batch: SeriesBatch) -> Used:
            return rows, use(part, rows, work(part, rows, frame, batch))

        return _slabs(run, plan, selection, made, ends)

    return Rows(selection.frame, _slabs(run, plan, selection, work), used)


def _range(run: Run, plan: Step) -> Value:
    raise ExecutionError("a range vector can only be the argument of a function")


def _range_call(run: Run, plan: RangeCall) -> Value:
    if plan.call.name == "absent_over_time":
        return _absent_over_time(run, plan)
    found = None
    if isinstance(plan.source, SelectRange) and not plan.parameters:
        found = _only_row(run, plan.source)
    if found is not None:
        return rolled(run, plan, *found, None, ()).alive()
    matrix = run.gathered(_range_rows(run, plan), plan.grid.count)
    if run.options.delayed_name_removal or ROLLUPS[plan.call.name].keeps_name:
        return matrix
    # Unlike elsewhere rows are not merged here, even if they have no step in common.
    if len(matrix.frame.group_ids()[1]) < matrix.series_count:
        raise ExecutionError(SAME_LABELSET)
    return matrix


def _range_stream(run: Run, plan: RangeCall) -> Rows | None:
    if isinstance(plan.source, SubqueryRange) or plan.call.name == "absent_over_time":
        return None
    keeps_names = run.options.delayed_name_removal or ROLLUPS[plan.call.name].keeps_name
    if not keeps_names and names_matter(select_range(run, plan.source).frame):
        return None
    return _range_rows(run, plan)


def _range_rows(run: Run, plan: RangeCall) -> Rows:
    parameters = [run.scalar(parameter) for parameter in plan.parameters]
    if isinstance(plan.source, SelectRange):
        selection = select_range(run, plan.source)

        def rolled_up(part: Run, rows: slice, frame: LabelFrame, batch: SeriesBatch) -> Matrix:
            return rolled(part, plan, frame, batch, None, parameters)

        return _made(run, plan.source, selection, rolled_up)
    inner = run.untallied(plan.source.inner)
    return Rows(inner.frame, _subquery_slabs(run, plan, inner, parameters))


def _subquery_slabs(
    run: Run, plan: RangeCall, inner: Matrix, parameters: list[Values]
) -> Iterator[Matrix]:
    """Slabs for the sake of ``Context.check``: all points are in memory anyway."""
    assert isinstance(plan.source, SubqueryRange)
    grid = plan.source.inner.grid
    samples = inner.series_count * grid.count
    for rows in run.cut(inner.series_count, samples, plan.grid.count).slices():
        run.context.check()
        is_whole = rows == slice(0, inner.series_count)
        part = inner if is_whole else inner.take(np.arange(rows.start, rows.stop))
        yield rolled(run, plan, part.frame, batch_of(part, grid), part.drop_name, parameters)


def _absent_over_time(run: Run, plan: RangeCall) -> Value:
    found = np.zeros(plan.grid.count, dtype=np.bool_)
    for slab in _range_rows(run, plan).slabs:
        found |= slab.present.any(axis=0)
    return absence(plan.call.args[0], found)


# --- functions of instant vectors, operators -------------------------------------------------


def _instant_call(run: Run, plan: InstantCall) -> Value:
    if (rows := _instant_call_stream(run, plan)) is not None:
        return run.gathered(rows, plan.grid.count)
    arguments = [run.value(argument) for argument in plan.arguments]
    return _called(run, plan, arguments)


def _called(run: Run, plan: InstantCall, arguments: list[Value]) -> Value:
    with np.errstate(all="ignore"):
        return CALLS[plan.call.name](arguments, plan.call, run.env(plan))


def _instant_call_stream(run: Run, plan: InstantCall) -> Rows | None:
    if plan.call.name not in ROW_BY_ROW or not plan.arguments:
        return None
    rows = _nameless(run, plan.arguments[0])
    if rows is None:
        return None
    scalars = [run.value(argument) for argument in plan.arguments[1:]]
    slabs = (_as_vector(_called(run, plan, [slab, *scalars])) for slab in rows.slabs)
    return Rows(rows.frame, slabs)


def _negation(run: Run, plan: Negation) -> Value:
    if (rows := _negation_stream(run, plan)) is not None:
        return run.gathered(rows, plan.grid.count)
    return binary.negate(run.value(plan.inner), run.env(plan))


def _negation_stream(run: Run, plan: Negation) -> Rows | None:
    rows = _nameless(run, plan.inner)
    if rows is None:
        return None
    env = run.env(plan)
    return Rows(rows.frame, (_as_vector(binary.negate(slab, env)) for slab in rows.slabs))


def _operation(run: Run, plan: Operation) -> Value:
    if (rows := _operation_stream(run, plan)) is not None:
        return run.gathered(rows, plan.grid.count)
    left = run.value(plan.left)
    return binary.evaluate(plan.node, left, run.value(plan.right), run.env(plan))


def _operation_stream(run: Run, plan: Operation) -> Rows | None:
    """An operator between a vector, which is streamed, and a scalar."""
    if plan.node.matching is not None:
        return None
    env = run.env(plan)
    if (rows := _nameless(run, plan.left)) is not None:
        right = run.value(plan.right)
        return Rows(
            rows.frame,
            (_as_vector(binary.evaluate(plan.node, s, right, env)) for s in rows.slabs),
        )
    if (rows := _nameless(run, plan.right)) is not None:
        left = run.value(plan.left)
        return Rows(
            rows.frame,
            (_as_vector(binary.evaluate(plan.node, left, s, env)) for s in rows.slabs),
        )
    return None


def _nameless(run: Run, plan: Plan) -> Rows | None:
    """The rows of *plan* where they come in slabs and stay distinct without their names."""
    rows = run.streamed(plan)
    if rows is None or (not run.options.delayed_name_removal and names_matter(rows.frame)):
        return None
    return rows


def _as_vector(value: Value) -> Matrix:
    assert isinstance(value, Matrix)
    return value


def _repeat(run: Run, plan: Repeat) -> Value:
    value, steps = run.tally_repeated(plan.inner, plan.grid), plan.grid.count
    match value:
        case ScalarRow():
            return ScalarRow(np.repeat(value.values, steps))
        case Matrix():
            run.hold_cells(value.series_count * steps)
            return _repeated(value, steps)
        case Text():
            return value


def _repeated(matrix: Matrix, steps: int) -> Matrix:
    times_ms, ids = matrix.times_ms, matrix.histogram_ids
    return Matrix(
        matrix.frame,
        np.repeat(matrix.values, steps, axis=1),
        np.repeat(matrix.present, steps, axis=1),
        matrix.drop_name,
        None if times_ms is None else np.repeat(times_ms, steps, axis=1),
        None if ids is None else np.repeat(ids, steps, axis=1),
        matrix.histograms,
    )


# --- aggregations ----------------------------------------------------------------------------


def _aggregation(run: Run, plan: Aggregation) -> Value:
    node = plan.node
    if node.op in FOLDS:
        return folded(run, plan)
    assert plan.parameter is not None
    parameter = run.value(plan.parameter)
    matrix = run.vector(plan.inner)
    if isinstance(parameter, Text):
        return count_values(node, matrix, parameter.value, run.env(plan))
    assert isinstance(parameter, ScalarRow)
    env = run.env(plan).at(plan.parameter.span)
    if node.op in SELECTING:
        return select_rows(node, matrix, parameter.values, env)
    return quantile(node, matrix, parameter.values, env).alive(run.context)


OPERATORS: Mapping[type[Step], Operator] = {
    Number: _number,
    String: _string,
    Select: _select,
    SelectRange: _range,
    SubqueryRange: _range,
    RangeCall: _range_call,
    InstantCall: _instant_call,
    Negation: _negation,
    Operation: _operation,
    Repeat: _repeat,
    Aggregation: _aggregation,
}

STREAMS: Mapping[type[Step], Stream] = {
    Select: _select_rows,
    RangeCall: _range_stream,
    InstantCall: _instant_call_stream,
    Negation: _negation_stream,
    Operation: _operation_stream,
}

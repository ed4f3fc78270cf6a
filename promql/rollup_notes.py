"""What the engine has to say about the results of range-vector functions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from promql import histogram_note_helpers as noted
from promql.aggregate import note_bad_quantiles
from promql.ast import NOWHERE, Span
from promql.env import Env
from promql.matrix import Matrix, Values
from promql.plan import RangeCall, SubqueryRange
from promql.rollup import Windows
from series.frame import LabelColumn, LabelFrame
from series.labels import METRIC_NAME, quote

COUNTER_RATES = frozenset(("rate", "increase"))
_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


def note_rollup(
    plan: RangeCall, matrix: Matrix, windows: Windows, parameters: Sequence[Values], env: Env
) -> None:
    """Notes on the *matrix* that the function of *plan* gave, still with its names."""
    if plan.call.name in COUNTER_RATES:
        note_non_counters(matrix, env.at(noted_span(plan)))
    if plan.call.name == "quantile_over_time":
        touched = (windows.highs > windows.lows).any(axis=0)
        note_bad_quantiles(parameters[0][touched], env.at(plan.parameters[0].span))


_WARNINGS = (
    (noted.MIXED_KINDS, "encountered a mix of histograms and floats for metric name {}"),
    (noted.NOT_COUNTER, "this native histogram metric is not a counter: {}"),
    (noted.NOT_GAUGE, "this native histogram metric is not a gauge: {}"),
    (
        noted.MIXED_SCHEMAS,
        "vector contains a mix of histograms with exponential and custom buckets schemas "
        "for metric name {}",
    ),
    (noted.CONFLICT_AGG, "conflicting counter resets during histogram aggregation"),
    (
        noted.OVERLAP,
        "sample has start time that overlaps with previous sample timestamp for metric {}",
    ),
)
_RECONCILED = "mismatched custom buckets were reconciled during {}"
_INFOS = (
    (
        noted.IGNORED,
        "ignored histograms in a range containing both floats and histograms for metric name {}",
    ),
    (noted.RECONCILED_SUB, _RECONCILED.format("subtraction")),
    (noted.RECONCILED_ADD, _RECONCILED.format("addition")),
    (noted.RECONCILED_AGG, _RECONCILED.format("aggregation")),
)


def note_flags(frame: LabelFrame, flags: NDArray[np.uint16], env: Env) -> None:
    """What ``flags[S]`` (see ``histogram_note_helpers``) say of the rows of *frame*."""
    for row in np.flatnonzero(flags).tolist():
        name = quote(frame.labels(row).metric)
        for flag, text in _WARNINGS:
            if flags[row] & flag:
                env.warn(text.format(name))
        for flag, text in _INFOS:
            if flags[row] & flag:
                env.info(text.format(name))


def noted_span(plan: RangeCall) -> Span:
    """Where notes on the argument point: for a subquery nowhere but the query's beginning."""
    return NOWHERE if isinstance(plan.source, SubqueryRange) else plan.source.span


def note_non_counters(matrix: Matrix, env: Env) -> None:
    """An info for every metric with a result whose name (or type) is not that of a counter."""
    column = matrix.frame.columns.get(METRIC_NAME)
    if column is None:
        return
    if not env.options.type_and_unit_labels and _is_counter(column):
        return
    with_points = matrix.with_points
    if env.options.type_and_unit_labels:
        _note_types(matrix.frame.take(with_points).keep((METRIC_NAME, "__type__")), env)
        return
    for code in np.unique(column.codes[with_points]).tolist():
        name = column.values[code]
        if name and not name.endswith(_COUNTER_SUFFIXES):
            env.info(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
                f"{quote(name)}"
            )


def _is_counter(column: LabelColumn) -> bool:
    """Whether all rows have one name, and it is that of a counter."""
    codes = column.codes
    return (
        len(codes) > 0
        and column.values[codes[0]].endswith(_COUNTER_SUFFIXES)
        and (len(codes) == 1 or bool((codes == codes[0]).all()))
    )


def _note_types(frame: LabelFrame, env: Env) -> None:
    for row in frame.group_ids()[1].tolist():
        labels = frame.labels(row)
        kind = labels.get("__type__")
        if labels.metric and kind not in ("counter", "histogram"):
            env.info(
                'metric might not be a counter, __type__ label is not set to "counter" or '
                f'"histogram", got {quote(kind)}: {quote(labels.metric)}'
            )

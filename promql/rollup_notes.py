"""What the engine has to say about the results of range-vector functions."""

import numpy as np

from promql.aggregate import note_bad_quantiles
from promql.ast import NOWHERE
from promql.env import Env
from promql.matrix import Matrix, Values
from promql.plan import RangeCall, SubqueryRange
from promql.rollup import Windows
from series.frame import LabelFrame
from series.labels import METRIC_NAME, quote

_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


def note_rollup(
    plan: RangeCall, matrix: Matrix, windows: Windows, parameters: list[Values], env: Env
) -> None:
    """Notes on the *matrix* that the function of *plan* gave, still with its names."""
    if plan.call.name in ("rate", "increase"):
        # Prometheus gives notes on a subquery no place but the query's beginning.
        subquery = isinstance(plan.source, SubqueryRange)
        _note_non_counters(matrix, env.at(NOWHERE if subquery else plan.source.span))
    if plan.call.name == "quantile_over_time":
        touched = (windows.highs > windows.lows).any(axis=0)
        note_bad_quantiles(parameters[0][touched], env.at(plan.parameters[0].span))


def _note_non_counters(matrix: Matrix, env: Env) -> None:
    """An info for every metric with a result whose name (or type) is not that of a counter."""
    column = matrix.frame.columns.get(METRIC_NAME)
    if column is None:
        return
    with_points = matrix.with_points
    if env.options.type_and_unit_labels:
        _note_types(matrix.frame.take(with_points).keep((METRIC_NAME, "__type__")), env)
        return
    codes = column.codes[with_points]
    alike = len(codes) > 0 and (codes == codes[0]).all()
    for code in (codes[:1] if alike else np.unique(codes)).tolist():
        name = column.values[code]
        if name and not name.endswith(_COUNTER_SUFFIXES):
            env.info(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
                f"{quote(name)}"
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

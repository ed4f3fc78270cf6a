"""The table of instant functions: everything a call can name that takes no range vector."""

from collections.abc import Callable

import numpy as np

from promql import absent, ast, buckets, info, labels_fn, math_fn, native_fn, sorting, time_fn
from promql.env import Env
from promql.matrix import Value

InstantFunction = Callable[[list[Value], ast.Call, Env], Value]
"""Called with the values of its arguments over ``env.grid``; those left out are not in the list."""


_TABLE: dict[str, InstantFunction] = {
    **dict.fromkeys(math_fn.UNARY, math_fn.unary),
    **dict.fromkeys(native_fn.SIMPLE, native_fn.simple),
    **dict.fromkeys(time_fn.CALENDAR, time_fn.calendar),
    "absent": absent.absent,
    "clamp": math_fn.clamp,
    "clamp_max": math_fn.clamp_max,
    "clamp_min": math_fn.clamp_min,
    "end": time_fn.end,
    "histogram_fraction": buckets.histogram_fraction,
    "histogram_quantile": buckets.histogram_quantile,
    "histogram_quantiles": buckets.histogram_quantiles,
    "info": info.info,
    "label_join": labels_fn.label_join,
    "label_replace": labels_fn.label_replace,
    "max_of": math_fn.max_of,
    "min_of": math_fn.min_of,
    "pi": math_fn.pi,
    "range": time_fn.range_,
    "round": math_fn.round_,
    "scalar": math_fn.scalar,
    "sort": sorting.sort,
    "sort_by_label": sorting.sort_by_label,
    "sort_by_label_desc": sorting.sort_by_label_desc,
    "sort_desc": sorting.sort_desc,
    "start": time_fn.start,
    "start_timestamp": time_fn.start_timestamp,
    "step": time_fn.step,
    "time": time_fn.time,
    "timestamp": time_fn.timestamp,
    "vector": math_fn.vector,
}


def _quiet(function: InstantFunction) -> InstantFunction:
    """*function* without numpy's complaints: NaN and infinities are values in PromQL."""

    def called(args: list[Value], call: ast.Call, env: Env) -> Value:
        with np.errstate(all="ignore"):
            return function(args, call, env)

    return called


CALLS: dict[str, InstantFunction] = {name: _quiet(call) for name, call in _TABLE.items()}
"""The functions by name. They raise ExecutionError in Prometheus' words."""

"""Kernel of the OTLP door that walks the tree of a request once and lists what hangs on it.

Message and field numbers: opentelemetry/proto/metrics/v1/metrics.proto. As in
``wire.protobuf_helpers`` no read goes beyond the *end* that it was compared with.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import kernel, pointer
from wire.otlp_helpers import LENGTH, VARINT, read_field
from wire.protobuf_helpers import OK, WRONG_WIRE_TYPE

GAUGE, SUM, HISTOGRAM, EXPONENTIAL, SUMMARY = 5, 7, 9, 10, 11
"""Numbers of the data fields of a Metric."""

START, END, PARENT = range(3)
"""Rows of every table; a resource has no parent."""
SCHEMA_START, SCHEMA_END = 3, 4
"""Further rows of scopes: their schema URL."""
METRIC_END, KIND, TEMPORALITY, MONOTONIC = range(3, 7)
"""Further rows of metrics."""
ROWS = (2, 5, 7, 3)
"""How many rows the tables of resources, scopes, metrics and points have."""

LATE = -1
"""As the END of a metric: some of its naming part stands behind its data."""

_BYTES = "Array(u1, 1, 'C', True)"
_TABLE = "i8[:, ::1]"
_REQUEST, _RESOURCE, _SCOPE, _METRIC, _DATA = range(5)
_NAMING_FIELDS = 3
_OPEN = -2


@kernel(f"UniTuple(i8, 6)({_BYTES}, {_TABLE}, {_TABLE}, {_TABLE}, {_TABLE})")
def walk(
    message: NDArray[np.uint8],
    resources: NDArray[np.int64],
    scopes: NDArray[np.int64],
    metrics: NDArray[np.int64],
    points: NDArray[np.int64],
) -> tuple[int, int, int, int, int, int]:
    """Lists the resources, scopes, metrics and points of an ExportMetricsServiceRequest.

    Each is a column of its table, with the rows named above; PARENT is the column of what it is
    below. There is a resource a ResourceMetrics message, a scope a ScopeMetrics message, with the
    span of the Resource or InstrumentationScope in it, of several the last, empty where there is
    none. There is a metric a data of a Metric message: from its start to the first data is what
    names it, END is LATE where some of that comes after; TEMPORALITY and MONOTONIC are as sent.
    Returns (status, position, how many of each); what a table has no room for is only counted.
    """
    data = pointer(message)
    ends = np.empty(5, dtype=np.int64)
    resource: Any = np.int64(-1)
    scope: Any = np.int64(-1)
    metric: Any = np.int64(-1)
    point: Any = np.int64(-1)
    metric_at: Any = np.int64(0)
    naming_end: Any = np.int64(_OPEN)
    first_data: Any = np.int64(0)
    kind: Any = np.int64(0)
    level: Any = np.int64(_REQUEST)
    at: Any = np.int64(0)
    end: Any = np.int64(len(message))
    ends[level] = end
    while at < end or level > _REQUEST:
        if at >= end:
            level -= 1
            end = ends[level]
            continue
        tag_at = at
        number, wire_type, value, at, status = read_field(data, at, end)
        if status != OK:
            return status, tag_at, resource + 1, scope + 1, metric + 1, point + 1
        wanted = wire_type
        enters = False
        if level == _DATA:
            if number == 1:
                wanted = LENGTH
                point += 1
                if point < points.shape[1]:
                    points[START, point] = value
                    points[END, point] = at
                    points[PARENT, point] = metric
            elif (number == 2 and kind not in (GAUGE, SUMMARY)) or (number == 3 and kind == SUM):
                wanted = VARINT
                if metric < metrics.shape[1]:
                    metrics[TEMPORALITY if number == 2 else MONOTONIC, metric] = value
        elif level == _METRIC:
            if number <= _NAMING_FIELDS:
                wanted = LENGTH
                if naming_end >= 0:
                    naming_end = np.int64(LATE)
                    for one in range(first_data, min(metric + 1, metrics.shape[1])):
                        metrics[END, one] = LATE
            elif number in (GAUGE, SUM) or HISTOGRAM <= number <= SUMMARY:
                wanted = LENGTH
                enters = True
                kind = number
                metric += 1
                if naming_end == _OPEN:
                    naming_end = tag_at
                    first_data = metric
                if metric < metrics.shape[1]:
                    metrics[START, metric] = metric_at
                    metrics[END, metric] = naming_end
                    metrics[PARENT, metric] = scope
                    metrics[METRIC_END, metric] = end
                    metrics[KIND, metric] = kind
                    metrics[TEMPORALITY, metric] = 0
                    metrics[MONOTONIC, metric] = 0
        elif level == _SCOPE:
            if number == 2:
                wanted = LENGTH
                enters = True
                metric_at = value
                naming_end = np.int64(_OPEN)
            elif number == 1 or number == 3:
                wanted = LENGTH
                if scope < scopes.shape[1]:
                    first = START if number == 1 else SCHEMA_START
                    scopes[first, scope] = value
                    scopes[first + 1, scope] = at
        elif level == _RESOURCE:
            if number == 2:
                wanted = LENGTH
                enters = True
                scope += 1
                if scope < scopes.shape[1]:
                    scopes[:, scope] = 0
                    scopes[PARENT, scope] = resource
            elif number == 1:
                wanted = LENGTH
                if resource < resources.shape[1]:
                    resources[START, resource] = value
                    resources[END, resource] = at
        elif number == 1:
            wanted = LENGTH
            enters = True
            resource += 1
            if resource < resources.shape[1]:
                resources[:, resource] = 0
        if wire_type != wanted:
            return WRONG_WIRE_TYPE, tag_at, resource + 1, scope + 1, metric + 1, point + 1
        if enters:
            level += 1
            ends[level] = at
            end = at
            at = value
    return OK, 0, resource + 1, scope + 1, metric + 1, point + 1

"""The scan of an ExportMetricsServiceRequest: from protobuf bytes to tables and columns.

The message is a tree: request, resources, scopes, metrics, their data (a gauge, a sum, ...), data
points. Each level is listed by one kernel call from the spans of the level above; the points are
then read into columns. Names and attributes stay what they are, spans of bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wire import otlp_kernels as kernels
from wire.errors import Malformed
from wire.otlp_rewrite import metric_identity, point_in_order
from wire.protobuf import STATUS_TEXTS
from wire.protobuf_helpers import OK

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]

MAX_FIELDS = 2_000_000
"""Fields of one level of a request, data points among them."""
MAX_IRREGULAR = 10_000
"""Metrics and points that have to be put in order first: each costs microseconds."""

GAUGE, SUM, HISTOGRAM, EXPONENTIAL, SUMMARY = 5, 7, 9, 10, 11
"""Numbers of the data fields of a Metric."""
UNSPECIFIED, DELTA, CUMULATIVE = 0, 1, 2
"""Aggregation temporalities."""

_IS_DATA = np.zeros(SUMMARY + 1, dtype=np.bool_)
_IS_DATA[[GAUGE, SUM, HISTOGRAM, EXPONENTIAL, SUMMARY]] = True
_POINT_KINDS = np.zeros(SUMMARY + 1, dtype=np.uint8)
_POINT_KINDS[[GAUGE, SUM]] = kernels.NUMBER
_POINT_KINDS[HISTOGRAM] = kernels.HISTOGRAM
_POINT_KINDS[EXPONENTIAL] = kernels.EXPONENTIAL
_POINT_KINDS[SUMMARY] = kernels.SUMMARY

_NAMING_FIELDS = 3
_LENGTH, _VARINT = 2, 0
_PARENT, _NUMBER, _WIRE_TYPE, _TAG, _START, _END = range(6)


@dataclass(frozen=True, slots=True)
class Spans:
    """Texts of one level: bytes [starts[k], ends[k]) of the message, below row parents[k]."""

    starts: Numbers
    ends: Numbers
    parents: Numbers

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class Scanned:
    """A request as columns.

    - ``message``: uint8[n], the bytes that all spans point into.
    - ``resources``: the Resource message of every ResourceMetrics; ``scopes``: the
      InstrumentationScope of every ScopeMetrics, below a resource; ``scope_schemas``: their schema
      URLs. Empty where left out.
    - ``metrics``: the naming part (name, description, unit) of every data of a Metric, below a
      scope; with ``metric_kinds`` (GAUGE ...), ``temporalities`` and ``monotonic``.
    - ``attributes``: of every point, below a metric.
    - ``shapes``, ``times_ms``, ``value_ends``, ``bound_ends``, ``values``, ``bounds``,
      ``verdicts``: see ``otlp_kernels.read_points``.
    - ``exemplars``: how many there were.
    """

    message: Bytes
    resources: Spans
    scopes: Spans
    scope_schemas: Spans
    metrics: Spans
    metric_kinds: Numbers
    temporalities: Numbers
    monotonic: NDArray[np.bool_]
    attributes: Spans
    shapes: Numbers
    times_ms: Numbers
    value_ends: Numbers
    bound_ends: Numbers
    values: NDArray[np.float64]
    bounds: NDArray[np.float64]
    verdicts: Bytes
    exemplars: int


def scan(message: Bytes) -> Scanned:
    """The columns of the request in *message*; raises Malformed where it is none."""
    whole = Spans(*(np.array([at], dtype=np.int64) for at in (0, len(message), 0)))
    resource_metrics = _spans(_fields(message, whole, 1), 1)
    below_resources = _fields(message, resource_metrics, 2)
    scope_metrics = _spans(below_resources, 2)
    below_scopes = _fields(message, scope_metrics, 3)
    metrics = _spans(below_scopes, 2)
    named = _fields(message, metrics, SUMMARY)
    is_data = _IS_DATA[named[_NUMBER]]
    data, kinds = _lengths(named, is_data), named[_NUMBER, is_data]
    below_data = _fields(message, data, 3)
    message, identities = _identities(message, metrics, named, data)
    points = _spans(below_data, 1)
    # Field 2 and 3 of a gauge and a summary mean nothing.
    typed = below_data[:, below_data[_NUMBER] != 1]
    typed = typed[:, np.isin(kinds[typed[_PARENT]], (SUM, HISTOGRAM, EXPONENTIAL))]
    message, columns = _read_points(message, points, _POINT_KINDS[kinds[points.parents]])
    return Scanned(
        message,
        resources=_singles(below_resources, 1, len(resource_metrics)),
        scopes=_below(_singles(below_scopes, 1, len(scope_metrics)), scope_metrics.parents),
        scope_schemas=_singles(below_scopes, 3, len(scope_metrics)),
        metrics=_below(identities, metrics.parents[data.parents]),
        metric_kinds=kinds,
        temporalities=_varints(typed, 2, len(data)),
        monotonic=(_varints(typed, 3, len(data)) != 0) & (kinds == SUM),
        attributes=Spans(columns.starts, columns.ends, points.parents),
        shapes=columns.shapes,
        times_ms=columns.times_ms,
        value_ends=columns.value_ends,
        bound_ends=columns.bound_ends,
        values=columns.values,
        bounds=columns.bounds,
        verdicts=columns.verdicts,
        exemplars=columns.exemplars,
    )


def _fields(message: Bytes, parents: Spans, max_number: int) -> Numbers:
    """int64[6, n]: the fields of the messages *parents* (see ``otlp_kernels.list_fields``)."""
    room = int((parents.ends - parents.starts).sum()) // 48 + 2 * len(parents) + 8
    while True:
        rows = np.empty((6, min(room, MAX_FIELDS)), dtype=np.int64)
        status, position, count = kernels.list_fields(
            message, parents.starts, parents.ends, max_number, rows
        )
        _check(status, position, message)
        if count <= rows.shape[1]:
            return rows[:, :count]
        if count > MAX_FIELDS:
            raise Malformed(f"more than {MAX_FIELDS} messages of one kind in one request")
        room = count


def _check(status: int, position: int, message: Bytes) -> None:
    if status == kernels.NO_ROOM:
        raise Malformed("too many quantiles in one request")
    if status != OK:
        raise Malformed(f"proto: {STATUS_TEXTS[status]} at byte {position} of {len(message)}")


def _spans(rows: Numbers, number: int) -> Spans:
    """The messages or texts in field *number*."""
    return _lengths(rows, rows[_NUMBER] == number)


def _lengths(rows: Numbers, chosen: NDArray[np.bool_]) -> Spans:
    """The length-delimited fields *chosen* (bool[n]); Malformed where one is none."""
    at = np.flatnonzero(chosen)
    wrong = rows[_WIRE_TYPE, at] != _LENGTH
    if wrong.any():
        raise Malformed(f"proto: wrong wireType at byte {rows[_TAG, at[wrong.argmax()]]}")
    return Spans(rows[_START, at], rows[_END, at], rows[_PARENT, at])


def _singles(rows: Numbers, number: int, count: int) -> Spans:
    """Field *number* of each of *count* parents, of several the last; empty where there is none."""
    found = _spans(rows, number)
    starts, ends = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    starts[found.parents], ends[found.parents] = found.starts, found.ends
    return Spans(starts, ends, np.arange(count, dtype=np.int64))


def _below(spans: Spans, parents: Numbers) -> Spans:
    return Spans(spans.starts, spans.ends, np.ascontiguousarray(parents))


def _varints(rows: Numbers, number: int, count: int) -> Numbers:
    """int64[count]: the varint in field *number* of each parent, 0 where there is none."""
    chosen = rows[:, rows[_NUMBER] == number]
    wrong = chosen[_WIRE_TYPE] != _VARINT
    if wrong.any():
        raise Malformed(f"proto: wrong wireType at byte {chosen[_TAG, wrong.argmax()]}")
    out = np.zeros(count, dtype=np.int64)
    out[chosen[_PARENT]] = chosen[_START]
    return out


def _identities(message: Bytes, metrics: Spans, named: Numbers, data: Spans) -> tuple[Bytes, Spans]:
    """The bytes that name the metric of every data.

    Usually name, description and unit stand before the data: then it is what is before it. The
    others are written anew behind *message*.
    """
    naming = named[_NUMBER] <= _NAMING_FIELDS
    _lengths(named, naming)
    tags = named[_TAG, _IS_DATA[named[_NUMBER]]]
    starts = metrics.starts[data.parents]
    first_data = np.full(len(metrics), np.iinfo(np.int64).max)
    np.minimum.at(first_data, data.parents, tags)
    ends = first_data[data.parents] if len(data) else tags
    late = naming & (named[_TAG] > first_data[named[_PARENT]])
    if not late.any():
        return message, Spans(starts, ends, data.parents)
    irregular = np.unique(named[_PARENT, late])
    spans = [(int(metrics.starts[one]), int(metrics.ends[one])) for one in irregular.tolist()]
    message, new_starts, new_ends = _rewritten(message, spans, metric_identity)
    where = np.searchsorted(irregular, data.parents)
    where[where == len(irregular)] = 0
    moved = irregular[where] == data.parents
    starts = np.where(moved, new_starts[where], starts)
    ends = np.where(moved, new_ends[where], ends)
    return message, Spans(starts, ends, data.parents)


@dataclass(frozen=True, slots=True)
class _Columns:
    starts: Numbers
    ends: Numbers
    shapes: Numbers
    times_ms: Numbers
    value_ends: Numbers
    bound_ends: Numbers
    values: NDArray[np.float64]
    bounds: NDArray[np.float64]
    verdicts: Bytes
    exemplars: int


def _read_points(message: Bytes, spans: Spans, kinds: Bytes) -> tuple[Bytes, _Columns]:
    """The columns of the points; those in an unusual order are written anew behind *message*."""
    columns = _read(message, spans.starts, spans.ends, kinds)
    irregular = np.flatnonzero(columns.verdicts == kernels.IRREGULAR)
    if not len(irregular):
        return message, columns
    found = [(int(spans.starts[one]), int(spans.ends[one])) for one in irregular.tolist()]
    histogram = iter((kinds[irregular] == kernels.HISTOGRAM).tolist())
    message, new_starts, new_ends = _rewritten(
        message, found, lambda point: point_in_order(point, histogram=next(histogram))
    )
    starts, ends = spans.starts.copy(), spans.ends.copy()
    starts[irregular], ends[irregular] = new_starts, new_ends
    return message, _read(message, starts, ends, kinds)


def _rewritten(
    message: Bytes, spans: list[tuple[int, int]], write: Callable[[bytes], bytes]
) -> tuple[Bytes, Numbers, Numbers]:
    """*message*, behind it what *write* makes of *spans*, and where each begins and ends."""
    if len(spans) > MAX_IRREGULAR:
        raise Malformed(f"more than {MAX_IRREGULAR} metrics or data points in an unusual order")
    texts = [write(message[start:end].tobytes()) for start, end in spans]
    ends = len(message) + np.cumsum([len(text) for text in texts], dtype=np.int64)
    starts = np.concatenate([[len(message)], ends[:-1]]).astype(np.int64)
    longer = np.concatenate([message, np.frombuffer(b"".join(texts), dtype=np.uint8)])
    return longer, starts, ends


def _read(message: Bytes, starts: Numbers, ends: Numbers, kinds: Bytes) -> _Columns:
    count = len(starts)
    room = int((ends - starts).sum()) // 8 + 3 * count + 3
    points = np.empty((6, count), dtype=np.int64)
    verdicts = np.empty(count, dtype=np.uint8)
    values, bounds = np.empty(room), np.empty(room)
    status, position, exemplars = kernels.read_points(
        message, starts, ends, kinds, points, verdicts,
        values, values.view(np.uint64), bounds, bounds.view(np.uint64),
    )  # fmt: skip
    _check(status, position, message)
    return _Columns(
        points[kernels.ATTRIBUTES],
        points[kernels.ATTRIBUTES_END],
        points[kernels.SHAPE],
        points[kernels.TIME_MS],
        points[kernels.VALUES_END],
        points[kernels.BOUNDS_END],
        values,
        bounds,
        verdicts,
        exemplars,
    )

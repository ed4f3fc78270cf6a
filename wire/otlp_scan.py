"""The scan of an ExportMetricsServiceRequest: from protobuf bytes to tables and columns.

The message is a tree: request, resources, scopes, metrics, their data (a gauge, a sum, ...), data
points. One kernel walks it and lists what there is; another reads the points into columns. Names
and attributes stay what they are, spans of bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wire import otlp_kernels as kernels
from wire import otlp_walk_kernels as walk_kernels
from wire.errors import Malformed
from wire.exemplar_columns import MAX_EXEMPLARS
from wire.otlp_native import Natives, read_natives
from wire.otlp_rewrite import metric_identity, point_in_order
from wire.otlp_walk_kernels import EXPONENTIAL, GAUGE, HISTOGRAM, SUM, SUMMARY
from wire.protobuf import STATUS_TEXTS
from wire.protobuf_helpers import OK

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]

MAX_FIELDS = 2_000_000
"""Resources, scopes, metrics or data points of a request."""
MAX_IRREGULAR = 10_000
"""Metrics and points that have to be put in order first: each costs microseconds."""

UNSPECIFIED, DELTA, CUMULATIVE = 0, 1, 2
"""Aggregation temporalities."""

_POINT_KINDS = np.zeros(SUMMARY + 1, dtype=np.uint8)
_POINT_KINDS[[GAUGE, SUM]] = kernels.NUMBER
_POINT_KINDS[HISTOGRAM] = kernels.HISTOGRAM
_POINT_KINDS[EXPONENTIAL] = kernels.NATIVE
_POINT_KINDS[SUMMARY] = kernels.SUMMARY

_ATTRIBUTES_NUMBERS = {kernels.NATIVE: 1, kernels.HISTOGRAM: 9, kernels.CONVERTED: 9}
"""The numbers of the attribute fields of points, where they are not 7."""

_USUAL_SIZES = (256, 128, 32, 24)
"""Bytes that a resource, a scope, a metric, a point at least have as a rule."""


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
    - ``shapes``, ``times_ms``, ``starts_ms``, ``value_ends``, ``bound_ends``, ``values``,
      ``bounds``, ``verdicts``: see ``otlp_kernels.read_points``.
    - ``natives``: the points that are native histograms; None where there are none.
    - ``exemplars``: how many there were; ``exemplar_spans`` int64[E, 3]: (point, start, end) of the
      first of them.
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
    starts_ms: Numbers
    value_ends: Numbers
    bound_ends: Numbers
    values: NDArray[np.float64]
    bounds: NDArray[np.float64]
    verdicts: Bytes
    natives: Natives | None
    exemplars: int
    exemplar_spans: Numbers


def scan(message: Bytes, *, convert: bool = False) -> Scanned:
    """The columns of the request in *message*; raises Malformed where it is none.

    With *convert* cumulative histograms with explicit buckets become native ones.
    """
    resources, scopes, metrics, points = _walk(message)
    message, identity_starts, identity_ends = _identities(message, metrics)
    start, end, parent = walk_kernels.START, walk_kernels.END, walk_kernels.PARENT
    kinds = metrics[walk_kernels.KIND]
    above = points[parent]
    point_kinds = _POINT_KINDS[kinds]
    if convert:
        cumulative = metrics[walk_kernels.TEMPORALITY] == CUMULATIVE
        point_kinds[cumulative & (kinds == HISTOGRAM)] = kernels.CONVERTED
    message, columns = _read_points(message, points, point_kinds[above])
    natives = _natives(message, columns, point_kinds[above])
    return Scanned(
        message,
        resources=Spans(resources[start], resources[end], np.zeros_like(resources[start])),
        scopes=Spans(scopes[start], scopes[end], scopes[parent]),
        scope_schemas=Spans(
            scopes[walk_kernels.SCHEMA_START], scopes[walk_kernels.SCHEMA_END], scopes[parent]
        ),
        metrics=Spans(identity_starts, identity_ends, metrics[parent]),
        metric_kinds=kinds,
        temporalities=metrics[walk_kernels.TEMPORALITY],
        monotonic=metrics[walk_kernels.MONOTONIC] != 0,
        attributes=Spans(columns.attributes, columns.attributes_end, above),
        shapes=columns.shapes,
        times_ms=columns.times_ms,
        starts_ms=columns.starts_ms,
        value_ends=columns.value_ends,
        bound_ends=columns.bound_ends,
        values=columns.values,
        bounds=columns.bounds,
        verdicts=columns.verdicts,
        natives=natives,
        exemplars=columns.exemplars,
        exemplar_spans=columns.exemplar_spans,
    )


def _walk(message: Bytes) -> list[Numbers]:
    """The tables of resources, scopes, metrics and points; see ``otlp_walk_kernels.walk``."""
    rooms = [len(message) // size + 8 for size in _USUAL_SIZES]
    while True:
        tables = [
            np.empty((rows, min(room, MAX_FIELDS)), dtype=np.int64)
            for rows, room in zip(walk_kernels.ROWS, rooms, strict=True)
        ]
        status, position, *counts = walk_kernels.walk(message, *tables)
        _check(status, position, message)
        if max(counts) > MAX_FIELDS:
            raise Malformed(f"more than {MAX_FIELDS} messages of one kind in one request")
        if all(count <= room for count, room in zip(counts, rooms, strict=True)):
            return [table[:, :count] for table, count in zip(tables, counts, strict=True)]
        rooms = counts


def _check(status: int, position: int, message: Bytes) -> None:
    if status == kernels.NO_ROOM:
        raise Malformed("too many quantiles in one request")
    if status != OK:
        raise Malformed(f"proto: {STATUS_TEXTS[status]} at byte {position} of {len(message)}")


def _identities(message: Bytes, metrics: Numbers) -> tuple[Bytes, Numbers, Numbers]:
    """*message*, and the spans in it of what names each metric.

    Usually that is what stands before the data; otherwise it is written anew behind *message*.
    """
    starts, ends = metrics[walk_kernels.START], metrics[walk_kernels.END]
    late = np.flatnonzero(ends == walk_kernels.LATE)
    if not len(late):
        return message, starts, ends
    whole_ends = metrics[walk_kernels.METRIC_END, late]
    spans = list(zip(starts[late].tolist(), whole_ends.tolist(), strict=True))
    message, new_starts, new_ends = _rewritten(message, spans, metric_identity)
    starts, ends = starts.copy(), ends.copy()
    starts[late], ends[late] = new_starts, new_ends
    return message, starts, ends


@dataclass(frozen=True, slots=True)
class _Columns:
    starts: Numbers
    ends: Numbers
    attributes: Numbers
    attributes_end: Numbers
    shapes: Numbers
    times_ms: Numbers
    starts_ms: Numbers
    value_ends: Numbers
    bound_ends: Numbers
    values: NDArray[np.float64]
    bounds: NDArray[np.float64]
    verdicts: Bytes
    exemplars: int
    exemplar_spans: Numbers


def _read_points(message: Bytes, points: Numbers, kinds: Bytes) -> tuple[Bytes, _Columns]:
    """The columns of the points; those in an unusual order are written anew behind *message*."""
    starts, ends = points[walk_kernels.START], points[walk_kernels.END]
    columns = _read(message, starts, ends, kinds)
    irregular = np.flatnonzero(columns.verdicts == kernels.IRREGULAR)
    if not len(irregular):
        return message, columns
    found = [(int(starts[one]), int(ends[one])) for one in irregular.tolist()]
    kinds_found = iter(kinds[irregular].tolist())

    def write(point: bytes) -> bytes:
        kind = next(kinds_found)
        histogram = kind in (kernels.HISTOGRAM, kernels.CONVERTED)
        return point_in_order(point, _ATTRIBUTES_NUMBERS.get(kind, 7), histogram=histogram)

    message, new_starts, new_ends = _rewritten(message, found, write)
    starts, ends = starts.copy(), ends.copy()
    starts[irregular], ends[irregular] = new_starts, new_ends
    return message, _read(message, starts, ends, kinds)


def _natives(message: Bytes, columns: _Columns, kinds: Bytes) -> Natives | None:
    """The native histograms; the verdicts of *columns* on those that are none are changed."""
    native = (columns.shapes == kernels.NATIVE) & (columns.verdicts == kernels.GOOD)
    if not native.any():
        return None
    points = np.flatnonzero(native)
    custom = kinds[points] == kernels.CONVERTED
    natives = read_natives(message, points, columns.starts[points], columns.ends[points], custom)
    columns.verdicts[points[natives.refused]] = kernels.INVALID_NATIVE
    return natives


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
    total = int((ends - starts).sum())
    room = total // 8 + 3 * count + 3
    points = np.empty((7, count), dtype=np.int64)
    verdicts = np.empty(count, dtype=np.uint8)
    values, bounds = np.empty(room), np.empty(room)
    exemplar_spans = np.empty((min(total // 2 + 1, MAX_EXEMPLARS), 3), dtype=np.int64)
    status, position, exemplars = kernels.read_points(
        message, starts, ends, kinds, points, verdicts,
        values, values.view(np.uint64), bounds, bounds.view(np.uint64), exemplar_spans,
    )  # fmt: skip
    _check(status, position, message)
    return _Columns(
        starts,
        ends,
        points[kernels.ATTRIBUTES],
        points[kernels.ATTRIBUTES_END],
        points[kernels.SHAPE],
        points[kernels.TIME_MS],
        points[kernels.START_MS],
        points[kernels.VALUES_END],
        points[kernels.BOUNDS_END],
        values,
        bounds,
        verdicts,
        exemplars,
        exemplar_spans[:exemplars],
    )

"""NameBook: what was learnt of resources, scopes, metrics, shapes and points, each once.

Five interners in a chain, each below the one before, give every data point a number by its bytes
alone; only numbers that are new are looked into with Python.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from wire.errors import Malformed
from wire.otlp_intern import Interner
from wire.otlp_keys import UNKNOWN, KeyTable
from wire.otlp_labels import (
    Metric,
    RefusedError,
    Resource,
    Scope,
    Shape,
    make_metric,
    make_resource,
    make_scope,
    make_shape,
    point_keys,
)
from wire.otlp_options import Options
from wire.otlp_scan import Scanned, Spans

MAX_NEW_NAMES = 100_000
"""Resources, scopes or metrics that one request may bring, and their bytes:"""
MAX_NEW_NAME_BYTES = 16 << 20
MAX_NEW_SERIES = 100_000
"""Series that one request may bring, and the bytes of their keys:"""
MAX_NEW_KEY_BYTES = 64 << 20
MAX_BUCKETS = 10_000
"""Bounds of a histogram, quantiles of a summary."""

Numbers = NDArray[np.int64]
T = TypeVar("T")

_KIND_BITS = 5
_KIND, _MONOTONIC = 15, 16
_SHAPE_BITS = 24


class _Level(Generic[T]):
    """An interner, and what each of its ids means or why it is refused."""

    def __init__(self) -> None:
        self.interner = Interner()
        self.refused: dict[int, RefusedError] = {}
        self._meanings: list[T | None] = []
        self._good = np.zeros(64, dtype=np.bool_)

    def good(self, ids: Numbers) -> NDArray[np.bool_]:
        """bool[n]: which ids are there and mean something."""
        return (ids >= 0) & self._good[ids]

    def learn(self, make: Callable[[int, bytes], T]) -> None:
        """Calls ``make(parent, bytes)`` for every id without a meaning; it may raise RefusedError.

        Malformed where these are too many.
        """
        first, count = len(self._meanings), self.interner.count
        if count - first > MAX_NEW_NAMES:
            raise Malformed(f"more than {MAX_NEW_NAMES} new resources, scopes or metrics at once")
        if count > len(self._good):
            more = np.zeros(max(count, 2 * len(self._good)), dtype=np.bool_)
            more[:first] = self._good[:first]
            self._good = more
        read_bytes = 0
        for one in range(first, count):
            text = self.interner.text(one)
            read_bytes += len(text)
            if read_bytes > MAX_NEW_NAME_BYTES:
                raise Malformed(f"more than {MAX_NEW_NAME_BYTES} bytes of new names at once")
            meaning: T | None = None
            try:
                meaning = make(self.interner.parent(one), text)
            except RefusedError as error:
                self.refused[one] = error
            self._meanings.append(meaning)
            self._good[one] = meaning is not None

    def meaning(self, one: int) -> T:
        """What a good id means."""
        found = self._meanings[one]
        assert found is not None
        return found


class NameBook:
    """See the module's head. Not safe for threads."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.table = KeyTable()
        self.resources: _Level[Resource] = _Level()
        self.metrics: _Level[Metric] = _Level()
        self._schemas: _Level[tuple[Resource, bytes]] = _Level()
        self.scopes: _Level[Scope] = _Level()
        self._shapes = Interner()
        self._shapes_made: dict[int, Shape] = {}
        self._points = Interner()
        self.refused_points: dict[int, RefusedError] = {}
        self._info_keys = np.zeros(0, dtype=np.int64)

    @property
    def size_bytes(self) -> int:
        """Memory in use, about."""
        levels = (self.resources, self._schemas, self.scopes, self.metrics)
        interners = (*(level.interner for level in levels), self._shapes, self._points)
        return sum(one.size_bytes for one in interners) + self.table.size_bytes

    def resource_ids(self, scanned: Scanned) -> Numbers:
        """int64: the ids of the resources; unknown ones are learnt."""
        level, spans = self.resources, scanned.resources
        nothing_above = np.zeros(len(spans), dtype=np.int64)
        ids = level.interner.ids(scanned.message, spans.starts, spans.ends, nothing_above)
        level.learn(lambda parent, text: make_resource(text, self._options))
        self._learn_info_keys()
        return ids

    def info_keys(self, resource_ids: Numbers) -> Numbers:
        """int64: the numbers of the keys of the resources' target_info, -1 where they have none."""
        return self._info_keys[resource_ids]

    def scope_ids(self, scanned: Scanned, resource_ids: Numbers) -> Numbers:
        """int64: the ids of the scopes, negative below a refused resource."""
        scopes, schemas = scanned.scopes, scanned.scope_schemas
        if not self._options.promote_scope_metadata:
            nothing = np.zeros(len(scopes), dtype=np.int64)
            scopes = Spans(nothing, nothing, scopes.parents)
            schemas = Spans(nothing, nothing, schemas.parents)
        message = scanned.message
        above = resource_ids[scopes.parents]
        above[~self.resources.good(above)] = -1
        schema_ids = self._schemas.interner.ids(message, schemas.starts, schemas.ends, above)
        self._schemas.learn(lambda parent, text: (self.resources.meaning(parent), text))
        ids = self.scopes.interner.ids(message, scopes.starts, scopes.ends, schema_ids)
        self.scopes.learn(self._make_scope)
        return ids

    def metric_ids(self, scanned: Scanned, scope_ids: Numbers) -> Numbers:
        """int64: the ids of the metrics, negative below a refused scope."""
        metrics = scanned.metrics
        above = scope_ids[metrics.parents]
        good = self.scopes.good(above)
        kinds = scanned.metric_kinds | scanned.monotonic * _MONOTONIC
        parents = np.where(good, above << _KIND_BITS | kinds, -1)
        ids = self.metrics.interner.ids(scanned.message, metrics.starts, metrics.ends, parents)
        self.metrics.learn(self._make_metric)
        return ids

    def point_ids(
        self, scanned: Scanned, metric_ids: Numbers, wanted: NDArray[np.bool_]
    ) -> Numbers:
        """int64: the ids of the *wanted* points (bool[P]) of metrics that have a name, else -1.

        Those in ``refused_points`` cannot be named; for those that the key table does not know,
        the request brings too many new series.
        """
        shape_ids = self._shape_ids(scanned)
        above = metric_ids[scanned.attributes.parents]
        wanted = wanted & self.metrics.good(above)
        parents = np.where(wanted, above << _SHAPE_BITS | shape_ids, -1)
        spans = scanned.attributes
        ids = self._points.ids(scanned.message, spans.starts, spans.ends, parents)
        self.table.make_room(self._points.count)
        named = ids[ids >= 0]
        new = named[self.table.counts[named] == UNKNOWN]
        if len(new):
            self._learn_points(np.unique(new).tolist())
        return ids

    def _learn_info_keys(self) -> None:
        level = self.resources
        new = range(len(self._info_keys), level.interner.count)
        if not new:
            return
        found = [b"" if one in level.refused else level.meaning(one).info_key for one in new]
        numbers = np.full(len(new), -1, dtype=np.int64)
        has_key = np.array([bool(key) for key in found])
        first = self.table.add([key for key in found if key])
        numbers[has_key] = np.arange(first, self.table.count)
        self._info_keys = np.concatenate([self._info_keys, numbers])

    def _make_scope(self, parent: int, text: bytes) -> Scope:
        resource, schema_url = self._schemas.meaning(parent)
        return make_scope(resource, text, schema_url, self._options)

    def _make_metric(self, parent: int, text: bytes) -> Metric:
        scope = self.scopes.meaning(parent >> _KIND_BITS)
        return make_metric(scope, text, parent & _KIND, bool(parent & _MONOTONIC), self._options)

    def _shape_ids(self, scanned: Scanned) -> Numbers:
        ends = scanned.bound_ends * 8
        starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]])
        data = scanned.bounds.view(np.uint8)
        ids = self._shapes.ids(data, starts[: len(ends)], ends, scanned.shapes)
        if self._shapes.count >= 1 << _SHAPE_BITS:
            raise Malformed("too many different bucket layouts")
        return ids

    def _learn_points(self, new: list[int]) -> None:
        """Names the points of *new* ids as long as the request's share of new series lasts."""
        groups: list[int] = []
        keys: list[list[bytes]] = []
        series = size_bytes = 0
        for one in new:
            text, parent = self._points.text(one), self._points.parent(one)
            shape_id = parent & (1 << _SHAPE_BITS) - 1
            made: list[bytes] = []
            try:
                wanted = self._series_of(shape_id)
                size_bytes += len(text) * wanted
                if series + wanted > MAX_NEW_SERIES or size_bytes > MAX_NEW_KEY_BYTES:
                    break
                metric = self.metrics.meaning(parent >> _SHAPE_BITS)
                made = point_keys(metric, self._shape(shape_id), text, self._options)
            except RefusedError as error:
                self.refused_points[one] = error
            series += len(made)
            size_bytes += sum(map(len, made))
            groups.append(one)
            keys.append(made)
        self.table.put(groups, keys)

    def _series_of(self, shape_id: int) -> int:
        """About how many series a point of that shape makes."""
        limits = len(self._shapes.text(shape_id)) // 8
        if limits > MAX_BUCKETS:
            raise RefusedError("too-many-buckets", f"more than {MAX_BUCKETS} buckets or quantiles")
        return limits + 3

    def _shape(self, shape_id: int) -> Shape:
        found = self._shapes_made.get(shape_id)
        if found is None:
            limits = np.frombuffer(self._shapes.text(shape_id), dtype=np.float64)
            found = make_shape(self._shapes.parent(shape_id), limits.tolist())
            self._shapes_made[shape_id] = found
        return found

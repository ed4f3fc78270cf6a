"""OTLP requests for tests, made with OpenTelemetry's own protobuf classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from series.histogram import Histogram
from series.labels import Labels
from wire.otlp_request import MetricsRequest
from wire.otlp_translate import Translator

NOW_MS = 1_700_000_000_000
DELTA, CUMULATIVE = 1, 2
Rows = list[tuple[dict[str, str], list[int], list[float]]]


def set_value(target: Any, value: Any) -> None:
    """Fills an AnyValue."""
    match value:
        case None:
            return
        case bool():
            target.bool_value = value
        case int():
            target.int_value = value
        case float():
            target.double_value = value
        case str():
            target.string_value = value
        case bytes():
            target.bytes_value = value
        case list():
            target.array_value.SetInParent()
            for one in value:
                set_value(target.array_value.values.add(), one)
        case dict():
            target.kvlist_value.SetInParent()
            set_attributes(target.kvlist_value.values, value)


def set_attributes(target: Any, attributes: Mapping[str, Any]) -> None:
    """Fills a list of KeyValues."""
    for key, value in attributes.items():
        one = target.add()
        one.key = key
        set_value(one.value, value)


class Export:
    """A request under construction: one resource, one scope, metrics one by one."""

    def __init__(self, **resource: Any) -> None:
        self.message = ExportMetricsServiceRequest()
        self.resource(**resource)

    def resource(self, **attributes: Any) -> "Export":
        """Another resource; ``service__name`` stands for service.name."""
        self._resource = self.message.resource_metrics.add()
        dotted = {key.replace("__", "."): value for key, value in attributes.items()}
        set_attributes(self._resource.resource.attributes, dotted)
        return self.scope("")

    def scope(self, name: str, version: str = "", url: str = "", **attributes: Any) -> "Export":
        """Another scope below the last resource."""
        self._scope = self._resource.scope_metrics.add()
        self._scope.scope.name, self._scope.scope.version = name, version
        self._scope.schema_url = url
        set_attributes(self._scope.scope.attributes, attributes)
        return self

    def metric(self, name: str, unit: str = "", description: str = "") -> Any:
        metric = self._scope.metrics.add()
        metric.name, metric.unit, metric.description = name, unit, description
        return metric

    def gauge(self, name: str, value: float, unit: str = "", **point: Any) -> "Export":
        self._number(self.metric(name, unit).gauge, value, **point)
        return self

    def counter(
        self,
        name: str,
        value: float,
        unit: str = "",
        temporality: int = CUMULATIVE,
        monotonic: bool = True,
        **point: Any,
    ) -> "Export":
        data = self.metric(name, unit).sum
        data.aggregation_temporality, data.is_monotonic = temporality, monotonic
        self._number(data, value, **point)
        return self

    def histogram(
        self,
        name: str,
        counts: list[int],
        bounds: list[float],
        total: float | None = None,
        temporality: int = CUMULATIVE,
        **point: Any,
    ) -> "Export":
        data = self.metric(name).histogram
        data.aggregation_temporality = temporality
        one = data.data_points.add()
        one.count = sum(counts)
        one.bucket_counts.extend(counts)
        one.explicit_bounds.extend(bounds)
        if total is not None:
            one.sum = total
        self._point(one, **point)
        return self

    def exponential(
        self,
        name: str,
        positive: tuple[int, list[int]] = (0, []),
        negative: tuple[int, list[int]] = (0, []),
        scale: int = 0,
        zero_count: int = 0,
        total: float | None = None,
        temporality: int = CUMULATIVE,
        **point: Any,
    ) -> "Export":
        """An exponential histogram; its sides are (offset, counts)."""
        data = self.metric(name).exponential_histogram
        data.aggregation_temporality = temporality
        one = data.data_points.add()
        one.count = sum(positive[1]) + sum(negative[1]) + zero_count
        one.scale, one.zero_count = scale, zero_count
        for side, (offset, counts) in ((one.positive, positive), (one.negative, negative)):
            side.offset = offset
            side.bucket_counts.extend(counts)
        if total is not None:
            one.sum = total
        self._point(one, **point)
        return self

    def _number(self, data: Any, value: float, **point: Any) -> None:
        one = data.data_points.add()
        if isinstance(value, int):
            one.as_int = value
        else:
            one.as_double = value
        self._point(one, **point)

    def _point(
        self, one: Any, at_ms: int = NOW_MS, flags: int = 0, start_ms: int = 0, **attributes: Any
    ) -> None:
        one.time_unix_nano, one.flags = at_ms * 1_000_000, flags
        one.start_time_unix_nano = start_ms * 1_000_000
        set_attributes(one.attributes, attributes)
        self.point = one

    @property
    def body(self) -> bytes:
        return bytes(self.message.SerializeToString())


def translate(translator: Translator, body: bytes, now_ms: int = NOW_MS) -> MetricsRequest:
    """The request in *body*, every invariant of its batch checked."""
    request = translator.translate(np.frombuffer(body, dtype=np.uint8), now_ms)
    request.batch.check()
    return request


def rows(request: MetricsRequest) -> Rows:
    """Labels, times and values of every row; keys are checked to be canonical."""
    batch = request.batch
    found = []
    for row in range(batch.series_count):
        labels = Labels.from_key(batch.key(row))
        assert labels.key == batch.key(row)
        values = batch.row_values(row).tolist()
        found.append((labels.as_dict(), batch.row_times_ms(row).tolist(), values))
    return found


def histograms(request: MetricsRequest) -> dict[str, Histogram]:
    """Series as text -> native histogram, for requests with one sample a series."""
    batch = request.batch
    if batch.histogram_ids is None or batch.histograms is None:
        return {}
    found = {}
    for row in range(batch.series_count):
        one = int(batch.histogram_ids[batch.offsets[row]])
        if one >= 0:
            found[str(Labels.from_key(batch.key(row)))] = batch.histograms.one(one)
    return found


def exemplars(request: MetricsRequest) -> list[tuple[str, dict[str, str], int, float]]:
    """(series, labels, time, value) of every exemplar."""
    batch = request.batch
    if (found := batch.exemplars) is None:
        return []
    return [
        (
            str(Labels.from_key(batch.key(row))),
            Labels.from_key(found.key(at)).as_dict(),
            int(found.times_ms[at]),
            float(found.values[at]),
        )
        for at, row in enumerate(found.rows.tolist())
    ]


def values(request: MetricsRequest) -> dict[str, float]:
    """Series as text -> value, for requests with one sample a series."""
    return {str(Labels.of(labels)): row[0] for labels, _, row in rows(request)}

"""OTLP requests of every shape against a slow reading of OpenTelemetry's own message objects."""

import math
import struct
from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from series.labels import Labels
from tests.wire.encode import chunk
from tests.wire.otlp import DELTA, NOW_MS, Export, rows, set_attributes, translate
from wire.errors import Malformed
from wire.otlp_options import Options, Strategy
from wire.otlp_translate import Translator

STALE = 0x7FF0000000000002
AS_SENT = Options(translation_strategy=Strategy.UTF8)
LEVELS = ({1}, {2}, {2}, {5, 7, 9, 10, 11}, {1}, set[int]())
"""Fields with messages: of a request, a resource, a scope, a metric, its data; of points none."""
Row = tuple[tuple[tuple[str, str], ...], int, int]
"""Labels, time in ms, bits of the value."""

Sample = tuple[str, dict[str, str], float]
"""Suffix of the name, further labels, value."""

texts = st.text("ab.é", min_size=1, max_size=3)
attribute_sets = st.dictionaries(texts, st.sampled_from(["x", "y", ""]), max_size=3)
times_ms = st.integers(NOW_MS - 3, NOW_MS)
numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(width=64))
bounds = st.lists(st.sampled_from([-1.0, 0.5, 2.0, 1e9, math.inf]), unique=True, max_size=4)


KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary", "")


@st.composite
def exports(draw: st.DrawFn) -> Export:
    """A few resources, scopes and metrics with points of every kind, some of them wrong."""
    export = Export()
    for _ in range(draw(st.integers(0, 2))):
        export.resource()
        set_attributes(export._resource.resource.attributes, draw(attribute_sets))
        for _ in range(draw(st.integers(0, 4))):
            metric = export.metric(draw(st.sampled_from(["m", "n.o"])), description=draw(texts))
            fill(draw, metric, draw(st.sampled_from(KINDS)))
    return export


def fill(draw: st.DrawFn, metric: Any, kind: str) -> None:
    if not kind:
        return
    data = getattr(metric, kind)
    data.SetInParent()
    if kind in ("sum", "histogram", "exponential_histogram"):
        data.aggregation_temporality = draw(st.integers(0, 2))
    if kind == "sum":
        data.is_monotonic = draw(st.booleans())
    for _ in range(draw(st.integers(0, 3))):
        point = data.data_points.add()
        set_attributes(point.attributes, draw(attribute_sets))
        point.time_unix_nano = draw(times_ms) * 1_000_000 + draw(st.integers(0, 999_999))
        point.start_time_unix_nano = draw(st.integers(0, 2**63))
        point.flags = draw(st.integers(0, 3))
        if kind in ("gauge", "sum"):
            value = draw(st.none() | numbers)
            if isinstance(value, int):
                point.as_int = value
            elif value is not None:
                point.as_double = value
            continue
        point.count = draw(st.integers(0, 2**64 - 1))
        if draw(st.booleans()):
            point.sum = draw(st.floats())
        if kind == "exponential_histogram":
            point.scale, point.zero_count = draw(st.integers(-6, 9)), draw(st.integers(0, 3))
            point.positive.bucket_counts.extend(draw(st.lists(st.integers(0, 2))))
            if draw(st.booleans()):
                point.count = point.zero_count + sum(point.positive.bucket_counts)
            continue
        if kind == "summary":
            for quantile in draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), unique=True)):
                one = point.quantile_values.add()
                one.quantile, one.value = quantile, draw(st.floats())
        else:
            limits = draw(bounds)
            size = draw(st.sampled_from([len(limits) + 1, len(limits) + 1, 0, len(limits)]))
            point.explicit_bounds.extend(limits)
            point.bucket_counts.extend(draw(st.integers(0, 2**40)) for _ in range(size))


class Twin:
    """The slow reading, with its own totals of deltas."""

    def __init__(self) -> None:
        self.totals: dict[tuple[tuple[str, str], ...], tuple[int, float, float]] = {}

    def rows(self, message: Any) -> tuple[list[Row], int]:
        """The rows of a request without target_info, and how many points it refuses."""
        found: list[Row] = []
        refused = 0
        for resource in message.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    kind = metric.WhichOneof("data")
                    points = getattr(metric, kind).data_points if kind else ()
                    for point in points:
                        rows = self.point(metric, kind, point)
                        refused += rows is None
                        found += rows or []
        return found, refused

    def point(self, metric: Any, kind: str, point: Any) -> list[Row] | None:
        data = getattr(metric, kind)
        temporality = getattr(data, "aggregation_temporality", 2)
        if temporality == 0 or (temporality == DELTA and kind == "exponential_histogram"):
            return None
        stale = bool(point.flags & 1)
        samples = self.samples(kind, point, stale)
        if samples is None:
            return None
        attributes = sorted((one.key, one.value.string_value) for one in point.attributes)
        at_ms = point.time_unix_nano // 1_000_000
        series = []
        for suffix, further, value in samples:
            labels = Labels.of(dict(attributes) | {"__name__": metric.name + suffix} | further)
            series.append((labels.pairs, value))
        if temporality == DELTA and not stale:
            if not all(math.isfinite(value) for _, value in series):
                return None
            summed = [(pairs, self.add(pairs, at_ms, value)) for pairs, value in series]
            if any(value is None for _, value in summed):
                return None
            series = [(pairs, value) for pairs, value in summed if value is not None]
        return [(pairs, at_ms, STALE if stale else bits(value)) for pairs, value in series]

    def samples(self, kind: str, point: Any, stale: bool) -> list[Sample] | None:
        if kind in ("gauge", "sum"):
            which = point.WhichOneof("value")
            if which is None and not stale:
                return None
            return [("", {}, float(getattr(point, which)) if which else 0.0)]
        if kind == "exponential_histogram":
            found = point.zero_count + sum(point.positive.bucket_counts)
            fits = found <= point.count if math.isnan(point.sum) else found == point.count
            return [("", {}, 0.0)] if stale or (point.scale >= -4 and fits) else None
        total: list[Sample] = (
            [("_sum", {}, point.sum)] if kind == "summary" or point.HasField("sum") else []
        )
        count: Sample = ("_count", {}, float(point.count))
        if kind == "summary":
            quantiles = [
                ("", {"quantile": go(one.quantile)}, one.value) for one in point.quantile_values
            ]
            return [*quantiles, *total, count]
        counts, limits = list(point.bucket_counts), list(point.explicit_bounds)
        if not counts:
            limits = []
        elif len(counts) != len(limits) + 1:
            return None
        if limits != sorted(limits):
            return None
        buckets = [
            ("_bucket", {"le": go(limit)}, float(sum(counts[: k + 1])))
            for k, limit in enumerate(limits)
            if limit != math.inf
        ]
        return [*buckets, ("_bucket", {"le": "+Inf"}, float(point.count)), *total, count]

    def add(self, pairs: tuple[tuple[str, str], ...], at_ms: int, value: float) -> float | None:
        last_ms, last, total = self.totals.get(pairs, (-1, 0.0, 0.0))
        if at_ms > last_ms:
            total += value
            self.totals[pairs] = (at_ms, value, total)
        elif at_ms < last_ms or value != last:
            return None
        return total


def go(value: float) -> str:
    return "+Inf" if value == math.inf else f"{value:.10f}".rstrip("0").rstrip(".")


def bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


@settings(max_examples=150, deadline=None)
@given(st.lists(exports(), min_size=1, max_size=3))
def test_requests_are_read_as_the_twin_reads_them(sent: list[Export]) -> None:
    """Rows, bit for bit, and the number of refused points, over some requests in a row."""
    translator, twin = Translator(AS_SENT), Twin()
    for export in sent:
        message = ExportMetricsServiceRequest.FromString(export.body)
        expected, refused = twin.rows(message)
        request = translate(translator, export.body)
        batch = request.batch
        got = []
        for row in range(batch.series_count):
            labels = Labels.from_key(batch.key(row))
            if labels.metric != "target_info":
                got.append(
                    (labels.pairs, int(batch.row_times_ms(row)[0]), bits(batch.row_values(row)[0]))
                )
        assert normal(got) == normal(expected)
        assert request.refused_points == refused
        assert request.points == point_count(message)


@settings(max_examples=150, deadline=None)
@given(exports(), st.randoms(use_true_random=False))
def test_the_order_of_fields_does_not_matter(export: Export, random: Random) -> None:
    """Messages whose fields are shuffled at every level come to what the twin reads in them."""
    body = shuffled(export.body, LEVELS, random)
    message = ExportMetricsServiceRequest.FromString(body)
    expected, refused = Twin().rows(message)

    request = translate(Translator(AS_SENT), body)

    got = [
        (tuple(sorted(labels.items())), at_ms, bits(value))
        for labels, (at_ms, *_), (value, *_) in rows(request)
        if labels["__name__"] != "target_info"
    ]
    assert normal(got) == normal(expected)
    assert request.refused_points == refused


def shuffled(message: bytes, levels: Sequence[set[int]], random: Random) -> bytes:
    """*message* with its fields in another order, so too the messages in fields *levels*[0]."""
    found = []
    at = 0
    while at < len(message):
        start = at
        tag, at = read_varint(message, at)
        size = {1: 8, 5: 4}.get(tag % 8, 0)
        if tag % 8 == 2:
            size, at = read_varint(message, at)
        elif tag % 8 == 0:
            _, at = read_varint(message, at)
        inner, at = message[at : at + size], at + size
        entered = tag % 8 == 2 and levels and tag >> 3 in levels[0]
        found.append(
            chunk(tag >> 3, shuffled(inner, levels[1:], random)) if entered else message[start:at]
        )
    random.shuffle(found)
    return b"".join(found)


def read_varint(message: bytes, at: int) -> tuple[int, int]:
    end = at
    while message[end] >= 128:
        end += 1
    return sum((message[k] & 127) << 7 * (k - at) for k in range(at, end + 1)), end + 1


def normal(rows: list[Row]) -> dict[tuple[Any, int], list[int]]:
    """Rows by series and time: NaNs of one kind, order within a series kept."""
    found = defaultdict(list)
    for pairs, at_ms, value in rows:
        found[pairs, at_ms].append(value)
    return found


def point_count(message: Any) -> int:
    return sum(
        len(getattr(metric, metric.WhichOneof("data")).data_points)
        for resource in message.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.WhichOneof("data")
    )


EXAMPLE = (
    Export(service__name="s", a="b")
    .gauge("g", 1.0, k="v")
    .counter("c", 2, temporality=DELTA, k="v")
    .histogram("h", [1, 2, 3], [0.5, 1], 2.5, k="v")
    .body
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_bytes_are_malformed_or_harmless(data: st.DataObject) -> None:
    """Whatever bytes are changed, cut or put in, the outcome is a sound batch or Malformed."""
    body = bytearray(EXAMPLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        match data.draw(st.integers(0, 2)):
            case 0:
                body[at] = data.draw(st.integers(0, 255))
            case 1:
                del body[at : at + data.draw(st.integers(1, 5))]
            case _:
                body[at:at] = data.draw(st.binary(min_size=1, max_size=4))
        if not body:
            break
    try:
        request = translate(Translator(Options()), bytes(body))
    except Malformed:
        return
    for row in range(request.batch.series_count):
        labels = Labels.from_key(request.batch.key(row))
        assert labels.key == request.batch.key(row)
        assert labels.metric

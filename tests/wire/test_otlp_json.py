"""OTLP's JSON says the same as its protobuf."""

import orjson
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tests.wire.otlp import DELTA, Export
from wire.errors import Malformed
from wire.otlp_json import MAX_JSON_BYTES, to_protobuf


def every_kind() -> Export:
    """A request with every field that is read."""
    export = Export(service__name="s", deep={"a": [1, 2.5, True, None, b"\x01"]})
    export.scope("lib", "1", "http://u", x="y")
    export.gauge("g", 1.5, "s", k="v", b=False).counter("c", -3, temporality=DELTA, flags=1)
    export.histogram("h", [1, 2**40], [0.5], 2.5, x="1")
    exemplar = export.point.exemplars.add()
    exemplar.time_unix_nano, exemplar.as_double = 7, 0.25
    exemplar.filtered_attributes.add().key = "a"
    export.exponential("e", (-3, [1, 2**40]), (2**31 - 1, [0]), -4, 5, 2.5, x="1")
    export.point.zero_threshold = 0.5
    metric = export.metric("q", "1", "text")
    point = metric.summary.data_points.add()
    point.count, point.sum = 2, 3.0
    quantile = point.quantile_values.add()
    quantile.quantile, quantile.value = 0.5, float("inf")
    return export


@pytest.mark.parametrize("proto_names", [False, True])
def test_json_becomes_the_same_message(proto_names: bool) -> None:
    """Compared after OpenTelemetry's own reading of both."""
    sent = every_kind().message
    text = json_format.MessageToJson(
        sent, preserving_proto_field_name=proto_names, use_integers_for_enums=not proto_names
    )
    assert ExportMetricsServiceRequest.FromString(to_protobuf(text.encode())) == sent


def test_lenient_forms() -> None:
    """Nulls, unknown keys, integers as numbers or texts, numbers as texts."""
    body = {
        "extra": 1,
        "resourceMetrics": [
            {
                "resource": None,
                "scopeMetrics": [
                    {
                        "metrics": [
                            {
                                "name": "g",
                                "gauge": {
                                    "dataPoints": [
                                        {"timeUnixNano": 5, "asInt": "-7", "exemplars": [{}]},
                                        {"timeUnixNano": "6", "asDouble": "NaN"},
                                        {"asInt": 3.0},
                                    ]
                                },
                            }
                        ]
                    }
                ],
            }
        ],
    }
    message = ExportMetricsServiceRequest.FromString(to_protobuf(orjson.dumps(body)))
    first, second, third = message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    assert (first.time_unix_nano, first.as_int, len(first.exemplars)) == (5, -7, 1)
    assert second.as_double != second.as_double
    assert third.as_int == 3


def test_ids_are_hexadecimal() -> None:
    """Of the traces and spans of exemplars, unlike other bytes."""
    exemplar = '{"asInt":"5","traceId":"0AfF","span_id":"01"}'
    gauge = f'{{"dataPoints":[{{"exemplars":[{exemplar}]}}]}}'
    body = f'{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"gauge":{gauge}}}]}}]}}]}}'
    message = ExportMetricsServiceRequest.FromString(to_protobuf(body.encode()))
    [point] = message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points
    [found] = point.exemplars
    assert (found.as_int, found.trace_id, found.span_id) == (5, b"\x0a\xff", b"\x01")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b"[]",
        b'{"resourceMetrics":{}}',
        b'{"resourceMetrics":[1]}',
        b'{"resourceMetrics":[{"schemaUrl":1}]}',
        b'{"resourceMetrics":[{"schemaUrl":"\\ud800"}]}',
        *(
            b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"%b":%b}]}]}]}' % pair
            for pair in (
                (b"gauge", b'{"dataPoints":[{"asInt":1.5}]}'),
                (b"gauge", b'{"dataPoints":[{"asInt":"x"}]}'),
                (b"gauge", b'{"dataPoints":[{"asInt":true}]}'),
                (b"gauge", b'{"dataPoints":[{"asInt":18446744073709551616}]}'),
                (b"gauge", b'{"dataPoints":[{"asInt":"18446744073709551616"}]}'),
                (b"gauge", b'{"dataPoints":[{"asInt":"' + b"9" * 5000 + b'"}]}'),
                (b"gauge", b'{"dataPoints":[{"asInt":1e300}]}'),
                (b"gauge", b'{"dataPoints":[{"asDouble":"x"}]}'),
                (b"gauge", b'{"dataPoints":[{"asDouble":{}}]}'),
                (b"gauge", b'{"dataPoints":[{"exemplars":[{"traceId":"xy"}]}]}'),
                (b"gauge", b'{"dataPoints":[{"exemplars":[{"spanId":1}]}]}'),
                (b"exponentialHistogram", b'{"dataPoints":[{"scale":2147483648}]}'),
                (b"exponentialHistogram", b'{"dataPoints":[{"positive":{"bucketCounts":1}}]}'),
                (b"sum", b'{"isMonotonic":1}'),
                (b"sum", b'{"aggregationTemporality":"x"}'),
                (b"histogram", b'{"dataPoints":[{"bucketCounts":["1",{}]}]}'),
                (b"gauge", b'{"dataPoints":[{"attributes":[{"value":{"bytesValue":"?"}}]}]}'),
                (b"gauge", b'{"dataPoints":[{"attributes":[{"value":{"bytesValue":1}}]}]}'),
            )
        ),
    ],
)
def test_other_json_is_malformed(body: bytes) -> None:
    """Named by the key, never an exception of another kind."""
    with pytest.raises(Malformed, match="json"):
        to_protobuf(body)


def test_json_is_bounded() -> None:
    """In length and depth."""
    with pytest.raises(Malformed, match="limit"):
        to_protobuf(b" " * (MAX_JSON_BYTES + 1))
    deep = b'{"arrayValue":{"values":[' * 100 + b"{}" + b"]}}" * 100
    point = b'{"dataPoints":[{"attributes":[{"value":%b}]}]}' % deep
    with pytest.raises(Malformed, match="nested too deeply"):
        to_protobuf(b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":%b}]}]}]}' % point)

"""Corpora of the protobuf doors."""

import base64
import struct
from typing import Any

from google.protobuf.json_format import MessageToJson
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from tests.wire import encode, encode_v2
from tests.wire.histograms import STALE, Sent, zigzag
from tests.wire.otlp import CUMULATIVE, DELTA, NOW_MS, Export, set_attributes
from tests.wire.test_remote_write_known import labels_of

Files = dict[str, bytes]
_TRACE_ID, _SPAN_ID = bytes(range(16)), bytes(range(8, 16))
NAME = (b"__name__", b"http_requests_total")


def _points(count: int) -> list[tuple[int, float]]:
    return [(NOW_MS + 15_000 * k, 1.5 * k) for k in range(count)]


def _label_sets() -> dict[str, list[tuple[bytes, bytes]]]:
    return {
        "plain": [NAME, (b"code", b"200"), (b"job", b"api")],
        "unsorted": [(b"job", b"api"), NAME, (b"code", b"200")],
        "nameless": [(b"job", b"api")],
        "empty-value": [NAME, (b"a", b""), (b"b", b"1")],
        "twice": [NAME, (b"a", b"1"), (b"a", b"2")],
        "not-utf8": [NAME, (b"a", b"\xff\xfe")],
        "wide": [NAME, *((f"l{k:03}".encode(), b"x" * k) for k in range(40))],
        "unicode": [NAME, ("ä".encode(), "日本".encode())],
    }


def _histograms() -> Files:
    """Native ones, a message each."""
    spans: list[tuple[int, int]] = [(0, 2), (3, 1)]
    counts: list[float] = [1, 2, 3]
    every = Sent(
        False, 3, 13, 5.5, 1e-9, 4, [(-5, 1)], [3], spans, counts, time_ms=NOW_MS, start_ms=1
    )
    bounds = [1.0, 2.5, 5.0, 9.0, 10.0]
    return {
        "integer": every.message(),
        "unpacked": every.message(packed=False),
        "float": Sent(True, 0, 6.5, 1.0, positive_spans=[(1, 2)], positive=[2.5, 4.0]).message(),
        "custom": Sent(
            schema=-53, count=6, sum=1.0, positive_spans=spans, positive=counts, bounds=bounds
        ).message(),
        "fine": Sent(schema=20, count=6, sum=1.0, positive_spans=spans, positive=counts).message(),
        "end": Sent(sum=STALE).message(),
        "far": Sent(count=1, positive_spans=[(2**31 - 1, 1)], positive=[1]).message(),
        "wrong-count": Sent(count=1, positive_spans=spans, positive=counts).message(),
        "hint": Sent(hint=3, count=1, positive_spans=[(0, 1)], positive=[1]).message(),
    }


def remote_read() -> Files:
    def matcher(kind: int, name: bytes, text: bytes) -> bytes:
        inner = encode.varint(8) + encode.varint(kind) + encode.chunk(2, name)
        return encode.chunk(3, inner + encode.chunk(3, text))

    def query(*matchers: bytes) -> bytes:
        times = b"\x08" + encode.varint(-5) + b"\x10" + encode.varint(NOW_MS)
        return encode.chunk(1, times + b"".join(matchers))

    return {
        "empty": b"",
        "one": query(matcher(0, b"__name__", b"up")),
        "kinds": query(*(matcher(k, b"job", b"a.*|b") for k in range(4))) + b"\x10\x01",
        "packed": query(matcher(0, b"a", b"")) * 2 + encode.chunk(2, b"\x01\x00"),
        "bad-pattern": query(matcher(2, b"a", b"(")),
        "bad-kind": query(matcher(9, b"a", b"b")),
        "not-utf8": query(matcher(0, b"\xff", b"b")),
    }


def remote_write() -> Files:
    sets = _label_sets()
    files = {
        name: encode.series(encode.Series(labels, _points(2))) for name, labels in sets.items()
    }
    files["empty"] = b""
    files["many"] = b"".join(files.values())
    for name, message in _histograms().items():
        files[f"histogram-{name}"] = encode.series(
            encode.Series(sets["plain"], _points(1), [message])
        )
    files["extra"] = encode.series(encode.Series(sets["plain"], _points(1), extra=b"\x28\x01"))
    files["exemplars"] = encode.series(
        encode.Series(
            sets["plain"], [], exemplars=[encode.exemplar([(b"trace_id", b"x")], NOW_MS, 0.5)]
        )
    )
    files["metadata"] = encode.metadata(1, b"up", b"help", b"s") + files["plain"]
    files["specials"] = encode.series(
        encode.Series(sets["plain"], [(-1, float("nan")), (2**62, float("inf")), (0, -0.0)])
    )
    files["cut"] = files["many"][:-3]
    return files


def remote_write_known() -> Files:
    """Of the series that ``test_remote_write_known`` knows, and of others beside them."""
    known = [
        encode.series(encode.Series(labels_of(number), _points(number))) for number in range(9)
    ]
    files = {"one": known[2], "empty-row": known[0], "in-order": b"".join(known[:6])}
    files["backwards"] = b"".join(known[5::-1])
    files["again"] = known[1] * 3
    files["unknown"] = known[7] + known[1]
    files["specials"] = encode.series(
        encode.Series(labels_of(1), [(-1, float("nan")), (2**62, float("inf")), (0, -0.0)])
    )
    files["cut"] = files["in-order"][:-3]
    return files


def remote_write_2() -> Files:
    sets = _label_sets()
    series = {name: encode_v2.Series(labels, _points(2)) for name, labels in sets.items()}
    files = {name: encode_v2.request(one) for name, one in series.items()}
    plain = sets["plain"]
    exemplars = [([(b"trace_id", b"x")], NOW_MS, 0.5), ([(b"a", b"1"), (b"a", b"2")], 0, 1.0)]
    others = {
        "many": [*series.values()],
        "unpacked": [encode_v2.Series(plain, _points(1), packed=False)],
        "all-kinds": [encode_v2.Series(plain, _points(3), 5, [], exemplars, (1, b"help", b"s"))],
        "bad-references": [encode_v2.Series([], _points(1), refs=[1, 99])],
        "odd-references": [encode_v2.Series([], _points(1), refs=[1])],
        "no-samples": [encode_v2.Series(plain)],
        "described": [encode_v2.Series(plain, _points(1), metadata=(4, b"", b""))] * 3,
    }
    files |= {name: encode_v2.request(*rows) for name, rows in others.items()}
    for name, message in _histograms().items():
        files[f"histogram-{name}"] = encode_v2.request(
            encode_v2.Series(plain, _points(1), histograms=[message])
        )
    files["empty"] = b""
    files["cut"] = files["many"][:-3]
    return files


def _exports() -> dict[str, Export]:
    every = (
        Export(service__name="api", service__instance__id="1", zone="a")
        .scope("lib", "1.0", "url", x="y")
        .gauge("temperature", 21.5, "Cel", room="a")
        .counter("requests", 7, "1", code=200)
        .counter("deltas", 2.5, temporality=DELTA)
        .counter("up_down", -3, monotonic=False)
        .histogram("latency", [1, 2, 3], [0.5, 1], 2.5, path="/")
        .histogram("delta_latency", [1, 2], [0.5], temporality=DELTA)
    )
    summary = every.metric("quantiles").summary.data_points.add()
    summary.count, summary.sum, summary.time_unix_nano = 3, 4.5, NOW_MS * 1_000_000
    quantile = summary.quantile_values.add()
    quantile.quantile, quantile.value = 0.99, 1.25
    exponential = Export(service__name="s")
    for temporality, scale in ((CUMULATIVE, 3), (DELTA, 20), (CUMULATIVE, -10), (CUMULATIVE, -11)):
        data = exponential.metric(f"e{scale}").exponential_histogram
        data.aggregation_temporality = temporality
        point = data.data_points.add()
        point.time_unix_nano, point.start_time_unix_nano = NOW_MS * 1_000_000, 1_000_000
        point.count, point.sum, point.scale, point.zero_count = 9, 12.5, scale, 1
        point.positive.offset, point.negative.offset = -1, 2
        point.positive.bucket_counts.extend([1, 0, 3])
        point.negative.bucket_counts.extend([4])
        exemplar = point.exemplars.add()
        exemplar.as_double, exemplar.time_unix_nano = 1.5, NOW_MS * 1_000_000
        exemplar.trace_id, exemplar.span_id = _TRACE_ID, _SPAN_ID
        set_attributes(exemplar.filtered_attributes, {"user": "a"})
    odd = Export(a=None, b=[1, {"c": 2.5}], d=b"\x00", e=True, f={"g": {"h": []}})
    odd.gauge("kinds", 1, a=1, b=2.5, c=b"x", d=[1, "x"], e={"k": True}, f=None)
    many = Export(service__name="s")
    for k in range(12):
        many.gauge("m", float(k), shard=str(k))
    wrong = Export().counter("untyped", 1, temporality=0).histogram("h", [1], [2.0, 1.0])
    stale = Export(service__name="s").gauge("gone", 0.0, flags=1)
    late = Export(service__name="s").gauge("g", 1.0, at_ms=1).gauge("g", 2.0, at_ms=9_000_000)
    return {
        "every": every,
        "exponential": exponential,
        "odd": odd,
        "many": many,
        "wrong": wrong,
        "stale": stale,
        "late": late,
    }


def _sdk_export() -> bytes:
    """What OpenTelemetry's SDK sends of a few instruments."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], Resource({"service.name": "corpus"})).get_meter("corpus", "1")
    meter.create_counter("requests", "1", "Requests").add(3, {"code": 200})
    meter.create_histogram("latency", "ms").record(12.5, {"path": "/"})
    meter.create_up_down_counter("open").add(-1)
    data = reader.get_metrics_data()
    assert data is not None
    return _at_one_time(encode_metrics(data))


def _at_one_time(request: Any) -> bytes:
    """The bytes of an export of which nothing tells when it was made."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    point.start_time_unix_nano = (NOW_MS - 1000) * 1_000_000
                    point.time_unix_nano = NOW_MS * 1_000_000
    return bytes(request.SerializeToString())


def otlp() -> Files:
    files = {name: export.body for name, export in _exports().items()}
    return files | {"sdk": _sdk_export(), "empty": b"", "cut": files["every"][:-3]}


def _json(message: Any) -> bytes:
    """OTLP's JSON: as any other message's, but ids in hexadecimal digits."""
    text = str(MessageToJson(message, indent=None))
    for number in (_TRACE_ID, _SPAN_ID):
        text = text.replace(base64.b64encode(number).decode(), number.hex())
    return text.encode()


def otlp_json() -> Files:
    files = {name: _json(export.message) for name, export in _exports().items()}
    deep = '{"arrayValue":{"values":[' * 20 + '{"intValue":"1"}' + "]}}" * 20
    attributes = f'[{{"key":"k","value":{deep}}}]'
    files["deep"] = (
        f'{{"resourceMetrics":[{{"resource":{{"attributes":{attributes}}},"scopeMetrics":'
        f'[{{"metrics":[{{"name":"m","gauge":{{"dataPoints":[{{"asInt":"1"}}]}}}}]}}]}}]}}'
    ).encode()
    files["empty"] = b"{}"
    files["no-json"] = b'{"resourceMetrics":['
    return files


def _double(number: int, value: float) -> bytes:
    return encode.varint(number << 3 | 1) + struct.pack("<d", value)


def _integer(number: int, value: int) -> bytes:
    return encode.varint(number << 3) + encode.varint(value)


def exposition_protobuf() -> Files:
    label = encode.chunk(1, encode.chunk(1, b"job") + encode.chunk(2, b"api"))
    exemplar = encode.chunk(1, encode.chunk(1, b"id") + encode.chunk(2, b"x")) + _double(2, 0.5)
    native = b"".join(
        (
            _integer(1, 6), _double(2, 4.5), encode.varint(5 << 3) + zigzag(3), _double(6, 1e-9),
            _integer(7, 1), encode.chunk(9, b"\x08" + zigzag(-5) + _integer(2, 1)),
            encode.chunk(10, zigzag(2)), encode.chunk(12, b"\x08" + zigzag(0) + _integer(2, 2)),
            encode.chunk(13, zigzag(1) + zigzag(1)), encode.chunk(16, exemplar),
            encode.chunk(15, _integer(1, 1_700_000_000)),
        )
    )  # fmt: skip
    kinds = {
        "counter": (0, encode.chunk(3, _double(1, 3.0) + encode.chunk(2, _double(2, 1.0)))),
        "gauge": (1, encode.chunk(2, _double(1, 1.5))),
        "summary": (2, encode.chunk(4, _integer(1, 3) + _double(2, 4.5)
                                    + encode.chunk(3, _double(1, 0.99) + _double(2, 1.0)))),
        "untyped": (3, encode.chunk(5, _double(1, 7.0))),
        "histogram": (4, encode.chunk(7, _integer(1, 3) + _double(2, 4.5)
                                      + encode.chunk(3, _integer(1, 2) + _double(2, 0.5)))),
        "native-whole": (4, encode.chunk(7, native)),
        "native": (4, encode.chunk(7, _integer(1, 3) + _integer(5, 6) + _double(6, 1e-9)
                                   + encode.chunk(12, _integer(1, 0) + _integer(2, 1)))),
    }  # fmt: skip
    files = {"empty": b""}
    for name, (kind, value) in kinds.items():
        metric = encode.chunk(4, label + value + _integer(6, NOW_MS))
        family = encode.chunk(1, name.encode()) + encode.chunk(2, b"help") + _integer(3, kind)
        message = family + metric + encode.chunk(4, value)
        files[name] = encode.varint(len(message)) + message
    files["page"] = b"".join(files.values())
    files["cut"] = files["page"][:-5]
    return files

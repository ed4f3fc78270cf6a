"""OTLP metrics to series: labels, values, delta sums, refusals."""

import struct
from typing import Any

import numpy as np
import pytest

from series.batch import STALE_NAN_BITS
from series.metadata import Metadata
from tests.wire.otlp import DELTA, NOW_MS, Export, rows, set_attributes, translate, values
from wire import otlp_book, otlp_translate
from wire.errors import Malformed
from wire.otlp_options import Options, Strategy
from wire.otlp_translate import Translator


@pytest.fixture
def translator() -> Translator:
    return Translator(Options())


def test_a_counter_becomes_a_series(translator: Translator) -> None:
    """Name with suffixes, attributes as labels, job and instance of the service."""
    export = Export(service__name="shop", service__namespace="eu", service__instance__id="i-1")
    attributes: dict[str, Any] = {"http.route": "/a", "code": 200, "ok": True}
    export.counter("http.requests", 7, "1", **attributes)
    request = translate(translator, export.body)
    assert rows(request) == [
        (
            {
                "__name__": "http_requests_total",
                "code": "200",
                "http_route": "/a",
                "instance": "i-1",
                "job": "eu/shop",
                "ok": "true",
            },
            [NOW_MS],
            [7.0],
        )
    ]
    assert request.metadata == {"http_requests_total": Metadata("counter", "", "")}
    assert request.points == 1


def test_histograms_become_classic_ones(translator: Translator) -> None:
    """Cumulative buckets with bounds in plain digits, +Inf, sum and count."""
    export = Export().histogram("lat", [1, 2, 3, 4], [0.005, 10, 1e21], 5.5, route="a")
    assert values(translate(translator, export.body)) == {
        '{__name__="lat_bucket", le="0.005", route="a"}': 1,
        '{__name__="lat_bucket", le="10", route="a"}': 3,
        '{__name__="lat_bucket", le="1000000000000000000000", route="a"}': 6,
        '{__name__="lat_bucket", le="+Inf", route="a"}': 10,
        '{__name__="lat_sum", route="a"}': 5.5,
        '{__name__="lat_count", route="a"}': 10,
    }


def test_histograms_without_buckets_or_sum(translator: Translator) -> None:
    """A count makes +Inf and _count; a last bound of +Inf is the last bucket."""
    bare = Export().histogram("a", [], [])
    bare._scope.metrics[0].histogram.data_points[0].count = 4
    assert values(translate(translator, bare.body)) == {
        '{__name__="a_bucket", le="+Inf"}': 4,
        '{__name__="a_count"}': 4,
    }
    infinite = Export().histogram("b", [1, 2, 0], [1, float("inf")])
    assert values(translate(translator, infinite.body)) == {
        '{__name__="b_bucket", le="1"}': 1,
        '{__name__="b_bucket", le="+Inf"}': 3,
        '{__name__="b_count"}': 3,
    }


def test_summaries(translator: Translator) -> None:
    """Quantiles, sum and count."""
    export = Export()
    point = export.metric("rpc", "s").summary.data_points.add()
    point.time_unix_nano, point.count, point.sum = NOW_MS * 1_000_000, 9, 4.5
    for quantile, value in ((0.5, 1.0), (0.99, 2.0)):
        one = point.quantile_values.add()
        one.quantile, one.value = quantile, value
    request = translate(translator, export.body)
    assert values(request) == {
        '{__name__="rpc_seconds", quantile="0.5"}': 1,
        '{__name__="rpc_seconds", quantile="0.99"}': 2,
        '{__name__="rpc_seconds_sum"}': 4.5,
        '{__name__="rpc_seconds_count"}': 9,
    }
    assert request.metadata["rpc_seconds"].type == "summary"


def test_labels_of_a_bucket_replace_attributes(translator: Translator) -> None:
    """An attribute named le gives way in buckets and stays on the sum and count."""
    export = Export().histogram("h", [1, 0], [1], 2.0, le="mine", __name__="other")
    assert list(values(translate(translator, export.body))) == [
        '{__name__="h_bucket", le="1"}',
        '{__name__="h_bucket", le="+Inf"}',
        '{__name__="h_sum", le="mine"}',
        '{__name__="h_count", le="mine"}',
    ]


def test_stale_where_nothing_was_recorded(translator: Translator) -> None:
    """The no-recorded-value flag becomes the stale marker of every series of the point."""
    export = Export().gauge("g", 1.0, flags=1).histogram("h", [1, 1], [1], 1.0, flags=1)
    export.counter("d", 5, temporality=DELTA, flags=1)
    batch = translate(translator, export.body).batch
    assert set(batch.values.view(np.uint64).tolist()) == {STALE_NAN_BITS}
    assert batch.sample_count == 1 + 4 + 1


def test_values_keep_their_bits(translator: Translator) -> None:
    """NaN payloads, infinities, negative zero and 64-bit integers."""
    nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0123))[0]
    sent = [nan, float("inf"), -0.0, 5e-324, -(2**53)]
    export = Export()
    for k, value in enumerate(sent):
        export.gauge(f"g{k}", value)
    got = translate(translator, export.body).batch.values
    assert got.tobytes() == np.array(sent, dtype=np.float64).tobytes()


def test_colliding_labels_are_joined(translator: Translator) -> None:
    """In the order of the attributes' names."""
    export = Export().gauge("g", 1.0, **{"a.b": "2", "a-b": "1", "a_b": "3"})
    assert list(values(translate(translator, export.body))) == ['{__name__="g", a_b="1;2;3"}']


def test_attribute_values_of_every_kind(translator: Translator) -> None:
    """As the collector prints them; empty ones do not exist."""
    kinds: dict[str, Any] = {
        "b": False,
        "d": 2.5,
        "e": 1e21,
        "i": -5,
        "l": ["x", 1, 2.0, None],
        "m": {"z": 1, "a": ["b"]},
        "n": None,
        "s": "",
        "y": b"\x00\xff",
    }
    export = Export().gauge("g", 1.0, **kinds)
    [(labels, _, _)] = rows(translate(translator, export.body))
    assert labels == {
        "__name__": "g",
        "b": "false",
        "d": "2.5",
        "e": "1e+21",
        "i": "-5",
        "l": '["x",1,2,null]',
        "m": '{"a":["b"],"z":1}',
        "y": "AP8=",
    }


def test_target_info_carries_the_resource(translator: Translator) -> None:
    """With the other attributes, at the time of the points, where the service is known."""
    export = Export(service__name="shop", host__name="h1").gauge("g", 1.0)
    export.resource(host__name="h2").gauge("g", 2.0)
    export.resource(service__name="only").gauge("g", 3.0)
    found = rows(translate(translator, export.body))
    assert found[-1] == (
        {"__name__": "target_info", "host_name": "h1", "job": "shop"},
        [NOW_MS],
        [1.0],
    )
    assert len(found) == 4


def test_target_info_spans_the_points(translator: Translator) -> None:
    """Half a lookback apart from the earliest to the latest point, boundedly many."""
    export = Export(service__name="shop", a="b").gauge("g", 1.0, at_ms=NOW_MS - 400_000)
    export.gauge("h", 1.0)
    assert rows(translate(translator, export.body))[-1][1] == [
        NOW_MS - 400_000,
        NOW_MS - 250_000,
        NOW_MS - 100_000,
        NOW_MS,
    ]
    export.gauge("i", 1.0, at_ms=0)
    times_ms = rows(translate(translator, export.body))[-1][1]
    assert len(times_ms) == otlp_translate.MAX_INFO_SAMPLES
    assert times_ms[-1] == NOW_MS


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            Options(promote_resource_attributes=frozenset({"host.name", "a"})),
            '{__name__="g", a="point", host_name="h", job="shop"}',
        ),
        (
            Options(
                promote_all_resource_attributes=True,
                ignore_resource_attributes=frozenset({"host.name"}),
            ),
            '{__name__="g", a="point", job="shop", service_name="shop"}',
        ),
        (
            Options(promote_scope_metadata=True),
            '{__name__="g", a="point", job="shop", otel_scope_name="lib", otel_scope_s="t",'
            ' otel_scope_schema_url="u", otel_scope_version="1"}',
        ),
        (
            Options(type_and_unit_labels=True),
            '{__name__="g", __type__="gauge", a="point", job="shop"}',
        ),
        (
            Options(translation_strategy=Strategy.UTF8, promote_all_resource_attributes=True),
            '{__name__="g", a="point", "host.name"="h", job="shop", "service.name"="shop"}',
        ),
    ],
)
def test_promotion(options: Options, expected: str) -> None:
    """Chosen attributes of resources and scopes become labels that give way to a point's."""
    export = Export(service__name="shop", host__name="h", a="resource")
    export.scope("lib", "1", "u", s="t").gauge("g", 1.0, a="point")
    assert next(iter(values(translate(Translator(options), export.body)))) == expected


def test_identifying_attributes_may_be_kept() -> None:
    """target_info then says service_name too."""
    translator = Translator(Options(keep_identifying_resource_attributes=True))
    export = Export(service__name="shop", a="b").gauge("g", 1.0)
    assert rows(translate(translator, export.body))[-1][0]["service_name"] == "shop"


def test_known_series_cost_no_second_naming(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same points again are found by their bytes; metadata is told until confirmed."""
    export = Export(service__name="shop", a="b").counter("c", 1, x="1").histogram("h", [1, 1], [1])
    first = translate(translator, export.body)
    assert translate(translator, export.body).metadata == first.metadata
    first.confirm()
    monkeypatch.setattr(otlp_book, "point_keys", None)
    monkeypatch.setattr(otlp_book, "make_metric", None)
    second = translate(translator, export.body)
    assert rows(second) == rows(first)
    assert second.metadata == {}


def test_names_are_learnt_anew_when_there_are_too_many(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the memory bound the same series come out; totals of deltas go on."""
    export = Export(service__name="shop", a="b").counter("c", 1, temporality=DELTA)
    translate(translator, export.body)
    monkeypatch.setattr(otlp_translate, "MAX_BOOK_BYTES", 0)
    export = Export(service__name="shop", a="b")
    export.counter("c", 2, temporality=DELTA, at_ms=NOW_MS + 1)
    assert values(translate(translator, export.body))['{__name__="c_total", job="shop"}'] == 3


# --- delta ---------------------------------------------------------------------------------------


def delta(value: float, at_ms: int, **attributes: Any) -> bytes:
    return Export().counter("c", value, temporality=DELTA, at_ms=at_ms, **attributes).body


def test_deltas_are_summed_up(translator: Translator) -> None:
    """Each series for itself; histograms bucket by bucket."""
    sent = [(1.5, "a"), (2.0, "b"), (3.0, "a")]
    got = [
        values(translate(translator, delta(value, NOW_MS + k, x=x)))
        for k, (value, x) in enumerate(sent)
    ]
    assert got == [
        {'{__name__="c_total", x="a"}': 1.5},
        {'{__name__="c_total", x="b"}': 2.0},
        {'{__name__="c_total", x="a"}': 4.5},
    ]
    for k, count in enumerate((1, 3)):
        export = Export()
        export.histogram("h", [1, 2], [5], 0.5, temporality=DELTA, at_ms=NOW_MS + k)
        assert values(translate(translator, export.body)) == {
            '{__name__="h_bucket", le="5"}': 1 + k,
            '{__name__="h_bucket", le="+Inf"}': 3 * (k + 1),
            '{__name__="h_sum"}': 0.5 * (k + 1),
            '{__name__="h_count"}': 3 * (k + 1),
        }, count


def test_a_delta_sent_again_is_counted_once(translator: Translator) -> None:
    """The retry is answered by the same total; anything else that is not newer is refused."""
    translate(translator, delta(2, NOW_MS))
    assert values(translate(translator, delta(2, NOW_MS))) == {'{__name__="c_total"}': 2}
    other = translate(translator, delta(3, NOW_MS))
    older = translate(translator, delta(3, NOW_MS - 1))
    for request in (other, older):
        assert request.refused == {"delta-out-of-order": 1}
        assert request.batch.series_count == 0
    assert values(translate(translator, delta(1, NOW_MS + 1))) == {'{__name__="c_total"}': 3}


@pytest.mark.parametrize(
    ("value", "at_ms", "reason"),
    [
        (float("nan"), NOW_MS, "delta-not-finite"),
        (float("inf"), NOW_MS, "delta-not-finite"),
        (1.0, NOW_MS + 600_001, "too-far-in-future"),
    ],
)
def test_poisonous_deltas_are_refused(
    translator: Translator, value: float, at_ms: int, reason: str
) -> None:
    """What would spoil the total for ever is left out."""
    assert translate(translator, delta(value, at_ms)).refused == {reason: 1}
    assert values(translate(translator, delta(1, NOW_MS))) == {'{__name__="c_total"}': 1}


def test_delta_series_are_bounded() -> None:
    """Beyond the limit new series are refused, until old ones are idle for an hour."""
    translator = Translator(Options(max_delta_series=2))
    for x in "abc":
        request = translate(translator, delta(1, NOW_MS, x=x))
        assert request.refused == ({"delta-series-limit": 1} if x == "c" else {})
    assert translator.delta_series == 2
    hour_ms = 3_600_001
    kept = translate(translator, delta(1, NOW_MS + hour_ms - 1, x="b"), NOW_MS + hour_ms)
    assert values(kept) == {'{__name__="c_total", x="b"}': 2}
    came = translate(translator, delta(5, NOW_MS + hour_ms, x="c"), NOW_MS + hour_ms)
    assert values(came) == {'{__name__="c_total", x="c"}': 5}
    gone = translate(translator, delta(1, NOW_MS + hour_ms, x="a"), NOW_MS + hour_ms)
    assert gone.refused == {"delta-series-limit": 1}


# --- refusals ------------------------------------------------------------------------------------


def test_what_cannot_be_stored_is_named_and_the_rest_kept(translator: Translator) -> None:
    """One line for each kind of trouble with the metric's name, good points stored."""
    export = Export().gauge("good", 1.0)
    export.exponential("exp", scale=-5).exponential("delta", temporality=DELTA)
    export.metric("empty").gauge.data_points.add()
    export.histogram("uneven", [1, 2], [1, 2]).histogram("falling", [1, 2, 3], [2, 1])
    export.counter("untyped", 1, temporality=0)
    export.gauge("...", 1.0)
    export.gauge("label", 1.0, **{"@@": "x"})
    request = translate(translator, export.body)
    assert list(values(request)) == ['{__name__="good"}']
    assert request.refused == {
        "invalid-native-histogram": 1,
        "no-value": 1,
        "invalid-buckets": 2,
        "invalid-temporality": 2,
        "invalid-metric-name": 1,
        "invalid-label-name": 1,
    }
    assert request.points == 9
    told = "\n".join(refusal.detail for refusal in request.refusals)
    assert 'native histogram. Scale must be >= -4, was -5, metric "exp"' in told
    assert 'invalid temporality and type combination, metric "delta"' in told
    assert translate(translator, export.body).refused == request.refused, "again the same"


def test_a_refused_resource_takes_its_points_with_it() -> None:
    """By the reason of the resource."""
    translator = Translator(Options(promote_all_resource_attributes=True))
    export = Export(**{"@@": "x"}).gauge("g", 1.0).gauge("h", 1.0)
    export.resource(a="b").gauge("good", 1.0)
    request = translate(translator, export.body)
    assert request.refused == {"invalid-label-name": 2}
    assert list(values(request)) == ['{__name__="good", a="b"}']


def test_invalid_texts_are_refused(translator: Translator) -> None:
    """Attributes and names that are not UTF-8 cost their own points only."""
    body = Export().gauge("good", 1.0).gauge("bad", 1.0, key="zzzz").gauge("nnnn", 1.0).body
    request = translate(
        translator, body.replace(b"zzzz", b"z\xff\xffz").replace(b"nnnn", b"n\xffnn")
    )
    assert request.refused == {"invalid-attributes": 1, "invalid-metric-name": 1}
    assert list(values(request)) == ['{__name__="good"}']


def test_deep_values_are_refused(translator: Translator) -> None:
    """Lists in lists without end do not end the server."""
    deep: object = "x"
    for _ in range(40):
        deep = [deep]
    request = translate(translator, Export().gauge("g", 1.0, a=deep).body)
    assert request.refused == {"invalid-attributes": 1}


def test_new_series_of_one_request_are_bounded(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is refused, and comes in with the next requests."""
    monkeypatch.setattr(otlp_book, "MAX_NEW_SERIES", 7)
    export = Export()
    for k in range(6):
        export.gauge("g", float(k), x=str(k))
    first = translate(translator, export.body)
    assert first.refused == {"too-many-new-series": 1}
    assert translate(translator, export.body).refused == {}


def test_unusual_orders_of_fields_are_read_alike(translator: Translator) -> None:
    """Names behind the data, attributes apart, arrays not packed."""
    export = Export().histogram("h", [1, 2], [0.5], 1.5, a="1", b="2")
    usual = rows(translate(translator, export.body))
    message = export.message
    point = message.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0]
    attributes = [chunk(9, one.SerializeToString()) for one in point.attributes]
    unpacked = (
        b"".join(b"\x31" + struct.pack("<Q", count) for count in point.bucket_counts)
        + b"\x39"
        + struct.pack("<d", 0.5)
    )
    times = b"\x19" + struct.pack("<Q", point.time_unix_nano)
    rest = b"\x21" + struct.pack("<Q", 3) + b"\x29" + struct.pack("<d", 1.5)
    shuffled = attributes[0] + times + unpacked + attributes[1] + rest
    data = chunk(9, b"\x10\x02" + chunk(1, shuffled))
    metric = chunk(2, data + chunk(3, b"") + chunk(1, b"h"))
    body = chunk(1, chunk(2, metric))
    assert rows(translate(Translator(Options()), body)) == usual


def chunk(number: int, payload: bytes) -> bytes:
    assert len(payload) < 16384
    size = len(payload)
    length = bytes([size]) if size < 128 else bytes([size % 128 + 128, size // 128])
    return bytes([number * 8 + 2]) + length + payload


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a\xff",
        b"\x0a\x02\x12",
        b"\xff" * 20,
        b"\x00",
        b"\x08\x01",
        chunk(1, b"\x08\x01"),
        chunk(1, chunk(2, chunk(2, b"\x0a\x01a\x28\x01"))),
        chunk(1, chunk(2, chunk(2, b"\x08\x01" + chunk(5, b"")))),
        chunk(1, chunk(2, chunk(2, chunk(5, chunk(1, b"\x19\x01"))))),
        chunk(1, chunk(2, chunk(2, chunk(5, chunk(1, b"\x18\x01"))))),
        chunk(1, chunk(2, chunk(2, chunk(7, b"\x12\x01\x01")))),
        chunk(1, chunk(2, chunk(2, chunk(9, chunk(1, chunk(6, b"1234567")))))),
        chunk(1, chunk(2, chunk(2, chunk(11, chunk(1, chunk(6, b"\x09\x01")))))),
    ],
)
def test_other_bytes_are_malformed(translator: Translator, body: bytes) -> None:
    """Cut, of other wire types, or no protobuf at all."""
    with pytest.raises(Malformed, match="proto"):
        translate(translator, body)


def test_nothing_is_nothing(translator: Translator) -> None:
    """Empty requests, resources, scopes, metrics and data are in order."""
    for body in (b"", chunk(1, b""), chunk(1, chunk(2, b"")), chunk(1, chunk(2, chunk(2, b"")))):
        assert translate(translator, body).points == 0
    export = Export(a="b")
    export.metric("g").gauge.SetInParent()
    assert translate(translator, export.body).batch.series_count == 0


def test_metric_fields_after_the_data_mean_nothing_here(translator: Translator) -> None:
    """Metadata attributes of a metric are passed over."""
    export = Export().gauge("g", 1.0)
    set_attributes(
        export.message.resource_metrics[0].scope_metrics[0].metrics[0].metadata, {"a": 1}
    )
    assert list(values(translate(translator, export.body))) == ['{__name__="g"}']

"""Exposition pages in protobuf."""

import dataclasses
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.histogram import GAUGE as GAUGE_HINT
from series.histogram import Histogram
from series.labels import METRIC_NAME, Labels
from series.metadata import Metadata
from tests.wire.encode import chunk, varint
from tests.wire.histograms import STALE, Sent, sent, slow_histogram
from wire.errors import Malformed
from wire.exposition import decode
from wire.exposition_page import Scraped

PROTOBUF = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)
NOW_MS = 1_700_000_000_000
COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)


def integer(field: int, value: int) -> bytes:
    return varint(field * 8) + varint(value)


def double(field: int, value: float) -> bytes:
    return varint(field * 8 + 1) + struct.pack("<d", value)


def label(name: str, value: str) -> bytes:
    return chunk(1, chunk(1, name.encode()) + chunk(2, value.encode()))


def family(name: str, kind: int, *metrics: bytes, help_text: str = "", unit: str = "") -> bytes:
    message = chunk(1, name.encode()) + chunk(2, help_text.encode()) + integer(3, kind)
    message += b"".join(chunk(4, metric) for metric in metrics) + chunk(5, unit.encode())
    return varint(len(message)) + message


def read(body: bytes) -> Scraped:
    page = decode(body, PROTOBUF, NOW_MS)
    page.batch.check()
    return page


def samples(page: Scraped) -> dict[str, tuple[float, int | None]]:
    found = {}
    for row in range(page.batch.series_count):
        time_ms = int(page.batch.row_times_ms(row)[0])
        value = float(page.batch.row_values(row)[0])
        assert page.explicit[row] or time_ms == NOW_MS
        key = str(Labels.from_key(page.batch.key(row)))
        assert key not in found
        found[key] = (value, time_ms if page.explicit[row] else None)
    return found


def named(name: str, **pairs: str) -> str:
    return str(Labels.of({METRIC_NAME: name, **pairs}))


def test_single_values() -> None:
    """Counters with exemplars, gauges, untyped ones; times where they are given."""
    page = read(
        family(
            "c_total",
            COUNTER,
            label("b", "2") + label("a", "1") + chunk(3, double(1, 5.0) + chunk(2, b"")),
            chunk(3, b"") + integer(6, 1234),
            help_text="Help.",
            unit="x",
        )
        + family("g", GAUGE, chunk(2, double(1, -1.5)) + integer(6, -1))
        + family("u", UNTYPED, chunk(5, double(1, 2.0)))
    )
    assert samples(page) == {
        named("c_total", a="1", b="2"): (5.0, None),
        named("c_total"): (0.0, 1234),
        named("g"): (-1.5, -1),
        named("u"): (2.0, None),
    }
    assert page.exemplars == 1
    assert page.metadata["c_total"] == Metadata("counter", "Help.", "x")
    assert page.metadata["u"].type == "unknown"


def test_summaries() -> None:
    """Count, sum, and a series a quantile."""
    inner = integer(1, 3) + double(2, 4.5) + chunk(3, double(1, 0.5) + double(2, 1.25))
    inner += chunk(3, double(1, 1.0) + double(2, 2.0))
    page = read(family("s", SUMMARY, label("a", "1") + chunk(4, inner)))
    assert samples(page) == {
        named("s_count", a="1"): (3.0, None),
        named("s_sum", a="1"): (4.5, None),
        named("s", a="1", quantile="0.5"): (1.25, None),
        named("s", a="1", quantile="1.0"): (2.0, None),
    }


def test_classic_histograms() -> None:
    """Buckets by their printed bound; the one of all is added where it is missing."""
    inner = (
        integer(1, 3) + double(2, 4.5) + chunk(3, integer(1, 2) + double(2, 1.0) + chunk(3, b""))
    )
    page = read(family("h", HISTOGRAM, chunk(7, inner)))
    assert samples(page) == {
        named("h_count"): (3.0, None),
        named("h_sum"): (4.5, None),
        named("h_bucket", le="1.0"): (2.0, None),
        named("h_bucket", le="+Inf"): (3.0, None),
    }
    assert page.exemplars == 1
    assert not page.refused


def native(page: Scraped) -> dict[str, Histogram]:
    """The native histograms of a page."""
    batch = page.batch
    if batch.histograms is None or batch.histogram_ids is None:
        return {}
    return {
        str(Labels.from_key(batch.key(row))): batch.histograms.one(one)
        for row, one in enumerate(batch.histogram_ids.tolist())
        if one >= 0
    }


SENT = Sent(count=6, sum=4.5, zero_threshold=1e-9, zero_count=3, positive_spans=[(1, 2)],
            positive=[1, 2])  # fmt: skip
CLASSIC = chunk(3, integer(1, 2) + double(2, 1.0))


def test_native_histograms() -> None:
    """Come beside their classic series, or instead of them, or not at all."""
    body = family("h", HISTOGRAM, label("a", "1") + chunk(7, SENT.exposition() + CLASSIC))
    expected = {named("h", a="1"): slow_histogram(SENT.message()).histogram}
    classic = {
        named("h_count", a="1"): (6.0, None),
        named("h_sum", a="1"): (4.5, None),
        named("h_bucket", a="1", le="1.0"): (2.0, None),
        named("h_bucket", a="1", le="+Inf"): (6.0, None),
    }
    both = decode(body, PROTOBUF, NOW_MS)
    both.batch.check()
    assert native(both) == expected
    assert samples(both) == classic | {named("h", a="1"): (0.0, None)}
    alone = decode(body, PROTOBUF, NOW_MS, always_classic=False)
    assert native(alone) == expected and len(samples(alone)) == 1
    without = decode(body, PROTOBUF, NOW_MS, native=False, always_classic=False)
    assert not native(without) and samples(without) == classic
    assert not without.refused


def test_classic_histograms_stay_classic() -> None:
    """Without native buckets there is nothing to choose."""
    body = family("h", HISTOGRAM, chunk(7, integer(1, 3) + integer(7, 0) + CLASSIC))
    page = decode(body, PROTOBUF, NOW_MS, always_classic=False)
    assert len(samples(page)) == 4


def test_gauge_histograms_say_so() -> None:
    """Their hint is that of a gauge."""
    page = read(family("h", GAUGE_HISTOGRAM, chunk(7, SENT.exposition())))
    assert [one.hint for one in native(page).values()] == [GAUGE_HINT]


def test_invalid_native_histograms_are_refused_by_name() -> None:
    """In Prometheus' words; what they count classically, and their neighbours, are kept."""
    bad = dataclasses.replace(SENT, count=7)
    body = family("h", HISTOGRAM, *(label("a", f"{at}") + chunk(7, one.exposition())
                  for at, one in enumerate((SENT, bad, SENT))))  # fmt: skip
    page = read(body)
    assert page.refused == {"invalid-native-histogram": 1}
    assert page.refusals[0].labels == Labels.of({METRIC_NAME: "h", "a": "1"})
    assert page.refusals[0].detail.startswith("6 observations found in buckets, but the Count")
    assert set(native(page)) == {named("h", a="0"), named("h", a="2")}
    assert samples(page)[named("h_count", a="1")] == (7.0, None)


def test_ends_of_native_histograms_are_markers() -> None:
    """A stale sum makes a float marker of a histogram."""
    page = read(family("h", HISTOGRAM, chunk(7, dataclasses.replace(SENT, sum=STALE).exposition())))
    assert not native(page)
    assert page.batch.values[:1].tobytes() == STALE


@given(sent)
def test_native_histograms_are_read_as_the_slow_reader_reads_them(one: Sent) -> None:
    """Whatever a remote write would make of them."""
    one.bounds, one.hint = [], 0
    if one.is_float and not one.count > 0 and not one.zero_count > 0:
        return
    page = read(family("h", HISTOGRAM, chunk(7, one.exposition() + chunk(12, b""))))
    one.positive_spans = [*one.positive_spans, (0, 0)]
    expected = slow_histogram(one.message())
    assert repr(native(page)) == repr(
        {named("h"): expected.histogram} if expected.histogram else {}
    )
    assert [refusal.detail for refusal in page.refusals] == [expected.problem] * bool(
        expected.problem
    )


def timestamp(field: int, seconds: int, nanoseconds: int) -> bytes:
    return chunk(field, integer(1, seconds) + integer(2, nanoseconds))


def exemplar(trace: str, value: float, when: bytes = b"") -> bytes:
    return label("trace_id", trace) + double(2, value) + when


def test_starts_are_those_of_created_timestamps() -> None:
    """All series of a counter, summary or histogram begin when it was created."""
    when = integer(1, 1_700_000_000) + integer(2, 123_999_999)
    page = read(
        family("c", COUNTER, chunk(3, double(1, 1.0) + chunk(3, when)))
        + family("s", SUMMARY, chunk(4, integer(1, 1) + chunk(4, when)))
        + family("h", HISTOGRAM, chunk(7, SENT.exposition() + chunk(15, when)))
        + family("g", GAUGE, chunk(2, double(1, 1.0)))
    )
    starts_ms = page.batch.starts_ms
    assert starts_ms is not None
    assert starts_ms.tolist() == [1_700_000_000_123] * 7 + [0]
    assert read(family("g", GAUGE, chunk(2, double(1, 1.0)))).batch.starts_ms is None


def test_exemplars_come_with_their_series() -> None:
    """Of counters and buckets; native histograms have their own, or those of buckets with times."""
    when = timestamp(3, 5, 0)
    bucket = chunk(3, integer(1, 2) + double(2, 1.0) + chunk(3, exemplar("b", 0.5, when)))
    other = chunk(3, integer(1, 2) + double(2, 2.0) + chunk(3, exemplar("no time", 0.5)))
    page = read(
        family("c", COUNTER, chunk(3, double(1, 1.0) + chunk(2, exemplar("c", 1.0))))
        + family("h", HISTOGRAM, chunk(7, SENT.exposition() + bucket + other))
        + family("n", HISTOGRAM, chunk(7, SENT.exposition() + bucket
                 + chunk(16, exemplar("n", 2.0, when)) + chunk(16, exemplar("no time", 2.0))))
    )  # fmt: skip
    exemplars = page.batch.exemplars
    assert exemplars is not None
    found = [
        (
            Labels.from_key(page.batch.key(row)).metric,
            Labels.from_key(exemplars.key(at)).get("trace_id"),
            time_ms,
        )
        for at, (row, time_ms) in enumerate(
            zip(exemplars.rows.tolist(), exemplars.times_ms.tolist(), strict=True)
        )
    ]
    assert found == [
        ("c", "c", NOW_MS),
        ("h", "b", 5000), ("h_bucket", "b", 5000), ("h_bucket", "no time", NOW_MS),
        ("n", "n", 5000), ("n_bucket", "b", 5000),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"\x05\x0a",
        varint(2) + b"\x0a\x05",
        family("", GAUGE),
        family("g", 9),
        family("g", GAUGE, b""),
        family("g", GAUGE, chunk(1, b"") + chunk(2, b"")),
        family("g", GAUGE, label("a", "1") + label("a", "1") + chunk(2, b"")),
        family("g", GAUGE, label("__name__", "1") + chunk(2, b"")),
        family("g", GAUGE, chunk(1, chunk(1, b"\xff")) + chunk(2, b"")),
        family("g", GAUGE, chunk(2, integer(1, 1))),
        family("g", GAUGE, integer(2, 1)),
        family("g", GAUGE, chunk(2, b"") + double(6, 1.0)),
        family("h", HISTOGRAM, chunk(7, integer(9, 1))),
        family("h", HISTOGRAM, chunk(7, chunk(12, b"\x08"))),
        family("c", COUNTER, chunk(3, chunk(3, integer(1, 2**60)))),
    ],
)
def test_malformed_pages(body: bytes) -> None:
    """Are refused whole."""
    with pytest.raises(Malformed):
        read(body)


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda b: varint(len(b)) + b))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Nothing else comes out than a page or Malformed."""
    try:
        read(body)
    except Malformed:
        pass

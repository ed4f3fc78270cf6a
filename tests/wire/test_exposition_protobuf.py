"""Exposition pages in protobuf."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.labels import METRIC_NAME, Labels
from series.metadata import Metadata
from tests.wire.encode import chunk, varint
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


def test_native_histograms_are_refused_by_name() -> None:
    """What they count classically is kept."""
    inner = integer(1, 3) + double(2, 4.5) + integer(5, 6) + double(6, 1e-9) + chunk(12, b"")
    page = read(family("h", HISTOGRAM, label("a", "1") + chunk(7, inner)))
    assert page.refused == {"native-histogram": 1}
    assert named("h", a="1") in page.refusals[0].detail
    assert samples(page)[named("h_count", a="1")] == (3.0, None)


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

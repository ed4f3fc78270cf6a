"""The text doors: exposition pages, Influx lines, JSON lines, OTLP in JSON."""

import math

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from series.labels import Labels
from tests.fuzz.mutate import Shape
from tests.fuzz.target import Outcome, Target, check_batch, counted, magnitude
from tests.wire.otlp import NOW_MS
from wire import exposition_lines as careful
from wire.errors import Malformed
from wire.exposition import TextDecoder, decode
from wire.exposition_kernels import HISTOGRAM, OTHER_TYPE, SUMMARY
from wire.exposition_page import Scraped
from wire.influx import PRECISIONS, InfluxDecoder
from wire.json_lines import JsonLinesDecoder
from wire.otlp_json import to_protobuf
from wire.otlp_options import Options
from wire.otlp_translate import Translator

TYPES = ("text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0")
Row = tuple[bytes, bytes, bytes]
"""Key, times, bits of the values; the times are empty where the page names none."""


def _rows(page: Scraped) -> list[Row]:
    check_batch(page.batch)
    batch = page.batch
    assert len(page.explicit) == batch.series_count
    return [
        (
            batch.key(row),
            batch.row_times_ms(row).tobytes() if page.explicit[row] else b"",
            batch.row_values(row).tobytes(),
        )
        for row in range(batch.series_count)
    ]


def _page_outcome(page: Scraped) -> Outcome:
    assert bool(page.refused) == bool(page.refusals)
    return (
        magnitude(page.batch.series_count),
        magnitude(page.batch.sample_count),
        magnitude(int(page.explicit.sum())),
        magnitude(page.exemplars),
        tuple(sorted({one.type for one in page.metadata.values()})),
        counted(page.refused),
    )


def _exposition(data: bytes, openmetrics: bool) -> Outcome:
    """Strictly, patiently, in two blocks, and line by line with care: all say the same."""
    patient = TextDecoder(openmetrics, NOW_MS).feed(data)
    found = _rows(patient)
    _check_lines(data, openmetrics, patient, found)
    blocks = TextDecoder(openmetrics, NOW_MS)
    cut = data.rfind(b"\n", 0, len(data) // 2) + 1
    first, second = blocks.feed(data[:cut]), blocks.feed(data[cut:])
    assert _rows(first) + _rows(second) == found
    page = decode(data, TYPES[openmetrics], NOW_MS)
    assert not patient.refused
    assert _rows(page) == found
    assert page.exemplars == patient.exemplars
    return _page_outcome(page)


def _check_lines(data: bytes, openmetrics: bool, page: Scraped, found: list[Row]) -> None:
    """Asserts that the careful reader alone reads the same samples; types must not change them."""
    kinds = (OTHER_TYPE, HISTOGRAM, SUMMARY) if b"TYPE" in data else (OTHER_TYPE,)
    keys = {row[0] for row in found}
    expected = 0
    for line in data.split(b"\n"):
        if line.lstrip(b" \t").startswith(b"#") or not line.strip(b" \t"):
            continue
        try:
            samples = [careful.read_sample(line, openmetrics, kind) for kind in kinds]
        except Malformed:
            continue
        expected += 1
        assert keys & {sample.labels.key for sample in samples}, line
        if len(kinds) == 1:
            _check_sample(found[expected - 1], samples[0])
    if not openmetrics:
        assert expected == len(found)


def _check_sample(row: Row, sample: careful.Sample) -> None:
    key, times, value = row
    assert Labels.from_key(key) == sample.labels
    number = float(np.frombuffer(value)[0])
    assert number == sample.value or (math.isnan(number) and math.isnan(sample.value))
    expected = b"" if sample.time_ms is None else np.int64(sample.time_ms).tobytes()
    assert times == expected


def _text(data: bytes) -> Outcome:
    return _exposition(data, False)


def _openmetrics(data: bytes) -> Outcome:
    return _exposition(data, True)


def _influx(data: bytes) -> Outcome:
    """The first byte chooses the precision; two blocks give what one does."""
    names = list(PRECISIONS)
    precision = names[data[0] % len(names)] if data else ""
    page = InfluxDecoder(NOW_MS, precision, "d").feed(data[1:])
    found = _rows(page)
    decoder = InfluxDecoder(NOW_MS, precision, "d")
    cut = data.rfind(b"\n", 1, max(len(data) // 2, 1)) + 1
    cut = max(cut, 1)
    halves = [decoder.feed(data[1:cut]), decoder.feed(data[cut:])]
    assert [row for half in halves for row in _rows(half)] == found
    assert [str(r) for half in halves for r in half.refusals][:10] == [
        str(r) for r in page.refusals
    ]
    return _page_outcome(page), magnitude(decoder.skipped_texts), _words(page)


def _json_lines(data: bytes) -> Outcome:
    page = JsonLinesDecoder().feed(data)
    found = _rows(page)
    decoder = JsonLinesDecoder()
    cut = data.rfind(b"\n", 0, len(data) // 2) + 1
    halves = [decoder.feed(data[:cut]), decoder.feed(data[cut:])]
    assert [row for half in halves for row in _rows(half)] == found
    return _page_outcome(page), _words(page)


def _words(page: Scraped) -> Outcome:
    """The kinds of the complaints that are shown."""
    return frozenset(refusal.detail.partition(": ")[2][:12] for refusal in page.refusals)


def _otlp_json(data: bytes) -> Outcome:
    """What JSON is turned into is protobuf that OpenTelemetry's own classes read."""
    message = to_protobuf(data)
    theirs = ExportMetricsServiceRequest.FromString(message)
    request = Translator(Options()).translate(
        np.frombuffer(bytearray(message), dtype=np.uint8), NOW_MS
    )
    labels = check_batch(request.batch)
    return (
        magnitude(len(labels)),
        magnitude(len(theirs.resource_metrics)),
        magnitude(request.points),
        counted(request.refused),
        counted(request.skipped),
    )


_PAGE_WORDS = (
    b"# TYPE ", b"# HELP ", b"# UNIT ", b"# EOF\n", b" histogram\n", b" summary\n", b" counter\n",
    b'{le="', b'{quantile="', b'"}', b"=", b'="', b",", b"{", b"}", b"\\n", b"\\\\", b'\\"', b"\n",
    b"\r\n", b" # {", b"+Inf", b"NaN", b" 1700000000000", b"_total", b"_bucket", b"__name__", b'{"',
    b'"', b" ", b"\t", b"e308", b"1e-400", b"\x00", b"\xff", b"\xc3\xbc", b"a" * 130,
    b'a="b",' * 64,
)  # fmt: skip
_INFLUX_WORDS = (
    b",", b"=", b" ", b"\\ ", b"\\,", b"\\=", b'"', b'\\"', b"i", b"u", b"t", b"false", b"\n", b"#",
    b"\r\n", b"m,t=v f=1", b" 1700000000000000000", b"9223372036854775807", b"\xff", b"db", b"\t",
    b"__name__", b"\\", b"1e308",
)  # fmt: skip
_JSON_WORDS = (
    b'{"metric":{', b'"__name__":"', b'"values":[', b'"timestamps":[', b"null", b"true", b'"NaN"',
    b'"Infinity"', b"[", b"]", b"{", b"}", b'""', b"\\u0000", b"\\ud800", b"18446744073709551615",
    b"-9223372036854775808", b"1e400", b"\n", b"\xff", b"1.5", b"[" * 1100, b'{"a":' * 1100,
    b"[" * 990,
)  # fmt: skip
_OTLP_WORDS = (
    *_JSON_WORDS, b'"resourceMetrics":[{', b'"scopeMetrics":[{', b'"metrics":[{', b'"gauge":{',
    b'"sum":{', b'"dataPoints":[{', b'"asInt":"', b'"asDouble":', b'"timeUnixNano":"',
    b'"name":"m"', b'"aggregationTemporality":', b'"AGGREGATION_TEMPORALITY_DELTA"',
    b'"histogram":{', b'"flags":', b'"bucketCounts":[', b'"explicitBounds":[',
    b'"attributes":[{"key":"', b'"value":{"', b'"count":', b'"stringValue":"', b'"bytesValue":"',
    b'"kvlistValue":{"values":[', b'"arrayValue":{"values":[', b'"boolValue":', b'"intValue":',
    b'"quantileValues":[', b'"exemplars":[', b'"summary":{', b'"isMonotonic":true', b"1e18",
    b"9" * 5000,
)  # fmt: skip

TARGETS = (
    Target("exposition_text", _text, (Malformed,), Shape.TEXT, _PAGE_WORDS),
    Target("openmetrics", _openmetrics, (Malformed,), Shape.TEXT, _PAGE_WORDS),
    Target("influx", _influx, (Malformed,), Shape.TEXT, _INFLUX_WORDS),
    Target("json_lines", _json_lines, (Malformed,), Shape.TEXT, _JSON_WORDS),
    Target("otlp_json", _otlp_json, (Malformed,), Shape.TEXT, _OTLP_WORDS),
)

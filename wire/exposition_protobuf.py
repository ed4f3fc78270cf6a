"""Exposition pages in protobuf: ``io.prometheus.client.MetricFamily`` messages, each behind its
length as a varint.

Field numbers are those of prometheus/client_model (metrics.proto). Names and order of the series
are those of Prometheus' parser (model/textparse/protobufparse.go).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from series.batch import STALE_NAN
from series.histogram import GAUGE
from series.labels import METRIC_NAME, Labels, quote
from series.metadata import Metadata
from wire import floats, histograms
from wire.errors import Malformed
from wire.exposition_exemplars import Exemplar, Found
from wire.exposition_page import Scraped, single_samples
from wire.protobuf import BYTES, FIXED64, VARINT, fields, texts, varint

_TYPES = ("counter", "gauge", "summary", "unknown", "histogram", "gaugehistogram")
_GAUGE_HISTOGRAM = 5
_MAX_SECONDS = 253_402_300_799
_NATIVE_NUMBERS = frozenset({6, 7, 8})
_NATIVE_SPANS = frozenset({9, 12})
"""The fields of a Histogram that make it a native one: numbers above 0, and any span."""

Pairs = list[tuple[str, str]]
_Value = int | bytes


@dataclass(slots=True)
class _Page:
    """A page as it is read; a row is one sample. Of native histograms it holds the messages."""

    native: bool
    always_classic: bool
    metadata: dict[str, Metadata] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times_ms: list[int | None] = field(default_factory=list)
    starts_ms: list[int] = field(default_factory=list)
    exemplars: Found = field(default_factory=Found)
    histogram_rows: list[int] = field(default_factory=list)
    histogram_messages: list[bytes] = field(default_factory=list)
    gauges: list[bool] = field(default_factory=list)

    def add(self, metric: "_Metric", name: str, pairs: Pairs, value: float) -> int:
        """Adds a sample of series *name* of the *metric*; returns its row."""
        self.keys.append(Labels([(METRIC_NAME, name), *pairs]).key)
        self.values.append(value)
        self.times_ms.append(metric.time_ms)
        self.starts_ms.append(metric.start_ms)
        return len(self.keys) - 1

    def add_histogram(self, metric: "_Metric", message: bytes, gauge: bool) -> int:
        row = self.add(metric, metric.name, metric.pairs, 0.0)
        self.histogram_rows.append(row)
        self.histogram_messages.append(message)
        self.gauges.append(gauge)
        return row


@dataclass(slots=True)
class _Metric:
    """What all series of one Metric message share."""

    name: str
    pairs: Pairs = field(default_factory=list)
    time_ms: int | None = None
    start_ms: int = 0


def decode(
    body: bytes, now_ms: int, *, native: bool = True, always_classic: bool = True
) -> Scraped:
    """The page *body*; samples without a time of their own get *now_ms*.

    With *native* a native histogram is read as one, and its classic series only with
    *always_classic* as well; without it there are but classic series. Native histograms that are
    invalid are refused by name. Raises Malformed.
    """
    read = _Page(native, always_classic)
    at = 0
    while at < len(body):
        size, at = varint(body, at)
        if size > len(body) - at:
            raise Malformed("proto: unexpected EOF in a metric family")
        _family(read, body[at : at + size])
        at += size
    batch, explicit = single_samples(read.keys, read.values, read.times_ms, now_ms)
    starts_ms = np.array(read.starts_ms, dtype=np.int64) if any(read.starts_ms) else None
    batch = replace(batch, starts_ms=starts_ms, exemplars=read.exemplars.columns(batch))
    page = Scraped(batch, explicit, read.metadata)
    if read.histogram_rows:
        _add_histograms(page, read)
    return page


def _add_histograms(page: Scraped, read: _Page) -> None:
    """Decodes the native histograms into the page, but for those that it refuses."""
    ends = np.cumsum([len(message) for message in read.histogram_messages], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends])[:-1]
    whole = np.frombuffer(bytearray().join(read.histogram_messages), dtype=np.uint8)
    decoded = histograms.decode(
        whole, np.stack([starts, ends], axis=1), histograms.EXPOSITION, by_value=True
    )
    rows = np.array(read.histogram_rows, dtype=np.int64)
    kept = decoded.ids >= 0
    decoded.histograms.hints[decoded.ids[kept & np.array(read.gauges)]] = GAUGE
    batch = page.batch
    for at in np.flatnonzero(decoded.refused).tolist():
        labels = Labels.from_key(batch.key(read.histogram_rows[at]))
        time_ms = int(batch.row_times_ms(read.histogram_rows[at])[0])
        page.refuse(histograms.INVALID_HISTOGRAM, decoded.problem(at), labels, time_ms)
    values = batch.values
    values[rows[~kept & ~decoded.refused]] = STALE_NAN
    if kept.any():
        ids = np.full(batch.sample_count, -1, dtype=np.int64)
        ids[rows] = decoded.ids
        batch = replace(batch, histogram_ids=ids, histograms=decoded.histograms)
    good = np.ones(batch.series_count, dtype=np.bool_)
    good[rows[decoded.refused]] = False
    page.batch, page.explicit = batch.take(good), page.explicit[good]


def _family(page: _Page, message: bytes) -> None:
    name, help_text, unit, kind = "", "", "", 0
    metrics = []
    for number, wire_type, value in fields(message):
        if number == 1:
            name = _text(wire_type, value)
        elif number == 2:
            help_text = _text(wire_type, value)
        elif number == 3:
            kind = _integer(wire_type, value)
        elif number == 4:
            metrics.append(_message(wire_type, value))
        elif number == 5:
            unit = _text(wire_type, value)
    if not name:
        raise Malformed("invalid metric name: a metric family without a name")
    if kind >= len(_TYPES):
        raise Malformed(f"unknown metric type {kind} of metric family {quote(name)}")
    page.metadata[name] = Metadata(_TYPES[kind], help_text, unit)
    for metric in metrics:
        _metric(page, _Metric(name), metric, kind == _GAUGE_HISTOGRAM)


def _metric(page: _Page, metric: _Metric, message: bytes, gauge: bool) -> None:
    told: tuple[int, bytes] | None = None
    for number, wire_type, value in fields(message):
        if number == 1:
            metric.pairs.append(_label(metric.name, _message(wire_type, value)))
        elif number in (2, 3, 4, 5, 7):
            told = number, _message(wire_type, value)
        elif number == 6:
            metric.time_ms = _signed(_integer(wire_type, value)) or None
    names = [label for label, _ in metric.pairs]
    if len({METRIC_NAME, *names}) <= len(names):
        raise Malformed(f"invalid labels of metric {quote(metric.name)}: a label name stands twice")
    if told is None:
        raise Malformed(f"metric {quote(metric.name)} has no value")
    number, inner = told
    if number == 4:
        _summary(page, metric, inner)
    elif number == 7:
        _histogram(page, metric, inner, gauge)
    else:
        _single(page, metric, inner, counts=number == 3)


def _single(page: _Page, metric: _Metric, message: bytes, *, counts: bool) -> None:
    """A gauge, an untyped metric, or a counter where it *counts*."""
    single, exemplar = 0.0, None
    for number, wire_type, value in fields(message):
        if number == 1:
            single = _double(wire_type, value)
        elif number == 2 and counts:
            exemplar = _exemplar(metric.name, _message(wire_type, value))
        elif number == 3 and counts:
            metric.start_ms = _time_ms(_message(wire_type, value))
    row = page.add(metric, metric.name, metric.pairs, single)
    if exemplar is not None:
        page.exemplars.add(row, exemplar)


def _summary(page: _Page, metric: _Metric, message: bytes) -> None:
    count, total = 0, 0.0
    quantiles = []
    for number, wire_type, value in fields(message):
        if number == 1:
            count = _integer(wire_type, value)
        elif number == 2:
            total = _double(wire_type, value)
        elif number == 3:
            inner = dict(_doubles(_message(wire_type, value), frozenset({1, 2})))
            quantiles.append((inner.get(1, 0.0), inner.get(2, 0.0)))
        elif number == 4:
            metric.start_ms = _time_ms(_message(wire_type, value))
    page.add(metric, f"{metric.name}_count", metric.pairs, float(count))
    page.add(metric, f"{metric.name}_sum", metric.pairs, total)
    for quantile, at_quantile in quantiles:
        text = floats.openmetrics_text(quantile)
        page.add(metric, metric.name, _with(metric.pairs, "quantile", text), at_quantile)


def _histogram(page: _Page, metric: _Metric, message: bytes, gauge: bool) -> None:
    count = total = 0.0
    buckets = []
    exemplars = []
    native = False
    for number, wire_type, value in fields(message):
        if number == 1:
            count = float(_integer(wire_type, value))
        elif number == 2:
            total = _double(wire_type, value)
        elif number == 3:
            buckets.append(_bucket(metric.name, _message(wire_type, value)))
        elif number == 4:
            count = _double(wire_type, value) or count
        elif number in _NATIVE_SPANS:
            native = True
        elif number in _NATIVE_NUMBERS:
            read = _integer if number == 7 else _double
            native = native or read(wire_type, value) > 0
        elif number == 15:
            metric.start_ms = _time_ms(_message(wire_type, value))
        elif number == 16:
            exemplars.append(_exemplar(metric.name, _message(wire_type, value)))
    native = native and page.native
    if native:
        row = page.add_histogram(metric, message, gauge)
        told = exemplars or [exemplar for _, _, exemplar in buckets if exemplar is not None]
        for exemplar in told:
            if exemplar.time_ms is not None:
                page.exemplars.add(row, exemplar)
        if not page.always_classic:
            return
    page.add(metric, f"{metric.name}_count", metric.pairs, count)
    page.add(metric, f"{metric.name}_sum", metric.pairs, total)
    if not any(bound == float("inf") for bound, _, _ in buckets):
        buckets.append((float("inf"), count, None))
    for bound, in_bucket, bucket_exemplar in buckets:
        pairs = _with(metric.pairs, "le", floats.openmetrics_text(bound))
        row = page.add(metric, f"{metric.name}_bucket", pairs, in_bucket)
        if bucket_exemplar is not None:
            page.exemplars.add(row, bucket_exemplar)


def _bucket(metric: str, message: bytes) -> tuple[float, float, Exemplar | None]:
    """(upper bound, cumulative count, exemplar) of a Bucket."""
    bound = count = 0.0
    exemplar = None
    for number, wire_type, value in fields(message):
        if number == 1:
            count = float(_integer(wire_type, value))
        elif number == 2:
            bound = _double(wire_type, value)
        elif number == 3:
            exemplar = _exemplar(metric, _message(wire_type, value))
        elif number == 4:
            count = _double(wire_type, value) or count
    return bound, count, exemplar


def _exemplar(metric: str, message: bytes) -> Exemplar:
    pairs: dict[str, str] = {}
    amount, time_ms = 0.0, None
    for number, wire_type, value in fields(message):
        if number == 1:
            name, text = _label(metric, _message(wire_type, value))
            pairs[name] = text
        elif number == 2:
            amount = _double(wire_type, value)
        elif number == 3:
            time_ms = _time_ms(_message(wire_type, value))
    return Exemplar(Labels.of(pairs).key, amount, time_ms)


def _time_ms(message: bytes) -> int:
    """Milliseconds of a google.protobuf.Timestamp; Malformed beyond the year 9999."""
    seconds = nanoseconds = 0
    for number, wire_type, value in fields(message):
        if number == 1:
            seconds = _signed(_integer(wire_type, value))
        elif number == 2:
            nanoseconds = _signed(_integer(wire_type, value))
    if abs(seconds) > _MAX_SECONDS or abs(nanoseconds) >= 10**9:
        raise Malformed(f"proto: timestamp of {seconds} s and {nanoseconds} ns is out of range")
    return seconds * 1000 + nanoseconds // 10**6


def _label(metric: str, message: bytes) -> tuple[str, str]:
    name, value = (_text(BYTES, raw) for raw in texts(message, 2))
    if not name:
        raise Malformed(f"invalid label name of metric {quote(metric)}: it is empty")
    return name, value


def _with(pairs: Pairs, name: str, value: str) -> Pairs:
    """*pairs* with label *name*, which the parser makes, in place of any that was sent."""
    return [*((n, v) for n, v in pairs if n != name), (name, value)]


def _doubles(message: bytes, wanted: frozenset[int]) -> Iterator[tuple[int, float]]:
    for number, wire_type, value in fields(message):
        if number in wanted:
            yield number, _double(wire_type, value)


def _message(wire_type: int, value: _Value) -> bytes:
    if wire_type != BYTES:
        raise Malformed(f"proto: wrong wireType = {wire_type} for a message")
    assert isinstance(value, bytes)
    return value


def _text(wire_type: int, value: _Value) -> str:
    try:
        return _message(wire_type, value).decode()
    except UnicodeDecodeError:
        raise Malformed("proto: a string contains invalid UTF-8") from None


def _integer(wire_type: int, value: _Value) -> int:
    if wire_type != VARINT:
        raise Malformed(f"proto: wrong wireType = {wire_type} for an integer")
    assert isinstance(value, int)
    return value


def _double(wire_type: int, value: _Value) -> float:
    if wire_type != FIXED64:
        raise Malformed(f"proto: wrong wireType = {wire_type} for a double")
    assert isinstance(value, int)
    return float(struct.unpack("<d", value.to_bytes(8, "little"))[0])


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number

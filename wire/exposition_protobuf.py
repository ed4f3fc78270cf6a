"""Exposition pages in protobuf: ``io.prometheus.client.MetricFamily`` messages, each behind its
length as a varint.

Field numbers are those of prometheus/client_model (metrics.proto). Names and order of the series
are those of Prometheus' parser (model/textparse/protobufparse.go).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from series.labels import METRIC_NAME, Labels, quote
from series.metadata import Metadata
from wire import floats
from wire.errors import Malformed
from wire.exposition_page import Scraped, single_samples
from wire.protobuf import BYTES, FIXED64, VARINT, fields, texts, varint

_TYPES = ("counter", "gauge", "summary", "unknown", "histogram", "gaugehistogram")
_NATIVE = frozenset({6, 7, 8, 9, 10, 11, 12, 13, 14})
"""The fields of a Histogram that only a native one fills."""

Pairs = list[tuple[str, str]]
_Value = int | bytes


@dataclass(slots=True)
class _Samples:
    """The samples of a page so far."""

    keys: list[bytes] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times_ms: list[int | None] = field(default_factory=list)

    def add(self, name: str, pairs: Pairs, value: float, time_ms: int | None) -> None:
        self.keys.append(Labels([(METRIC_NAME, name), *pairs]).key)
        self.values.append(value)
        self.times_ms.append(time_ms)


def decode(body: bytes, now_ms: int) -> Scraped:
    """The page *body*; samples without a time of their own get *now_ms*.

    Native histograms are refused by name, their classic buckets kept. Raises Malformed.
    """
    samples = _Samples()
    page = Scraped(*single_samples((), (), (), now_ms))
    at = 0
    while at < len(body):
        size, at = varint(body, at)
        if size > len(body) - at:
            raise Malformed("proto: unexpected EOF in a metric family")
        _family(page, samples, body[at : at + size])
        at += size
    page.batch, page.explicit = single_samples(
        samples.keys, samples.values, samples.times_ms, now_ms
    )
    return page


def _family(page: Scraped, samples: _Samples, message: bytes) -> None:
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
        _metric(page, samples, name, metric)


def _metric(page: Scraped, samples: _Samples, name: str, message: bytes) -> None:
    pairs: Pairs = []
    time_ms: int | None = None
    told: tuple[int, bytes] | None = None
    for number, wire_type, value in fields(message):
        if number == 1:
            pairs.append(_label(name, _message(wire_type, value)))
        elif number in (2, 3, 4, 5, 7):
            told = number, _message(wire_type, value)
        elif number == 6:
            time_ms = _signed(_integer(wire_type, value)) or None
    names = [label for label, _ in pairs]
    if len({METRIC_NAME, *names}) <= len(names):
        raise Malformed(f"invalid labels of metric {quote(name)}: a label name stands twice")
    if told is None:
        raise Malformed(f"metric {quote(name)} has no value")
    number, inner = told
    if number == 4:
        _summary(samples, name, pairs, inner, time_ms)
    elif number == 7:
        _histogram(page, samples, name, pairs, inner, time_ms)
    else:
        single = dict(_doubles(inner, frozenset({1})))
        page.exemplars += number == 3 and any(n == 2 for n, _, _ in fields(inner))
        samples.add(name, pairs, single.get(1, 0.0), time_ms)


def _summary(
    samples: _Samples, name: str, pairs: Pairs, message: bytes, time_ms: int | None
) -> None:
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
    samples.add(f"{name}_count", pairs, float(count), time_ms)
    samples.add(f"{name}_sum", pairs, total, time_ms)
    for quantile, at_quantile in quantiles:
        text = floats.openmetrics_text(quantile)
        samples.add(name, _with(pairs, "quantile", text), at_quantile, time_ms)


def _histogram(
    page: Scraped, samples: _Samples, name: str, pairs: Pairs, message: bytes, time_ms: int | None
) -> None:
    count = total = 0.0
    buckets = []
    native = False
    for number, wire_type, value in fields(message):
        if number == 1:
            count = float(_integer(wire_type, value))
        elif number == 2:
            total = _double(wire_type, value)
        elif number == 3:
            inner = _message(wire_type, value)
            page.exemplars += any(n == 3 for n, _, _ in fields(inner))
            buckets.append(_bucket(inner))
        elif number == 4:
            count = _double(wire_type, value) or count
        elif number == 16:
            page.exemplars += 1
        elif number in _NATIVE:
            native = native or value not in (0, b"")
    samples.add(f"{name}_count", pairs, count, time_ms)
    samples.add(f"{name}_sum", pairs, total, time_ms)
    if not any(bound == float("inf") for bound, _ in buckets):
        buckets.append((float("inf"), count))
    for bound, in_bucket in buckets:
        text = floats.openmetrics_text(bound)
        samples.add(f"{name}_bucket", _with(pairs, "le", text), in_bucket, time_ms)
    if native:
        labels = Labels([(METRIC_NAME, name), *pairs])
        detail = f"native histograms are not supported yet for series {labels}"
        page.refuse("native-histogram", detail, labels, time_ms or 0)


def _bucket(message: bytes) -> tuple[float, float]:
    """(upper bound, cumulative count) of a Bucket."""
    bound = count = 0.0
    for number, wire_type, value in fields(message):
        if number == 1:
            count = float(_integer(wire_type, value))
        elif number == 2:
            bound = _double(wire_type, value)
        elif number == 4:
            count = _double(wire_type, value) or count
    return bound, count


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

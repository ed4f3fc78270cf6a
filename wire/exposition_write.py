"""Exposition pages of federation, written: the text format 0.0.4 and length-delimited protobuf.

Source: prometheus/docs, exposition_formats.md, io/prometheus/client/metrics.proto, and
web/federate.go of Prometheus 3.14. Every metric is untyped but for native histograms, which only
protobuf can hold. A series without ``instance`` shows an empty one: who scrapes the page and honors
its labels would otherwise put this server's there.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from series.frame import LabelFrame
from series.histogram import CUSTOM_SCHEMA, GAUGE, OFFSET, Histogram
from series.labels import METRIC_NAME, Labels, quote_name

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=values"
PROTOBUF_TYPE = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

INSTANCE = "instance"

_UNTYPED, _HISTOGRAM, _GAUGE_HISTOGRAM = 3, 4, 5


class Exposed(NamedTuple):
    """One sample of a page."""

    labels: Labels
    time_ms: int
    value: float | Histogram


def text_page(frame: LabelFrame, times_ms: Sequence[int], values: Sequence[str]) -> bytes:
    """The page of series that stand in order of their names, each with one sample.

    *values* are floats as the format prints them.
    """
    lines: list[str] = []
    family, opening, separator = None, "", ""
    rows = zip(frame.texts(METRIC_NAME), _pairs(frame), values, times_ms, strict=True)
    for name, pairs, value, time_ms in rows:
        if name != family:
            family, quoted = name, quote_name(name)
            lines.append(f"# TYPE {quoted} untyped\n")
            opening, separator = (f"{name}{{", "") if quoted == name else (f"{{{quoted}", ",")
        lines.append(f"{opening}{separator}{','.join(pairs)}}} {value} {time_ms}\n")
    return "".join(lines).encode(errors="replace")


def _pairs(frame: LabelFrame) -> list[list[str]]:
    """``name="value"`` of the labels of each row but its metric name, an instance among them."""
    rows: list[list[str]] = [[] for _ in range(frame.size)]
    for name in sorted(frame.columns.keys() - {METRIC_NAME}):
        codes, values = frame.columns[name]
        known: dict[int, str] = {}
        for row, code in zip(rows, codes.tolist(), strict=True):
            if code:
                text = known.get(code)
                if text is None:
                    text = known[code] = f'{quote_name(name)}="{_escaped(values[code])}"'
                row.append(text)
    for row, instance in zip(rows, frame.texts(INSTANCE), strict=True):
        if not instance:
            row.append(f'{INSTANCE}=""')
    return rows


def series_text(labels: Labels) -> str:
    """A series as a page names it: quoted within the braces where the name is not a classic one."""
    name = labels.metric
    pairs = [f'{quote_name(n)}="{_escaped(v)}"' for n, v in labels if n != METRIC_NAME]
    if quote_name(name) != name:
        return "{" + ",".join([quote_name(name), *pairs]) + "}"
    return name + ("{" + ",".join(pairs) + "}" if pairs else "")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def protobuf_page(samples: list[Exposed]) -> bytes:
    """The families of *samples*, which stand in order of their names, one message each."""
    return b"".join(_families(samples))


def _families(samples: list[Exposed]) -> Iterator[bytes]:
    metrics: list[bytes] = []
    opened: tuple[str, int] | None = None
    for sample in samples:
        family = (sample.labels.metric, _kind(sample.value))
        if opened is not None and family != opened:
            yield _family(*opened, metrics)
            metrics = []
        opened = family
        metrics.append(_bytes(4, _metric(sample)))
    if opened is not None:
        yield _family(*opened, metrics)


def _kind(value: float | Histogram) -> int:
    if not isinstance(value, Histogram):
        return _UNTYPED
    return _GAUGE_HISTOGRAM if value.hint == GAUGE else _HISTOGRAM


def _family(name: str, kind: int, metrics: list[bytes]) -> bytes:
    message = _bytes(1, name.encode()) + _whole(3, kind) + b"".join(metrics)
    return _varint(len(message)) + message


def _metric(sample: Exposed) -> bytes:
    pairs = [(name, value) for name, value in sample.labels if name != METRIC_NAME]
    if not sample.labels.get(INSTANCE):
        pairs.append((INSTANCE, ""))
    labels = b"".join(
        _bytes(1, _bytes(1, name.encode()) + _bytes(2, value.encode())) for name, value in pairs
    )
    if isinstance(sample.value, Histogram):
        value = _bytes(7, _histogram(sample.value))
    else:
        value = _bytes(5, _double(1, sample.value))
    return labels + value + _whole(6, sample.time_ms)


def _histogram(one: Histogram) -> bytes:
    head = _double(4, one.count) + _double(2, one.sum)
    if one.schema == CUSTOM_SCHEMA:
        return head + b"".join(_classic_buckets(one))
    negative = [(-at - OFFSET, count) for at, count in reversed(one.buckets) if at < 0]
    positive = [(at - OFFSET, count) for at, count in one.buckets if at > 0]
    return b"".join(
        (
            head,
            _whole(5, _zigzag(one.schema)),
            _double(6, one.zero_threshold),
            _double(8, one.zero_count),
            *_side(negative, 9, 11),
            # A span tells a reader that this is a native histogram, also where nothing is in it.
            *(
                _side(positive, 12, 14)
                if positive or negative
                else (_bytes(12, b"\x08\x00\x10\x00"),)
            ),
        )
    )


def _classic_buckets(one: Histogram) -> Iterator[bytes]:
    """The buckets of a histogram with custom bounds, cumulated; +Inf needs no mention."""
    counts = {at - OFFSET: count for at, count in one.buckets}
    total = 0.0
    for index, bound in enumerate(one.bounds):
        total += counts.get(index, 0.0)
        yield _bytes(3, _double(4, total) + _double(2, bound))


def _side(buckets: list[tuple[int, float]], spans: int, counts: int) -> Iterator[bytes]:
    end = 0
    start = 0
    for at, (index, _) in enumerate(buckets):
        if at + 1 < len(buckets) and buckets[at + 1][0] == index + 1:
            continue
        first = buckets[start][0]
        span = _whole(1, _zigzag(first - end)) + _whole(2, index + 1 - first)
        yield _bytes(spans, span)
        end, start = index + 1, at + 1
    for _, count in buckets:
        yield _double(counts, count)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _whole(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)

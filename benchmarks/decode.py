"""Measures how fast the doors decode: OTLP and remote write 2.0 beside remote write 1.0.

python -m benchmarks.decode --rounds 15

An OTLP request of each shape is made with OpenTelemetry's own classes; the remote writes carry the
samples that it comes to, so that all three bring the same. A *sample* is one value of one series
as it is stored: a histogram of 12 buckets has 14 (buckets, sum and count), a summary of 3 quantiles
5, a resource one more, of its target_info. Every door gets what its senders usually send, snappy
for remote writes and plain bytes for OTLP, and decodes it to a batch as the server does it.

Doors take turns within a round, in an order that rotates. *Warm* is a request whose names the
tenant's Translator knows, as all but the first have; *cold* one that it sees for the first time,
in rounds of its own: it takes so long that it would leave the caches of the processor empty for
the others. Remote writes remember nothing. Times are those of the processor, so that other work on
the machine counts little; shown are the median and the least of the rounds.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from rich.console import Console
from rich.table import Table

from benchmarks.remote_write import compress, encode_sample, field, varint, write_body
from benchmarks.workload import BUCKETS
from series.batch import SeriesBatch
from series.labels import Labels
from wire import remote_write, remote_write_v2
from wire.otlp_options import Options
from wire.otlp_translate import Translator

START_MS = 1_700_000_000_000
CUMULATIVE = 2
BOUNDS = BUCKETS[4:15].tolist()
QUANTILES = (0.5, 0.9, 0.99)
REMOTE_WRITE = "remote write 1.0"
DOORS = (REMOTE_WRITE, "remote write 2.0", "OTLP, warm", "OTLP, cold")

Row = tuple[Labels, int, float]
Decode = Callable[[], SeriesBatch]


@dataclass(frozen=True)
class Shape:
    """An export of *resources* with so many metrics of one of the *kinds* in turn, each."""

    name: str
    resources: int
    metrics: int
    points: int
    kinds: tuple[str, ...]


SHAPES = (
    Shape("20 points a metric", 50, 10, 20, ("gauge", "sum")),
    Shape("1 point a metric", 100, 100, 1, ("gauge", "sum")),
    Shape("1 metric a resource", 2000, 1, 1, ("gauge",)),
    Shape("1 histogram a metric", 20, 40, 1, ("histogram",)),
    Shape("20 histograms a metric", 10, 4, 20, ("histogram",)),
    Shape("1 summary a metric", 50, 40, 1, ("summary",)),
    Shape("kinds mixed, 1 point", 40, 40, 1, ("gauge", "sum", "histogram", "summary")),
)


def main() -> int:
    options = _options()
    console = Console(width=110)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for shape in SHAPES:
        if options.shapes in shape.name:
            samples, doors = _doors(shape)
            results[shape.name] = measured(samples, doors, options.rounds)
            _print(console, f"{shape.name}: {samples:,} samples", results[shape.name])
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0


def export(shape: Shape, at_ms: int) -> bytes:
    """The plain body of a request of *shape*, every point of it at *at_ms*."""
    message = ExportMetricsServiceRequest()
    for resource in range(shape.resources):
        below = message.resource_metrics.add()
        _attribute(below.resource, "service.name", f"service-{resource % 10}")
        _attribute(below.resource, "service.instance.id", f"7c1f0a52-9a3e-4c6f-{resource:08d}")
        _attribute(below.resource, "host.name", f"node-{resource}.example")
        scope = below.scope_metrics.add()
        scope.scope.name, scope.scope.version = "example.instrumentation", "1.2.3"
        for number in range(shape.metrics):
            metric = scope.metrics.add()
            metric.name, metric.unit = f"http.server.measure_{number}", "s"
            metric.description = "What is measured of the requests that a server answers."
            _fill(metric, shape.kinds[number % len(shape.kinds)], shape.points, resource, at_ms)
    return bytes(message.SerializeToString())


def _fill(metric: Any, kind: str, points: int, resource: int, at_ms: int) -> None:
    data = getattr(metric, kind)
    if kind in ("sum", "histogram"):
        data.aggregation_temporality = CUMULATIVE
    if kind == "sum":
        data.is_monotonic = True
    for number in range(points):
        point = data.data_points.add()
        point.start_time_unix_nano = START_MS * 1_000_000
        point.time_unix_nano = at_ms * 1_000_000
        _attribute(point, "http.route", f"/api/v1/path-{number}")
        _attribute(point, "http.request.method", ("GET", "POST")[number % 2])
        value = (at_ms - START_MS) * 0.37 + 1000 * resource + number
        if kind in ("gauge", "sum"):
            point.as_double = value
            continue
        point.count, point.sum = int(value) * (len(BOUNDS) + 1), value
        if kind == "histogram":
            point.explicit_bounds.extend(BOUNDS)
            point.bucket_counts.extend([int(value)] * (len(BOUNDS) + 1))
        else:
            for quantile in QUANTILES:
                point.quantile_values.add(quantile=quantile, value=value * quantile)


def _attribute(target: Any, key: str, value: str) -> None:
    target.attributes.add(key=key).value.string_value = value


def _doors(shape: Shape) -> tuple[int, dict[str, Decode]]:
    """(samples of a request, what decodes it by each of DOORS)."""
    body = export(shape, START_MS + 60_000)
    warm = Translator(Options())
    for at_ms in (START_MS, START_MS + 30_000):
        translated(warm, export(shape, at_ms))
    rows = list(_rows(translated(warm, body)))
    first = write_body((row.as_dict(), [(at_ms, value)]) for row, at_ms, value in rows)
    second = _second_body(rows)
    doors: tuple[Decode, ...] = (
        lambda: remote_write.decode(first).batch,
        lambda: remote_write_v2.decode(second).batch,
        lambda: translated(warm, body),
        lambda: translated(Translator(Options()), body),
    )
    for name, decode in zip(DOORS, doors, strict=True):
        if list(_rows(decode())) != rows:
            raise RuntimeError(f"{name} does not bring the samples of the others")
    return len(rows), dict(zip(DOORS, doors, strict=True))


def translated(translator: Translator, body: bytes) -> SeriesBatch:
    """The batch of an OTLP body, by the steps of the server's door."""
    request = translator.translate(np.frombuffer(body, dtype=np.uint8), START_MS)
    request.confirm()
    return request.batch


def _rows(batch: SeriesBatch) -> Iterable[Row]:
    for row in range(batch.series_count):
        times_ms, values = batch.row_times_ms(row), batch.row_values(row)
        yield Labels.from_key(batch.key(row)), int(times_ms[0]), float(values[0])


def _second_body(rows: list[Row]) -> bytes:
    """A remote write 2.0 body: Request.symbols = 4, .timeseries = 5; labels_refs = 1."""
    symbols = {"": 0}
    series = []
    for labels, at_ms, value in rows:
        texts = (text for pair in labels.pairs for text in pair)
        refs = b"".join(varint(symbols.setdefault(text, len(symbols))) for text in texts)
        series.append(field(5, field(1, refs) + encode_sample(at_ms, value)))
    return compress(b"".join([*(field(4, text.encode()) for text in symbols), *series]))


def measured(samples: int, doors: dict[str, Decode], rounds: int) -> dict[str, dict[str, float]]:
    """By door: ``median`` and ``least`` nanoseconds a sample, and the speed ``of_first``.

    That is the median over the rounds of the first door's time over this one's.
    """
    took_ns: dict[str, list[int]] = {name: [] for name in doors}
    *names, last = doors
    turns = [names[turn % len(names) :] + names[: turn % len(names)] for turn in range(rounds)]
    gc.disable()
    for turn in (*turns, *[[last]] * rounds):
        for name in turn:
            began = time.thread_time_ns()
            doors[name]()
            took_ns[name].append(time.thread_time_ns() - began)
    gc.enable()
    first = took_ns[names[0]]
    return {
        name: {
            "median": statistics.median(took) / samples,
            "least": min(took) / samples,
            "of_first": statistics.median(a / b for a, b in zip(first, took, strict=True)),
        }
        for name, took in took_ns.items()
    }


def _print(console: Console, title: str, figures: dict[str, dict[str, float]]) -> None:
    table = Table(title=title, title_justify="left", width=78)
    for heading in ("door", "median ns/sample", "least", f"speed of {REMOTE_WRITE}'s"):
        table.add_column(heading, justify="left" if heading == "door" else "right")
    for name, one in figures.items():
        table.add_row(name, f"{one['median']:.0f}", f"{one['least']:.0f}", f"{one['of_first']:.0%}")
    console.print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decode",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=15, help="at least 9")
    parser.add_argument("--shapes", default="", help="only those whose name contains this")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if options.rounds < 9:
        parser.error("fewer than 9 rounds say nothing")
    return options


if __name__ == "__main__":
    sys.exit(main())

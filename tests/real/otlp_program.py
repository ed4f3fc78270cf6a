"""A user's program with the OpenTelemetry SDK, configured by the environment alone.

Counts, measures and observes for some exports, then prints as JSON what the SDK itself holds: the
sums of what it recorded. Arguments: how many rounds.
"""

import json
import sys
from typing import Any

from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource


def main(rounds: int) -> None:
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=600_000)
    provider = MeterProvider([reader], Resource.create({"host.name": "h1"}))
    metrics.set_meter_provider(provider)
    meter = metrics.get_meter("program", "1.0")
    requests = meter.create_counter("http.server.requests", "1", "Requests answered")
    sizes = meter.create_up_down_counter("queue.size", "{items}")
    latency = meter.create_histogram(
        "http.server.duration",
        "s",
        "Time to answer",
        explicit_bucket_boundaries_advisory=[0.1, 0.5, 1],
    )
    meter.create_observable_gauge(
        "room.temperature", [lambda options: [metrics.Observation(21.5, {"room": "north"})]], "Cel"
    )
    held: dict[str, Any] = {
        "requests": {"/a": 0, "/b": 0},
        "size": 0,
        "durations": [],
        "answers": [],
    }
    for number in range(rounds):
        for route, count in (("/a", 1), ("/b", number + 2)):
            requests.add(count, {"http.route": route, "http.status_code": 200})
            held["requests"][route] += count
        change = 3 - 2 * number
        sizes.add(change)
        held["size"] += change
        for seconds in (0.05, 0.3, 0.3 + number, 7.0):
            latency.record(seconds, {"http.route": "/a"})
            held["durations"].append(seconds)
        held["answers"].append(provider.force_flush(20_000))
    provider.shutdown()
    print(json.dumps(held))


if __name__ == "__main__":
    main(int(sys.argv[1]))

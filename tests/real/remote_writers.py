"""A user's program with two Python senders of remote write, run by a Python that has them.

Arguments: which sender, the URL to write to, the key. Prints as JSON what the sender holds, as a
list of [labels, [[time in ms, value as text], ...]].
"""

import json
import sys
import time

Held = list[tuple[dict[str, str], list[tuple[int, str]]]]


def prometheus_remote_writer(url: str, key: str) -> Held:
    """Batches of ready series, half of them with times in seconds, labels out of order."""
    from prometheus_remote_writer import RemoteWriter  # type: ignore[import-not-found]

    first_ms = int(time.time()) * 1000 - 7000
    times = [first_ms + 1000 * k for k in range(7)]
    held: Held = []
    for number in range(25):
        labels = {"worker": f"w{number}", "__name__": "writer_load", "Zone": "Köln"}
        values = [number / 3, 2, 1e21, -1, 5e-324, 0, float("inf")]
        held.append((labels, [(t, repr(v)) for t, v in zip(times, values, strict=True)]))
    series = [
        {
            "metric": labels,
            "values": [float(value) for _, value in samples],
            "timestamps": [t // 1000 if number % 2 else t for t in times],
        }
        for number, (labels, samples) in enumerate(held)
    ]
    with RemoteWriter(url=url, auth={"bearer_token": key}, max_series_per_request=10) as writer:
        sent = writer.send(series)
        again = writer.send(series[:3])
    assert (sent.requests_sent, sent.samples_sent) == (3, 175), sent
    assert again.last_response.status_code == 204, again
    return held


def opentelemetry_remote_write(url: str, key: str) -> Held:
    """OpenTelemetry's exporter: what it made of each instrument is read from its own messages."""
    from opentelemetry.exporter.prometheus_remote_write import (  # type: ignore[import-not-found]
        PrometheusRemoteWriteMetricsExporter,
    )
    from opentelemetry.metrics import Observation
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    exporter = PrometheusRemoteWriteMetricsExporter(
        endpoint=url, headers={"Authorization": f"Bearer {key}"}
    )
    held: dict[tuple[tuple[str, str], ...], list[tuple[int, str]]] = {}
    convert = exporter._translate_data

    def remember(data: object) -> object:
        found = convert(data)
        for series in found:
            labels = tuple(sorted((label.name, label.value) for label in series.labels))
            held.setdefault(labels, []).extend((s.timestamp, repr(s.value)) for s in series.samples)
        return found

    exporter._translate_data = remember
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=600_000)
    provider = MeterProvider([reader], Resource.create({"service.name": "shop", "zone": "Köln"}))
    meter = provider.get_meter("program")
    orders = meter.create_counter("orders", "items")
    open_carts = meter.create_up_down_counter("carts.open")
    waits = meter.create_histogram("wait", "s", explicit_bucket_boundaries_advisory=[0.1, 1, 5])
    meter.create_observable_gauge("warmth", [lambda options: [Observation(21.5, {"room": "n"})]])
    for number in range(3):
        orders.add(number + 1, {"http.route": "/a"})
        orders.add(2.5, {"http.route": "/b"})
        open_carts.add(1 - number)
        waits.record(0.3 * number, {"http.route": "/a"})
        assert provider.force_flush(20_000)
        time.sleep(0.01)
    provider.shutdown()
    return [(dict(labels), samples) for labels, samples in held.items()]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2], sys.argv[3])))

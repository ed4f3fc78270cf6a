"""A program that pretends to serve language models and shows its metrics to Prometheus.

    python examples/inference.py --port 8000

http://127.0.0.1:8000/metrics then holds

- ``inference_requests_total{model, status}``, a counter; status is ``success`` or ``error``;
- ``inference_duration_seconds{model}``, a histogram of the successful requests' durations.

The requests are drawn from a seeded generator, so two runs with one seed count the same requests.
Ctrl-C or SIGTERM ends it.
"""

import argparse
import random
import signal
import threading
from dataclasses import dataclass

from prometheus_client import Counter, Histogram, start_http_server

REQUESTS = Counter("inference_requests", "Inference requests by outcome.", ["model", "status"])
DURATION = Histogram(
    "inference_duration_seconds",
    "Time from request to last token of successful requests.",
    ["model"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


@dataclass(frozen=True)
class Model:
    """How often a model is asked (relative weight), how long it takes, how often it fails."""

    name: str
    weight: float
    median_s: float
    error_ratio: float


MODELS = (
    Model("small", 6, 0.04, 0.01),
    Model("medium", 3, 0.2, 0.03),
    Model("large", 1, 1.1, 0.08),
)


def serve_one(draw: random.Random) -> float:
    """Counts one pretended request; returns the seconds until the next one, at rate 1/s."""
    [model] = draw.choices(MODELS, [model.weight for model in MODELS])
    failed = draw.random() < model.error_ratio
    duration_s = model.median_s * draw.lognormvariate(0, 0.6)
    REQUESTS.labels(model.name, "error" if failed else "success").inc()
    if not failed:
        DURATION.labels(model.name).observe(duration_s)
    return draw.expovariate(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8000, help="of the /metrics page; 0: any")
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    for model in MODELS:  # a series that begins at 0 has a rate from its first event on
        REQUESTS.labels(model.name, "success")
        REQUESTS.labels(model.name, "error")
        DURATION.labels(model.name)

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    server, thread = start_http_server(options.port, addr="127.0.0.1")
    print(f"metrics on http://127.0.0.1:{server.server_port}/metrics; Ctrl-C ends", flush=True)

    draw = random.Random(options.seed)
    while not ended.wait(serve_one(draw) / options.rate):
        pass
    server.shutdown()
    thread.join()


if __name__ == "__main__":
    main()

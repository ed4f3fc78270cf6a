"""What the server tells about itself on ``/metrics``.

Sums over all tenants: no number here belongs to one of them.
"""

import dataclasses
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from server.settings import PROMETHEUS_VERSION, VERSION

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)

COUNTERS = frozenset(
    (
        "wal_fsyncs",
        "wal_failures",
        "appended_samples",
        "seals",
        "seal_failures",
        "replayed_samples",
        "replay_damaged_bytes",
        "replay_torn_bytes",
        "replay_lost_samples",
    )
)
"""The fields of the storage's statistics that only grow."""


class SelfMetrics:
    """The server's own counters; methods are safe from any thread."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        info = Gauge(
            "o11y_build_info", "1, with the versions.", ["version", "prometheus"], registry=registry
        )
        info.labels(VERSION, PROMETHEUS_VERSION).set(1)
        self.samples = Counter(
            "o11y_ingest_samples", "Samples acknowledged as stored.", registry=registry
        )
        self.refused = Counter(
            "o11y_ingest_refused_samples",
            "Samples refused, by reason.",
            ["reason"],
            registry=registry,
        )
        self.requests = Counter(
            "o11y_http_requests", "Answered requests.", ["path", "code"], registry=registry
        )
        self.queries = Histogram(
            "o11y_query_duration_seconds",
            "Time from a query's arrival to its first answered bytes.",
            ["kind"],
            registry=registry,
            buckets=_SECONDS,
        )
        self.running = Gauge("o11y_queries_running", "Queries being evaluated.", registry=registry)
        self.maintenance_failures = Counter(
            "o11y_maintenance_failures", "Rounds of background work that failed.", registry=registry
        )

    def observe_storage(
        self, tenants: Callable[[], list[str]], stats: Callable[[], list[object]]
    ) -> None:
        """Adds the storage's numbers, read at each scrape.

        *stats* gives one dataclass of plain numbers a tenant; equal fields are summed, those in
        COUNTERS are counters, what is no number is left out.
        """
        self.registry.register(_StorageCollector(tenants, stats))

    def page(self) -> bytes:
        """The text of ``/metrics``."""
        return generate_latest(self.registry)


class _StorageCollector:
    def __init__(self, tenants: Callable[[], list[str]], stats: Callable[[], list[object]]) -> None:
        self._tenants = tenants
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("o11y_tenants", "Tenants with data.", len(self._tenants()))
        sums: dict[str, float] = {}
        for one in self._stats():
            for name, value in dataclasses.asdict(one).items():  # type: ignore[call-overload]
                if isinstance(value, int | float):
                    sums[name] = sums.get(name, 0) + value
        for name, value in sums.items():
            family = CounterMetricFamily if name in COUNTERS else GaugeMetricFamily
            help_text = f"The storage's {name.replace('_', ' ')}, over all tenants."
            yield family(f"o11y_storage_{name}", help_text, value)

"""What the server tells about itself on ``/metrics``.

Every series has a bounded number of label values, none of which a stranger can make. Families that
name organizations call the label ``org``: it decides who may see a series.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from server import connection
from server.doors.push_groups import PushGroups
from server.huge_pages import HugePages
from server.metrics.query_metrics import OTHER, QueryMetrics
from server.metrics.storage_metrics import StorageCollector
from server.metrics.tally import Counts, Durations
from server.metrics.unheard import UnheardWarnings
from server.settings import PROMETHEUS_VERSION, VERSION
from tsdb.db import DbStats

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)

# The times at which our counters were made tell nothing that process_start_time_seconds does not.
disable_created_metrics()  # type: ignore[no-untyped-call]


def _everybody(org: str) -> bool:
    del org
    return True


class SelfMetrics:
    """The server's own counters; methods are safe from any thread."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        info = Gauge(
            "o11y_build_info", "1, with the versions.", ["version", "prometheus"], registry=registry
        )
        info.labels(VERSION, PROMETHEUS_VERSION).set(1)
        self.http = HttpMetrics(registry)
        self.samples = Counts(
            "o11y_ingest_samples",
            "Samples acknowledged as stored, by door.",
            ["door"],
            registry,
        )
        self.refused = Counts(
            "o11y_ingest_refused_samples",
            "Samples refused, by door and reason.",
            ["door", "reason"],
            registry,
        )
        self.skipped = Counts(
            "o11y_ingest_skipped",
            "What was in order and is not kept, by door and kind.",
            ["door", "kind"],
            registry,
        )
        self.limited = Counter(
            "o11y_limited_requests",
            "Queries refused, by the limit that they exceed.",
            ["limit"],
            registry=registry,
        )
        self.queries = QueryMetrics(registry)
        self.unheard = UnheardWarnings(registry)
        self.maintenance_failures = Counter(
            "o11y_maintenance_failures", "Rounds of background work that failed.", registry=registry
        )
        self.snapshots = Counter("o11y_snapshots", "Snapshots that were made.", registry=registry)

    def observe_storage(
        self, tenants: Callable[[], list[str]], stats: Callable[[], Iterable[DbStats]]
    ) -> None:
        """Adds the storage's numbers, read at each scrape; see StorageCollector."""
        self.registry.register(StorageCollector(tenants, stats))

    def observe_huge_pages(self, pages: HugePages) -> None:
        """Adds how much of the memory lies in huge pages."""
        size = Gauge(
            "o11y_huge_pages_bytes", "Memory that lies in huge pages.", registry=self.registry
        )
        size.set_function(lambda: pages.size_bytes)

    def observe_pushes(self, pushes: PushGroups) -> None:
        """Adds how much is remembered of the pushed groups."""
        groups = Gauge("o11y_push_groups", "Push groups remembered.", registry=self.registry)
        groups.set_function(lambda: len(pushes))
        series = Gauge(
            "o11y_push_group_series", "Series of push groups remembered.", registry=self.registry
        )
        series.set_function(lambda: pushes.series_count)

    def families(self, shown: Callable[[str], bool] = _everybody) -> Iterator[Metric]:
        """All metrics; of the series that name an organization those for which *shown* says so."""
        for family in self.registry.collect():
            family.samples = [
                sample
                for sample in family.samples
                if (org := sample.labels.get("org", OTHER)) == OTHER or shown(org)
            ]
            yield family

    def page(self, shown: Callable[[str], bool] = _everybody) -> bytes:
        """The text of ``/metrics``; see ``families``."""
        return generate_latest(_Collected(self.families(shown)))


class HttpMetrics:
    """Requests, by the path of their route; ``other`` is what leads nowhere. A collector.

    Counted on the event loop only.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight = 0
        self._paths: dict[str, _Path] = {}
        registry.register(self)
        registry.register(_ClosedConnections())

    def answered(
        self, path: str, status: int, seconds: float, received_bytes: int, sent_bytes: int
    ) -> None:
        """Counts one request."""
        row = self._paths.get(path)
        if row is None:
            row = self._paths[path] = _Path()
        row.codes[status] = row.codes.get(status, 0) + 1
        row.durations.add(seconds)
        row.received_bytes += received_bytes
        row.sent_bytes += sent_bytes

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "o11y_http_requests_in_flight", "Requests being answered.", value=self.in_flight
        )
        requests = CounterMetricFamily(
            "o11y_http_requests",
            "Answered requests; 499 is an asker who did not wait.",
            labels=["path", "code"],
        )
        durations = HistogramMetricFamily(
            "o11y_http_request_duration_seconds",
            "Time from a request's head to the end of its answer.",
            labels=["path"],
        )
        received = CounterMetricFamily(
            "o11y_http_received_bytes", "Bodies received.", labels=["path"]
        )
        sent = CounterMetricFamily("o11y_http_sent_bytes", "Bodies sent.", labels=["path"])
        for path, row in list(self._paths.items()):
            for code, count in list(row.codes.items()):
                requests.add_metric([path, str(code)], count)
            row.durations.fill(durations, [path])
            received.add_metric([path], row.received_bytes)
            sent.add_metric([path], row.sent_bytes)
        yield from (requests, durations, received, sent)


class _Path:
    """What has come and gone under one path."""

    __slots__ = ("codes", "durations", "received_bytes", "sent_bytes")

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self.durations = Durations(_SECONDS)
        self.received_bytes = 0
        self.sent_bytes = 0


class _ClosedConnections:
    """A collector of what ``server.connection`` counts."""

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "o11y_http_closed_connections",
            "Connections that the server ended, by reason.",
            labels=["reason"],
        )
        for reason, count in connection.closed.items():
            family.add_metric([reason], count)
        yield family


class _Collected:
    """Families that have been collected, as a collector."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families

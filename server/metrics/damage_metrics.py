"""The numbers of damage on disk for ``/metrics``, over all tenants."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tsdb.store import Store


class DamageCollector:
    """A collector of prometheus-client's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        found = CounterMetricFamily(
            "o11y_damage_found", "Places of damage found on disk.", labels=["what"]
        )
        for what, count in self._store.damage_counts.items():
            found.add_metric([what], count)
        yield found
        stats = self._store.scrubbed
        yield CounterMetricFamily(
            "o11y_scrub_bytes", "Bytes read and checked by the scrub.", stats.bytes
        )
        yield GaugeMetricFamily(
            "o11y_scrub_last_completed_timestamp_seconds",
            "When the scrub last came to its end; 0 where it never has.",
            stats.completed_ms / 1000,
        )
        yield GaugeMetricFamily(
            "o11y_failed_tenants", "Tenants that cannot be opened.", self._store.failed_tenants
        )

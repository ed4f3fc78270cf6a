"""The numbers of limits and of what they guard, for ``/metrics``."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from server.access.auth import Gate, KeyGate
from server.access.limits import LimitsFile
from server.doors.ha import Elections


@dataclass(frozen=True, slots=True)
class LimitsCollector:
    """Reads them at each scrape. Limits of single tenants are for their admins only."""

    limits: LimitsFile
    gate: Gate
    elections: Elections

    def collect(self) -> Iterator[Metric]:
        defaults = GaugeMetricFamily(
            "o11y_limits_defaults",
            "The limits of a tenant that has no own; 0 is none.",
            labels=["limit_name"],
        )
        for name, value in self.limits.config.defaults.numbers():
            defaults.add_metric([name], value)
        yield defaults
        yield GaugeMetricFamily(
            "o11y_limits_last_reload_successful",
            "Whether the file of limits could be read when it last changed.",
            value=float(self.limits.last_reload_good),
        )
        yield GaugeMetricFamily(
            "o11y_ha_clusters",
            "Clusters of replicas of which one is heard.",
            value=self.elections.count(),
        )
        failures = self.gate.throttle.failures if isinstance(self.gate, KeyGate) else 0
        yield CounterMetricFamily(
            "o11y_auth_failures", "Requests without a valid key.", value=failures
        )

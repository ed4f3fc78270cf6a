"""The numbers of the cache of range answers, for ``/metrics``."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from server.api.range_cache import RangeCache


@dataclass(frozen=True, slots=True)
class RangeCacheCollector:
    """Reads them at each scrape."""

    cache: RangeCache

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "o11y_query_cache_requests",
            "Range queries that asked the cache, by how much of the answer was there.",
            labels=["result"],
        )
        for result, count in self.cache.requests.items():
            requests.add_metric([result], count)
        yield requests
        yield CounterMetricFamily(
            "o11y_query_cache_reused_steps",
            "Steps of answers that were not computed again.",
            value=self.cache.reused_steps,
        )
        yield CounterMetricFamily(
            "o11y_query_cache_outdated_steps",
            "Steps that were kept and asked for, but samples had changed since.",
            value=self.cache.outdated_steps,
        )
        yield GaugeMetricFamily(
            "o11y_query_cache_bytes", "Memory of what is kept, about.", value=self.cache.size_bytes
        )

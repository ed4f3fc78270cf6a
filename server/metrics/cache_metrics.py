"""The numbers of the storage's caches, for ``/metrics``."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tsdb.block.cache import CacheUse


@dataclass(frozen=True, slots=True)
class CacheCollector:
    """Reads them at each scrape."""

    uses: Callable[[], Iterable[CacheUse]]

    def collect(self) -> Iterator[Metric]:
        sizes = GaugeMetricFamily(
            "o11y_storage_cache_bytes",
            "Memory that a cache of the storage takes, about.",
            labels=["cache"],
        )
        requests = CounterMetricFamily(
            "o11y_storage_cache_requests",
            "What was asked of a cache of the storage, by whether it was there.",
            labels=["cache", "result"],
        )
        for use in self.uses():
            sizes.add_metric([use.name], use.size_bytes)
            requests.add_metric([use.name, "hit"], use.hits)
            requests.add_metric([use.name, "miss"], use.misses)
        yield sizes
        yield requests

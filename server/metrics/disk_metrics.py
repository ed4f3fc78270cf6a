"""The numbers of the disk, for ``/metrics``."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric

from tsdb.disk_space import DiskSpace


@dataclass(frozen=True, slots=True)
class DiskCollector:
    """Asks the system at each scrape."""

    space: DiskSpace

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "o11y_disk_free_bytes",
            "What may still be written to the disk of the data directory.",
            value=self.space.free_bytes(),
        )
        yield GaugeMetricFamily(
            "o11y_disk_reserve_bytes",
            "With less free than this, writes are refused.",
            value=self.space.reserve_bytes,
        )
        yield GaugeMetricFamily(
            "o11y_read_only",
            "Whether writes are refused because the disk is low.",
            value=float(self.space.is_low),
        )

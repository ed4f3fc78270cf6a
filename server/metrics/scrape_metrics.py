"""What scraping tells about itself on ``/metrics``; no number here grows with the targets."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from server.doors.scraping import Scraping


class ScrapeCollector:
    """The counters of one Scraping, read at each scrape of ours."""

    def __init__(self, scraping: Scraping) -> None:
        self._scraping = scraping

    def collect(self) -> Iterator[Metric]:
        scraping, counters = self._scraping, self._scraping.counters
        pools = scraping.all_pools()
        yield GaugeMetricFamily(
            "o11y_config_last_reload_successful",
            "1 where the configuration file was good when it was last read, else 0.",
            float(scraping.last_reload_good),
        )
        yield GaugeMetricFamily(
            "o11y_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was read.",
            scraping.last_reload_seconds,
        )
        yield GaugeMetricFamily("o11y_scrape_pools", "Jobs.", len(pools))
        targets = GaugeMetricFamily("o11y_scrape_targets", "Targets by health.", labels=["health"])
        health = Counter(visitor.health for pool in pools for visitor in pool.visitors)
        for word in ("up", "down", "unknown"):
            targets.add_metric([word], health[word])
        yield targets
        yield GaugeMetricFamily(
            "o11y_scrape_dropped_targets",
            "Discovered targets that relabelling dropped.",
            sum(pool.dropped_count for pool in pools),
        )
        yield CounterMetricFamily("o11y_scrapes", "Scrapes, failed ones too.", counters.scrapes)
        yield _by("o11y_scrape_failures", "Failed scrapes by reason.", "reason", counters.failures)
        yield CounterMetricFamily(
            "o11y_scrape_skipped_ticks",
            "Scrapes left out because the one before was still on its way.",
            counters.skipped_ticks,
        )
        yield CounterMetricFamily(
            "o11y_scrape_samples", "Samples on scraped pages.", counters.samples
        )
        yield CounterMetricFamily(
            "o11y_scrape_body_bytes", "Uncompressed bytes of scraped pages.", counters.body_bytes
        )
        yield _by(
            "o11y_scrape_discovery_failures",
            "Failed looks for targets, by mechanism.",
            "mechanism",
            counters.discovery_failures,
        )


def _by(name: str, text: str, label: str, counts: Counter[str]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for word, count in sorted(dict(counts).items()):
        family.add_metric([word], count)
    return family

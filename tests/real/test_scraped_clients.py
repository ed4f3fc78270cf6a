"""Targets that we scrape ourselves, compared with what they hold: no other server in between."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Summary,
    start_http_server,
)

from benchmarks.api import Api, LabelSet
from benchmarks.processes import wait_for
from tests.harness import servers
from tests.harness.pages import RecordingPage, bits

pytestmark = pytest.mark.server

OWN = ("job", "instance")
TYPES = {
    "asked": "counter",
    "level": "gauge",
    "size_bytes": "summary",
    "wait_seconds": "histogram",
    "build": "info",
    "phase": "stateset",
}
"""What is told of each family, by its name in OpenMetrics, as Prometheus has it."""


@contextmanager
def scraping(home: Path, address: str) -> Iterator[Api]:
    """A server of ours that scrapes *address* every second."""
    config = home / "prometheus.yml"
    config.write_text(yaml.safe_dump(servers.run_config({"client": address})))
    more = ("--config", str(config))
    with servers.start_o11y(home / "data", home / "log", *more) as server:
        api = Api(server.url)
        yield api
        api.close()


def without_target(labels: LabelSet) -> LabelSet:
    return tuple(pair for pair in labels if pair[0] not in OWN)


def fill(registry: CollectorRegistry) -> None:
    """One of each kind that prometheus_client knows, with awkward labels and values."""
    counter = Counter("asked", "Asked.", ["who"], registry=registry)
    for who in ("Köln", 'a "b"', "back\\slash", "two\nlines"):
        counter.labels(who).inc(0.1, exemplar={"trace_id": "abc"})
    levels = Gauge("level", "Level.", ["kind"], registry=registry)
    for value in (math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3):
        levels.labels(repr(value)).set(value)
    sizes = Summary("size_bytes", "Sizes.", registry=registry)
    waits = Histogram("wait_seconds", "Waits.", ["route"], buckets=(0.1, 1, 5), registry=registry)
    for seconds in (0.05, 0.5, 2, 60):
        sizes.observe(1000 * seconds)
        waits.labels("/a").observe(seconds, exemplar={"trace_id": "def"})
    Info("build", "Build.", registry=registry).info({"version": "1.2", "branch": "main"})
    Enum("phase", "Phase.", states=["young", "old"], registry=registry).state("old")


def test_prometheus_client_is_stored_as_it_holds(warm: None, tmp_path: Path) -> None:
    """Counter, gauge, summary, histogram, info and enum: each sample of the registry, no other."""
    registry = CollectorRegistry()
    fill(registry)
    held = {
        tuple(sorted({"__name__": sample.name, **sample.labels}.items())): bits([sample.value])
        for family in registry.collect()
        for sample in family.samples
    }
    pages, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        with scraping(tmp_path, f"127.0.0.1:{pages.server_port}") as api:

            def stored() -> dict[LabelSet, list[str]]:
                query = '{job="client", __name__!~"up|scrape_.*"}'
                return {
                    without_target(labels): bits([points[0][1]])
                    for labels, points in api.instant(query, time.time()).series
                }

            wait_for(stored, "the first scrape")
            assert stored() == held
            told = api.call("/api/v1/metadata")
            assert {name: told[name][0]["type"] for name in told if name in TYPES} == TYPES
    finally:
        pages.shutdown()
        pages.server_close()
        thread.join()


def test_every_page_is_stored_bit_for_bit(warm: None, tmp_path: Path) -> None:
    """All values that a target showed, in order, and the ends of what it stopped showing."""
    with RecordingPage() as page, scraping(tmp_path, page.address) as api:

        def up() -> list[float]:
            return [p[0][1] for _, p in api.instant('up{job="client"}', time.time()).series]

        wait_for(lambda: page.pages >= 10, "ten pages")
        page.close_page()
        wait_for(lambda: up() == [0], "the target is known to be down")
        raw = api.instant('{__name__=~"shown_.*"}[10m]', time.time())
        stored = {
            without_target(labels): bits([v for _, v in points]) for labels, points in raw.series
        }
        assert stored == {labels: bits(values) for labels, values in page.shown.items()}
        assert api.instant('{__name__=~"shown_.*"}', time.time()).series == []

"""Our own metrics in an organization of ours, without waiting for a clock."""

import asyncio
import logging

import pytest

from server.metrics.self_scrape import SelfScrape
from tests.server.conftest import NOW_MS, Asker, up


def scraper(asker: Asker, org: str = "ops") -> SelfScrape:
    return SelfScrape(asker.house, org, "127.0.0.1:9090")


def values(asker: Asker, query: str, at_ms: int = NOW_MS) -> list[tuple[dict[str, str], float]]:
    params = {"query": query, "time": str(at_ms / 1000)}
    answer = asker.get("/api/v1/query", {"x-org-id": "ops"}, **params)
    return [(row["metric"], float(row["value"][1])) for row in answer.json()["data"]["result"]]


def test_one_scrape_stores_the_page(asker: Asker) -> None:
    """Every series of /metrics comes with job and instance, and with them up."""
    asker.write(up("a", 1, 2), headers={"x-org-id": "acme"})
    asyncio.run(scraper(asker).once())
    target = {"job": "o11y", "instance": "127.0.0.1:9090"}
    assert values(asker, "up") == [({"__name__": "up", **target}, 1)]
    ingested = values(asker, 'o11y_ingest_samples_total{door="remote_write"}')
    assert ingested == [
        ({"__name__": "o11y_ingest_samples_total", "door": "remote_write", **target}, 2)
    ]
    families = {family.name for family in asker.house.metrics.registry.collect()}
    found = values(asker, 'count({__name__=~"o11y_.+|process_.+"})')[0][1]
    assert found > len(families)
    page = asker.get("/metrics").text
    assert 'o11y_ingest_samples_total{door="self"}' in page, "counted as any other door"


def test_metadata_comes_along(asker: Asker) -> None:
    """Types and help texts, a counter under the name of its series."""
    asyncio.run(scraper(asker).once())
    answer = asker.get("/api/v1/metadata", {"x-org-id": "ops"}).json()["data"]
    assert answer["o11y_ingest_samples_total"][0]["type"] == "counter"
    assert answer["o11y_head_series"] == [
        {"type": "gauge", "help": "Series in memory.", "unit": ""}
    ]


def test_it_goes_nowhere_else(asker: Asker) -> None:
    """Other organizations see nothing of it."""
    asyncio.run(scraper(asker).once())
    assert asker.values("up") == {}
    assert asker.house.store.tenants() == ["ops"]


def test_a_series_that_goes_gets_a_stale_marker(asker: Asker) -> None:
    """It is gone at once, not after the lookback; the others stay."""
    costs = asker.house.metrics.queries.costs
    costs._max_orgs = 1
    costs.add("zorg", 1.0, 1)
    now_ms = NOW_MS
    asker.house.now_ms = lambda: now_ms
    mine = scraper(asker)
    asyncio.run(mine.once())
    query = 'o11y_org_queries_total{org!="other"}'
    assert [labels["org"] for labels, _ in values(asker, query)] == ["zorg"]
    costs.add("acme", 1.0, 1)
    now_ms += 15_000
    asyncio.run(mine.once())
    assert [labels["org"] for labels, _ in values(asker, query, now_ms)] == ["acme"]


def test_up_is_0_where_the_page_cannot_be_read(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the operator reads why."""

    def broken() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(asker.house.metrics, "families", broken)
    asyncio.run(scraper(asker).once())
    assert [value for _, value in values(asker, "up")] == [0]
    assert "broken" in caplog.text


def test_it_comes_every_15_seconds(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At whole periods from the start, late rounds are not made up for, failures do not end it."""
    now = 100.0
    slept: list[float] = []
    took = iter((1.0, 0.5, 40.0, 0.0))

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds
        if len(slept) == 4:
            raise asyncio.CancelledError

    async def once() -> None:
        nonlocal now
        now += next(took)
        if len(slept) == 1:
            raise OSError("no space left")

    mine = SelfScrape(asker.house, "ops", "here:1", sleep=sleep, clock=lambda: now)
    monkeypatch.setattr(mine, "once", once)
    with caplog.at_level(logging.ERROR), pytest.raises(asyncio.CancelledError):
        asyncio.run(mine.run())
    assert slept == [14.0, 14.5, 0.0, 15.0]
    assert [record.message for record in caplog.records] == ["own metrics not stored"]


def test_what_is_refused_is_logged(asker: Asker, caplog: pytest.LogCaptureFixture) -> None:
    """A second scrape at the same instant conflicts with the first, and says so."""
    mine = scraper(asker)
    asyncio.run(mine.once())
    asyncio.run(mine.once())
    about = caplog.records[-1].__dict__["o11y_fields"]
    assert (about["org"], about["door"]) == ("ops", "self")
    assert about["reason"] == "duplicate-timestamp"

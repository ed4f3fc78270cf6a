"""Scraping in a server: targets, jobs, configuration and its reload, by organization."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from scrape.clock import SystemClock
from scrape.visit import Harvest
from series.matcher import Matcher, MatchType
from server.access.keys import Role, create_key
from server.doors import scraping
from server.doors.scrape_door import scrape_tenant, start_scraping
from server.settings import Settings
from tests.server.conftest import NOW_MS, Asker

CONFIG = """
global: {scrape_interval: 10s}
scrape_configs:
  - job_name: shop
    basic_auth: {username: u, password: hidden}
    static_configs: [{targets: ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]}]
    relabel_configs:
      - {source_labels: [__address__], regex: ".*:3", action: drop}
      - {source_labels: [__address__], regex: ".*:(.)", target_label: shard}
"""


class Frozen(SystemClock):
    """A clock at which no visit is ever due."""

    def now_ms(self) -> int:
        return NOW_MS

    async def sleep(self, seconds: float) -> None:
        del seconds
        await super().sleep(3600)


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No scrape of these tests ever leaves."""
    monkeypatch.setattr(scraping, "SystemClock", Frozen)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "prometheus.yml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def scraping_asker(make_asker: Callable[..., Asker], file: Path) -> Asker:
    """An open server that scrapes for its default tenant."""
    asker = make_asker(config_file=file)
    start_scraping(asker.house)
    return asker


def data(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def visit_all(asker: Asker, page: str) -> None:
    """Lets every target be visited once, whatever the clock says, and answer *page*."""
    assert asker.house.scraping is not None
    for pool in asker.house.scraping.all_pools():
        for visitor in pool.visitors:
            visitor._transport = httpx.MockTransport(
                lambda _: httpx.Response(
                    200,
                    stream=httpx.ByteStream(page.encode()),
                    headers={"content-type": "text/plain"},
                )
            )
            asker.house.scraping._call(visitor.visit(NOW_MS))


def test_targets_are_listed(scraping_asker: Asker) -> None:
    """Active ones with labels, URL and health; dropped ones with what was discovered."""
    found = data(scraping_asker.get("/api/v1/targets"))

    first, second = found["activeTargets"]
    assert first["labels"] == {"instance": "127.0.0.1:1", "job": "shop", "shard": "1"}
    assert first["discoveredLabels"]["__address__"] == "127.0.0.1:1"
    assert (first["scrapePool"], first["scrapeUrl"], first["health"], first["lastError"]) == (
        "shop", "http://127.0.0.1:1/metrics", "unknown", "",
    )  # fmt: skip
    assert (first["scrapeInterval"], first["scrapeTimeout"]) == ("10s", "10s")
    assert first["lastScrape"] == "0001-01-01T00:00:00Z"
    assert second["labels"]["shard"] == "2"
    [dropped] = found["droppedTargets"]
    assert dropped["discoveredLabels"]["__address__"] == "127.0.0.1:3"
    assert found["droppedTargetCounts"] == {"shop": 1}


@pytest.mark.parametrize(
    ("params", "active", "dropped", "counts"),
    [
        ({"state": "active"}, 2, 0, None),
        ({"state": "dropped"}, 0, 1, {"shop": 1}),
        ({"state": "any", "scrapePool": "shop"}, 2, 1, {"shop": 1}),
        ({"scrapePool": "other"}, 0, 0, {}),
    ],
)
def test_targets_are_filtered(
    scraping_asker: Asker, params: dict[str, str], active: int, dropped: int, counts: object
) -> None:
    """By state and by job."""
    found = data(scraping_asker.get("/api/v1/targets", **params))

    assert len(found["activeTargets"]) == active
    assert len(found["droppedTargets"]) == dropped
    assert found["droppedTargetCounts"] == counts


def test_scraped_samples_can_be_asked(scraping_asker: Asker) -> None:
    """They lie in the tenant, with up; metadata is there by target and by metric."""
    visit_all(scraping_asker, "# TYPE a counter\n# HELP a All.\na 7\n")

    for query, expected in (("a", {"1": "7", "2": "7"}), ("up", {"1": "1", "2": "1"})):
        answer = scraping_asker.get("/api/v1/query", query=query, time=NOW_MS / 1000)
        rows = data(answer)["result"]
        assert {row["metric"]["shard"]: row["value"][1] for row in rows} == expected
    [first, _] = data(scraping_asker.get("/api/v1/targets/metadata"))
    assert (first["metric"], first["type"], first["help"]) == ("a", "counter", "All.")
    [only] = data(
        scraping_asker.get("/api/v1/targets/metadata", match_target='{shard="2"}', metric="a")
    )
    assert only["target"]["shard"] == "2"
    assert "metric" not in only
    assert data(scraping_asker.get("/api/v1/metadata")) == {
        "a": [{"type": "counter", "help": "All.", "unit": ""}]
    }
    page = scraping_asker.get("/metrics").text
    assert 'o11y_ingest_samples_total{door="scrape"} 12.0' in page
    assert 'o11y_scrape_targets{health="up"} 2.0' in page
    assert "o11y_config_last_reload_successful 1.0" in page


@pytest.mark.parametrize(
    ("path", "params", "status", "error"),
    [
        ("targets/metadata", {"limit": "x"}, 400, "limit must be a number"),
        ("targets/metadata", {"match_target": "("}, 400, "parse error"),
        ("targets/metadata", {"match_target": "1"}, 400, "is not a series selector"),
        ("targets/metadata", {"metric": "none"}, 404, "specified metadata not found"),
        ("scrape_pools/config", {}, 400, "no scrapePool parameter provided"),
        ("scrape_pools/config", {"scrapePool": "x"}, 404, 'scrape pool "x" not found'),
        ("targets/relabel_steps", {"scrapePool": "shop", "labels": "["}, 400, "JSON object"),
        ("targets/relabel_steps", {"scrapePool": "shop", "labels": "1"}, 400, "JSON object"),
    ],
)
def test_bad_questions_are_told_apart(
    scraping_asker: Asker, path: str, params: dict[str, str], status: int, error: str
) -> None:
    """Each with its own sentence."""
    answer = scraping_asker.get(f"/api/v1/{path}", **params)

    assert answer.status_code == status
    assert error in answer.json()["error"]


def test_the_configuration_is_shown_without_secrets(scraping_asker: Asker) -> None:
    """As a whole and by job."""
    assert data(scraping_asker.get("/api/v1/scrape_pools")) == {"scrapePools": ["shop"]}
    whole = data(scraping_asker.get("/api/v1/status/config"))["yaml"]
    one = data(scraping_asker.get("/api/v1/scrape_pools/config", scrapePool="shop"))["yaml"]

    assert yaml.safe_load(whole)["scrape_configs"] == [yaml.safe_load(one)]
    assert yaml.safe_load(whole)["global"] == {"scrape_interval": "10s"}
    assert "<secret>" in one
    assert "hidden" not in whole + one


def test_relabelling_can_be_followed(scraping_asker: Asker) -> None:
    """Step by step, up to the rule that drops."""
    found = data(
        scraping_asker.get(
            "/api/v1/targets/relabel_steps", scrapePool="shop", labels='{"__address__":"a:2"}'
        )
    )

    assert [step["keep"] for step in found["steps"]] == [True, True]
    assert found["steps"][1]["output"] == {"__address__": "a:2", "shard": "2"}
    assert found["steps"][0]["rule"]["action"] == "drop"


def test_a_reload_takes_what_is_good(scraping_asker: Asker, file: Path) -> None:
    """A bad file keeps the old one, says where it is wrong, and shows in the metrics."""
    file.write_text(CONFIG + "    scrape_intervall: 5s\n")
    refused = scraping_asker("POST", "/-/reload")
    assert refused.status_code == 500
    assert refused.text.startswith(f'failed to reload config: {file}:10: unknown key "scrape_int')
    assert "o11y_config_last_reload_successful 0.0" in scraping_asker.get("/metrics").text
    assert len(data(scraping_asker.get("/api/v1/targets"))["activeTargets"]) == 2

    file.write_text("scrape_configs: [{job_name: other}]\n")
    assert scraping_asker("POST", "/-/reload").status_code == 200
    assert data(scraping_asker.get("/api/v1/scrape_pools")) == {"scrapePools": ["other"]}
    assert "o11y_config_last_reload_successful 1.0" in scraping_asker.get("/metrics").text

    file.unlink()
    assert scraping_asker.house.scraping is not None
    scraping_asker.house.scraping.hang_up()
    assert not scraping_asker.house.scraping.last_reload_good
    assert data(scraping_asker.get("/api/v1/scrape_pools")) == {"scrapePools": ["other"]}


def test_without_a_configuration_there_is_nothing(asker: Asker) -> None:
    """The lists are empty, and a reload says why it can do nothing."""
    assert data(asker.get("/api/v1/targets"))["activeTargets"] == []
    assert data(asker.get("/api/v1/scrape_pools")) == {"scrapePools": []}
    assert data(asker.get("/api/v1/status/config")) == {"yaml": ""}
    assert asker("POST", "/-/reload").status_code == 404


@pytest.fixture
def keyed(
    make_asker: Callable[..., Asker], file: Path, tmp_path: Path
) -> tuple[Asker, dict[str, dict[str, str]]]:
    """A server with keys whose scraped samples are acme's, and headers by name of key."""
    keys = tmp_path / "keys"
    made = {
        "acme": create_key(keys, "acme", Role.ADMIN),
        "globex": create_key(keys, "globex", Role.ADMIN),
        "bound": create_key(keys, "acme", Role.ADMIN, [Matcher(MatchType.EQUAL, "shard", "2")]),
    }
    asker = make_asker(config_file=file, keys_file=keys, scrape_tenant="acme")
    start_scraping(asker.house)
    return asker, {name: {"authorization": f"Bearer {key}"} for name, key in made.items()}


def test_nobody_sees_anothers_targets(
    keyed: tuple[Asker, dict[str, dict[str, str]]],
) -> None:
    """Another organization finds nothing, a key bound to labels the targets that have them."""
    asker, headers = keyed
    counts = {
        name: len(data(asker.get("/api/v1/targets", header))["activeTargets"])
        for name, header in headers.items()
    }
    assert counts == {"acme": 2, "globex": 0, "bound": 1}
    assert data(asker.get("/api/v1/targets", headers["bound"]))["droppedTargets"] == []
    assert data(asker.get("/api/v1/scrape_pools", headers["globex"])) == {"scrapePools": []}
    assert "shop" not in data(asker.get("/api/v1/status/config", headers["globex"]))["yaml"]
    assert asker.get("/api/v1/status/config", headers["bound"]).status_code == 403
    for name, status in (("acme", 200), ("globex", 403)):
        assert asker("POST", "/-/reload", headers=headers[name]).status_code == status


def test_jobs_can_belong_to_other_tenants(
    make_asker: Callable[..., Asker], file: Path, tmp_path: Path
) -> None:
    """A map in the file of limits says whose a job's samples are."""
    limits = tmp_path / "limits.yml"
    limits.write_text("scrape_tenants: {shop: globex}\n")
    asker = make_asker(config_file=file, limits_file=limits)
    start_scraping(asker.house)
    visit_all(asker, "a 1\n")

    def count(org: str) -> int:
        answer = asker.get("/api/v1/query", {"x-org-id": org}, query="a", time=NOW_MS / 1000)
        return len(data(answer)["result"])

    assert (count("globex"), count("default")) == (2, 0)


def test_whose_scraped_samples_are(tmp_path: Path) -> None:
    """As set, else the only tenant of the keys, else the default one."""
    keys = tmp_path / "keys"
    assert scrape_tenant(Settings()) == "default"
    assert scrape_tenant(Settings(scrape_tenant="x")) == "x"
    create_key(keys, "acme", Role.ADMIN)
    assert scrape_tenant(Settings(keys_file=keys)) == "acme"
    create_key(keys, "globex", Role.READ)
    assert scrape_tenant(Settings(keys_file=keys)) == "default"


def test_the_thread_ends_with_its_scraping(file: Path) -> None:
    """Nothing is left running."""

    async def deliver(harvest: Harvest) -> None:
        del harvest

    running = scraping.Scraping(file, deliver, lambda _: "default")
    assert [pool.job.name for pool in running.pools("default")] == ["shop"]
    assert running.pools("other") == []

    running.close()

    assert not any(thread.name == "scrape" for thread in threading.enumerate())

"""What /metrics shows: every door and room, in good form, and nobody's name to others."""

import asyncio
import dataclasses
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from series.ports import Context
from server.access.keys import Role, create_key
from server.doors.scrape_door import start_scraping
from server.metrics import storage_metrics
from server.metrics.query_metrics import OTHER, OrgCosts, QueryMetrics
from tests.server.conftest import Asker, up
from tsdb.db import DbStats


def samples(text: str) -> dict[str, float]:
    """``name{label="value",...}`` -> value of a page."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{n}="{v}"' for n, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


class AllFamilies:
    """Every family of a registry with at least one sample: promtool passes over empty ones."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            if not family.samples and family.type != "histogram":
                suffix = "_total" if family.type == "counter" else ""
                family.samples.append(Sample(family.name + suffix, {}, 1.0))
            yield family


def test_promtool_finds_nothing_to_complain_of(
    make_asker: Callable[..., Asker], tmp_path: Path
) -> None:
    """Names, units and help texts follow Prometheus' rules."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here (apt-get install prometheus)")
    config = tmp_path / "prometheus.yml"
    config.write_text("scrape_configs: []\n")
    asker = make_asker(config_file=config)
    start_scraping(asker.house)
    asker.write(up("a", 1, 2), headers={"x-org-id": "acme"})
    asker.values("up", {"x-org-id": "acme"})
    whole = generate_latest(AllFamilies(asker.house.metrics.registry))
    for page in (asker.get("/metrics").content, whole):
        argv = [promtool, "check", "metrics"]
        done = subprocess.run(argv, input=page, capture_output=True, timeout=30)
        assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_no_times_of_creation(asker: Asker) -> None:
    """A counter is one series."""
    assert "_created" not in asker.get("/metrics").text


def test_requests_are_counted_with_their_bytes(asker: Asker) -> None:
    """By route and code; paths that lead nowhere share one name."""
    body = {"query": "up", "time": "1"}
    answer = asker.post("/api/v1/query", None, **body)
    asker.get("/no/such/path")
    asker.get("/no/other")
    found = samples(asker.get("/metrics").text)
    path = 'path="/api/v1/query"'
    assert found[f'o11y_http_requests_total{{code="200",{path}}}'] == 1
    assert found[f"o11y_http_received_bytes_total{{{path}}}"] == len("query=up&time=1")
    assert found[f"o11y_http_sent_bytes_total{{{path}}}"] == len(answer.content)
    assert found[f"o11y_http_request_duration_seconds_count{{{path}}}"] == 1
    assert found['o11y_http_requests_total{code="404",path="other"}'] == 2
    assert found["o11y_http_requests_in_flight"] == 1, "the page itself"


def test_the_storage_is_counted(asker: Asker) -> None:
    """Log, commits, head and refusals, summed over tenants."""
    for org in ("a", "b"):
        assert asker.write(up("x", 1, 2), headers={"x-org-id": org}).status_code == 204
    asker.write(up("x", 5), headers={"x-org-id": "b"})
    found = samples(asker.get("/metrics").text)
    assert found["o11y_tenants"] == found["o11y_open_tenants"] == 2
    assert found["o11y_head_series"] == found["o11y_wal_segments"] == 2
    assert found["o11y_head_samples"] == found["o11y_storage_samples_total"] == 4
    assert found["o11y_commit_wait_seconds_count"] == 3
    assert 1 <= found["o11y_commit_duration_seconds_count"] <= 3
    assert found["o11y_commit_duration_seconds_sum"] > 0
    assert found["o11y_wal_fsyncs_total"] >= 2
    assert found["o11y_commit_queue_writes"] == 0
    refused = 'o11y_storage_refused_samples_total{reason="duplicate-timestamp"}'
    assert found[refused] == 1


def test_every_number_of_the_storage_has_its_row() -> None:
    """What DbStats knows is on the page."""
    shown = {"refused_samples"}
    for row in storage_metrics._TABLE:
        if isinstance(row, storage_metrics._Duration):
            shown |= {row.count, row.seconds}
        else:
            shown.add(row.field)
    assert shown == {field.name for field in dataclasses.fields(DbStats)}


def test_the_page_opens_nobodys_database(make_asker: Callable[..., Asker], tmp_path: Path) -> None:
    """A tenant whose log is empty stays closed while /metrics is read."""
    first = make_asker()
    first.write(up("x", 1), headers={"x-org-id": "idle"})
    wal = first.house.settings.data_dir / "tenants" / "idle" / "wal"
    make_asker(data_dir=tmp_path / "elsewhere")
    for segment in wal.iterdir():
        segment.unlink()
    second = make_asker()
    found = samples(second.get("/metrics").text)
    assert (found["o11y_tenants"], found["o11y_open_tenants"]) == (1, 0)
    assert second.house.store.opened() == {}


def test_a_key_sees_no_other_organization(make_asker: Callable[..., Asker], tmp_path: Path) -> None:
    """Of the series by organization it gets its own and the sum of the unnamed ones."""
    path = tmp_path / "keys"
    keys = {org: create_key(path, org, Role.ADMIN) for org in ("acme", "zorg")}
    headers = {org: {"authorization": f"Bearer {key}"} for org, key in keys.items()}
    asker = make_asker(keys_file=path)
    for one in headers.values():
        asker.write(up("x", 1), headers=one)
        asker.values("up", one)
    page = asker.get("/metrics", headers["acme"]).text
    assert "zorg" not in page
    assert samples(page)['o11y_org_queries_total{org="acme"}'] == 1
    assert samples(page)['o11y_org_query_samples_total{org="acme"}'] == 1


def test_organizations_without_data_make_no_series(asker: Asker) -> None:
    """Whatever a stranger calls himself, he counts with the others."""
    for number in range(5):
        asker.values("up", {"x-org-id": f"nobody-{number}"})
    page = asker.get("/metrics").text
    assert "nobody" not in page
    assert samples(page)[f'o11y_org_queries_total{{org="{OTHER}"}}'] == 5


names = st.text("abc", min_size=1, max_size=2)


@given(st.lists(names, max_size=40), st.integers(1, 4))
def test_costs_are_kept_and_only_grow(orgs: list[str], most: int) -> None:
    """At most so many named series, none ever falls, nothing is lost, early names are exact."""
    costs = OrgCosts(most)
    before: dict[str, float] = {}
    for org in orgs:
        costs.add(org, 0.5, 3)
        queries, seconds, read = costs.collect()
        now = {s.labels["org"]: s.value for s in queries.samples}
        assert len(now) <= most + 1
        assert all(now[name] >= value for name, value in before.items() if name in now)
        before = now
        total = sum(now.values())
        assert sum(s.value for s in seconds.samples) == 0.5 * total
        assert sum(s.value for s in read.samples) == 3 * total
    assert sum(before.values()) == len(orgs)
    counts = Counter(orgs)
    for org in sorted(counts)[:most]:
        assert before[org] == counts[org]


def test_a_query_waits_then_runs_then_is_gone() -> None:
    """The two gauges follow it, also where it is given up before a worker takes it."""
    registry = CollectorRegistry()
    metrics = QueryMetrics(registry)

    def gauges() -> tuple[float, float]:
        found = samples(generate_latest(registry).decode())
        return found["o11y_queries_queued"], found["o11y_queries_running"]

    with metrics.asked("instant", str, Context()) as asking:
        assert gauges() == (1, 0)
        asking.begins()
        assert gauges() == (0, 1)
    assert gauges() == (0, 0)
    with metrics.asked("instant", str, Context()) as given_up:
        pass
    given_up.begins()
    assert gauges() == (0, 0)
    found = samples(generate_latest(registry).decode())
    assert found["o11y_query_wait_seconds_count"] == 1
    assert found['o11y_query_duration_seconds_count{kind="instant"}'] == 2


def test_a_failed_query_ends_too(asker: Asker) -> None:
    """Errors and strangers leave nothing behind in the gauges."""
    assert asker.get("/api/v1/query", query="1 +").status_code == 400

    async def crowd() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=asker.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            asked = (http.get("/api/v1/query", params={"query": "1"}) for _ in range(20))
            return await asyncio.gather(*asked)

    assert {answer.status_code for answer in asyncio.run(crowd())} == {200}
    found = samples(asker.get("/metrics").text)
    assert (found["o11y_queries_queued"], found["o11y_queries_running"]) == (0, 0)
    assert found['o11y_query_duration_seconds_count{kind="instant"}'] == 21

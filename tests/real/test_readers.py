"""Readers that people run: promtool, and Debian's Prometheus by remote_read and by federation."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.api import Api
from benchmarks.processes import find_program, wait_for
from benchmarks.remote_write import Sender, write_body
from tests.harness import servers
from tests.harness.servers import Absent, Server, start_prometheus
from tests.real.conftest import make_key

pytestmark = pytest.mark.server

STEP_MS = 15_000
SAMPLES = 200
JOBS = ("a", "b", "c d")


@pytest.fixture(scope="module")
def began_ms() -> int:
    """The time of the first sample: in the past, so that everything is readable."""
    return (int(time.time()) - SAMPLES * 15) * 1000


@pytest.fixture(scope="module")
def filled(
    warm: None, began_ms: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str]]:
    """A server with keys that holds a counter of three jobs, and a read key."""
    home = tmp_path_factory.mktemp("readers")
    keys = home / "keys.json"
    write_key, read_key = make_key(keys, "acme", "write"), make_key(keys, "acme", "read")
    with servers.start_o11y(
        home / "data", home / "log", "--keys", str(keys), ready_s=servers.READY_S
    ) as server:
        fill(server, began_ms, {"Authorization": f"Bearer {write_key}"})
        yield server, read_key


@pytest.fixture(scope="module")
def plain(warm: None, began_ms: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same without keys: promtool has no way to send one."""
    home = tmp_path_factory.mktemp("readers-plain")
    with servers.start_o11y(home / "data", home / "log", ready_s=servers.READY_S) as server:
        fill(server, began_ms, {})
        yield server


def fill(server: Server, began_ms: int, headers: dict[str, str]) -> None:
    """Writes a counter of three jobs."""
    sender = Sender(server.url, headers)
    for at, job in enumerate(JOBS):
        samples = [(began_ms + k * STEP_MS, float(k * (at + 1) % 97)) for k in range(SAMPLES)]
        body = write_body([({"__name__": "work_total", "job": job}, samples)])
        assert sender.send(body) == (204, "")
    sender.close()


def promtool(server: Server, *arguments: str) -> str:
    """What ``promtool query`` prints."""
    binary = find_program("promtool")
    if binary is None:
        pytest.skip("no promtool here (apt-get install prometheus)")
    argv = [binary, "query", *(x.replace("URL", server.url) for x in arguments)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_promtool_queries(plain: Server, began_ms: int) -> None:
    """Instant and range queries, series and label values print what the API answers."""
    at_s = began_ms / 1000 + 600
    query = "sum by (job) (rate(work_total[5m]))"
    api = Api(plain.url)
    instant = promtool(plain, "instant", f"--time={at_s}", "-o", "json", "URL", query)
    found = {row["metric"]["job"]: float(row["value"][1]) for row in json.loads(instant)}
    answer = api.instant(query, at_s).by_labels
    assert found == {dict(labels)["job"]: points[0][1] for labels, points in answer.items()}
    assert set(found) == set(JOBS)
    ranged = promtool(
        plain,
        "range",
        f"--start={at_s}",
        f"--end={at_s + 300}",
        "--step=60s",
        "URL",
        "work_total",
    )
    assert len(re.findall(r"^work_total\{", ranged, re.MULTILINE)) == len(JOBS)
    assert len(re.findall(r"@\[", ranged)) == len(JOBS) * 6
    series = promtool(plain, "series", "--match=work_total", "URL")
    assert sorted(re.findall(r'job="([^"]*)"', series)) == sorted(JOBS)
    labels = promtool(plain, "labels", "URL", "job")
    assert labels.split("\n")[:-1] == sorted(JOBS)


def test_prometheus_reads_us(filled: tuple[Server, str], began_ms: int, tmp_path: Path) -> None:
    """A Prometheus without data answers with ours, sample for sample."""
    server, key = filled
    config = {
        "remote_read": [
            {
                "url": f"{server.url}/api/v1/read",
                "read_recent": True,
                "authorization": {"credentials": key},
            }
        ]
    }
    end_s = began_ms / 1000 + SAMPLES * 15
    ours = Api(server.url, {"Authorization": f"Bearer {key}"})
    try:
        reader = start_prometheus(tmp_path, config)
    except Absent as absent:
        pytest.skip(str(absent))
    with reader:
        theirs = Api(reader.url)
        span = int(SAMPLES * 15 + 60)
        raw = theirs.instant(f"work_total[{span}s]", end_s)
        assert raw.by_labels == ours.instant(f"work_total[{span}s]", end_s).by_labels
        assert sum(len(points) for _, points in raw.series) == SAMPLES * len(JOBS)
        one = f'work_total{{job=~"a|c.*",job!="b"}}[{span}s]'
        assert len(theirs.instant(one, end_s).series) == 2
        query = "sum(rate(work_total[4m57s]))"
        times = (began_ms / 1000 + 601, end_s - 61, 60)
        expected = ours.range(query, *times)
        answer = theirs.range(query, *times)
        assert [len(points) for _, points in answer.series] == [len(expected.series[0][1])]
        for (_, mine), (_, other) in zip(expected.series, answer.series, strict=True):
            assert [value for _, value in other] == pytest.approx([v for _, v in mine], rel=1e-9)
        assert theirs.instant("nothing_there", end_s).series == []


def test_prometheus_federates_from_us(filled: tuple[Server, str], tmp_path: Path) -> None:
    """A Prometheus that scrapes /federate holds the newest sample of each series, at its time."""
    server, key = filled
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {
                "job_name": "federate",
                "honor_labels": True,
                "metrics_path": "/federate",
                "params": {"match[]": ['{__name__="work_total"}']},
                "authorization": {"credentials": key},
                "static_configs": [{"targets": [server.address]}],
            }
        ],
    }
    page = httpx.get(
        f"{server.url}/federate",
        params={"match[]": "work_total"},
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
    )
    newest = dict(
        re.findall(r'^work_total\{job="([^"]*)",instance=""\} (\S+ \d+)$', page.text, re.MULTILINE)
    )
    assert set(newest) == set(JOBS)
    try:
        reader = start_prometheus(tmp_path, config)
    except Absent as absent:
        pytest.skip(str(absent))
    with reader:
        api = Api(reader.url)

        def arrived() -> bool:
            return len(api.instant("work_total", time.time()).series) == len(JOBS)

        wait_for(arrived, "the federated series", 30)
        found = api.instant("work_total[10m]", time.time()).by_labels
        for labels, points in found.items():
            assert "instance" not in dict(labels), "the reader put our address there"
            value, time_ms = newest[dict(labels)["job"]].split()
            assert points == [(int(time_ms) / 1000, float(value))]


def test_pages_and_statistics_equal_the_reference(
    plain: Server, began_ms: int, tmp_path: Path
) -> None:
    """The page of federation is Prometheus', and a query's samples are counted as there."""
    try:
        reference = start_prometheus(tmp_path)
    except Absent as absent:
        pytest.skip(str(absent))
    with reference:
        fill(reference, began_ms, {})
        pages = [
            httpx.get(f"{one.url}/federate", params={"match[]": "work_total"}, trust_env=False).text
            for one in (plain, reference)
        ]
        assert len(pages[0].splitlines()) == 1 + len(JOBS)
        assert sorted(pages[0].splitlines()) == sorted(pages[1].splitlines())
        at_s = began_ms / 1000 + 601.5
        times = {"start": f"{at_s}", "end": f"{at_s + 120}", "step": "30"}
        for query in (
            "work_total",
            "sum by (job) (rate(work_total[4m]))",
            "work_total + on (job) work_total offset 1m",
            f"work_total @ {at_s}",
            "max_over_time(rate(work_total[2m])[5m:1m])",
            "avg_over_time(work_total[3m]) * 2",
        ):
            asked = {"query": query, "stats": "true", **times}
            found = [
                Api(server.url).call("/api/v1/query_range", asked)["stats"]["samples"]
                for server in (plain, reference)
            ]
            counts = [samples["totalQueryableSamples"] for samples in found]
            assert counts[0] == counts[1], query

"""Clients that push: prometheus_client to a Pushgateway's routes, curl, Influx's own program."""

import base64
import gzip
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import (
    basic_auth_handler,
    delete_from_gateway,
    push_to_gateway,
    pushadd_to_gateway,
)

from benchmarks.processes import find_program
from tests.harness import servers
from tests.harness.servers import Server
from tests.real.conftest import make_key

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def plain(warm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without keys."""
    home = tmp_path_factory.mktemp("push")
    with servers.start_o11y(home / "data", home / "log", ready_s=servers.READY_S) as server:
        yield server


@pytest.fixture(scope="module")
def keyed(
    warm: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, str, str]]:
    """A server with keys, a write key and a read key of the same tenant."""
    home = tmp_path_factory.mktemp("push-keyed")
    keys = home / "keys.json"
    write_key, read_key = make_key(keys, "acme", "write"), make_key(keys, "acme", "read")
    with servers.start_o11y(
        home / "data", home / "log", "--keys", str(keys), ready_s=servers.READY_S
    ) as server:
        yield server, write_key, read_key


def instant(server: Server, query: str, key: str = "") -> dict[tuple[tuple[str, str], ...], float]:
    """Sorted labels -> value of an instant query now."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=server.url, trust_env=False, headers=headers) as client:
        answer = client.get("/api/v1/query", params={"query": query, "time": time.time() + 1})
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["data"]["result"]
    return {tuple(sorted(row["metric"].items())): float(row["value"][1]) for row in rows}


def labels(name: str, **pairs: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({"__name__": name, **pairs}.items()))


def job_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("backup_size_bytes", "Size.", registry=registry).set(1234.5)
    Counter("backup_files", "Files.", ["kind"], registry=registry).labels("new").inc(7)
    Histogram("backup_seconds", "Time.", buckets=(1, 10), registry=registry).observe(3)
    return registry


def test_push_to_gateway(plain: Server) -> None:
    """Everything the client holds arrives, below job and grouping key."""
    registry = job_registry()
    push_to_gateway(plain.address, "nightly/backup", registry, {"instance": "a/b", "dc": "fra"})
    group = {"job": "nightly/backup", "instance": "a/b", "dc": "fra"}
    held = {
        labels(sample.name, **sample.labels, **group): sample.value
        for family in registry.collect()
        for sample in family.samples
    }
    found = instant(plain, '{job="nightly/backup",__name__!="push_time_seconds"}')
    assert {k: v for k, v in found.items() if "_created" not in dict(k)["__name__"]} == {
        k: v for k, v in held.items() if "_created" not in dict(k)["__name__"]
    }
    assert instant(plain, "time() - push_time_seconds < 60")


def test_compressed_pushes(plain: Server) -> None:
    """As the client compresses them."""
    push_to_gateway(plain.address, "zipped", job_registry(), compression="gzip")
    assert instant(plain, "backup_size_bytes{job='zipped'}")


def test_pushadd_and_delete(plain: Server) -> None:
    """pushadd keeps the other metrics, push replaces them, delete ends them."""
    one, two = CollectorRegistry(), CollectorRegistry()
    Gauge("first", "1", registry=one).set(1)
    Gauge("second", "2", registry=two).set(2)
    push_to_gateway(plain.address, "steps", one)
    pushadd_to_gateway(plain.address, "steps", two)
    both = {labels("first", job="steps"): 1.0, labels("second", job="steps"): 2.0}
    assert instant(plain, '{__name__=~"first|second",job="steps"}') == both
    push_to_gateway(plain.address, "steps", two)
    assert instant(plain, '{__name__=~"first|second",job="steps"}') == {
        labels("second", job="steps"): 2.0
    }
    delete_from_gateway(plain.address, "steps")
    assert instant(plain, '{job="steps"}') == {}


def test_push_with_a_key_as_password(keyed: tuple[Server, str, str]) -> None:
    """The client knows Basic only; without a key nothing is taken."""
    server, write_key, read_key = keyed

    def handler(**arguments: Any) -> Any:
        return basic_auth_handler(**arguments, username="any", password=write_key)

    push_to_gateway(server.address, "batch", job_registry(), handler=handler)
    found = instant(server, "backup_size_bytes", read_key)
    assert found == {labels("backup_size_bytes", job="batch"): 1234.5}
    with pytest.raises(OSError, match="401"):
        push_to_gateway(server.address, "batch", job_registry())


def curl(*arguments: str, body: bytes = b"") -> tuple[int, str]:
    """(status, body) of a curl call whose stdin is *body*."""
    if shutil.which("curl") is None:
        pytest.skip("no curl here (apt-get install curl)")
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", *arguments],
        input=body,
        capture_output=True,
        timeout=30,
        check=True,
    )
    text, _, status = done.stdout.decode().rpartition("\n")
    return int(status), text


def test_curl_imports_text(keyed: tuple[Server, str, str]) -> None:
    """Plain and gzip, and a bad line comes back by its number."""
    server, write_key, read_key = keyed
    url = f"{server.url}/api/v1/import/prometheus"
    key = ["-H", f"Authorization: Bearer {write_key}"]
    assert curl(*key, "--data-binary", 'import_a{k="v"} 1.5', url) == (204, "")
    zipped = ["-H", "Content-Encoding: gzip", "--data-binary", "@-"]
    assert curl(*key, *zipped, url, body=gzip.compress(b"import_b 2\n")) == (204, "")
    status, text = curl(*key, "--data-binary", "@-", url, body=b"import_c 3\nimport_d\n")
    assert status == 400
    assert text.startswith("line 2: expected value after metric")
    assert instant(server, '{__name__=~"import_.*"}', read_key) == {
        labels("import_a", k="v"): 1.5,
        labels("import_b"): 2.0,
        labels("import_c"): 3.0,
    }
    assert curl("--data-binary", "import_a 1", url)[0] == 401


def test_curl_sends_a_long_chunked_body(plain: Server) -> None:
    """Millions of bytes of unknown length, stored block by block."""
    now_ms = int(time.time() * 1000)
    body = b"".join(
        b'chunked{series="%d"} %d %d\n' % (k % 100, k, now_ms - 200_000 + k) for k in range(200_000)
    )
    url = f"{plain.url}/api/v1/import/prometheus"
    chunked = ["-X", "POST", "-H", "Transfer-Encoding: chunked", "-T", "-"]
    assert curl(*chunked, url, body=body) == (204, "")
    assert instant(plain, "sum(count_over_time(chunked[10m]))") == {(): 200_000.0}


def test_curl_pushes_and_imports_json_lines(plain: Server) -> None:
    """As the documentation of each format prints it."""
    url = f"{plain.url}/metrics/job/some_job/instance/some_instance"
    assert curl(
        "--data-binary", "@-", url, body=b"# TYPE some_metric counter\nsome_metric 42\n"
    ) == (
        200,
        "",
    )
    pushed = {labels("some_metric", job="some_job", instance="some_instance"): 42.0}
    assert instant(plain, "some_metric") == pushed
    assert curl("-X", "DELETE", url)[0] == 202
    now_ms = int(time.time() * 1000)
    line = {"metric": {"__name__": "from_json", "a": "b"}, "values": [7], "timestamps": [now_ms]}
    told = json.dumps(line).encode()
    assert curl("--data-binary", "@-", f"{plain.url}/api/v1/import", body=told) == (204, "")
    assert instant(plain, "from_json") == {labels("from_json", a="b"): 7.0}


def test_curl_writes_influx_lines(keyed: tuple[Server, str, str]) -> None:
    """With Influx 2's Token header and Influx 1's Basic one."""
    server, write_key, read_key = keyed
    line = f"cpu,host=a usage=0.5,cores=4i {time.time_ns()}"
    token = ["-H", f"Authorization: Token {write_key}"]
    url = f"{server.url}/api/v2/write?bucket=b&org=o&precision=ns"
    assert curl(*token, "--data-binary", line, url) == (204, "")
    basic = base64.b64encode(f"user:{write_key}".encode()).decode()
    line = "cpu,host=b usage=0.75"
    url = f"{server.url}/write?db=d"
    assert curl("-H", f"Authorization: Basic {basic}", "--data-binary", line, url) == (204, "")
    assert instant(server, "cpu_usage", read_key) == {
        labels("cpu_usage", host="a", db="b"): 0.5,
        labels("cpu_usage", host="b", db="d"): 0.75,
    }


_INSERT = "INSERT weather,city=Köln temperature=21.5"


@pytest.mark.long
def test_influx_inserts(plain: Server, tmp_path: Path) -> None:
    """Influx's own program pings, is let in, and its point arrives."""
    influx = find_program("influx")
    if influx is None:
        pytest.skip("no influx here (apt-get install influxdb-client)")
    host, _, port = plain.address.rpartition(":")
    done = subprocess.run(
        [influx, "-host", host, "-port", port, "-database", "m", "-execute", _INSERT],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = instant(plain, "weather_temperature")
    assert found == {labels("weather_temperature", city="Köln", db="m"): 21.5}

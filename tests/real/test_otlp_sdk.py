"""OpenTelemetry's own SDK sends to us by the documented environment lines, and reads back true."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.api import Api
from tests.harness import servers
from tests.harness.servers import ROOT, Server
from tests.real.conftest import make_key

pytestmark = pytest.mark.server

ROUNDS = 3
PROGRAM = "tests.real.otlp_program"


@dataclass
class Door:
    """A server with keys, and who may do what of the organization org_123."""

    server: Server
    write_key: str
    api: Api


@pytest.fixture(scope="module")
def door(warm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    home = tmp_path_factory.mktemp("otlp")
    keys = home / "keys.jsonl"
    write_key, read_key = (make_key(keys, "org_123", role) for role in ("write", "read"))
    with servers.start_o11y(home / "data", home / "log", "--keys", str(keys)) as server:
        api = Api(server.url, {"Authorization": f"Bearer {read_key}", "X-Org-Id": "org_123"})
        yield Door(server, write_key, api)
        api.close()


def run_program(door: Door, service: str, **more: str) -> dict[str, Any]:
    """The program's own account of what it recorded; its exports must have succeeded."""
    environment = {name: value for name, value in os.environ.items() if "OTEL" not in name}
    environment |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"{door.server.url}/v1",
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer {door.write_key},X-Org-Id=org_123",
        "OTEL_SERVICE_NAME": service,
        "NO_PROXY": "127.0.0.1",
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-m", PROGRAM, str(ROUNDS)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Failed to export" not in done.stderr, done.stderr
    held: dict[str, Any] = json.loads(done.stdout)
    assert held["answers"] == [True] * ROUNDS
    return held


def now(door: Door, query: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Labels -> value of an instant query."""
    answer = door.api.instant(query, time.time())
    return {labels: points[-1][1] for labels, points in answer.series}


@pytest.mark.parametrize(
    ("service", "environment"),
    [
        ("plain", {}),
        ("zipped", {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}),
        ("delta", {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA"}),
        (
            "both",
            {
                "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
                "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA",
            },
        ),
    ],
)
def test_what_the_sdk_holds_is_answered(
    door: Door, service: str, environment: dict[str, str]
) -> None:
    """Counters, up-down counters, histograms and gauges by their Prometheus names."""
    held = run_program(door, service, **environment)
    job = f'job="{service}"'
    requests = now(door, f"sum by (http_route) (http_server_requests_total{{{job}}})")
    assert requests == {
        (("http_route", route),): count for route, count in held["requests"].items()
    }
    assert list(now(door, f"queue_size{{{job}}}").values()) == [held["size"]]
    assert list(now(door, f"room_temperature_celsius{{{job}}}").values()) == [21.5]

    durations = held["durations"]
    buckets = now(door, f"sum by (le) (http_server_duration_seconds_bucket{{{job}}})")
    assert buckets == {
        (("le", le),): sum(seconds <= float(le) for seconds in durations)
        for le in ("0.1", "0.5", "1", "+Inf")
    }
    assert list(now(door, f"http_server_duration_seconds_count{{{job}}}").values()) == [
        len(durations)
    ]
    [total] = now(door, f"http_server_duration_seconds_sum{{{job}}}").values()
    assert total == pytest.approx(sum(durations), rel=1e-12)


def test_the_resource_is_in_target_info(door: Door) -> None:
    """A join adds what the resource knows."""
    run_program(door, "joined")
    query = 'queue_size{job="joined"} * on(job) group_left(host_name) target_info{job="joined"}'
    [labels] = now(door, query)
    assert ("host_name", "h1") in labels


def test_types_and_help_are_told(door: Door) -> None:
    """Descriptions and units arrive as metadata."""
    run_program(door, "told")
    told = door.api.call("/api/v1/metadata")
    assert told["http_server_duration_seconds"] == [
        {"type": "histogram", "help": "Time to answer", "unit": "seconds"}
    ]
    assert told["http_server_requests_total"][0]["type"] == "counter"


def test_a_wrong_key_is_not_let_in(door: Door, tmp_path: Path) -> None:
    """The SDK logs the refusal, and nothing is stored."""
    wrong = Door(door.server, "hk-wrong", door.api)
    with pytest.raises(AssertionError, match="Failed to export"):
        run_program(wrong, "stranger")
    assert now(door, '{job="stranger"}') == {}

"""Programs that ask us: Debian's vmalert, and two Python clients from PyPI.

The clients have a virtual environment of their own, since users pick other pandas than we do.
What is not installed, or cannot be, is skipped and named.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from benchmarks.api import Api
from benchmarks.processes import free_port, wait_for
from benchmarks.remote_write import Sender, write_body
from tests.harness import servers
from tests.harness.servers import Absent, Server
from tests.real.conftest import make_key

pytestmark = [pytest.mark.server, pytest.mark.long]

# --- vmalert -----------------------------------------------------------------------------------

RULES = {
    "groups": [
        {
            "name": "queue",
            "interval": "1s",
            "rules": [
                {"record": "queue:depth:sum", "expr": "sum by (queue) (queue_depth)"},
                {
                    "alert": "QueueIsLong",
                    "expr": "queue:depth:sum > 100",
                    "for": "2s",
                    "labels": {"severity": "page"},
                    "annotations": {"summary": "{{ $labels.queue }} holds {{ $value }}"},
                },
            ],
        }
    ]
}


class Receiver:
    """An Alertmanager that only listens: ``alerts`` are all that it was told of."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, object]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.alerts += json.loads(body)
                self.send_response(200)
                self.end_headers()

            def log_request(self, code: object = "-", size: object = "-") -> None:
                del code, size

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def start_vmalert(home: Path, ours: Server, key: str, receiver: Receiver) -> Server:
    """vmalert with RULES: it asks us, writes its series to us and restores its state from us."""
    binary = servers.program("vmalert", "victoria-metrics")
    rules = home / "rules.yml"
    rules.write_text(yaml.safe_dump(RULES))
    address = f"127.0.0.1:{free_port()}"
    argv = [
        binary,
        f"-rule={rules}",
        f"-notifier.url={receiver.url}",
        f"-httpListenAddr={address}",
        "-remoteWrite.flushInterval=500ms",
    ]
    for side in ("datasource", "remoteWrite", "remoteRead"):
        argv += [f"-{side}.url={ours.url}", f"-{side}.bearerToken={key}"]
    return servers.start_at(argv, home / "vmalert.log", address, "/health")


def test_vmalert_evaluates_its_rules_over_us(
    warm: None, tmp_path: Path, receiver: Receiver
) -> None:
    """A recording rule reads what was sent and writes what it made; the alert upon it goes from
    pending to firing, is told, and its ALERTS can be read; it ends when the cause does."""
    keys = tmp_path / "keys.json"
    key = make_key(keys, "acme", "admin")
    with servers.start_o11y(tmp_path / "data", tmp_path / "log", "--keys", str(keys)) as ours:
        sender = Sender(ours.url, {"Authorization": f"Bearer {key}"})
        api = Api(ours.url, {"Authorization": f"Bearer {key}"})
        depth = 150.0

        def fill() -> None:
            now_ms = int(time.time() * 1000)
            series = [
                ({"__name__": "queue_depth", "queue": queue, "worker": worker}, [(now_ms, value)])
                for queue, value in (("mail", depth / 2), ("sms", 3.0))
                for worker in "ab"
            ]
            assert sender.send(write_body(series)) == (204, "")

        def now(query: str) -> dict[str, float]:
            """queue -> value."""
            found = api.instant(query, time.time()).by_labels
            return {dict(labels)["queue"]: points[0][1] for labels, points in found.items()}

        def firing() -> bool:
            fill()
            return now('ALERTS{alertname="QueueIsLong", alertstate="firing"}') == {"mail": 1.0}

        def over() -> bool:
            fill()
            return not now('ALERTS{alertname="QueueIsLong"}')

        fill()
        try:
            vmalert = start_vmalert(tmp_path, ours, key, receiver)
        except Absent as absent:
            pytest.skip(str(absent))
        with vmalert.process:
            wait_for(firing, "ALERTS of a firing alert can be read")
            assert now("queue:depth:sum") == {"mail": 150.0, "sms": 6.0}
            labels = dict(next(iter(api.instant("ALERTS", time.time()).by_labels)))
            assert labels["severity"] == "page"
            pending = api.instant('max_over_time(ALERTS{alertstate="pending"}[1m])', time.time())
            assert len(pending.series) == 1
            since = now('ALERTS_FOR_STATE{alertname="QueueIsLong"}')["mail"]
            assert 0 < time.time() - since < 60
            wait_for(lambda: receiver.alerts, "the alert is told")
            told = receiver.alerts[0]
            assert isinstance(told["labels"], dict)
            assert told["labels"]["alertname"] == "QueueIsLong"
            assert told["annotations"] == {"summary": "mail holds 150"}
            depth = 10.0
            wait_for(over, "the alert ends")
        log = vmalert.process.output
        assert "error" not in log.replace("-error", "").lower(), log[-3000:]


# --- Python clients ------------------------------------------------------------------------------

PROGRAM = Path(__file__).parent / "askers.py"
PACKAGES = ["prometheus-api-client==0.7.*", "promql-http-api==0.3.*"]
STEP_S = 15


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment that has both clients."""
    home = tmp_path_factory.mktemp("askers") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], timeout=120, check=True)
    install = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*install, *PACKAGES], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        pytest.skip(f"pip cannot install {', '.join(PACKAGES)}: {done.stderr[-300:]}")
    return home / "bin" / "python"


@pytest.mark.parametrize("client", ["prometheus_api_client", "promql_http_api"])
def test_data_frames_hold_what_the_api_answers(
    warm: None, python: Path, tmp_path: Path, client: str
) -> None:
    """Every row with its labels, time and value, of instants, ranges and raw samples."""
    keys = tmp_path / "keys.json"
    key = make_key(keys, "acme", "admin")
    end_s = int(time.time()) // 60 * 60
    start_s = end_s - 300
    with servers.start_o11y(tmp_path / "data", tmp_path / "log", "--keys", str(keys)) as ours:
        series = [
            (
                {"__name__": "asked_total", "job": job, "zone": "Köln"},
                [((start_s + 5 * k) * 1000, k * more) for k in range(61)],
            )
            for job, more in (("api", 1 / 3), ("web", 7.0))
        ]
        headers = {"Authorization": f"Bearer {key}"}
        assert Sender(ours.url, headers).send(write_body(series)) == (204, "")
        times = map(str, (start_s, end_s, STEP_S))
        done = subprocess.run(
            [str(python), str(PROGRAM), client, ours.url, key, *times],
            env={"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found = json.loads(done.stdout)
        api = Api(ours.url, headers)
        wanted = {
            "instant": api.instant("asked_total", end_s),
            "range": api.range("rate(asked_total[1m])", start_s, end_s, STEP_S),
            "raw": api.instant('asked_total{job="web"}[5m]', end_s),
        }
    for name, rows in found.items():
        expected = [
            {**dict(labels), "timestamp": at_s, "value": value}
            for labels, points in wanted[name].series
            for at_s, value in points
        ]
        made = [{**row, "value": float(row["value"])} for row in rows]
        made = [{**row, "timestamp": float(row["timestamp"])} for row in made]
        assert len(expected) >= 2
        assert made == expected, name

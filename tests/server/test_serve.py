"""The program: flags, start, end, and the other commands."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow.ipc
import pyarrow.parquet
import pytest

from benchmarks.processes import NotStarted, wait_for
from tests.harness import servers
from tests.harness.servers import Server
from tests.server.conftest import WRITE
from tests.wire import encode

pytestmark = pytest.mark.server
O11Y = str(servers.O11Y)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([O11Y, *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("serve")
    with servers.start_o11y(home / "data", home / "log") as running:
        yield running


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--no-such-flag"),
        ("serve", "--listen", "nonsense"),
        ("serve", "--retention", "soon"),
        ("serve", "--wal-sync", "sometimes"),
        ("serve", "--storage.reserve", "much"),
        ("query", "up", "--start", "1"),
        ("query", "up", "-o", "yaml"),
        ("keys", "create", "--tenant", "a/b", "--role", "read", "--keys", "unused"),
        ("keys", "create", "--tenant", "a", "--role", "none", "--keys", "unused"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...]) -> None:
    """And says why on stderr."""
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr and not done.stdout


def test_the_banner_tells_what_one_needs(server: Server) -> None:
    """Address, data, retention, tenants, the remote_write block, how to stop."""
    output = server.process.output
    data = server.process.argv[server.process.argv.index("--data") + 1]
    for words in (server.url, data, "15d", "X-Org-Id", f"- url: {server.url}/api/v1/write"):
        assert words in output
    assert f"SIGTERM to process {server.process.pid}" in output


def test_a_taken_port_is_named(server: Server, tmp_path: Path) -> None:
    """Exit 1 and a way out."""
    done = run("serve", "--data", str(tmp_path), "--listen", server.address)
    assert done.returncode == 1
    assert server.address in done.stderr and "--listen" in done.stderr


def test_a_taken_directory_ends_the_start(server: Server, tmp_path: Path) -> None:
    """One writer a data directory."""
    data = server.process.argv[server.process.argv.index("--data") + 1]
    with pytest.raises(NotStarted, match="ended with 1"):
        servers.start_o11y(Path(data), tmp_path / "log")


def test_unknown_features_warn(tmp_path: Path) -> None:
    """Known names are taken silently, others named, and the server serves."""
    flags = ("--enable-feature", "promql-delayed-name-removal,utf8-names,nonsense")
    with servers.start_o11y(tmp_path / "data", tmp_path / "log", *flags) as running:
        assert running.process.output.count("unknown feature") == 1
        assert "nonsense" in running.process.output


def test_sigterm_drains_syncs_and_ends_with_0(tmp_path: Path) -> None:
    """What was acknowledged is there after the restart; the address is free again."""
    with servers.start_o11y(tmp_path / "data", tmp_path / "log") as first:
        now_ms = int(time.time() * 1000)
        pairs = [(b"__name__", b"kept")]
        body = encode.snappy(encode.series(encode.Series(pairs, [(now_ms, 5.0)])))
        assert httpx.post(f"{first.url}/api/v1/write", content=body, headers=WRITE).is_success
        address = first.address
        assert first.process.terminate() == 0
    with servers.start_o11y(tmp_path / "data", tmp_path / "log", listen=address) as second:
        answer = httpx.get(f"{second.url}/api/v1/query", params={"query": "kept"}).json()
        assert answer["data"]["result"][0]["value"][1] == "5"


def test_asking_from_the_command_line(server: Server) -> None:
    """Tables and JSON, instant and range, and errors."""
    table = run("query", "vector(42)", "--url", server.url)
    assert table.returncode == 0 and "42" in table.stdout
    text = run("query", "1+1", "--url", server.url, "--at", "1.5", "-o", "json")
    assert json.loads(text.stdout)["data"] == {"resultType": "scalar", "result": [1.5, "2"]}
    ranged = ("--start", "0", "--end", "10", "--step", "5s", "-o", "json")
    answer = json.loads(run("query", "time()", "--url", server.url, *ranged).stdout)
    assert answer["data"]["result"][0]["values"] == [[0, "0"], [5, "5"], [10, "10"]]
    wrong = run("query", "up +", "--url", server.url)
    assert wrong.returncode == 1 and "parse error" in wrong.stderr
    nobody = run("query", "up", "--url", "http://127.0.0.1:1")
    assert nobody.returncode == 1 and "127.0.0.1:1" in nobody.stderr


def test_other_forms_of_answers(server: Server, tmp_path: Path) -> None:
    """CSV as text, Arrow and Parquet as bytes, and errors as ever."""
    asked = ("query", "vector(42) or vector(1)", "--url", server.url, "--at", "1")
    assert run(*asked, "-o", "csv").stdout.splitlines() == [
        '"timestamp","value"',
        "1970-01-01 00:00:01.000Z,42",
    ]
    for form, read in (
        ("arrow", lambda file: pyarrow.ipc.open_stream(file).read_all()),
        ("parquet", pyarrow.parquet.read_table),
    ):
        file = tmp_path / form
        with file.open("wb") as out:
            argv = [O11Y, *asked, "-o", form]
            subprocess.run(argv, stdout=out, check=True, timeout=60)
        assert read(file).to_pylist()[0]["value"] == 42.0
    wrong = run("query", "up +", "--url", server.url, "-o", "csv")
    assert wrong.returncode == 1 and "parse error" in wrong.stderr
    assert run("query", "up", "--url", server.url, "-o", "xml").returncode == 2


def test_plans_on_the_command_line(server: Server) -> None:
    """A line a node; with --analyze what each cost."""
    plan = run("explain", "sum(rate(up[5m])) + 1", "--url", server.url)
    assert plan.returncode == 0
    for part in ("operator +", "aggregate sum by ()", "call rate", "windows of"):
        assert part in plan.stdout
    analyzed = run("explain", "vector(1)", "--url", server.url, "--analyze")
    assert "points" in analyzed.stdout and "call vector" in analyzed.stdout


def test_a_directory_is_asked_in_place(tmp_path: Path) -> None:
    """Without a server the directory answers; while one runs, it and its process are named."""
    data = tmp_path / "data"
    ask = ("query", "kept", "--data", str(data))
    with servers.start_o11y(data, tmp_path / "log") as running:
        now_ms = int(time.time() * 1000)
        pairs = [(b"__name__", b"kept")]
        body = encode.snappy(encode.series(encode.Series(pairs, [(now_ms, 5.0)])))
        assert httpx.post(f"{running.url}/api/v1/write", content=body, headers=WRITE).is_success
        held = run(*ask)
        assert held.returncode == 1
        assert str(running.process.pid) in held.stderr and "--url" in held.stderr
        assert running.process.terminate() == 0
    answer = json.loads(run(*ask, "-o", "json").stdout)
    assert answer["data"]["result"][0]["value"][1] == "5"
    assert "5" in run(*ask, "-o", "csv").stdout
    nobody = run(*ask, "--org", "nobody")
    assert nobody.returncode == 1 and "nobody" in nobody.stderr


def test_keys_are_printed_alone(tmp_path: Path) -> None:
    """Exactly the key on stdout, all else on stderr."""
    path = tmp_path / "keys"
    done = run("keys", "create", "--tenant", "acme", "--role", "write", "--keys", str(path))
    assert re.fullmatch(r"hk-[A-Za-z0-9_-]{43}\n", done.stdout)
    assert "acme" in done.stderr and done.stdout.strip() not in done.stderr


def test_a_clean_stop_leaves_nothing_to_replay(tmp_path: Path) -> None:
    """The log is sealed into blocks, which answer after the start."""
    with servers.start_o11y(tmp_path / "data", tmp_path / "log") as first:
        _send(first, 5.0)
        assert first.process.terminate() == 0
    assert [path.name for path in (tmp_path / "data").rglob("*.wal")] == []
    with servers.start_o11y(tmp_path / "data", tmp_path / "log") as second:
        answer = httpx.get(f"{second.url}/api/v1/query", params={"query": "kept"}).json()
        assert answer["data"]["result"][0]["value"][1] == "5"
        page = httpx.get(f"{second.url}/metrics").text
        assert "\no11y_replay_samples_total 0.0\n" in page and "\no11y_blocks 1.0\n" in page


def test_a_second_sigterm_ends_at_once_and_loses_nothing(tmp_path: Path) -> None:
    """While the first one waits for a request that does not end."""
    with servers.start_o11y(tmp_path / "data", tmp_path / "log") as first:
        _send(first, 6.0)
        host, port = first.address.split(":")
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(b"POST /api/v1/write HTTP/1.1\r\nhost: localhost\r\n")
            slow.sendall(b"content-length: 100\r\n\r\nnot all of it")
            wait_for(lambda: "in_flight 2.0" in httpx.get(f"{first.url}/metrics").text, "in flight")
            os.kill(first.process.pid, signal.SIGTERM)
            time.sleep(0.5)
            assert first.process.running
            began = time.monotonic()
            assert first.process.terminate() == 1
            assert time.monotonic() - began < 2
    assert "ended at once by a second signal" in first.process.output
    with servers.start_o11y(tmp_path / "data", tmp_path / "log") as second:
        answer = httpx.get(f"{second.url}/api/v1/query", params={"query": "kept"}).json()
        assert answer["data"]["result"][0]["value"][1] == "6"


@pytest.mark.parametrize("sync", ["interval=1s", "off"])
def test_what_was_not_synced_survives_a_kill(tmp_path: Path, sync: str) -> None:
    """And the banner tells that a power failure is another matter."""
    with servers.start_o11y(tmp_path / "data", tmp_path / "log", "--wal-sync", sync) as first:
        assert f"  sync       {sync}: a power failure may take" in first.process.output
        for value in range(5):
            _send(first, float(value), value)
        first.process.kill()
    with servers.start_o11y(tmp_path / "data", tmp_path / "log") as second:
        query = {"query": "count_over_time(kept[1h])"}
        answer = httpx.get(f"{second.url}/api/v1/query", params=query).json()
        assert answer["data"]["result"][0]["value"][1] == "5"


def _send(server: Server, value: float, seconds_ago: int = 0) -> None:
    """One sample of ``kept``."""
    time_ms = int(time.time() * 1000) - 1000 * seconds_ago
    body = encode.snappy(encode.series(encode.Series([(b"__name__", b"kept")], [(time_ms, value)])))
    assert httpx.post(f"{server.url}/api/v1/write", content=body, headers=WRITE).is_success

"""A process that may have few files or little memory refuses what it must, and loses nothing."""

import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from benchmarks.remote_write import Sender, write_body
from benchmarks.servers import O11Y, Server, start_o11y

pytestmark = pytest.mark.server

ROWS = 20
TENANTS, CONNECTIONS = 30, 20


def limited(*limits: str) -> list[str]:
    """A prefix of a command that limits it as the shell's ``ulimit`` does."""
    return ["bash", "-c", " && ".join([*limits, 'exec "$0" "$@"'])]


def body(series: str, time_ms: int) -> bytes:
    return write_body(
        ({"__name__": "m", "series": series, "row": f"{row:02}"}, [(time_ms, float(row))])
        for row in range(ROWS)
    )


def count(server: Server, tenant: str, at_s: float) -> int:
    answer = httpx.get(
        f"{server.url}/api/v1/query",
        params={"query": "count(m)", "time": at_s},
        headers={"X-Org-Id": tenant},
        timeout=60,
    )
    found = answer.json()["data"]["result"]
    return int(found[0]["value"][1]) if found else 0


def send(server: Server, tenant: str, series: str, time_ms: int) -> bool:
    """Whether the write was acknowledged; what is not must be refused as something to try again."""
    sender = Sender(server.url, {"X-Org-Id": tenant})
    try:
        status, text = sender.send(body(series, time_ms))
    except OSError:
        return False
    finally:
        sender.close()
    assert status == 204 or status in (429, 503), f"{status} {text}"
    return status == 204


def check(data: Path, log: Path, acknowledged: Sequence[str], now_ms: int) -> None:
    """What was acknowledged is there after a start without limits."""
    with start_o11y(data, log) as server:
        for tenant in acknowledged:
            assert count(server, tenant, now_ms / 1000) == ROWS, tenant


def test_few_open_files(tmp_path: Path) -> None:
    """With 64 files 100 connections are more than are served, and nothing is lost; once those are
    gone, 30 tenants beside 20 connections that stay are taken, sooner or later.
    """
    now_ms = time.time_ns() // 1_000_000
    data = tmp_path / "data"
    waiting = [f"t{number}" for number in range(TENANTS)]
    with start_o11y(data, tmp_path / "log", prefix=limited("ulimit -n 64")) as server:
        host, port = server.address.split(":")
        with ExitStack() as held:
            for _ in range(100):
                held.enter_context(socket.create_connection((host, int(port)), timeout=10))
            waiting = [name for name in waiting if not send(server, name, "a", now_ms)]
        with ExitStack() as held:
            for _ in range(CONNECTIONS):
                client = httpx.Client(base_url=server.url, trust_env=False, timeout=60)
                held.enter_context(client).get("/-/healthy")
            deadline = time.monotonic() + 90
            while waiting and time.monotonic() < deadline:
                waiting = [name for name in waiting if not send(server, name, "a", now_ms)]

        assert not waiting
        assert len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) < 64
        assert count(server, "t0", now_ms / 1000) == ROWS
        server.process.kill()
    check(data, tmp_path / "log2", [f"t{number}" for number in range(TENANTS)], now_ms)


@pytest.mark.parametrize("mebibytes", [1024, 1536, 3072])
def test_little_address_space(tmp_path: Path, mebibytes: int) -> None:
    """From 1 GiB of addresses on the server starts, takes writes or refuses them, loses none."""
    now_ms = time.time_ns() // 1_000_000
    data = tmp_path / "data"
    prefix = limited(f"ulimit -v {mebibytes << 10}")
    with start_o11y(data, tmp_path / "log", prefix=prefix) as server:
        tenants = [f"t{number}" for number in range(TENANTS)]
        acknowledged = [name for name in tenants if send(server, name, "a", now_ms)]
        assert acknowledged
        assert count(server, acknowledged[0], now_ms / 1000) == ROWS
        assert server.process.running
        server.process.kill()
    check(data, tmp_path / "log2", acknowledged, now_ms)


def test_too_little_address_space(tmp_path: Path) -> None:
    """With less one line says what is needed; a data directory is not even looked at."""
    argv = [*limited("ulimit -v 1000000"), str(O11Y), "serve", "--data", str(tmp_path / "data")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "o11y: the address space is limited to 976 MiB (ulimit -v), the server needs 1024 MiB\n"
    )
    assert not (tmp_path / "data").exists()

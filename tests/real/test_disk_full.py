"""A disk that something else fills: nothing acknowledged is lost, then or at a later restart.

Prometheus loses everything that it acknowledged after its disk was full once: the torn record stays
in the log, and the next start cuts off all that follows it.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.processes import wait_for
from benchmarks.remote_write import Sender, write_body
from tests.harness import servers
from tests.harness.servers import Server

pytestmark = pytest.mark.server

DISK_BYTES = 48 << 20
SERIES = 200
RECOVERY_S = 30


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except OSError as error:
        pytest.skip(f"no tmpfs can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], timeout=30, check=True)


class Story:
    """Requests of SERIES samples each, one a second, and which of them were acknowledged."""

    def __init__(self, url: str) -> None:
        self.first_s = int(time.time()) - 3600
        self.acked: list[int] = []
        self.sent = 0
        self.answers: list[tuple[int, str]] = []
        self.at(url)

    def at(self, url: str) -> None:
        self.sender = Sender(url)

    def send(self, count: int) -> None:
        for _ in range(count):
            number, self.sent = self.sent, self.sent + 1
            time_ms = (self.first_s + number) * 1000
            rows = (
                ({"__name__": "full", "row": f"{row}", "at": f"{number // 20}"}, [(time_ms, 1.0)])
                for row in range(SERIES)
            )
            status, text = self.sender.send(write_body(rows))
            self.answers.append((status, text))
            if status == 204:
                self.acked.append(number)

    def send_until(self, done: Callable[[int], bool]) -> tuple[int, str]:
        """Sends until an answer's status is *done*; that answer."""
        deadline = time.monotonic() + RECOVERY_S
        while True:
            self.send(1)
            if done(self.answers[-1][0]):
                return self.answers[-1]
            assert time.monotonic() < deadline, self.answers[-1]
            time.sleep(0.01)

    def verify(self, server: Server) -> None:
        """Every acknowledged sample is there, and none that was not sent."""
        found: dict[int, int] = {}
        for begin in range(0, self.sent, 1000):
            params: dict[str, str | int] = {
                "query": "sum(count_over_time(full[1s]))",
                "start": self.first_s + begin,
                "end": self.first_s + min(begin + 999, self.sent - 1),
                "step": 1,
            }
            answer = httpx.get(
                f"{server.url}/api/v1/query_range", params=params, trust_env=False, timeout=60
            )
            assert answer.status_code == 200, answer.text
            for row in answer.json()["data"]["result"]:
                found |= {int(t) - self.first_s: int(value) for t, value in row["values"]}
        lost = [number for number in self.acked if found.get(number) != SERIES]
        assert not lost, f"{len(lost)} of {len(self.acked)} acknowledged requests: {lost[:9]}"
        assert found.keys() <= set(range(self.sent))


def _fill(file: Path, left_bytes: int = 0) -> None:
    """Grows *file* until its disk has *left_bytes* left."""
    with file.open("ab", buffering=0) as out:
        piece = 1 << 20
        while piece:
            found = os.statvfs(file)
            piece = min(piece, found.f_bavail * found.f_frsize - left_bytes)
            if piece <= 0:
                return
            try:
                out.write(bytes(piece))
            except OSError:
                piece //= 2


def _start(disk: Path, home: Path, reserve: str) -> Server:
    return servers.start_o11y(disk / "data", home / "log", "--storage.reserve", reserve)


def _ready(server: Server) -> httpx.Response:
    return httpx.get(f"{server.url}/-/ready", trust_env=False)


def _wal_failures(server: Server) -> float:
    page = httpx.get(f"{server.url}/metrics", trust_env=False).text
    (line,) = (line for line in page.splitlines() if line.startswith("o11y_wal_failures_total "))
    return float(line.partition(" ")[2])


@pytest.mark.parametrize(
    ("reserve", "end"),
    [
        ("4MiB", "kill"),
        ("1", "kill"),
        ("1", "stop"),
        pytest.param("4MiB", "stop", marks=pytest.mark.long),
        pytest.param("0", "kill", marks=pytest.mark.long),
        pytest.param("0", "stop", marks=pytest.mark.long),
    ],
)
def test_what_is_acknowledged_after_a_full_disk_survives(
    warm: None, disk: Path, tmp_path: Path, reserve: str, end: str
) -> None:
    """With next to no reserve writes are torn again and again.

    After a kill the log is replayed past the torn records; after a clean stop it was sealed.
    """
    ballast = disk / "ballast"
    with _start(disk, tmp_path, reserve) as server:
        story = Story(server.url)
        story.send(20)
        for _ in range(3):
            _fill(ballast, 8 << 10 if reserve == "1" else 0)
            status, text = story.send_until(lambda status: status != 204)
            assert status == 503, text
            if reserve == "4MiB":
                assert "the reserve is 4.0 MiB" in text
                assert "the reserve is 4.0 MiB" in _ready(server).text
            if reserve != "0":
                assert _ready(server).status_code == 503
            story.verify(server)
            ballast.unlink()
            wait_for(lambda: _ready(server).status_code == 200, "ready", RECOVERY_S)
            story.send_until(lambda status: status == 204)
            story.send(100)
        assert {status for status, _ in story.answers} == {204, 503}
        assert _wal_failures(server) > 0 or reserve == "4MiB"
        assert len(story.acked) > 300
        story.verify(server)
        if end == "kill":
            server.process.kill()
        else:
            assert server.process.terminate() == 0
    for _ in range(2):
        with _start(disk, tmp_path, reserve) as server:
            story.verify(server)
            story.at(server.url)
            story.send(1)
            assert story.answers[-1][0] == 204


def test_a_read_only_disk_at_the_start_is_told(warm: None, disk: Path, tmp_path: Path) -> None:
    """In one line, with exit code 1; nothing hangs."""
    with _start(disk, tmp_path, "0") as server:
        Story(server.url).send(1)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], timeout=30, check=True)
    argv = [str(servers.O11Y), "serve", "--data", str(disk / "data"), "--listen", "127.0.0.1:0"]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=servers.COMPILE_S, check=False
    )
    assert done.returncode == 1
    assert "lies on a disk that is mounted read-only" in done.stderr
    assert "Traceback" not in done.stderr

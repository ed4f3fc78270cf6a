"""Faults done to a running server, row by row of the list of faults and abuse.

What must hold in each: every sample that was acknowledged is readable afterwards, exactly once,
with its exact value, and nothing that was never sent.

| row | fault | where |
|---|---|---|
| 1 | kill -9 while samples come in | test_fault_kills.py; test_kill.py |
| 2 | kill -9 in seal, merge, retention, delete | test_fault_kills.py; tsdb/test_recovery.py |
| 9 | a sync fails once | here; tsdb/test_faults.py |
| 7, 10 | full disk; read-only disk at the start | test_disk_full.py |
| 10 | read-only disk at run time | here |
| 11 | two servers on one directory | here |
| 16 | a tenant with ever new series | test_bomb.py |
| 18 | late, repeated, conflicting samples | here; tsdb/test_machine.py |
| 19 | times far ahead, negative, extreme | here |
| 39 | few files, little memory | test_process_limits.py |

``o11y bench faults`` does the like to Prometheus and VictoriaMetrics.
"""

import os
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import orjson
import pytest

from benchmarks.faults import probes
from benchmarks.faults.systems import OURS, Running
from benchmarks.faults.truth import Count, State, count_all
from benchmarks.processes import NotStarted, Process, find_program, wait_for
from benchmarks.remote_write import Sender, write_body
from tests.harness import servers
from tests.real.fault_tools import (
    DAY_MS,
    SYSTEM,
    ask,
    assert_sound,
    page,
    send,
    writer,
)

pytestmark = pytest.mark.server

# Row 9


@pytest.fixture
def strace(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Attaches strace to a process; skips where that is not allowed."""
    with ExitStack() as stack:

        def attach(pid: int, *arguments: str) -> Process:
            program = find_program("strace")
            if program is None:
                pytest.skip("no strace here (apt-get install strace)")
            argv = [program, "-f", "-qq", "-y", "-p", f"{pid}", *arguments]
            process = stack.enter_context(Process(argv, tmp_path / "strace.log"))
            try:
                process.wait_until(lambda: tracers(pid) == {process.pid}, 20, "strace is attached")
            except NotStarted as error:
                pytest.skip(f"strace cannot attach: {error}")
            return process

        yield attach


def tracers(pid: int) -> set[int]:
    """Who traces the threads of *pid*; 0 is nobody."""
    found = set()
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            found.add(int(re.findall(r"^TracerPid:\s*(\d+)", status.read_text(), re.MULTILINE)[0]))
        except (FileNotFoundError, ProcessLookupError):
            pass  # a thread that has just ended
    return found


def test_a_failed_sync_is_not_acknowledged(
    warm: None, tmp_path: Path, strace: Callable[..., Process]
) -> None:
    """Row 9: 503, the bytes are written to another file, and the failed one is not synced again."""
    trace = tmp_path / "trace"
    one = writer()
    with Running(SYSTEM, tmp_path) as running:
        assert one.send_some(running.url, 5) == 5
        tracer = strace(
            running.server.process.pid,
            *("-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1"),
            *("-o", str(trace)),
        )
        sender = Sender(running.url)
        states = [one.send(sender) for _ in range(12)]
        sender.close()
        assert State.UNANSWERED in states and one.refusal.startswith("503 "), one.refusal
        assert states[-1] == State.ACKED
        tracer.terminate()
        wait_for(lambda: tracers(running.server.process.pid) == {0}, "strace is gone")
        assert one.send_some(running.url, 5) == 5
        assert page(running.server)["o11y_wal_failures_total"] >= 1
        running.kill()
        running.start()
        count = count_all(running.url, [one])
        assert count.acked == count.readable and count.double == count.invented == 0, count
    calls = re.findall(r"fdatasync\(\d+<(.+?)>\)\s*= (.*)", trace.read_text())
    failed = [number for number, (_, result) in enumerate(calls) if "EIO" in result]
    assert failed
    for number in failed:
        path = calls[number][0]
        assert path not in [later for later, _ in calls[number + 1 :]], f"{path} was synced again"


# Row 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small ext4 of its own, mounted; where the image lies is its path with ``.img``."""
    folder, image = tmp_path / "disk", tmp_path / "disk.img"
    folder.mkdir()
    if os.geteuid() != 0 or find_program("mkfs.ext4") is None:
        pytest.skip("a file system can only be made and mounted by root with mkfs.ext4")
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], timeout=60, check=True)
    mount = ["mount", "-o", "loop", str(image), str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], timeout=60, check=True)


def test_a_disk_that_turns_read_only(warm: None, tmp_path: Path, disk: Path) -> None:
    """Row 10: 503 with Retry-After, readiness says why, queries go on; nothing is lost after it."""
    image = disk.with_suffix(".img")
    home = tmp_path / "home"
    home.mkdir()
    (disk / "data").mkdir()
    (home / "data").symlink_to(disk / "data")
    one = writer()
    with Running(SYSTEM, home) as running:
        assert one.send_some(running.url, 20) == 20
        # What ext4 does by itself when its device fails; whoever has files open does not hinder it.
        subprocess.run(["mount", "-o", "remount,abort", str(disk)], timeout=60, check=True)
        sender = Sender(running.url)
        assert [one.send(sender) for _ in range(5)] == [State.UNANSWERED] * 5
        sender.close()
        assert one.refusal.startswith("503 ")
        answer = httpx.post(
            f"{running.url}/api/v1/write",
            content=write_body([({"__name__": "x"}, [(int(time.time() * 1000), 1.0)])]),
            headers={"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"},
            trust_env=False,
        )
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
        ready = httpx.get(f"{running.url}/-/ready", trust_env=False)
        assert ready.status_code == 503 and "disk" in ready.text, ready.text
        assert count_all(running.url, [one]) == Count(1000, 1000)
        running.server.process.terminate()
    subprocess.run(["umount", str(disk)], timeout=60, check=True)
    repaired = subprocess.run(["e2fsck", "-fy", str(image)], capture_output=True, check=False)
    assert repaired.returncode in (0, 1), repaired.stdout
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], timeout=60, check=True)
    with Running(SYSTEM, home) as running:
        assert one.send_some(running.url, 5) == 5
        running.restart()
        count = count_all(running.url, [one])
        assert count == Count(count.acked, count.acked)


# Row 11


def test_of_two_servers_on_one_directory_the_second_ends(warm: None, tmp_path: Path) -> None:
    """Row 11: with 1, naming path and process; the first goes on."""
    one = writer()
    with Running(SYSTEM, tmp_path) as running:
        assert one.send_some(running.url, 5) == 5
        argv = [str(servers.O11Y), "serve", "--data", str(running.data), "--listen", "127.0.0.1:0"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        said = done.stderr.splitlines()[-1]
        assert str(running.server.process.pid) in said and str(running.data) in said
        assert one.send_some(running.url, 5) == 5
        assert count_all(running.url, [one]) == Count(500, 500)


def test_of_two_servers_at_once_one_serves(warm: None, tmp_path: Path) -> None:
    """Row 11: whoever comes first; the other ends."""
    argv = [str(servers.O11Y), "serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    with ExitStack() as stack:
        both = [stack.enter_context(Process(argv, tmp_path / f"{n}.log")) for n in range(2)]
        wait_for(lambda: sum(one.running for one in both) == 1, "one has ended")
        (winner,) = (one for one in both if one.running)
        winner.wait_for_output("Ready after", 30)


def test_the_bench_sees_our_lock(warm: None, tmp_path: Path) -> None:
    """Row 11 of ``o11y bench faults``."""
    outcome = probes.two_servers(SYSTEM, tmp_path)
    assert_sound(outcome, 500)
    assert outcome.notes == ["the second does not start, names pid and path"]


# Row 18


def test_late_repeated_and_conflicting_samples(warm: None, tmp_path: Path) -> None:
    """Row 18: what was first stays, bit for bit; answers name series and values; reasons count."""
    now_ms = int(time.time() * 1000) // 1000 * 1000
    up = {"__name__": "row18", "job": "a"}
    refused = 'o11y_ingest_refused_samples_total{door="remote_write",reason="%s"}'
    with Running(SYSTEM, tmp_path) as running:
        url = running.url
        assert send(url, (up, [(now_ms, 1.0)]))[0] == 204
        assert send(url, (up, [(now_ms, 1.0)]))[0] == 204
        status, text = send(url, (up, [(now_ms, 2.0)]), (up | {"job": "b"}, [(now_ms, 7.0)]))
        assert status == 400 and "duplicate sample for timestamp" in text
        assert 'job="a"' in text and "1" in text and "2" in text
        assert send(url, (up, [(now_ms - 1_000, 0.5)]))[0] == 204
        assert send(url, (up, [(now_ms - 20 * DAY_MS, 0.25)]))[0] == 204
        status, text = send(url, (up, [(now_ms - 61 * DAY_MS, 9.0)]), (up, [(now_ms + 1, 3.0)]))
        assert status == 400 and "too old" in text
        counts = page(running.server)
        assert counts[refused % "duplicate-timestamp"] == 1
        assert counts[refused % "too-old"] == 1
        for _ in range(2):
            rows = ask(running.url, "row18[70d]", now_ms + 1_000)
            found = {row["metric"]["job"]: row["values"] for row in rows}
            assert [value for _, value in found["a"]] == ["0.25", "0.5", "1", "3"]
            assert [value for _, value in found["b"]] == ["7"]
            running.restart()


def test_any_order_of_samples_gives_what_came_first(warm: None, tmp_path: Path) -> None:
    """Row 18: 3,000 samples of 50 minutes, late, twice and in conflict, over kill and stop."""
    draw = random.Random(18)
    now_ms = int(time.time() * 1000) // 1000 * 1000
    first: dict[tuple[str, int], float] = {}
    with Running(SYSTEM, tmp_path) as running:
        for request in range(150):
            taken: dict[tuple[str, int], float] = {}
            for _ in range(20):
                key = f"{draw.randrange(5)}", now_ms - draw.randrange(300) * 10_000
                taken.setdefault(key, draw.choice([1.0, 2.0, -0.0, 1e-300]))
            series = [
                ({"__name__": "order", "row": row}, [(time_ms, value)])
                for (row, time_ms), value in taken.items()
            ]
            status, text = send(running.url, *series)
            conflicts = sum(first.get(key, value) != value for key, value in taken.items())
            # Conflicts with what a stop has sealed are answered 204; the first value stays.
            assert status == (400 if conflicts and request <= 100 else 204) or (
                status == 400 and conflicts
            ), text
            first = taken | first
            if request == 50:
                running.kill()
                running.start()
            elif request == 100:
                running.restart()
        rows = ask(running.url, "order[2h]", now_ms)
    found = {
        (row["metric"]["row"], round(time_s * 1000)): float(value)
        for row in rows
        for time_s, value in row["values"]
    }
    assert {key: repr(value) for key, value in found.items()} == {
        key: repr(value) for key, value in first.items()
    }


# Row 19

TIMES: dict[str, Callable[[int], int]] = {
    "eleven minutes ahead": lambda now_ms: now_ms + 11 * 60_000,
    "ten years ahead": lambda now_ms: now_ms + 3652 * DAY_MS,
    "before 1970": lambda now_ms: -1,
    "zero": lambda now_ms: 0,
    "the last": lambda now_ms: (1 << 63) - 1,
    "the first": lambda now_ms: -(1 << 63),
}


def test_impossible_times_poison_nothing(warm: None, tmp_path: Path) -> None:
    """Row 19: only such samples are refused; every series takes the next, also after a restart."""
    now_ms = int(time.time() * 1000)
    with Running(SYSTEM, tmp_path) as running:
        for number, (name, make) in enumerate(TIMES.items()):
            good = {"__name__": "row19", "row": "good"}
            bad = {"__name__": "row19", "row": f"{number}"}
            at_ms = now_ms + number * 1000
            status, text = send(
                running.url, (bad, [(make(now_ms), 1.0)]), (good, [(at_ms, float(number))])
            )
            assert status == 400 and ("out of bounds" in text or "too old" in text), (name, text)
            assert send(running.url, (bad, [(at_ms, 5.0)]))[0] == 204, name
        for _ in range(2):
            rows = ask(running.url, "row19[1h]", now_ms + 60_000)
            counts = {row["metric"]["row"]: len(row["values"]) for row in rows}
            assert counts == {"good": len(TIMES)} | {f"{n}": 1 for n in range(len(TIMES))}
            running.restart()
            assert send(running.url, ({"__name__": "row19", "row": "0"}, [(now_ms, 5.0)]))[0] == 204


# The command


def test_the_command_prints_its_table(warm: None, tmp_path: Path) -> None:
    """``o11y bench faults`` with one row of ours: table, Markdown, JSON, and 0."""
    argv = [str(servers.O11Y), "bench", "faults", "--quick", "--systems", OURS, "--only", "retry"]
    argv += ["--markdown", "--json", str(tmp_path / "faults.json")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "sent three times" in done.stdout
    assert "**lost 0 of 500**" in done.stdout
    document = orjson.loads((tmp_path / "faults.json").read_bytes())
    assert document["retry"][OURS]["count"]["readable"] == 500


@pytest.mark.parametrize("given", [("--only", "nonsense"), ("--systems", "nonsense")])
def test_the_command_names_what_it_does_not_know(given: tuple[str, str]) -> None:
    """With what there is, and 2."""
    argv = [str(servers.O11Y), "bench", "faults", *given]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "nonsense" in done.stderr

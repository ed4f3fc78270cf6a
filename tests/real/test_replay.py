"""A log that is larger than the memory is replayed all the same, and the start tells how far it is.

The log is made by the library, without waiting for syncs; a process of limited address space then
starts on it.
"""

import time
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.processes import Process, find_program
from series.batch import build_batch
from series.labels import Labels
from tests.harness import servers
from tests.tsdb.databases import FaultyFiles
from tsdb.db import DbOptions
from tsdb.store import Store

pytestmark = [pytest.mark.server, pytest.mark.long]

SERIES, TICKS, STEP_MS = 10_000, 2_000, 3_000
ADDRESS_SPACE = 2_000_000_000
PROGRESS = "Service Unavailable: replaying the log, "


def _write_log(data: Path, now_ms: int) -> None:
    """SERIES x TICKS samples in a log, nothing of it sealed."""
    store = Store.open(data, DbOptions(), lambda: now_ms, files=FaultyFiles())
    labels = [Labels.of({"__name__": "long", "row": f"{row}"}) for row in range(SERIES)]
    base = build_batch((each, [0], [0.0]) for each in labels)
    db = store.tenant_for_write("default")
    first_ms = now_ms - TICKS * STEP_MS
    for tick in range(TICKS):
        times = np.full(len(base.times_ms), first_ms + tick * STEP_MS, dtype=np.int64)
        batch = replace(base, values=np.full(SERIES, tick / 8), times_ms=times)
        assert db.append(batch).result(timeout=60).samples == SERIES
    store.close()


def _start(data: Path, log: Path) -> tuple[Process, str]:
    """A server with little memory, as soon as it listens."""
    prlimit = find_program("prlimit")
    if prlimit is None:
        pytest.skip("no prlimit here (apt-get install util-linux)")
    argv = [prlimit, f"--as={ADDRESS_SPACE}", str(servers.O11Y), "serve", "--data", str(data)]
    process = Process([*argv, "--listen", "127.0.0.1:0"], log)
    return process, process.wait_for_output(r"listens on (http://\S+)", 60)[1]


def test_a_log_larger_than_the_memory_is_replayed(warm: None, tmp_path: Path) -> None:
    """/-/ready tells how far it is; a start that is interrupted ends at once and costs nothing."""
    now_ms = int(time.time() * 1000)
    _write_log(tmp_path / "data", now_ms)
    process, url = _start(tmp_path / "data", tmp_path / "interrupted.log")
    with process, httpx.Client(base_url=url, trust_env=False) as client:
        process.wait_until(
            lambda: client.get("/-/ready").text.startswith(PROGRESS), 60, "it replays"
        )
        began = time.monotonic()
        assert process.terminate() == 0
        assert time.monotonic() - began < 10
    process, url = _start(tmp_path / "data", tmp_path / "log")
    seen: set[str] = set()

    def is_ready(client: httpx.Client) -> bool:
        answer = client.get("/-/ready")
        seen.add(answer.text)
        return answer.status_code == 200

    with process, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        process.wait_until(lambda: is_ready(client), 120, "it is ready")
        percents = {int(text[len(PROGRESS) : -3]) for text in seen if text.startswith(PROGRESS)}
        assert len(percents) > 3 and all(0 <= each <= 100 for each in percents)
        assert "replaying the log: " in process.output
        params: dict[str, str | float] = {
            "query": "sum(count_over_time(long[2h]))",
            "time": now_ms / 1000,
        }
        (row,) = client.get("/api/v1/query", params=params).json()["data"]["result"]
        assert int(row["value"][1]) == SERIES * TICKS
        page = client.get("/metrics").text
        assert "\no11y_blocks 0.0\n" not in page, "nothing had to be sealed on the way"
        assert process.terminate() == 0

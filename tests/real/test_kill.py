"""kill -9 at random instants loses no acknowledged sample and invents none.

Two writers send one request after another, each over its own series, while the server is killed
and started again on one data directory. Their samples are 40 s apart and lie days back, so a
round of 50,000 crosses a block range and seals; every second kill waits for the next change
among the sealed files and strikes right then. After every kill all samples are read back raw:

- every acknowledged sample is there exactly once, bit for bit;
- whatever else is there was sent: a request without an answer may have been stored or not, whole
  or in part, and where it was sent again and acknowledged then, it is there once.

The same holds after a clean stop and a second start. The seed of a failing run is in its output.
"""

import http.client
import os
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import numpy.typing as npt
import orjson
import pytest

from benchmarks.remote_write import Sender, compress, encode_labels, encode_series
from tests.harness import servers
from tests.harness.servers import Server

pytestmark = pytest.mark.server

SERIES = 100
"""Of one writer; a request carries one sample of each."""
STEP_MS = 40_000
ACKED_SAMPLES = 50_000
"""Acknowledged at least between two kills, by both writers together."""
LOOKED_FOR_S = 3.0
"""The longest time that a kill waits for the sealed files to change."""
ODD_VALUES = np.array([0.0, -0.0, np.inf, -np.inf, 5e-324, -1.7976931348623157e308, 0.1, 1e21])

Values = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
NOTHING = np.zeros(0, dtype=np.int64), np.zeros(0)


@dataclass
class Writer:
    """One sender and all it knows: request k wrote ``values(k)`` at time ``first_ms + k STEP_MS``.

    ``acked[k]`` says whether request k was answered with 204.
    """

    number: int
    seed: int
    first_ms: int
    acked: list[bool] = field(default_factory=list)
    retry: bool = False
    """Whether a request that got no answer is sent again, as real senders do."""
    failure: str = ""

    def __post_init__(self) -> None:
        self._labels = [
            encode_labels({"__name__": "kill_samples", "writer": f"{self.number}", "row": f"{row}"})
            for row in range(SERIES)
        ]

    def values(self, request: int) -> Values:
        """The values of one request, made again whenever they are needed."""
        draw = np.random.default_rng([self.seed, self.number, request])
        values = draw.normal(0, 10.0 ** draw.integers(-9, 9), SERIES)
        odd = draw.random(SERIES) < 0.05
        values[odd] = draw.choice(ODD_VALUES, int(odd.sum()))
        return values

    def body(self, request: int) -> bytes:
        time_ms = self.first_ms + request * STEP_MS
        return compress(
            b"".join(
                encode_series(labels, [(time_ms, value)])
                for labels, value in zip(self._labels, self.values(request).tolist(), strict=True)
            )
        )

    def run(self, url: str) -> None:
        """Sends until the server is gone."""
        sender = Sender(url)
        try:
            while not self.failure:
                if not (self.retry and self.acked and not self.acked[-1]):
                    self.acked.append(False)
                request = len(self.acked) - 1
                status, text = sender.send(self.body(request))
                if status == 204 and self.first_ms + request * STEP_MS < time.time() * 1000:
                    self.acked[request] = True
                else:
                    self.failure = f"request {request}: {status} {text}"
        except (OSError, http.client.HTTPException):
            pass  # the kill
        finally:
            sender.close()

    def verify(self, series: dict[str, tuple[Times, Values]]) -> int:
        """Compares what was read back, (times, values) by row; the number of samples found."""
        acked = np.array(self.acked)
        sent = np.stack([self.values(k) for k in range(len(acked))])
        total = 0
        assert series.keys() <= {f"{row}" for row in range(SERIES)}, "invented series"
        for row in range(SERIES):
            times, values = series.get(f"{row}", NOTHING)
            assert (np.diff(times) > 0).all(), f"writer {self.number} row {row}: a time twice"
            requests, rest = np.divmod(times - self.first_ms, STEP_MS)
            assert not rest.any() and (requests >= 0).all() and (requests < len(acked)).all(), (
                f"writer {self.number} row {row}: a time that was never sent"
            )
            found = np.zeros(len(acked), dtype=bool)
            found[requests] = True
            lost = np.flatnonzero(acked & ~found)
            assert lost.size == 0, f"writer {self.number} row {row}: lost {lost.size}, {lost[:9]}"
            wrong = values.view(np.int64) != sent[requests, row].view(np.int64)
            assert not wrong.any(), f"writer {self.number} row {row}: other bits at {times[wrong]}"
            total += len(times)
        return total


def read_back(url: str, writer: Writer, end_ms: int) -> dict[str, tuple[Times, Values]]:
    """All raw samples of *writer* over HTTP, by row."""
    answer = httpx.post(
        f"{url}/api/v1/query",
        data={
            "query": f'kill_samples{{writer="{writer.number}"}}[20d]',
            "time": f"{end_ms / 1000:.3f}",
        },
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text[:500]
    rows = orjson.loads(answer.content)["data"]["result"]
    return {
        row["metric"]["row"]: (
            np.array([round(t * 1000) for t, _ in row["values"]], dtype=np.int64),
            np.array([float(v) for _, v in row["values"]]),
        )
        for row in rows
    }


def verify_all(server: Server, writers: list[Writer], end_ms: int) -> int:
    """Verifies what *server* answers; the number of samples."""
    return sum(writer.verify(read_back(server.url, writer, end_ms)) for writer in writers)


def sealed_names(data: Path) -> set[str]:
    """The files and directories below *data* that are not the log's."""
    names = {
        os.path.join(os.path.relpath(where, data), name)
        for where, folders, files in os.walk(data)
        for name in folders + files
    }
    return {name for name in names if "wal" not in name}


def strike(
    server: Server, writers: list[Writer], data: Path, draw: random.Random, in_seal: bool
) -> bool:
    """Kills *server* at a random instant once 50,000 samples more are acknowledged.

    With *in_seal* it waits for a change among the sealed files; whether it saw one.
    """
    before, seen = acked_samples(writers), False
    threads = [threading.Thread(target=writer.run, args=(server.url,)) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        server.process.wait_until(
            lambda: (
                acked_samples(writers) - before >= ACKED_SAMPLES
                or any(writer.failure for writer in writers)
            ),
            60,
            f"{ACKED_SAMPLES} samples were acknowledged",
        )
        time.sleep(draw.random() * 0.3)
        if in_seal:
            names, deadline = sealed_names(data), time.monotonic() + LOOKED_FOR_S
            while not seen and time.monotonic() < deadline:
                seen = sealed_names(data) != names
            time.sleep(draw.random() * 0.02)
    finally:
        server.process.kill()
        for thread in threads:
            thread.join(60)
    assert [writer.failure for writer in writers] == ["", ""]
    return seen


def acked_samples(writers: list[Writer]) -> int:
    return sum(sum(writer.acked) for writer in writers) * SERIES


def run_rounds(home: Path, rounds: int) -> None:
    """*rounds* kills of one data directory, each with both read-backs."""
    seed = int(os.environ.get("O11Y_KILL_SEED") or random.SystemRandom().randrange(2**32))
    print(f"O11Y_KILL_SEED={seed}")
    draw = random.Random(seed)
    end_ms = int(time.time() * 1000)
    first_ms = end_ms // STEP_MS * STEP_MS - 14 * 86_400_000
    writers = [Writer(number, seed, first_ms + 7_001 * number) for number in range(2)]
    data = home / "data"
    in_seal = 0
    server = servers.start_o11y(data, home / "first.log")
    try:
        for number in range(rounds):
            in_seal += strike(server, writers, data, draw, number % 2 == 1)
            server = servers.start_o11y(data, home / f"{number}-killed.log")
            verify_all(server, writers, end_ms)
            assert server.process.terminate() == 0
            server = servers.start_o11y(data, home / f"{number}-stopped.log")
            samples = verify_all(server, writers, end_ms)
            print(f"round {number}: {samples} samples read back twice")
            for writer in writers:
                writer.retry = draw.random() < 0.5
    finally:
        server.process.kill()
    assert in_seal > 0, "no kill fell into a seal"


def test_five_kills_lose_nothing(warm: None, tmp_path: Path) -> None:
    """Five kills, one data directory: every acknowledged sample exactly once, none invented."""
    run_rounds(tmp_path, 5)


@pytest.mark.long
def test_twenty_kills_lose_nothing(warm: None, tmp_path: Path) -> None:
    """The same with twenty kills."""
    run_rounds(tmp_path, 20)

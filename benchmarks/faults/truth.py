"""Writers that know exactly what was acknowledged, and the comparison with what can be read.

Request k of a writer holds one sample of each of its series at time ``first_ms + k step_ms``. The
value is a whole number that depends on writer, request and row, so hardly two samples are alike and
each of the systems keeps all digits.
"""

import http.client
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import httpx
import numpy as np
import numpy.typing as npt
import orjson

from benchmarks.remote_write import Sender, compress, encode_labels, encode_series

METRIC = "fault_samples"
AHEAD = 8
"""How far one writer may be ahead of another: Prometheus takes no late samples."""
READ_TIMEOUT_S = 120
RETRY_S = 0.05

Series = Mapping[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]
"""Row -> times in ms and values, as they were answered."""


class State(IntEnum):
    """What a writer knows of a request."""

    UNANSWERED = 0
    ACKED = 1
    REFUSED = 2


class Unreadable(Exception):
    """A query was answered with an error, or not at all."""


@dataclass(frozen=True)
class Count:
    """Samples of writers, compared with what a server answers.

    *acked* were answered 204; *readable* of these are answered with their value, *lost* are not.
    *invented* are answered but were never sent, or not with that value; *double* are answered once
    more than they should.
    """

    acked: int = 0
    readable: int = 0
    lost: int = 0
    invented: int = 0
    double: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.acked + other.acked,
            self.readable + other.readable,
            self.lost + other.lost,
            self.invented + other.invented,
            self.double + other.double,
        )


@dataclass
class Writer:
    """One sender and all it knows: ``states[k]`` is what became of request k."""

    number: int
    first_ms: int
    step_ms: int
    rows: int = 50
    states: list[State] = field(default_factory=list)
    acked_s: dict[int, float] = field(default_factory=dict)
    """Request -> when it was acknowledged, by the monotonic clock."""
    refusal: str = ""
    """The last answer that was not 204."""

    def __post_init__(self) -> None:
        self._labels = [
            encode_labels({"__name__": METRIC, "writer": f"{self.number}", "row": f"{row}"})
            for row in range(self.rows)
        ]

    def values(
        self, requests: npt.NDArray[np.int64], row: int | npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Whole numbers below 2^40, which look drawn and are the same each time (splitmix64)."""
        number = (self.number << 50 | requests << 10 | row).astype(np.uint64)
        number *= np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            number = (number ^ (number >> np.uint64(shift))) * np.uint64(factor)
        return (number >> np.uint64(24)).astype(np.float64)

    def body(self, request: int) -> bytes:
        time_ms = self.first_ms + request * self.step_ms
        values = self.values(np.full(self.rows, request), np.arange(self.rows)).tolist()
        return compress(
            b"".join(
                encode_series(labels, [(time_ms, value)])
                for labels, value in zip(self._labels, values, strict=True)
            )
        )

    def send(self, sender: Sender) -> State:
        """Sends the next request, or again the last one where it got no answer.

        503 and the like count as no answer: the sender keeps the request. OSError or HTTPException
        when the server is gone.
        """
        if not self.states or self.states[-1] != State.UNANSWERED:
            self.states.append(State.UNANSWERED)
        request = len(self.states) - 1
        status, text = sender.send(self.body(request))
        if status == 204:
            self.states[request] = State.ACKED
            self.acked_s[request] = time.monotonic()
        else:
            self.refusal = f"{status} {text.strip()[:200]}"
            if status < 500 and status != 429:
                self.states[request] = State.REFUSED
        return self.states[request]

    def run(self, url: str, others: Sequence["Writer"], per_second: float) -> None:
        """Sends at the given pace until the server is gone."""
        sender = Sender(url)
        due_s = time.monotonic()
        try:
            while True:
                if len(self.states) < min(len(other.states) for other in others) + AHEAD:
                    self.send(sender)
                due_s = max(due_s + 1 / per_second, time.monotonic() - 1)
                time.sleep(max(0.0, due_s - time.monotonic()))
        except (OSError, http.client.HTTPException):
            pass  # that is the fault
        finally:
            sender.close()

    def send_some(self, url: str, requests: int, timeout_s: float = 60) -> int:
        """Until *requests* more are acknowledged or refused, or time is up; how many were acked."""
        acked = done = 0
        deadline = time.monotonic() + timeout_s
        sender = Sender(url)
        try:
            while done < requests and time.monotonic() < deadline:
                state = self.send(sender)
                acked += state == State.ACKED
                done += state != State.UNANSWERED
                if state == State.UNANSWERED:
                    time.sleep(RETRY_S)
        except (OSError, http.client.HTTPException) as error:
            self.refusal = f"no answer: {error}"
        finally:
            sender.close()
        return acked

    def samples(self, state: State) -> int:
        return self.rows * sum(one == state for one in self.states)

    def find(
        self, series: Series, first: int = 0, end: int | None = None
    ) -> tuple[Count, npt.NDArray[np.bool_]]:
        """Compares what was read of requests *first* to *end*; which of them lost something."""
        states = self.states[first:end]
        sent = len(states)
        acked = np.array([state == State.ACKED for state in states], dtype=bool)
        times_found = np.zeros((sent, self.rows), dtype=np.int64)
        invented = 0
        for row_text, (times, values) in series.items():
            row = int(row_text) if row_text.isdecimal() else self.rows
            requests, rest = np.divmod(times - self.first_ms, self.step_ms)
            known = (rest == 0) & (requests >= first) & (requests < first + sent)
            if row < self.rows:
                known &= values == self.values(requests, row)
                np.add.at(times_found, (requests[known] - first, row), 1)
                invented += int((~known).sum())
            else:
                invented += len(times)
        lost = acked[:, None] & (times_found == 0)
        total = int(acked.sum()) * self.rows
        double = int(np.maximum(times_found - 1, 0).sum())
        count = Count(total, total - int(lost.sum()), int(lost.sum()), invented, double)
        return count, lost.any(axis=1)


def make_writers(count: int, first_ms: int, step_ms: int, rows: int = 50) -> list[Writer]:
    """Writers whose times differ, so that no two samples of a system share an instant by luck."""
    first_ms = first_ms // step_ms * step_ms
    return [Writer(number, first_ms + 7 * number, step_ms, rows) for number in range(count)]


def write_together(
    url: str, writers: Sequence[Writer], per_second: float
) -> list[threading.Thread]:
    """All writers at once, each with *per_second* requests; they end when the server does."""
    threads = [
        threading.Thread(target=writer.run, args=(url, writers, per_second), daemon=True)
        for writer in writers
    ]
    for thread in threads:
        thread.start()
    return threads


@dataclass(frozen=True)
class Answer:
    """What a server answered about one writer."""

    series: Series
    warnings: Sequence[str] = ()


def read(url: str, writer: Writer, first: int = 0, end: int | None = None) -> Answer:
    """The raw samples of requests *first* to *end* of *writer*; Unreadable without an answer."""
    requests = range(len(writer.states))[first:end]
    if not requests:
        return Answer({})
    start_ms = writer.first_ms + requests.start * writer.step_ms
    end_ms = writer.first_ms + (requests.stop - 1) * writer.step_ms + 1
    # A window closed on the left would hold the sample before as well.
    window_ms = end_ms - start_ms + min(writer.step_ms // 2, 1000)
    try:
        answer = httpx.post(
            f"{url}/api/v1/query",
            data={
                "query": f'{METRIC}{{writer="{writer.number}"}}[{window_ms}ms]',
                "time": f"{end_ms / 1000:.3f}",
                "nocache": "1",
            },
            timeout=READ_TIMEOUT_S,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    if answer.status_code != 200:
        raise Unreadable(f"{answer.status_code} {answer.text[:300]}")
    try:
        document = orjson.loads(answer.content)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"the answer breaks off: {error}") from error
    series = {
        row["metric"].get("row", ""): (
            np.array([round(t * 1000) for t, _ in row["values"]], dtype=np.int64),
            np.array([float(v) for _, v in row["values"]]),
        )
        for row in document["data"]["result"]
    }
    return Answer(series, document.get("warnings") or ())


def count_all(url: str, writers: Sequence[Writer], first: Sequence[int] | None = None) -> Count:
    """The samples of all writers, from request ``first[i]`` on, compared with what is read."""
    total = Count()
    for number, writer in enumerate(writers):
        begin = 0 if first is None else first[number]
        total += writer.find(read(url, writer, begin).series, begin)[0]
    return total

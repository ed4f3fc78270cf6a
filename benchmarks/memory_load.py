"""Load for ``benchmarks.memory``: pods of 100 series with 8 labels, and a probe of write latency.

A body of pods is a template of bytes in which only the pod's number and the time change.
"""

import threading
import time
from collections.abc import Callable, Mapping

from benchmarks.remote_write import Sender, compress, encode_labels, encode_series, varint

SERIES_PER_POD = 100
PROBE_SERIES = 50
PROBE_PERIOD_S = 0.01

_POD = b"0123456"
_TIME_MS = 1_700_000_000_123


class Fleet:
    """Pods of a cluster; series of different pods and of different fleets never meet."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._template = b"".join(
            encode_series(encode_labels(self._labels(number)), [(_TIME_MS, number * 1.25)])
            for number in range(SERIES_PER_POD)
        )

    def _labels(self, number: int) -> dict[str, str]:
        pod = _POD.decode()
        return {
            "__name__": "http_server_requests_total",
            "cluster": "eu-central-production",
            "container": "frontend",
            "instance": f"10.{self.name}.{pod}:8080",
            "job": f"{self.name}/frontend",
            "namespace": f"{self.name}-frontend",
            "path": f"/api/v1/resources/{number // 5}",
            "status": str(200 + number % 5),
        }

    def body(self, pods: range, time_ms: int) -> bytes:
        """One scrape of *pods*, all at *time_ms*."""
        scrape = self._template.replace(b"\x10" + varint(_TIME_MS), b"\x10" + varint(time_ms))
        return compress(b"".join(scrape.replace(_POD, b"%07d" % pod) for pod in pods))


class Probe:
    """Writes PROBE_SERIES known series every PROBE_PERIOD_S and remembers how long each took.

    The times of its samples are those that *clock_ms* gives. A context manager.
    """

    def __init__(
        self, url: str, clock_ms: Callable[[], int], headers: Mapping[str, str] | None = None
    ) -> None:
        self.took_s: list[tuple[float, float]] = []
        """When each began (``time.monotonic``), and how long it took."""
        self.errors: list[str] = []
        """What the writes that failed were told."""
        self._sender = Sender(url, headers, timeout_s=120)
        self._clock_ms = clock_ms
        self._series = [
            encode_labels({"__name__": "probe", "number": str(number)})
            for number in range(PROBE_SERIES)
        ]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Probe":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._sender.close()

    def between(self, begin_s: float, end_s: float) -> list[float]:
        """The latencies in seconds of the writes that began within, ascending."""
        return sorted(took for began, took in self.took_s if begin_s <= began <= end_s)

    def _run(self) -> None:
        last_ms = 0
        while not self._ending.wait(PROBE_PERIOD_S):
            last_ms = max(last_ms + 1, self._clock_ms())
            body = compress(b"".join(encode_series(one, [(last_ms, 1.0)]) for one in self._series))
            began = time.monotonic()
            status, text = self._sender.send(body)
            self.took_s.append((began, time.monotonic() - began))
            if status // 100 != 2:
                self.errors.append(f"{status} {text[:200]}")

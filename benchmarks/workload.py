"""The seeded workload: a fleet of instances scraped for hours, as remote-write bodies.

100 series an instance: 50 counters ``http_requests_total{path, status}``, 20 cumulative buckets
``http_request_duration_seconds_bucket{le}``, 10 gauges ``node_cpu_usage{cpu}`` of full-precision
noise, 10 ``memory_used_bytes{area}`` (whole pages), 5 ``temperature_celsius{sensor}`` (two
decimals) and 5 constants ``machine_limit{limit}``. Instance i is ``i-<i>`` of ``job-<i mod 5>`` in
``cluster-<i mod 4>``; about a fifth of the instances restart once, counters falling to 0. An
instance is scraped at its own offset, with up to 5 ms of jitter, one time for all its samples.

Offsets keep 10 ms away from whole tenths of a second. Queries at whole tenths therefore never see
a sample exactly on the edge of a window, where closed and left-open windows would differ.

A request holds whole scrapes in the order of their times. Since all samples of the workload have
the same encoded size, a scrape is a template of bytes in which only times and values change.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cramjam
import numpy as np
import numpy.typing as npt

from benchmarks.remote_write import encode_labels, field, varint

SERIES_PER_INSTANCE = 100
PATHS = [f"/api/v1/path-{number}" for number in range(10)]
STATUSES = ["200", "301", "404", "429", "500"]
STATUS_SHARE = np.array([0.93, 0.03, 0.025, 0.01, 0.005])
BUCKETS = np.geomspace(0.001, 10, 19)
DAY_S = 86_400.0
PAGE_BYTES = 4096
VALUE_AT, TIME_AT, SAMPLE_BYTES = 3, 12, 18
"""Where a sample field's value and time begin, and its size: 12 len 09 value 10 time."""
TIME_BYTES = 6

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Workload:
    """What is generated; the same parameters give the same bytes."""

    instances: int = 100
    span_s: int = 6 * 3600
    step_s: int = 15
    samples_per_request: int = 10_000
    seed: int = 1
    start_ms: int = 0

    @property
    def series(self) -> int:
        return self.instances * SERIES_PER_INSTANCE

    @property
    def ticks(self) -> int:
        return self.span_s // self.step_s

    @property
    def samples(self) -> int:
        return self.series * self.ticks

    @property
    def end_ms(self) -> int:
        """The first instant after the last scrape."""
        return self.start_ms + self.span_s * 1000

    @cached_property
    def offsets_ms(self) -> Ints:
        """When in a step an instance is scraped, int64[instances]."""
        draw = np.random.default_rng([self.seed, 1])
        tenths = draw.integers(0, self.step_s * 10, self.instances, dtype=np.int64)
        return tenths * 100 + draw.integers(15, 86, self.instances, dtype=np.int64)

    def times_ms(self, instance: int) -> Ints:
        """The scrape times of *instance*, int64[ticks]."""
        draw = np.random.default_rng([self.seed, 2, instance])
        first_ms = self.start_ms + int(self.offsets_ms[instance])
        steps = np.arange(self.ticks, dtype=np.int64) * (self.step_s * 1000)
        return first_ms + steps + draw.integers(-5, 6, self.ticks, dtype=np.int64)

    def bodies(self, shards: int = 1) -> Iterator[tuple[int, bytes, int]]:
        """(shard, compressed request, samples in it), shard by shard interleaved in time.

        An instance always goes to the same shard, so that a sender with several connections keeps
        every series in order; each request is filled up before it goes, as real senders do.
        """
        order = np.argsort(self.offsets_ms, kind="stable")
        scrapes = {int(i): scrape_bytes(self, int(i)) for i in order}
        scrapes_per_request = max(1, self.samples_per_request // SERIES_PER_INSTANCE)
        waiting: list[list[memoryview]] = [[] for _ in range(shards)]
        for tick in range(self.ticks):
            for i in order:
                shard = int(i) % shards
                waiting[shard].append(scrapes[int(i)][tick].data)
                if len(waiting[shard]) == scrapes_per_request:
                    yield _request(shard, waiting[shard])
        for shard, rest in enumerate(waiting):
            if rest:
                yield _request(shard, rest)


def starting_now(workload: Workload) -> int:
    """A start such that *workload* ends a few seconds ago, on a whole minute."""
    return (int(time.time()) - workload.span_s - 5) // 60 * 60_000


def labels_of(instance: int) -> list[dict[str, str]]:
    """The label sets of an instance's 100 series, in the order of a scrape."""
    common = {
        "instance": f"i-{instance}",
        "job": f"job-{instance % 5}",
        "cluster": f"cluster-{instance % 4}",
    }
    series = [
        {"__name__": "http_requests_total", "path": path, "status": status}
        for path in PATHS
        for status in STATUSES
    ]
    series += [
        {"__name__": "http_request_duration_seconds_bucket", "le": le}
        for le in [*(f"{bound:.4g}" for bound in BUCKETS), "+Inf"]
    ]
    series += [{"__name__": "node_cpu_usage", "cpu": f"{n}"} for n in range(10)]
    series += [{"__name__": "memory_used_bytes", "area": f"area-{n}"} for n in range(10)]
    series += [{"__name__": "temperature_celsius", "sensor": f"{n}"} for n in range(5)]
    series += [{"__name__": "machine_limit", "limit": f"{n}"} for n in range(5)]
    return [common | labels for labels in series]


def values_of(workload: Workload, instance: int) -> Floats:
    """The values of an instance, float64[ticks, 100]."""
    draw = np.random.default_rng([workload.seed, 3, instance])
    ticks, step_s = workload.ticks, workload.step_s
    seconds = np.arange(ticks) * float(step_s)
    day = np.sin(2 * np.pi * seconds / DAY_S + draw.uniform(0, 2 * np.pi))
    load = (1 + 0.4 * day) * step_s

    rates = draw.lognormal(3.0, 1.2, len(PATHS))
    events = draw.poisson(load[:, None, None] * rates[:, None] * STATUS_SHARE)
    requests = events.reshape(ticks, -1)

    counts = requests.sum(axis=1)
    cdf = [0.5 * (1 + math.erf((math.log(b) + 3.2) / (0.9 * math.sqrt(2)))) for b in BUCKETS]
    shares = np.diff([0.0, *cdf, 1.0])
    observed = draw.multinomial(counts, shares).cumsum(axis=1)

    counters = np.concatenate([requests, observed], axis=1).cumsum(axis=0)
    if draw.random() < 0.2:
        at = int(draw.integers(ticks // 4, max(ticks // 4 + 1, 3 * ticks // 4)))
        counters[at:] -= counters[at]
    cpu = np.clip(50 + 30 * day[:, None] + draw.normal(0, 8, (ticks, 10)), 0, 100)
    pages = draw.integers(100_000, 900_000, 10) + draw.integers(-64, 65, (ticks, 10)).cumsum(axis=0)
    degrees = 45 + draw.normal(0, 0.15, (ticks, 5)).cumsum(axis=0)
    limits = np.broadcast_to(draw.integers(1, 1000, 5).astype(float), (ticks, 5))
    columns = [counters, cpu, pages * PAGE_BYTES, degrees.round(2), limits]
    return np.concatenate(columns, axis=1).astype(np.float64)


def scrape_bytes(workload: Workload, instance: int) -> Octets:
    """The timeseries fields of every scrape of *instance*, uint8[ticks, size of a scrape]."""
    sample = field(2, b"\x09" + bytes(8) + b"\x10" + varint(workload.start_ms))
    if len(sample) != SAMPLE_BYTES or workload.end_ms >= 1 << 42:
        raise ValueError(f"start_ms {workload.start_ms}: a time must take six bytes")
    template = bytearray()
    ends = []
    for labels in labels_of(instance):
        template += field(1, encode_labels(labels) + sample)
        ends.append(len(template))
    starts = np.array(ends) - SAMPLE_BYTES
    scrapes = np.tile(np.frombuffer(bytes(template), dtype=np.uint8), (workload.ticks, 1))
    times = varint_columns(workload.times_ms(instance))
    values = values_of(workload, instance).astype("<f8").view(np.uint8).reshape(-1, len(starts), 8)
    scrapes[:, starts[:, None] + VALUE_AT + np.arange(8)] = values
    scrapes[:, starts[:, None] + TIME_AT + np.arange(TIME_BYTES)] = times[:, None, :]
    return scrapes


def varint_columns(times_ms: Ints) -> Octets:
    """Varints of six bytes, uint8[N, 6]; for numbers from 2**35 to 2**42."""
    shifts = 7 * np.arange(TIME_BYTES)
    octets = (times_ms[:, None] >> shifts & 0x7F).astype(np.uint8)
    octets[:, :-1] |= 0x80
    return octets


def _request(shard: int, scrapes: list[memoryview]) -> tuple[int, bytes, int]:
    body = bytes(cramjam.snappy.compress_raw(b"".join(scrapes)))
    samples = len(scrapes) * SERIES_PER_INSTANCE
    scrapes.clear()
    return shard, body, samples

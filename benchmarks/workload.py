"""The seeded workload: a fleet of instances scraped for hours, as remote-write bodies.

100 series an instance: 50 counters ``http_requests_total{path, status}``, 20 cumulative buckets
``http_request_duration_seconds_bucket{le}``, 10 gauges ``node_cpu_usage{cpu}`` of full-precision
noise, 10 ``memory_used_bytes{area}`` (whole pages), 5 ``temperature_celsius{sensor}`` (two
decimals) and 5 constants ``machine_limit{limit}``. Instance i is ``i-<i>`` of ``job-<i mod 5>`` in
``cluster-<i mod 4>``; about a fifth of the instances restart once, counters falling to 0. With
*churn*, that share of the instances is replaced once by one named ``i-<i>-next``, whose counters
begin at 0. An instance is scraped at its own offset, with jitter, one time for all its samples.

Offsets keep 10 ms away from whole tenths of a second. Queries at whole tenths therefore never see
a sample exactly on the edge of a window, where closed and left-open windows would differ.

A request holds whole scrapes in the order of their times, or a part of one where it may hold fewer
samples than a scrape has. Since all samples of the workload have the same encoded size, a scrape is
a template of bytes in which only times and values change.
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

CLASSES = {
    "counters": 50,
    "buckets": 20,
    "noise": 10,
    "pages": 10,
    "decimals": 5,
    "constants": 5,
}
"""What values an instance has, and in how many series, in the order of a scrape."""
SERIES_PER_INSTANCE = sum(CLASSES.values())
PATHS = [f"/api/v1/path-{number}" for number in range(10)]
STATUSES = ["200", "301", "404", "429", "500"]
STATUS_SHARE = np.array([0.93, 0.03, 0.025, 0.01, 0.005])
BUCKETS = np.geomspace(0.001, 10, 19)
RESTARTING = 0.2
"""The share of the instances that restart once."""
DAY_S = 86_400.0
PAGE_BYTES = 4096
VALUE_AT, TIME_AT, SAMPLE_BYTES = 3, 12, 18
"""Where a sample field's value and time begin, and its size: 12 len 09 value 10 time."""
TIME_BYTES = 6
CHUNK_TICKS = 60
"""Scrapes whose bytes are held at a time while requests are made."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Workload:
    """What is generated; the same parameters give the same bytes.

    *jitter_ms* is at most 40, *churn* a share of the instances, *classes* names of CLASSES.
    """

    instances: int = 100
    span_s: int = 6 * 3600
    step_s: int = 15
    samples_per_request: int = 10_000
    seed: int = 1
    start_ms: int = 0
    jitter_ms: int = 5
    churn: float = 0.0
    classes: tuple[str, ...] = tuple(CLASSES)

    @cached_property
    def columns(self) -> Ints:
        """Which of an instance's 100 series are sent, int64[series of an instance]."""
        names = np.repeat(list(CLASSES), list(CLASSES.values()))
        return np.flatnonzero(np.isin(names, self.classes))

    @property
    def series(self) -> int:
        lives = self.instances + sum(self.replaced_at(i) is not None for i in range(self.instances))
        return lives * len(self.columns)

    @property
    def ticks(self) -> int:
        return self.span_s // self.step_s

    @property
    def samples(self) -> int:
        return self.instances * len(self.columns) * self.ticks

    @property
    def end_ms(self) -> int:
        """The first instant after the last scrape."""
        return self.start_ms + self.span_s * 1000

    @cached_property
    def offsets_ms(self) -> Ints:
        """When in a step an instance is scraped, int64[instances]."""
        draw = np.random.default_rng([self.seed, 1])
        tenths = draw.integers(0, self.step_s * 10, self.instances, dtype=np.int64)
        away_ms = 10 + self.jitter_ms
        return tenths * 100 + draw.integers(away_ms, 101 - away_ms, self.instances, dtype=np.int64)

    def times_ms(self, instance: int) -> Ints:
        """The scrape times of *instance*, int64[ticks]."""
        draw = np.random.default_rng([self.seed, 2, instance])
        first_ms = self.start_ms + int(self.offsets_ms[instance])
        steps = np.arange(self.ticks, dtype=np.int64) * (self.step_s * 1000)
        jitter_ms = self.jitter_ms
        return first_ms + steps + draw.integers(-jitter_ms, jitter_ms + 1, self.ticks, np.int64)

    def replaced_at(self, instance: int) -> int | None:
        """The tick at which *instance* gives way to its successor, if it does."""
        draw = np.random.default_rng([self.seed, 4, instance])
        if draw.random() >= self.churn:
            return None
        return _in_the_middle(draw, self.ticks)

    def bodies(self, shards: int = 1) -> Iterator[tuple[int, bytes, int]]:
        """(shard, compressed request, samples in it), shard by shard interleaved in time.

        An instance always goes to the same shard, so that a sender with several connections keeps
        every series in order; each request is filled up before it goes, as real senders do.
        """
        order = [int(i) for i in np.argsort(self.offsets_ms, kind="stable")]
        fleet = {i: (self.times_ms(i), values_of(self, i)) for i in order}
        most = min(self.samples_per_request, len(self.columns))
        waiting = [_Waiting() for _ in range(shards)]
        for first in range(0, self.ticks, CHUNK_TICKS):
            part = slice(first, min(first + CHUNK_TICKS, self.ticks))
            scrapes = {i: _pieces(self, i, part, *fleet[i]) for i in order}
            for tick in range(part.stop - first):
                for i in order:
                    shard = i % shards
                    for piece, samples in scrapes[i][tick]:
                        waiting[shard].add(piece, samples)
                        if waiting[shard].samples + most > self.samples_per_request:
                            yield shard, *waiting[shard].request()
        for shard, rest in enumerate(waiting):
            if rest.samples:
                yield shard, *rest.request()


def starting_now(workload: Workload) -> int:
    """A start such that *workload* ends a few seconds ago, on a whole minute."""
    return (int(time.time()) - workload.span_s - 5) // 60 * 60_000


def labels_of(instance: int, successor: bool = False) -> list[dict[str, str]]:
    """The label sets of an instance's 100 series, or of its successor's, as a scrape has them."""
    common = {
        "instance": f"i-{instance}-next" if successor else f"i-{instance}",
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
    """The values of an instance and its successor, float64[ticks, 100]."""
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
    restarts = [_in_the_middle(draw, ticks)] if draw.random() < RESTARTING else []
    if (replaced := workload.replaced_at(instance)) is not None:
        restarts.append(replaced)
    for at in sorted(restarts):
        counters[at:] -= counters[at]
    cpu = np.clip(50 + 30 * day[:, None] + draw.normal(0, 8, (ticks, 10)), 0, 100)
    pages = draw.integers(100_000, 900_000, 10) + draw.integers(-64, 65, (ticks, 10)).cumsum(axis=0)
    degrees = 45 + draw.normal(0, 0.15, (ticks, 5)).cumsum(axis=0)
    limits = np.broadcast_to(draw.integers(1, 1000, 5).astype(float), (ticks, 5))
    columns = [counters, cpu, pages * PAGE_BYTES, degrees.round(2), limits]
    return np.concatenate(columns, axis=1).astype(np.float64)


def scrape_bytes(workload: Workload, instance: int) -> Octets:
    """The timeseries fields of every scrape of *instance*, uint8[ticks, size of a scrape].

    A successor has its own names: see ``bodies``.
    """
    times, values = workload.times_ms(instance), values_of(workload, instance)
    return _Template(workload, labels_of(instance)).filled(times, values)


class _Template:
    """The bytes of a scrape with room for times and values; *ends* of its series."""

    def __init__(self, workload: Workload, label_sets: list[dict[str, str]]) -> None:
        sample = field(2, b"\x09" + bytes(8) + b"\x10" + varint(workload.start_ms))
        if len(sample) != SAMPLE_BYTES or workload.end_ms >= 1 << 42:
            raise ValueError(f"start_ms {workload.start_ms}: a time must take six bytes")
        self._columns = workload.columns
        series = [field(1, encode_labels(label_sets[c]) + sample) for c in self._columns]
        self._bytes = np.frombuffer(b"".join(series), dtype=np.uint8)
        self.ends = np.cumsum([len(one) for one in series])

    def filled(self, times_ms: Ints, values: Floats) -> Octets:
        """One row a scrape: *times_ms* int64[N], *values* float64[N, 100]."""
        starts = self.ends - SAMPLE_BYTES
        scrapes = np.tile(self._bytes, (len(times_ms), 1))
        chosen = np.ascontiguousarray(values[:, self._columns], dtype="<f8")
        octets = chosen.view(np.uint8).reshape(-1, len(starts), 8)
        scrapes[:, starts[:, None] + VALUE_AT + np.arange(8)] = octets
        times = varint_columns(times_ms)[:, None, :]
        scrapes[:, starts[:, None] + TIME_AT + np.arange(TIME_BYTES)] = times
        return scrapes


Piece = tuple[memoryview, int]
"""Bytes of a scrape, or of a part of it, and the samples in them."""


def _pieces(
    workload: Workload, instance: int, part: slice, times_ms: Ints, values: Floats
) -> list[list[Piece]]:
    """For every tick of *part* the pieces of the scrape, none larger than a request."""
    replaced = workload.replaced_at(instance)
    turn = part.stop if replaced is None else min(max(replaced, part.start), part.stop)
    found: list[list[Piece]] = []
    for successor, ticks in ((False, slice(part.start, turn)), (True, slice(turn, part.stop))):
        if ticks.start == ticks.stop:
            continue
        template = _Template(workload, labels_of(instance, successor))
        scrapes = template.filled(times_ms[ticks], values[ticks])
        cuts = list(range(0, len(template.ends), workload.samples_per_request))
        bounds = [0, *(int(template.ends[cut - 1]) for cut in cuts[1:]), scrapes.shape[1]]
        sizes = np.diff([*cuts, len(template.ends)]).tolist()
        found += [
            [(row[a:b].data, n) for a, b, n in zip(bounds, bounds[1:], sizes, strict=False)]
            for row in scrapes
        ]
    return found


def varint_columns(times_ms: Ints) -> Octets:
    """Varints of six bytes, uint8[N, 6]; for numbers from 2**35 to 2**42."""
    shifts = 7 * np.arange(TIME_BYTES)
    octets = (times_ms[:, None] >> shifts & 0x7F).astype(np.uint8)
    octets[:, :-1] |= 0x80
    return octets


class _Waiting:
    """What the next request of a shard will hold."""

    def __init__(self) -> None:
        self.samples = 0
        self._pieces: list[memoryview] = []

    def add(self, piece: memoryview, samples: int) -> None:
        self._pieces.append(piece)
        self.samples += samples

    def request(self) -> tuple[bytes, int]:
        """The compressed request and its samples; nothing waits any more."""
        body = bytes(cramjam.snappy.compress_raw(b"".join(self._pieces)))
        samples = self.samples
        self._pieces.clear()
        self.samples = 0
        return body, samples


def _in_the_middle(draw: np.random.Generator, ticks: int) -> int:
    """A tick of the second or third quarter."""
    return int(draw.integers(ticks // 4, max(ticks // 4 + 1, 3 * ticks // 4)))

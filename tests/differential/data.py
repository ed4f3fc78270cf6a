"""Seeded samples for both sides: gauges, counters and histograms of a few jobs and instances.

Among them are stale markers, gaps, counter resets, NaN and infinities, and labels of many shapes.

Counters start high and never fall below a quarter of what they were, so that no extrapolation
reaches zero: there the versions differ on purpose. Values of gauges are multiples of 1/64, so that
sums of them are exact in any order, and hardly ever equal, for topk decides ties in another way.
"""

from dataclasses import dataclass
from random import Random

from series.batch import STALE_NAN
from series.histogram import OFFSET, Histogram
from series.labels import METRIC_NAME, Labels

Samples = list[tuple[int, float]] | list[tuple[int, Histogram]]
Rows = dict[Labels, Samples]

TICK_MS = 15_000
SAMPLES = 120
SPAN_MS = TICK_MS * SAMPLES
ROUND_MS = 4 * SPAN_MS
"""How far apart the data of two rounds lie, so that no question reaches into another's."""
EPOCH_MS = 1_700_000_100_000
BOUNDS = ("0.1", "0.5", "1", "2.5", "+Inf")
SHAPES: tuple[dict[str, str], ...] = (
    {},
    {"job": ""},
    {"zone": "é \n\\\"'`"},
    {"job": "a", "path": "/" + "x" * 200},
    {f"l{n:02}": str(n) for n in range(25)},
    {"Job": "a", "_": "\U0001f600", "job_": "\t"},
)
"""Labels besides the name: none, an empty one, odd characters, a long one, many, near misses."""


@dataclass(frozen=True)
class Data:
    """One round's samples from ``start_ms`` on.

    ``phased``: no sample lies on a whole or half second, so none on the edge of a window whose
    end does. ``sealed``: our side holds them in blocks.
    """

    start_ms: int
    phased: bool
    rows: Rows
    sealed: bool = False

    @property
    def end_ms(self) -> int:
        return self.start_ms + SPAN_MS


def make_data(random: Random, number: int) -> Data:
    """The data of round *number*; series in ascending order of labels."""
    start_ms = EPOCH_MS + number * ROUND_MS
    phased = random.random() < 0.6
    rows: Rows = {}
    for job in ("a", "b"):
        for instance in ("1", "2", "3"):
            target = {"job": job, "instance": instance}
            times = _times(random, start_ms, phased)
            rows |= _target(random, target, times)
    rows[Labels.of({METRIC_NAME: "lone"})] = _gauge(random, _times(random, start_ms, phased))
    for shape in SHAPES:
        times = _times(random, start_ms, phased)
        rows[Labels.of({METRIC_NAME: "rule:shapes:sum", **shape})] = _gauge(random, times)
    return Data(start_ms, phased, dict(sorted(rows.items())), random.random() < 0.5)


def _target(random: Random, target: dict[str, str], times: list[int]) -> Rows:
    """What one target exposes; some targets lack some metrics."""
    rows: Rows = {}

    def add(name: str, samples: Samples, **labels: str) -> None:
        if samples:
            rows[Labels.of({METRIC_NAME: name, **target, **labels})] = samples

    for mode in ("idle", "user"):
        add("g", _gauge(random, times), mode=mode)
        add("c_total", _counter(random, times), mode=mode)
    add("h", _gauge(random, times))
    if random.random() < 0.7:
        add("odd", _odd(random, times))
    add("build", [(t, 1.0) for t in times], version=random.choice(("v1", "v2")), mode="")
    if random.random() < 0.8:
        for bound, samples in zip(BOUNDS, _buckets(random, times), strict=True):
            add("lat_bucket", samples, le=bound)
    if random.random() < 0.5:
        for bound in random.sample(BOUNDS, random.randint(1, 5)):
            add("rough_bucket", [(t, float(random.randint(0, 5))) for t in times], le=bound)
    add("native", _native(random, times))
    return rows


def _times(random: Random, start_ms: int, phased: bool) -> list[int]:
    """The scrapes of one target, with gaps."""
    phase_ms = random.choice((217, 3_400, 7_750, 12_999)) if phased else random.choice((0, 5_000))
    gaps = random.choice((0.0, 0.05, 0.5))
    times = [start_ms + phase_ms + n * TICK_MS for n in range(SAMPLES)]
    if random.random() < 0.3:  # a long silence
        begin = random.randrange(SAMPLES - 40)
        del times[begin : begin + random.randint(15, 40)]
    return [t for t in times if random.random() >= gaps]


def _gauge(random: Random, times: list[int]) -> list[tuple[int, float]]:
    stale = random.random() < 0.3
    return [
        (t, STALE_NAN if stale and random.random() < 0.04 else random.randint(-64_000, 64_000) / 64)
        for t in times
    ]


def _odd(random: Random, times: list[int]) -> list[tuple[int, float]]:
    values = (0.0, float("nan"), float("inf"), float("-inf"), 1.0, 2.5, -3.0)
    return [(t, random.choice(values)) for t in times]


def _counter(random: Random, times: list[int]) -> list[tuple[int, float]]:
    value = 5_000.0
    stale = random.random() < 0.2
    samples = []
    for time in times:
        value += random.randint(0, 20)
        if value > 3_000 and random.random() < 0.03:
            value = float(int(value * random.uniform(0.25, 0.4)))
        gone = stale and random.random() < 0.04
        samples.append((time, STALE_NAN if gone else value))
    return samples


def _native(random: Random, times: list[int]) -> list[tuple[int, Histogram]]:
    """A growing histogram of schema 0: a zero bucket, one of either sign and two gaps' worth more.

    Whole numbers of observations, so that it may travel as an integer histogram.
    """
    indexes = (-2, 0, 1, 4)
    counts = [1_000.0] * len(indexes)
    negative, zero, total = 500.0, 300.0, 9_000.0
    samples = []
    for time in times:
        if random.random() < 0.02:
            counts = [float(int(count * 0.5)) for count in counts]
        counts = [count + random.randint(0, 9) for count in counts]
        zero += random.randint(0, 3)
        total += random.randint(0, 64) / 64
        buckets = [(-(OFFSET + 1), negative)]
        buckets += [(OFFSET + n, count) for n, count in zip(indexes, counts, strict=True)]
        count = negative + zero + sum(counts)
        samples.append((time, Histogram(0, count, total, 0.125, zero, tuple(buckets))))
    return samples


def _buckets(random: Random, times: list[int]) -> list[list[tuple[int, float]]]:
    counts = [1_000.0 * (n + 1) for n in range(len(BOUNDS))]
    rows: list[list[tuple[int, float]]] = [[] for _ in BOUNDS]
    for time in times:
        increase = 0
        for at in range(len(BOUNDS)):
            increase += random.randint(0, 4)
            counts[at] += increase
            rows[at].append((time, counts[at]))
    return rows

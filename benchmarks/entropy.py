"""The entropy of the workload's values, class by class: what no lossless store can go below.

It is that of what ``benchmarks/workload.py`` draws, given its parameters: the increments of
counters (Poisson) and of each bucket (Poisson again, taken by itself), the steps of memory
(uniform) and temperatures (normal, in hundredths), the doubles of the noise (normal and clipped,
each double as likely as its distance to the next one allows). A store does not know the
parameters and must learn them from few samples; on the other hand buckets of one histogram tell
much of each other, since the observations they count are the same.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from benchmarks.workload import (
    BUCKETS,
    DAY_S,
    PATHS,
    SERIES_PER_INSTANCE,
    STATUS_SHARE,
    STATUSES,
    Workload,
)

SLOW, FAST = "slow counters", "fast counters"
Floats = npt.NDArray[np.float64]

_EVERY = 40
"""Rates change slowly: one tick of so many is looked at."""
_LARGE = 200.0
_STEPS = 129
_JITTERS = 11
_DEGREE_SD, _NOISE_SD, _NOISE_MEAN, _NOISE_SWING = 15.0, 8.0, 50.0, 30.0


def bytes_per_sample(workload: Workload) -> dict[str, float]:
    """The entropy of each class (see ``class_of``), in bytes; ``times``: of the scrapes' times."""
    slow, fast, buckets, noise = [], [], [], []
    for instance in range(workload.instances):
        draw = np.random.default_rng([workload.seed, 3, instance])
        seconds = np.arange(0, workload.ticks, _EVERY) * float(workload.step_s)
        day = np.sin(2 * np.pi * seconds / DAY_S + draw.uniform(0, 2 * np.pi))
        load = (1 + 0.4 * day) * workload.step_s
        rates = draw.lognormal(3.0, 1.2, len(PATHS))
        events = load[:, None, None] * rates[:, None] * STATUS_SHARE
        slow.append(_poisson(events[:, :, 1:]))
        fast.append(_poisson(events[:, :, :1]))
        below = [0.5 * (1 + math.erf((math.log(b) + 3.2) / (0.9 * math.sqrt(2)))) for b in BUCKETS]
        buckets.append(_poisson(load[:, None] * rates.sum() * np.array([*below, 1.0])))
        noise.append(_clipped_doubles(_NOISE_MEAN + _NOISE_SWING * day))
    bits = {
        SLOW: float(np.mean(slow)),
        FAST: float(np.mean(fast)),
        "http_request_duration_seconds_bucket": float(np.mean(buckets)),
        "node_cpu_usage": float(np.mean(noise)),
        "memory_used_bytes": math.log2(_STEPS),
        "temperature_celsius": math.log2(_DEGREE_SD * math.sqrt(2 * math.pi * math.e)),
        "machine_limit": 0.0,
        "times": math.log2(_JITTERS) / SERIES_PER_INSTANCE,
    }
    return {name: number / 8 for name, number in bits.items()}


def class_of(labels: Mapping[str, str]) -> str:
    """The class of a series: its metric, but of request counters whether they are fast."""
    if labels["__name__"] != "http_requests_total":
        return labels["__name__"]
    return FAST if labels["status"] == STATUSES[0] else SLOW


def _poisson(means: Floats) -> float:
    """The mean entropy of Poisson variables, in bits."""
    rounded = np.round(np.log(np.maximum(means, 1e-9)) * 100) / 100
    found, counts = np.unique(rounded, return_counts=True)
    return float(np.average([poisson_bits(math.exp(log)) for log in found], weights=counts))


def poisson_bits(mean: float) -> float:
    """The entropy of a Poisson variable, in bits; of large ones that of a normal one."""
    if mean > _LARGE:
        return 0.5 * math.log2(2 * math.pi * math.e * mean)
    bits = 0.0
    for k in range(int(mean + 12 * math.sqrt(mean) + 12)):
        log = k * math.log(mean) - mean - math.lgamma(k + 1)
        bits -= math.exp(log) * log / math.log(2)
    return bits


def _clipped_doubles(means: Floats) -> float:
    """The mean entropy of doubles that are normal around *means* and clipped to 0..100."""
    edges = np.linspace(1e-6, 100.0, 4001)
    middle = (edges[1:] + edges[:-1]) / 2
    spacing = np.spacing(middle)
    bits = []
    for mean in means:
        density = np.exp(-(((middle - mean) / _NOISE_SD) ** 2) / 2)
        density /= _NOISE_SD * math.sqrt(2 * math.pi)
        inside = -np.sum(density * np.diff(edges) * np.log2(np.maximum(density * spacing, 1e-300)))
        ends = [(100 - mean) / _NOISE_SD, mean / _NOISE_SD]
        clipped = [0.5 * math.erfc(end / math.sqrt(2)) for end in ends]
        bits.append(inside - sum(p * math.log2(p) for p in clipped if p > 0))
    return float(np.mean(bits))

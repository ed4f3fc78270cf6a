"""Heads for tests, without a database around them."""

import numpy as np

from series.batch import build_batch
from tests.tsdb.databases import labels_of
from tsdb.head.arena import Arena
from tsdb.head.head import Head
from tsdb.head.registry import Registry
from tsdb.sample.samples import Samples

SERIES = 6


def new_head(arena: Arena, series: int = SERIES) -> Head:
    head = Head(arena, Registry(b"seed"))
    batch = build_batch((labels_of(n), [0], [0.0]) for n in range(series))
    ids, fingerprints = head.registry.look_up(batch)
    head.register(batch, ids, fingerprints)
    return head


def append_to(head: Head, samples: list[tuple[int, int, float]]) -> list[int]:
    head.reserve(len(samples))
    columns = Samples(
        np.array([s for s, _, _ in samples], dtype=np.int32),
        np.array([time_ms for _, time_ms, _ in samples], dtype=np.int64),
        np.array([value for _, _, value in samples], dtype=np.float64).view(np.uint64),
    )
    return [int(outcome) for outcome in head.append(columns)]

"""Metric limit: how many series of one metric the head may hold.

Metrics are told apart by a 64-bit hash of their names under a secret seed. How many series each
has is counted when series have come or gone, so samples of known series cost nothing.
"""

import os

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.arrays import grown
from tsdb.head.head import Head
from tsdb.head.registry import Registry, Rows
from tsdb.metric_kernels import hash_metric_names

Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]

SHOWN_REFUSALS = 10
_CUT = 200
"""So many characters of a metric name are shown."""


class MetricLimit:
    """A limit of *maximum* series a metric; for one head and the thread that changes it."""

    def __init__(self, maximum: int, detail: str) -> None:
        """*detail* is what a sender is told, with ``{metric}`` and ``{count}`` to fill in."""
        self.maximum = maximum
        self._detail = detail
        self._seed = np.uint64(int.from_bytes(os.urandom(8), "little"))
        self._registry: Registry | None = None
        self._hashes: Hashes = np.zeros(16, dtype=np.uint64)
        self._size = 0
        self._counts: dict[int, int] = {}

    def surplus(
        self, batch: SeriesBatch, rows: Rows, fingerprints: NDArray[np.uint64], head: Head
    ) -> tuple[Mask, dict[int, str]]:
        """Which of *rows* (int64[n]), series of *batch* that *head* does not know, find no room.

        ``fingerprints`` uint64[n, 2] are theirs. With the mask (bool[n]) come the sentences for
        the senders of the first that do not, by row.
        """
        self._catch_up(head.registry)
        hashes, spans = self._hashed(batch.keys, batch.key_starts[rows], batch.key_ends[rows])
        distinct, metrics, new = np.unique(hashes, return_inverse=True, return_counts=True)
        live = np.array([self._counts.get(one, 0) for one in distinct.tolist()], dtype=np.int64)
        surplus = np.zeros(len(rows), dtype=np.bool_)
        full = np.flatnonzero(live + new > self.maximum).tolist()
        if not full:
            return surplus, {}
        empty = _counted(self._hashes[: self._size][head.empty_series()])
        order = np.argsort(metrics, kind="stable")
        ends = np.cumsum(new)
        for metric in full:
            live[metric] -= empty.get(int(distinct[metric]), 0)
            own = order[ends[metric] - new[metric] : ends[metric]]
            room = max(0, self.maximum - int(live[metric]))
            surplus[own[beyond_room(fingerprints[own], room)]] = True
        details = {}
        for at in np.flatnonzero(surplus)[:SHOWN_REFUSALS].tolist():
            name = batch.keys[spans[at, 0] : spans[at, 1]].tobytes().decode(errors="replace")
            count = max(int(live[metrics[at]]), self.maximum)
            details[int(rows[at])] = self._detail.format(metric=name[:_CUT], count=count)
        return surplus, details

    def _catch_up(self, registry: Registry) -> None:
        """Counts the series that *registry* has got since the last call."""
        if registry is not self._registry or registry.size < self._size:
            self._registry, self._size, self._counts = registry, 0, {}
        first, end = self._size, registry.size
        if first == end:
            return
        keys, key_ends = registry.keys(np.arange(first, end))
        starts = np.concatenate([np.zeros(1, dtype=np.int64), key_ends])[:-1]
        hashes, _ = self._hashed(keys, starts, key_ends)
        self._hashes = grown(self._hashes, end)
        self._hashes[first:end] = hashes
        self._size = end
        for one, count in _counted(hashes).items():
            self._counts[one] = self._counts.get(one, 0) + count

    def _hashed(self, keys: NDArray[np.uint8], starts: Rows, ends: Rows) -> tuple[Hashes, Rows]:
        hashes = np.empty(len(starts), dtype=np.uint64)
        spans = np.empty((len(starts), 2), dtype=np.int64)
        hash_metric_names(keys, starts, ends, self._seed, hashes, spans)
        return hashes, spans


def beyond_room(fingerprints: NDArray[np.uint64], room: int) -> Mask:
    """bool[n]: the rows beyond the first *room* distinct *fingerprints* (uint64[n, 2])."""
    if room == 0:
        return np.ones(len(fingerprints), dtype=np.bool_)
    _, first, ids = np.unique(fingerprints[:, 0], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    surplus: Mask = rank[ids.reshape(-1)] >= room
    return surplus


def _counted(hashes: Hashes) -> dict[int, int]:
    distinct, counts = np.unique(hashes, return_counts=True)
    return dict(zip(distinct.tolist(), counts.tolist(), strict=True))

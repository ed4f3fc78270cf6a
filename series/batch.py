"""SeriesBatch: samples of many series as columns.

The one thing that moves between wire, storage and engine::

    keys     [ bytes of key 0 | key 1 | ...          ]   row r at [key_starts[r], key_ends[r])
    offsets  [ 0, 3, 7, ... N ]                          S + 1
    values   [ v00 v01 v02 | v10 v11 v12 v13 | ... ]     row r at [offsets[r], offsets[r + 1])
    times_ms [ t0 t1 t2 t3 ... ]                         row r at time_starts[r], as long as the row

Rows that were scraped together may point at the same stretch of ``times_ms``: a kernel that sees
an equal ``time_starts[r]`` and length may keep what it derived from the times of an earlier row.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from series.labels import Labels

STALE_NAN_BITS = 0x7FF0000000000002
"""The bit pattern of Prometheus' staleness marker."""
STALE_NAN = float(np.uint64(STALE_NAN_BITS).view(np.float64))

_NO_KEYS = np.zeros(0, dtype=np.uint8)
_NO_SPANS = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class SeriesBatch:
    """Columns of S series with N samples in all.

    - ``offsets``: int64[S + 1], where each row begins in ``values``.
    - ``values``: float64[N]; NaN payloads and the stale marker are kept bit for bit.
    - ``times_ms``: int64[M]; ``time_starts``: int64[S], where each row's times begin in it.
    - ``keys``: uint8[K]; ``key_starts``, ``key_ends``: int64[S]. Empty in the answers of a
      Selection, whose rows its frame already labels.

    *Invariants* (``check`` asserts them): offsets start at 0, never fall and end at N; every row's
    times lie within ``times_ms``; every key lies within ``keys``. Batches that are *read* have
    strictly rising times in each row; batches that are *appended* may come in any order and may
    name a series twice.
    """

    values: NDArray[np.float64]
    times_ms: NDArray[np.int64]
    offsets: NDArray[np.int64]
    time_starts: NDArray[np.int64]
    keys: NDArray[np.uint8] = field(default_factory=lambda: _NO_KEYS)
    key_starts: NDArray[np.int64] = field(default_factory=lambda: _NO_SPANS)
    key_ends: NDArray[np.int64] = field(default_factory=lambda: _NO_SPANS)

    @property
    def series_count(self) -> int:
        return len(self.offsets) - 1

    @property
    def sample_count(self) -> int:
        return len(self.values)

    def row_times_ms(self, row: int) -> NDArray[np.int64]:
        """int64[n]: the times of one row (a view)."""
        start = self.time_starts[row]
        return self.times_ms[start : start + self.offsets[row + 1] - self.offsets[row]]

    def row_values(self, row: int) -> NDArray[np.float64]:
        """float64[n]: the values of one row (a view)."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def key(self, row: int) -> bytes:
        """The canonical key of one row."""
        return self.keys[self.key_starts[row] : self.key_ends[row]].tobytes()

    def take(self, keep: NDArray[np.bool_]) -> "SeriesBatch":
        """The rows of *keep* (bool[S]) in their order; keys and times stay where they are."""
        lengths = np.diff(self.offsets)
        offsets = np.zeros(int(np.count_nonzero(keep)) + 1, dtype=np.int64)
        np.cumsum(lengths[keep], out=offsets[1:])
        return SeriesBatch(
            self.values[np.repeat(keep, lengths)],
            self.times_ms,
            offsets,
            self.time_starts[keep],
            self.keys,
            self.key_starts[keep] if len(self.key_starts) else self.key_starts,
            self.key_ends[keep] if len(self.key_ends) else self.key_ends,
        )

    def check(self, *, rising: bool = False) -> None:
        """Asserts the invariants; with *rising* also those of batches that are read."""
        rows = self.series_count
        lengths = np.diff(self.offsets)
        assert self.offsets[0] == 0 and self.offsets[-1] == len(self.values)
        assert (lengths >= 0).all()
        assert len(self.time_starts) == rows
        filled = lengths > 0
        assert (self.time_starts[filled] >= 0).all()
        assert ((self.time_starts + lengths)[filled] <= len(self.times_ms)).all()
        if len(self.key_starts):
            assert len(self.key_starts) == rows == len(self.key_ends)
            assert (self.key_starts <= self.key_ends).all()
            assert (self.key_starts >= 0).all() and (self.key_ends <= len(self.keys)).all()
        if rising:
            assert all((np.diff(self.row_times_ms(row)) > 0).all() for row in range(rows))


def build_batch(
    rows: Iterable[tuple[Labels, Sequence[int], Sequence[float]]],
) -> SeriesBatch:
    """A batch of (labels, times in ms, values) rows; for tests, imports and small writes."""
    keys, times, values = [], [], []
    for labels, row_times_ms, row_values in rows:
        keys.append(labels.key)
        times.append(np.asarray(row_times_ms, dtype=np.int64))
        values.append(np.asarray(row_values, dtype=np.float64))
        if len(times[-1]) != len(values[-1]):
            raise ValueError("a row needs as many times as values")
    offsets = np.zeros(len(keys) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in values], out=offsets[1:])
    key_ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
    return SeriesBatch(
        values=np.concatenate(values) if values else np.zeros(0),
        times_ms=np.concatenate(times) if times else np.zeros(0, dtype=np.int64),
        offsets=offsets,
        time_starts=offsets[:-1].copy(),
        keys=np.frombuffer(b"".join(keys), dtype=np.uint8),
        key_starts=key_ends - np.array([len(key) for key in keys], dtype=np.int64),
        key_ends=key_ends,
    )

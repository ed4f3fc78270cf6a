"""SeriesBatch: samples of many series as columns.

The one thing that moves between wire, storage and engine::

    keys     [ bytes of key 0 | key 1 | ...          ]   row r at [key_starts[r], key_ends[r])
    offsets  [ 0, 3, 7, ... N ]                          S + 1
    values   [ v00 v01 v02 | v10 v11 v12 v13 | ... ]     row r at [offsets[r], offsets[r + 1])
    times_ms [ t0 t1 t2 t3 ... ]                         row r at time_starts[r], as long as the row

Rows that were scraped together may point at the same stretch of ``times_ms``: a kernel that sees
an equal ``time_starts[r]`` and length may keep what it derived from the times of an earlier row.

Samples are floats, or histograms where ``histogram_ids`` says so; a row may hold both.
"""

from collections.abc import Iterable, Sequence
from dataclasses import field, replace

import numpy as np
from numpy.typing import NDArray

from series.exemplars import Exemplars
from series.histogram import Histogram, Histograms, build_histograms
from series.immutable import immutable
from series.known import KnownRows, KnownSamples
from series.labels import Labels

STALE_NAN_BITS = 0x7FF0000000000002
"""The bit pattern of Prometheus' staleness marker."""
STALE_NAN = float(np.uint64(STALE_NAN_BITS).view(np.float64))

_NO_KEYS = np.zeros(0, dtype=np.uint8)
_NO_SPANS = np.zeros(0, dtype=np.int64)


@immutable
class SeriesBatch:
    """Columns of S series with N samples in all.

    - ``offsets``: int64[S + 1], where each row begins in ``values``.
    - ``values``: float64[N]; NaN payloads and the stale marker are kept bit for bit.
    - ``times_ms``: int64[M]; ``time_starts``: int64[S], where each row's times begin in it.
    - ``keys``: uint8[K]; ``key_starts``, ``key_ends``: int64[S]. Empty in the answers of a
      Selection, whose rows its frame already labels.
    - ``histogram_ids``: int64[N], which of ``histograms`` a sample is, -1 for a float; None where
      all are floats. The value of a histogram sample means nothing. A stale marker is a float,
      also in a series of histograms.
    - ``starts_ms``: int64[N], since when a cumulative sample counts, 0 where unknown; None where
      all are.
    - ``exemplars``: of the batch's rows; only in batches that are appended.
    - ``known``: the rows whose keys the database is known to have, where that was looked at.

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
    histogram_ids: NDArray[np.int64] | None = None
    histograms: Histograms | None = None
    starts_ms: NDArray[np.int64] | None = None
    exemplars: Exemplars | None = None
    known: KnownRows | None = None

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
        samples = np.repeat(keep, lengths)
        return replace(
            self,
            values=self.values[samples],
            offsets=offsets,
            time_starts=self.time_starts[keep],
            key_starts=self.key_starts[keep] if len(self.key_starts) else self.key_starts,
            key_ends=self.key_ends[keep] if len(self.key_ends) else self.key_ends,
            histogram_ids=None if self.histogram_ids is None else self.histogram_ids[samples],
            starts_ms=None if self.starts_ms is None else self.starts_ms[samples],
            exemplars=None if self.exemplars is None else _kept(self.exemplars, keep),
            known=None if self.known is None else self.known.take(keep),
        )

    def of_kind(self, *, histograms: bool) -> "SeriesBatch":
        """All rows with only their float samples, or only their histograms.

        Each row then has times of its own.
        """
        if self.histogram_ids is None:
            chosen = np.full(self.sample_count, not histograms)
        else:
            chosen = (self.histogram_ids >= 0) == histograms
        if chosen.all():
            return self if histograms else replace(self, histogram_ids=None, histograms=None)
        lengths = np.diff(self.offsets)
        offsets = np.concatenate(([0], np.cumsum(chosen)))[self.offsets]
        at = np.arange(self.sample_count) + np.repeat(self.time_starts - self.offsets[:-1], lengths)
        return replace(
            self,
            values=self.values[chosen],
            times_ms=self.times_ms[at[chosen]],
            offsets=offsets,
            time_starts=offsets[:-1].copy(),
            histogram_ids=self.histogram_ids[chosen]
            if histograms and self.histogram_ids is not None
            else None,
            histograms=self.histograms if histograms else None,
            starts_ms=None if self.starts_ms is None else self.starts_ms[chosen],
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
        if self.histogram_ids is not None:
            assert self.histograms is not None and len(self.histogram_ids) == len(self.values)
            assert (self.histogram_ids >= -1).all()
            assert (self.histogram_ids < self.histograms.size).all()
            self.histograms.check()
        assert self.starts_ms is None or len(self.starts_ms) == len(self.values)
        assert self.known is None or len(self.known.ids) == rows
        if self.exemplars is not None:
            self.exemplars.check()
            assert (self.exemplars.rows >= 0).all() and (self.exemplars.rows < rows).all()
        if rising:
            assert all((np.diff(self.row_times_ms(row)) > 0).all() for row in range(rows))


def known_batch(samples: KnownSamples, begin: int, end: int) -> SeriesBatch:
    """The samples begin..end of *samples* as a batch, a row each."""
    ids = samples.ids[begin:end]
    known = samples.known
    offsets = np.arange(end - begin + 1)
    return SeriesBatch(
        values=samples.bits[begin:end].view(np.float64),
        times_ms=samples.times_ms[begin:end],
        offsets=offsets,
        time_starts=offsets[:-1],
        keys=known.keys,
        key_starts=known.key_starts[ids],
        key_ends=known.key_starts[ids + 1],
        known=KnownRows(known.numbering, ids, True),
    )


def _kept(exemplars: Exemplars, keep: NDArray[np.bool_]) -> Exemplars:
    """The exemplars of the rows of *keep*, by their new numbers."""
    chosen = np.flatnonzero(keep[exemplars.rows])
    keys = [exemplars.key(at) for at in chosen.tolist()]
    return Exemplars(
        (np.cumsum(keep) - 1)[exemplars.rows[chosen]],
        exemplars.times_ms[chosen],
        exemplars.values[chosen],
        np.frombuffer(b"".join(keys), dtype=np.uint8),
        np.cumsum([len(key) for key in keys], dtype=np.int64),
    )


def build_batch(
    rows: Iterable[tuple[Labels, Sequence[int], Sequence[float | Histogram]]],
) -> SeriesBatch:
    """A batch of (labels, times in ms, samples) rows; for tests, imports and small writes."""
    keys, times, values = [], [], []
    found: list[Histogram] = []
    ids: list[int] = []
    for labels, row_times_ms, samples in rows:
        keys.append(labels.key)
        times.append(np.asarray(row_times_ms, dtype=np.int64))
        if len(times[-1]) != len(samples):
            raise ValueError("a row needs as many times as values")
        floats = np.zeros(len(samples))
        for at, sample in enumerate(samples):
            if isinstance(sample, Histogram):
                ids.append(len(found))
                found.append(sample)
            else:
                ids.append(-1)
                floats[at] = sample
        values.append(floats)
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
        histogram_ids=np.array(ids, dtype=np.int64) if found else None,
        histograms=build_histograms(found) if found else None,
    )

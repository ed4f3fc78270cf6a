"""Registry: which series the head knows, and by which number.

A series is found by the 128-bit fingerprint of its key under a secret seed of its tenant; equal
fingerprints are taken for the same series. Numbers count from 0 and are rows of every other table
of the head. One thread adds; what is known about a row never changes.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.known import Known, Numbering
from tsdb.arrays import grown
from tsdb.head import registry_kernels as kernels

Ids = NDArray[np.int32]
Fingerprints = NDArray[np.uint64]
Rows = NDArray[np.int64]

NO_IDS = np.zeros(0, dtype=np.int32)


def fingerprints_of(
    seed: bytes, keys: NDArray[np.uint8], key_starts: Rows, key_ends: Rows
) -> Fingerprints:
    """uint64[n, 2]: the fingerprints of some keys under a tenant's *seed*."""
    words = np.frombuffer(hashlib.blake2b(seed, digest_size=32).digest(), dtype=np.uint64).copy()
    fingerprints = np.empty((len(key_starts), 2), dtype=np.uint64)
    kernels.fingerprint_keys(keys, key_starts, key_ends, words, fingerprints)
    return fingerprints


class Registry:
    """Keys and fingerprints of series 0..size-1."""

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        words = hashlib.blake2b(seed, digest_size=32).digest()
        self._seed_words = np.frombuffer(words, dtype=np.uint64).copy()
        self.size = 0
        self._fingerprints = np.zeros((16, 2), dtype=np.uint64)
        self._slots = np.zeros((32, 4), dtype=np.uint64)
        self._keys = np.zeros(1024, dtype=np.uint8)
        self._key_starts = np.zeros(17, dtype=np.int64)
        self.numbering = Numbering()
        self.known: Known
        """The series as of the last ``publish``."""
        self.publish()

    @property
    def fingerprints(self) -> Fingerprints:
        """uint64[size, 2]: a view that stays true."""
        return self._fingerprints[: self.size]

    @property
    def key_bytes(self) -> int:
        """The size of all keys."""
        return int(self._key_starts[self.size])

    @property
    def size_bytes(self) -> int:
        """The memory that it takes."""
        return self.key_bytes + (16 + 8) * self.size + self._slots.nbytes

    def publish(self) -> None:
        """Lets decoders know of all series that there are now; none of them is forgotten again."""
        self.known = Known(
            self.numbering, self.size, self._keys, self._key_starts, self._seed_words, self._slots
        )

    def ids_of(self, batch: SeriesBatch) -> Ids:
        """The ids (int32[S]) of the rows of *batch* where its decoder knew all of them, else none.

        Not to be changed.
        """
        known = batch.known
        if known is None or known.numbering is not self.numbering or not known.are_all:
            return NO_IDS
        return known.ids

    def look_up(self, batch: SeriesBatch) -> tuple[Ids, Fingerprints]:
        """The ids (int32[S], -1 for the unknown) and fingerprints of the rows of *batch*."""
        known = batch.known
        if known is not None and known.numbering is self.numbering:
            return self._look_up_rest(batch, known.ids)
        return self._look_up(batch.keys, batch.key_starts, batch.key_ends)

    def _look_up(
        self, keys: NDArray[np.uint8], starts: Rows, ends: Rows
    ) -> tuple[Ids, Fingerprints]:
        fingerprints = np.empty((len(starts), 2), dtype=np.uint64)
        kernels.fingerprint_keys(keys, starts, ends, self._seed_words, fingerprints)
        ids = np.empty(len(starts), dtype=np.int32)
        kernels.look_up(fingerprints, self._slots, ids)
        return ids, fingerprints

    def _look_up_rest(self, batch: SeriesBatch, known: Ids) -> tuple[Ids, Fingerprints]:
        """As ``look_up``, of rows whose ids are *known*, but for those that are -1."""
        ids = known.copy()
        fingerprints = self._fingerprints[ids]
        rest = np.flatnonzero(ids < 0)
        found = self._look_up(batch.keys, batch.key_starts[rest], batch.key_ends[rest])
        ids[rest], fingerprints[rest] = found
        return ids, fingerprints

    def add(self, batch: SeriesBatch, ids: Ids, fingerprints: Fingerprints) -> Rows:
        """Registers the rows of *batch* whose id is -1 and fills in their ids.

        Returns the rows (int64) that brought a new series, in the order of the new numbers.
        """
        unknown = int(np.count_nonzero(ids < 0))
        self._make_room(self.size + unknown)
        new_rows = np.empty(unknown, dtype=np.int64)
        count = kernels.enter(fingerprints, self._slots, ids, self.size, new_rows)
        new_rows = new_rows[:count]
        end = self.size + count
        self._fingerprints[self.size : end] = fingerprints[new_rows]
        self._append_keys(batch.keys, batch.key_starts[new_rows], batch.key_ends[new_rows])
        self.size = end
        return new_rows

    def forget_from(self, size: int) -> None:
        """Unregisters the series from number *size* on, which were not published."""
        self.size = size
        self._index(len(self._slots))

    def adopt(self, other: "Registry", rows: Rows) -> None:
        """Registers the series *rows* of *other*, which this one does not know, in their order."""
        end = self.size + len(rows)
        self._make_room(end)
        self._fingerprints[self.size : end] = other._fingerprints[rows]
        self._append_keys(other._keys, other._key_starts[rows], other._key_starts[rows + 1])
        self._enter(self.size, end)
        self.size = end
        self.publish()

    def keys(self, rows: Rows) -> tuple[NDArray[np.uint8], Rows]:
        """The keys of *rows* end to end, and where each ends (int64[n])."""
        starts, ends = self._key_starts[rows], self._key_starts[rows + 1]
        bounds = np.cumsum(ends - starts)
        keys = np.empty(int(bounds[-1]) if len(bounds) else 0, dtype=np.uint8)
        kernels.copy_spans(self._keys, starts, ends, keys, 0)
        return keys, bounds

    def key(self, row: int) -> bytes:
        return self._keys[self._key_starts[row] : self._key_starts[row + 1]].tobytes()

    def _append_keys(self, keys: NDArray[np.uint8], starts: Rows, ends: Rows) -> None:
        at = int(self._key_starts[self.size])
        bounds = at + np.cumsum(ends - starts)
        if len(bounds):
            self._keys = grown(self._keys, int(bounds[-1]))
        kernels.copy_spans(keys, starts, ends, self._keys, at)
        self._key_starts[self.size + 1 : self.size + 1 + len(bounds)] = bounds

    def _make_room(self, size: int) -> None:
        self._fingerprints = grown(self._fingerprints, size)
        self._key_starts = grown(self._key_starts, size + 1)
        slots = len(self._slots)
        while slots < 2 * size:
            slots *= 2
        if slots > len(self._slots):
            self._index(slots)

    def _index(self, slots: int) -> None:
        self._slots = np.zeros((slots, 4), dtype=np.uint64)
        self._enter(0, self.size)

    def _enter(self, first: int, end: int) -> None:
        ids = np.full(end - first, -1, dtype=np.int32)
        scratch = np.empty(end - first, dtype=np.int64)
        kernels.enter(self._fingerprints[first:end], self._slots, ids, first, scratch)

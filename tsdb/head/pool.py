"""Pool: the entries of a head, in the order of their arrival.

Entries are numbered from 0 and never change. They stand in *chunks*; a reader holds the chunks
that were there when it came, so that neither merging small ones nor dropping sealed ones disturbs
it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.histogram import gather
from tsdb.head.arena import Arena
from tsdb.sample.entries import Entries

_CHUNK_ENTRIES = 1 << 14
"""Chunks are merged up to this size."""


class Chunk(NamedTuple):
    """Entries with the numbers from ``first`` on; ``times`` int64[E] are those of their samples."""

    first: int
    entries: Entries
    times: NDArray[np.int64]
    size_bytes: int

    @classmethod
    def of(cls, first: int, entries: Entries, times: NDArray[np.int64]) -> "Chunk":
        return cls(first, entries, times, entries.size_bytes + times.nbytes)

    def left(self, before_ms: int, kept: NDArray[np.int64]) -> "Chunk | None":
        """Without entries before *before_ms*, but for those of the numbers *kept*, as far as it
        is worth a copy; None where nothing is left.
        """
        needed = self.times >= before_ms
        mine = kept[(kept >= self.first) & (kept < self.first + self.entries.size)]
        needed[mine - self.first] = True
        at = int(np.argmax(needed))
        if not needed[at]:
            return None
        if at <= self.entries.size // 2:
            return self
        rest = np.arange(at, self.entries.size)
        return Chunk.of(self.first + at, self.entries.take(rest), self.times[at:].copy())


Chunks = tuple[Chunk, ...]
"""In the order of their numbers, of which some may be missing between them."""


def take(chunks: Chunks, numbers: NDArray[np.int64]) -> Entries:
    """The entries *numbers* (int64[n], at least one), all of which stand in *chunks*."""
    firsts = np.array([chunk.first for chunk in chunks])
    owners = np.searchsorted(firsts, numbers, side="right") - 1
    order = np.argsort(owners, kind="stable")
    used, starts = np.unique(owners[order], return_index=True)
    values = np.empty(len(numbers))
    starts_ms, ids = np.empty((2, len(numbers)), dtype=np.int64)
    parts = [
        (chunks[owner], places)
        for owner, places in zip(used.tolist(), np.split(order, starts[1:]), strict=True)
    ]
    for chunk, places in parts:
        at = numbers[places] - chunk.first
        values[places] = chunk.entries.values[at]
        starts_ms[places] = chunk.entries.starts_ms[at]
        ids[places] = chunk.entries.histogram_ids[at]
    is_histogram = ids >= 0
    numbered = np.cumsum(is_histogram) - 1
    found = []
    for chunk, places in parts:
        places = places[is_histogram[places]]
        found.append((chunk.entries.histograms, ids[places], numbered[places]))
    histograms = gather(found, int(np.count_nonzero(is_histogram)))
    return Entries(values, starts_ms, np.where(is_histogram, numbered, -1), histograms)


class Pool:
    """See the module's head. One thread at a time changes a pool."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self.chunks: Chunks = ()
        self.next_number = 0
        """The number of the next entry."""
        self.size_bytes = 0

    def add(self, entries: Entries, times: NDArray[np.int64]) -> None:
        """Appends *entries*, whose samples have the *times* (int64[E])."""
        chunk = Chunk.of(self.next_number, entries, times)
        self.next_number += entries.size
        chunks = list(self.chunks)
        while chunks and _is_worth_merging(chunks[-1], chunk):
            before = chunks.pop()
            chunk = Chunk.of(
                before.first,
                Entries.concat([before.entries, chunk.entries]),
                np.concatenate([before.times, chunk.times]),
            )
        self._replace((*chunks, chunk))

    def drop(self, before_ms: int, kept: NDArray[np.int64]) -> None:
        """Lets go of the entries before *before_ms*, but for those of the numbers *kept*."""
        left = [chunk.left(before_ms, kept) for chunk in self.chunks]
        self._replace(tuple(chunk for chunk in left if chunk is not None))

    def clear(self) -> None:
        """Lets go of all."""
        self._replace(())

    def _replace(self, chunks: Chunks) -> None:
        size_bytes = sum(chunk.size_bytes for chunk in chunks)
        self._arena.count_pool_bytes(size_bytes - self.size_bytes)
        self.chunks, self.size_bytes = chunks, size_bytes


def _is_worth_merging(before: Chunk, chunk: Chunk) -> bool:
    """Whether the two are neighbours of about one size, and small: so an entry moves seldom."""
    size = chunk.entries.size
    return (
        before.first + before.entries.size == chunk.first
        and before.entries.size <= 2 * size
        and before.entries.size + size <= _CHUNK_ENTRIES
    )

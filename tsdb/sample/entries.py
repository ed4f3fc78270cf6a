"""Entries: the samples that need more than 64 bits.

Pages, log records and segments hold 64 bits a sample. Where that is not enough (a histogram, a
float with a known start time) a *ticket* stands in the sample's place: a bit pattern of a reserved
range of NaNs that gives the number of an *entry*, and the entry has the rest. A float whose own
bits lie in that range gets an entry, too, so every float comes back as it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.histogram import Histograms

FIRST_TICKET = 0x7FFF << 48
"""The ticket of entry 0. Of all bit patterns tickets are the largest as int64, so one look at the
maximum tells whether there are any."""
_FARTHEST_START_MS = 2**53

Bits = NDArray[np.uint64]
Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Entries:
    """E entries.

    - ``values``: float64[E], bit for bit; 0 for histograms. ``starts_ms``: int64[E], 0 unknown.
    - ``histogram_ids``: int64[E] into ``histograms``, -1 for floats.
    """

    values: NDArray[np.float64]
    starts_ms: Int64s
    histogram_ids: Int64s
    histograms: Histograms

    @classmethod
    def empty(cls) -> "Entries":
        """No entries."""
        none = np.zeros(0, dtype=np.int64)
        return cls(np.zeros(0), none, none, Histograms.empty())

    @classmethod
    def concat(cls, parts: Sequence["Entries"]) -> "Entries":
        """The entries of all *parts* (at least one), in order."""
        if len(parts) == 1:
            return parts[0]
        firsts = np.cumsum([0, *(part.histograms.size for part in parts[:-1])])
        ids = [
            np.where(part.histogram_ids >= 0, part.histogram_ids + first, -1)
            for part, first in zip(parts, firsts, strict=True)
        ]
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.starts_ms for part in parts]),
            np.concatenate(ids),
            Histograms.concat([part.histograms for part in parts]),
        )

    @property
    def size(self) -> int:
        return len(self.values)

    @property
    def size_bytes(self) -> int:
        return 24 * self.size + self.histograms.size_bytes

    @property
    def is_histogram(self) -> NDArray[np.bool_]:
        """bool[E]"""
        is_histogram: NDArray[np.bool_] = self.histogram_ids >= 0
        return is_histogram

    def take(self, ids: Int64s) -> "Entries":
        """The entries *ids* (int64[n]) with their histograms, in that order."""
        return self.ordered(ids)._packed()

    def ordered(self, ids: Int64s) -> "Entries":
        """The entries *ids* (int64[n]) in that order; all histograms stay where they are."""
        return Entries(
            self.values[ids], self.starts_ms[ids], self.histogram_ids[ids], self.histograms
        )

    def blanked(self, kept: NDArray[np.bool_]) -> "Entries":
        """With nothing in the place of the entries that are not *kept* (bool[E])."""
        if kept.all():
            return self
        return Entries(
            np.where(kept, self.values, 0.0),
            np.where(kept, self.starts_ms, 0),
            np.where(kept, self.histogram_ids, -1),
            self.histograms,
        )._packed()

    def same_as(self, other: "Entries") -> NDArray[np.bool_]:
        """bool[E]: whether entry k of both is the same, bit for bit.

        What is known of counter resets does not count, as in Prometheus.
        """
        same: NDArray[np.bool_] = (
            (self.values.view(np.uint64) == other.values.view(np.uint64))
            & (self.starts_ms == other.starts_ms)
            & (self.is_histogram == other.is_histogram)
        )
        at = np.flatnonzero(same & self.is_histogram)
        mine = self.histograms.take(self.histogram_ids[at])
        theirs = other.histograms.take(other.histogram_ids[at])
        same[at] = _same_histograms(mine, theirs)
        return same

    def _packed(self) -> "Entries":
        """With only the histograms that are used, in the order of their entries."""
        used = self.is_histogram
        chosen = self.histogram_ids[used]
        if len(chosen) == self.histograms.size and (np.diff(chosen) == 1).all():
            return self
        ids = np.full(self.size, -1, dtype=np.int64)
        ids[used] = np.arange(len(chosen))
        return Entries(self.values, self.starts_ms, ids, self.histograms.take(chosen))


def tickets(first: int, count: int) -> Bits:
    """The tickets of *count* entries from number *first* on."""
    return np.arange(FIRST_TICKET + first, FIRST_TICKET + first + count, dtype=np.uint64)


def ticket_places(bits: Bits) -> Int64s:
    """Where tickets stand in *bits*; costs next to nothing where there are none."""
    signed = bits.view(np.int64)
    if signed.max(initial=0) < FIRST_TICKET:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(signed >= FIRST_TICKET)


def entry_numbers(found: Bits) -> Int64s:
    """The numbers that the tickets *found* give."""
    return found.view(np.int64) - FIRST_TICKET


def box(batch: SeriesBatch) -> tuple[Bits, Entries | None]:
    """The 64 bits of every sample of *batch*, and the entries 0, 1, ... that tickets among them
    stand for, in the order of the samples; None where there are none.

    A start beyond 2**53 ms counts as unknown.
    """
    bits = batch.values.view(np.uint64)
    starts_ms = batch.starts_ms
    if batch.histogram_ids is None and starts_ms is None:
        return box_bits(bits)
    boxed = bits.view(np.int64) >= FIRST_TICKET
    if batch.histogram_ids is not None:
        boxed |= batch.histogram_ids >= 0
    if starts_ms is not None:
        is_time = (starts_ms >= -_FARTHEST_START_MS) & (starts_ms <= _FARTHEST_START_MS)
        starts_ms = np.where(is_time, starts_ms, 0)
        boxed |= starts_ms != 0
    at = np.flatnonzero(boxed)
    if not len(at):
        return bits, None
    ids = np.full(len(at), -1) if batch.histogram_ids is None else batch.histogram_ids[at]
    entries = Entries(
        np.where(ids >= 0, 0.0, batch.values[at]),
        np.zeros(len(at), dtype=np.int64) if starts_ms is None else starts_ms[at],
        ids,
        batch.histograms or Histograms.empty(),
    )
    return with_tickets(bits, at, 0), entries


def box_bits(bits: Bits) -> tuple[Bits, Entries | None]:
    """As ``box``, of samples that are nothing but floats."""
    at = ticket_places(bits)
    if not len(at):
        return bits, None
    zeros = np.zeros(len(at), dtype=np.int64)
    values = bits[at].view(np.float64)
    return with_tickets(bits, at, 0), Entries(values, zeros, zeros - 1, Histograms.empty())


def with_tickets(bits: Bits, places: Int64s, first: int) -> Bits:
    """*bits* with the tickets *first*, *first* + 1, ... at *places*."""
    bits = bits.copy()
    bits[places] = tickets(first, len(places))
    return bits


def moved_tickets(bits: Bits, by: int) -> Bits:
    """*bits* whose tickets stand for the entries *by* further on."""
    at = ticket_places(bits)
    bits = bits.copy()
    bits[at] += np.uint64(by)
    return bits


def unbox(batch: SeriesBatch, find: Callable[[Int64s], Entries]) -> SeriesBatch:
    """*batch* with the entries in the place of its tickets; *find* gives those of some numbers."""
    bits = batch.values.view(np.uint64)
    places = ticket_places(bits)
    if not len(places):
        return batch
    entries = find(entry_numbers(bits[places]))
    values = batch.values.copy()
    values[places] = entries.values
    ids = starts_ms = None
    if entries.is_histogram.any():
        ids = np.full(len(values), -1, dtype=np.int64)
        ids[places] = entries.histogram_ids
    if entries.starts_ms.any():
        starts_ms = np.zeros(len(values), dtype=np.int64)
        starts_ms[places] = entries.starts_ms
    return replace(
        batch,
        values=values,
        histogram_ids=ids,
        histograms=None if ids is None else entries.histograms,
        starts_ms=starts_ms,
    )


def leave_out(batch: SeriesBatch, places: Int64s) -> SeriesBatch:
    """*batch* without the samples at *places*; each row then has times of its own."""
    kept = np.ones(batch.sample_count, dtype=np.bool_)
    kept[places] = False
    offsets = np.concatenate(([0], np.cumsum(kept)))[batch.offsets]
    shifts = np.repeat(batch.time_starts - batch.offsets[:-1], np.diff(batch.offsets))
    at = np.flatnonzero(kept)
    return SeriesBatch(
        values=batch.values[at],
        times_ms=batch.times_ms[at + shifts[at]],
        offsets=offsets,
        time_starts=offsets[:-1].copy(),
    )


def _same_histograms(a: Histograms, b: Histograms) -> NDArray[np.bool_]:
    """bool[H]: whether histogram h of both is the same, bit for bit."""
    buckets, bounds = np.diff(a.offsets), np.diff(a.bound_offsets)
    same: NDArray[np.bool_] = (
        (a.schemas == b.schemas)
        & (buckets == np.diff(b.offsets))
        & (bounds == np.diff(b.bound_offsets))
    )
    for name in ("counts", "sums", "zero_thresholds", "zero_counts"):
        same &= getattr(a, name).view(np.uint64) == getattr(b, name).view(np.uint64)
    at = np.flatnonzero(same)
    a, b = a.take(at), b.take(at)
    counts_differ = a.bucket_counts.view(np.uint64) != b.bucket_counts.view(np.uint64)
    differ = (a.positions != b.positions) | counts_differ
    bounds_differ = a.bounds.view(np.uint64) != b.bounds.view(np.uint64)
    same[at[_owners(a.offsets)[differ]]] = False
    same[at[_owners(a.bound_offsets)[bounds_differ]]] = False
    return same


def _owners(offsets: Int64s) -> Int64s:
    """Which stretch each element of consecutive stretches belongs to."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))

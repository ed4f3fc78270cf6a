"""Samples: what is appended to a head, as flat columns."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.sample.entries import (
    Entries,
    entry_numbers,
    moved_tickets,
    ticket_places,
    unbox,
    with_tickets,
)


class Samples(NamedTuple):
    """``series`` int32[N], ``times`` int64[N], ``bits`` uint64[N].

    Tickets among the bits stand for the ``entries``, each for one; None where there are none.
    """

    series: NDArray[np.int32]
    times: NDArray[np.int64]
    bits: NDArray[np.uint64]
    entries: Entries | None = None

    @property
    def span_ms(self) -> tuple[int, int]:
        """The first and the last time; (0, 0) where there is none."""
        if not len(self.times):
            return 0, 0
        return int(self.times.min()), int(self.times.max())

    def take(self, chosen: NDArray[np.bool_] | NDArray[np.int64] | slice) -> "Samples":
        """The *chosen* samples (a mask, places or a slice), with the entries that they need."""
        part = Samples(self.series[chosen], self.times[chosen], self.bits[chosen])
        if self.entries is None:
            return part
        at = ticket_places(part.bits)
        if not len(at):
            return part
        entries = self.entries.take(entry_numbers(part.bits[at]))
        return part._replace(bits=with_tickets(part.bits, at, 0), entries=entries)

    def one(self, at: int) -> SeriesBatch:
        """Sample *at* as a batch of one."""
        time = self.times[at : at + 1]
        row = np.array([0, 1])
        batch = SeriesBatch(self.bits[at : at + 1].view(np.float64), time, row, row[:1])
        return batch if self.entries is None else unbox(batch, self.entries.take)


def join_samples(parts: Sequence[Samples]) -> Samples:
    """All *parts*, one after the other."""
    if len(parts) == 1:
        return parts[0]
    parts = parts or [_NOTHING]
    bits, entries, count = [], [], 0
    for part in parts:
        if part.entries is None:
            bits.append(part.bits)
        else:
            bits.append(moved_tickets(part.bits, count))
            entries.append(part.entries)
            count += part.entries.size
    return Samples(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.times for part in parts]),
        np.concatenate(bits),
        Entries.concat(entries) if entries else None,
    )


_NOTHING = Samples(
    np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint64)
)

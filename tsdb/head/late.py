"""Late: the samples of a head that came out of order.

An append-only list of (series, time, value) beside the pages, with a table that finds a sample by
series and time. It is merged with the pages when it is read and when it is sealed.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.head import kernels as head_kernels
from tsdb.head import read_kernels as head_read_kernels

T = TypeVar("T", bound=np.generic)


@dataclass(slots=True)
class LateBuffer:
    """``series`` int32, ``times`` int64, ``bits`` uint64; the first ``count`` (kept by the head)
    are filled. ``slots`` int32 holds entry + 1, 0 where free; at most half of it is used.
    """

    series: NDArray[np.int32]
    times: NDArray[np.int64]
    bits: NDArray[np.uint64]
    slots: NDArray[np.int32]

    @classmethod
    def empty(cls) -> "LateBuffer":
        return cls(
            np.zeros(8, dtype=np.int32),
            np.zeros(8, dtype=np.int64),
            np.zeros(8, dtype=np.uint64),
            np.zeros(16, dtype=np.int32),
        )

    def larger(self, count: int) -> "LateBuffer":
        """The first *count* samples with room for as many again."""
        return _indexed(
            _padded(self.series[:count], 2 * count),
            _padded(self.times[:count], 2 * count),
            _padded(self.bits[:count], 2 * count),
            count,
        )

    def take(self, chosen: NDArray[np.bool_]) -> tuple["LateBuffer", int]:
        """Only the *chosen* samples (a mask over the filled ones), and how many those are."""
        count = int(np.count_nonzero(chosen))
        filled, room = len(chosen), max(8, count + 1)
        return _indexed(
            _padded(self.series[:filled][chosen], room),
            _padded(self.times[:filled][chosen], room),
            _padded(self.bits[:filled][chosen], room),
            count,
        ), count

    def frozen(self, count: int) -> "LateSamples":
        """The first *count* samples as they will stay."""
        return LateSamples(self.series[:count], self.times[:count], self.bits[:count])


class LateSamples(NamedTuple):
    """Late samples in the order of their arrival; no series has two at one time."""

    series: NDArray[np.int32]
    times: NDArray[np.int64]
    bits: NDArray[np.uint64]

    def merged_into(
        self, batch: SeriesBatch, refs: NDArray[np.int64], size: int, start_ms: int, end_ms: int
    ) -> SeriesBatch:
        """*batch*, whose rows are *refs* of a head of *size* series, with the late samples of
        these series within [start_ms, end_ms] at their places.
        """
        row_of = np.full(size, -1, dtype=np.int64)
        row_of[refs] = np.arange(len(refs))
        rows = row_of[self.series]
        chosen = np.flatnonzero((rows >= 0) & (self.times >= start_ms) & (self.times <= end_ms))
        if not len(chosen):
            return batch
        chosen = chosen[np.lexsort((self.times[chosen], rows[chosen]))]
        rows = rows[chosen]
        lengths = np.diff(batch.offsets)
        touched = np.zeros(len(refs), dtype=np.bool_)
        touched[rows] = True
        written = len(batch.times_ms)
        room = int(lengths[touched].sum()) + len(chosen)
        times = np.empty(written + room, dtype=np.int64)
        times[:written] = batch.times_ms
        offsets = np.zeros_like(batch.offsets)
        time_starts = np.empty_like(batch.time_starts)
        bits = np.empty(batch.sample_count + len(chosen), dtype=np.uint64)
        head_read_kernels.merge_late(
            batch.offsets, batch.time_starts, batch.times_ms, batch.values.view(np.uint64),
            rows, self.times[chosen], self.bits[chosen],
            offsets, time_starts, bits, times, written,
        )  # fmt: skip
        return replace(
            batch,
            offsets=offsets,
            time_starts=time_starts,
            times_ms=times,
            values=bits.view(np.float64),
        )


def _padded(array: NDArray[T], size: int) -> NDArray[T]:
    """*array* with zeros up to *size*."""
    return np.concatenate([array, np.zeros(size - len(array), dtype=array.dtype)])


def _indexed(
    series: NDArray[np.int32], times: NDArray[np.int64], bits: NDArray[np.uint64], count: int
) -> LateBuffer:
    slots = 16
    while slots < 2 * len(series):
        slots *= 2
    table = np.zeros(slots, dtype=np.int32)
    head_kernels.index_late(series, times, count, table)
    return LateBuffer(series, times, bits, table)

"""Joining what several parts hold of the same series into one batch.

Parts mostly follow each other in time, so most rows are joined end to end, and rows that share
their times in every part share the joined times. Rows whose parts interleave are merged.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.block import kernels as block_kernels
from tsdb.block.planned_read import PlannedRead
from tsdb.sample.entries import Entries, box, moved_tickets, unbox
from tsdb.view import view_kernels

Int64s = NDArray[np.int64]


class Piece(NamedTuple):
    """The rows of one part: row k of ``batch`` is row ``rows[k]`` of the answer.

    Of two samples at one instant that of the lower ``rank`` stays. Where the values have yet to be
    decoded, ``batch`` is the plan to do so.
    """

    batch: SeriesBatch | PlannedRead
    rows: Int64s
    rank: int

    def read(self) -> SeriesBatch:
        """The batch with its values."""
        return self.batch.batch() if isinstance(self.batch, PlannedRead) else self.batch

    @property
    def is_float(self) -> bool:
        """Whether it holds nothing but floats."""
        batch = self.batch
        return isinstance(batch, PlannedRead) or (
            batch.histogram_ids is None and batch.starts_ms is None
        )


class _Stretches(NamedTuple):
    """Where the samples of each row stand in each piece: int64[rows, pieces] three times."""

    lengths: Int64s
    value_starts: Int64s
    time_starts: Int64s

    @classmethod
    def none(cls, rows: int, pieces: int) -> "_Stretches":
        return cls(*(np.zeros((rows, pieces), dtype=np.int64) for _ in range(3)))


def join(pieces: Sequence[Piece], row_count: int) -> SeriesBatch:
    """The *row_count* rows of the answer from *pieces*, which stand in ascending time."""
    if len(pieces) == 1 and len(pieces[0].rows) == row_count:
        return pieces[0].read()
    if all(piece.is_float for piece in pieces):
        return _joined(pieces, row_count)
    boxed, entries = _boxed(pieces)
    return unbox(_joined(boxed, row_count), entries.ordered)


def _boxed(pieces: Sequence[Piece]) -> tuple[list[Piece], Entries]:
    """The *pieces* as 64 bits a sample, whose tickets all stand for the same entries."""
    boxed, found, count = [], [Entries.empty()], 0
    for piece in pieces:
        batch = piece.read()
        bits, entries = box(batch)
        if entries is not None:
            bits = moved_tickets(bits, count)
            found.append(entries)
            count += entries.size
        batch = SeriesBatch(bits.view(np.float64), batch.times_ms, batch.offsets, batch.time_starts)
        boxed.append(piece._replace(batch=batch))
    return boxed, Entries.concat(found)


def _joined(pieces: Sequence[Piece], row_count: int) -> SeriesBatch:
    found, broken = _spread(pieces, row_count)
    if not len(broken):
        return _end_to_end(pieces, found)
    pieces = [piece._replace(batch=piece.read()) for piece in pieces]
    merged = Piece(_merged(pieces, found, broken), broken, 0)
    for matrix in found:
        matrix[broken] = 0
    extra, _ = _spread([merged], row_count)
    both = _Stretches(*(np.concatenate(pair, axis=1) for pair in zip(found, extra, strict=True)))
    return _end_to_end([*pieces, merged], both)


def _spread(pieces: Sequence[Piece], row_count: int) -> tuple[_Stretches, Int64s]:
    """The stretches, and the rows whose pieces do not follow each other in time."""
    found = _Stretches.none(row_count, len(pieces))
    last_ms = np.zeros(row_count, dtype=np.int64)
    states = np.zeros(row_count, dtype=np.uint8)
    broken = 0
    for at, (batch, rows, _) in enumerate(pieces):
        broken += view_kernels.spread(
            rows, batch.offsets, batch.time_starts, batch.times_ms, at, *found, last_ms, states
        )
    return found, np.flatnonzero(states == 2) if broken else np.zeros(0, dtype=np.int64)


def _merged(pieces: Sequence[Piece], found: _Stretches, rows: Int64s) -> SeriesBatch:
    """The given rows merged by time; of equal times the sample of the lowest rank stays."""
    ranked = sorted(range(len(pieces)), key=lambda at: pieces[at].rank)
    part = _Stretches(*(np.ascontiguousarray(matrix[rows][:, ranked]) for matrix in found))
    bounds = np.cumsum(part.lengths)
    places = (bounds - part.lengths.reshape(-1)).reshape(part.lengths.shape)
    times, bits, out_times, out_bits = np.empty((4, int(bounds[-1])), dtype=np.int64)
    for at, rank in enumerate(ranked):
        batch = pieces[rank].read()
        _place_times(batch.times_ms, at, part, part.lengths, places, times)
        _place_values(batch, at, part, places, bits)
    offsets = np.empty(len(rows) + 1, dtype=np.int64)
    view_kernels.merge_stretches(times, bits, places, part.lengths, out_times, out_bits, offsets)
    return SeriesBatch(out_bits.view(np.float64), out_times, offsets, offsets[:-1])


def _end_to_end(pieces: Sequence[Piece], found: _Stretches) -> SeriesBatch:
    """The rows, each one's stretches one after the other."""
    rows, width = found.lengths.shape
    marks = np.concatenate((found.time_starts, found.lengths), axis=1).reshape(-1)
    ids, firsts = np.empty((2, rows), dtype=np.int64)
    starts = np.arange(rows) * (2 * width)
    block_kernels.number_stretches(marks, starts, np.full(rows, 2 * width), ids, firsts)
    offsets, time_starts, places, time_lengths, time_places, times = view_kernels.lay_end_to_end(
        found.lengths, ids, firsts
    )
    bits = np.empty(int(offsets[-1]), dtype=np.int64)
    times_ms = np.empty(times, dtype=np.int64)
    for at, (batch, own_rows, _) in enumerate(pieces):
        _place_times(batch.times_ms, at, found, time_lengths, time_places, times_ms)
        if isinstance(batch, PlannedRead):
            batch.decode(places[own_rows, at], bits.view(np.float64))
        else:
            _place_values(batch, at, found, places, bits)
    return SeriesBatch(bits.view(np.float64), times_ms, offsets, time_starts)


def _place_times(
    times_ms: Int64s, at: int, found: _Stretches, lengths: Int64s, places: Int64s, out: Int64s
) -> None:
    """Copies the times of piece *at* to their places."""
    view_kernels.place(times_ms, at, found.time_starts, lengths, places, out)


def _place_values(
    batch: SeriesBatch, at: int, found: _Stretches, places: Int64s, bits: Int64s
) -> None:
    """Copies the values of piece *at* to their places."""
    values = batch.values.view(np.int64)
    view_kernels.place(values, at, found.value_starts, found.lengths, places, bits)

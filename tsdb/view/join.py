"""Joining what several parts hold of the same series into one batch.

Parts mostly follow each other in time, so most rows are joined end to end, and rows that share
their times in every part share the joined times. Rows whose parts interleave are merged.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.block.planned_read import PlannedRead
from tsdb.sample.entries import Entries, box, moved_tickets, unbox
from tsdb.view import view_kernels as kernels

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


_Stretches = NDArray[np.int64]
"""See ``view_kernels``."""


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
    found = np.zeros((kernels.FIELDS, len(pieces), row_count), dtype=np.int64)
    broken = 0
    for at, piece in enumerate(pieces):
        broken += _spread(piece, at, found)
    if not broken:
        return _end_to_end(pieces, found)
    rows = np.flatnonzero((found[kernels.LAST_MS] == kernels.BROKEN).any(axis=0))
    pieces = [piece._replace(batch=piece.read()) for piece in pieces]
    merged = Piece(_merged(pieces, found, rows), rows, 0)
    found[:, :, rows] = 0
    both = np.concatenate((found, np.zeros_like(found[:, :1])), axis=1)
    _spread(merged, len(pieces), both)
    return _end_to_end([*pieces, merged], both)


def _spread(piece: Piece, at: int, found: _Stretches) -> int:
    batch = piece.batch
    starts = batch.time_starts
    return kernels.spread(piece.rows, batch.offsets, starts, batch.times_ms, at, found)


def _merged(pieces: Sequence[Piece], found: _Stretches, rows: Int64s) -> SeriesBatch:
    """The given rows merged by time; of equal times the sample of the lowest rank stays."""
    ranked = sorted(range(len(pieces)), key=lambda at: pieces[at].rank)
    part = np.ascontiguousarray(found[:, ranked][:, :, rows])
    lengths = np.ascontiguousarray(part[kernels.LENGTHS].T)
    bounds = np.cumsum(lengths)
    places = (bounds - lengths.reshape(-1)).reshape(lengths.shape)
    part[kernels.VALUE_PLACES] = places.T
    part[kernels.TIME_LENGTHS] = part[kernels.LENGTHS]
    part[kernels.TIME_PLACES] = places.T
    times, bits, out_times, out_bits = np.empty((4, int(bounds[-1])), dtype=np.int64)
    for at, rank in enumerate(ranked):
        batch = pieces[rank].read()
        _place_times(batch.times_ms, at, part, times)
        _place_values(batch, at, part, bits)
    offsets = np.empty(len(rows) + 1, dtype=np.int64)
    kernels.merge_stretches(times, bits, places, lengths, out_times, out_bits, offsets)
    return SeriesBatch(out_bits.view(np.float64), out_times, offsets, offsets[:-1])


def _end_to_end(pieces: Sequence[Piece], found: _Stretches) -> SeriesBatch:
    """The rows, each one's stretches one after the other."""
    row_count = found.shape[2]
    offsets = np.empty(row_count + 1, dtype=np.int64)
    time_starts = np.empty(row_count, dtype=np.int64)
    times_ms = np.empty(kernels.lay_end_to_end(found, offsets, time_starts), dtype=np.int64)
    values = np.empty(int(offsets[-1]))
    for at, (batch, rows, _) in enumerate(pieces):
        _place_times(batch.times_ms, at, found, times_ms)
        if isinstance(batch, PlannedRead):
            moves = found[kernels.VALUE_PLACES, at] - found[kernels.VALUE_STARTS, at]
            batch.decode(moves if len(rows) == row_count else moves[rows], values)
        else:
            _place_values(batch, at, found, values.view(np.int64))
    return SeriesBatch(values, times_ms, offsets, time_starts)


def _place_times(times_ms: Int64s, at: int, found: _Stretches, out: Int64s) -> None:
    """Copies the times of piece *at* to their places."""
    starts, lengths, places = kernels.TIME_STARTS, kernels.TIME_LENGTHS, kernels.TIME_PLACES
    kernels.place(times_ms, at, found, starts, lengths, places, out)


def _place_values(batch: SeriesBatch, at: int, found: _Stretches, bits: Int64s) -> None:
    """Copies the values of piece *at* to their places."""
    values = batch.values.view(np.int64)
    starts, lengths, places = kernels.VALUE_STARTS, kernels.LENGTHS, kernels.VALUE_PLACES
    kernels.place(values, at, found, starts, lengths, places, bits)

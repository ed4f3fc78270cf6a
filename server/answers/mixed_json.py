"""The JSON of series that hold native histograms, in slices; ``result_json`` calls it.

A series with floats and histograms has both keys, ``values`` before ``histograms``. The points are
put in the order in which they are written, so that one pass of the kernel writes a slice.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promql.histogram_buckets import Buckets
from series.frame import LabelFrame
from series.histogram import Histograms, offsets_of
from server.answers import json_kernels as kernels
from server.http import dumps

SLICE_NUMBERS = 100_000
"""Numbers a slice, about: a float is one, a histogram has two and three a bucket."""

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]
Arena = tuple[NDArray[np.uint8], Numbers]
"""Texts end to end, and where each begins and the last ends."""


@dataclass(frozen=True, slots=True)
class Points:
    """N points, row by row: ``rows`` and ``columns`` int64[N], the number of the time.

    ``values`` float64[N]; ``ids`` int64[N] into ``histograms``, -1 for a float.
    """

    rows: Numbers
    columns: Numbers
    values: Values
    ids: Numbers
    histograms: Histograms

    def take(self, at: Numbers | slice) -> "Points":
        return Points(
            self.rows[at], self.columns[at], self.values[at], self.ids[at], self.histograms
        )


def mixed_slices(
    frame: LabelFrame, points: Points, prefixes: Arena, *, single: bool, after: bytes = b""
) -> Iterator[bytes]:
    """Slices of the series of *points*, comma-separated, behind *after*.

    ``points.rows`` are rows of *frame*; *prefixes* are the beginnings of points by column. With
    *single* a series has one point, under the key ``value`` or ``histogram``.
    """
    points = points.take(np.lexsort((points.ids >= 0, points.rows)))
    new_row = np.append(np.append(True, np.diff(points.rows) != 0), True)
    new_kind = np.append(np.append(True, np.diff(points.ids >= 0)), True)
    new_part = new_row | new_kind
    words = _words(single)
    comma = after
    for piece in _pieces(points):
        starts = np.union1d(np.flatnonzero(new_part[piece]) + piece.start, piece.start)
        ends = np.append(starts[1:], piece.stop)
        begun = starts[new_row[starts]]
        labels = iter(frame.take(points.rows[begun]).as_dicts())
        heads, tails = [], []
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            opening = words[int(points.ids[start] >= 0)]
            if new_row[start]:
                heads.append(b'%b{"metric":%b,%b' % (comma, dumps(next(labels)), opening))
                comma = b","
            else:
                heads.append(b"," + (opening if new_part[start] else b""))
            closing = b"]" if new_part[end] and not single else b""
            tails.append(closing + (b"}" if new_row[end] else b""))
        yield _written(points.take(piece), ends - piece.start, heads, tails, prefixes)


def _words(single: bool) -> tuple[bytes, bytes]:
    """How the floats and the histograms of a series begin."""
    return (b'"value":', b'"histogram":') if single else (b'"values":[', b'"histograms":[')


def _pieces(points: Points) -> Iterator[slice]:
    """All points in runs of about SLICE_NUMBERS numbers or a single point."""
    is_histogram = points.ids >= 0
    weights = np.ones(len(points.ids), dtype=np.int64)
    buckets = np.diff(points.histograms.offsets)[points.ids[is_histogram]]
    weights[is_histogram] = 2 + 3 * (buckets + 1)
    runs = np.cumsum(weights) // SLICE_NUMBERS
    edges = [0, *(np.flatnonzero(np.diff(runs)) + 1).tolist(), len(runs)]
    return (slice(a, b) for a, b in itertools.pairwise(edges) if b > a)


def _written(
    points: Points, part_ends: Numbers, heads: list[bytes], tails: list[bytes], prefixes: Arena
) -> bytes:
    values, sizes, buckets = _numbers(points)
    head_arena, tail_arena = _arena(heads), _arena(tails)
    room = (
        len(head_arena[0])
        + len(tail_arena[0])
        + len(sizes) * (kernels.POINT_ROOM + kernels.HISTOGRAM_ROOM)
        + len(buckets.rules) * kernels.BUCKET_ROOM
    )
    out = np.empty(room + kernels.SPARE, dtype=np.uint8)
    written = kernels.write_mixed(
        values,
        points.columns,
        sizes,
        buckets.rules,
        part_ends,
        *head_arena,
        *tail_arena,
        *prefixes,
        out,
    )
    return out[:written].tobytes()


def _numbers(points: Points) -> tuple[Values, Numbers, Buckets]:
    """All numbers in the order of writing, the buckets a point (-1: a float), the buckets."""
    is_histogram = points.ids >= 0
    chosen = points.histograms.take(points.ids[is_histogram])
    buckets = Buckets.of(chosen)
    counts = np.diff(buckets.offsets)
    sizes = np.full(len(points.ids), -1, dtype=np.int64)
    sizes[is_histogram] = counts
    starts = offsets_of(np.where(is_histogram, 2 + 3 * sizes, 1))
    values = np.empty(starts[-1])
    values[starts[:-1][~is_histogram]] = points.values[~is_histogram]
    first = starts[:-1][is_histogram]
    values[first] = chosen.counts
    values[first + 1] = chosen.sums
    within = np.arange(len(buckets.counts)) - np.repeat(buckets.offsets[:-1], counts)
    at = np.repeat(first + 2, counts) + 3 * within
    values[at] = buckets.lowers
    values[at + 1] = buckets.uppers
    values[at + 2] = buckets.counts
    return values, sizes, buckets


def _arena(texts: list[bytes]) -> Arena:
    starts = offsets_of([len(text) for text in texts])
    return np.frombuffer(bytearray(b"".join(texts)), dtype=np.uint8), starts

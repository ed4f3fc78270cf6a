"""Steps of range answers, taken apart and joined; and a Source that is watched while it is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from promql.matrix import Matrix
from series.batch import SeriesBatch
from series.frame import LabelColumn, LabelFrame
from series.matcher import Matcher
from series.ports import Context, Hints, Selection, Source

_TEXT_BYTES = 64
"""About what a text takes beyond its characters."""


class Piece(NamedTuple):
    """The columns *taken* of ``matrix``, whose rows all have labels of their own, sorted; they
    stand from step ``at`` on."""

    matrix: Matrix
    taken: slice
    at: int


def joined(pieces: Sequence[Piece], steps: int) -> Matrix:
    """The answer over *steps* steps that *pieces* (one at least) make, sorted by labels.

    Its frame is compact, and rows without points are left out. Floats only.
    """
    frames = [compact(piece.matrix.frame) for piece in pieces]
    whole = LabelFrame.concat(frames)
    ids, first = whole.group_ids()
    frame = whole.take(first)
    values = np.zeros((len(first), steps))
    present = np.zeros(values.shape, dtype=np.bool_)
    start = 0
    for piece in pieces:
        rows = ids[start : start + piece.matrix.series_count]
        start += len(rows)
        to = slice(piece.at, piece.at + piece.taken.stop - piece.taken.start)
        values[rows, to] = piece.matrix.values[:, piece.taken]
        present[rows, to] = piece.matrix.present[:, piece.taken]
    matrix = Matrix(frame, values, present).alive()
    if len(first) == pieces[0].matrix.series_count:  # those of the first piece, in their order
        return matrix
    return matrix.take(matrix.frame.sort_order())


def compact(frame: LabelFrame) -> LabelFrame:
    """*frame* with only such texts as its rows have."""
    columns = {}
    for name, (codes, values) in frame.columns.items():
        used = np.zeros(len(values), dtype=np.bool_)
        used[0] = True
        used[codes] = True
        texts = values
        if not used.all():
            codes = (np.cumsum(used, dtype=np.int32) - np.int32(1))[codes]
            texts = tuple(values[code] for code in np.flatnonzero(used).tolist())
        columns[name] = LabelColumn(codes, texts)
    return LabelFrame(frame.size, columns)


def size_bytes(matrix: Matrix) -> int:
    """About the memory of *matrix*, whose frame is compact."""
    columns = matrix.frame.columns.values()
    texts = sum(len(text) + _TEXT_BYTES for column in columns for text in column.values)
    codes = sum(column.codes.nbytes for column in columns)
    return matrix.values.nbytes + matrix.present.nbytes + codes + texts


Known = Mapping[tuple[tuple[Matcher, ...], int, int], tuple[Selection, float]]
"""Selections by the matchers and the times that are asked for, and which share of what they hold
lies within these times."""


class Watched:
    """A Source that notices native histograms, and need not resolve what is *known*."""

    def __init__(self, source: Source, known: Known | None = None) -> None:
        self._source = source
        self._known = known or {}
        self.has_histograms = False
        """Whether any were read."""

    def resolve(self, matchers: tuple[Matcher, ...], hints: Hints) -> Selection:
        known = self._known.get((matchers, hints.start_ms, hints.end_ms))
        if known is None:
            known = self._source.resolve(matchers, hints), 1.0
        return _WatchedSelection(self, *known)

    def label_names(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[str]:
        return self._source.label_names(matchers, start_ms, end_ms)

    def label_values(
        self, name: str, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int
    ) -> list[str]:
        return self._source.label_values(name, matchers, start_ms, end_ms)


@dataclass(frozen=True, slots=True)
class _WatchedSelection:
    watched: Watched
    selection: Selection
    share: float

    @property
    def frame(self) -> LabelFrame:
        return self.selection.frame

    @property
    def generation(self) -> int:
        return self.selection.generation

    def estimated_samples(self) -> int:
        return int(self.selection.estimated_samples() * self.share)

    def read(self, rows: slice, start_ms: int, end_ms: int, context: Context) -> SeriesBatch:
        batch = self.selection.read(rows, start_ms, end_ms, context)
        if batch.histograms is not None:
            self.watched.has_histograms = True
        return batch

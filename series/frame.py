"""LabelFrame: the labels of many series as dictionary-coded columns.

A query touches labels of thousands of series but only a few hundred distinct texts, so the labels
of a Selection and of a Matrix are kept by label name::

    "instance" -> codes  int32[S]   0 where the series has no such label
                  values ("", "i-0", "i-1", ...)      values[0] is always ""

Grouping, matching and sorting then work on integers; ``Labels`` are made only for output.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from series.immutable import immutable
from series.labels import Labels

Codes = NDArray[np.int32]
Rows = NDArray[np.int64]
T = TypeVar("T")

KEPT_ROWS = 256
"""Frames of so many rows keep what is made of them."""


class LabelColumn(NamedTuple):
    """One label of every series: ``values[codes[s]]``.

    *Invariants*: ``values[0] == ""``; values are distinct; codes are within them. A value need not
    be used by any row.
    """

    codes: Codes
    values: tuple[str, ...]


@immutable
class LabelFrame:
    """Label sets of ``size`` series; ``columns`` maps label names to their column.

    A column whose codes are all 0 means the same as no column.
    """

    size: int
    columns: Mapping[str, LabelColumn]
    memo: dict[Hashable, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What was made of the labels, to be found again; for frames of up to KEPT_ROWS rows."""

    @classmethod
    def from_labels(cls, series: Sequence[Labels]) -> "LabelFrame":
        """The frame of *series*, in their order."""
        size = len(series)
        codes: dict[str, Codes] = {}
        dictionaries: dict[str, dict[str, int]] = {}
        for row, labels in enumerate(series):
            for name, value in labels:
                if name not in codes:
                    codes[name] = np.zeros(size, dtype=np.int32)
                    dictionaries[name] = {"": 0}
                dictionary = dictionaries[name]
                codes[name][row] = dictionary.setdefault(value, len(dictionary))
        return cls(size, {n: LabelColumn(codes[n], tuple(dictionaries[n])) for n in codes})

    @classmethod
    def empty_labels(cls, size: int) -> "LabelFrame":
        """*size* series that all are ``{}``."""
        return cls(size, {})

    @classmethod
    def concat(cls, frames: Sequence["LabelFrame"]) -> "LabelFrame":
        """The rows of all *frames*, one frame after the other."""
        if len(frames) == 1:
            return frames[0]
        size = sum(frame.size for frame in frames)
        names = {name: None for frame in frames for name in frame.columns}
        return cls(size, {name: _concat_column(name, frames, size) for name in names})

    def labels(self, row: int) -> Labels:
        return Labels((n, c.values[c.codes[row]]) for n, c in self.columns.items())

    def all_labels(self) -> list[Labels]:
        """The Labels of every row; costs Python work a row, so for output only."""
        return [Labels(pairs.items()) for pairs in self.as_dicts()]

    def as_dicts(self) -> list[dict[str, str]]:
        """The labels of every row as a dict in ascending order of names."""
        rows: list[dict[str, str]] = [{} for _ in range(self.size)]
        for name in sorted(self.columns):
            codes, values = self.columns[name]
            for row, code in zip(rows, codes.tolist(), strict=True):
                if code:
                    row[name] = values[code]
        return rows

    def take(self, rows: Rows | NDArray[np.bool_] | slice) -> "LabelFrame":
        """The given rows (indices, a boolean mask or a slice) in that order."""
        if isinstance(rows, slice) and rows.indices(self.size) == (0, self.size, 1):
            return self
        columns = {n: LabelColumn(c.codes[rows], c.values) for n, c in self.columns.items()}
        size = len(np.arange(self.size)[rows]) if not columns else len(_any(columns).codes)
        return LabelFrame(size, columns)

    def remembered(self, key: Hashable, make: Callable[[], T]) -> T:
        """What *make* gives, made once where the frame is small; nobody may change it."""
        found: T | None = self.memo.get(key)
        if found is None:
            found = make()
            if self.size <= KEPT_ROWS:
                self.memo[key] = found
        return found

    def keep(self, names: Iterable[str]) -> "LabelFrame":
        kept = frozenset(names)
        return LabelFrame(self.size, {n: c for n, c in self.columns.items() if n in kept})

    def drop(self, names: Iterable[str]) -> "LabelFrame":
        gone = frozenset(names)
        left: LabelFrame | None = self.memo.get(gone)
        if left is None:
            left = LabelFrame(self.size, {n: c for n, c in self.columns.items() if n not in gone})
            if self.size <= KEPT_ROWS:
                self.memo[gone] = left
        return left

    def drop_where(self, names: Iterable[str], mask: NDArray[np.bool_]) -> "LabelFrame":
        """Without the labels *names* in the rows of *mask* (bool[S])."""
        columns = dict(self.columns)
        for name in names:
            if name in columns:
                codes, values = columns[name]
                columns[name] = LabelColumn(np.where(mask, np.int32(0), codes), values)
        return LabelFrame(self.size, columns)

    def set_texts(self, name: str, texts: Sequence[str]) -> "LabelFrame":
        """With label *name* set to ``texts[s]`` in row s ('' removes it)."""
        dictionary: dict[str, int] = {"": 0}
        codes = np.fromiter(
            (dictionary.setdefault(text, len(dictionary)) for text in texts),
            dtype=np.int32,
            count=self.size,
        )
        return LabelFrame(self.size, {**self.columns, name: LabelColumn(codes, tuple(dictionary))})

    def set_coded(self, name: str, codes: Rows, texts: Sequence[str]) -> "LabelFrame":
        """With label *name* set to ``texts[codes[s]]`` in row s; *texts* may repeat or be ''."""
        dictionary: dict[str, int] = {"": 0}
        recoded = np.array(
            [dictionary.setdefault(text, len(dictionary)) for text in texts], dtype=np.int32
        )
        column = LabelColumn(recoded[codes], tuple(dictionary))
        return LabelFrame(self.size, {**self.columns, name: column})

    def texts(self, name: str) -> list[str]:
        """The value of label *name* in every row, '' where it is missing."""
        column = self.columns.get(name)
        if column is None:
            return [""] * self.size
        return [column.values[code] for code in column.codes.tolist()]

    def group_ids(self) -> tuple[Rows, Rows]:
        """Numbers the distinct label sets: (ids int64[S], first int64[G]).

        Rows with equal labels share an id; ids count from 0 in order of first appearance, and
        ``first[g]`` is the first row of group g. Group by names with ``keep`` or ``drop`` first.
        """
        return self.remembered("groups", self._group_ids)

    def _group_ids(self) -> tuple[Rows, Rows]:
        if self.size < 2 or not self.columns:
            return np.zeros(self.size, dtype=np.int64), np.arange(min(self.size, 1))
        ids = np.zeros(self.size, dtype=np.int64)
        cardinality = 1
        for codes, values in self.columns.values():
            ids = ids * len(values) + codes
            cardinality *= len(values)
            if cardinality > 1 << 30:
                distinct, ids = np.unique(ids, return_inverse=True)
                cardinality = len(distinct)
        return _by_first_appearance(ids)

    def sort_order(self) -> Rows:
        """int64[S]: the rows in Prometheus' order of label sets (that of ``Labels.__lt__``)."""
        return self.remembered("order", self._sort_order)

    def _sort_order(self) -> Rows:
        names = sorted(self.columns) if self.size > 1 else ()
        if not names:
            return np.arange(self.size)
        last = np.full(self.size, -1)
        for at, name in enumerate(names):
            last[self.columns[name].codes != 0] = at
        keys = []
        for at, name in enumerate(names):
            codes, values = self.columns[name]
            rank_of = np.empty(len(values), dtype=np.int64)
            rank_of[np.array(sorted(range(len(values)), key=values.__getitem__))] = np.arange(
                len(values)
            )
            ranks = rank_of[codes]
            # A missing label puts the series after those that have it, unless nothing follows.
            ranks[(codes == 0) & (last > at)] = len(values)
            keys.append(ranks)
        return np.lexsort(keys[::-1])


def shared_group_ids(frames: Sequence[LabelFrame]) -> tuple[list[Rows], int]:
    """Group ids over several frames at once: equal labels share an id across the frames.

    Returns one int64[frame.size] a frame and the count of groups.
    """
    ids, first = LabelFrame.concat(frames).group_ids()
    bounds = np.cumsum([frame.size for frame in frames])[:-1]
    return np.split(ids, bounds), len(first)


def _any(columns: Mapping[str, LabelColumn]) -> LabelColumn:
    return next(iter(columns.values()))


def _concat_column(name: str, frames: Sequence[LabelFrame], size: int) -> LabelColumn:
    columns = [frame.columns.get(name) for frame in frames]
    values = columns[0].values if columns[0] is not None else ()
    alike = [column.codes for column in columns if column is not None and column.values is values]
    if len(alike) == len(frames):  # parts of one frame, whose texts need no comparison
        return LabelColumn(np.concatenate(alike), values)
    dictionary: dict[str, int] = {"": 0}
    codes = np.zeros(size, dtype=np.int32)
    start = 0
    for frame, column in zip(frames, columns, strict=True):
        if column is not None:
            recoded = np.array(
                [dictionary.setdefault(value, len(dictionary)) for value in column.values],
                dtype=np.int32,
            )
            codes[start : start + frame.size] = recoded[column.codes]
        start += frame.size
    return LabelColumn(codes, tuple(dictionary))


def _by_first_appearance(ids: Rows) -> tuple[Rows, Rows]:
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    renumbered = np.empty_like(order)
    renumbered[order] = np.arange(len(order))
    return renumbered[inverse], first[order]

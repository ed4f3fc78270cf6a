"""Interner: canonical keys as lists of numbered labels, each distinct label once.

One thread appends; what stands below the counts that it has published never changes, also where
an array has been replaced by a longer one.
"""

import os

import numpy as np
from numpy.typing import NDArray

from tsdb.arrays import grown
from tsdb.head.registry_kernels import copy_spans
from tsdb.label import interner_kernels as kernels
from tsdb.label.label_texts import LabelTable

Rows = NDArray[np.int64]
Int32s = NDArray[np.int32]


class Interner:
    """Rows and labels, both numbered from 0 in the order of their first appearance.

    - ``row_starts`` int64, ``row_labels`` int32: row r is the labels
      ``row_labels[row_starts[r] : row_starts[r + 1]]``.
    - ``text`` uint8, ``label_starts`` int64: the encoded bytes of label l are
      ``text[label_starts[l] : label_starts[l + 1]]``.
    - ``parts`` int32[labels, 3]: where in these its name starts and ends and its value starts.

    The arrays may be longer than ``rows`` and ``labels`` say.
    """

    def __init__(self) -> None:
        self.row_starts = np.zeros(64, dtype=np.int64)
        self.row_labels = np.zeros(256, dtype=np.int32)
        self.text = np.zeros(1024, dtype=np.uint8)
        self.label_starts = np.zeros(64, dtype=np.int64)
        self.parts = np.zeros((64, 3), dtype=np.int32)
        self._seed = np.uint64(int.from_bytes(os.urandom(8), "little"))
        self._slot_hashes = np.zeros(256, dtype=np.uint64)
        self._slot_labels = np.full(256, -1, dtype=np.int32)
        self._counts = np.zeros(4, dtype=np.int64)

    @property
    def rows(self) -> int:
        return int(self._counts[0])

    @property
    def labels(self) -> int:
        return int(self._counts[2])

    @property
    def table_bytes(self) -> int:
        """The memory of the texts and of what finds a label again."""
        return int(self._counts[3]) + (8 + 12) * self.labels + 12 * len(self._slot_labels)

    def append(self, keys: NDArray[np.uint8], key_starts: Rows, key_ends: Rows) -> Rows:
        """Appends a row for each canonical key; what to give ``undo`` to take that back.

        ValueError where a key is malformed; nothing is appended then.
        """
        before = self._counts.copy()
        done = 0
        while True:
            done = kernels.intern_keys(
                keys, key_starts, key_ends, done, self._seed,
                self._slot_hashes, self._slot_labels,
                self.text, self.label_starts, self.parts, self.row_starts, self.row_labels,
                self._counts,
            )  # fmt: skip
            if done < 0:
                self.undo(before)
                raise ValueError(f"malformed series key in row {-1 - done}")
            if done == len(key_starts):
                return before
            self._make_room(int(key_ends[done] - key_starts[done]))

    def undo(self, before: Rows) -> None:
        """Forgets all that came after a state that ``append`` has given."""
        self._counts[:] = before
        self._slot_labels[self._slot_labels >= self.labels] = -1
        self._rehash(len(self._slot_labels))

    def ranks(self, labels: int) -> Int32s:
        """int32[labels]: the places of the first *labels* in ascending order of (name, value)."""
        order = np.empty(labels, dtype=np.int32)
        kernels.sort_labels(self.text, self.label_starts, self.parts, order)
        ranks = np.empty(labels, dtype=np.int32)
        ranks[order] = np.arange(labels, dtype=np.int32)
        return ranks

    def table(self) -> LabelTable:
        """All rows as plain columns, the labels renumbered in ascending order."""
        labels = self.labels
        ranks = self.ranks(labels)
        order = np.empty(labels, dtype=np.int64)
        order[ranks] = np.arange(labels)
        starts = self.label_starts[order]
        name_starts, name_ends, value_starts = (starts + part for part in self.parts[order].T)
        value_ends = self.label_starts[order + 1]
        is_first = np.ones(labels, dtype=np.bool_)
        is_first[1:] = kernels.differ_from_previous(self.text, name_starts, name_ends)
        firsts = np.flatnonzero(is_first)
        spans = zip(name_starts[firsts].tolist(), name_ends[firsts].tolist(), strict=True)
        bounds = np.zeros(labels + 1, dtype=np.int64)
        np.cumsum(value_ends - value_starts, out=bounds[1:])
        values = np.empty(int(bounds[-1]), dtype=np.uint8)
        copy_spans(self.text, value_starts, value_ends, values, 0)
        return LabelTable(
            names=tuple(self.text[start:end].tobytes().decode() for start, end in spans),
            name_firsts=np.append(firsts, labels),
            values=values.tobytes(),
            value_starts=bounds,
            row_starts=self.row_starts[: self.rows + 1],
            row_labels=ranks[self.row_labels[: self._counts[1]]],
        )

    def _make_room(self, key_size: int) -> None:
        """Grows whatever array may not hold one more key of *key_size* bytes."""
        rows, entries, labels, text_bytes = self._counts.tolist()
        most = key_size // 4 + 2
        self.row_starts = grown(self.row_starts, rows + 2)
        self.row_labels = grown(self.row_labels, entries + most)
        self.label_starts = grown(self.label_starts, labels + most + 1)
        self.parts = grown(self.parts, labels + most)
        self.text = grown(self.text, text_bytes + key_size)
        slots = len(self._slot_hashes)
        while slots < 2 * (labels + most):
            slots *= 2
        if slots > len(self._slot_hashes):
            self._rehash(slots)

    def _rehash(self, slots: int) -> None:
        hashes, labels = np.zeros(slots, dtype=np.uint64), np.full(slots, -1, dtype=np.int32)
        kernels.rehash(self._slot_hashes, self._slot_labels, hashes, labels)
        self._slot_hashes, self._slot_labels = hashes, labels

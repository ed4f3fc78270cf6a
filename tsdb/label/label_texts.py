"""The texts of labels: what a LabelIndex keeps as Python strings, and how it is stored."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsdb.arrays import grown

Rows = NDArray[np.int64]
Int32s = NDArray[np.int32]


class LabelTable(NamedTuple):
    """A LabelIndex as plain columns, as a block stores it.

    Labels are numbered in ascending order of (name, value): name k owns the labels
    ``name_firsts[k]`` up to ``name_firsts[k + 1]``, and label l is the UTF-8 text
    ``values[value_starts[l] : value_starts[l + 1]]``.
    """

    names: tuple[str, ...]
    name_firsts: Rows
    values: bytes
    value_starts: Rows
    row_starts: Rows
    row_labels: Int32s


class LabelName:
    """The values of one label name; code 0 is '', the missing label."""

    __slots__ = ("_codes", "_labels", "count", "text", "values")

    def __init__(self, text: str) -> None:
        self.text = text
        self.values = [""]
        self.count = 1
        self._labels = np.full(8, -1, dtype=np.int64)
        self._codes: dict[str, int] | None = {"": 0}

    @classmethod
    def of_values(cls, text: str, values: list[str], first_label: int) -> "LabelName":
        """The name whose *values* are the labels from *first_label* on."""
        name = cls(text)
        name.values += values
        name.count = len(name.values)
        name._labels = np.arange(first_label - 1, first_label + len(values))
        name._codes = None
        return name

    def add(self, values: list[str], labels: Rows) -> None:
        """Appends new *values*, whose labels are *labels*."""
        count = self.count + len(values)
        codes = self.codes
        self.values += values
        self._labels = grown(self._labels, count)
        self._labels[self.count : count] = labels
        first, self.count = self.count, count
        codes.update(zip(values, range(first, count), strict=True))

    @property
    def labels(self) -> Rows:
        """int64[codes]: the label of each code; what stands for code 0 means nothing."""
        count = self.count
        return self._labels[:count]

    @property
    def codes(self) -> dict[str, int]:
        if self._codes is None:
            self._codes = {value: code for code, value in enumerate(self.values)}
        return self._codes


def decode_labels(
    text: NDArray[np.uint8], starts: Rows, parts: Int32s
) -> tuple[list[str], list[str]]:
    """Names and values of interned labels; ``starts`` int64[n + 1] and ``parts`` int32[n, 3] are
    those of an Interner. UnicodeDecodeError where they are no UTF-8.
    """
    first = int(starts[0])
    body = text[first : int(starts[-1])].tobytes()
    name_starts, name_ends, value_starts = (starts[:-1] - first + part for part in parts.T)
    return (
        _slices(body, name_starts, name_ends),
        _slices(body, value_starts, starts[1:] - first),
    )


def _slices(body: bytes, starts: Rows, ends: Rows) -> list[str]:
    spans = zip(starts.tolist(), ends.tolist(), strict=True)
    if body.isascii():
        text = body.decode("ascii")
        return [text[start:end] for start, end in spans]
    return [body[start:end].decode() for start, end in spans]


def split_texts(values: bytes, starts: Rows) -> list[str]:
    """The texts between successive *starts*."""
    return _slices(values, starts[:-1], starts[1:])

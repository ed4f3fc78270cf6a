"""The texts of labels: what a LabelIndex keeps as Python strings, and how it is stored."""

import itertools
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Int32s = NDArray[np.int32]
T = TypeVar("T", bound=np.generic)


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

    def add(self, value: str, label: int) -> int:
        code = self.count
        self.values.append(value)
        self._labels = grown(self._labels, code + 1)
        self._labels[code] = label
        self.count += 1
        self.codes[value] = code
        return code

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


def grown(array: NDArray[T], size: int) -> NDArray[T]:
    """*array*, or a longer copy where it has less than *size* elements."""
    if size <= len(array):
        return array
    longer = np.zeros(max(size, 2 * len(array)), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


def decode_labels(
    text: NDArray[np.uint8], label_starts: Rows, first: int, end: int
) -> list[tuple[str, str]]:
    """(name, value) of the interned labels *first* up to *end*."""
    starts = label_starts[first : end + 1].tolist()
    body = text[starts[0] : starts[-1]].tobytes()
    pairs = []
    for start, stop in itertools.pairwise(starts):
        size, at = _read_varint(body, start - starts[0] + 1)
        name = body[at : at + size]
        _, at = _read_varint(body, at + size + 1)
        pairs.append((name.decode(), body[at : stop - starts[0]].decode()))
    return pairs


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while body[at] > 0x7F:
        number |= (body[at] & 0x7F) << shift
        shift += 7
        at += 1
    return number | body[at] << shift, at + 1


def split_texts(values: bytes, starts: Rows) -> list[str]:
    """The texts between successive *starts*."""
    bounds = starts.tolist()
    text = values.decode()
    if len(text) == len(values):
        return [text[a:b] for a, b in itertools.pairwise(bounds)]
    return [values[a:b].decode() for a, b in itertools.pairwise(bounds)]

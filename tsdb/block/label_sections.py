"""The sections of an index that hold labels, and the fingerprints that follow from them."""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.histogram import offsets_of
from tsdb.block import label_kernels as kernels
from tsdb.block.format import ColumnReader, DamagedError, Section, Sections, pack_column
from tsdb.head.registry import fingerprints_of
from tsdb.label.label_texts import LabelTable
from tsdb.label.postings import LabelIndex
from tsdb.view.part import Fingerprints

Int64s = NDArray[np.int64]

_ROWS_AT_ONCE = 1 << 14
"""Of so many rows the keys stand in memory at a time."""


def pack_labels(table: LabelTable) -> dict[Section, list[bytes]]:
    """The sections of *table*: each row by what it shares with the row before."""
    names = [name.encode() for name in table.names]
    shared = np.empty(len(table.row_starts) - 1, dtype=np.int64)
    own_labels = np.empty(len(table.row_labels), dtype=np.int32)
    count = kernels.shorten_rows(table.row_starts, table.row_labels, shared, own_labels)
    return {
        Section.NAMES: [
            pack_column(np.diff(table.name_firsts)),
            pack_column(np.array([len(name) for name in names], dtype=np.int64)),
            *names,
        ],
        Section.VALUES: [pack_column(np.diff(table.value_starts)), table.values],
        Section.ROWS: [
            pack_column(shared),
            pack_column(np.diff(table.row_starts) - shared),
            pack_column(own_labels[:count]),
        ],
    }


class LabelSections(NamedTuple):
    """A table of labels, its names as bytes (``name_bounds`` int64[names + 1])."""

    table: LabelTable
    names: bytes
    name_bounds: Int64s

    @classmethod
    def unpack(cls, sections: Sections, rows: int) -> "LabelSections":
        """Undoes ``pack_labels``; DamagedError where the sections disagree, or with *rows*."""
        names, values, own = (
            ColumnReader(sections[kind]) for kind in (Section.NAMES, Section.VALUES, Section.ROWS)
        )
        name_firsts, name_bounds = offsets_of(names.sizes()), offsets_of(names.sizes())
        value_starts = offsets_of(values.sizes())
        texts, value_texts = names.rest(), values.rest()
        labels = len(value_starts) - 1
        _expect(len(name_bounds) == len(name_firsts) and name_firsts[-1] == labels)
        _expect(len(texts) == name_bounds[-1] and len(value_texts) == value_starts[-1])
        row_starts, row_labels = _restored(own, rows, labels)
        try:
            named = [texts[a:b].decode() for a, b in itertools.pairwise(name_bounds.tolist())]
        except UnicodeDecodeError as error:
            raise DamagedError(f"a label name is no UTF-8: {error}") from None
        table = LabelTable(
            tuple(named), name_firsts, value_texts, value_starts, row_starts, row_labels
        )
        return cls(table, texts, name_bounds)

    def loaded(self) -> LabelIndex:
        """The labels to select from; DamagedError where a value is no UTF-8."""
        try:
            return LabelIndex.load(self.table)
        except UnicodeDecodeError as error:
            raise DamagedError(f"a label value is no UTF-8: {error}") from None

    def fingerprints(self, seed: bytes) -> Fingerprints:
        """uint64[rows, 2]: those of the canonical keys of all rows under a tenant's *seed*."""
        table = self.table
        labels = len(table.value_starts) - 1
        name_bytes = int((np.diff(table.name_firsts) * np.diff(self.name_bounds)).sum())
        encoded = np.empty(name_bytes + len(table.values) + 18 * labels, dtype=np.uint8)
        bounds = np.empty(labels + 1, dtype=np.int64)
        kernels.encode_labels(
            np.frombuffer(self.names, dtype=np.uint8), self.name_bounds, table.name_firsts,
            np.frombuffer(table.values, dtype=np.uint8), table.value_starts, encoded, bounds,
        )  # fmt: skip
        sizes = np.diff(bounds)
        rows = len(table.row_starts) - 1
        found = np.empty((rows, 2), dtype=np.uint64)
        for first in range(0, rows, _ROWS_AT_ONCE):
            starts = table.row_starts[first : first + _ROWS_AT_ONCE + 1]
            key_bytes = int(sizes[table.row_labels[starts[0] : starts[-1]]].sum())
            keys = np.empty(key_bytes, dtype=np.uint8)
            key_bounds = np.empty(len(starts), dtype=np.int64)
            kernels.join_keys(starts, table.row_labels, encoded, bounds, keys, key_bounds)
            part = fingerprints_of(seed, keys, key_bounds[:-1], key_bounds[1:])
            found[first : first + _ROWS_AT_ONCE] = part
        return found


def _restored(read: ColumnReader, rows: int, labels: int) -> tuple[Int64s, NDArray[np.int32]]:
    """``row_starts`` and ``row_labels`` of a section ROWS."""
    shared, own, own_labels = read.sizes(), read.sizes(), read.column()
    _expect(len(shared) == len(own) == rows and len(own_labels) == own.sum())
    _expect(own_labels.min(initial=0) >= 0 and own_labels.max(initial=-1) < labels)
    entries = int(shared.sum() + own.sum())
    # No row can have more labels than there are own ones of all: so nothing asks for absurd room.
    _expect(entries <= rows * len(own_labels))
    row_starts = np.empty(rows + 1, dtype=np.int64)
    row_labels = np.empty(entries, dtype=np.int32)
    _expect(kernels.restore_rows(shared, own, own_labels, row_starts, row_labels))
    return row_starts, row_labels


def _expect(holds: bool) -> None:
    if not holds:
        raise DamagedError("sections of labels disagree")

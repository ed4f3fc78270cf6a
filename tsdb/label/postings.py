"""LabelIndex: the labels of series 0..n-1, and which of them satisfy matchers.

Distinct labels (a name with a value) are interned and numbered; a series is the list of its label
numbers. Postings, the ascending rows of every label, are built when first needed and again when
the rows behind them have grown by a quarter; rows in between are looked at one by one.

One thread appends (callers see to that); any number select at the same time: what a published row
says never changes, and a reader works on the state it found.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.frame import LabelColumn, LabelFrame
from series.matcher import Matcher
from series.ports import go_on
from tsdb.arrays import grown
from tsdb.label import postings_kernels as kernels
from tsdb.label.interner import Interner
from tsdb.label.interner_kernels import sort_rows
from tsdb.label.label_texts import LabelName, LabelTable, decode_labels, split_texts

Rows = NDArray[np.int64]
Int32s = NDArray[np.int32]
Passing = NDArray[np.bool_] | set[int]
"""The codes of one name that satisfy a matcher: a small set of them, or bool[codes]."""

_TAIL_ROWS = 512
"""So many rows behind the postings are always looked at one by one."""
_MOST_LISTS = 1024
"""A matcher that more labels than this satisfy is a filter only."""
_CACHED_VERDICTS = 256
_DICT_ENTRY_BYTES = 100
"""About what a label takes in the dictionary that finds its code."""


class _State(NamedTuple):
    """What is published at one moment; the arrays may be longer than what counts."""

    rows: int
    row_starts: Rows
    row_labels: Int32s
    label_names: Int32s
    label_codes: Int32s
    labels: int
    names: int


class _Postings(NamedTuple):
    rows: int
    starts: Rows
    postings: Int32s


class LabelIndex:
    """See the module's head."""

    def __init__(self) -> None:
        self._interner = Interner()
        self._names: list[LabelName] = []
        self._name_ids: dict[str, int] = {}
        self._state = _State(
            rows=0,
            row_starts=self._interner.row_starts,
            row_labels=self._interner.row_labels,
            label_names=np.zeros(64, dtype=np.int32),
            label_codes=np.zeros(64, dtype=np.int32),
            labels=0,
            names=0,
        )
        self._postings = _Postings(0, np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))
        self._building = threading.Lock()
        self._caching = threading.Lock()
        self._verdicts: dict[Matcher, NDArray[np.bool_]] = {}

    # -- growing

    @property
    def size(self) -> int:
        """The count of published rows."""
        return self._state.rows

    @property
    def size_bytes(self) -> int:
        """About the memory that it takes, a Python string counted as 80 bytes."""
        state, interner = self._state, self._interner
        entries = int(state.row_starts[state.rows])
        found_again = interner.table_bytes + _DICT_ENTRY_BYTES * interner.labels
        return 8 * state.rows + 2 * 4 * entries + (16 + 80) * state.labels + found_again

    def append(self, keys: NDArray[np.uint8], key_starts: Rows, key_ends: Rows) -> int:
        """Appends a row for each canonical key (not looked up: new series only).

        Returns the first new row. ValueError where a key is malformed or no UTF-8; nothing is
        appended then.
        """
        first_row = self._state.rows
        before = self._interner.append(keys, key_starts, key_ends)
        try:
            self._publish()
        except UnicodeDecodeError as error:
            self._interner.undo(before)
            raise ValueError(f"malformed series key: {error}") from None
        return first_row

    def _publish(self) -> None:
        """Names the labels that the interner has numbered and shows the new rows to readers."""
        interner, state = self._interner, self._state
        labels = interner.labels
        label_names = grown(state.label_names, labels)
        label_codes = grown(state.label_codes, labels)
        starts = interner.label_starts[state.labels : labels + 1]
        names, values = decode_labels(interner.text, starts, interner.parts[state.labels : labels])
        for name in dict.fromkeys(names):
            if name not in self._name_ids:
                self._names.append(LabelName(name))
                self._name_ids[name] = len(self._names) - 1
        name_ids = np.array([self._name_ids[name] for name in names], dtype=np.int32)
        label_names[state.labels : labels] = name_ids
        order = np.argsort(name_ids, kind="stable")
        bounds = np.flatnonzero(np.diff(name_ids[order], prepend=-1, append=-1)).tolist()
        for begin, end in itertools.pairwise(bounds):
            own = order[begin:end]
            name = self._names[name_ids[own[0]]]
            label_codes[state.labels + own] = np.arange(name.count, name.count + len(own))
            name.add([values[at] for at in own.tolist()], state.labels + own)
        self._state = _State(
            interner.rows,
            interner.row_starts,
            interner.row_labels,
            label_names,
            label_codes,
            labels,
            len(self._names),
        )

    # -- asking

    def select(
        self,
        matchers: Sequence[Matcher],
        limit_rows: int | None = None,
        check: Callable[[], None] = go_on,
    ) -> Rows:
        """int64[k], ascending: the rows below *limit_rows* that satisfy all *matchers*.

        *check* is that of ``Hints``.
        """
        state = self._state
        limit = state.rows if limit_rows is None else min(limit_rows, state.rows)
        if not matchers:
            return np.arange(limit)
        filters = []
        for matcher in matchers:
            name_id = self._name_ids.get(matcher.name)
            if name_id is not None:
                filters.append((self._names[name_id], self._passing(matcher, name_id, check)))
            elif not matcher.matches(""):
                return np.zeros(0, dtype=np.int64)
        rows, filters = self._narrow(state, filters, limit)
        for name, passing in filters:
            if not len(rows):
                break
            rows = _filtered(state, rows, name, passing)
        return rows

    def frame(self, rows: Rows) -> LabelFrame:
        """The labels of *rows*."""
        state = self._state
        names, codes = kernels.frame_codes(
            rows,
            state.row_starts,
            state.row_labels,
            state.label_names,
            state.label_codes,
            state.names,
        )
        columns = {}
        for name_id, column in zip(names.tolist(), codes, strict=True):
            name = self._names[name_id]
            columns[name.text] = _compact(column, name.values)
        return LabelFrame(len(rows), columns)

    def label_names(self, rows: Rows | None = None) -> list[str]:
        """The names that occur (in *rows*), in no order."""
        if rows is not None:
            return [self._names[name_id].text for name_id in self._names_of(rows)]
        return [name.text for name in self._names[: self._state.names]]

    def label_values(self, name: str, rows: Rows | None = None) -> list[str]:
        """The values of *name* that occur (in *rows*), in no order, without ''."""
        name_id = self._name_ids.get(name)
        if name_id is None:
            return []
        if rows is None:
            return self._names[name_id].values[1:]
        column = self.frame(rows).columns.get(name)
        if column is None:
            return []
        used = np.unique(column.codes)
        return [column.values[code] for code in used.tolist() if code]

    def _names_of(self, rows: Rows) -> list[int]:
        state = self._state
        names, _ = kernels.frame_codes(
            rows,
            state.row_starts,
            state.row_labels,
            state.label_names,
            state.label_codes,
            state.names,
        )
        return [int(name_id) for name_id in names]

    def _passing(self, matcher: Matcher, name_id: int, check: Callable[[], None]) -> Passing:
        name = self._names[name_id]
        wanted = matcher.wanted
        if wanted is not None:
            return {name.codes[value] for value in wanted if value in name.codes}
        known = self._verdicts.get(matcher, np.zeros(0, dtype=np.bool_))
        count = name.count
        if len(known) < count:
            fresh = matcher.matches_many(name.values[len(known) : count], check)
            known = np.concatenate((known, fresh))
            with self._caching:
                if len(self._verdicts) >= _CACHED_VERDICTS:
                    del self._verdicts[next(iter(self._verdicts))]
                self._verdicts[matcher] = known
        return known

    def _narrow(
        self, state: _State, filters: list[tuple[LabelName, Passing]], limit: int
    ) -> tuple[Rows, list[tuple[LabelName, Passing]]]:
        """The rows to begin with, and the filters that they have yet to pass."""
        postings = self._postings_for(state)
        best, best_count = -1, postings.rows
        best_labels: Rows = np.zeros(0, dtype=np.int64)
        for at, (name, passing) in enumerate(filters):
            labels = _labels_of(name, passing, len(postings.starts) - 1)
            if labels is None:
                continue
            count = int((postings.starts[labels + 1] - postings.starts[labels]).sum())
            if best < 0 or count < best_count:
                best, best_count, best_labels = at, count, labels
        if best < 0:
            return np.arange(limit), filters
        lists = [
            postings.postings[postings.starts[label] : postings.starts[label + 1]]
            for label in best_labels.tolist()
        ]
        rows = np.concatenate(lists).astype(np.int64) if lists else np.zeros(0, dtype=np.int64)
        if len(lists) > 1:
            rows.sort()
        rows = rows[: np.searchsorted(rows, limit)]
        if limit > postings.rows:
            tail = np.arange(postings.rows, limit)
            rows = np.concatenate((rows, _filtered(state, tail, *filters[best])))
        return rows, filters[:best] + filters[best + 1 :]

    def _postings_for(self, state: _State) -> _Postings:
        """Postings that cover all but a short tail of *state*'s rows."""
        found = self._postings
        if state.rows - found.rows <= max(_TAIL_ROWS, found.rows // 4):
            return found
        with self._building:
            found = self._postings
            if state.rows > found.rows:
                starts = np.zeros(state.labels + 1, dtype=np.int64)
                rows = np.empty(state.row_starts[state.rows], dtype=np.int32)
                kernels.build_postings(state.row_starts, state.row_labels, state.rows, starts, rows)
                found = self._postings = _Postings(state.rows, starts, rows)
        return found

    def in_label_order(self, rows: Rows) -> Rows:
        """*rows* in ascending order of their labels; not for an index that was loaded."""
        state = self._state
        ordered = rows.copy()
        sort_rows(state.row_starts, state.row_labels, self._interner.ranks(state.labels), ordered)
        return ordered

    @classmethod
    def load(cls, table: LabelTable) -> "LabelIndex":
        """An index of the rows of *table*, to select from; nothing may be appended to it."""
        index = cls()
        counts = np.diff(table.name_firsts)
        values = split_texts(table.values, table.value_starts)
        for name_id, (text, first) in enumerate(
            zip(table.names, table.name_firsts.tolist(), strict=False)
        ):
            own = values[first : first + int(counts[name_id])]
            index._names.append(LabelName.of_values(text, own, first))
            index._name_ids[text] = name_id
        label_names = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        label_codes = np.arange(len(values)) - table.name_firsts[label_names] + 1
        index._state = _State(
            rows=len(table.row_starts) - 1,
            row_starts=table.row_starts,
            row_labels=table.row_labels,
            label_names=label_names,
            label_codes=label_codes.astype(np.int32),
            labels=len(values),
            names=len(index._names),
        )
        return index


def _labels_of(name: LabelName, passing: Passing, known_labels: int) -> Rows | None:
    """The labels whose postings hold every row that passes; None where it would not help.

    Labels without postings yet are left out: their rows are all in the tail.
    """
    if isinstance(passing, set):
        if 0 in passing:
            return None
        codes = np.array(sorted(passing), dtype=np.int64)
    else:
        codes = np.flatnonzero(passing)
        if len(codes) > _MOST_LISTS or passing[0]:
            return None
    labels = name.labels[codes]
    return labels[labels < known_labels]


def _filtered(state: _State, rows: Rows, name: LabelName, passing: Passing) -> Rows:
    """Those of *rows* whose value of *name* passes."""
    labels = name.labels
    if isinstance(passing, set):
        codes = np.array([code for code in passing if 0 < code < len(labels)], dtype=np.int64)
        missing_passes = 0 in passing
    else:
        codes = np.flatnonzero(passing[1 : len(labels)]) + 1
        missing_passes = bool(passing[0])
    verdicts = np.zeros(max(state.labels, int(labels[-1]) + 1), dtype=np.uint8)
    verdicts[labels[1:]] = 2
    verdicts[labels[codes]] = 1
    kept: Rows = kernels.filter_rows(
        rows, state.row_starts, state.row_labels, verdicts, missing_passes
    )
    return kept


def _compact(codes: Int32s, values: list[str]) -> LabelColumn:
    """A column whose dictionary is not much longer than the column."""
    if len(values) <= 2 * len(codes) + 16:
        return LabelColumn(codes, tuple(values))
    used, recoded = np.unique(codes, return_inverse=True)
    texts = [values[code] for code in used.tolist()]
    if used[0] == 0:
        return LabelColumn(recoded.astype(np.int32), tuple(texts))
    return LabelColumn((recoded + 1).astype(np.int32), ("", *texts))

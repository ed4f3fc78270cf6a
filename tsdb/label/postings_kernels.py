"""Kernels of the label index: postings, filters and frames.

A series is the list of its label ids: ``row_labels[row_starts[r] : row_starts[r + 1]]``.
"""

from typing import Any

import numpy as np

from series.jit import kernel

_INT32 = "Array(i4, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"


@kernel(f"void({_INT64}, {_INT32}, i8, i8[::1], i4[::1])")
def build_postings(
    row_starts: Any, row_labels: Any, row_count: int, starts: Any, rows: Any
) -> None:
    """Counting sort of the first *row_count* rows by label.

    ``rows[starts[l] : starts[l + 1]]`` becomes the ascending rows that have label l; ``starts``
    int64[labels + 1] comes in as zeros.
    """
    for entry in range(row_starts[row_count]):
        starts[row_labels[entry]] += 1
    total = 0
    for label in range(len(starts)):
        total += starts[label]
        starts[label] = total
    for row in range(row_count - 1, -1, -1):
        for entry in range(row_starts[row], row_starts[row + 1]):
            label = row_labels[entry]
            starts[label] -= 1
            rows[starts[label]] = row


@kernel(f"i8[::1]({_INT64}, {_INT64}, {_INT32}, u1[::1], b1)")
def filter_rows(
    rows: Any, row_starts: Any, row_labels: Any, verdicts: Any, missing_passes: bool
) -> Any:
    """The *rows* that pass a condition on one label name.

    ``verdicts`` uint8[labels]: 0 for a label of another name, 1 where it passes, 2 where not. A
    row without the name passes where *missing_passes*.
    """
    kept = np.empty(len(rows), np.int64)
    count = 0
    for row in rows:
        passes = missing_passes
        for entry in range(row_starts[row], row_starts[row + 1]):
            verdict = verdicts[row_labels[entry]]
            if verdict != 0:
                passes = verdict == 1
                break
        if passes:
            kept[count] = row
            count += 1
    return kept[:count]


@kernel(f"Tuple((i8[::1], i4[:, ::1]))({_INT64}, {_INT64}, {_INT32}, {_INT32}, {_INT32}, i8)")
def frame_codes(
    rows: Any,
    row_starts: Any,
    row_labels: Any,
    label_names: Any,
    label_codes: Any,
    name_count: int,
) -> Any:
    """The labels of *rows* as columns: (names int64[k] that occur, codes int32[k, rows])."""
    column_of = np.full(name_count, -1, np.int64)
    names = np.empty(name_count, np.int64)
    count = 0
    for row in rows:
        for entry in range(row_starts[row], row_starts[row + 1]):
            name = label_names[row_labels[entry]]
            if column_of[name] < 0:
                column_of[name] = count
                names[count] = name
                count += 1
    codes = np.zeros((count, len(rows)), np.int32)
    for i in range(len(rows)):
        for entry in range(row_starts[rows[i]], row_starts[rows[i] + 1]):
            label = row_labels[entry]
            codes[column_of[label_names[label]], i] = label_codes[label]
    return names[:count], codes

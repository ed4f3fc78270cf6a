"""The scan of an exposition page: one pass from the plain lines of its text to columns.

Only what nearly every line looks like is read here: ASCII names, label values without escapes,
decimal numbers. Every other line is handed back as it is, to be read with care by
``exposition_lines``; so this file decides nothing about what is an error.

Kernels run without bounds checks: every read of the page is preceded by a comparison with the end
of its line, and each line ends before the page does.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import helper, kernel, pointer
from wire.exposition_helpers import (
    CAREFUL,
    CLOSE,
    COLON,
    COMMA,
    DIGIT,
    EQUALS,
    HASH,
    LETTER,
    OPEN,
    PLAIN,
    QUOTE,
    SPACE,
    TAB,
    ZERO,
    bound_print,
    compare,
    is_exemplar,
    put_label,
    read_number,
    skip_blanks,
    skip_name,
    skip_plain_text,
)

OTHER_TYPE = 0
HISTOGRAM = 1
SUMMARY = 2

MAX_LABELS = 64
TAIL = b"__name__lequantile"
"""What a caller puts behind the last line of the page: the label names that matter here."""

_NEWLINE = 10


@helper
def _ends_with(data: Any, at: Any, end: Any, first: Any, last: Any, length: Any) -> Any:
    """Whether the last word of [at, end) has these first and last letters and this length."""
    start = end - length
    if start <= at or (data[start - 1] != SPACE and data[start - 1] != TAB):
        return False
    return data[start] == first and data[end - 1] == last


@helper
def _is_type(data: Any, at: Any, end: Any) -> Any:
    """Whether the first word of [at, end), of more than five bytes, is TYPE."""
    if data[at] != 84 or data[at + 1] != 89 or data[at + 2] != 80 or data[at + 3] != 69:
        return False
    return data[at + 4] == SPACE or data[at + 4] == TAB


@kernel(
    "UniTuple(i8, 6)(u1[::1], i8, b1, i8, u1[::1], i8[:, ::1], u1[::1], u1[::1], f8[::1], i8[::1],"
    " i8[:, ::1], i8[:, ::1])"
)
def scan(
    page: NDArray[np.uint8],
    size: int,
    openmetrics: bool,
    kind: Any,
    keys: NDArray[np.uint8],
    rows: NDArray[np.int64],
    shapes: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    values: NDArray[np.float64],
    times_ms: NDArray[np.int64],
    comments: NDArray[np.int64],
    exemplar_spans: NDArray[np.int64],
) -> tuple[int, int, int, int, int, int]:
    """Reads the whole lines in ``page[:size]``: (samples, timed, comments, key bytes, kind,
    exemplars).

    Behind *size* the page holds TAIL. *kind* is the type that holds where the page begins
    (HISTOGRAM, SUMMARY or OTHER_TYPE), and is returned as it holds where it ends.

    Fills, a row a line that is no comment: ``rows[r] = (line start, line end, key start, key end,
    value start, value end, index into times_ms or -1)``, ``shapes[r]``, ``kinds[r]``,
    ``values[r]``; ``times_ms`` for rows with a time of their own; ``comments[c] = (line start,
    line end)`` for lines that describe a metric (in OpenMetrics: all that begin with ``#``); and
    ``exemplar_spans[e] = (row, start, end)`` for the plain exemplars of rows that were read.
    A line's end is where its newline stands. *keys* has room for 4 bytes a byte of the page and
    32 more; the others have as many rows as the page has lines.
    """
    data = pointer(page)
    labels = np.empty((MAX_LABELS, 4), dtype=np.int64)
    count: Any = np.int64(0)
    timed: Any = np.int64(0)
    described: Any = np.int64(0)
    used: Any = np.int64(0)
    exemplars: Any = np.int64(0)
    at: Any = np.int64(0)
    while at < size:
        start = at
        end = at
        while end < size and data[end] != _NEWLINE:
            end += 1
        at = end + 1
        if not openmetrics and skip_blanks(data, start, end) == end:
            continue
        if start < end and data[start] == HASH:
            word = skip_blanks(data, start + 1, end)
            describes = (end - word > 5 and word > start + 1) and (
                (data[word] == 72 and data[word + 1] == 69)
                or (data[word] == 84 and data[word + 1] == 89)
            )
            if describes or openmetrics:
                comments[described, 0] = start
                comments[described, 1] = end
                described += 1
                if describes and _is_type(data, word, end):
                    if _ends_with(data, word, end, 104, 109, 9):
                        kind = np.int64(HISTOGRAM)
                    elif _ends_with(data, word, end, 115, 121, 7):
                        kind = np.int64(SUMMARY)
                    else:
                        kind = np.int64(OTHER_TYPE)
            continue

        row = count
        count += 1
        rows[row, 0] = start
        rows[row, 1] = end
        rows[row, 2] = used
        rows[row, 3] = used
        rows[row, 4] = start
        rows[row, 5] = start
        rows[row, 6] = -1
        shapes[row] = CAREFUL
        kinds[row] = kind
        values[row] = 0.0

        here = skip_name(data, start, end, LETTER | COLON, LETTER | DIGIT | COLON)
        if here == start:
            continue
        label_count = np.int64(1)
        labels[0, 0] = size
        labels[0, 1] = size + 8
        labels[0, 2] = start
        labels[0, 3] = here
        sound = True
        bound = np.int64(-1)
        bound_suffix = np.int64(0)
        if here < end and data[here] == OPEN:
            here += 1
            while True:
                if not openmetrics:
                    here = skip_blanks(data, here, end)
                if here < end and data[here] == CLOSE:
                    here += 1
                    break
                name = here
                here = skip_name(data, here, end, LETTER, LETTER | DIGIT)
                name_end = here
                if name == here or end - here < 3 or data[here] != EQUALS:
                    sound = False
                    break
                if data[here + 1] != QUOTE:
                    sound = False
                    break
                value = here + 2
                here = skip_plain_text(data, value, end)
                if here < 0 or label_count == MAX_LABELS:
                    sound = False
                    break
                value_end = here
                here += 1
                if not openmetrics:
                    here = skip_blanks(data, here, end)
                if here < end and data[here] == COMMA:
                    here += 1
                elif here >= end or data[here] != CLOSE:
                    sound = False
                    break
                slot: Any = label_count
                order: Any = 1
                while slot > 0:
                    order = compare(data, name, name_end, labels[slot - 1, 0], labels[slot - 1, 1])
                    if order >= 0:
                        break
                    slot -= 1
                if slot > 0 and order == 0:
                    sound = False
                    break
                for later in range(label_count, slot, -1):
                    for part in range(4):
                        labels[later, part] = labels[later - 1, part]
                labels[slot, 0] = name
                labels[slot, 1] = name_end
                labels[slot, 2] = value
                labels[slot, 3] = value_end
                label_count += 1
                bounds = size + 8 if kind == HISTOGRAM else size + 10
                bounds_end = size + 10 if kind == HISTOGRAM else size + 18
                if kind != OTHER_TYPE and compare(data, name, name_end, bounds, bounds_end) == 0:
                    printed = bound_print(data, value, value_end)
                    if printed == 2:
                        sound = False
                        break
                    if printed == 1:
                        bound = value
                        bound_suffix = np.int64(1)
        if not sound:
            continue

        blanks = here
        here = here + 1 if openmetrics else skip_blanks(data, here, end)
        if blanks >= end or data[blanks] > SPACE or (openmetrics and data[blanks] != SPACE):
            continue
        number = here
        if end - here >= 3 and data[here] == 78 and data[here + 1] == 97 and data[here + 2] == 78:
            parsed, shape, here = np.nan, PLAIN, here + 3
        else:
            parsed, shape, here = read_number(data, here, end)
        number_end = here
        if shape == CAREFUL:
            continue
        time_ms: Any = np.int64(0)
        has_time = False
        if here < end and openmetrics:
            if data[here] == SPACE and here + 1 < end and data[here + 1] != HASH:
                seconds, seconds_shape, here = read_number(data, here + 1, end)
                if seconds_shape != PLAIN or not abs(seconds) < 1e12:
                    continue
                has_time = True
                time_ms = np.int64(np.rint(seconds * 1000.0))
            if here < end:
                if not is_exemplar(data, here, end):
                    continue
                exemplar_spans[exemplars, 0] = row
                exemplar_spans[exemplars, 1] = here
                exemplar_spans[exemplars, 2] = end
                exemplars += 1
        elif here < end:
            here = skip_blanks(data, here, end)
            first = here
            while here < end and ZERO <= data[here] <= 57 and here - first < 18:
                time_ms = time_ms * 10 + (data[here] - ZERO)
                here += 1
            has_time = here > first
            if first == number_end or skip_blanks(data, here, end) != end:
                continue

        for slot in range(label_count):
            if labels[slot, 2] < labels[slot, 3]:
                label = (labels[slot, 0], labels[slot, 1], labels[slot, 2], labels[slot, 3])
                used = put_label(
                    keys, used, data, label, bound_suffix if labels[slot, 2] == bound else 0
                )
        rows[row, 3] = used
        rows[row, 4] = number
        rows[row, 5] = number_end
        shapes[row] = shape
        values[row] = parsed
        if has_time:
            rows[row, 6] = timed
            times_ms[timed] = time_ms
            timed += 1
    return count, timed, described, used, kind, exemplars

"""The kernels that write points as Prometheus does, ``[time,"value"]``, with Go's formatting."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import helper, kernel, load_u64, pointer
from server.number_helpers import NUMBER_ROOM, OVERRUN, put_number, put_word

TIME_ROOM = 32
"""Bytes that a time with what stands before it needs at most."""
POINT_ROOM = TIME_ROOM + NUMBER_ROOM
"""Bytes that one point needs at most."""
SPARE = OVERRUN
"""Bytes that are needed once more than there is to write: texts are copied a word at a time."""

_QUOTE, _COMMA, _DOT, _MINUS, _ZERO = 0x22, 0x2C, 0x2E, 0x2D, 0x30
_OPEN, _CLOSE = 0x5B, 0x5D
_CLOSING = 3
"""The end of the point before, with which a prefix begins."""


@helper
def _put_integer(number: Any, out: Any, at: Any) -> Any:
    """Writes the decimal digits of *number* >= 0; the position behind them."""
    digits = 1
    rest = number // 10
    while rest:
        digits += 1
        rest //= 10
    end = at + digits
    for position in range(end - 1, at - 1, -1):
        out[position] = _ZERO + number % 10
        number //= 10
    return end


@kernel("void(i8[::1], u1[::1], i8[::1])")
def time_prefixes(
    times_ms: NDArray[np.int64], out: NDArray[np.uint8], starts: NDArray[np.int64]
) -> None:
    """Writes ``"],[time,"`` for every time, at ``out[starts[k] : starts[k + 1]]``.

    Times are unix seconds with three decimals, or none where they are whole. *out* holds TIME_ROOM
    bytes a time and *starts* is one longer than *times_ms*.
    """
    data = pointer(out)
    at = np.int64(0)
    for k in range(len(times_ms)):
        starts[k] = at
        data[at], data[at + 1], data[at + 2], data[at + 3] = _QUOTE, _CLOSE, _COMMA, _OPEN
        at += _CLOSING + 1
        time_ms = times_ms[k]
        if time_ms < 0:
            data[at] = _MINUS
            at += 1
            time_ms = -time_ms
        at = _put_integer(time_ms // 1000, data, at)
        rest = time_ms % 1000
        if rest:
            data[at] = _DOT
            data[at + 1] = _ZERO + rest // 100
            data[at + 2] = _ZERO + rest // 10 % 10
            data[at + 3] = _ZERO + rest % 10
            at += 4
        data[at] = _COMMA
        data[at + 1] = _QUOTE
        at += 2
    starts[len(times_ms)] = at


@helper
def _put_words(text: Any, start: Any, end: Any, out: Any, at: Any) -> Any:
    """Copies [start, end) of *text*, and up to seven bytes behind it."""
    behind = at + (end - start)
    while start < end:
        put_word(out, at, load_u64(text, start))
        start += 8
        at += 8
    return behind


@kernel(
    "i8(f8[:, ::1], b1[:, ::1], i8[::1], i8, u1[::1], i8[::1], u1[::1], i8[::1], u1[::1], u1[::1])"
)
def write_series(
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    rows: NDArray[np.int64],
    times_a_row: int,
    heads: NDArray[np.uint8],
    head_starts: NDArray[np.int64],
    prefixes: NDArray[np.uint8],
    prefix_starts: NDArray[np.int64],
    tail: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> int:
    """Writes R series, each behind a comma, and returns the bytes written.

    Series k has the points of *values* [S, T] that are *present* in ``rows[k]``, one at least,
    between the head ``heads[head_starts[k] : head_starts[k + 1]]`` and *tail*. The time of
    ``values[row, t]`` is the prefix ``row * times_a_row + t``. *heads*, *prefixes* and *out* have
    SPARE bytes more than they need; *out* needs room for the heads, the tails and a comma each,
    and POINT_ROOM a point.
    """
    data, times, starts, ends = pointer(out), pointer(prefixes), pointer(heads), pointer(tail)
    at: Any = np.int64(0)
    before, number, behind = np.uint64(0), np.int64(0), np.int64(0)
    for k in range(len(rows)):
        row = rows[k]
        data[at] = _COMMA
        at = _put_words(starts, head_starts[k], head_starts[k + 1], data, at + 1)
        skipped = _CLOSING
        for step in range(values.shape[1]):
            if not present[row, step]:
                continue
            column = row * times_a_row + step
            start = prefix_starts[column] + skipped
            at = _put_words(times, start, prefix_starts[column + 1], data, at)
            skipped = 0
            value = values[row, step]
            bits = np.float64(value).view(np.uint64)
            start = at
            if bits == before and behind > 0:
                at = _put_words(data, number, behind, data, at)
            else:
                at = put_number(value, data, at)
            before, number, behind = bits, start, at
        data[at], data[at + 1] = _QUOTE, _CLOSE
        at += 2
        for n in range(len(tail)):
            data[at] = ends[n]
            at += 1
    return at  # type: ignore[no-any-return]


HISTOGRAM_ROOM = 160
"""Bytes that one histogram needs at most besides its time and buckets."""
BUCKET_ROOM = 3 * NUMBER_ROOM + 16
"""Bytes that one bucket needs at most."""


@helper
def _put_text(text: Any, start: Any, end: Any, out: Any, at: Any) -> Any:
    for k in range(start, end):
        out[at] = text[k]
        at += 1
    return at


_COUNT = np.frombuffer(bytearray(b'{"count":"'), dtype=np.uint8)
_SUM = np.frombuffer(bytearray(b'","sum":"'), dtype=np.uint8)
_BUCKETS = np.frombuffer(bytearray(b'","buckets":['), dtype=np.uint8)
_BETWEEN = np.frombuffer(bytearray(b'","'), dtype=np.uint8)


@kernel(
    "i8(f8[::1], i8[::1], i8[::1], u1[::1], i8[::1], u1[::1], i8[::1], u1[::1],"
    " i8[::1], u1[::1], i8[::1], u1[::1])"
)
def write_mixed(
    values: NDArray[np.float64],
    columns: NDArray[np.int64],
    sizes: NDArray[np.int64],
    rules: NDArray[np.uint8],
    part_ends: NDArray[np.int64],
    heads: NDArray[np.uint8],
    head_starts: NDArray[np.int64],
    tails: NDArray[np.uint8],
    tail_starts: NDArray[np.int64],
    prefixes: NDArray[np.uint8],
    prefix_starts: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> int:
    """Writes points that are floats or histograms, and returns the bytes written.

    Point p is a float where ``sizes[p]`` is -1, else a histogram with so many buckets. A float is
    one of the *values*; a histogram is its count, its sum and for each bucket the bounds and the
    count, with the bucket's rule in *rules*. Point p's time is the prefix ``columns[p]``. Part k
    has the points up to ``part_ends[k]`` behind those of part k - 1, comma-separated, between its
    head and its tail. *out* has room for all of these, and SPARE bytes.
    """
    data, times = pointer(out), pointer(prefixes)
    at: Any = np.int64(0)
    number = np.int64(0)
    bucket = np.int64(0)
    point = np.int64(0)
    for part in range(len(part_ends)):
        at = _put_text(heads, head_starts[part], head_starts[part + 1], data, at)
        first = point
        while point < part_ends[part]:
            if point > first:
                data[at] = _COMMA
                at += 1
            column = columns[point]
            start = prefix_starts[column] + _CLOSING
            at = _put_text(times, start, prefix_starts[column + 1], data, at)
            size = sizes[point]
            if size < 0:
                at = put_number(values[number], data, at)
                number += 1
                data[at] = _QUOTE
                data[at + 1] = _CLOSE
                at += 2
                point += 1
                continue
            at = _put_text(_COUNT, 0, len(_COUNT), data, at - 1)
            at = put_number(values[number], data, at)
            at = _put_text(_SUM, 0, len(_SUM), data, at)
            at = put_number(values[number + 1], data, at)
            number += 2
            for k in range(size):
                if k == 0:
                    at = _put_text(_BUCKETS, 0, len(_BUCKETS), data, at)
                else:
                    data[at] = _COMMA
                    at += 1
                data[at] = _OPEN
                data[at + 1] = _ZERO + rules[bucket]
                data[at + 2] = _COMMA
                data[at + 3] = _QUOTE
                at += 4
                for n in range(3):
                    if n > 0:
                        at = _put_text(_BETWEEN, 0, len(_BETWEEN), data, at)
                    at = put_number(values[number], data, at)
                    number += 1
                data[at] = _QUOTE
                data[at + 1] = _CLOSE
                at += 2
                bucket += 1
            data[at] = _CLOSE if size > 0 else _QUOTE
            data[at + 1] = 0x7D
            data[at + 2] = _CLOSE
            at += 3
            point += 1
        at = _put_text(tails, tail_starts[part], tail_starts[part + 1], data, at)
    return at  # type: ignore[no-any-return]

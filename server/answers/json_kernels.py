"""The splice that turns orjson's numbers into Prometheus' points.

``orjson.dumps`` writes an array of floats very fast, but as numbers (``[1.0,2e-7,null]``) where
the API wants ``[time,"1"]`` with Go's formatting. One pass over its text mends both.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import helper, kernel, pointer

POINT_ROOM = 40
"""Bytes that one point needs at most besides its time."""
TIME_ROOM = 32
"""Bytes that ``[time,"`` needs at most."""

_QUOTE, _COMMA, _DOT, _MINUS, _PLUS, _ZERO = 0x22, 0x2C, 0x2E, 0x2D, 0x2B, 0x30
_OPEN, _CLOSE = 0x5B, 0x5D


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
    """Writes ``[time,"`` for every time, at ``out[starts[k] : starts[k + 1]]``.

    Times are unix seconds with three decimals, or none where they are whole. *out* holds TIME_ROOM
    bytes a time and *starts* is one longer than *times_ms*.
    """
    data = pointer(out)
    at = np.int64(0)
    for k in range(len(times_ms)):
        starts[k] = at
        data[at] = _OPEN
        at += 1
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
def _put_special(value: Any, out: Any, at: Any) -> Any:
    if value != value:
        out[at], out[at + 1], out[at + 2] = 0x4E, 0x61, 0x4E  # NaN
        return at + 3
    out[at] = _PLUS if value > 0 else _MINUS
    out[at + 1], out[at + 2], out[at + 3] = 0x49, 0x6E, 0x66  # Inf
    return at + 4


@helper
def _put_scientific(text: Any, start: Any, mark: Any, end: Any, out: Any, at: Any) -> Any:
    """Writes the number ``d.ddde±x`` at [start, end), whose ``e`` is at *mark*, as Go does.

    Positional from 1e-6 up to below 1e21, else with an exponent of at least two digits.
    """
    if text[start] == _MINUS:
        out[at] = _MINUS
        at += 1
        start += 1
    position = mark + 1
    negative = text[position] == _MINUS
    if negative or text[position] == _PLUS:
        position += 1
    exponent = np.int64(0)
    while position < end:
        exponent = exponent * 10 + (np.int64(text[position]) - _ZERO)
        position += 1
    if negative:
        exponent = -exponent
    if mark > start + 2 and text[mark - 1] == _ZERO and text[mark - 2] == _DOT:
        mark -= 2
    if exponent < -6 or exponent >= 21:
        while start < mark:
            out[at] = text[start]
            at += 1
            start += 1
        out[at] = 0x65  # e
        out[at + 1] = _MINUS if exponent < 0 else _PLUS
        at += 2
        size = -exponent if exponent < 0 else exponent
        if size < 10:
            out[at] = _ZERO
            at += 1
        return _put_integer(size, out, at)
    if exponent < 0:
        out[at], out[at + 1] = _ZERO, _DOT
        at += 2
        for _ in range(-exponent - 1):
            out[at] = _ZERO
            at += 1
    written = np.int64(0)
    while start < mark:
        if text[start] != _DOT:
            if exponent >= 0 and written == exponent + 1:
                out[at] = _DOT
                at += 1
            out[at] = text[start]
            at += 1
            written += 1
        start += 1
    while written <= exponent:
        out[at] = _ZERO
        at += 1
        written += 1
    return at


@helper
def _put_number(text: Any, start: Any, value: Any, out: Any, at: Any) -> Any:
    """Writes the number of *value* that stands at *start* of *text*; (behind it, at) afterwards."""
    position = start
    mark = np.int64(-1)
    while text[position] != _COMMA and text[position] != _CLOSE:
        if text[position] == 0x65:
            mark = position
        position += 1
    if text[start] == 0x6E:  # null
        at = _put_special(value, out, at)
    elif mark >= 0:
        at = _put_scientific(text, start, mark, position, out, at)
    else:
        end = position
        if end - start > 2 and text[end - 1] == _ZERO and text[end - 2] == _DOT:
            end -= 2
        for k in range(start, end):
            out[at] = text[k]
            at += 1
    return position + 1, at


@kernel(
    "i8(u1[::1], f8[::1], i8[::1], i8[::1], u1[::1], i8[::1], u1[::1], i8[::1], u1[::1], u1[::1])"
)
def splice(
    numbers: NDArray[np.uint8],
    values: NDArray[np.float64],
    columns: NDArray[np.int64],
    row_ends: NDArray[np.int64],
    heads: NDArray[np.uint8],
    head_starts: NDArray[np.int64],
    prefixes: NDArray[np.uint8],
    prefix_starts: NDArray[np.int64],
    tail: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> int:
    """Writes R series, comma-separated, and returns the bytes written.

    Point p stands in *numbers*, the text that orjson made of *values*; its time is the prefix
    ``columns[p]``. Row r has the points up to ``row_ends[r]`` behind those of row r - 1, between
    the head ``heads[head_starts[r] : head_starts[r + 1]]`` and *tail*. *out* has room for the
    heads and tails with a comma each, and for POINT_ROOM and a prefix a point.
    """
    data, text, times, starts = pointer(out), pointer(numbers), pointer(prefixes), pointer(heads)
    at: Any = np.int64(0)
    position = np.int64(1)
    point = np.int64(0)
    for row in range(len(row_ends)):
        if row:
            data[at] = _COMMA
            at += 1
        for k in range(head_starts[row], head_starts[row + 1]):
            data[at] = starts[k]
            at += 1
        first = point
        while point < row_ends[row]:
            if point > first:
                data[at] = _COMMA
                at += 1
            column = columns[point]
            for k in range(prefix_starts[column], prefix_starts[column + 1]):
                data[at] = times[k]
                at += 1
            position, at = _put_number(text, position, values[point], data, at)
            data[at] = _QUOTE
            data[at + 1] = _CLOSE
            at += 2
            point += 1
        for k in range(len(tail)):
            data[at] = tail[k]
            at += 1
    return at  # type: ignore[no-any-return]


HISTOGRAM_ROOM = 160
"""Bytes that one histogram needs at most besides its time and buckets."""
BUCKET_ROOM = 3 * POINT_ROOM + 8
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
    "i8(u1[::1], f8[::1], i8[::1], i8[::1], u1[::1], i8[::1], u1[::1], i8[::1], u1[::1],"
    " i8[::1], u1[::1], i8[::1], u1[::1])"
)
def splice_mixed(
    numbers: NDArray[np.uint8],
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
    one of the *numbers*, the text that orjson made of *values*; a histogram is its count, its sum
    and for each bucket the bounds and the count, with the bucket's rule in *rules*. Point p's time
    is the prefix ``columns[p]``. Part k has the points up to ``part_ends[k]`` behind those of part
    k - 1, comma-separated, between its head and its tail. *out* has room for all of these.
    """
    data, text, times = pointer(out), pointer(numbers), pointer(prefixes)
    at: Any = np.int64(0)
    position: Any = np.int64(1)
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
            at = _put_text(times, prefix_starts[column], prefix_starts[column + 1], data, at)
            size = sizes[point]
            if size < 0:
                position, at = _put_number(text, position, values[number], data, at)
                number += 1
                data[at] = _QUOTE
                data[at + 1] = _CLOSE
                at += 2
                point += 1
                continue
            at = _put_text(_COUNT, 0, len(_COUNT), data, at - 1)
            position, at = _put_number(text, position, values[number], data, at)
            at = _put_text(_SUM, 0, len(_SUM), data, at)
            position, at = _put_number(text, position, values[number + 1], data, at)
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
                    position, at = _put_number(text, position, values[number], data, at)
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

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
            start = position
            mark = np.int64(-1)
            while text[position] != _COMMA and text[position] != _CLOSE:
                if text[position] == 0x65:
                    mark = position
                position += 1
            if text[start] == 0x6E:  # null
                at = _put_special(values[point], data, at)
            elif mark >= 0:
                at = _put_scientific(text, start, mark, position, data, at)
            else:
                end = position
                if end - start > 2 and text[end - 1] == _ZERO and text[end - 2] == _DOT:
                    end -= 2
                for k in range(start, end):
                    data[at] = text[k]
                    at += 1
            position += 1
            data[at] = _QUOTE
            data[at + 1] = _CLOSE
            at += 2
            point += 1
        for k in range(len(tail)):
            data[at] = tail[k]
            at += 1
    return at  # type: ignore[no-any-return]

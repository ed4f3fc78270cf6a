"""Kernel of the limit on series of one metric: which metric each key belongs to."""

from typing import Any

import numpy as np

from series.jit import fold_u64, helper, kernel

_BYTES = "Array(u1, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"

_NAME = tuple(b"__name__")


@helper
def _size(data: Any, at: Any, end: Any) -> Any:
    """(number, where it ends) of a varint of up to five bytes; -1 where there is none."""
    number = 0
    shift = 0
    while at < end and shift <= 28:
        byte = int(data[at])
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    return -1, at


@helper
def _is_name(data: Any, at: Any, size: Any) -> Any:
    same = size == 8
    for k in range(8 if same else 0):
        same = same and data[at + k] == _NAME[k]
    return same


@helper
def _metric_name(data: Any, at: Any, end: Any) -> Any:
    """(start, end) of the value of ``__name__`` in the key [at, end); -1 where it has none."""
    while at < end:
        size, at = _size(data, at + 1, end)
        stop = at + size
        if size < 4 or stop > end:
            break
        size, name = _size(data, at + 1, stop)
        if size < 0 or name + size >= stop:
            break
        value_size, value = _size(data, name + size + 1, stop)
        if value_size < 0 or value + value_size > stop:
            break
        if _is_name(data, name, size):
            return value, value + value_size
        at = stop
    return -1, -1


@kernel(f"void({_BYTES}, {_INT64}, {_INT64}, u8, u8[::1], i8[:, ::1])")
def hash_metric_names(
    keys: Any, key_starts: Any, key_ends: Any, seed: Any, hashes: Any, spans: Any
) -> None:
    """A hash of the metric name in every key under *seed* (secret), and where it stands.

    ``spans[r] = (start, end)`` in *keys*, both -1 where key r has none or is malformed: its hash
    is that of no name.
    """
    for row in range(len(key_starts)):
        start, end = _metric_name(keys, key_starts[row], key_ends[row])
        spans[row, 0] = start
        spans[row, 1] = end
        state = seed
        for at in range(start, end):
            state = fold_u64(state ^ np.uint64(keys[at]), seed | np.uint64(1))
        hashes[row] = fold_u64(state ^ np.uint64(end - start), ~seed)

"""What the limits ask of the keys of a batch: how many labels, how long, what one of them says.

Keys are canonical (``series/labels.py``), which every decoder sees to; even so nothing is read
beyond a key's end.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import helper, kernel, pointer
from wire.protobuf_helpers import OK, read_length

_BYTES = "Array(u1, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"

FITS, TOO_MANY_NAMES, NAME_TOO_LONG, VALUE_TOO_LONG = range(4)


@helper
def _label(data: Any, at: Any, end: Any) -> Any:
    """(name, name end, value, value end) of the label at *at*; all -1 where there is none."""
    bad = np.int64(-1)
    if at + 2 >= end:
        return bad, bad, bad, bad
    size, at, status = read_length(data, at + 1, end)
    if status != OK or size < 4:
        return bad, bad, bad, bad
    stop = at + size
    size, name, status = read_length(data, at + 1, stop)
    if status != OK or name + size >= stop:
        return bad, bad, bad, bad
    name_end = name + size
    size, value, status = read_length(data, name_end + 1, stop)
    if status != OK:
        return bad, bad, bad, bad
    return name, name_end, value, value + size


@helper
def _equal(data: Any, at: Any, end: Any, text: Any, size: Any) -> Any:
    if end - at != size:
        return False
    k = 0
    while k < size and data[at + k] == text[k]:
        k += 1
    return k == size


@kernel(f"i8({_BYTES}, {_INT64}, {_INT64}, i8, i8, i8, u1[::1])")
def judge(
    keys: NDArray[np.uint8],
    key_starts: NDArray[np.int64],
    key_ends: NDArray[np.int64],
    max_names: int,
    max_name_bytes: int,
    max_value_bytes: int,
    verdicts: NDArray[np.uint8],
) -> int:
    """Fills ``verdicts[r]`` for every key, FITS or the limit it breaks first; how many do."""
    data = pointer(keys)
    broken: Any = np.int64(0)
    for row in range(len(key_starts)):
        at: Any = key_starts[row]
        end: Any = key_ends[row]
        names = np.int64(0)
        verdict = FITS
        while at < end and verdict == FITS:
            name, name_end, value, value_end = _label(data, at, end)
            if name < 0:
                break
            names += 1
            if name_end - name > max_name_bytes:
                verdict = NAME_TOO_LONG
            elif value_end - value > max_value_bytes:
                verdict = VALUE_TOO_LONG
            elif names > max_names:
                verdict = TOO_MANY_NAMES
            at = value_end
        verdicts[row] = verdict
        broken += verdict != FITS
    return int(broken)


@kernel(f"void({_BYTES}, {_INT64}, {_INT64}, {_BYTES}, i8[:, ::1])")
def find_label(
    keys: NDArray[np.uint8],
    key_starts: NDArray[np.int64],
    key_ends: NDArray[np.int64],
    wanted: NDArray[np.uint8],
    found: NDArray[np.int64],
) -> None:
    """``found[r] = (label start, value start, value end, run)`` of the label named *wanted*.

    The first three are -1 where key r has none. Rows with equal values, one after the other, share
    a run; runs count from 0.
    """
    data = pointer(keys)
    text = pointer(wanted)
    run = np.int64(-1)
    before = np.int64(0)
    before_end = np.int64(-2)
    for row in range(len(key_starts)):
        at: Any = key_starts[row]
        end: Any = key_ends[row]
        label = np.int64(-1)
        start = np.int64(-1)
        stop = np.int64(-1)
        while at < end:
            name, name_end, value, value_end = _label(data, at, end)
            if name < 0:
                break
            if _equal(data, name, name_end, text, len(wanted)):
                label = at
                start = value
                stop = value_end
                break
            at = value_end
        same = stop - start == before_end - before
        if same:
            for k in range(stop - start):
                if data[start + k] != data[before + k]:
                    same = False
                    break
        if not same:
            run += 1
            before = start
            before_end = stop
        found[row, 0] = label
        found[row, 1] = start
        found[row, 2] = stop
        found[row, 3] = run


@kernel(f"void({_BYTES}, {_INT64}, {_INT64}, i8[:, ::1], u1[::1], i8[::1])")
def cut_label(
    keys: NDArray[np.uint8],
    key_starts: NDArray[np.int64],
    key_ends: NDArray[np.int64],
    found: NDArray[np.int64],
    out: NDArray[np.uint8],
    out_ends: NDArray[np.int64],
) -> None:
    """Writes every key without the label that ``find_label`` found in it, end to end into *out*.

    *out* is as long as all keys together; ``out_ends[r]`` is where key r ends in it.
    """
    data = pointer(keys)
    target = pointer(out)
    at = np.int64(0)
    for row in range(len(key_starts)):
        cut: Any = found[row, 0]
        cut_end: Any = found[row, 2]
        for k in range(key_starts[row], key_ends[row]):
            if k < cut or k >= cut_end:
                target[at] = data[k]
                at += 1
        out_ends[row] = at

"""Kernels of a block's labels: rows told by the row before, and the keys that labels make up."""

from typing import Any

from series.jit import helper, kernel

_BYTES = "Array(u1, 1, 'C', True)"
_INT32 = "Array(i4, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"


@kernel(f"i8({_INT64}, {_INT32}, i8[::1], i4[::1])")
def shorten_rows(row_starts: Any, row_labels: Any, shared: Any, own_labels: Any) -> int:
    """Fills ``shared[r]`` with how many labels row r begins with as row r - 1 does.

    ``own_labels`` gets the others of all rows, end to end; returns how many those are.
    """
    made = 0
    before = before_end = 0
    for row in range(len(row_starts) - 1):
        at, end = row_starts[row], row_starts[row + 1]
        start = at
        while at < end and before < before_end and row_labels[at] == row_labels[before]:
            at += 1
            before += 1
        shared[row] = at - start
        while at < end:
            own_labels[made] = row_labels[at]
            made += 1
            at += 1
        before, before_end = start, end
    return made


@kernel(f"b1({_INT64}, {_INT64}, {_INT64}, i8[::1], i4[::1])")
def restore_rows(shared: Any, own: Any, own_labels: Any, row_starts: Any, row_labels: Any) -> bool:
    """Undoes ``shorten_rows``; row r has ``own[r]`` labels of its own.

    ``row_labels`` has room for the sums of *shared* and *own*, which are not negative; as many
    labels are in ``own_labels`` as *own* says. False where a row shares more than there is.
    """
    at = taken = 0
    before = before_end = 0
    row_starts[0] = 0
    for row in range(len(shared)):
        start = at
        if shared[row] > before_end - before:
            return False
        for _ in range(shared[row]):
            row_labels[at] = row_labels[before]
            at += 1
            before += 1
        for _ in range(own[row]):
            row_labels[at] = own_labels[taken]
            at += 1
            taken += 1
        row_starts[row + 1] = at
        before, before_end = start, at
    return True


@helper
def _put_size(out: Any, at: Any, size: Any) -> Any:
    """Writes *size* as a varint; where it ends."""
    while size >= 0x80:
        out[at] = size & 0x7F | 0x80
        size >>= 7
        at += 1
    out[at] = size
    return at + 1


@helper
def _put(out: Any, at: Any, tag: Any, data: Any, start: Any, end: Any) -> Any:
    """Writes a field of bytes; where it ends."""
    out[at] = tag
    at = _put_size(out, at + 1, end - start)
    for i in range(start, end):
        out[at] = data[i]
        at += 1
    return at


@helper
def _size_bytes(size: Any) -> Any:
    found = 1
    while size >= 0x80:
        size >>= 7
        found += 1
    return found


@kernel(f"void({_BYTES}, {_INT64}, {_INT64}, {_BYTES}, {_INT64}, u1[::1], i8[::1])")
def encode_labels(
    names: Any,
    name_bounds: Any,
    name_firsts: Any,
    values: Any,
    value_starts: Any,
    out: Any,
    bounds: Any,
) -> None:
    """Writes labels as they stand in canonical keys: 0a size (0a size name 12 size value).

    Label l is the value at ``value_starts[l]`` with the name k for which it is one of
    ``name_firsts[k]`` up to ``name_firsts[k + 1]``. Fills ``bounds`` int64[labels + 1]; *out* has
    room for names and values of all labels and 18 bytes more for each.
    """
    at = 0
    bounds[0] = 0
    for name in range(len(name_firsts) - 1):
        start, end = name_bounds[name], name_bounds[name + 1]
        for label in range(name_firsts[name], name_firsts[name + 1]):
            first, last = value_starts[label], value_starts[label + 1]
            size = 2 + _size_bytes(end - start) + end - start
            size += _size_bytes(last - first) + last - first
            out[at] = 0x0A
            at = _put_size(out, at + 1, size)
            at = _put(out, at, 0x0A, names, start, end)
            at = _put(out, at, 0x12, values, first, last)
            bounds[label + 1] = at


@kernel(f"void({_INT64}, {_INT32}, {_BYTES}, {_INT64}, u1[::1], i8[::1])")
def join_keys(
    row_starts: Any, row_labels: Any, labels: Any, bounds: Any, keys: Any, key_bounds: Any
) -> None:
    """Writes the keys of rows, end to end; ``row_starts`` int64[rows + 1] may begin anywhere.

    *labels* and *bounds* are what ``encode_labels`` has made.
    """
    at = 0
    key_bounds[0] = 0
    for row in range(len(row_starts) - 1):
        for entry in range(row_starts[row], row_starts[row + 1]):
            label = row_labels[entry]
            for i in range(bounds[label], bounds[label + 1]):
                keys[at] = labels[i]
                at += 1
        key_bounds[row + 1] = at

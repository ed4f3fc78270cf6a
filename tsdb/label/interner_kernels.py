"""Kernels of the interner: giving label bytes numbers, and putting labels and rows in order.

A label is encoded as in a canonical key: ``0x0a <len> name 0x12 <len> value``.
"""

from typing import Any

import numpy as np

from series.jit import fold_u64, helper, kernel, load_u64

_BYTES = "Array(u1, 1, 'C', True)"
_INT32 = "Array(i4, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"


@helper
def _hash(data: Any, start: Any, end: Any, seed: Any) -> Any:
    """A 64-bit hash of some bytes that cannot be steered without knowing the seed."""
    salt = np.uint64(0xA0761D6478BD642F)
    state = seed ^ np.uint64(end - start)
    at = start
    while at + 8 <= end:
        state = fold_u64(load_u64(data, at) ^ salt, state ^ seed)
        at += 8
    rest = np.uint64(0)
    while at < end:
        rest = (rest << np.uint64(8)) | np.uint64(data[at])
        at += 1
    return fold_u64(rest ^ salt, state ^ seed)


@helper
def _same(a: Any, a_at: Any, b: Any, b_at: Any, size: Any) -> Any:
    at = 0
    while at < size and a[a_at + at] == b[b_at + at]:
        at += 1
    return at == size


@helper
def _varint(data: Any, at: Any, end: Any) -> Any:
    """(number, where it ends); -1 where there is no number of up to five bytes before *end*."""
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
def _split(data: Any, start: Any, end: Any, parts: Any, label: Any) -> Any:
    """Fills ``parts[label]`` for the label [start, end); False where it is malformed."""
    if data[start] != 0x0A:
        return False
    size, at = _varint(data, start + 1, end)
    if size < 0 or at + size >= end or data[at + size] != 0x12:
        return False
    parts[label, 0] = at - start
    parts[label, 1] = at + size - start
    size, at = _varint(data, at + size + 1, end)
    parts[label, 2] = at - start
    return size >= 0 and at + size == end


@kernel(
    f"i8({_BYTES}, {_INT64}, {_INT64}, i8, u8, u8[::1], i4[::1], u1[::1], i8[::1], i4[:, ::1],"
    " i8[::1], i4[::1], i8[::1])"
)
def intern_keys(
    keys: Any,
    key_starts: Any,
    key_ends: Any,
    first: int,
    seed: Any,
    slot_hashes: Any,
    slot_labels: Any,
    text: Any,
    label_starts: Any,
    parts: Any,
    row_starts: Any,
    row_labels: Any,
    counts: Any,
) -> int:
    """Appends the keys from *first* on as rows and gives every distinct label an id.

    - ``slot_hashes`` uint64[2^k], ``slot_labels`` int32[2^k]: an open-addressed table, -1 is empty.
    - ``text``, ``label_starts``, ``parts``, ``row_starts``, ``row_labels``: see ``Interner``.
    - ``counts`` int64[4], updated: rows, entries of ``row_labels``, labels, bytes of ``text``.

    Returns how many keys are done, fewer than all where an array needs room before the next one;
    ``-1 - k`` where key k is malformed (nothing of it is kept).
    """
    mask = np.uint64(len(slot_hashes) - 1)
    for k in range(first, len(key_starts)):
        at, end = key_starts[k], key_ends[k]
        size = end - at
        most = size // 4 + 1
        if (
            counts[0] + 2 > len(row_starts)
            or counts[1] + most > len(row_labels)
            or counts[2] + most + 1 > len(label_starts)
            or counts[2] + most > len(parts)
            or counts[3] + size > len(text)
            or 2 * (counts[2] + most) > len(slot_hashes)
        ):
            return k
        entry = counts[1]
        while at < end:
            if keys[at] != 0x0A:
                return -1 - k
            at += 1
            label_size, at = _varint(keys, at, end)
            if label_size < 4 or at + label_size > end:
                return -1 - k
            hashed = _hash(keys, at, at + label_size, seed)
            slot = hashed & mask
            while True:
                label = slot_labels[slot]
                if label < 0:
                    label = np.int32(counts[2])
                    if not _split(keys, at, at + label_size, parts, label):
                        return -1 - k
                    counts[2] += 1
                    slot_labels[slot] = label
                    slot_hashes[slot] = hashed
                    for i in range(label_size):
                        text[counts[3] + i] = keys[at + i]
                    counts[3] += label_size
                    label_starts[counts[2]] = counts[3]
                    break
                if (
                    slot_hashes[slot] == hashed
                    and label_starts[label + 1] - label_starts[label] == label_size
                    and _same(text, label_starts[label], keys, at, label_size)
                ):
                    break
                slot = (slot + np.uint64(1)) & mask
            row_labels[entry] = label
            entry += 1
            at += label_size
        counts[1] = entry
        counts[0] += 1
        row_starts[counts[0]] = entry
    return len(key_starts)


@kernel("void(u8[::1], i4[::1], u8[::1], i4[::1])")
def rehash(old_hashes: Any, old_labels: Any, slot_hashes: Any, slot_labels: Any) -> None:
    """Moves the entries of one table into a larger, empty one."""
    mask = np.uint64(len(slot_hashes) - 1)
    for old in range(len(old_labels)):
        if old_labels[old] >= 0:
            slot = old_hashes[old] & mask
            while slot_labels[slot] >= 0:
                slot = (slot + np.uint64(1)) & mask
            slot_hashes[slot] = old_hashes[old]
            slot_labels[slot] = old_labels[old]


@helper
def _compare(data: Any, a: Any, a_end: Any, b: Any, b_end: Any) -> Any:
    """Below, at or above 0 as the bytes [a, a_end) come before, with or after [b, b_end)."""
    while a < a_end and b < b_end:
        if data[a] != data[b]:
            return np.int64(data[a]) - np.int64(data[b])
        a += 1
        b += 1
    return (a_end - a) - (b_end - b)


@helper
def _compare_labels(text: Any, starts: Any, parts: Any, k: Any, m: Any) -> Any:
    a, b = starts[k], starts[m]
    found = _compare(text, a + parts[k, 0], a + parts[k, 1], b + parts[m, 0], b + parts[m, 1])
    if found == 0:
        found = _compare(text, a + parts[k, 2], starts[k + 1], b + parts[m, 2], starts[m + 1])
    return found


@kernel(f"void({_BYTES}, {_INT64}, Array(i4, 2, 'C', True), i4[::1])")
def sort_labels(text: Any, label_starts: Any, parts: Any, order: Any) -> None:
    """Fills *order* with the labels 0, 1, ... in ascending order of name, then value.

    A merge sort from the bottom up. The order of UTF-8 bytes is that of the characters.
    """
    count = len(order)
    other = np.empty(count, np.int32)
    for k in range(count):
        order[k] = k
    width = 1
    while width < count:
        for low in range(0, count, 2 * width):
            middle, high = min(low + width, count), min(low + 2 * width, count)
            a, b = low, middle
            for k in range(low, high):
                if b == high or (
                    a < middle
                    and _compare_labels(text, label_starts, parts, order[a], order[b]) <= 0
                ):
                    other[k] = order[a]
                    a += 1
                else:
                    other[k] = order[b]
                    b += 1
        order[:] = other
        width *= 2


@kernel(f"b1[::1]({_BYTES}, {_INT64}, {_INT64})")
def differ_from_previous(data: Any, starts: Any, ends: Any) -> Any:
    """bool[n - 1]: whether span k + 1 of *data* holds other bytes than span k."""
    differ = np.empty(max(0, len(starts) - 1), np.bool_)
    for k in range(len(differ)):
        differ[k] = _compare(data, starts[k], ends[k], starts[k + 1], ends[k + 1]) != 0
    return differ


@helper
def _compare_rows(row_starts: Any, row_labels: Any, ranks: Any, a: Any, b: Any) -> Any:
    at, other = row_starts[a], row_starts[b]
    end, other_end = row_starts[a + 1], row_starts[b + 1]
    while at < end and other < other_end:
        if row_labels[at] != row_labels[other]:
            return np.int64(ranks[row_labels[at]]) - np.int64(ranks[row_labels[other]])
        at += 1
        other += 1
    return (end - at) - (other_end - other)


@kernel(f"void({_INT64}, {_INT32}, {_INT32}, i8[::1])")
def sort_rows(row_starts: Any, row_labels: Any, ranks: Any, rows: Any) -> None:
    """Puts *rows* in the order of their labels: label by label, by their ranks, a prefix first."""
    count = len(rows)
    other = np.empty(count, np.int64)
    width = 1
    while width < count:
        for low in range(0, count, 2 * width):
            middle, high = min(low + width, count), min(low + 2 * width, count)
            a, b = low, middle
            for k in range(low, high):
                if b == high or (
                    a < middle
                    and _compare_rows(row_starts, row_labels, ranks, rows[a], rows[b]) <= 0
                ):
                    other[k] = rows[a]
                    a += 1
                else:
                    other[k] = rows[b]
                    b += 1
        rows[:] = other
        width *= 2

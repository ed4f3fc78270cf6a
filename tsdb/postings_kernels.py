"""Kernels of the label index: interning label bytes, postings, filters and frames.

A series is the list of its label ids: ``row_labels[row_starts[r] : row_starts[r + 1]]``.
"""

from typing import Any

import numpy as np

from series.jit import helper, kernel, load_u64

_BYTES = "Array(u1, 1, 'C', True)"
_INT32 = "Array(i4, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"


@helper
def _fold(a: Any, b: Any) -> Any:
    """The xor of both halves of the 128-bit product of two uint64."""
    low_half = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    a_low, a_high = a & low_half, a >> half
    b_low, b_high = b & low_half, b >> half
    middle = a_high * b_low + ((a_low * b_low) >> half)
    carry = a_low * b_high + (middle & low_half)
    return (a * b) ^ (a_high * b_high + (middle >> half) + (carry >> half))


@helper
def _hash(data: Any, start: Any, end: Any, seed: Any) -> Any:
    """A 64-bit hash of some bytes that cannot be steered without knowing the seed."""
    salt = np.uint64(0xA0761D6478BD642F)
    state = seed ^ np.uint64(end - start)
    at = start
    while at + 8 <= end:
        state = _fold(load_u64(data, at) ^ salt, state ^ seed)
        at += 8
    rest = np.uint64(0)
    while at < end:
        rest = (rest << np.uint64(8)) | np.uint64(data[at])
        at += 1
    return _fold(rest ^ salt, state ^ seed)


@helper
def _same(a: Any, a_at: Any, b: Any, b_at: Any, size: Any) -> Any:
    at = 0
    while at < size and a[a_at + at] == b[b_at + at]:
        at += 1
    return at == size


@kernel(
    f"i8({_BYTES}, {_INT64}, {_INT64}, i8, u8, u8[::1], i4[::1], u1[::1], i8[::1], i8[::1],"
    " i4[::1], i8[::1])"
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
    row_starts: Any,
    row_labels: Any,
    counts: Any,
) -> int:
    """Appends the keys from *first* on as rows and gives every distinct label an id.

    - ``slot_hashes`` uint64[2^k], ``slot_labels`` int32[2^k]: an open-addressed table, -1 is empty.
    - ``text`` and ``label_starts``: the bytes of label l, name and value still in their encoding.
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
            or counts[3] + size > len(text)
            or 2 * (counts[2] + most) > len(slot_hashes)
        ):
            return k
        entry = counts[1]
        while at < end:
            if keys[at] != 0x0A:
                return -1 - k
            at += 1
            label_size = 0
            shift = 0
            while True:
                if at >= end or shift > 28:
                    return -1 - k
                byte = int(keys[at])
                at += 1
                label_size |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
            if label_size < 4 or at + label_size > end:
                return -1 - k
            hashed = _hash(keys, at, at + label_size, seed)
            slot = hashed & mask
            while True:
                label = slot_labels[slot]
                if label < 0:
                    label = np.int32(counts[2])
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

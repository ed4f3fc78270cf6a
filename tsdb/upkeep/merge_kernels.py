"""Kernels of merging: keys from interned labels."""

from typing import Any

from series.jit import helper, kernel

_BYTES = "Array(u1, 1, 'C', True)"
_INT32 = "Array(i4, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"


@helper
def _varint_size(number: Any) -> Any:
    size = 1
    while number >= 0x80:
        number >>= 7
        size += 1
    return size


@kernel(f"void({_INT64}, {_INT64}, {_INT32}, {_INT64}, i8[::1])")
def measure_keys(
    label_starts: Any, row_starts: Any, row_labels: Any, rows: Any, key_ends: Any
) -> None:
    """Fills in where the canonical keys of *rows* end, laid end to end.

    The other arguments are those of an ``Interner``.
    """
    end = 0
    for k in range(len(rows)):
        for entry in range(row_starts[rows[k]], row_starts[rows[k] + 1]):
            label = row_labels[entry]
            size = label_starts[label + 1] - label_starts[label]
            end += 1 + _varint_size(size) + size
        key_ends[k] = end


@kernel(f"void({_BYTES}, {_INT64}, {_INT64}, {_INT32}, {_INT64}, u1[::1])")
def spell_keys(
    text: Any, label_starts: Any, row_starts: Any, row_labels: Any, rows: Any, keys: Any
) -> None:
    """Writes the canonical keys of *rows* end to end; see ``measure_keys``."""
    at = 0
    for k in range(len(rows)):
        for entry in range(row_starts[rows[k]], row_starts[rows[k] + 1]):
            label = row_labels[entry]
            start, end = label_starts[label], label_starts[label + 1]
            size = end - start
            keys[at] = 0x0A
            at += 1
            while size >= 0x80:
                keys[at] = (size & 0x7F) | 0x80
                size >>= 7
                at += 1
            keys[at] = size
            at += 1
            for position in range(start, end):
                keys[at] = text[position]
                at += 1

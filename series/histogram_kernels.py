"""Kernels that gather histograms: some of several pools, each copied once to its place."""

from typing import Any

from series.jit import kernel

_BYTES = "Array(u1, 1, 'C', True)"
_INT32 = "Array(i4, 1, 'C', True)"
_INT64 = "Array(i8, 1, 'C', True)"
_FLOAT64 = "Array(f8, 1, 'C', True)"


@kernel(f"b1({_INT64}, {_INT64}, {_INT64}, {_INT64}, i8[::1], i8[::1])")
def measure(
    offsets: Any, bound_offsets: Any, ids: Any, places: Any, lengths: Any, bound_lengths: Any
) -> bool:
    """Fills ``lengths[places[k]]`` and *bound_lengths* with those of histogram ``ids[k]``.

    *offsets* and *bound_offsets* are those of its pool. Returns False where there is no such
    histogram, or no such place.
    """
    for k in range(len(ids)):
        h, place = ids[k], places[k]
        if not (0 <= h < len(offsets) - 1 and 0 <= place < len(lengths)):
            return False
        lengths[place] = offsets[h + 1] - offsets[h]
        bound_lengths[place] = bound_offsets[h + 1] - bound_offsets[h]
    return True


@kernel(
    f"void({_INT32}, {_BYTES}, {_FLOAT64}, {_FLOAT64}, {_FLOAT64}, {_FLOAT64}, {_INT64}, {_INT32},"
    f" {_FLOAT64}, {_INT64}, {_FLOAT64}, {_INT64}, {_INT64}, i4[::1], u1[::1], f8[::1], f8[::1],"
    " f8[::1], f8[::1], i8[::1], i4[::1], f8[::1], i8[::1], f8[::1])"
)
def copy(
    schemas: Any,
    hints: Any,
    counts: Any,
    sums: Any,
    zero_thresholds: Any,
    zero_counts: Any,
    offsets: Any,
    positions: Any,
    bucket_counts: Any,
    bound_offsets: Any,
    bounds: Any,
    ids: Any,
    places: Any,
    out_schemas: Any,
    out_hints: Any,
    out_counts: Any,
    out_sums: Any,
    out_zero_thresholds: Any,
    out_zero_counts: Any,
    out_offsets: Any,
    out_positions: Any,
    out_bucket_counts: Any,
    out_bound_offsets: Any,
    out_bounds: Any,
) -> None:
    """Copies histogram ``ids[k]`` to ``places[k]``.

    The first arguments are the columns of its pool, the last those of the answer, whose offsets
    are filled already: by the lengths that ``measure``, having found no fault, told.
    """
    for k in range(len(ids)):
        h, place = ids[k], places[k]
        out_schemas[place] = schemas[h]
        out_hints[place] = hints[h]
        out_counts[place] = counts[h]
        out_sums[place] = sums[h]
        out_zero_thresholds[place] = zero_thresholds[h]
        out_zero_counts[place] = zero_counts[h]
        shift = out_offsets[place] - offsets[h]
        for at in range(offsets[h], offsets[h + 1]):
            out_positions[at + shift] = positions[at]
        for at in range(offsets[h], offsets[h + 1]):
            out_bucket_counts[at + shift] = bucket_counts[at]
        shift = out_bound_offsets[place] - bound_offsets[h]
        for at in range(bound_offsets[h], bound_offsets[h + 1]):
            out_bounds[at + shift] = bounds[at]

"""Kernels from data points to rows of a batch and times of resources, and from deltas to totals."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.jit import kernel


@kernel("i8(i8[::1], i8[::1], u8[::1], i8[::1], i8[::1], u8[::1], i8[::1], i8[::1])")
def spread_rows(
    ids: NDArray[np.int64],
    value_ends: NDArray[np.int64],
    value_bits: NDArray[np.uint64],
    first_keys: NDArray[np.int64],
    key_counts: NDArray[np.int64],
    row_bits: NDArray[np.uint64],
    row_keys: NDArray[np.int64],
    row_points: NDArray[np.int64],
) -> int:
    """One row a value of the points with an id: its bits, its key's number, its point.

    The values of point p end at ``value_ends[p]`` of *value_bits*. Those of a point with id ``i``
    have the keys from ``first_keys[i]`` on; a point whose values are not ``key_counts[i]`` is left
    out. Returns how many rows there are.
    """
    row: Any = np.int64(0)
    value: Any = np.int64(0)
    for point in range(len(ids)):
        end = value_ends[point]
        one = ids[point]
        if one >= 0 and key_counts[one] == end - value:
            for k in range(end - value):
                row_bits[row] = value_bits[value + k]
                row_keys[row] = first_keys[one] + k
                row_points[row] = point
                row += 1
        value = end
    return int(row)


@kernel("void(b1[::1], i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], i8[::1])")
def time_ranges(
    chosen: NDArray[np.bool_],
    times_ms: NDArray[np.int64],
    metrics: NDArray[np.int64],
    scopes: NDArray[np.int64],
    resources: NDArray[np.int64],
    earliest_ms: NDArray[np.int64],
    latest_ms: NDArray[np.int64],
) -> None:
    """The *earliest_ms* and *latest_ms* of the *chosen* points of each resource.

    Point p is of metric ``metrics[p]``, that of scope ``scopes[metrics[p]]``, and so on. Without a
    chosen point a resource's latest is before its earliest.
    """
    earliest_ms[:] = np.iinfo(np.int64).max
    latest_ms[:] = np.iinfo(np.int64).min
    for point in range(len(chosen)):
        if chosen[point]:
            one = resources[scopes[metrics[point]]]
            earliest_ms[one] = min(earliest_ms[one], times_ms[point])
            latest_ms[one] = max(latest_ms[one], times_ms[point])


@kernel("i8(i8[::1], i8[::1], f8[::1], f8[::1], f8[::1], i8[::1], u1[::1])")
def accumulate(
    slots: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    values: NDArray[np.float64],
    totals: NDArray[np.float64],
    last_values: NDArray[np.float64],
    last_ms: NDArray[np.int64],
    refused: NDArray[np.uint8],
) -> int:
    """Replaces the deltas *values* by the running totals of their *slots*; returns the refused.

    A delta at the time of the last one is that one sent again where it is equal, and answered by
    the same total; otherwise one that is not newer is refused.
    """
    count: Any = np.int64(0)
    for k in range(len(slots)):
        slot = slots[k]
        refused[k] = 0
        if times_ms[k] > last_ms[slot]:
            totals[slot] += values[k]
            last_values[slot] = values[k]
            last_ms[slot] = times_ms[k]
        elif times_ms[k] != last_ms[slot] or last_values[slot] != values[k]:
            refused[k] = 1
            count += 1
            continue
        values[k] = totals[slot]
    return int(count)

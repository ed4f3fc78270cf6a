"""Kernel of deletions: which samples lie within the times that are deleted."""

from typing import Any

from series.jit import kernel

_INT64 = "Array(i8, 1, 'C', True)"


@kernel(
    f"i8({_INT64}, {_INT64}, {_INT64}, Array(i4, 1, 'C', True), {_INT64}, {_INT64}, {_INT64},"
    " b1[::1])"
)
def mark_deleted(
    offsets: Any,
    time_starts: Any,
    times: Any,
    groups: Any,
    bounds: Any,
    starts: Any,
    ends: Any,
    kept: Any,
) -> int:
    """Makes ``kept`` bool[N] False for the samples that are deleted; returns how many these are.

    Row r of the batch loses the times within ``starts[k]`` to ``ends[k]`` (both included) for k in
    ``[bounds[groups[r]], bounds[groups[r] + 1])``; they are disjoint and ascend, as its times do.
    """
    deleted = 0
    for row in range(len(groups)):
        k, end = bounds[groups[row]], bounds[groups[row] + 1]
        shift = time_starts[row] - offsets[row]
        for at in range(offsets[row], offsets[row + 1]):
            time = times[at + shift]
            while k < end and ends[k] < time:
                k += 1
            if k == end:
                break
            if starts[k] <= time:
                kept[at] = False
                deleted += 1
    return deleted

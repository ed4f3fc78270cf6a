"""The kernel of minima and maxima over windows, and of when they were; see ``rollup_kernels``.

Windows overlap, mostly by nearly all of their samples. The extremes of all runs of 2, 4, 8 and so
on samples are therefore made from those of half the length, many at a time, and a window's is that
of the two longest runs that begin and end with it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from promql.kernel_helpers import longest_row
from series.jit import helper, kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
B1 = NDArray[np.bool_]

_LEVELS = 32
_FEW = 2
"""Windows that hold each sample so many times at most are searched one by one."""


@helper
def _sort_by_level(lows: Any, highs: Any, order: Any, level_ends: Any) -> Any:
    """(levels, samples in all windows): steps of which windows have 2**level samples or more.

    Those of a level stand in *order* up to its end; steps without samples are left out.
    """
    longest = total = np.int64(0)
    for k in range(len(lows)):
        length = np.int64(highs[k] - lows[k])
        longest = max(longest, length)
        total += length
    level = count = 0
    while longest >> level > 0:
        for k in range(len(lows)):
            if (highs[k] - lows[k]) >> level == 1:
                order[count] = k
                count += 1
        level_ends[level] = count
        level += 1
    return level, total


@helper
def _join(source: Any, distance: Any, largest: Any, target: Any) -> Any:
    """Puts the extremes of all two runs at this *distance*, of equals the first, into *target*."""
    ahead = source[distance:]
    if largest:
        for i in range(len(ahead)):
            target[i] = ahead[i] if ahead[i] > source[i] else source[i]
    else:
        for i in range(len(ahead)):
            target[i] = ahead[i] if ahead[i] < source[i] else source[i]
    return target[: len(ahead)]


@helper
def _fill_by_levels(
    samples: Any,
    first: Any,
    lows: Any,
    highs: Any,
    order: Any,
    level_ends: Any,
    levels: Any,
    largest: Any,
    room: Any,
    out: Any,
) -> Any:
    """The extremes of windows without NaN; *samples* are those from *first* on."""
    runs = samples
    done = 0
    for level in range(levels):
        if level > 0:
            runs = _join(runs, 1 << (level - 1), largest, room[level & 1])
        for at in range(done, level_ends[level]):
            k = order[at]
            left = runs[lows[k] - first]
            right = runs[highs[k] - (1 << level) - first]
            beaten = right > left if largest else right < left
            out[k] = right if beaten else left
        done = level_ends[level]


@helper
def _fill_by_search(samples: Any, first: Any, lows: Any, highs: Any, largest: Any, out: Any) -> Any:
    """The same, window by window."""
    for k in range(len(out)):
        if highs[k] > lows[k]:
            best = samples[lows[k] - first]
            for i in range(lows[k] + 1 - first, highs[k] - first):
                beaten = samples[i] > best if largest else samples[i] < best
                best = samples[i] if beaten else best
            out[k] = best


@helper
def _fill_by_queue(
    samples: Any,
    times_ms: Any,
    lows: Any,
    highs: Any,
    largest: Any,
    when: Any,
    queue: Any,
    out: Any,
) -> Any:
    """The extremes or, *when*, the times of the last of each in seconds; there may be NaN."""
    head = tail = seen = 0
    for k in range(len(out)):
        low, high = lows[k], highs[k]
        for i in range(max(seen, low), high):
            value = samples[i]
            if value != value:
                continue
            while tail > head:
                back = samples[queue[tail - 1]]
                beaten = value > back if largest else value < back
                # Of equals the first has the value, the last has the time.
                if not (beaten or (when and value == back)):
                    break
                tail -= 1
            queue[tail] = i
            tail += 1
        seen = max(seen, high)
        while head < tail and queue[head] < low:
            head += 1
        if high > low:
            at = high - 1 if when else low
            if head < tail:
                at = queue[head]
            out[k] = times_ms[at] / 1000.0 if when else samples[at]


@kernel(
    "void(f8[::1], i8[::1], i8[::1], i4[:, ::1], i4[:, ::1], i8[::1], i8[::1], b1, b1,"
    " f8[:, ::1], b1[:, ::1])"
)
def extreme_over(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    largest: bool,
    when: bool,
    out: F8,
    present: B1,
) -> None:
    """The minimum or maximum of each window, or (*when*) the time of its last one in seconds.

    NaN loses against every number.
    """
    longest, steps = longest_row(offsets), out.shape[1]
    queue = np.empty(longest, dtype=np.int64)
    room = np.empty((2, longest))
    order = np.empty(steps, dtype=np.int64)
    level_ends = np.zeros(_LEVELS, dtype=np.int64)
    sorted_column, levels, total = -1, 0, np.int64(0)
    for r in range(len(columns)):
        column = columns[r]
        low, high = lows[column], highs[column]
        for k in range(steps):
            present[r, k] = high[k] > low[k]
            out[r, k] = 0.0
        if column != sorted_column:
            levels, total = _sort_by_level(low, high, order, level_ends)
            sorted_column = column
        if total == 0:
            continue
        row = values[offsets[r] : offsets[r + 1]]
        first, last = low[0], high[steps - 1]
        samples = row[first:last]
        unordered = 0
        for i in range(len(samples)):
            unordered += samples[i] != samples[i]
        if when or unordered > 0:
            times = times_ms[time_starts[r] :]
            _fill_by_queue(row, times, low, high, largest, when, queue, out[r])
        elif total <= _FEW * len(samples):
            _fill_by_search(samples, first, low, high, largest, out[r])
        else:
            _fill_by_levels(
                samples, first, low, high, order, level_ends, levels, largest, room, out[r]
            )

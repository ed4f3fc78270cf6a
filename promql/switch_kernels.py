"""Kernels that look at a sample and the one before it: resets, overlaps, and rates that heed them.

``starts_ms`` is as long as the samples, or empty where start times do not count.
"""

import numpy as np
from numpy.typing import NDArray

from promql.histogram_helpers import POOL, Pool
from promql.histogram_note_helpers import OVERLAP
from promql.reset_helpers import detect_reset, start_reset, starts_overlap
from series.jit import kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
I4 = NDArray[np.int32]
B1 = NDArray[np.bool_]
U2 = NDArray[np.uint16]

_WINDOWS = "f8[::1], i8[::1], i8[::1], i4[:, ::1], i4[:, ::1], i8[::1], i8[::1]"
_OUT = "f8[:, ::1], b1[:, ::1]"


@kernel(f"void({POOL}, i8[::1], f8[::1], i8[::1], i8[::1], i8[::1], i8[::1], b1[::1], b1[::1])")
def mark_resets(
    pool: Pool,
    ids: I8,
    values: F8,
    offsets: I8,
    times_ms: I8,
    time_starts: I8,
    starts_ms: I8,
    resets: B1,
    overlaps: B1,
) -> None:
    """Marks the samples before which a counter was reset, or whose start overlaps the one before.

    A float after a histogram and a histogram after a float count as resets. *ids* may be empty:
    all samples are floats.
    """
    started = len(starts_ms) > 0
    histograms = len(ids) > 0
    for r in range(len(offsets) - 1):
        first = offsets[r]
        for i in range(first, offsets[r + 1]):
            resets[i] = overlaps[i] = False
            if i == first:
                continue
            now = times_ms[time_starts[r] + i - first]
            before = times_ms[time_starts[r] + i - 1 - first]
            is_histogram = histograms and ids[i] >= 0
            was_histogram = histograms and ids[i - 1] >= 0
            if started:
                overlaps[i] = starts_overlap(starts_ms[i - 1], before, starts_ms[i])
                resets[i] = start_reset(starts_ms[i - 1], before, starts_ms[i], now)
            if resets[i]:
                continue
            if is_histogram != was_histogram:
                resets[i] = True
            elif is_histogram:
                resets[i] = detect_reset(pool, ids[i - 1], pool, ids[i])
            else:
                resets[i] = values[i] < values[i - 1]


@kernel(f"void({_WINDOWS}, i8[::1], b1[::1], b1[::1], i8[::1], i8, b1, {_OUT}, u2[::1])")
def started_rate(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    starts_ms: I8,
    resets: B1,
    overlaps: B1,
    ends_ms: I8,
    range_ms: int,
    is_rate: bool,
    out: F8,
    present: B1,
    flags: U2,
) -> None:
    """rate and increase of floats whose start times count.

    Where the first sample began to count within the window, it counts from there, and nothing is
    extrapolated to the left.
    """
    for r in range(len(columns)):
        start, time_start, column = offsets[r], time_starts[r], columns[r]
        for k in range(len(ends_ms)):
            low, high = start + lows[column, k], start + highs[column, k]
            present[r, k] = False
            out[r, k] = 0.0
            if high <= low:
                continue
            first_ms = times_ms[time_start + low - start]
            last_ms = times_ms[time_start + high - 1 - start]
            begin_ms = ends_ms[k] - range_ms
            since_ms = starts_ms[low]
            from_start = since_ms != 0 and since_ms > begin_ms and since_ms < first_ms
            result = values[high - 1] - values[low]
            for i in range(low + 1, high):
                if resets[i]:
                    result += values[i - 1]
                if overlaps[i]:
                    flags[r] |= OVERLAP
            if high - low == 1 and not from_start:
                continue
            to_start = (first_ms - begin_ms) / 1000.0
            to_end = (ends_ms[k] - last_ms) / 1000.0
            sampled = (last_ms - first_ms) / 1000.0
            average = sampled / (high - low - 1) if high - low > 1 else 0.0
            threshold = average * 1.1
            if from_start:
                to_start = 0.0
                sampled = (last_ms - since_ms) / 1000.0
                result += values[low]
            else:
                if to_start >= threshold:
                    to_start = average / 2.0
                if result > 0.0 and values[low] >= 0.0:
                    to_start = min(to_start, sampled * (values[low] / result))
            if to_end >= threshold:
                to_end = average / 2.0
            factor = (sampled + to_start + to_end) / sampled if sampled != 0.0 else 1.0
            out[r, k] = result * (factor / (range_ms / 1000.0) if is_rate else factor)
            present[r, k] = True


@kernel(f"void({_WINDOWS}, b1[::1], {_OUT})")
def instant_rate(
    values: F8,
    offsets: I8,
    columns: I8,
    lows: I4,
    highs: I4,
    times_ms: I8,
    time_starts: I8,
    resets: B1,
    out: F8,
    present: B1,
) -> None:
    """irate of floats, with the resets marked."""
    for r in range(len(columns)):
        start, column = offsets[r], columns[r]
        for k in range(out.shape[1]):
            low, high = start + lows[column, k], start + highs[column, k]
            present[r, k] = high - low >= 2
            out[r, k] = 0.0
            if high - low < 2:
                continue
            result = values[high - 1]
            if not resets[high - 1]:
                result -= values[high - 2]
            at = time_starts[r] + high - 1 - start
            out[r, k] = result / ((times_ms[at] - times_ms[at - 1]) / 1000.0)

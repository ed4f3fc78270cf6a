"""The kernel of instant selectors."""

import numpy as np
from numpy.typing import NDArray

from series.jit import helper, kernel


@helper
def _find_newest(
    times_ms: NDArray[np.int64],
    start: int,
    length: int,
    ends_ms: NDArray[np.int64],
    lookback_ms: int,
    found: NDArray[np.int64],
) -> bool:
    """Where in a column of times the newest one within the lookback stands, -1 for none.

    Returns whether every step has one.
    """
    next_at, hits = 0, 0
    for k in range(len(ends_ms)):
        end = ends_ms[k]
        while next_at < length and times_ms[start + next_at] <= end:
            next_at += 1
        hit = next_at > 0 and times_ms[start + next_at - 1] > end - lookback_ms
        found[k] = next_at - 1 if hit else -1
        hits += hit
    return hits == len(ends_ms)


@helper
def _take_all(
    values: NDArray[np.float64],
    bits: NDArray[np.uint64],
    start: int,
    found: NDArray[np.int64],
    stale_bits: int,
    out: NDArray[np.float64],
) -> bool:
    """The row's samples at *found*, one a step; whether none of them is a stale marker."""
    stale = 0
    at = np.uint64(start)
    for k in range(len(out)):
        place = at + np.uint64(found[k])
        out[k] = values[place]
        stale += bits[place] == stale_bits
    return stale == 0


@kernel(
    "void(f8[::1], u8[::1], i8[::1], i8[::1], i8[::1], i8[::1], i8, u8, "
    "f8[:, ::1], b1[:, ::1], i8[:, ::1])"
)
def newest_samples(
    values: NDArray[np.float64],
    bits: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    time_starts: NDArray[np.int64],
    ends_ms: NDArray[np.int64],
    lookback_ms: int,
    stale_bits: int,
    out: NDArray[np.float64],
    present: NDArray[np.bool_],
    found_ms: NDArray[np.int64],
) -> None:
    """The newest sample with ``end - lookback < time <= end`` of every row at every step.

    A stale marker there makes the series absent. *ends_ms* never falls; *bits* are the bits of
    *values*. ``found_ms`` (the samples' times) may have no rows where nobody asks for them.
    """
    timed = found_ms.shape[0] > 0
    found = np.empty(out.shape[1], dtype=np.int64)
    whole = False
    for r in range(out.shape[0]):
        start, length, time_start = offsets[r], offsets[r + 1] - offsets[r], time_starts[r]
        # Rows that share their times follow each other.
        if r == 0 or time_start != time_starts[r - 1] or length != start - offsets[r - 1]:
            whole = _find_newest(times_ms, time_start, length, ends_ms, lookback_ms, found)
        if whole and not timed and _take_all(values, bits, start, found, stale_bits, out[r]):
            present[r] = True
            continue
        for k in range(out.shape[1]):
            hit = found[k] >= 0 and bits[start + found[k]] != stale_bits
            present[r, k] = hit
            out[r, k] = values[start + found[k]] if hit else 0.0
            if timed:
                found_ms[r, k] = times_ms[time_start + found[k]] if hit else 0


@kernel("void(u8[::1], i8[::1], i8[::1], i8[::1], i8[::1], i8[::1], i8, u8, i8[:, ::1])")
def newest_places(
    bits: NDArray[np.uint64],
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    time_starts: NDArray[np.int64],
    ends_ms: NDArray[np.int64],
    lookback_ms: int,
    stale_bits: int,
    found: NDArray[np.int64],
) -> None:
    """Where in *bits* the samples stand that ``newest_samples`` finds, -1 for none.

    *ids* is as long as *bits* where some are histograms (then >= 0), else empty.
    """
    histograms = len(ids) > 0
    for r in range(found.shape[0]):
        start, length, time_start = offsets[r], offsets[r + 1] - offsets[r], time_starts[r]
        next_at = 0
        for k in range(found.shape[1]):
            end = ends_ms[k]
            while next_at < length and times_ms[time_start + next_at] <= end:
                next_at += 1
            at = start + next_at - 1
            hit = next_at > 0 and times_ms[time_start + next_at - 1] > end - lookback_ms
            if hit and bits[at] == stale_bits and not (histograms and ids[at] >= 0):
                hit = False
            found[r, k] = at if hit else -1

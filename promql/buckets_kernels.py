"""Kernels of classic histograms: one quantile or fraction a histogram and step.

A histogram is a group of rows ordered by upper bound: the rows ``order[offsets[g]:offsets[g + 1]]``
of ``values`` and ``present`` [S, T], bounds in ``bounds[S]``. A step sees the rows present there.
The rules are those of BucketQuantile and BucketFraction in Prometheus' promql/quantile.go.
"""

import numpy as np
from numpy.typing import NDArray

from series.jit import helper, kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
B1 = NDArray[np.bool_]

SMALL_DELTA = 1e-12
_MIN_NORMAL = 2.2250738585072014e-308


@helper
def _gather(
    values: F8, present: B1, order: I8, first: int, last: int, step: int, bounds: F8,
    upper: F8, count: F8,
) -> int:  # fmt: skip
    """The histogram at one step, equal bounds added up, in upper[:n] and count[:n]; returns n."""
    n = 0
    for at in range(first, last):
        row = order[at]
        if not present[row, step]:
            continue
        if n > 0 and upper[n - 1] == bounds[row]:
            count[n - 1] += values[row, step]
        else:
            upper[n] = bounds[row]
            count[n] = values[row, step]
            n += 1
    return n


@helper
def _almost_equal(a: float, b: float) -> bool:
    """Whether two counts differ only by rounding."""
    if np.isnan(a) and np.isnan(b):
        return True
    if a == b:
        return True
    total = abs(a) + abs(b)
    difference = abs(a - b)
    if a == 0 or b == 0 or total < _MIN_NORMAL:
        return difference < SMALL_DELTA * _MIN_NORMAL
    if difference > total * (10 * SMALL_DELTA):
        return False  # spares the division below, with a margin for its rounding
    return difference / min(total, 1.7976931348623157e308) < SMALL_DELTA


@helper
def _force_monotonic(upper: F8, count: F8, n: int, fix: F8) -> bool:
    """Makes counts rise; returns whether more than rounding was mended, and widens *fix*.

    ``fix`` is (lowest bound, highest bound, greatest decrease) of what was mended so far.
    """
    forced = False
    previous = count[0]
    for at in range(1, n):
        current = count[at]
        if current == previous:
            continue
        if _almost_equal(previous, current):
            count[at] = previous
        elif current < previous:
            count[at] = previous
            forced = True
            fix[0] = min(fix[0], upper[at])
            fix[1] = max(fix[1], upper[at])
            fix[2] = max(fix[2], previous - current)
        else:
            previous = current
    return forced


@helper
def _interpolated_quantile(q: float, upper: F8, count: F8, n: int) -> float:
    """The quantile of n >= 2 rising buckets whose last bound is +Inf."""
    rank = q * count[n - 1]
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) >> 1
        if count[middle] >= rank:
            high = middle
        else:
            low = middle + 1
    if low == n - 1:
        return float(upper[n - 2])
    if low == 0 and upper[0] <= 0:
        return float(upper[0])
    if low == 0:
        return float(upper[0] * (rank / count[0]))
    start = upper[low - 1]
    within = count[low] - count[low - 1]
    return float(start + (upper[low] - start) * ((rank - count[low - 1]) / within))


@kernel(
    "void(f8[:, ::1], b1[:, ::1], i8[::1], i8[::1], f8[::1], f8[::1],"
    " f8[:, ::1], b1[:, ::1], b1[:, ::1], f8[:, ::1])"
)
def bucket_quantiles(
    values: F8, present: B1, order: I8, offsets: I8, bounds: F8, q: F8,
    out: F8, out_present: B1, forced: B1, fixes: F8,
) -> None:  # fmt: skip
    """``out[G, T]`` = the quantile ``q[T]`` of every histogram at every step.

    ``out_present[G, T]`` tells where a histogram has any bucket; ``forced[G, T]`` where its counts
    had to be mended; ``fixes[G, 3]`` starts as (+Inf, -Inf, 0) and collects how.
    """
    widest = 0
    for group in range(len(offsets) - 1):
        widest = max(widest, offsets[group + 1] - offsets[group])
    upper = np.empty(widest)
    count = np.empty(widest)
    fix = np.empty(3)
    for group in range(len(offsets) - 1):
        for step in range(out.shape[1]):
            n = _gather(
                values, present, order, offsets[group], offsets[group + 1], step, bounds,
                upper, count,
            )  # fmt: skip
            out_present[group, step] = n > 0
            if n == 0:
                continue
            if q[step] < 0:
                out[group, step] = -np.inf
            elif q[step] > 1:
                out[group, step] = np.inf
            elif np.isnan(q[step]) or upper[n - 1] != np.inf:
                out[group, step] = np.nan
            else:
                fix[:] = fixes[group]
                mended = _force_monotonic(upper, count, n, fix)
                if n < 2 or count[n - 1] == 0:
                    out[group, step] = np.nan
                else:
                    forced[group, step] = mended
                    fixes[group] = fix
                    out[group, step] = _interpolated_quantile(q[step], upper, count, n)


@helper
def _rank_below(bound: float, upper: F8, count: F8, n: int) -> float:
    """About how many observations lie below *bound*, at most all of them."""
    rank = 0.0
    lower = 0.0 if upper[0] > 0 else -np.inf
    for at in range(n):
        if at > 0:
            lower = upper[at - 1]
        if lower >= bound:
            break
        if lower < bound and upper[at] > bound:
            if lower == -np.inf:
                rank = count[at]
            else:
                rank += (count[at] - rank) * (bound - lower) / (upper[at] - lower)
            break
        rank = count[at]
    return float(count[n - 1]) if rank > count[n - 1] else rank


@kernel(
    "void(f8[:, ::1], b1[:, ::1], i8[::1], i8[::1], f8[::1], f8[::1], f8[::1],"
    " f8[:, ::1], b1[:, ::1])"
)
def bucket_fractions(
    values: F8, present: B1, order: I8, offsets: I8, bounds: F8, lowest: F8, highest: F8,
    out: F8, out_present: B1,
) -> None:  # fmt: skip
    """``out[G, T]`` = the share of observations between ``lowest[T]`` and ``highest[T]``."""
    widest = 0
    for group in range(len(offsets) - 1):
        widest = max(widest, offsets[group + 1] - offsets[group])
    upper = np.empty(widest)
    count = np.empty(widest)
    for group in range(len(offsets) - 1):
        for step in range(out.shape[1]):
            n = _gather(
                values, present, order, offsets[group], offsets[group + 1], step, bounds,
                upper, count,
            )  # fmt: skip
            out_present[group, step] = n > 0
            if n == 0:
                continue
            low, high = lowest[step], highest[step]
            if upper[n - 1] != np.inf or count[n - 1] == 0 or np.isnan(low) or np.isnan(high):
                out[group, step] = np.nan
            elif low >= high:
                out[group, step] = 0.0
            else:
                ranks = _rank_below(high, upper, count, n) - _rank_below(low, upper, count, n)
                out[group, step] = ranks / count[n - 1]

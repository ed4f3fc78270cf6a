"""Kernels of aggregations: rows of a vector into groups, step by step.

``ids[S]`` names the group of every row. The folds keep their state in arrays [G, T] between calls,
so that the rows may come in slabs; a group takes its rows in the order in which they come. The
order of operations is that of promql/engine.go of Prometheus 3.14.
"""

import math

import numpy as np
from numpy.typing import NDArray

from promql.kernel_helpers import kahan
from series.jit import helper, kernel

F8 = NDArray[np.float64]
I8 = NDArray[np.int64]
B1 = NDArray[np.bool_]

_POINTS = "f8[:, ::1], b1[:, ::1], i8[::1]"


@kernel(f"void({_POINTS}, f8[:, ::1], f8[:, ::1], f8[:, ::1])")
def fold_sum(values: F8, present: B1, ids: I8, totals: F8, cs: F8, counts: F8) -> None:
    """Kahan sums; the state starts as zeros.

    Neighbours of one group are taken together: their state is read and written once.
    """
    rows, steps = values.shape
    r = 0
    while r < rows:
        g = ids[r]
        if r + 1 < rows and ids[r + 1] == g:
            for k in range(steps):
                total, c, count = totals[g, k], cs[g, k], counts[g, k]
                if present[r, k]:
                    total, c = kahan(values[r, k], total, c)
                    count += 1.0
                if present[r + 1, k]:
                    total, c = kahan(values[r + 1, k], total, c)
                    count += 1.0
                totals[g, k], cs[g, k], counts[g, k] = total, c, count
            r += 2
        else:
            for k in range(steps):
                if present[r, k]:
                    totals[g, k], cs[g, k] = kahan(values[r, k], totals[g, k], cs[g, k])
                    counts[g, k] += 1.0
            r += 1


@kernel(f"void({_POINTS}, f8[:, ::1], f8[:, ::1], f8[:, ::1], b1[:, ::1])")
def fold_mean(
    values: F8, present: B1, ids: I8, totals: F8, cs: F8, counts: F8, incremental: B1
) -> None:
    """Kahan sums of a mean; where a sum overflows ``totals`` goes on as incremental mean."""
    for r in range(values.shape[0]):
        g = ids[r]
        for k in range(values.shape[1]):
            if not present[r, k]:
                continue
            value = values[r, k]
            counts[g, k] += 1.0
            count = counts[g, k]
            if not incremental[g, k]:
                total, c = kahan(value, totals[g, k], cs[g, k])
                if count == 1.0 or not math.isinf(total):
                    totals[g, k], cs[g, k] = total, c
                    continue
                incremental[g, k] = True
                totals[g, k] /= count - 1.0
                cs[g, k] /= count - 1.0
            q = (count - 1.0) / count
            totals[g, k], cs[g, k] = kahan(value / count, q * totals[g, k], q * cs[g, k])


@kernel(f"void({_POINTS}, b1, f8[:, ::1], f8[:, ::1])")
def fold_extreme(values: F8, present: B1, ids: I8, largest: bool, extremes: F8, counts: F8) -> None:
    """Minima or maxima; NaN only where all are NaN."""
    for r in range(values.shape[0]):
        g = ids[r]
        for k in range(values.shape[1]):
            if not present[r, k]:
                continue
            value, best = values[r, k], extremes[g, k]
            better = value > best if largest else value < best
            if counts[g, k] == 0.0 or better or best != best:
                extremes[g, k] = value
            counts[g, k] += 1.0


@kernel(f"void({_POINTS}, f8[:, ::1], f8[:, ::1], f8[:, ::1])")
def fold_variance(values: F8, present: B1, ids: I8, squares: F8, means: F8, counts: F8) -> None:
    """Welford's sums of squares; NaN once a value is not finite."""
    for r in range(values.shape[0]):
        g = ids[r]
        for k in range(values.shape[1]):
            if not present[r, k]:
                continue
            value = values[r, k]
            counts[g, k] += 1.0
            if counts[g, k] == 1.0:
                means[g, k] = value
                squares[g, k] = 0.0 if math.isfinite(value) else np.nan
                continue
            delta = value - means[g, k]
            means[g, k] += delta / counts[g, k]
            squares[g, k] += delta * (value - means[g, k])


@kernel(f"void({_POINTS}, f8[:, ::1])")
def fold_count(values: F8, present: B1, ids: I8, counts: F8) -> None:
    """How many points there are."""
    for r in range(present.shape[0]):
        g = ids[r]
        for k in range(present.shape[1]):
            if present[r, k]:
                counts[g, k] += 1.0


@kernel(f"void({_POINTS}, i8[::1], f8[::1], f8[:, ::1], b1[:, ::1])")
def quantiles(values: F8, present: B1, order: I8, starts: I8, qs: F8, out: F8, found: B1) -> None:
    """Quantile ``qs[k]`` of every group g, whose rows are ``order[starts[g] : starts[g + 1]]``."""
    scratch = np.empty(values.shape[0])
    for g in range(len(starts) - 1):
        for k in range(values.shape[1]):
            size = nans = 0
            for i in range(starts[g], starts[g + 1]):
                r = order[i]
                if present[r, k]:
                    if values[r, k] != values[r, k]:
                        nans += 1
                    else:
                        scratch[size] = values[r, k]
                        size += 1
            count, q = size + nans, qs[k]
            found[g, k] = count > 0
            out[g, k] = np.nan
            if count == 0 or q != q:
                continue
            if q < 0.0:
                out[g, k] = -np.inf
            elif q > 1.0:
                out[g, k] = np.inf
            else:
                # NaN counts as the smallest value.
                ordered = np.sort(scratch[:size])
                rank = q * (count - 1.0)
                lower = int(max(0.0, math.floor(rank)))
                upper = int(min(count - 1.0, lower + 1.0))
                weight = rank - math.floor(rank)
                low = ordered[lower - nans] if lower >= nans else np.nan
                high = ordered[upper - nans] if upper >= nans else np.nan
                out[g, k] = low * (1.0 - weight) + high * weight


@helper
def _before(a: float, b: float, largest: bool) -> bool:
    """Whether *a* leaves a heap of the largest (smallest) values before *b*; NaN goes first."""
    if a != a:
        return True
    return a < b if largest else a > b


@helper
def _sift_up(heap: I8, values: F8, k: int, at: int, largest: bool) -> None:
    while at > 0:
        parent = (at - 1) // 2
        if not _before(values[heap[at], k], values[heap[parent], k], largest):
            return
        heap[at], heap[parent] = heap[parent], heap[at]
        at = parent


@helper
def _sift_down(heap: I8, values: F8, k: int, size: int, largest: bool) -> None:
    at = 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _before(
            values[heap[child + 1], k], values[heap[child], k], largest
        ):
            child += 1
        if not _before(values[heap[child], k], values[heap[at], k], largest):
            return
        heap[at], heap[child] = heap[child], heap[at]
        at = child


@kernel(f"i8({_POINTS}, i8[::1], i8[::1], b1, b1[:, ::1], i8[::1])")
def choose_extremes(
    values: F8,
    present: B1,
    order: I8,
    starts: I8,
    ks: I8,
    largest: bool,
    chosen: B1,
    ranked: I8,
) -> int:
    """Marks in ``chosen[S, T]`` the ``ks[k]`` largest or smallest points of each group and step.

    Groups are given as in ``quantiles``. A binary heap decides among equal values as Prometheus'
    does. ``ranked`` gets the heaps of the last step one after the other; returns their length.
    """
    heap = np.empty(values.shape[0], dtype=np.int64)
    filled = 0
    for g in range(len(starts) - 1):
        for k in range(values.shape[1]):
            size = 0
            for i in range(starts[g], starts[g + 1]):
                r = order[i]
                if not present[r, k] or ks[k] < 1:
                    continue
                if size < ks[k]:
                    heap[size] = r
                    size += 1
                    _sift_up(heap, values, k, size - 1, largest)
                    continue
                top, value = values[heap[0], k], values[r, k]
                better = value > top if largest else value < top
                if better or (top != top and value == value):
                    heap[0] = r
                    _sift_down(heap, values, k, size, largest)
            for i in range(size):
                chosen[heap[i], k] = True
            if k == values.shape[1] - 1:
                ranked[filled : filled + size] = heap[:size]
                filled += size
    return filled


@kernel("void(b1[:, ::1], i8[::1], i8[::1], i8[:, ::1], b1[:, ::1])")
def choose_first(present: B1, ids: I8, ks: I8, counts: I8, chosen: B1) -> None:
    """Marks the first ``ks[k]`` points of each group and step; ``counts[G, T]`` starts as 0."""
    for r in range(present.shape[0]):
        g = ids[r]
        for k in range(present.shape[1]):
            if present[r, k] and counts[g, k] < ks[k]:
                counts[g, k] += 1
                chosen[r, k] = True

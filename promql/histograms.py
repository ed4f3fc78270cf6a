"""Arithmetic with native histograms as columns.

Every function takes whole columns and gives new ones; which histograms meet is said by ids. The
results are those of model/histogram/float_histogram.go of Prometheus 3.14, bit for bit.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from promql import histogram_kernels as kernels
from promql.histogram_helpers import (
    BOUND_OFFSETS,
    BOUNDS,
    BUCKETS,
    CONFLICT,
    COUNTS,
    HINTS,
    INCOMPATIBLE,
    OFFSETS,
    POSITIONS,
    RECONCILED,
    SCHEMAS,
    SUMS,
    THRESHOLDS,
    ZEROS,
    Pool,
)
from series.histogram import CUSTOM_SCHEMA, GAUGE, Histograms

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Combined:
    """The n results of an addition or subtraction.

    - ``histograms``: n of them; meaningless where not ``ok``.
    - ``ok``: bool[n], False where exponential met custom buckets.
    - ``reconciled``: bool[n], the custom bounds differed, and the result has those in common.
    - ``conflict``: bool[n], one hint said reset, the other one not.
    """

    histograms: Histograms
    ok: Mask
    reconciled: Mask
    conflict: Mask


def combine(a: Histograms, a_ids: Ids, b: Histograms, b_ids: Ids, *, subtract: bool) -> Combined:
    """``a[a_ids] + b[b_ids]``, or their differences, pair by pair (int64[n] both).

    Empty buckets are kept. Hints are joined as FloatHistogram.Add does; for the operator ``-``
    Prometheus marks the difference as a gauge, which is the caller's affair.
    """
    buckets = _lengths(a.offsets, a_ids) + _lengths(b.offsets, b_ids)
    bounds = _lengths(a.bound_offsets, a_ids) + _lengths(b.bound_offsets, b_ids)
    out = room(len(a_ids), int(buckets.sum()), int(bounds.sum()))
    flags = np.empty(len(a_ids), dtype=np.uint8)
    most = int(buckets.max(initial=0)), int(bounds.max(initial=0))
    sign = -1.0 if subtract else 1.0
    kernels.combined(a.columns, a_ids, b.columns, b_ids, sign, *most, out, flags)
    return Combined(
        filled(out),
        flags & INCOMPATIBLE == 0,
        flags & RECONCILED != 0,
        flags & CONFLICT != 0,
    )


def scale(h: Histograms, factors: Values, *, divide: bool) -> Histograms:
    """Counts and sums times *factors* (float64[H]), or divided by them.

    A negative factor makes a gauge; a division by zero leaves no bucket.
    """
    if divide and (factors == 0).any():
        h = without_buckets(h, factors == 0)
    buckets = np.repeat(factors, np.diff(h.offsets))
    with np.errstate(all="ignore"):
        operate = np.divide if divide else np.multiply
        return replace(
            h,
            hints=np.where(factors < 0, np.uint8(GAUGE), h.hints),
            counts=operate(h.counts, factors),
            sums=operate(h.sums, factors),
            zero_counts=operate(h.zero_counts, factors),
            bucket_counts=operate(h.bucket_counts, buckets),
        )


def compact(h: Histograms) -> Histograms:
    """Without the buckets that count nothing (FloatHistogram.Compact)."""
    return _only(h, h.bucket_counts != 0)


def without_buckets(h: Histograms, which: Mask) -> Histograms:
    """The histograms of *which* (bool[H]) without any bucket, the others as they are."""
    return _only(h, ~np.repeat(which, np.diff(h.offsets)))


def equal(a: Histograms, a_ids: Ids, b: Histograms, b_ids: Ids) -> Mask:
    """Whether pairs are the same bit for bit, their hints apart (FloatHistogram.Equals)."""
    out = np.empty(len(a_ids), dtype=np.bool_)
    kernels.equals(_bits(a), a_ids, _bits(b), b_ids, out)
    return out


def detect_reset(previous: Histograms, before: Ids, current: Histograms, after: Ids) -> Mask:
    """Whether a counter was reset between the histograms of each pair (DetectReset)."""
    out = np.empty(len(before), dtype=np.bool_)
    kernels.resets(previous.columns, before, current.columns, after, out)
    return out


def reduce_resolution(h: Histograms, schemas: Ids) -> Histograms:
    """The histograms in *schemas* (int64[H]) that are as coarse or coarser; custom ones as is."""
    target = np.where(h.schemas == CUSTOM_SCHEMA, CUSTOM_SCHEMA, schemas)
    out = room(h.size, len(h.positions), len(h.bounds))
    kernels.reduced(h.columns, target.astype(np.int64), out)
    return filled(out)


def sample_weights(h: Histograms) -> Ids:
    """int64[H]: how many float samples each histogram counts as against a query's budget.

    Prometheus: the size of its histogram in memory and of the timestamp, in units of a float
    sample. Spans are not kept here: a run of adjacent buckets is one.
    """
    out = np.empty(h.size, dtype=np.int64)
    kernels.weights(h.offsets, h.positions, h.bound_offsets, out)
    return out


def room(size: int, buckets: int, bounds: int) -> Pool:
    """Columns for a kernel to fill with *size* histograms of so many buckets and bounds in all."""
    return (
        np.empty(size, dtype=np.int32),
        np.empty(size, dtype=np.uint8),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.zeros(size + 1, dtype=np.int64),
        np.empty(buckets, dtype=np.int32),
        np.empty(buckets),
        np.zeros(size + 1, dtype=np.int64),
        np.empty(bounds),
    )


def filled(out: Pool, size: int | None = None) -> Histograms:
    """What a kernel wrote into ``room``: all histograms, or the first *size*."""
    count = len(out[SCHEMAS]) if size is None else size
    offsets, bound_offsets = out[OFFSETS][: count + 1], out[BOUND_OFFSETS][: count + 1]
    return Histograms(
        schemas=out[SCHEMAS][:count],
        hints=out[HINTS][:count],
        counts=out[COUNTS][:count],
        sums=out[SUMS][:count],
        zero_thresholds=out[THRESHOLDS][:count],
        zero_counts=out[ZEROS][:count],
        offsets=offsets,
        positions=out[POSITIONS][: offsets[-1]],
        bucket_counts=out[BUCKETS][: offsets[-1]],
        bound_offsets=bound_offsets,
        bounds=out[BOUNDS][: bound_offsets[-1]],
    )


def _lengths(offsets: Ids, ids: Ids) -> Ids:
    return np.asarray(offsets[ids + 1] - offsets[ids])


def _only(h: Histograms, kept: Mask) -> Histograms:
    """With only the *kept* buckets (bool[B])."""
    if kept.all():
        return h
    offsets = np.concatenate(([0], np.cumsum(kept)))[h.offsets].astype(np.int64)
    return replace(
        h, offsets=offsets, positions=h.positions[kept], bucket_counts=h.bucket_counts[kept]
    )


def _bits(h: Histograms) -> Pool:
    """The columns with floats as the integers that have their bits."""
    return tuple(
        column.view(np.int64) if column.dtype == np.float64 else column for column in h.columns
    )

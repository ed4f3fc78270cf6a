"""Range-vector functions where there are native histograms, or start times that count.

``roll`` is what ``Rollup.over`` is for floats alone. Windows with both kinds of samples give what
Prometheus makes of them: nothing, what the floats give, or what all samples give.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from promql import histogram_rate_kernels as rate_kernels
from promql import histogram_total_kernels as total_kernels
from promql import switch_kernels
from promql.histogram_helpers import Pool
from promql.histogram_note_helpers import IGNORED, MIXED_KINDS
from promql.histograms import equal, filled
from promql.matrix import Mask, Values
from promql.rollup import (
    ROLLUPS,
    Points,
    Windows,
    first_samples,
    last_samples,
    step_slices,
)
from series.batch import SeriesBatch
from series.histogram import Histograms
from series.ports import Context

Ids = NDArray[np.int64]
Flags = NDArray[np.uint16]
Bounds = NDArray[np.int32]

COUNTER_CALLS = frozenset(("rate", "increase", "irate", "resets"))
"""The functions that heed start times."""


@dataclass(frozen=True, slots=True)
class Rolled:
    """The results of a function over S rows and T steps.

    ``values``, ``present``, ``histogram_ids`` and ``histograms`` are as in ``Matrix``; ``flags``:
    uint16[S], what is to be said of each row (``histogram_note_helpers``); ``floats``: bool[S, T],
    the windows that held a float.
    """

    values: Values
    present: Mask
    floats: Mask
    flags: Flags
    histogram_ids: Ids | None = None
    histograms: Histograms | None = None


@dataclass(frozen=True)
class Samples:
    """The samples of both kinds in the same windows.

    ``edged`` turns plain windows into those that the selector's edge asks for; ``starts``: start
    times count.
    """

    windows: Windows
    starts: bool
    context: Context
    edged: Callable[[Windows], Windows] = lambda windows: windows
    plain_windows: Windows | None = None
    lookback_ms: int = 0

    @property
    def plain(self) -> Windows:
        """The windows without regard to their edges."""
        return self.windows if self.plain_windows is None else self.plain_windows

    @cached_property
    def floats(self) -> Windows:
        return self._of_kind(histograms=False)

    @cached_property
    def histograms(self) -> Windows:
        return self._of_kind(histograms=True)

    @cached_property
    def has_floats(self) -> Mask:
        return np.asarray(self.floats.counts() > 0)

    @cached_property
    def has_histograms(self) -> Mask:
        return np.asarray(self.histograms.counts() > 0)

    @cached_property
    def mixed(self) -> Mask:
        """bool[S, T]: the windows with samples of both kinds."""
        return self.has_floats & self.has_histograms

    def _of_kind(self, *, histograms: bool) -> Windows:
        windows = self.windows
        batch = windows.batch.of_kind(histograms=histograms)
        if batch is windows.batch:
            return windows
        if batch.sample_count == windows.batch.sample_count:
            return replace(windows, batch=batch)
        plain = Windows.over(batch, windows.ends_ms, windows.evaluated_ms, windows.range_ms)
        return self.edged(plain)


def roll(name: str, samples: Samples, parameters: Sequence[Values]) -> Rolled:
    """The function *name* over windows of samples of both kinds."""
    match name:
        case "rate" | "increase" | "delta":
            return _rate(name, samples)
        case "irate" | "idelta":
            return _change(name, samples)
        case "sum_over_time" | "avg_over_time":
            return _total(name, samples)
        case "first_over_time" | "last_over_time":
            return _one(name, samples)
        case "changes" | "resets":
            return _switches(name, samples)
        case (
            "count_over_time"
            | "present_over_time"
            | "absent_over_time"
            | "ts_of_first_over_time"
            | "ts_of_last_over_time"
        ):
            values, present = ROLLUPS[name].over(samples.windows, parameters, samples.context)
            return Rolled(values, present, samples.has_floats, _no_flags(samples))
        case _:
            points = ROLLUPS[name].over(samples.floats, parameters, samples.context)
            flags = flagged(samples.mixed, IGNORED)
            return Rolled(*points, samples.has_floats, flags)


def _no_flags(samples: Samples) -> Flags:
    return np.zeros(samples.windows.shape[0], dtype=np.uint16)


def flagged(where: Mask, flag: int) -> Flags:
    """*flag* for the rows with a window of *where*."""
    return np.where(where.any(axis=1), np.uint16(flag), np.uint16(0))


def emptied(windows: Windows, where: Mask) -> Windows:
    """The windows without the samples of those *where* says (bool[S, T])."""
    if not where.any():
        return windows
    lows = windows.lows[windows.columns]
    highs = np.where(where, lows, windows.highs[windows.columns])
    columns = np.arange(len(lows), dtype=np.int64)
    return replace(windows, columns=columns, lows=lows, highs=highs)


# --- resets ----------------------------------------------------------------------------------


def mark_resets(batch: SeriesBatch, *, starts: bool) -> tuple[Mask, Mask]:
    """bool[N] twice: the samples before which a counter was reset, and whose start overlaps."""
    resets = np.empty(batch.sample_count, dtype=np.bool_)
    overlaps = np.empty_like(resets)
    pool = batch.histograms or Histograms.empty()
    no_ids = np.zeros(0, dtype=np.int64)
    switch_kernels.mark_resets(
        pool.columns,
        no_ids if batch.histogram_ids is None else batch.histogram_ids,
        batch.values,
        batch.offsets,
        batch.times_ms,
        batch.time_starts,
        _starts(batch, starts),
        resets,
        overlaps,
    )
    return resets, overlaps


def _starts(batch: SeriesBatch, wanted: bool) -> Ids:
    if not wanted or batch.starts_ms is None:
        return np.zeros(0, dtype=np.int64)
    return batch.starts_ms


def _switches(name: str, samples: Samples) -> Rolled:
    """changes and resets: a switch between float and histogram is one of either."""
    batch, windows = samples.windows.batch, samples.windows
    if name == "resets":
        switched, _ = mark_resets(batch, starts=samples.starts)
    else:
        switched = _changed(batch)
    running = np.cumsum(switched) if len(switched) else np.zeros(1, dtype=np.int64)
    starts = batch.offsets[:-1, None]
    present = windows.counts() > 0
    first = np.where(present, starts + first_samples(windows), 0)
    last = np.where(present, starts + last_samples(windows), 0)
    values = np.where(present, running[last] - running[first], 0).astype(np.float64)
    return Rolled(values, present, samples.has_floats, _no_flags(samples))


def _changed(batch: SeriesBatch) -> Mask:
    """bool[N]: the samples that differ from the one before (NaN does not from NaN)."""
    changed = np.zeros(batch.sample_count, dtype=np.bool_)
    if batch.sample_count < 2:
        return changed
    now, before = batch.values[1:], batch.values[:-1]
    changed[1:] = (now != before) & ~(np.isnan(now) & np.isnan(before))
    if batch.histogram_ids is None or batch.histograms is None:
        return changed
    ids = batch.histogram_ids
    changed[1:] = np.where((ids[1:] < 0) & (ids[:-1] < 0), changed[1:], True)
    both = np.flatnonzero((ids[1:] >= 0) & (ids[:-1] >= 0)) + 1
    pool = batch.histograms
    changed[both] = ~equal(pool, ids[both], pool, ids[both - 1])
    return changed


# --- rates -----------------------------------------------------------------------------------


def _rate(name: str, samples: Samples) -> Rolled:
    is_counter, is_rate = name != "delta", name == "rate"
    flags = flagged(samples.mixed, MIXED_KINDS)
    values, present = _float_rate(name, samples, flags)
    windows = emptied(samples.histograms, samples.mixed)
    if not windows.batch.sample_count:
        return Rolled(values, present, samples.has_floats, flags)
    starts = samples.starts and is_counter
    marks = mark_resets(windows.batch, starts=starts)

    def run(part: Windows, out: Ids, said: Flags) -> Pool:
        return rate_kernels.histogram_rate(
            pool_of(part),
            *histogram_samples(part),
            part.batch.times_ms,
            part.batch.time_starts,
            _starts(part.batch, starts),
            *marks,
            part.ends_ms,
            part.range_ms,
            is_counter,
            is_rate,
            out,
            said,
        )

    ids, histograms, said = in_parts(windows, 300, 2, samples.context, run)
    return Rolled(values, present | (ids >= 0), samples.has_floats, flags | said, ids, histograms)


def _float_rate(name: str, samples: Samples, flags: Flags) -> Points:
    windows = emptied(samples.floats, samples.mixed)
    if not samples.starts or windows.batch.starts_ms is None or name == "delta":
        return ROLLUPS[name].over(windows, (), samples.context)
    values, present = windows.out()
    switch_kernels.started_rate(
        *windows.samples(),
        windows.batch.times_ms,
        windows.batch.time_starts,
        windows.batch.starts_ms,
        *mark_resets(windows.batch, starts=True),
        windows.ends_ms,
        windows.range_ms,
        name == "rate",
        values,
        present,
        flags,
    )
    return values, present


def _change(name: str, samples: Samples) -> Rolled:
    """irate and idelta of the last two samples of each window, whichever they are."""
    windows = samples.windows
    batch = windows.batch
    resets, _ = mark_resets(batch, starts=samples.starts)
    if name == "irate":
        values, present = windows.out()
        switch_kernels.instant_rate(
            *windows.samples(), batch.times_ms, batch.time_starts, resets, values, present
        )
    else:
        values, present = ROLLUPS[name].over(windows, (), samples.context)
    if batch.histogram_ids is None or not present.any():
        return Rolled(values, present, samples.has_floats, _no_flags(samples))
    last = np.where(present, batch.offsets[:-1, None] + last_samples(windows), 1)
    kinds = batch.histogram_ids >= 0
    newest, previous = kinds[last], kinds[last - 1]
    flags = flagged(present & (newest != previous), MIXED_KINDS)

    def run(part: Windows, out: Ids, said: Flags) -> Pool:
        return rate_kernels.histogram_change(
            pool_of(part),
            *histogram_samples(part),
            part.batch.times_ms,
            part.batch.time_starts,
            resets,
            name == "irate",
            out,
            said,
        )

    ids, histograms, said = in_parts(windows, 300, 0, samples.context, run)
    present &= ~newest & ~previous
    return Rolled(values, present | (ids >= 0), samples.has_floats, flags | said, ids, histograms)


# --- sums and single samples -----------------------------------------------------------------


def _total(name: str, samples: Samples) -> Rolled:
    flags = flagged(samples.mixed, MIXED_KINDS)
    floats = emptied(samples.floats, samples.mixed)
    values, present = ROLLUPS[name].over(floats, (), samples.context)
    windows = emptied(samples.histograms, samples.mixed)
    if not windows.batch.sample_count:
        return Rolled(values, present, samples.has_floats, flags)

    def run(part: Windows, out: Ids, said: Flags) -> Pool:
        return total_kernels.histogram_total(
            pool_of(part), *histogram_samples(part), name == "avg_over_time", out, said
        )

    per_sample = 100 + 4 * len(pool_of(windows)[7]) // max(len(pool_of(windows)[0]), 1)
    ids, histograms, said = in_parts(windows, 300, per_sample, samples.context, run)
    return Rolled(values, present | (ids >= 0), samples.has_floats, flags | said, ids, histograms)


def _one(name: str, samples: Samples) -> Rolled:
    windows = samples.windows
    values, present = ROLLUPS[name].over(windows, (), samples.context)
    batch = windows.batch
    if batch.histogram_ids is None or not batch.sample_count:
        return Rolled(values, present, samples.has_floats, _no_flags(samples))
    picked = first_samples(windows) if name == "first_over_time" else last_samples(windows)
    at = np.where(present, picked + batch.offsets[:-1, None], 0)
    ids = np.where(present, batch.histogram_ids[at], -1)
    return Rolled(values, present, samples.has_floats, _no_flags(samples), ids, batch.histograms)


# --- kernels over windows of histograms ------------------------------------------------------


def pool_of(windows: Windows) -> Pool:
    histograms = windows.batch.histograms
    assert histograms is not None
    return histograms.columns


def histogram_samples(windows: Windows) -> tuple[Ids, Ids, Ids, Bounds, Bounds]:
    ids = windows.batch.histogram_ids
    assert ids is not None
    return ids, windows.batch.offsets, windows.columns, windows.lows, windows.highs


def in_parts(
    windows: Windows,
    window_ns: int,
    visit_ns: int,
    context: Context,
    run: Callable[[Windows, Ids, Flags], Pool],
) -> tuple[Ids, Histograms, Flags]:
    """Ids, results and flags of a kernel, called for some steps at a time.

    A window takes about *window_ns*, and *visit_ns* for each sample in it.
    """
    rows, steps = windows.shape
    flags = np.zeros(rows, dtype=np.uint16)
    ids, pools, count = [], [], 0
    for part_steps in step_slices(windows.visits() * visit_ns + window_ns * rows):
        context.check()
        whole = part_steps == slice(0, steps)
        part = windows if whole else windows.at_steps(part_steps)
        out = np.empty((rows, len(part.ends_ms)), dtype=np.int64)
        histograms = filled(run(part, out, flags), int(np.count_nonzero(out >= 0)))
        ids.append(np.where(out >= 0, out + count, -1))
        pools.append(histograms)
        count += histograms.size
    return np.concatenate(ids, axis=1), Histograms.concat(pools, context.check), flags

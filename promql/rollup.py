"""Range-vector functions: every window of every row to one value.

ROLLUPS names them all. A function sees one slab of rows as Windows and the values of its scalar
parameters at every step; it gives back a value and a presence for each row and step.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from promql import extreme_kernels, over_time_kernels, quantile_kernels
from promql import rollup_kernels as kernels
from promql.matrix import Mask, Values
from promql.notes import ExecutionError
from promql.time_columns import distinct_columns
from series.batch import STALE_NAN_BITS, SeriesBatch
from series.immutable import immutable
from series.ports import Context

CALL_NS = 10_000_000
"""How long one kernel call may take."""

Int64s = NDArray[np.int64]
Points = tuple[Values, Mask]
Samples = tuple[
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.int32],
]


@immutable
class Windows:
    """The samples ``end - range < time <= end`` of every row at every step.

    - ``batch``: the rows, without stale markers.
    - ``ends_ms``: int64[T], never falling; ``evaluated_ms``: int64[T], the steps themselves (they
      differ from the ends under ``offset`` and ``@``).
    - ``columns``: int64[S], which of the C distinct time columns each row has.
    - ``lows``, ``highs``: int32[C, T], the windows' bounds in samples from the row's start.
    """

    batch: SeriesBatch
    ends_ms: NDArray[np.int64]
    evaluated_ms: NDArray[np.int64]
    range_ms: int
    columns: NDArray[np.int64]
    lows: NDArray[np.int32]
    highs: NDArray[np.int32]

    @classmethod
    def over(
        cls,
        batch: SeriesBatch,
        ends_ms: NDArray[np.int64],
        evaluated_ms: NDArray[np.int64],
        range_ms: int,
    ) -> "Windows":
        """The windows of *batch*, whose stale markers count as no samples."""
        batch = without_stale(batch)
        lengths = batch.offsets[1:] - batch.offsets[:-1]
        starts, columns = batch.time_starts, _ONLY_COLUMN
        if len(starts) != 1:
            first, columns = distinct_columns(starts, lengths, batch.sample_count)
            starts, lengths = starts[first], lengths[first]
        lows, highs = _bounds(batch.times_ms, starts, lengths, ends_ms, range_ms)
        return cls(batch, ends_ms, evaluated_ms, range_ms, columns, lows, highs)

    def moved(self, by_ms: int, range_ms: int) -> "Windows":
        """Windows over the same samples of another length, that end *by_ms* later."""
        batch, ends_ms = self.batch, self.ends_ms + by_ms
        _, first = np.unique(self.columns, return_index=True)
        starts, lengths = batch.time_starts[first], np.diff(batch.offsets)[first]
        return self.bounded(*_bounds(batch.times_ms, starts, lengths, ends_ms, range_ms))

    def bounded(self, lows: NDArray[np.int32], highs: NDArray[np.int32]) -> "Windows":
        """The same with other bounds."""
        return replace(self, lows=lows, highs=highs)

    @property
    def shape(self) -> tuple[int, int]:
        return self.batch.series_count, len(self.ends_ms)

    def at_steps(self, steps: slice) -> "Windows":
        """The windows of some of the steps."""
        return Windows(
            self.batch,
            self.ends_ms[steps],
            self.evaluated_ms[steps],
            self.range_ms,
            self.columns,
            np.ascontiguousarray(self.lows[:, steps]),
            np.ascontiguousarray(self.highs[:, steps]),
        )

    def visits(self) -> NDArray[np.int64]:
        """int64[T]: how many samples the windows of each step hold together."""
        rows = np.bincount(self.columns, minlength=len(self.lows))
        return np.asarray(rows @ (self.highs - self.lows).astype(np.int64))

    def counts(self) -> NDArray[np.int64]:
        """int64[S, T]: how many samples each window holds."""
        return (self.highs - self.lows).astype(np.int64)[self.columns]

    def largest(self) -> int:
        """How many samples the fullest window holds."""
        if self.lows.size == 1:
            return self.highs.item() - self.lows.item()
        return int((self.highs - self.lows).max()) if self.lows.size else 0

    def out(self) -> Points:
        return np.empty(self.shape), np.empty(self.shape, dtype=np.bool_)

    def samples(self) -> Samples:
        """What every kernel takes first."""
        batch = self.batch
        return batch.values, batch.offsets, self.columns, self.lows, self.highs


_ONLY_COLUMN = np.zeros(1, dtype=np.int64)


def _bounds(
    times_ms: Int64s, starts: Int64s, lengths: Int64s, ends_ms: Int64s, range_ms: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Where the windows of each column of times begin and end: int32[C, T] each."""
    lows, highs = np.empty((2, len(starts), len(ends_ms)), dtype=np.int32)
    kernels.window_bounds(times_ms, starts, lengths, ends_ms, range_ms, lows, highs)
    return lows, highs


def without_stale(batch: SeriesBatch) -> SeriesBatch:
    """*batch* without its stale markers; the same object where there are none."""
    bits = batch.values.view(np.uint64)
    if not kernels.holds(bits, STALE_NAN_BITS):
        return batch
    kept = bits != np.uint64(STALE_NAN_BITS)
    if batch.histogram_ids is not None:
        kept |= batch.histogram_ids >= 0
    offsets = np.concatenate(([0], np.cumsum(kept)))[batch.offsets].astype(np.int64)
    lengths = np.diff(batch.offsets)
    shift = np.repeat(batch.time_starts - batch.offsets[:-1], lengths)
    times_ms = batch.times_ms[(np.arange(batch.sample_count) + shift)[kept]]
    return SeriesBatch(
        batch.values[kept],
        times_ms,
        offsets,
        offsets[:-1].copy(),
        histogram_ids=None if batch.histogram_ids is None else batch.histogram_ids[kept],
        histograms=batch.histograms,
        starts_ms=None if batch.starts_ms is None else batch.starts_ms[kept],
    )


class Function(Protocol):
    """Windows and parameters (float64[T] each) to values and presence, both [S, T]."""

    def __call__(self, windows: Windows, *parameters: Values) -> Points: ...


@dataclass(frozen=True, slots=True)
class Rollup:
    """One range-vector function.

    ``keeps_name``: the metric name stays. ``visit_ns``: about how long it looks at each sample of
    each window, so that wide windows at many steps take long; 0 where it need not look at all.
    ``window_ns``: about how long a window takes besides, if a call of many takes long by that.
    """

    run: Function
    keeps_name: bool = False
    visit_ns: int = 0
    window_ns: int = 0

    def over(self, windows: Windows, parameters: Sequence[Values], context: Context) -> Points:
        """The function on all *windows*; *context* is asked again and again where that is long."""
        if not (self.visit_ns or self.window_ns):
            return self.run(windows, *parameters)
        parts = []
        rows_ns = windows.batch.series_count * self.window_ns
        for steps in step_slices(windows.visits() * self.visit_ns + rows_ns):
            context.check()
            part = windows if steps == slice(0, len(windows.ends_ms)) else windows.at_steps(steps)
            parts.append(self.run(part, *(parameter[steps] for parameter in parameters)))
        if len(parts) == 1:
            return parts[0]
        values, present = zip(*parts, strict=True)
        return np.concatenate(values, axis=1), np.concatenate(present, axis=1)


def step_slices(costs_ns: NDArray[np.int64]) -> Iterator[slice]:
    """All steps in runs that cost about CALL_NS or are a single step; a run at least."""
    runs = np.cumsum(costs_ns) // CALL_NS
    starts = [0, *(np.flatnonzero(np.diff(runs)) + 1).tolist(), len(costs_ns)]
    return (slice(start, stop) for start, stop in itertools.pairwise(starts))


def _rate(is_counter: bool, is_rate: bool) -> Function:
    def run(windows: Windows, *parameters: Values) -> Points:
        values, present = windows.out()
        kernels.extrapolated_rate(
            *windows.samples(),
            windows.batch.times_ms,
            windows.batch.time_starts,
            windows.ends_ms,
            windows.range_ms,
            is_counter,
            is_rate,
            values,
            present,
        )
        return values, present

    return run


def _instant(is_rate: bool) -> Function:
    def run(windows: Windows, *parameters: Values) -> Points:
        values, present = windows.out()
        kernels.instant_change(
            *windows.samples(),
            windows.batch.times_ms,
            windows.batch.time_starts,
            is_rate,
            values,
            present,
        )
        return values, present

    return run


def _flagged(kernel: Callable[..., None], flag: bool) -> Function:
    """A function that is a kernel of nothing but windows and one flag."""

    def run(windows: Windows, *parameters: Values) -> Points:
        values, present = windows.out()
        kernel(*windows.samples(), flag, values, present)
        return values, present

    return run


def _at(picked: Callable[[Windows], NDArray[np.int64]], timestamp: bool) -> Function:
    """A function that is one sample of the window, or its time in seconds.

    ``picked`` gives int64[S, T], the sample's place in its row, -1 for none.
    """

    def run(windows: Windows, *parameters: Values) -> Points:
        batch, at = windows.batch, picked(windows)
        present = at >= 0
        if not batch.sample_count:
            return np.zeros(windows.shape), present
        if timestamp:
            return batch.times_ms[
                np.where(present, at + batch.time_starts[:, None], 0)
            ] / 1000, present
        return batch.values[np.where(present, at + batch.offsets[:-1, None], 0)], present

    return run


def first_samples(windows: Windows) -> NDArray[np.int64]:
    """int64[S, T]: the place in its row of the first sample of each window, -1 for none."""
    lows = np.where(windows.highs > windows.lows, windows.lows, -1)
    return lows.astype(np.int64)[windows.columns]


def last_samples(windows: Windows) -> NDArray[np.int64]:
    """As ``first_samples``, of the last one."""
    highs = np.where(windows.highs > windows.lows, windows.highs - 1, -1)
    return highs.astype(np.int64)[windows.columns]


def _extreme(largest: bool, when: bool) -> Function:
    def run(windows: Windows, *parameters: Values) -> Points:
        values, present = windows.out()
        extreme_kernels.extreme_over(
            *windows.samples(),
            windows.batch.times_ms,
            windows.batch.time_starts,
            largest,
            when,
            values,
            present,
        )
        return values, present

    return run


def _count(windows: Windows, *parameters: Values) -> Points:
    counts = windows.counts()
    return counts.astype(np.float64), counts > 0


def _present(windows: Windows, *parameters: Values) -> Points:
    return np.ones(windows.shape), windows.counts() > 0


def _deriv(windows: Windows, *parameters: Values) -> Points:
    slopes, _, present = _regression(windows, from_first=True)
    return slopes, present


def _predict_linear(windows: Windows, *parameters: Values) -> Points:
    (seconds,) = parameters
    slopes, intercepts, present = _regression(windows, from_first=False)
    return slopes * seconds + intercepts, present


def _regression(windows: Windows, *, from_first: bool) -> tuple[Values, Values, Mask]:
    slopes, present = windows.out()
    intercepts = np.empty(windows.shape)
    over_time_kernels.regression_over(
        *windows.samples(),
        windows.batch.times_ms,
        windows.batch.time_starts,
        windows.evaluated_ms,
        from_first,
        intercepts,
        slopes,
        present,
    )
    return slopes, intercepts, present


def _quantile(windows: Windows, *parameters: Values) -> Points:
    values, present = windows.out()
    quantile_kernels.quantile_over(*windows.samples(), parameters[0], False, values, present)
    return values, present


def _mad(windows: Windows, *parameters: Values) -> Points:
    values, present = windows.out()
    medians = np.full(len(windows.ends_ms), 0.5)
    quantile_kernels.quantile_over(*windows.samples(), medians, True, values, present)
    return values, present


def _smoothing(windows: Windows, *parameters: Values) -> Points:
    level, trend = parameters
    values, present = windows.out()
    touched = (windows.highs > windows.lows).any(axis=0)
    for name, factors in (("smoothing", level), ("trend", trend)):
        bad = touched & ((factors <= 0) | (factors >= 1))
        if bad.any():
            symbol, got = name[0] + "f", factors[int(np.argmax(bad))]
            raise ExecutionError(f"invalid {name} factor. Expected: 0 < {symbol} < 1, got: {got:f}")
    over_time_kernels.smoothing_over(*windows.samples(), level, trend, values, present)
    return values, present


ROLLUPS: Mapping[str, Rollup] = {
    "rate": Rollup(_rate(is_counter=True, is_rate=True)),
    "increase": Rollup(_rate(is_counter=True, is_rate=False)),
    "delta": Rollup(_rate(is_counter=False, is_rate=False)),
    "irate": Rollup(_instant(is_rate=True)),
    "idelta": Rollup(_instant(is_rate=False)),
    "deriv": Rollup(_deriv, visit_ns=14),
    "predict_linear": Rollup(_predict_linear, visit_ns=14),
    "changes": Rollup(_flagged(kernels.switches_over, False)),
    "resets": Rollup(_flagged(kernels.switches_over, True)),
    "sum_over_time": Rollup(_flagged(over_time_kernels.sum_over, False), visit_ns=7),
    "avg_over_time": Rollup(_flagged(over_time_kernels.sum_over, True), visit_ns=7),
    "min_over_time": Rollup(_extreme(largest=False, when=False)),
    "max_over_time": Rollup(_extreme(largest=True, when=False)),
    "count_over_time": Rollup(_count),
    "present_over_time": Rollup(_present),
    "absent_over_time": Rollup(_present),
    "first_over_time": Rollup(_at(first_samples, False), keeps_name=True),
    "last_over_time": Rollup(_at(last_samples, False), keeps_name=True),
    "stddev_over_time": Rollup(_flagged(over_time_kernels.variance_over, True), visit_ns=18),
    "stdvar_over_time": Rollup(_flagged(over_time_kernels.variance_over, False), visit_ns=18),
    "quantile_over_time": Rollup(_quantile, window_ns=80),
    "mad_over_time": Rollup(_mad, visit_ns=110),
    "ts_of_first_over_time": Rollup(_at(first_samples, True)),
    "ts_of_last_over_time": Rollup(_at(last_samples, True)),
    "ts_of_min_over_time": Rollup(_extreme(largest=False, when=True)),
    "ts_of_max_over_time": Rollup(_extreme(largest=True, when=True)),
    "double_exponential_smoothing": Rollup(_smoothing, visit_ns=10),
}

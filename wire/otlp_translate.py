"""Translator: one tenant's OTLP metrics to batches.

Source of the rules: http://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics
as Prometheus' receiver applies them; ``docs/otlp.md`` tells where this one differs.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from series.batch import STALE_NAN_BITS, SeriesBatch
from series.metadata import Metadata
from wire import otlp_kernels as kernels
from wire import otlp_rows_kernels as rows_kernels
from wire.errors import Malformed
from wire.otlp_book import MAX_NEW_SERIES, NameBook
from wire.otlp_delta import DeltaTotals
from wire.otlp_extras import with_extras
from wire.otlp_labels import TARGET_INFO, RefusedError
from wire.otlp_options import Options
from wire.otlp_request import MetricsRequest
from wire.otlp_scan import CUMULATIVE, DELTA, Scanned, scan
from wire.otlp_walk_kernels import EXPONENTIAL, HISTOGRAM, SUM
from wire.protobuf import texts

MAX_BOOK_BYTES = 64 << 20
"""What a tenant's names may take; beyond it all are learnt anew."""
MAX_FUTURE_MS = 600_000
"""Deltas further ahead of the clock would hold up all that follow them."""
MAX_INFO_SAMPLES = 100
"""Of one target_info in one request."""

_INFO_METADATA = Metadata("gauge", "Target metadata", "")
_VERDICTS = {
    kernels.NO_VALUE: RefusedError("no-value", "data point without a value"),
    kernels.BAD_BUCKETS: RefusedError(
        "invalid-buckets",
        "bucket counts and explicit bounds do not fit each other, or bounds do not rise",
    ),
}
_UNTYPED = RefusedError("invalid-temporality", "invalid temporality and type combination")
_TOO_MANY = RefusedError("too-many-new-series", f"more than {MAX_NEW_SERIES} new series at once")
_AHEAD = RefusedError("too-far-in-future", "out of bounds: timestamp is too far in the future")
_INFINITE = RefusedError("delta-not-finite", "delta is not a finite number")
_OLD = RefusedError("delta-out-of-order", "delta is not newer than the last one of its series")
_BEYOND = RefusedError("delta-series-limit", "the totals of too many delta series are kept already")

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Translator:
    """Remembers what one tenant has sent: names, and the totals of delta sums. Thread-safe."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._deltas = DeltaTotals(options.max_delta_series)
        self._begin_anew()

    def translate(self, message: NDArray[np.uint8], now_ms: int) -> MetricsRequest:
        """The request in *message*, a plain protobuf ExportMetricsServiceRequest.

        Raises Malformed where it is none; what cannot be stored is refused point by point.
        """
        scanned = scan(message, convert=self._options.convert_histograms_to_nhcb)
        with self._lock:
            if self._book.size_bytes > MAX_BOOK_BYTES:
                self._begin_anew()
            try:
                return self._translate(scanned, now_ms)
            except Malformed:
                self._begin_anew()
                raise

    def forget_names(self) -> None:
        """Gives back the memory of the names; the totals stay."""
        with self._lock:
            self._begin_anew()

    @property
    def delta_series(self) -> int:
        """Of how many series a running total is kept."""
        return len(self._deltas)

    @property
    def size_bytes(self) -> int:
        """Memory that remembered names take, about."""
        return self._book.size_bytes

    def _begin_anew(self) -> None:
        self._book = NameBook(self._options)
        self._told = np.zeros(64, dtype=np.bool_)
        self._deltas.forget_numbers()

    def _translate(self, scanned: Scanned, now_ms: int) -> MetricsRequest:
        book = self._book
        request = MetricsRequest(points=len(scanned.attributes))
        resource_ids = book.resource_ids(scanned)
        scope_ids = book.scope_ids(scanned, resource_ids)
        metric_ids = book.metric_ids(scanned, scope_ids)
        kinds = scanned.metric_kinds
        typed = (kinds == SUM) | (kinds == HISTOGRAM) | (kinds == EXPONENTIAL)
        summed = (scanned.temporalities == DELTA) & (kinds != EXPONENTIAL)
        known = (scanned.temporalities == CUMULATIVE) | summed
        of_metric = scanned.attributes.parents
        wanted = scanned.verdicts == kernels.GOOD
        meant = known | ~typed
        if not meant.all():
            wanted &= meant[of_metric]
        point_ids = book.point_ids(scanned, metric_ids, wanted)
        ids = _Ids(resource_ids, scope_ids, metric_ids, point_ids)

        room = int(scanned.value_ends[-1]) if request.points else 0
        bits = np.empty(room, dtype=np.uint64)
        row_keys, row_points = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
        count = rows_kernels.spread_rows(
            point_ids, scanned.value_ends, scanned.values.view(np.uint64),
            book.table.firsts, book.table.counts, bits, row_keys, row_points,
        )  # fmt: skip
        values = bits[:count].view(np.float64)
        row_keys, row_points = row_keys[:count], row_points[:count]
        accepted = np.zeros(request.points, dtype=np.bool_)
        accepted[row_points] = True
        if not accepted.all():
            self._refuse(request, scanned, ids, ~accepted)
        deltas = typed & summed
        if deltas.any():
            good = self._accumulate(
                request, scanned, deltas[of_metric], row_keys, row_points, values, now_ms
            )
            if not good.all():
                accepted &= good
                keep = good[row_points]
                values, row_keys, row_points = values[keep], row_keys[keep], row_points[keep]
        self._tell(request, scanned, metric_ids)
        batch = self._batch(request, scanned, resource_ids, accepted,
                            values, row_keys, row_points)  # fmt: skip
        request.batch = with_extras(request, batch, scanned, deltas, row_points)
        return request

    def _refuse(
        self, request: MetricsRequest, scanned: Scanned, ids: "_Ids", left_out: Mask
    ) -> None:
        """Names and counts the points of *left_out* (bool[P])."""
        book = self._book
        of_metric = scanned.attributes.parents
        of_scope = scanned.metrics.parents[of_metric]
        of_resource = scanned.scopes.parents[of_scope]
        unread = left_out & (scanned.verdicts != kernels.GOOD)
        if scanned.natives is not None and scanned.natives.refused.any():
            natives = scanned.natives
            bad = natives.points[natives.refused]
            request.refuse_each(bad, natives.errors(), scanned.times_ms, _namer(scanned))
            left_out = left_out & ~(scanned.verdicts == kernels.INVALID_NATIVE)
            unread &= left_out
        _refuse_each(request, scanned, unread, scanned.verdicts, _VERDICTS)
        left_out = left_out & ~unread
        for level, above in (
            (book.resources, ids.resources[of_resource]),
            (book.scopes, ids.scopes[of_scope]),
            (book.metrics, ids.metrics[of_metric]),
        ):
            unnamed = left_out & ~level.good(above)
            _refuse_each(request, scanned, unnamed, above, level.refused)
            left_out = left_out & ~unnamed
        untyped = left_out & (ids.points < 0)
        _refuse_each(request, scanned, untyped, ids.points, {-1: _UNTYPED})
        left_out = left_out & ~untyped
        _refuse_each(request, scanned, left_out, ids.points, book.refused_points)

    def _accumulate(
        self,
        request: MetricsRequest,
        scanned: Scanned,
        is_delta: Mask,
        row_keys: Numbers,
        row_points: Numbers,
        values: NDArray[np.float64],
        now_ms: int,
    ) -> Mask:
        """Turns the deltas among *values* cumulative; returns which points (bool[P]) are good."""
        stale = values.view(np.uint64) == np.uint64(STALE_NAN_BITS)
        rows = np.flatnonzero(is_delta[row_points] & ~stale)
        infinite = rows[~np.isfinite(values[rows])]
        ahead = rows[scanned.times_ms[row_points[rows]] > now_ms + MAX_FUTURE_MS]
        rows = np.setdiff1d(rows, np.concatenate([infinite, ahead]))
        deltas = values[rows]
        points = row_points[rows]
        old, beyond = self._deltas.add(
            self._book.table, row_keys[rows], scanned.times_ms[points], deltas, now_ms
        )
        values[rows] = deltas
        good = np.ones(len(is_delta), dtype=np.bool_)
        for error, bad in (
            (_INFINITE, row_points[infinite]),
            (_AHEAD, row_points[ahead]),
            (_OLD, points[old]),
            (_BEYOND, points[beyond]),
        ):
            mask = np.zeros(len(is_delta), dtype=np.bool_)
            mask[bad] = True
            _refuse_each(request, scanned, mask & good, is_delta, {True: error})
            good &= ~mask
        return good

    def _tell(self, request: MetricsRequest, scanned: Scanned, metric_ids: Numbers) -> None:
        """Adds the metadata that was not told yet."""
        count = self._book.metrics.interner.count
        if count > len(self._told):
            more = max(count, 2 * len(self._told)) - len(self._told)
            self._told = np.concatenate([self._told, np.zeros(more, dtype=np.bool_)])
        untold = metric_ids[~self._told[metric_ids]]
        untold = untold[self._book.metrics.good(untold)]
        for one in np.unique(untold).tolist():
            metric = self._book.metrics.meaning(one)
            request.metadata[metric.name] = metric.metadata
        request.told = (self._told, untold)

    def _batch(
        self,
        request: MetricsRequest,
        scanned: Scanned,
        resource_ids: Numbers,
        accepted: Mask,
        values: NDArray[np.float64],
        row_keys: Numbers,
        row_points: Numbers,
    ) -> SeriesBatch:
        """The rows, and one more for each target_info."""
        info_keys, info_counts, info_times_ms = self._target_info(scanned, resource_ids, accepted)
        if len(info_keys) and request.metadata:
            request.metadata[TARGET_INFO] = _INFO_METADATA
        rows = len(values)
        keys = np.concatenate([row_keys, info_keys])
        table = self._book.table
        offsets = np.arange(rows + len(info_keys) + 1, dtype=np.int64)
        offsets[rows + 1 :] = rows + np.cumsum(info_counts)
        info_starts = len(scanned.times_ms) + offsets[rows:-1] - rows
        return SeriesBatch(
            values=np.concatenate([values, np.ones(len(info_times_ms))]),
            times_ms=np.concatenate([scanned.times_ms, info_times_ms]),
            offsets=offsets,
            time_starts=np.concatenate([row_points, info_starts]),
            keys=table.arena,
            key_starts=table.starts(keys),
            key_ends=table.ends(keys),
        )

    def _target_info(
        self, scanned: Scanned, resource_ids: Numbers, accepted: Mask
    ) -> tuple[Numbers, Numbers, Numbers]:
        """(key, number of samples) of every target_info, and the times of all in turn.

        Samples reach from the resource's earliest to its latest point, at most half a lookback
        apart, so that a join with target_info finds one at any time between.
        """
        earliest, latest = np.empty_like(resource_ids), np.empty_like(resource_ids)
        rows_kernels.time_ranges(
            accepted, scanned.times_ms, scanned.attributes.parents, scanned.metrics.parents,
            scanned.scopes.parents, earliest, latest,
        )  # fmt: skip
        keys = self._book.info_keys(resource_ids)
        chosen = (keys >= 0) & (earliest <= latest)
        latest, earliest, keys = latest[chosen], earliest[chosen], keys[chosen]

        step_ms = max(1, self._options.lookback_delta_ms // 2)
        earliest = np.maximum(earliest, latest - (MAX_INFO_SAMPLES - 1) * step_ms)
        counts = -((earliest - latest) // step_ms) + 1
        ordinals = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        all_times = np.repeat(earliest, counts) + ordinals * step_ms
        return keys, counts, np.minimum(all_times, np.repeat(latest, counts))


@dataclass(frozen=True, slots=True)
class _Ids:
    """The ids of everything in one request, by its rows; see ``NameBook``."""

    resources: Numbers
    scopes: Numbers
    metrics: Numbers
    points: Numbers


def _refuse_each(
    request: MetricsRequest,
    scanned: Scanned,
    mask: Mask,
    causes: NDArray[Any],
    errors: Mapping[int, RefusedError],
) -> None:
    """Refuses the points of *mask* (bool[P]), each by the error of its cause."""
    points = np.flatnonzero(mask)
    if not len(points):
        return
    found = [errors.get(cause, _TOO_MANY) for cause in causes[points].tolist()]
    request.refuse_each(points, found, scanned.times_ms, _namer(scanned))


def _namer(scanned: Scanned) -> Callable[[int], str]:
    """Tells the name of the metric of a point."""
    of_metric = scanned.attributes.parents
    return lambda point: _sent(scanned, int(of_metric[point]))


def _sent(scanned: Scanned, row: int) -> str:
    """The name of the metric of *row* as it was sent, as far as it can be shown."""
    start, end = int(scanned.metrics.starts[row]), int(scanned.metrics.ends[row])
    return texts(scanned.message[start:end].tobytes(), 3)[0].decode(errors="replace")

"""Admission: which samples of a batch are stored, and what the sender is told of the others.

Bounds of time are judged before the log is written, duplicates and conflicts when the logged
samples meet the head. The texts are Prometheus' own.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import Labels
from series.ports import Appended, Refusal
from tsdb.head import kernels as head_kernels
from tsdb.head import registry_kernels
from tsdb.head.head import Head
from tsdb.head.registry import NO_IDS, Ids
from tsdb.metric_limit import SHOWN_REFUSALS, MetricLimit, beyond_room
from tsdb.sample.entries import Entries, box, entry_numbers, ticket_places
from tsdb.sample.samples import Samples

DUPLICATE_TIMESTAMP = "duplicate-timestamp"
TOO_OLD = "too-old"
TOO_FAR_IN_FUTURE = "too-far-in-future"
MAX_SERIES = "max-series-per-tenant"
MAX_METRIC_SERIES = "max-series-per-metric"
SERIES_MEMORY = "series-memory"

_NO_MEMORY = (
    f"err-{SERIES_MEMORY}: no memory left for new series; they are taken again when some of those "
    "in memory have fallen silent, known ones are still stored"
)

_OUT_OF_BOUNDS = {
    registry_kernels.TOO_OLD: (TOO_OLD, "too old sample"),
    registry_kernels.TOO_FAR_IN_FUTURE: (
        TOO_FAR_IN_FUTURE,
        "out of bounds: timestamp is too far in the future",
    ),
}


@dataclass(slots=True)
class Admitted:
    """A batch on its way: the samples within bounds, and the refusals so far.

    ``rows`` int32[N] is the batch's row of every sample in ``times`` and ``bits``; tickets among
    the bits stand for the ``entries``. ``series`` int32[N] is the head's number of its series,
    where all rows are known; else there is none.
    """

    batch: SeriesBatch
    rows: NDArray[np.int32]
    series: NDArray[np.int32]
    times: NDArray[np.int64]
    bits: NDArray[np.uint64]
    entries: Entries | None
    refused: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)
    exemplars: int = 0
    """How many of the batch's exemplars are kept, exact duplicates included."""

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """Goes on with the *chosen* samples only (bool[N])."""
        kept = Samples(self.rows, self.times, self.bits, self.entries).take(chosen)
        self.rows, self.times, self.bits, self.entries = kept
        if len(self.series):
            self.series = self.series[chosen]

    def refuse(self, reason: str, detail: str, row: int, time_ms: int) -> None:
        """Shows one refusal to the sender, where it is among the first; counts nothing."""
        if len(self.refusals) < SHOWN_REFUSALS:
            labels = Labels.from_key(self.batch.key(row))
            self.refusals.append(Refusal(reason, detail, labels, time_ms))


def admit(batch: SeriesBatch, oldest_ms: int, newest_ms: int, ids: Ids = NO_IDS) -> Admitted:
    """Sorts out the samples before *oldest_ms* and after *newest_ms*; *ids* as ``Registry.ids_of``
    gives them.
    """
    count = batch.sample_count
    rows = np.empty(count, dtype=np.int32)
    series = np.empty(count if len(ids) else 0, dtype=np.int32)
    times = np.empty(count, dtype=np.int64)
    verdicts = np.empty(count, dtype=np.uint8)
    bad = registry_kernels.spread(
        batch.offsets, batch.time_starts, batch.times_ms, ids, oldest_ms, newest_ms,
        rows, series, times, verdicts,
    )  # fmt: skip
    admitted = Admitted(batch, rows, series, times, *box(batch))
    if bad:
        for verdict, (reason, detail) in _OUT_OF_BOUNDS.items():
            found = np.flatnonzero(verdicts == verdict)
            if len(found):
                admitted.refused[reason] = len(found)
            for at in found[:SHOWN_REFUSALS].tolist():
                admitted.refuse(reason, detail, int(rows[at]), int(times[at]))
        admitted.keep(verdicts == registry_kernels.FITS)
    return admitted


@dataclass(frozen=True, slots=True)
class SeriesLimit:
    """How many series with samples the head may hold; known ones are always taken.

    ``detail`` is what a sender is told, with ``{count}`` in the place of how many there are.
    ``of_metric`` limits the series of each metric besides.
    """

    maximum: int = 2**62
    detail: str = "too many series: {count}"
    of_metric: MetricLimit | None = None

    def ceiling(self, head: Head) -> int:
        """Up to which ``series_count`` the *head* may register series now."""
        known = head.series_count
        if known < self.maximum:
            return self.maximum
        return known + max(0, self.maximum - self.live(head))

    @staticmethod
    def live(head: Head) -> int:
        """The series with samples."""
        return head.series_count - int(np.count_nonzero(head.empty_series()))


def resolve_series(
    admitted: Admitted, head: Head, publish: Lock, ceiling: int, limit: SeriesLimit
) -> Samples:
    """The admitted samples by the head's series; series that have any become known to it.

    Where the head would hold more than *ceiling* series, or more of a metric than *limit* allows,
    samples of the last unknown ones are refused, and of all unknown ones where what is known of
    series takes all the memory that there is for it. *publish* is taken while the head changes.
    """
    batch = admitted.batch
    if len(admitted.series) == len(admitted.rows):
        return Samples(admitted.series, admitted.times, admitted.bits, admitted.entries)
    ids, fingerprints = head.registry.look_up(batch)
    unknown = ids < 0
    if unknown.any():
        used = np.zeros(batch.series_count, dtype=np.bool_)
        used[admitted.rows] = True
        ids[unknown & ~used] = 0
        new = np.flatnonzero(ids < 0)
        if limit.of_metric is not None and len(new):
            crowded, details = limit.of_metric.surplus(batch, new, fingerprints[new], head)
            if details:
                _refuse_series(admitted, new[crowded], MAX_METRIC_SERIES, details)
                ids[new[crowded]] = 0
                new = new[~crowded]
        room = max(0, ceiling - head.series_count)
        if len(new) and head.has_full_tables:
            details = dict.fromkeys(new[:SHOWN_REFUSALS].tolist(), _NO_MEMORY)
            _refuse_series(admitted, new, SERIES_MEMORY, details)
            ids[new] = 0
        elif len(new) > room:
            surplus = new[beyond_room(fingerprints[new], room)]
            detail = limit.detail.format(count=max(limit.maximum, limit.live(head)))
            details = dict.fromkeys(surplus[:SHOWN_REFUSALS].tolist(), detail)
            _refuse_series(admitted, surplus, MAX_SERIES, details)
            ids[surplus] = 0
        if (ids < 0).any():
            with publish:
                head.register(batch, ids, fingerprints)
    return Samples(ids[admitted.rows], admitted.times, admitted.bits, admitted.entries)


def _refuse_series(
    admitted: Admitted, rows: NDArray[np.int64], reason: str, details: Mapping[int, str]
) -> None:
    """Takes the samples of *rows* out, and counts them as refused; *details* are by row."""
    refused_rows = np.zeros(admitted.batch.series_count, dtype=np.bool_)
    refused_rows[rows] = True
    kept = ~refused_rows[admitted.rows]
    admitted.refused[reason] += int(np.count_nonzero(~kept))
    for row in rows[:SHOWN_REFUSALS].tolist():
        first = int(np.argmax(admitted.rows == row))
        admitted.refuse(reason, details[row], row, int(admitted.times[first]))
    admitted.keep(kept)


def conclude(
    admitted: Admitted, samples: Samples, outcomes: NDArray[np.uint8] | None, head: Head
) -> Appended:
    """What the sender is told once *outcomes* (uint8[N], of ``Head.append``) are known.

    None where all were stored.
    """
    stored = len(samples.series)
    if outcomes is not None:
        conflicts = np.flatnonzero(outcomes == head_kernels.CONFLICT)
        stored -= len(conflicts)
        if len(conflicts):
            _refuse_conflicts(admitted, samples, conflicts, head)
    return Appended(
        stored,
        dict(admitted.refused),
        tuple(admitted.refusals),
        histograms=_histograms(samples, outcomes) if samples.entries is not None else 0,
        exemplars=admitted.exemplars,
    )


def _refuse_conflicts(
    admitted: Admitted, samples: Samples, conflicts: NDArray[np.int64], head: Head
) -> None:
    """Counts the samples at the places *conflicts* as refused, and shows the first."""
    admitted.refused[DUPLICATE_TIMESTAMP] += len(conflicts)
    for at in conflicts[: SHOWN_REFUSALS - len(admitted.refusals)].tolist():
        time_ms = int(samples.times[at])
        existing = head.sample_at(int(samples.series[at]), time_ms)
        detail = _conflict(time_ms, existing, samples.one(at))
        admitted.refuse(DUPLICATE_TIMESTAMP, detail, int(admitted.rows[at]), time_ms)


def _conflict(time_ms: int, existing: SeriesBatch, new: SeriesBatch) -> str:
    """What a sender hears of a *new* sample where an *existing* one stands; batches of one."""
    text = f"duplicate sample for timestamp {time_ms}; overrides not allowed: existing "
    text += "is a histogram" if _is_histogram(existing) else go_g(float(existing.values[0]))
    value = "is a histogram" if _is_histogram(new) else go_g(float(new.values[0]))
    text += f", new value {value}"
    starts_ms = [_start_ms(existing), _start_ms(new)]
    if starts_ms[0] != starts_ms[1]:
        text += f", start timestamps {starts_ms[0]} and {starts_ms[1]}"
    return text


def _is_histogram(sample: SeriesBatch) -> bool:
    return sample.histogram_ids is not None and bool(sample.histogram_ids[0] >= 0)


def _start_ms(sample: SeriesBatch) -> int:
    return 0 if sample.starts_ms is None else int(sample.starts_ms[0])


def _histograms(samples: Samples, outcomes: NDArray[np.uint8] | None) -> int:
    """How many histograms there are among the samples that are no conflicts."""
    assert samples.entries is not None
    at = ticket_places(samples.bits)
    is_histogram = samples.entries.is_histogram[entry_numbers(samples.bits[at])]
    if outcomes is None:
        return int(np.count_nonzero(is_histogram))
    return int(np.count_nonzero(is_histogram & (outcomes[at] != head_kernels.CONFLICT)))


def go_g(value: float) -> str:
    """*value* as Go's ``%g`` prints it: the shortest digits, an exponent from a million on."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if str(value).startswith("-") else "0"
    sign, digits, _ = Decimal(repr(value)).normalize().as_tuple()
    exponent = Decimal(repr(value)).adjusted()
    text = "".join(map(str, digits))
    prefix = "-" if sign else ""
    if exponent < -4 or exponent >= 6:
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        return f"{prefix}{text[0]}{fraction}e{exponent:+03d}"
    if exponent < 0:
        return f"{prefix}0.{'0' * (-exponent - 1)}{text}"
    if exponent + 1 >= len(text):
        return f"{prefix}{text}{'0' * (exponent + 1 - len(text))}"
    return f"{prefix}{text[: exponent + 1]}.{text[exponent + 1 :]}"

"""Admission: which samples of a batch are stored, and what the sender is told of the others.

Bounds of time are judged before the log is written, duplicates and conflicts when the logged
samples meet the head. The texts are Prometheus' own.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import Labels
from series.ports import Appended, Refusal
from tsdb import head_kernels, registry_kernels
from tsdb.head import Head, Samples

SHOWN_REFUSALS = 10

DUPLICATE_TIMESTAMP = "duplicate-timestamp"
TOO_OLD = "too-old"
TOO_FAR_IN_FUTURE = "too-far-in-future"
MAX_SERIES = "max-series-per-tenant"

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

    ``rows`` int32[N] is the batch's row of every sample in ``times`` and ``bits``; ``samples``
    has the series instead, once the head knows them.
    """

    batch: SeriesBatch
    rows: NDArray[np.int32]
    times: NDArray[np.int64]
    bits: NDArray[np.uint64]
    refused: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, reason: str, detail: str, row: int, time_ms: int) -> None:
        """Shows one refusal to the sender, where it is among the first; counts nothing."""
        if len(self.refusals) < SHOWN_REFUSALS:
            labels = Labels.from_key(self.batch.key(row))
            self.refusals.append(Refusal(reason, detail, labels, time_ms))


def admit(batch: SeriesBatch, oldest_ms: int, newest_ms: int) -> Admitted:
    """Sorts out the samples before *oldest_ms* and after *newest_ms*."""
    count = batch.sample_count
    rows = np.empty(count, dtype=np.int32)
    times = np.empty(count, dtype=np.int64)
    verdicts = np.empty(count, dtype=np.uint8)
    bad = registry_kernels.spread(
        batch.offsets, batch.time_starts, batch.times_ms, oldest_ms, newest_ms,
        rows, times, verdicts,
    )  # fmt: skip
    admitted = Admitted(batch, rows, times, batch.values.view(np.uint64))
    if bad:
        for verdict, (reason, detail) in _OUT_OF_BOUNDS.items():
            found = np.flatnonzero(verdicts == verdict)
            if len(found):
                admitted.refused[reason] = len(found)
            for at in found[:SHOWN_REFUSALS].tolist():
                admitted.refuse(reason, detail, int(rows[at]), int(times[at]))
        fits = verdicts == registry_kernels.FITS
        admitted.rows = rows[fits]
        admitted.times = times[fits]
        admitted.bits = admitted.bits[fits]
    return admitted


@dataclass(frozen=True, slots=True)
class SeriesLimit:
    """How many series with samples the head may hold; known ones are always taken.

    ``detail`` is what a sender is told, with ``{count}`` in the place of how many there are.
    """

    maximum: int = 2**62
    detail: str = "too many series: {count}"

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

    Where the head would hold more than *ceiling* series, samples of the last unknown ones are
    refused for *limit*. *publish* is taken while the head changes.
    """
    batch = admitted.batch
    ids, fingerprints = head.registry.look_up(batch)
    unknown = ids < 0
    if unknown.any():
        used = np.zeros(batch.series_count, dtype=np.bool_)
        used[admitted.rows] = True
        ids[unknown & ~used] = 0
        new = np.flatnonzero(ids < 0)
        room = max(0, ceiling - head.series_count)
        if len(new) > room:
            surplus = _surplus(fingerprints[new], room)
            _refuse_series(admitted, new[surplus], limit, head)
            ids[new[surplus]] = 0
        if (ids < 0).any():
            with publish:
                head.register(batch, ids, fingerprints)
    return Samples(ids[admitted.rows], admitted.times, admitted.bits)


def _surplus(fingerprints: NDArray[np.uint64], room: int) -> NDArray[np.bool_]:
    """bool[n]: the rows beyond the first *room* distinct *fingerprints* (uint64[n, 2])."""
    if room == 0:
        return np.ones(len(fingerprints), dtype=np.bool_)
    _, first, ids = np.unique(fingerprints, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    surplus: NDArray[np.bool_] = rank[ids.reshape(-1)] >= room
    return surplus


def _refuse_series(
    admitted: Admitted, rows: NDArray[np.int64], limit: SeriesLimit, head: Head
) -> None:
    """Takes the samples of *rows* out, and counts them as refused."""
    refused_rows = np.zeros(admitted.batch.series_count, dtype=np.bool_)
    refused_rows[rows] = True
    kept = ~refused_rows[admitted.rows]
    admitted.refused[MAX_SERIES] += int(np.count_nonzero(~kept))
    detail = limit.detail.format(count=limit.live(head))
    for row in rows[:SHOWN_REFUSALS].tolist():
        first = int(np.argmax(admitted.rows == row))
        admitted.refuse(MAX_SERIES, detail, row, int(admitted.times[first]))
    admitted.rows = admitted.rows[kept]
    admitted.times = admitted.times[kept]
    admitted.bits = admitted.bits[kept]


def conclude(
    admitted: Admitted, samples: Samples, outcomes: NDArray[np.uint8], head: Head
) -> Appended:
    """What the sender is told once *outcomes* (uint8[N], of ``Head.append``) are known."""
    conflicts = np.flatnonzero(outcomes == head_kernels.CONFLICT)
    if len(conflicts):
        admitted.refused[DUPLICATE_TIMESTAMP] += len(conflicts)
        shown = conflicts[: SHOWN_REFUSALS - len(admitted.refusals)].tolist()
        for at in shown:
            time_ms = int(samples.times[at])
            existing = head.value_at(int(samples.series[at]), time_ms)
            new = float(samples.bits[at : at + 1].view(np.float64)[0])
            detail = (
                f"duplicate sample for timestamp {time_ms}; overrides not allowed:"
                f" existing {go_g(existing)}, new value {go_g(new)}"
            )
            admitted.refuse(DUPLICATE_TIMESTAMP, detail, int(admitted.rows[at]), time_ms)
    stored = len(outcomes) - len(conflicts)
    return Appended(stored, dict(admitted.refused), tuple(admitted.refusals))


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

"""Native histograms of a remote write join the float samples of its series."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from series.batch import STALE_NAN, SeriesBatch
from series.histogram import offsets_of
from series.labels import Labels
from wire.histograms import INVALID_HISTOGRAM, Decoded, decode
from wire.write_request import MAX_SHOWN_REFUSALS, WriteRequest

Numbers = NDArray[np.int64]


def add_histograms(
    request: WriteRequest,
    message: NDArray[np.uint8],
    spans: Numbers,
    roles: Numbers,
    named: NDArray[np.bool_],
) -> None:
    """Puts the histograms into the request's batch, behind the floats of their rows.

    ``spans[h] = (row, start, end)``, rows rising, says where each lies in *message*; *roles* see
    ``wire.histograms``. One that is invalid is refused, unless its row is not *named* (bool[S])
    and refused already. Raises Malformed.
    """
    rows = spans[:, 0].copy()
    decoded = decode(message, spans[:, 1:], roles)
    _refuse(request, rows, decoded, named)
    request.batch = _joined(request.batch, rows, decoded)


def _refuse(
    request: WriteRequest, rows: Numbers, decoded: Decoded, named: NDArray[np.bool_]
) -> None:
    found = np.flatnonzero(decoded.refused & named[rows])
    for at in found[:MAX_SHOWN_REFUSALS].tolist():
        labels = Labels.from_key(request.batch.key(int(rows[at])))
        time_ms = int(decoded.times_ms[at])
        request.refuse(INVALID_HISTOGRAM, decoded.problem(at), labels, 1, time_ms)
    if len(found) > MAX_SHOWN_REFUSALS:
        request.refused[INVALID_HISTOGRAM] += len(found) - MAX_SHOWN_REFUSALS


def _joined(batch: SeriesBatch, rows: Numbers, decoded: Decoded) -> SeriesBatch:
    """The batch, whose rows have times of their own, and the histograms that are not refused."""
    taken = ~decoded.refused
    rows = rows[taken]
    before = offsets_of(np.bincount(rows, minlength=batch.series_count))
    offsets = batch.offsets + before
    count = int(offsets[-1])
    floats_at = np.arange(batch.sample_count)
    floats_at += np.repeat(before[:-1], np.diff(batch.offsets))
    histograms_at = np.arange(len(rows)) + batch.offsets[rows + 1]

    values = np.full(count, STALE_NAN)
    values[floats_at] = batch.values
    times_ms = np.empty(count, dtype=np.int64)
    times_ms[floats_at] = batch.times_ms
    times_ms[histograms_at] = decoded.times_ms[taken]
    ids = np.full(count, -1, dtype=np.int64)
    ids[histograms_at] = decoded.ids[taken]
    starts_ms = None
    if batch.starts_ms is not None or decoded.starts_ms[taken].any():
        starts_ms = np.zeros(count, dtype=np.int64)
        starts_ms[histograms_at] = decoded.starts_ms[taken]
        if batch.starts_ms is not None:
            starts_ms[floats_at] = batch.starts_ms
    has_histograms = decoded.histograms.size > 0
    return replace(
        batch,
        values=values,
        times_ms=times_ms,
        offsets=offsets,
        time_starts=offsets[:-1].copy(),
        histogram_ids=ids if has_histograms else None,
        histograms=decoded.histograms if has_histograms else None,
        starts_ms=starts_ms,
    )

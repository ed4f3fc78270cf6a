"""What the rows of an OTLP request bring besides floats: native histograms, starts, exemplars."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.exemplars import Exemplars
from wire import otlp_exemplar_kernels as kernels
from wire.errors import Malformed
from wire.exemplar_columns import INVALID_EXEMPLARS, Pairs, exemplars_of
from wire.exemplar_columns import Scanned as ScannedExemplars
from wire.otlp_attributes import attributes
from wire.otlp_request import MetricsRequest
from wire.otlp_scan import Scanned
from wire.otlp_walk_kernels import GAUGE
from wire.protobuf import STATUS_TEXTS, fields
from wire.protobuf_helpers import OK

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]

_FILTERED = 7
_VALUES = (3, 6)
"""The fields of an Exemplar with its attributes, and with its value."""
_MAX_RUNES = 128
"""What the labels of an exemplar may come to; attributes that do not fit are left out."""
_MAX_CAREFUL = 10_000
"""Exemplars with attributes that one request may bring: each costs some 20 microseconds."""


def with_extras(
    request: MetricsRequest, batch: SeriesBatch, scanned: Scanned, deltas: Mask, row_points: Numbers
) -> SeriesBatch:
    """*batch* with what its first rows, those of the points *row_points* (int64[R], rising), bring.

    *deltas* bool[M] tells the metrics of delta temporality, whose starts mean something else.
    """
    of_metric = scanned.attributes.parents
    if scanned.natives is not None:
        natives = scanned.natives
        ids = np.full(len(of_metric), -1, dtype=np.int64)
        ids[natives.points] = natives.ids
        widened = np.full(batch.sample_count, -1, dtype=np.int64)
        widened[: len(row_points)] = ids[row_points]
        if (widened >= 0).any():
            batch = replace(batch, histogram_ids=widened, histograms=natives.histograms)
    counts = (scanned.metric_kinds != GAUGE) & ~deltas
    starts_ms = np.where(counts[of_metric], scanned.starts_ms, 0)
    if starts_ms.any():
        widened = np.zeros(batch.sample_count, dtype=np.int64)
        widened[: len(row_points)] = starts_ms[row_points]
        batch = replace(batch, starts_ms=widened)
    if scanned.exemplars:
        exemplars = _exemplars(request, scanned, row_points)
        if exemplars.size:
            batch = replace(batch, exemplars=exemplars)
    return batch


def _exemplars(request: MetricsRequest, scanned: Scanned, row_points: Numbers) -> Exemplars:
    """The exemplars of sums and histograms that are stored, by the rows of their series."""
    spans, message = scanned.exemplar_spans, scanned.message
    found = ScannedExemplars.of(spans.copy(), kernels.KEY_BYTES * len(spans))
    values = found.value_bits.view(np.float64)
    status, position = kernels.read_exemplars(
        message, spans, found.value_bits, values, found.times_ms, found.shapes, found.keys,
        found.key_ends,
    )  # fmt: skip
    if status != OK:
        raise Malformed(f"proto: {STATUS_TEXTS[status]} at byte {position} of {len(message)}")
    points = spans[:, 0].copy()
    rows = _first_rows(scanned, row_points, points)
    kernels.find_rows(points, values, scanned.shapes, scanned.bound_ends, scanned.bounds, rows)
    careful = np.flatnonzero((found.shapes != kernels.CANONICAL) & (rows >= 0))
    rows[careful[_MAX_CAREFUL:]] = -1
    untimed = found.times_ms == 0
    found.times_ms[untimed] = scanned.times_ms[points[untimed]]
    found.spans[:, 0] = rows

    def pairs_of(start: int, end: int) -> Pairs:
        return _pairs(message[start:end].tobytes())

    exemplars, invalid = exemplars_of(found, pairs_of, rows >= 0)
    left_out = scanned.exemplars - exemplars.size - invalid
    for kind, count in (("exemplars", left_out), (INVALID_EXEMPLARS, invalid)):
        if count:
            request.skipped[kind] = count
    return exemplars


def _first_rows(scanned: Scanned, row_points: Numbers, points: Numbers) -> Numbers:
    """int64[E]: the first row of each of *points*, -1 where it has none or takes no exemplars."""
    rows = np.searchsorted(row_points, points)
    stored = rows < len(row_points)
    stored[stored] = row_points[rows[stored]] == points[stored]
    stored &= scanned.metric_kinds[scanned.attributes.parents[points]] != GAUGE
    return np.where(stored, rows, -1)


def _pairs(message: bytes) -> Pairs:
    """The labels of an Exemplar message; one without a name where it has no value or is broken."""
    ids = {4: b"", 5: b""}
    valued = False
    try:
        for number, _, value in fields(message):
            if number in ids and isinstance(value, bytes):
                ids[number] = value
            valued = valued or number in _VALUES
        filtered = attributes(message, _FILTERED)
    except Malformed:
        return [(b"", b"")]
    if not valued:
        return [(b"", b"")]
    own = {
        name: ids[number].hex()
        for name, number in (("trace_id", 5), ("span_id", 4))
        if any(ids[number])
    }
    runes = sum(len(name) + len(text) for name, text in (*own.items(), *filtered))
    labels = own if runes > _MAX_RUNES else {**dict(filtered), **own}
    return [(name.encode(), text.encode()) for name, text in labels.items()]

"""Remote write 1.0: a snappy-compressed ``prometheus.WriteRequest`` becomes a SeriesBatch.

Field numbers are those of prometheus/prompb (types.proto, remote.proto). What cannot be stored is
refused series by series and named; the rest of the request is kept. Only bytes that are no
WriteRequest at all are Malformed.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.exemplars import Exemplars
from series.known import NOTHING_KNOWN, Known, KnownRows
from series.metadata import Metadata
from wire import remote_write_kernels as kernels
from wire.compression import decompress
from wire.errors import Malformed
from wire.exemplar_columns import (
    INVALID_EXEMPLARS,
    MAX_EXEMPLARS,
    Scanned,
    exemplars_of,
)
from wire.histograms import REMOTE_WRITE_1
from wire.protobuf import STATUS_TEXTS, fields, texts
from wire.protobuf_helpers import OK
from wire.remote_write_histograms import add_histograms
from wire.write_request import (
    MAX_DECODED_BYTES,
    MAX_HISTOGRAMS,
    MAX_IRREGULAR,
    MAX_SERIES,
    METRIC_TYPES,
    Pairs,
    WriteRequest,
    check_histogram_count,
    reread_labels,
)

__all__ = ["WriteRequest", "decode", "decode_message"]

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


def decode(
    body: bytes,
    encoding: str = "snappy",
    *,
    max_decoded_bytes: int = MAX_DECODED_BYTES,
    known: Known | None = None,
) -> WriteRequest:
    """Decodes the *body* of a request, compressed by *encoding* (of ``wire.compression``).

    The batch says which of its series are *known*, whose keys must be canonical and have a name.
    Raises Malformed where it cannot be decompressed, is larger than *max_decoded_bytes* (checked
    before anything is allocated), or does not hold a WriteRequest.
    """
    return decode_message(decompress(body, encoding, max_decoded_bytes), known)


def decode_message(message: Bytes, known: Known | None = None) -> WriteRequest:
    """Decodes the plain bytes of a WriteRequest; raises Malformed.

    The batch's keys lie in *message* unless a series needed its labels put in order.
    """
    scanned = _scan(message, known or NOTHING_KNOWN)
    request = WriteRequest(scanned.batch(message, known))
    if scanned.is_plain:
        return request
    named = np.ones(len(scanned.shapes), dtype=np.bool_)
    irregular = np.flatnonzero(scanned.shapes != kernels.CANONICAL).tolist()
    if irregular:

        def pairs_of(row: int) -> Pairs:
            return _label_pairs(message, *scanned.spans[:2, row].tolist())

        histograms = np.bincount(scanned.histogram_spans[:, 0], minlength=len(named))
        reread_labels(request, irregular, pairs_of, histograms, named)
    if len(scanned.histogram_spans):
        add_histograms(request, message, scanned.histogram_spans, REMOTE_WRITE_1, named)
    filled = np.diff(request.batch.offsets) > 0
    if scanned.exemplars:
        filled[_add_exemplars(request, message, scanned).rows] = True
    keep = named & filled
    if not keep.all():
        request.batch = request.batch.take(keep)
    for start, end in scanned.metadata.tolist():
        name, metadata = _metadata(message[start:end].tobytes())
        if name:
            request.metadata[name] = metadata
    return request


@dataclass(frozen=True, slots=True)
class _Scanned:
    """What the kernel found, cut to size; see ``kernels.scan``."""

    spans: Numbers
    shapes: Bytes
    ids: NDArray[np.int32]
    offsets: Numbers
    values: NDArray[np.float64]
    times_ms: Numbers
    histogram_spans: Numbers
    exemplar_spans: Numbers
    metadata: Numbers
    exemplars: int
    new: int
    is_plain: bool
    """Whether there is nothing but canonical rows with samples."""

    def batch(self, message: Bytes, known: Known | None) -> SeriesBatch:
        rows = None if known is None else KnownRows(known.numbering, self.ids, not self.new)
        return SeriesBatch(
            values=self.values,
            times_ms=self.times_ms,
            offsets=self.offsets,
            time_starts=self.offsets[:-1],
            keys=message,
            key_starts=self.spans[2],
            key_ends=self.spans[3],
            known=rows,
        )


def _scan(message: Bytes, known: Known = NOTHING_KNOWN) -> _Scanned:
    """The kernel with arrays that fit: first as long as usual bodies need, then as any can."""
    size = len(message)
    for bytes_per_series, bytes_per_sample in ((32, 12), (2, 2)):
        series_room = min(size // bytes_per_series + 1, MAX_SERIES)
        sample_room = size // bytes_per_sample + 1
        spans = np.empty((4, series_room), dtype=np.int64)
        shapes = np.empty(series_room, dtype=np.uint8)
        ids = np.empty(series_room, dtype=np.int32)
        offsets = np.empty(series_room + 1, dtype=np.int64)
        value_bits = np.empty(sample_room, dtype=np.uint64)
        times_ms = np.empty(sample_room, dtype=np.int64)
        histogram_spans = np.empty((min(size // 2 + 1, MAX_HISTOGRAMS), 3), np.int64)
        exemplar_spans = np.empty((min(size // 2 + 1, MAX_EXEMPLARS), 3), np.int64)
        metadata = np.empty((min(series_room, MAX_IRREGULAR), 2), dtype=np.int64)
        found = kernels.scan(
            message, known.size, known.keys, known.key_starts, known.seed, known.slots,
            spans, shapes, ids, offsets, value_bits, times_ms, histogram_spans,
            exemplar_spans, metadata,
        )  # fmt: skip
        status, position, series, samples, histograms, exemplars, described, odd, new = found
        if status != kernels.NO_ROOM:
            break
    if status == kernels.NO_ROOM:
        raise Malformed(
            f"more than {MAX_SERIES} series or {MAX_IRREGULAR} metadata messages in one request"
        )
    if status != OK:
        raise Malformed(f"proto: {STATUS_TEXTS[status]} at byte {position} of {size}")
    check_histogram_count(histograms)
    return _Scanned(
        spans[:, :series],
        shapes[:series],
        ids[:series],
        offsets[: series + 1],
        value_bits[:samples].view(np.float64),
        times_ms[:samples],
        histogram_spans[:histograms],
        exemplar_spans[:exemplars],
        metadata[:described],
        exemplars,
        new,
        not odd + histograms + exemplars + described,
    )


def _add_exemplars(request: WriteRequest, message: Bytes, scanned: _Scanned) -> Exemplars:
    """Puts the exemplars of the request into its batch; those beyond MAX_EXEMPLARS are skipped."""
    spans = scanned.exemplar_spans
    found = Scanned.of(spans, int((spans[:, 2] - spans[:, 1]).sum()))
    status, position, _ = kernels.scan_exemplars(
        message, spans, found.value_bits, found.times_ms, found.shapes, found.keys, found.key_ends
    )
    if status != OK:
        raise Malformed(f"proto: {STATUS_TEXTS[status]} at byte {position} of {len(message)}")

    def pairs_of(start: int, end: int) -> Pairs:
        return _label_pairs(message, start, end)

    exemplars, invalid = exemplars_of(found, pairs_of)
    request.batch = replace(request.batch, exemplars=exemplars)
    request.skip(INVALID_EXEMPLARS, invalid)
    request.skip("exemplars", scanned.exemplars - len(spans))
    return exemplars


def _label_pairs(message: Bytes, start: int, end: int) -> Pairs:
    """The labels of the TimeSeries or Exemplar message [start, end) as sent."""
    pairs = []
    try:
        for number, _, value in fields(message[start:end].tobytes()):
            if number == 1 and isinstance(value, bytes):
                name, text = texts(value, 2)
                pairs.append((name, text))
    except Malformed as error:
        raise Malformed(f"proto: {error} in a label") from None
    return pairs


def _metadata(message: bytes) -> tuple[str, Metadata]:
    """The metric family name and description of a MetricMetadata message."""
    kind = 0
    found = {2: b"", 4: b"", 5: b""}
    try:
        for number, wire_type, value in fields(message):
            if number == 1:
                if not isinstance(value, int) or wire_type != 0:
                    raise Malformed(f"wrong wireType = {wire_type} for field Type")
                kind = value
            elif number in found:
                if not isinstance(value, bytes):
                    raise Malformed(f"wrong wireType = {wire_type} for field {number}")
                found[number] = value
    except Malformed as error:
        raise Malformed(f"proto: {error} in metadata") from None
    name, help_text, unit = (found[n].decode(errors="replace") for n in (2, 4, 5))
    kind_name = METRIC_TYPES[kind] if kind < len(METRIC_TYPES) else METRIC_TYPES[0]
    return name, Metadata(kind_name, help_text, unit)

"""Remote write 2.0: an ``io.prometheus.write.v2.Request`` becomes a SeriesBatch.

Field numbers are those of prometheus/prompb/io/prometheus/write/v2/types.proto (specification
2.0-rc.4). As in 1.0 what cannot be stored is refused series by series, histograms one by one.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import Labels
from series.metadata import Metadata
from wire import remote_write_v2_kernels as kernels
from wire.compression import decompress
from wire.errors import Malformed
from wire.exemplar_columns import (
    INVALID_EXEMPLARS,
    MAX_EXEMPLARS,
    Scanned,
    exemplars_of,
)
from wire.histograms import REMOTE_WRITE_2
from wire.protobuf import BYTES, STATUS_TEXTS, VARINT, fields, varint
from wire.protobuf_helpers import OK
from wire.remote_write_histograms import add_histograms
from wire.write_request import (
    MAX_DECODED_BYTES,
    MAX_HISTOGRAMS,
    MAX_IRREGULAR,
    MAX_SERIES,
    MAX_SHOWN_REFUSALS,
    METRIC_TYPES,
    Pairs,
    WriteRequest,
    check_histogram_count,
    first_time,
    readable,
    reread_labels,
)

MAX_KEY_BYTES = 128 << 20
"""What the labels of one request may come to when they are written out."""

_COUNTED = ("_bucket", "_count", "_sum")
_FAMILIES = {"histogram": _COUNTED, "gaugehistogram": _COUNTED, "summary": _COUNTED}
"""What the series of a metric family of a type put behind its name."""

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


def decode(
    body: bytes, encoding: str = "snappy", *, max_decoded_bytes: int = MAX_DECODED_BYTES
) -> WriteRequest:
    """Decodes the *body* of a request, compressed by *encoding* (of ``wire.compression``).

    Raises Malformed where it cannot be decompressed, is larger than *max_decoded_bytes* or holds
    no Request.
    """
    return decode_message(decompress(body, encoding, max_decoded_bytes))


def decode_message(message: Bytes) -> WriteRequest:
    """Decodes the plain bytes of a Request; raises Malformed."""
    scan = _Scan(message)
    request = WriteRequest(scan.batch())
    named = np.ones(scan.series, dtype=np.bool_)
    irregular = np.flatnonzero(scan.shapes != kernels.CANONICAL).tolist()
    if irregular:
        sound = [row for row in irregular if _refuse_bad_references(request, scan, row, named)]

        def pairs_of(row: int) -> Pairs:
            return scan.pairs(*scan.spans[row, :2].tolist())

        reread_labels(request, sound, pairs_of, scan.histograms, named)
    if len(scan.histogram_spans):
        add_histograms(request, message, scan.histogram_spans, REMOTE_WRITE_2, named)
    _refuse_empty(request, named & scan.is_empty)
    filled = np.diff(request.batch.offsets) > 0
    if scan.exemplars:
        exemplars, invalid = exemplars_of(scan.read_exemplars(), scan.pairs)
        request.batch = replace(request.batch, exemplars=exemplars)
        request.skip(INVALID_EXEMPLARS, invalid)
        request.skip("exemplars", scan.exemplars - len(scan.exemplar_spans))
        filled[exemplars.rows] = True
    keep = named & filled
    if not keep.all():
        request.batch = request.batch.take(keep)
    request.metadata = _metadata(scan)
    return request


class _Scan:
    """What the kernels found, cut to size; see ``kernels.scan``."""

    def __init__(self, message: Bytes) -> None:
        self.message = message
        self.symbols, self.usable, series_room = _symbols(message)
        if series_room > MAX_SERIES:
            raise Malformed(f"more than {MAX_SERIES} series in one request")
        spans = np.empty((series_room, 4), dtype=np.int64)
        shapes = np.empty(series_room, dtype=np.uint8)
        offsets = np.empty(series_room + 1, dtype=np.int64)
        described = np.empty((series_room, 4), dtype=np.int64)
        told_of = np.empty(len(self.usable), dtype=np.int64)
        # References unfold to many times their size; room that stays untouched costs nothing.
        key_room = min(16 * len(message) + 256, MAX_KEY_BYTES)
        sample_room = len(message) // 12 + 1
        while True:
            value_bits = np.empty(sample_room, dtype=np.uint64)
            times_ms = np.empty(sample_room, dtype=np.int64)
            starts_ms = np.empty(sample_room, dtype=np.int64)
            histogram_spans = np.empty((min(len(message) // 2 + 1, MAX_HISTOGRAMS), 3), np.int64)
            exemplar_spans = np.empty((min(len(message) // 2 + 1, MAX_EXEMPLARS), 3), np.int64)
            keys = np.empty(key_room, dtype=np.uint8)
            status, position, series, samples, starts, histograms, exemplars, told, key_bytes = (
                kernels.scan(
                    message, self.symbols, self.usable, len(self.usable), spans, shapes, offsets,
                    value_bits, times_ms, starts_ms, histogram_spans, exemplar_spans, described,
                    told_of, keys, MAX_KEY_BYTES,
                )
            )  # fmt: skip
            if status != kernels.NO_ROOM:
                break
            sample_room, key_room = len(message) // 2 + 1, max(key_room, key_bytes)
        _raise_unless_ok(status, position, message)
        check_histogram_count(histograms)
        self.series = series
        self.spans, self.shapes = spans[:series], shapes[:series]
        self.offsets, self.described = offsets[: series + 1], described[:told]
        self.value_bits, self.times_ms = value_bits[:samples], times_ms[:samples]
        self.starts_ms = starts_ms[:samples] if starts else None
        self.histogram_spans = histogram_spans[:histograms]
        self.exemplar_spans, self.exemplars = exemplar_spans[:exemplars], exemplars
        self.keys = keys[:key_bytes]

    @property
    def histograms(self) -> Numbers:
        """int64[S]: how many histograms each row brings."""
        return np.bincount(self.histogram_spans[:, 0], minlength=self.series)

    @property
    def is_empty(self) -> NDArray[np.bool_]:
        """bool[S]: rows that bring nothing at all."""
        empty: NDArray[np.bool_] = np.diff(self.offsets) == 0
        empty[self.histogram_spans[:, 0]] = False
        empty[self.exemplar_spans[:, 0]] = False
        return empty

    def read_exemplars(self) -> Scanned:
        """What the messages of the exemplars hold; raises Malformed."""
        room = 4 * len(self.message) + 256
        while True:
            found = Scanned.of(self.exemplar_spans, room)
            status, position, key_bytes = kernels.scan_exemplars(
                self.message, self.symbols, self.usable, len(self.usable), found.spans,
                found.value_bits, found.times_ms, found.shapes, found.keys, found.key_ends,
                MAX_KEY_BYTES,
            )  # fmt: skip
            if status != kernels.NO_ROOM:
                break
            room = key_bytes
        _raise_unless_ok(status, position, self.message)
        return found

    def batch(self) -> SeriesBatch:
        return SeriesBatch(
            values=self.value_bits.view(np.float64),
            times_ms=self.times_ms,
            offsets=self.offsets,
            time_starts=self.offsets[:-1],
            keys=self.keys,
            key_starts=np.ascontiguousarray(self.spans[:, 2]),
            key_ends=np.ascontiguousarray(self.spans[:, 3]),
            starts_ms=self.starts_ms,
        )

    def symbol(self, reference: int) -> bytes:
        start, end = self.symbols[reference].tolist()
        return self.message[start:end].tobytes()

    def references(self, start: int, end: int) -> list[int]:
        """The label references of the message [start, end) as sent, packed or not."""
        found = []
        for number, wire_type, value in fields(self.message[start:end].tobytes()):
            if number != 1:
                continue
            if wire_type == BYTES and isinstance(value, bytes):
                at = 0
                while at < len(value):
                    reference, at = varint(value, at)
                    found.append(reference & 0xFFFFFFFF)
            elif wire_type == VARINT and isinstance(value, int):
                found.append(value & 0xFFFFFFFF)
        return found

    def pairs(self, start: int, end: int) -> Pairs:
        """The labels of the message [start, end) as sent; one without a name for bad references."""
        references = self.references(start, end)
        if len(references) % 2 or max(references, default=0) >= len(self.symbols):
            return [(b"", b"")]
        texts = [self.symbol(reference) for reference in references]
        return list(zip(texts[::2], texts[1::2], strict=True))


def _symbols(message: Bytes) -> tuple[Numbers, NDArray[np.bool_], int]:
    """The symbols int64[K, 2], which of them bool[K] can stand in labels, the count of series."""
    for bytes_per_symbol in (24, 2):
        room = len(message) // bytes_per_symbol + 1
        symbols = np.empty((room, 2), dtype=np.int64)
        usable = np.empty(room, dtype=np.bool_)
        status, position, count, series = kernels.scan_symbols(message, symbols, usable)
        if status != kernels.NO_ROOM:
            break
    _raise_unless_ok(status, position, message)
    if count and symbols[0, 0] != symbols[0, 1]:
        raise Malformed("proto: the first symbol is not empty")
    return symbols[:count], usable[:count], series


def _raise_unless_ok(status: int, position: int, message: Bytes) -> None:
    if status == kernels.TOO_LARGE:
        raise Malformed(f"labels of more than {MAX_KEY_BYTES} bytes in one request")
    if status != OK:
        raise Malformed(f"proto: {STATUS_TEXTS[status]} at byte {position} of {len(message)}")


def _refuse_bad_references(
    request: WriteRequest, scan: _Scan, row: int, named: NDArray[np.bool_]
) -> bool:
    """Whether the references of a row can be followed; else it is refused and leaves *named*."""
    references = scan.references(*scan.spans[row, :2].tolist())
    if len(references) % 2:
        reason = f"invalid labelRefs length {len(references)}"
    else:
        beyond = [reference for reference in references if reference >= len(scan.symbols)]
        if not beyond:
            return True
        reason = f"labelRefs {beyond[0]} outside of symbols table (size {len(scan.symbols)})"
    shown = " ".join(map(str, references[:32]))
    batch = request.batch
    count = int(batch.offsets[row + 1] - batch.offsets[row] + scan.histograms[row])
    detail = f"parsing labels for series [{shown}]: {reason}"
    request.refuse("bad-symbol-ref", detail, readable([]), max(count, 1), first_time(batch, row))
    named[row] = False
    return False


def _refuse_empty(request: WriteRequest, empty: NDArray[np.bool_]) -> None:
    """Refuses the rows of *empty* (bool[S]), which bring neither sample nor histogram."""
    rows = np.flatnonzero(empty)
    for row in rows[:MAX_SHOWN_REFUSALS].tolist():
        labels = Labels.from_key(request.batch.key(row))
        detail = f"TimeSeries must contain at least one sample or histogram for series {labels}"
        request.refuse("empty-series", detail, labels, 1, 0)
    if len(rows) > MAX_SHOWN_REFUSALS:
        request.refused["empty-series"] += len(rows) - MAX_SHOWN_REFUSALS


def _metadata(scan: _Scan) -> dict[str, Metadata]:
    """What the series tell of their metrics, by metric family; the last of several."""
    found: dict[str, Metadata] = {}
    if len(scan.described) > MAX_IRREGULAR:
        raise Malformed(f"more than {MAX_IRREGULAR} descriptions of metrics")
    for name, kind, help_ref, unit_ref in scan.described.tolist():
        if max(help_ref, unit_ref) >= len(scan.symbols):
            continue
        kind_name = METRIC_TYPES[kind] if kind < len(METRIC_TYPES) else METRIC_TYPES[0]
        help_text = scan.symbol(help_ref).decode(errors="replace")
        unit = scan.symbol(unit_ref).decode(errors="replace")
        family = _family(scan.symbol(name).decode(), kind_name)
        found[family] = Metadata(kind_name, help_text, unit)
    return found


def _family(name: str, kind: str) -> str:
    """The metric family behind the name of one of its series."""
    for suffix in _FAMILIES.get(kind, ()):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name

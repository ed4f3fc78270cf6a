"""Remote write 2.0: an ``io.prometheus.write.v2.Request`` becomes a SeriesBatch.

Field numbers are those of prometheus/prompb/io/prometheus/write/v2/types.proto (specification
2.0-rc.4). As in 1.0 what cannot be stored is refused series by series. Exemplars and start
timestamps are read, counted as skipped, and not kept.
"""

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import Labels
from series.metadata import Metadata
from wire import remote_write_v2_kernels as kernels
from wire.compression import decompress
from wire.errors import Malformed
from wire.protobuf import BYTES, STATUS_TEXTS, VARINT, fields, varint
from wire.protobuf_helpers import OK
from wire.write_request import (
    MAX_DECODED_BYTES,
    MAX_IRREGULAR,
    MAX_SERIES,
    MAX_SHOWN_REFUSALS,
    METRIC_TYPES,
    Pairs,
    WriteRequest,
    first_time,
    readable,
    refuse_histograms,
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
        reread_labels(request, sound, scan.pairs, scan.histograms, named)
    if scan.histograms.any():
        refuse_histograms(request, scan.histograms * named)
    filled = np.diff(scan.offsets) > 0
    _refuse_empty(request, named & ~filled & ~scan.others.any(axis=1))
    keep = named & filled
    if not keep.all():
        request.batch = request.batch.take(keep)
    request.metadata = _metadata(scan)
    for kind, count in (
        ("exemplars", int(scan.others[:, 1].sum())),
        ("start-timestamps", scan.start_times),
    ):
        if count:
            request.skipped[kind] = count
    return request


class _Scan:
    """What the kernels found, cut to size; see ``kernels.scan``."""

    def __init__(self, message: Bytes) -> None:
        self.message = message
        self.symbols, usable, series_room = _symbols(message)
        if series_room > MAX_SERIES:
            raise Malformed(f"more than {MAX_SERIES} series in one request")
        spans = np.empty((series_room, 4), dtype=np.int64)
        shapes = np.empty(series_room, dtype=np.uint8)
        others = np.empty((series_room, 2), dtype=np.int64)
        offsets = np.empty(series_room + 1, dtype=np.int64)
        described = np.empty((series_room, 4), dtype=np.int64)
        told_of = np.empty(len(usable), dtype=np.int64)
        sample_room, key_room = len(message) // 12 + 1, 4 * len(message) + 256
        while True:
            value_bits = np.empty(sample_room, dtype=np.uint64)
            times_ms = np.empty(sample_room, dtype=np.int64)
            keys = np.empty(key_room, dtype=np.uint8)
            status, position, series, samples, told, starts, key_bytes = kernels.scan(
                message, self.symbols, usable, len(usable), spans, shapes, others, offsets,
                value_bits, times_ms, described, told_of, keys, MAX_KEY_BYTES,
            )  # fmt: skip
            if status != kernels.NO_ROOM:
                break
            sample_room, key_room = len(message) // 2 + 1, max(key_room, key_bytes)
        if status == kernels.TOO_LARGE:
            raise Malformed(f"labels of more than {MAX_KEY_BYTES} bytes in one request")
        _raise_unless_ok(status, position, message)
        self.series = series
        self.spans, self.shapes, self.others = spans[:series], shapes[:series], others[:series]
        self.offsets, self.described = offsets[: series + 1], described[:told]
        self.value_bits, self.times_ms = value_bits[:samples], times_ms[:samples]
        self.keys = keys[:key_bytes]
        self.start_times = starts

    @property
    def histograms(self) -> Numbers:
        return np.ascontiguousarray(self.others[:, 0])

    def batch(self) -> SeriesBatch:
        return SeriesBatch(
            values=self.value_bits.view(np.float64),
            times_ms=self.times_ms,
            offsets=self.offsets,
            time_starts=self.offsets[:-1],
            keys=self.keys,
            key_starts=np.ascontiguousarray(self.spans[:, 2]),
            key_ends=np.ascontiguousarray(self.spans[:, 3]),
        )

    def symbol(self, reference: int) -> bytes:
        start, end = self.symbols[reference].tolist()
        return self.message[start:end].tobytes()

    def references(self, row: int) -> list[int]:
        """The label references of a row as sent, packed or not."""
        start, end = self.spans[row, :2].tolist()
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

    def pairs(self, row: int) -> Pairs:
        """The labels of a row as sent; its references must be sound."""
        texts = [self.symbol(reference) for reference in self.references(row)]
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
    if status != OK:
        raise Malformed(f"proto: {STATUS_TEXTS[status]} at byte {position} of {len(message)}")


def _refuse_bad_references(
    request: WriteRequest, scan: _Scan, row: int, named: NDArray[np.bool_]
) -> bool:
    """Whether the references of a row can be followed; else it is refused and leaves *named*."""
    references = scan.references(row)
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

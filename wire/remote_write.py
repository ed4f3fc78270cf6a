"""Remote write 1.0: a snappy-compressed ``prometheus.WriteRequest`` becomes a SeriesBatch.

Field numbers are those of prometheus/prompb (types.proto, remote.proto). What cannot be stored is
refused series by series and named; the rest of the request is kept. Only bytes that are no
WriteRequest at all are Malformed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cramjam
import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.labels import METRIC_NAME, Labels
from series.metadata import Metadata
from series.ports import Refusal
from wire import remote_write_kernels as kernels
from wire.errors import Malformed
from wire.protobuf import fields, texts, varint

MAX_DECODED_BYTES = 32 << 20
MAX_SERIES = 500_000
MAX_IRREGULAR = 100_000
"""Series whose labels have to be put in order, and metadata messages: each costs microseconds."""
MAX_SHOWN_REFUSALS = 10

_TYPES = (
    "unknown",
    "counter",
    "gauge",
    "histogram",
    "gaugehistogram",
    "summary",
    "info",
    "stateset",
)
_REASONS = {
    kernels.UNEXPECTED_END: "unexpected EOF",
    kernels.VARINT_OVERFLOW: "integer overflow",
    kernels.ILLEGAL_TAG: "illegal tag 0",
    kernels.ILLEGAL_WIRE_TYPE: "illegal wireType",
    kernels.WRONG_WIRE_TYPE: "wrong wireType",
}

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@dataclass(slots=True)
class WriteRequest:
    """One decoded request.

    - ``batch``: the series that can be stored, in the order sent; keys are canonical, a series may
      occur twice, rows are not empty.
    - ``metadata``: by metric family name, the last of several.
    - ``refused``: samples that cannot be stored, counted by reason; ``refusals`` shows the first.
    """

    batch: SeriesBatch
    metadata: dict[str, Metadata] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, reason: str, detail: str, labels: Labels, samples: int, time_ms: int) -> None:
        """Counts *samples* of one series as refused; samples may be 0, then nothing is lost."""
        if samples == 0:
            return
        self.refused[reason] = self.refused.get(reason, 0) + samples
        if len(self.refusals) < MAX_SHOWN_REFUSALS:
            self.refusals.append(Refusal(reason, detail, labels, time_ms))


def decode(body: bytes, *, max_decoded_bytes: int = MAX_DECODED_BYTES) -> WriteRequest:
    """Decodes the *body* of a request (snappy block format).

    Raises Malformed where it is no snappy block, claims more than *max_decoded_bytes* (checked
    before anything is allocated), or does not hold a WriteRequest.
    """
    return decode_message(decompress(body, max_decoded_bytes))


def decompress(body: bytes, max_decoded_bytes: int) -> Bytes:
    """uint8[n]: the plain bytes of a snappy block."""
    try:
        claimed, _ = varint(body, 0)
    except Malformed:
        raise Malformed("snappy: corrupt input") from None
    if claimed > max_decoded_bytes:
        raise Malformed(
            f"snappy: decoded length {claimed} exceeds the {max_decoded_bytes} bytes limit"
        )
    plain = np.empty(claimed, dtype=np.uint8)
    try:
        written = cramjam.snappy.decompress_raw_into(body, plain.data) if claimed else 0
    except cramjam.DecompressionError:
        raise Malformed("snappy: corrupt input") from None
    if written != claimed:
        raise Malformed("snappy: corrupt input")
    return plain


def decode_message(message: Bytes) -> WriteRequest:
    """Decodes the plain bytes of a WriteRequest; raises Malformed.

    The batch's keys lie in *message* unless a series needed its labels put in order.
    """
    scanned = _scan(message)
    request = WriteRequest(scanned.batch(message))
    named = np.ones(len(scanned.shapes), dtype=np.bool_)
    irregular = np.flatnonzero(scanned.shapes != kernels.CANONICAL).tolist()
    if len(irregular) > MAX_IRREGULAR:
        raise Malformed(f"more than {MAX_IRREGULAR} series with labels missing or out of order")
    if irregular:
        _reread_labels(request, scanned, irregular, message, named)
    if scanned.histograms.any():
        _refuse_histograms(request, scanned.histograms * named)
    keep = named & (np.diff(scanned.offsets) > 0)
    if not keep.all():
        request.batch = _take(request.batch, keep)
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
    histograms: Numbers
    offsets: Numbers
    values: NDArray[np.float64]
    times_ms: Numbers
    metadata: Numbers

    def batch(self, message: Bytes) -> SeriesBatch:
        return SeriesBatch(
            values=self.values,
            times_ms=self.times_ms,
            offsets=self.offsets,
            time_starts=self.offsets[:-1],
            keys=message,
            key_starts=np.ascontiguousarray(self.spans[:, 2]),
            key_ends=np.ascontiguousarray(self.spans[:, 3]),
        )


def _scan(message: Bytes) -> _Scanned:
    """The kernel with arrays that fit: first as long as usual bodies need, then as any can."""
    size = len(message)
    for bytes_per_series, bytes_per_sample in ((32, 12), (2, 2)):
        series_room = min(size // bytes_per_series + 1, MAX_SERIES)
        sample_room = size // bytes_per_sample + 1
        spans = np.empty((series_room, 4), dtype=np.int64)
        shapes = np.empty(series_room, dtype=np.uint8)
        histograms = np.empty(series_room, dtype=np.int64)
        offsets = np.empty(series_room + 1, dtype=np.int64)
        value_bits = np.empty(sample_room, dtype=np.uint64)
        times_ms = np.empty(sample_room, dtype=np.int64)
        metadata = np.empty((min(series_room, MAX_IRREGULAR), 2), dtype=np.int64)
        status, position, series, samples, described = kernels.scan(
            message, spans, shapes, histograms, offsets, value_bits, times_ms, metadata
        )
        if status != kernels.NO_ROOM:
            break
    if status == kernels.NO_ROOM:
        raise Malformed(
            f"more than {MAX_SERIES} series or {MAX_IRREGULAR} metadata messages in one request"
        )
    if status != kernels.OK:
        raise Malformed(f"proto: {_REASONS[status]} at byte {position} of {size}")
    return _Scanned(
        spans[:series],
        shapes[:series],
        histograms[:series],
        offsets[: series + 1],
        value_bits[:samples].view(np.float64),
        times_ms[:samples],
        metadata[:described],
    )


def _reread_labels(
    request: WriteRequest,
    scanned: _Scanned,
    rows: Sequence[int],
    message: Bytes,
    named: NDArray[np.bool_],
) -> None:
    """Puts the labels of the given *rows* in order, in an arena behind the message's bytes.

    A row without valid labels is refused and leaves *named* (bool[S]).
    """
    extra: list[bytes] = []
    end = len(message)
    batch = request.batch
    for row in rows:
        pairs = _label_pairs(message[scanned.spans[row, 0] : scanned.spans[row, 1]].tobytes())
        problem = _label_problem(pairs)
        if problem is not None:
            reason, detail = problem
            count = int(batch.offsets[row + 1] - batch.offsets[row] + scanned.histograms[row])
            request.refuse(reason, detail, _readable(pairs), count, _first_time(batch, row))
            named[row] = False
            continue
        key = Labels((name.decode(), value.decode()) for name, value in pairs).key
        extra.append(key)
        batch.key_starts[row], batch.key_ends[row] = end, end + len(key)
        end += len(key)
    if extra:
        arena = np.concatenate([message, np.frombuffer(b"".join(extra), dtype=np.uint8)])
        request.batch = SeriesBatch(
            batch.values,
            batch.times_ms,
            batch.offsets,
            batch.time_starts,
            arena,
            batch.key_starts,
            batch.key_ends,
        )


def _label_pairs(message: bytes) -> list[tuple[bytes, bytes]]:
    """The labels of a TimeSeries message as sent."""
    pairs = []
    try:
        for number, _, value in fields(message):
            if number == 1 and isinstance(value, bytes):
                name, text = texts(value, 2)
                pairs.append((name, text))
    except Malformed as error:
        raise Malformed(f"proto: {error} in a label") from None
    return pairs


def _label_problem(pairs: list[tuple[bytes, bytes]]) -> tuple[str, str] | None:
    """(reason, sentence) where the labels name no series."""
    got = _readable(pairs)
    names = [name for name, _ in pairs]
    try:
        for pair in pairs:
            for text in pair:
                text.decode()
    except UnicodeDecodeError:
        return "invalid-utf8", f"invalid metric name or labels, got {got}: invalid UTF-8"
    if b"" in names:
        return "empty-label-name", f"invalid metric name or labels, got {got}: empty label name"
    if len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at]).decode()
        return (
            "duplicate-label",
            f"invalid labels for series, labels {got}, duplicated label {twice}",
        )
    if not dict(pairs).get(METRIC_NAME.encode()):
        return "missing-metric-name", f"invalid metric name or labels, got {got}: no metric name"
    return None


def _readable(pairs: list[tuple[bytes, bytes]]) -> Labels:
    """The labels as far as they can be shown; of equal names the first."""
    shown: dict[str, str] = {}
    for name, value in pairs:
        shown.setdefault(name.decode(errors="replace"), value.decode(errors="replace"))
    return Labels.of(shown)


def _refuse_histograms(request: WriteRequest, counts: Numbers) -> None:
    """Refuses ``counts[r]`` native histogram samples of each row."""
    rows = np.flatnonzero(counts)
    batch = request.batch
    for row in rows[:MAX_SHOWN_REFUSALS].tolist():
        labels = Labels.from_key(batch.key(row))
        detail = f"native histograms are not supported yet for series {labels}"
        request.refuse("native-histogram", detail, labels, int(counts[row]), 0)
    rest = int(counts[rows[MAX_SHOWN_REFUSALS:]].sum())
    if rest:
        request.refused["native-histogram"] += rest


def _first_time(batch: SeriesBatch, row: int) -> int:
    times_ms = batch.row_times_ms(row)
    return int(times_ms[0]) if len(times_ms) else 0


def _take(batch: SeriesBatch, keep: NDArray[np.bool_]) -> SeriesBatch:
    """The rows of *keep* (bool[S]) with their samples."""
    lengths = np.diff(batch.offsets)
    samples = np.repeat(keep, lengths)
    offsets = np.zeros(int(keep.sum()) + 1, dtype=np.int64)
    np.cumsum(lengths[keep], out=offsets[1:])
    return SeriesBatch(
        batch.values[samples],
        batch.times_ms[samples],
        offsets,
        offsets[:-1],
        batch.keys,
        batch.key_starts[keep],
        batch.key_ends[keep],
    )


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
    kind_name = _TYPES[kind] if kind < len(_TYPES) else _TYPES[0]
    return name, Metadata(kind_name, help_text, unit)

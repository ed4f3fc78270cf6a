"""The protobuf doors: remote write 1.0 and 2.0, OTLP, and the exposition format."""

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tests.fuzz.mutate import Shape
from tests.fuzz.slow_remote_write_v2 import slow_rows
from tests.fuzz.target import Outcome, Target, check_batch, counted, magnitude, shape_of
from tests.wire import encode, slow_remote_write, test_remote_write_known
from tests.wire.otlp import NOW_MS, Export
from tests.wire.test_otlp_twin import point_count
from wire import exposition_protobuf, remote_write, remote_write_v2
from wire.errors import Malformed
from wire.otlp_options import Options
from wire.otlp_request import MetricsRequest
from wire.otlp_translate import Translator
from wire.remote_read import decode_request
from wire.write_request import WriteRequest

_LABELS = (b"__name__", b"job", b"le", b"\n\x08__name__\x12\x02up", b"\xff", b"\xc3\xbc")
_OF_KNOWN = encode.series(encode.Series(test_remote_write_known.labels_of(2), [(5, 1.0)]))
_WARM = (
    Export(service__name="s", a="b")
    .gauge("g", 1.0, k="v")
    .counter("c", 2, k="v")
    .histogram("h", [1, 2, 3], [0.5, 1], 2.5, k="v")
    .body
)


def array(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(bytearray(data), dtype=np.uint8)


def _written(request: WriteRequest) -> Outcome:
    check_batch(request.batch)
    exemplars = request.batch.exemplars
    filled = np.diff(request.batch.offsets) > 0
    if exemplars is not None:
        filled[exemplars.rows] = True
    assert filled.all(), "every row brings something"
    assert bool(request.refused) == bool(request.refusals)
    return (
        magnitude(request.batch.series_count),
        magnitude(request.batch.sample_count),
        magnitude(len(request.metadata)),
        0 if exemplars is None else magnitude(len(exemplars.rows)),
        request.batch.histograms is not None,
        request.batch.starts_ms is not None,
        frozenset(shape_of(one.detail)[:30] for one in request.refusals),
        counted(request.refused),
        counted(request.skipped),
    )


def _remote_write(data: bytes) -> Outcome:
    """A WriteRequest, against the slow reader of tests/wire."""
    slow_remote_write.agrees(data)
    return _written(remote_write.decode_message(array(data)))


def _remote_write_known(data: bytes) -> Outcome:
    """A message between two of known series: read as the slow reader reads it, or left."""
    before, found, behind = test_remote_write_known.read([_OF_KNOWN, data or b"\0", _OF_KNOWN])
    assert before == behind != []
    assert before is not None, "a neighbour is read whatever stands beside it"
    if found is None:
        raise Malformed("left to the reader of all writes")
    rows, refused = slow_remote_write.slow_rows(data)
    assert (found, refused) == (test_remote_write_known.flat(rows), 0)
    return (magnitude(len(rows)), magnitude(len(found)))


def _remote_write_2(data: bytes) -> Outcome:
    """A Request, against a slow reader that knows nothing of symbols that are usable or not."""
    expected = slow_rows(data)
    try:
        request = remote_write_v2.decode_message(array(data))
    except Malformed:
        assert expected is None, "the slow reader reads it"
        raise
    assert expected is not None, "the slow reader refuses it"
    assert repr(slow_remote_write.rows(request)) == repr(expected)
    return _written(request)


def _remote_read(data: bytes) -> Outcome:
    request = decode_request(encode.snappy(data))
    assert all(kind >= 0 for kind in request.accepted)
    for query in request.queries:
        assert -(2**63) <= query.start_ms < 2**63
        assert -(2**63) <= query.end_ms < 2**63
    kinds = [one.type for query in request.queries for one in query.matchers]
    return magnitude(len(request.queries)), frozenset(kinds), magnitude(len(request.accepted))


def _otlp_outcome(request: MetricsRequest, data: bytes) -> Outcome:
    labels = check_batch(request.batch)
    assert request.refused_points <= request.points
    assert bool(request.refused) == bool(request.refusals)
    return (
        magnitude(request.points),
        magnitude(len(labels)),
        magnitude(request.batch.sample_count),
        magnitude(len(request.metadata)),
        request.batch.histograms is not None,
        request.batch.exemplars is not None,
        counted(request.refused),
        counted(request.skipped),
    )


def _rows(request: MetricsRequest) -> list[tuple[bytes, bytes, bytes]]:
    batch = request.batch
    return [
        (batch.key(row), batch.row_times_ms(row).tobytes(), batch.row_values(row).tobytes())
        for row in range(batch.series_count)
    ]


def _otlp(data: bytes) -> Outcome:
    """A request as OpenTelemetry's own classes read it, and as a translator that knows others."""
    try:
        theirs = ExportMetricsServiceRequest.FromString(data)
    except DecodeError:
        theirs = None
    fresh, warm = Translator(Options()), Translator(Options())
    request = fresh.translate(array(data), NOW_MS)
    warm.translate(array(_WARM), NOW_MS)
    again = warm.translate(array(data), NOW_MS)
    assert _rows(again) == _rows(request)
    assert again.refused == request.refused
    check_batch(warm.translate(array(data), NOW_MS).batch)
    if theirs is not None:
        assert request.points >= point_count(theirs)
    return _otlp_outcome(request, data)


def _exposition_protobuf(data: bytes) -> Outcome:
    page = exposition_protobuf.decode(data, NOW_MS)
    check_batch(page.batch)
    assert len(page.explicit) == page.batch.series_count
    return (
        magnitude(page.batch.series_count),
        magnitude(int(page.explicit.sum())),
        magnitude(page.exemplars),
        page.batch.histograms is not None,
        page.batch.starts_ms is not None,
        tuple(sorted({one.type for one in page.metadata.values()})),
        counted(page.refused),
    )


TARGETS = (
    Target("remote_write", _remote_write, (Malformed,), Shape.PROTOBUF, _LABELS),
    Target("remote_write_known", _remote_write_known, (Malformed,), Shape.PROTOBUF, _LABELS),
    Target("remote_write_2", _remote_write_2, (Malformed,), Shape.PROTOBUF, _LABELS),
    Target("remote_read", _remote_read, (Malformed,), Shape.PROTOBUF, (*_LABELS, b".*", b"(")),
    Target("otlp", _otlp, (Malformed,), Shape.PROTOBUF, (*_LABELS, b"service.name")),
    Target("exposition_protobuf", _exposition_protobuf, (Malformed,), Shape.PROTOBUF, _LABELS),
)

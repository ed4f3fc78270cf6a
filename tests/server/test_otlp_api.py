"""OTLP over HTTP: every path, encoding and answer."""

import gzip
import zlib
from collections.abc import Callable
from concurrent.futures import Future

import httpx
import pytest
import zstandard
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)

from series.ports import Appended
from tests.server.conftest import NOW_MS, Asker
from tests.wire.otlp import DELTA, Export
from tsdb.db import Db
from wire.otlp_options import Options, Strategy

PATHS = (
    "/v1/metrics",
    "/v1/v1/metrics",
    "/otlp/v1/metrics",
    "/api/v1/otlp/v1/metrics",
    "/opentelemetry/v1/metrics",
)
PROTOBUF = "application/x-protobuf"
JSON = "application/json"


def send(
    asker: Asker, body: bytes, kind: str = PROTOBUF, path: str = PATHS[0], **headers: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asker("POST", path, content=body, headers={"content-type": kind, **named})


def shop(value: float, name: str = "requests") -> Export:
    return Export(service__name="shop").counter(name, value)


def partial(answer: httpx.Response) -> tuple[int, str]:
    """The rejected points and the message of a partial success."""
    assert answer.status_code == 200
    response = ExportMetricsServiceResponse.FromString(answer.content)
    told = response.partial_success
    return told.rejected_data_points, told.error_message


@pytest.mark.parametrize("path", PATHS)
def test_every_path_takes_metrics(asker: Asker, path: str) -> None:
    """200 with an empty protobuf body, then the value."""
    answer = send(asker, shop(3).body, path=path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == PROTOBUF
    assert asker.values("requests_total") == {"shop": "3"}


def test_json_is_answered_in_json(asker: Asker) -> None:
    """The same request as JSON, and an empty object back."""
    body = json_format.MessageToJson(shop(4).message).encode()
    answer = send(asker, body, "application/json; charset=utf-8")
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["content-type"] == JSON
    assert asker.values("requests_total") == {"shop": "4"}


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("zstd", zstandard.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
        ("GZIP", gzip.compress),
    ],
)
def test_compressed_bodies(asker: Asker, encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """As Content-Encoding says, in protobuf and JSON."""
    body = compress(shop(1).body)
    assert send(asker, body, content_encoding=encoding).status_code == 200
    body = compress(json_format.MessageToJson(shop(2, "other").message).encode())
    assert send(asker, body, JSON, content_encoding=encoding).status_code == 200
    assert asker.values('sum({__name__=~"requests_total|other_total"})') == {"": "3"}


def test_bombs_are_refused(asker: Asker) -> None:
    """A small body that grows beyond the limit is 400 in either encoding."""
    bomb = gzip.compress(bytes(64 << 20), 1)
    for kind in (PROTOBUF, JSON):
        answer = send(asker, bomb, kind, content_encoding="gzip")
        assert answer.status_code == 400
        assert b"limit" in answer.content


@pytest.mark.parametrize(
    ("kind", "encoding", "words"),
    [
        ("text/plain", "", "unsupported content type: text/plain"),
        ("", "", "unsupported content type"),
        (PROTOBUF, "br", "unsupported compression: br"),
        (PROTOBUF, "snappy", "unsupported compression: snappy"),
    ],
)
def test_other_kinds_are_415(asker: Asker, kind: str, encoding: str, words: str) -> None:
    """By name, in plain text."""
    answer = send(asker, b"", kind, content_encoding=encoding)
    assert answer.status_code == 415
    assert words in answer.text


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        (PROTOBUF, b"\x0a\xff", b"unexpected EOF"),
        (JSON, b"{", b"json"),
        (JSON, b'{"resourceMetrics": 1}', b"resourceMetrics: not a list"),
        (JSON, b"[" * 100_000, b"json"),
    ],
)
def test_other_bytes_are_400(asker: Asker, kind: str, body: bytes, words: bytes) -> None:
    """With a Status in the encoding of the request."""
    answer = send(asker, body, kind)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == kind
    assert words in answer.content


def test_broken_compression_is_400(asker: Asker) -> None:
    """Named by its encoding."""
    for encoding in ("gzip", "zstd", "deflate"):
        answer = send(asker, b"nothing", content_encoding=encoding)
        assert answer.status_code == 400
        assert f"{encoding}: corrupt input".encode() in answer.content


def test_a_partial_success_names_what_was_refused(asker: Asker) -> None:
    """The good points are stored; the count is of data points, the message has the reasons."""
    export = shop(5).histogram("h", [1], [1, 2]).gauge("late", 1.0, at_ms=NOW_MS + 3_600_000)
    export.exponential("e", scale=-5)
    rejected, text = partial(send(asker, export.body))
    assert rejected == 3
    assert 'native histogram. Scale must be >= -4, was -5, metric "e"' in text
    assert "1 invalid-buckets" in text
    assert "too far in the future" in text
    assert asker.values("requests_total") == {"shop": "5"}
    told = send(asker, json_format.MessageToJson(export.message).encode(), JSON).json()
    assert told["partialSuccess"]["rejectedDataPoints"] == "3"
    assert "invalid-buckets" in told["partialSuccess"]["errorMessage"]


def test_nothing_stored_is_400(asker: Asker) -> None:
    """So that senders, who do not look into a partial success, log it."""
    export = Export().histogram("h", [1], [1, 2])
    answer = send(asker, export.body)
    assert answer.status_code == 400
    assert b"invalid-buckets" in answer.content
    assert asker.get("/api/v1/labels").json()["data"] == []


def test_a_refusing_disk_is_503_and_the_retry_is_stored_once(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Senders come again; a delta is not counted twice."""
    export = Export(service__name="shop").counter("c", 2, temporality=DELTA)
    failed: Future[Appended] = Future()
    failed.set_exception(OSError(28, "No space left on device"))
    with monkeypatch.context() as patch:
        patch.setattr(Db, "append_here", lambda db, batch, *, may_sync: failed)
        answer = send(asker, export.body)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert b"No space left" in answer.content
    assert send(asker, export.body).status_code == 200
    assert asker.values("c_total") == {"shop": "2"}


def test_metadata_and_target_info_are_kept(asker: Asker) -> None:
    """Types show on /api/v1/metadata; a join with target_info finds the resource."""
    export = Export(service__name="shop", host__name="h1").counter("requests", 3)
    send(asker, export.body)
    told = asker.get("/api/v1/metadata").json()["data"]
    assert told["requests_total"] == [{"type": "counter", "help": "", "unit": ""}]
    joined = 'requests_total * on(job) group_left(host_name) target_info{host_name="h1"}'
    assert asker.values(joined) == {"shop": "3"}


def test_settings_choose_the_names(make_asker: Callable[..., Asker]) -> None:
    """UTF-8 names on request."""
    asker = make_asker(otlp=Options(translation_strategy=Strategy.UTF8))
    send(asker, Export(service__name="s").gauge("http.latency", 1.5, "s").body)
    assert asker.values('{"http.latency"}') == {"s": "1.5"}


def test_tenants_have_their_own_totals(asker: Asker) -> None:
    """A delta of one tenant adds nothing to another's series of that name."""
    for tenant, value in (("a", 1), ("b", 10), ("a", 2)):
        export = Export(service__name="s")
        export.counter("c", value, temporality=DELTA, at_ms=NOW_MS - 10 + value)
        assert send(asker, export.body, x_org_id=tenant).status_code == 200
    assert asker.values("c_total", {"x-org-id": "a"}) == {"s": "3"}
    assert asker.values("c_total", {"x-org-id": "b"}) == {"s": "10"}


def test_the_door_counts_itself(asker: Asker) -> None:
    """Data points, exemplars without a value, delta series."""
    export = Export(service__name="s").counter("c", 1, temporality=DELTA)
    export._scope.metrics[0].sum.data_points[0].exemplars.add()
    send(asker, export.body)
    page = asker.get("/metrics").text
    assert "o11y_otlp_data_points_total 1.0" in page
    assert 'o11y_ingest_skipped_total{door="otlp",kind="invalid-exemplars"} 1.0' in page
    assert 'o11y_ingest_samples_total{door="otlp"} 1.0' in page
    assert "o11y_otlp_delta_series 1.0" in page

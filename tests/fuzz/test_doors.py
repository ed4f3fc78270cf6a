"""The corpora at the doors of a whole server: nothing in them is its fault."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fuzz.targets import corpus
from tests.server.conftest import WRITE, Asker, asker, make_asker, up
from tests.wire import encode
from wire.line_blocks import ENCODINGS

__all__ = ["asker", "make_asker"]

PROTOBUF = {"content-type": "application/x-protobuf"}
VERSION_2 = {
    "content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    "content-encoding": "snappy",
}
OPENMETRICS = {"content-type": "application/openmetrics-text; version=1.0.0"}
FAMILIES = {
    "content-type": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily"
}
IMPORT, PUSH = "/api/v1/import/prometheus", "/metrics/job/fuzz/instance/a"
FORM = {"content-type": "application/x-www-form-urlencoded"}
SPAN = {"start": "1699999000", "end": "1700000000", "step": "100"}


@dataclass(frozen=True)
class Sent:
    """One request."""

    method: str
    path: str
    arguments: dict[str, Any]


def post(path: str, body: bytes, headers: dict[str, str], method: str = "POST") -> Sent:
    return Sent(method, path, {"content": body, "headers": headers})


def _zlib(data: bytes) -> list[Sent]:
    encoding = "gzip" if data[:2] == b"\x1f\x8b" else "deflate"
    headers = {**PROTOBUF, "content-encoding": encoding}
    return [post("/v1/metrics", data, headers), post(PUSH, data, headers, "PUT")]


def _line_blocks(data: bytes) -> list[Sent]:
    encoding = ENCODINGS[data[0] % len(ENCODINGS)]
    return [
        post(path, data[1:], {"content-encoding": encoding})
        for path in (IMPORT, "/api/v1/import", "/write")
    ]


def _promql(data: bytes) -> list[Sent]:
    query = {"query": data.decode(errors="replace")}
    return [
        Sent("GET", "/api/v1/query", {"params": query | {"time": "1700000000"}}),
        Sent("POST", "/api/v1/query_range", {"data": query | SPAN}),
        Sent("POST", "/api/v1/format_query", {"data": query}),
        Sent("GET", "/api/v1/series", {"params": {"match[]": query["query"]}}),
    ]


def _query_params(data: bytes) -> list[Sent]:
    url, _, body = data.partition(b"\x00")
    return [
        post(f"{path}?{url.decode('latin-1')}", body, FORM)
        for path in ("/api/v1/query", "/api/v1/query_range", "/api/v1/labels")
    ]


def _push_path(data: bytes) -> list[Sent]:
    path = "/metrics/" + data.decode("latin-1")
    return [post(path, b"up 1\n", {}, method) for method in ("PUT", "POST", "DELETE")]


DOORS: dict[str, Callable[[bytes], list[Sent]]] = {
    "snappy": lambda data: [post("/api/v1/write", data, WRITE), post("/api/v1/read", data, WRITE)],
    "zstd": lambda data: [post("/api/v1/write", data, {**PROTOBUF, "content-encoding": "zstd"})],
    "zlib": _zlib,
    "line_blocks": _line_blocks,
    "remote_write": lambda data: [post("/api/v1/write", encode.snappy(data), WRITE)],
    "remote_write_2": lambda data: [post("/api/v1/write", encode.snappy(data), VERSION_2)],
    "remote_read": lambda data: [post("/api/v1/read", encode.snappy(data), WRITE)],
    "otlp": lambda data: [post("/v1/metrics", data, PROTOBUF)],
    "otlp_json": lambda data: [post("/v1/metrics", data, {"content-type": "application/json"})],
    "exposition_text": lambda data: [post(IMPORT, data, {}), post(PUSH, data, {}, "PUT")],
    "openmetrics": lambda data: [
        post(IMPORT, data, OPENMETRICS),
        post(PUSH, data, OPENMETRICS, "PUT"),
    ],
    "exposition_protobuf": lambda data: [post(PUSH, data, FAMILIES)],
    "influx": lambda data: [post("/write?precision=s&db=d", data[1:], {})],
    "json_lines": lambda data: [post("/api/v1/import", data, {})],
    "promql": _promql,
    "query_params": _query_params,
    "push_path": _push_path,
}


def _all(name: str) -> Iterator[Sent]:
    for data in corpus(name):
        yield from DOORS[name](data) if data else ()


@pytest.mark.parametrize("name", DOORS)
def test_no_input_is_the_servers_fault(
    name: str, asker: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is taken or refused with a 4xx and a reason; what comes after is served as before."""
    with caplog.at_level(logging.ERROR):
        for sent in _all(name):
            answer = asker(sent.method, sent.path, **sent.arguments)
            assert answer.status_code < 500, (sent, answer.text)
            assert answer.status_code < 400 or answer.content, sent
    assert not caplog.records
    assert asker.write(up("afterwards", 7)).status_code == 204
    assert asker.values('up{job="afterwards"}') == {"afterwards": "7"}

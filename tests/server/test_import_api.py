"""Imports over HTTP: text, JSON lines and Influx lines, streamed and compressed."""

import gzip
import json
from collections.abc import Callable

import httpx
import pytest
import zstandard

from server.doors import import_api
from tests.server.conftest import NOW_MS, Asker
from wire import line_blocks

TEXT = "/api/v1/import/prometheus"
JSON = "/api/v1/import"
OPENMETRICS = {"content-type": "application/openmetrics-text; version=1.0.0"}
Compress = Callable[[bytes], bytes]


def send(asker: Asker, path: str, body: bytes | str, **headers: str) -> httpx.Response:
    content = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asker("POST", path, content=content, headers=named)


def test_text_is_stored_now_or_at_its_time(asker: Asker) -> None:
    """204; a sample without a time gets the server's, or that of the URL."""
    assert send(asker, TEXT, f'up{{job="a"}} 1\nup{{job="b"}} 2 {NOW_MS - 1000}').status_code == 204
    assert send(asker, f"{TEXT}?timestamp={NOW_MS - 5000}", 'up{job="c"} 3\n').status_code == 204
    assert asker.values("up") == {"a": "1", "b": "2", "c": "3"}
    assert asker.values("timestamp(up)") == {
        "a": str(NOW_MS // 1000),
        "b": str(NOW_MS // 1000 - 1),
        "c": str(NOW_MS // 1000 - 5),
    }


def test_metadata_is_kept(asker: Asker) -> None:
    """Types and help texts show on /api/v1/metadata."""
    send(asker, TEXT, "# HELP up Help.\n# TYPE up gauge\nup 1\n")
    told = asker.get("/api/v1/metadata").json()["data"]
    assert told == {"up": [{"type": "gauge", "help": "Help.", "unit": ""}]}


def test_openmetrics_by_content_type(asker: Asker) -> None:
    """Times are seconds; a body that stops early is told so, with its samples stored."""
    seconds = NOW_MS / 1000
    body = f'up{{job="a"}} 1 {seconds} # {{trace="x"}} 1\n# EOF\n'
    assert asker("POST", TEXT, content=body.encode(), headers=OPENMETRICS).status_code == 204
    cut = asker("POST", TEXT, content=b'up{job="b"} 2\n', headers=OPENMETRICS)
    assert cut.status_code == 400
    assert cut.text.startswith("data does not end with # EOF")
    assert "stored: 1" in cut.text
    assert asker.values("up") == {"a": "1", "b": "2"}


def test_bad_lines_are_named_and_the_rest_stored(asker: Asker) -> None:
    """400 with the number of each bad line and the count."""
    answer = send(asker, TEXT, 'up{job="a"} 1\nup{job="b" 2\nup{job="c"} x\nup{job="d"} 4\n')
    assert answer.status_code == 400
    lines = answer.text.splitlines()
    assert lines[0].startswith("line 2: ")
    assert lines[1].startswith('line 3: strconv.ParseFloat: parsing "x": invalid syntax')
    assert lines[-1] == "refused: 2 malformed-line; stored: 2"
    assert asker.values("up") == {"a": "1", "d": "4"}


def test_no_more_than_ten_lines_are_answered(asker: Asker) -> None:
    """However many are bad."""
    answer = send(asker, TEXT, "bad\n" * 1000)
    assert len(answer.text.splitlines()) == 10
    assert "1000 malformed-line" in answer.text


COMPRESSED: list[tuple[str, Compress]] = [
    ("gzip", gzip.compress),
    ("gzip", lambda body: gzip.compress(body[:100]) + gzip.compress(body[100:])),
    ("zstd", lambda body: zstandard.ZstdCompressor().compress(body)),
    ("zstd", lambda body: b"".join(zstandard.compress(part) for part in (body[:99], body[99:]))),
    ("identity", lambda body: body),
]


@pytest.mark.parametrize(("encoding", "compress"), COMPRESSED)
def test_long_bodies_are_cut_into_blocks(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, encoding: str, compress: Compress
) -> None:
    """Of whole lines, plain or compressed, in one piece or several; nothing is lost between."""
    monkeypatch.setattr(line_blocks, "BLOCK_BYTES", 1000)
    body = b"".join(b'up{job="%d"} %d\n' % (k % 7, k) for k in range(2000))
    timed = body.replace(b"\n", b" %d\n")
    timed %= tuple(NOW_MS - 2000 + k for k in range(2000))
    answer = send(asker, TEXT, compress(timed), content_encoding=encoding)
    assert answer.status_code == 204, answer.text
    assert asker.values("sum(count_over_time(up[5m]))") == {"": "2000"}
    assert asker.values("sum(sum_over_time(up[5m]))") == {"": str(sum(range(2000)))}


MIB = 1 << 20


@pytest.mark.parametrize(
    ("encoding", "body", "limit", "words"),
    [
        ("gzip", b"no gzip", MIB, "gzip: corrupt input"),
        ("gzip", gzip.compress(b"up 1\n" * 100)[:-9], MIB, "gzip: unexpected end of input"),
        ("zstd", b"no zstd", MIB, "zstd: corrupt input"),
        ("zstd", zstandard.compress(b"up 1\n" * 100)[:-3], MIB, "zstd: unexpected end of input"),
        ("gzip", gzip.compress(b"x" * (9 * MIB)), 16 * MIB, "a line exceeds the 8388608 bytes"),
        ("zstd", zstandard.compress(b"\n" * (9 * MIB)), 4 * MIB, "the decoded body exceeds"),
        ("gzip", gzip.compress(b"\n" * (9 * MIB)), 4 * MIB, "the decoded body exceeds"),
        ("", b"\n" * (5 * MIB), 4 * MIB, "exceeds the 4194304 bytes limit"),
    ],
)
def test_corrupt_and_endless_bodies(
    asker: Asker,
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
    body: bytes,
    limit: int,
    words: str,
) -> None:
    """400 that says why, before much of it is read."""
    monkeypatch.setattr(import_api, "MAX_IMPORT_BYTES", limit)
    answer = send(asker, TEXT, body, content_encoding=encoding)
    assert answer.status_code == 400
    assert words in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{TEXT}?timestamp=abc", 400),
        (f"{TEXT}?extra_label=a=b", 400),
        (f"{JSON}?extra_label=a=b", 400),
        ("/write?precision=fortnight", 400),
    ],
)
def test_parameters_that_mean_nothing_here(asker: Asker, path: str, status: int) -> None:
    """They are refused rather than passed over."""
    answer = send(asker, path, "up value=1")
    assert answer.status_code == status
    assert answer.text


def test_other_encodings_are_415(asker: Asker) -> None:
    """As at the other doors."""
    assert send(asker, TEXT, "up 1", content_encoding="br").status_code == 415
    assert send(asker, "/write", "up v=1", content_encoding="br").status_code == 415


def test_json_lines(asker: Asker) -> None:
    """A series a line, many samples each."""
    rows = [
        {
            "metric": {"__name__": "up", "job": job},
            "values": [1, 2.5, None],
            "timestamps": [NOW_MS - 2000, NOW_MS - 1000, NOW_MS - 500],
        }
        for job in "ab"
    ]
    body = "\n".join([*map(json.dumps, rows), '{"metric":{}}', "{"])
    answer = send(asker, JSON, body)
    assert answer.status_code == 400
    assert answer.text.splitlines()[:2] == [
        "line 3: no metric name in {}",
        "line 4: cannot parse JSON: unexpected end of data at byte 1",
    ]
    assert "stored: 6" in answer.text
    assert asker.values("count_over_time(up[5m])") == {"a": "3", "b": "3"}


def test_influx_writes_are_stored(asker: Asker) -> None:
    """Both versions' paths; the database or bucket is a label."""
    line = f'up,job=a value=1,other=2i,note="text",on=true {NOW_MS * 1_000_000}\n'
    answer = send(asker, "/write?db=d", line)
    assert answer.status_code == 204, answer.text
    assert asker.values('up_value{db="d"}') == {"a": "1"}
    assert asker.values("up_other + up_on") == {"a": "3"}
    line = f"up,job=b value=5 {NOW_MS // 1000}"
    assert send(asker, "/api/v2/write?bucket=x&org=y&precision=s", line).status_code == 204
    assert asker.values('up_value{db="x"}') == {"b": "5"}


def test_influx_errors_are_json(asker: Asker) -> None:
    """With the text where each version's clients look for it; good lines are stored."""
    answer = send(asker, "/write", "up,job=a value=1\nbad\n")
    assert answer.status_code == 400
    told = answer.json()
    assert told["code"] == "invalid"
    assert told["error"] == told["message"]
    assert told["error"].startswith("line 2: missing fields")
    assert asker.values("up_value") == {"a": "1"}


def test_influx_clients_find_what_they_ask_for(asker: Asker) -> None:
    """A ping with a version, and a yes to databases to be created."""
    ping = asker.get("/ping")
    assert ping.status_code == 204
    assert ping.headers["x-influxdb-version"]
    assert asker("HEAD", "/ping").status_code == 204
    asked = asker.post("/query", q="CREATE DATABASE x")
    assert asked.json() == {"results": [{"statement_id": 0}]}


@pytest.mark.parametrize("path", [TEXT, JSON, "/write", "/api/v2/write"])
@pytest.mark.parametrize(
    "body",
    [b"", b"\n", b"\x00", b"\xff\xfe", b"{", b"[]", b"[" * 100_000, b"a" * 100_000, b",,,= =",
     b'{"metric":{"__name__":"a"},"values":[1],"timestamps":[9223372036854775808]}',
     b'{"metric":{"__name__":1},"values":[1],"timestamps":[1]}', b"a{", b'a{b="', b"# TYPE",
     b"a 1 " + b"9" * 400, b"a " + b"9" * 100_000, b"m f=" + b"9" * 100_000,
     b"a" + b"{" * 5000, b"m,a=" + b"\\" * 5001 + b" f=1", b'm f="' + b"\\" * 5001],
)  # fmt: skip
def test_malformed_bodies_are_never_500(asker: Asker, path: str, body: bytes) -> None:
    """204 or 400, whatever comes."""
    assert send(asker, path, body).status_code in (204, 400)

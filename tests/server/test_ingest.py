"""Remote write 2.0 and compressed bodies over HTTP: stored, counted, answered."""

import dataclasses
from collections.abc import Callable

import pytest
import zstandard

from tests.server.conftest import NOW_MS, Asker, up
from tests.wire import encode, encode_v2
from tests.wire.encode_v2 import Series
from tests.wire.histograms import Sent

V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
NAME = (b"__name__", b"up")


def write_v2(asker: Asker, *rows: Series) -> tuple[int, str, dict[str, int]]:
    """(status, text, what the Written headers say)."""
    body = encode.snappy(encode_v2.request(*rows))
    return answered(asker, body)


def answered(asker: Asker, body: bytes) -> tuple[int, str, dict[str, int]]:
    headers = {"content-type": V2, "content-encoding": "snappy"}
    answer = asker("POST", "/api/v1/write", content=body, headers=headers)
    written = {
        what: int(answer.headers[f"x-prometheus-remote-write-{what}-written"])
        for what in ("samples", "histograms", "exemplars")
    }
    return answer.status_code, answer.text, written


def test_samples_metadata_and_what_is_skipped(asker: Asker) -> None:
    """204, the count of samples in a header, metadata kept, start timestamps counted."""
    row = Series([NAME, (b"job", b"a")], [(NOW_MS - 1, 1.0), (NOW_MS, 2.0)], start_ms=5)
    row.metadata = (2, b"Is it up?", b"")
    status, text, written = write_v2(asker, row)
    assert (status, text) == (204, "")
    assert written == {"samples": 2, "histograms": 0, "exemplars": 0}
    assert asker.values("up") == {"a": "2"}
    told = asker.get("/api/v1/metadata").json()["data"]
    assert told == {"up": [{"type": "gauge", "help": "Is it up?", "unit": ""}]}
    page = asker.get("/metrics").text
    for line in (
        'o11y_ingest_samples_total{door="remote_write_2"} 2.0',
        'o11y_ingest_skipped_total{door="remote_write_2",kind="start-timestamps"} 2.0',
    ):
        assert line in page


def test_partial_writes(asker: Asker) -> None:
    """400 names each bad series in Prometheus' words, the good ones are stored and counted."""
    status, text, written = write_v2(
        asker,
        Series([NAME, (b"job", b"good")], [(NOW_MS, 7.0)]),
        Series([NAME, NAME], [(NOW_MS, 1.0)]),
        Series([NAME, (b"job", b"h")], histograms=[Sent(count=1).message()]),
        Series([NAME, (b"job", b"none")]),
        Series([], [(NOW_MS, 1.0)], refs=[1, 77]),
        Series([NAME, (b"job", b"future")], [(NOW_MS + 3_600_000, 1.0)]),
    )
    assert (status, written["samples"]) == (400, 1)
    for words in (
        "duplicated label __name__",
        '(in absence of NaN) for series {__name__="up", job="h"}',
        "TimeSeries must contain at least one sample or histogram for series",
        "parsing labels for series [1 77]: labelRefs 77 outside of symbols table",
        "out of bounds: timestamp is too far in the future",
        "stored: 1",
    ):
        assert words in text
    assert len(text.splitlines()) <= 10
    assert asker.values("up") == {"good": "7"}


def test_histograms_and_exemplars_are_counted_apart(asker: Asker) -> None:
    """What a sender hears of each kind; an exemplar that comes too late makes the answer 400."""
    histogram = Sent(count=3, positive_spans=[(0, 1)], positive=[3], time_ms=NOW_MS)
    exemplars = [([(b"trace_id", b"%d" % at)], NOW_MS - 5 + at, 1.5) for at in range(2)]
    row = Series(
        [NAME, (b"job", b"a")], [(NOW_MS, 1.0)], histograms=[dataclasses.replace(
            histogram, time_ms=NOW_MS - 1).message()]
    )  # fmt: skip
    alone = Series([NAME, (b"job", b"a")], exemplars=exemplars)
    assert write_v2(asker, row, alone) == (
        204, "", {"samples": 1, "histograms": 1, "exemplars": 2}
    )  # fmt: skip
    late = Series([NAME, (b"job", b"a")], exemplars=[([(b"trace_id", b"9")], NOW_MS - 9, 1.5)])
    status, text, written = write_v2(asker, late)
    assert (status, written) == (400, {"samples": 0, "histograms": 0, "exemplars": 0})
    assert 'out of order exemplar for series {__name__="up", job="a"}' in text


def test_late_exemplars_are_no_error_of_other_senders(asker: Asker) -> None:
    """Remote write 1.0 hears nothing of them; they are counted."""
    for at in (5, 4):
        exemplar = encode.exemplar([(b"a", b"%d" % at)], NOW_MS + at, 1.0)
        answer = asker.write(encode.Series([NAME], [(NOW_MS, 1.0)], exemplars=[exemplar]))
        assert answer.status_code == 204
    page = asker.get("/metrics").text
    assert 'skipped_total{door="remote_write",kind="exemplar-out-of-order"} 1.0' in page


def test_start_timestamps_are_kept_where_they_are_wanted(
    make_asker: Callable[..., Asker],
) -> None:
    """With the feature none is skipped."""
    asker = make_asker(features=frozenset({"st-storage"}))
    assert write_v2(asker, Series([NAME], [(NOW_MS, 1.0)], start_ms=NOW_MS - 5))[0] == 204
    assert 'kind="start-timestamps"' not in asker.get("/metrics").text


@pytest.mark.parametrize("body", [b"\xff\xff", b"", encode.snappy(b"\x2a\xff")])
def test_malformed_bodies_write_nothing_and_say_so(asker: Asker, body: bytes) -> None:
    """400 with zeros in the headers."""
    status, text, written = answered(asker, body)
    assert (status, written) == (400, {"samples": 0, "histograms": 0, "exemplars": 0})
    assert text.strip()


def test_the_headers_are_those_of_version_2_alone(asker: Asker) -> None:
    """A sender may go by them to see whether 2.0 is understood."""
    assert "x-prometheus-remote-write-samples-written" not in asker.write(up("a", 1)).headers


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("kind", ["application/x-protobuf", V2])
def test_zstd(asker: Asker, kind: str, sized: bool) -> None:
    """Both versions, with and without the size in the frame."""
    message = encode.series(up("a", 1))
    if kind == V2:
        message = encode_v2.request(Series([NAME, (b"job", b"a")], [(NOW_MS, 1.0)]))
    body = zstandard.ZstdCompressor(write_content_size=sized).compress(message)
    headers = {"content-type": kind, "content-encoding": "zstd"}
    assert asker("POST", "/api/v1/write", content=body, headers=headers).status_code == 204
    assert asker.values("up") == {"a": "1"}
    for bad in (body[:-3], body + b"x", b"nonsense"):
        answer = asker("POST", "/api/v1/write", content=bad, headers=headers)
        assert (answer.status_code, "zstd: corrupt input" in answer.text) == (400, True)


@pytest.mark.parametrize("sized", [True, False])
def test_zstd_bombs(asker: Asker, sized: bool) -> None:
    """What grows beyond the limit is refused before it has grown."""
    body = zstandard.ZstdCompressor(write_content_size=sized).compress(bytes(64 << 20))
    headers = {"content-type": V2, "content-encoding": "zstd"}
    answer = asker("POST", "/api/v1/write", content=body, headers=headers)
    assert answer.status_code == 400
    assert "exceeds the 33554432 bytes limit" in answer.text


def test_a_tenant_comes_with_its_first_stored_sample(asker: Asker) -> None:
    """What is refused as a whole makes none."""
    bad = encode.Series([(b"a", b"1")], [(NOW_MS, 1.0)])
    assert asker.write(bad, headers={"x-org-id": "ghost"}).status_code == 400
    assert "ghost" not in asker.house.store.tenants()

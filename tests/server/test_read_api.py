"""Remote read over HTTP: negotiation, exact ranges, tenants, refusals."""

import cramjam
import httpx
import pytest

from server.api.read_api import SLAB_SAMPLES
from tests.server.conftest import NOW_MS, Asker, up
from tests.wire.test_remote_read import decode_xor, decoded_samples, query, request
from wire.protobuf import fields, varint

UP = (0, b"__name__", b"up")


def read(asker: Asker, body: bytes, **headers: str) -> httpx.Response:
    return asker("POST", "/api/v1/read", content=body, headers=headers)


def series_of(answer: httpx.Response) -> list[list[bytes]]:
    """The TimeSeries messages of each query."""
    assert answer.headers["content-encoding"] == "snappy"
    message = bytes(cramjam.snappy.decompress_raw(answer.content))
    results = [value for _, _, value in fields(message)]
    return [
        [s for _, _, s in fields(r) if isinstance(s, bytes)]
        for r in results
        if isinstance(r, bytes)
    ]


def test_samples_within_the_range_only(asker: Asker) -> None:
    """Both ends count, neighbours outside do not; series ascend by their labels."""
    assert asker.write(up("b", 1, 2, 3, 4), up("a", 5, 6, 7, 8)).status_code == 204
    body = request(query(NOW_MS - 30_000, NOW_MS - 15_000, UP))
    answer = read(asker, body)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-protobuf"
    ((first, second),) = series_of(answer)
    assert b"\x01a" in first and b"\x01b" in second
    assert [at for at, _ in decoded_samples(first)] == [NOW_MS - 30_000, NOW_MS - 15_000]


def test_nothing_found_is_still_valid_snappy(asker: Asker) -> None:
    """An empty result is a compressed message, not an empty body."""
    assert series_of(read(asker, request(query(0, 1, UP)))) == [[]]


def test_the_first_known_type_is_taken(asker: Asker) -> None:
    """Chunks where they come first among the known types, samples where nothing is said."""
    assert asker.write(up("a", 1, 2, 3)).status_code == 204
    body = query(0, NOW_MS, UP)
    streamed = read(asker, request(body, accepted=b"\x12\x03\x07\x01\x00"))
    kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
    assert streamed.headers["content-type"] == kind
    size, at = varint(streamed.content, 0)
    message = streamed.content[at + 4 :]
    assert len(message) == size
    ((_, _, chunked),) = list(fields(message))
    assert isinstance(chunked, bytes)
    (found,) = [value for number, _, value in fields(chunked) if number == 2]
    assert isinstance(found, bytes)
    (data,) = [value for number, _, value in fields(found) if number == 4]
    assert isinstance(data, bytes)
    assert [at for at, _ in decode_xor(data)] == [NOW_MS - 30_000, NOW_MS - 15_000, NOW_MS]
    plain = read(asker, request(body, accepted=b"\x12\x02\x00\x01"))
    assert plain.headers["content-type"] == "application/x-protobuf"
    none = read(asker, request(body, accepted=b"\x10\x07"))
    assert none.status_code == 400
    assert none.text.startswith("server does not support any of the requested response types: [7]")


def test_each_query_has_its_result(asker: Asker) -> None:
    """Results stand in the order of the queries."""
    assert asker.write(up("a", 1), up("b", 2)).status_code == 204
    both = [query(0, NOW_MS, UP, (0, b"job", job)) for job in (b"b", b"none", b"a")]
    found = series_of(read(asker, request(*both)))
    assert [len(series) for series in found] == [1, 0, 1]
    assert b"\x01b" in found[0][0] and b"\x01a" in found[2][0]


def test_a_tenant_reads_only_its_own(asker: Asker) -> None:
    """Another organization's series are not there."""
    assert asker.write(up("a", 1), headers={"x-org-id": "acme"}).status_code == 204
    body = request(query(0, NOW_MS, UP))
    assert series_of(read(asker, body)) == [[]]
    assert len(series_of(read(asker, body, **{"x-org-id": "acme"}))[0]) == 1


@pytest.mark.parametrize("body", [b"", b"\xff\xff\xff\xff\xff", request(b"\x1a\x02\x08\x09")])
def test_what_is_no_request_is_400(asker: Asker, body: bytes) -> None:
    """Broken bodies are refused in plain text."""
    answer = read(asker, body)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")


def test_many_samples_come_in_slabs(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the series are cut into slabs, the answer is the same."""
    assert SLAB_SAMPLES > 1
    assert asker.write(*(up(f"j{k}", 1, 2, 3) for k in range(5))).status_code == 204
    body = request(query(0, NOW_MS, UP))
    whole = read(asker, body).content
    monkeypatch.setattr("server.api.read_api.SLAB_SAMPLES", 4)
    assert read(asker, body).content == whole

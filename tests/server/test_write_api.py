"""Remote write over HTTP: what is stored, and what senders hear."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from series.ports import Appended
from tests.server.conftest import NOW_MS, Asker, up
from tests.wire import encode
from tests.wire.histograms import Sent
from tsdb.db import Db
from tsdb.store import Store


def test_samples_are_stored_and_read(asker: Asker) -> None:
    """204 without a body, then the value."""
    answer = asker.write(up("a", 1, 2))
    assert (answer.status_code, answer.content) == (204, b"")
    assert asker.values("up") == {"a": "2"}


def test_large_bodies_take_the_pool(asker: Asker) -> None:
    """A body beyond what is decoded on the loop is stored alike."""
    jobs = [f"job-{k * 7919 % 10_007:05}-{k:x}" for k in range(3000)]
    assert asker.write(*(up(job, 1) for job in jobs)).status_code == 204
    assert asker.values("count(up)") == {"": "3000"}


def test_a_restart_keeps_all(make_asker: Callable[..., Asker]) -> None:
    """What was acknowledged is there after closing and opening again."""
    first = make_asker()
    assert first.write(up("a", 1, 2, 3)).status_code == 204
    second = make_asker()
    assert second.values("count_over_time(up[5m])") == {"a": "3"}


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/json"},
        {"content-type": "application/x-protobuf;proto=other"},
        {"content-type": "application/x-protobuf", "content-encoding": "br"},
    ],
)
def test_other_protocols_are_415(asker: Asker, headers: dict[str, str]) -> None:
    """So that senders fall back to what we take."""
    answer = asker("POST", "/api/v1/write", content=b"", headers=headers)
    assert answer.status_code == 415
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "headers",
    [{}, {"content-type": "application/x-protobuf; proto=prometheus.WriteRequest"}],
)
def test_remote_write_1_is_the_default(asker: Asker, headers: dict[str, str]) -> None:
    """Missing headers mean it; naming it is fine."""
    body = encode.snappy(encode.series(up("a", 1)))
    assert asker("POST", "/api/v1/write", content=body, headers=headers).status_code == 204


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xff\xff", "snappy"),
        (encode.varint(2**30) + b"x", "exceeds the 33554432 bytes limit"),
        (encode.snappy(b"\x0a\xff"), "unexpected EOF"),
        (b"", "snappy"),
    ],
)
def test_malformed_bodies_are_400(asker: Asker, body: bytes, words: str) -> None:
    """Plain text that tells why."""
    answer = asker.write_body(body)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert words in answer.text


def test_refused_samples_are_named_and_the_rest_stored(asker: Asker) -> None:
    """Bad labels, bad histograms, future and conflicting samples: 400, good ones kept."""
    name = (b"__name__", b"up")
    answer = asker.write(
        encode.Series([name, (b"a", b"1"), (b"a", b"2")], [(NOW_MS, 1.0)]),
        encode.Series([name, (b"job", b"h")], [(NOW_MS, 5.0)], [Sent(schema=60).message()]),
        encode.Series([name, (b"job", b"future")], [(NOW_MS + 3_600_000, 1.0)]),
        up("good", 7),
    )
    assert answer.status_code == 400
    assert "duplicated label a" in answer.text
    assert 'got schema 60 for series {__name__="up", job="h"}' in answer.text
    assert "future" in answer.text
    assert asker.values("up") == {"good": "7", "h": "5"}
    conflict = asker.write(up("good", 8))
    assert conflict.status_code == 400
    assert 'job="good"' in conflict.text
    assert asker.write(up("good", 7)).status_code == 204, "a retry is no conflict"
    assert asker.values("up") == {"good": "7", "h": "5"}


def test_at_most_ten_lines_are_answered(asker: Asker) -> None:
    """However many samples are refused."""
    bad = [encode.Series([(b"a", b"%d" % k)], [(NOW_MS, 1.0)]) for k in range(50)]
    answer = asker.write(*bad)
    assert answer.status_code == 400
    assert len(answer.text.splitlines()) == 10
    assert "50 missing-metric-name" in answer.text


def test_a_refusing_disk_is_503(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Senders keep the batch and come again."""
    failed: Future[Appended] = Future()
    failed.set_exception(OSError(28, "No space left on device"))
    monkeypatch.setattr(Db, "append_here", lambda db, batch, *, may_sync: failed)
    answer = asker.write(up("a", 1))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "No space left" in answer.text


def test_bodies_beyond_the_limit_are_400(asker: Asker) -> None:
    """By the declared length, before anything is read."""
    answer = asker("POST", "/api/v1/write", content=b"x", headers={"content-length": str(2**30)})
    assert answer.status_code == 400
    assert "limit" in answer.text


def test_a_tenant_is_opened_by_a_worker(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its log may be long, so the event loop does not do it, however small the write."""
    opened_by: list[threading.Thread] = []
    opening = Store._opened

    def opened(store: Store, name: str) -> Db:
        opened_by.append(threading.current_thread())
        return opening(store, name)

    monkeypatch.setattr(Store, "_opened", opened)
    for job in "ab":
        assert asker.write(up(job, 1)).status_code == 204
    assert len(opened_by) == 1 and opened_by[0] is not threading.current_thread()

"""A server whose disk is below the reserve: writes are refused alike, all else goes on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.conftest import WRITE, Asker, up
from tests.wire import encode
from tests.wire.otlp import Export
from tsdb.disk_space import DiskSpace, Reserve
from tsdb.files import Files

PROTOBUF = "application/x-protobuf"
V2 = f"{PROTOBUF};proto=io.prometheus.write.v2.Request"
JSON_LINE = b'{"metric":{"__name__":"m"},"values":[1],"timestamps":[1700000000000]}\n'
OTLP = Export(service__name="shop").counter("requests", 1).body


class _Disk(Files):
    """The real disk, of which so much is said to be free."""

    free = 1 << 30

    def free_bytes(self, path: Path) -> int:
        del path
        return self.free


@pytest.fixture
def disk(make_asker: Callable[..., Asker], monkeypatch: pytest.MonkeyPatch) -> tuple[Asker, _Disk]:
    """A server with one sample, and its disk, which it asks each time."""
    monkeypatch.setattr("tsdb.disk_space._LOOK_SECONDS", 0.0)
    asker, disk = make_asker(storage_reserve=Reserve.parse("8MiB")), _Disk()
    space = asker.house.store.space
    monkeypatch.setattr(space, "_files", disk)
    assert asker.write(up("a", 1)).status_code == 204
    return asker, disk


DOORS = {
    "remote write 1.0": ("POST", "/api/v1/write", encode.snappy(encode.series(up("b", 1))), WRITE),
    "remote write 2.0": (
        "POST",
        "/api/v1/write",
        encode.snappy(b""),
        {**WRITE, "content-type": V2},
    ),
    "otlp": ("POST", "/v1/metrics", OTLP, {"content-type": PROTOBUF}),
    "text": ("POST", "/api/v1/import/prometheus", b"m 1\n", {}),
    "json": ("POST", "/api/v1/import", JSON_LINE, {}),
    "influx": ("POST", "/write?db=x", b"m v=1\n", {}),
    "push": ("PUT", "/metrics/job/x", b"m 1\n", {}),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_answers_503_alike(disk: tuple[Asker, _Disk], door: str) -> None:
    """With Retry-After, what is free and what is kept; once there is room all goes on."""
    asker, files = disk
    method, path, body, headers = DOORS[door]
    files.free = 5 << 20
    answer = asker(method, path, content=body, headers=headers)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "5.0 MiB free, the reserve is 8.0 MiB" in answer.content.decode(errors="replace")
    files.free = 1 << 30
    assert asker(method, path, content=body, headers=headers).status_code in (200, 204)


def _metric(asker: Asker, name: str) -> float:
    page: str = asker.get("/metrics").text
    (line,) = (line for line in page.splitlines() if line.startswith(f"{name} "))
    return float(line.partition(" ")[2])


def test_queries_readiness_and_metrics(disk: tuple[Asker, _Disk]) -> None:
    """Queries are answered; /-/ready and /metrics tell why writes are not taken."""
    asker, files = disk
    assert asker.get("/-/ready").status_code == 200
    assert _metric(asker, "o11y_read_only") == 0
    files.free = 5 << 20
    assert asker.values("up") == {"a": "1"}
    ready = asker.get("/-/ready")
    assert (ready.status_code, ready.headers["retry-after"]) == (503, "5")
    assert ready.text.startswith("Hanzo O11y is not ready: the disk of ")
    assert asker.get("/-/healthy").status_code == 200
    assert _metric(asker, "o11y_read_only") == 1
    assert _metric(asker, "o11y_disk_reserve_bytes") == 8 << 20
    assert _metric(asker, "o11y_disk_free_bytes") == 5 << 20
    files.free = 1 << 30
    assert asker.get("/-/ready").status_code == 200


def test_a_failed_write_turns_the_server_read_only(
    disk: tuple[Asker, _Disk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, though there seems to be room; what comes later is taken again."""
    asker, _ = disk
    full = OSError(28, "No space left on device")

    def fail(*arguments: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(Files, "write", fail)
        answer = asker.write(up("b", 1))
        assert answer.status_code == 503
        assert "and the last write failed: No space left on device" in answer.text
    assert asker.get("/-/ready").status_code == 503
    text = asker.write(up("b", 1)).text
    assert "and the last write failed: No space left on device" in text
    monkeypatch.setattr(DiskSpace, "is_low", False)
    assert asker.write(up("b", 1)).status_code == 204
    assert asker.values("up") == {"a": "1", "b": "1"}

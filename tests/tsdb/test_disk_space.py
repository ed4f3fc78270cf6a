"""Below the reserve writes are refused and nothing else."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.tsdb.databases import NOW_MS, FaultyFiles, append, bits, everything, open_store
from tsdb.disk_space import DiskLow, DiskSpace, Reserve
from tsdb.files import Files


class _Disk(FaultyFiles):
    """A disk of 1000 bytes, of which so many are free."""

    free = 1000

    def free_bytes(self, path: Path) -> int:
        del path
        return self.free

    def disk_bytes(self, path: Path) -> int:
        del path
        return 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock of the module, which stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr("tsdb.disk_space.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.mark.parametrize(
    ("text", "disk_bytes", "reserve_bytes"),
    [
        ("8MiB", 10, 10),
        ("8MiB", 1 << 40, 8 << 20),
        ("1GB", 1 << 40, 1 << 30),
        ("4096", 1 << 40, 4096),
        ("0", 1 << 40, 0),
        ("2%", 1000, 20),
        ("0.5%", 1000, 5),
    ],
)
def test_reserves(text: str, disk_bytes: int, reserve_bytes: int) -> None:
    """A size is taken as it is, up to the whole disk; a share is of the disk."""
    assert Reserve.parse(text).of(disk_bytes) == reserve_bytes


@pytest.mark.parametrize("text", ["", "8 MiB", "-1", "101%", "x", "8MiBs", "1.5GiB"])
def test_what_is_no_reserve_is_refused_by_name(text: str) -> None:
    """With both forms that there are."""
    with pytest.raises(ValueError, match="neither a size like 8MiB nor a share like 2%"):
        Reserve.parse(text)


def test_the_default_is_the_smaller_of_256_mib_and_2_percent() -> None:
    """On a small disk the share, on a large one the size."""
    assert Reserve().of(1 << 40) == 256 << 20
    assert Reserve().of(1 << 30) == (1 << 30) // 50


def test_room_is_what_leaves_the_reserve() -> None:
    """So a merge does not take what seals need."""
    space = DiskSpace(_Disk(), Path("data"), 100)
    assert space.has_room(900) and not space.has_room(901)


def test_the_system_is_not_asked_for_every_write(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """A few times a second it is; the log tells of the change, once each."""
    caplog.set_level("INFO", "o11y.storage")
    disk = _Disk()
    space = DiskSpace(disk, Path("data"), 100)
    assert not space.is_low
    disk.free = 99
    assert not space.is_low
    clock[0] += 0.3
    assert space.is_low and space.is_low
    disk.free = 100
    clock[0] += 0.3
    assert not space.is_low and not space.is_low
    first, second = caplog.messages
    assert "99 bytes free, the reserve is 100 bytes" in first and "has room again" in second


def test_a_full_disk_refuses_writes_at_once_and_for_a_while(clock: list[float]) -> None:
    """Also where the system says there is room, as with a quota; other errors mean nothing."""
    space = DiskSpace(_Disk(), Path("data"), 100)
    space.note(OSError(5, "broken"))
    assert not space.is_low
    for number in (28, 30, 122, 27):
        space.note(OSError(number, "no room"))
        assert space.is_low
        assert "the last write failed: no room" in str(space.low())
        clock[0] += 1.1
        assert not space.is_low
        assert "failed" not in str(space.low())


def test_a_disk_that_does_not_answer_has_no_room(clock: list[float]) -> None:
    """It may be gone."""

    class Gone(_Disk):
        def free_bytes(self, path: Path) -> int:
            raise OSError(5, "gone")

    assert DiskSpace(Gone(), Path("data"), 1).is_low
    assert clock


def test_a_low_disk_refuses_writes_and_answers_queries(tmp_path: Path, clock: list[float]) -> None:
    """The sender hears how much is free and what the reserve is; later all goes on, for good."""
    disk = _Disk()
    store = open_store(tmp_path, files=disk, reserve=Reserve(100, 1.0))
    db = store.tenant_for_write("t")
    kept = [(0, NOW_MS, 1.0)]
    append(db, *kept)
    disk.free = 99
    clock[0] += 1
    for _ in range(2):
        with pytest.raises(DiskLow, match="99 bytes free, the reserve is 100 bytes") as caught:
            append(db, (1, NOW_MS, 1.0))
        assert caught.value.errno == 28
    assert everything(db) == bits(kept)
    store.maintain()
    disk.free = 100
    clock[0] += 1
    kept.append((2, NOW_MS, 1.0))
    append(db, kept[-1])
    store.close()
    store = open_store(tmp_path)
    assert everything(store.tenant("t")) == bits(kept)
    store.close()


def test_a_write_that_finds_the_disk_full_turns_the_others_away(
    tmp_path: Path, clock: list[float]
) -> None:
    """Without a reserve each write is tried instead."""
    for reserve, error in ((Reserve(100, 1.0), DiskLow), (Reserve(0, 0.0), OSError)):
        disk = _Disk()
        store = open_store(tmp_path / error.__name__, files=disk, reserve=reserve)
        db = store.tenant_for_write("t")
        append(db, (0, NOW_MS, 1.0))
        disk.fails = lambda act: act == "write"
        with pytest.raises(OSError, match="injected"):
            append(db, (1, NOW_MS, 1.0))
        disk.fails = lambda act: False
        if reserve.most_bytes:
            with pytest.raises(DiskLow, match="the last write failed: injected: no space left"):
                append(db, (1, NOW_MS, 1.0))
            clock[0] += 1.1
        assert append(db, (1, NOW_MS, 1.0)).samples == 1
        store.close()


def test_the_real_disk_says_what_is_free(tmp_path: Path) -> None:
    """Not more than there is."""
    files = Files()
    assert 0 < files.free_bytes(tmp_path) <= files.disk_bytes(tmp_path)

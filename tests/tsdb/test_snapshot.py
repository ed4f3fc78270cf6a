"""Snapshots hold what was acknowledged at their instant, whatever is written meanwhile."""

import errno
import itertools
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tsdb.contents import Value
from tests.tsdb.databases import HOUR_MS, NOW_MS, Bits, append, bits, everything, open_store
from tsdb.files import Files
from tsdb.upkeep import snapshot

Point = tuple[int, int, Value]


class RefusingFiles(Files):
    """Refuses act number *last_act* and all later ones; *links* says whether it can link."""

    def __init__(self, last_act: int = 1 << 60, *, links: bool = True) -> None:
        self.acts = 0
        self.last_act = last_act
        self._links = links

    def _act(self) -> None:
        self.acts += 1
        if self.acts > self.last_act:
            raise OSError(errno.EIO, "injected")

    def create(self, path: Path) -> int:
        self._act()
        return super().create(path)

    def write(self, fd: int, parts: Sequence[bytes | memoryview]) -> None:
        self._act()
        super().write(fd, parts)

    def fdatasync(self, fd: int) -> None:
        self._act()

    def sync_directory(self, path: Path) -> None:
        self._act()

    def mkdir(self, path: Path) -> None:
        self._act()
        super().mkdir(path)

    def rename(self, old: Path, new: Path) -> None:
        self._act()
        super().rename(old, new)

    def remove_tree(self, path: Path) -> None:
        self._act()
        super().remove_tree(path)

    def link(self, old: Path, new: Path) -> None:
        self._act()
        if not self._links:
            raise OSError(errno.EXDEV, "injected: another file system")
        super().link(old, new)


def _samples(series: int, hours: int, first_ms: int = NOW_MS - 10 * HOUR_MS) -> list[Point]:
    return [
        (number, first_ms + hour * HOUR_MS + number, float(hour))
        for number in range(series)
        for hour in range(hours)
    ]


def _filled(directory: Path, files: Files | None = None) -> tuple[list[Point], list[Point]]:
    """A database with sealed samples and some in the head only: (sealed, head)."""
    sealed, head = _samples(3, 6), _samples(3, 2, NOW_MS - HOUR_MS)
    store = open_store(directory, files=files)
    db = store.tenant_for_write("t")
    for sample in sealed:
        append(db, sample)
    append(db, (9, NOW_MS - HOUR_MS, 9.5))
    store.maintain()
    for sample in head:
        append(db, sample)
    store.close()
    return sealed, [(9, NOW_MS - HOUR_MS, 9.5), *head]


def _read(directory: Path) -> Bits:
    store = open_store(directory)
    try:
        return everything(store.tenant("t"))
    finally:
        store.close()


@pytest.mark.parametrize("links", [True, False])
def test_a_snapshot_is_a_data_directory_with_all_that_was_acknowledged(
    tmp_path: Path, links: bool
) -> None:
    """Blocks and log are in it, linked or copied; what is written later is not."""
    sealed, head = _filled(tmp_path / "data")
    store = open_store(tmp_path / "data", files=RefusingFiles(links=links))
    made = store.snapshot("t")
    db = store.tenant("t")
    assert db is not None
    append(db, (50, NOW_MS, 1.0))
    store.close()

    assert made.parent == tmp_path / "data" / "snapshots"
    assert _read(made) == bits(sealed + head)
    block = next((made / "tenants/t/blocks").rglob("data"))
    assert (os.stat(block).st_nlink > 1) == links


def test_without_the_head_only_blocks_are_in_it(tmp_path: Path) -> None:
    """skip_head leaves out what is not sealed."""
    _, head = _filled(tmp_path / "data")
    store = open_store(tmp_path / "data")
    db = store.tenant("t")
    assert db is not None
    blocks = db.stats().block_samples
    made = store.snapshot("t", skip_head=True)
    store.close()

    read = _read(made)
    assert blocks and sum(map(len, read.values())) == blocks
    assert not set(bits(head)) <= set(read)


def test_void_bytes_behind_a_segment_are_not_in_a_snapshot(tmp_path: Path) -> None:
    """What failed to be written was never acknowledged and is not read from a snapshot either."""
    files = RefusingFiles()
    store = open_store(tmp_path / "data", files=files)
    db = store.tenant_for_write("t")
    append(db, (1, NOW_MS, 1.0))
    files.last_act = files.acts + 1  # the write succeeds, its sync does not
    with pytest.raises(OSError, match="injected"):
        append(db, (1, NOW_MS + 1, 2.0))
    files.last_act = 1 << 60
    made = store.snapshot("t")
    store.close()

    assert _read(made) == bits([(1, NOW_MS, 1.0)])


def test_a_snapshot_while_writing_holds_one_instant(memory_path: Path) -> None:
    """It holds all acknowledged before the call, and of later writes a beginning without gaps."""
    store = open_store(memory_path / "data")
    db = store.tenant_for_write("t")
    written: list[Point] = []
    stop = threading.Event()

    def write() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            sample = (number % 7, NOW_MS - 5 * HOUR_MS + number * 10_000, float(number))
            append(db, sample)
            written.append(sample)

    writer = threading.Thread(target=write)
    writer.start()
    made: list[tuple[int, Path, int]] = []
    try:
        while len(made) < 5:
            before = len(written)
            if before < 200 * (len(made) + 1):
                continue
            store.maintain()
            made.append((before, store.snapshot("t"), len(written) + 1))
    finally:
        stop.set()
        writer.join()
        store.close()

    for before, path, after in made:
        read = _read(path)
        count = sum(map(len, read.values()))
        assert before <= count <= after
        assert read == bits(written[:count])


def test_a_refused_act_leaves_no_snapshot_and_the_next_one_succeeds(memory_path: Path) -> None:
    """Whichever act of a snapshot fails, no named snapshot is there that is not whole."""
    sealed, head = _filled(memory_path / "data")
    for act in itertools.count():
        files = RefusingFiles()
        store = open_store(memory_path / "data", files=files)
        files.last_act = files.acts + act
        try:
            store.snapshot("t")
            fired = False
        except OSError:
            fired = True
        files.last_act = 1 << 60
        store.close()

        names = Files().listdir(memory_path / "data" / "snapshots")
        whole = [name for name in names if not name.endswith(".tmp")]
        for name in whole:
            assert _read(memory_path / "data" / "snapshots" / name) == bits(sealed + head)
            Files().remove_tree(memory_path / "data" / "snapshots" / name)
        open_store(memory_path / "data").close()
        assert Files().listdir(memory_path / "data" / "snapshots") == []
        if not fired:
            break
    assert act > 10 and whole


def test_restore_brings_a_tenant_back_elsewhere(tmp_path: Path) -> None:
    """A restored tenant reads as the snapshot did, and takes writes."""
    sealed, head = _filled(tmp_path / "data")
    store = open_store(tmp_path / "data")
    made = store.snapshot("t")
    store.close()

    copied = snapshot.restore(made, tmp_path / "other", ["t"], Files())

    assert copied > 0
    assert _read(tmp_path / "other") == bits(sealed + head)
    store = open_store(tmp_path / "other")
    db = store.tenant("t")
    assert db is not None
    append(db, (77, NOW_MS, 7.0))
    assert everything(db) == bits([*sealed, *head, (77, NOW_MS, 7.0)])
    store.close()
    assert _read(made) == bits(sealed + head)


def test_restore_overwrites_nothing(tmp_path: Path) -> None:
    """A tenant with data stays as it is; an unknown one is named; a directory in use too."""
    _filled(tmp_path / "data")
    store = open_store(tmp_path / "data")
    made = store.snapshot("t")

    with pytest.raises(BlockingIOError, match="is in use by process"):
        snapshot.restore(made, tmp_path / "data", ["t"], Files())
    store.close()
    with pytest.raises(FileExistsError, match="holds data already"):
        snapshot.restore(made, tmp_path / "data", ["t"], Files())
    with pytest.raises(FileNotFoundError, match="holds no tenant 'u'"):
        snapshot.restore(made, tmp_path / "other", ["t", "u"], Files())
    assert not (tmp_path / "other").exists()


def test_a_restore_that_fails_leaves_no_half_tenant(memory_path: Path) -> None:
    """Whichever act fails, the tenant is there whole or not at all, and a second try succeeds."""
    sealed, head = _filled(memory_path / "data")
    store = open_store(memory_path / "data")
    made = store.snapshot("t")
    store.close()
    for act in itertools.count():
        target = memory_path / f"other{act}"
        try:
            snapshot.restore(made, target, ["t"], RefusingFiles(act))
            fired = False
        except OSError:
            fired = True

        found = _read(target)
        assert found in ({}, bits(sealed + head))
        if not found:
            snapshot.restore(made, target, ["t"], Files())
            assert _read(target) == bits(sealed + head)
        if not fired:
            break
    assert act > 10

"""A data directory belongs to one process and keeps its tenants apart."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

from series.ports import Appended, StorageError
from tests.tsdb.contents import Value
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    append,
    batch_of,
    bits,
    everything,
    open_store,
)
from tests.tsdb.test_histograms import histogram
from tsdb.db import Db
from tsdb.files import ReadOnlyFiles
from tsdb.store import Store, is_tenant_id


def append_later(db: Db, number: int) -> "Future[Appended]":
    return db.append(batch_of((number, NOW_MS, float(number))))


def test_a_second_writer_is_refused_by_name(tmp_path: Path) -> None:
    """The error names the process and the path; after closing the directory is free again."""
    store = open_store(tmp_path)
    with pytest.raises(BlockingIOError, match=f"process {os.getpid()}.*{tmp_path}/lock"):
        open_store(tmp_path)
    store.close()
    open_store(tmp_path).close()


def test_tenants_see_only_their_own(tmp_path: Path) -> None:
    """The same series of two tenants are two series, also after a restart."""
    store = open_store(tmp_path)
    append(store.tenant_for_write("a"), (0, NOW_MS, 1.0))
    append(store.tenant_for_write("b"), (0, NOW_MS, 2.0))
    store.close()
    store = open_store(tmp_path)
    assert store.tenants() == ["a", "b"]
    assert everything(store.tenant("a")) == bits([(0, NOW_MS, 1.0)])
    assert everything(store.tenant("b")) == bits([(0, NOW_MS, 2.0)])
    store.close()


def test_asking_for_a_tenant_makes_nothing(tmp_path: Path) -> None:
    """Neither a read of an unknown one nor a writer who never wrote."""
    store = open_store(tmp_path)
    assert store.tenant("nobody") is None
    assert everything(store.tenant_for_write("idle")) == {}
    store.close()
    assert not (tmp_path / "tenants").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a b", "ä", "x" * 65, "a\n"])
def test_what_cannot_be_an_id_is_refused(tmp_path: Path, name: str) -> None:
    """No name leads out of the data directory."""
    assert not is_tenant_id(name)
    store = open_store(tmp_path)
    with pytest.raises(ValueError, match="not a tenant id"):
        store.tenant(name)
    with pytest.raises(ValueError, match="not a tenant id"):
        store.tenant_for_write(name)
    store.close()


def test_two_hundred_tenants_in_one_process(tmp_path: Path) -> None:
    """All are written at once, sealed, and read back after a restart."""
    store = open_store(tmp_path)
    names = [f"tenant-{n}" for n in range(200)]
    futures = []
    for n, name in enumerate(names):
        db = store.tenant_for_write(name)
        futures.append(append_later(db, n))
    assert all(future.result(timeout=60).samples == 1 for future in futures)
    store.maintain()
    store.close()
    store = open_store(tmp_path)
    for n, name in enumerate(names):
        assert everything(store.tenant(name)) == bits([(n, NOW_MS, float(n))])
    store.close()


def test_writes_after_closing_fail(tmp_path: Path) -> None:
    """And what waited when closing began is carried out."""
    store = open_store(tmp_path)
    db = store.tenant_for_write("a")
    waiting = [append_later(db, n) for n in range(20)]
    store.close()
    assert all(future.result(timeout=1).samples == 1 for future in waiting)
    with pytest.raises(OSError, match="closed"):
        append_later(db, 99).result(timeout=1)
    store = open_store(tmp_path)
    assert len(everything(store.tenant("a"))) == 20
    store.close()


def _tree(directory: Path) -> dict[str, tuple[int, bytes]]:
    """All there is in a directory: when it was changed, and what it holds."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(directory.rglob("*"))
    }


def test_a_directory_is_read_without_a_change(tmp_path: Path) -> None:
    """Blocks, log, exemplars' file and leftovers of a crash stay as they are; writes fail."""
    store = open_store(tmp_path)
    db = store.tenant_for_write("t")
    samples: list[tuple[int, int, Value]] = [
        (s, NOW_MS - 4 * HOUR_MS + k, float(k)) for s in range(3) for k in range(50)
    ]
    append(db, *samples)
    samples.append((0, NOW_MS, histogram(3)))
    append(db, samples[-1])
    store.maintain()
    samples.append((1, NOW_MS + 1, 2.0))
    append(db, samples[-1])
    store.close()
    (tmp_path / "tenants/t/blocks/0000000077.tmp").mkdir()
    before = _tree(tmp_path)
    first = Store.open_read_only(tmp_path, lambda: NOW_MS)
    second = Store.open_read_only(tmp_path, lambda: NOW_MS, arena_pages=4096)
    for reader in (first, second):
        assert reader.tenants() == ["t"]
        found = reader.tenant("t")
        assert found is not None and found.stats().blocks == 1
        assert everything(found) == bits(samples)
        assert reader.tenant("nobody") is None
        with pytest.raises(OSError, match="open for reading only"):
            append(found, (0, NOW_MS + 2, 1.0))
        with pytest.raises(OSError, match="open for reading only"):
            append(reader.tenant_for_write("new"), (0, NOW_MS + 2, 1.0))
        reader.maintain()
    first.close()
    with pytest.raises(BlockingIOError, match="in use by "):
        open_store(tmp_path)
    second.close()
    assert _tree(tmp_path) == before
    open_store(tmp_path).close()


def test_a_directory_that_is_written_cannot_be_read_in_place(tmp_path: Path) -> None:
    """The error names the process; what is no data directory is not made one."""
    store = open_store(tmp_path)
    with pytest.raises(BlockingIOError, match=f"process {os.getpid()}.*{tmp_path}/lock"):
        Store.open_read_only(tmp_path, lambda: NOW_MS)
    store.close()
    with pytest.raises(FileNotFoundError):
        Store.open_read_only(tmp_path / "none", lambda: NOW_MS)
    assert not (tmp_path / "none").exists()


def test_a_log_too_large_for_a_reader_is_an_error(tmp_path: Path) -> None:
    """It is not sealed, as a writer would."""
    store = open_store(tmp_path)
    append(store.tenant_for_write("t"), *((s, NOW_MS, 1.0) for s in range(300)))
    store.close()
    before = _tree(tmp_path)
    reader = Store.open_read_only(tmp_path, lambda: NOW_MS, arena_pages=100)
    with pytest.raises(StorageError, match=f"the log in {tmp_path}/tenants/t is too large"):
        reader.tenant("t")
    reader.close()
    assert _tree(tmp_path) == before


def test_a_disk_that_is_only_read_refuses_every_change(tmp_path: Path) -> None:
    """Whatever the method."""
    files = ReadOnlyFiles()
    fd = files.open(tmp_path)
    changes: list[Callable[[], object]] = [
        lambda: files.create(tmp_path / "x"),
        lambda: files.write(fd, [b"x"]),
        lambda: files.truncate(tmp_path, 0),
        lambda: files.fdatasync(fd),
        lambda: files.rename(tmp_path, tmp_path / "y"),
        lambda: files.unlink(tmp_path),
        lambda: files.remove_tree(tmp_path),
        lambda: files.mkdir(tmp_path / "z"),
        lambda: files.sync_directory(tmp_path),
        lambda: files.lock(tmp_path / "lock"),
    ]
    for change in changes:
        with pytest.raises(OSError, match="reading only"):
            change()
    files.close(fd)
    assert list(tmp_path.iterdir()) == []

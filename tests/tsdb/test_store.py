"""A data directory belongs to one process and keeps its tenants apart."""

import os
from concurrent.futures import Future
from pathlib import Path

import pytest

from series.ports import Appended
from tests.tsdb.databases import NOW_MS, append, batch_of, bits, everything, open_store
from tsdb.db import Db
from tsdb.store import is_tenant_id


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

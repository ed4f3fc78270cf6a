"""What a release has written opens for ever; what a newer one wrote is refused and left alone."""

import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import pytest

from tests.tsdb.databases import NOW_MS, open_store
from tests.tsdb.make_golden import OPTIONS, ROOT, contents
from tsdb.store import Store
from tsdb.versions import UnsupportedFormat

_MOST_BYTES = 200 << 10
_VERSIONS = sorted(path.name for path in ROOT.iterdir())


def _files(directory: Path) -> dict[str, bytes]:
    """All but the lock, which says who is here."""
    paths = [path for path in directory.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


@pytest.fixture
def store_directory(tmp_path: Path, version: str) -> Path:
    """A copy of what that version has left."""
    return Path(shutil.copytree(ROOT / version / "store", tmp_path / "store"))


@pytest.mark.parametrize("version", _VERSIONS)
def test_a_golden_directory_opens(store_directory: Path, version: str) -> None:
    """All that was stored is there, bit for bit; also after seals, merges and a restart."""
    expected = json.loads((ROOT / version / "expected.json").read_text())
    store = open_store(store_directory, options=OPTIONS)
    db = store.tenant("golden")
    assert contents(db) == expected
    assert store.damage_counts == dict.fromkeys(store.damage_counts, 0)
    assert db is not None
    assert db.stats().deletions_waiting
    db.clean_tombstones()
    db.merge(float("inf"))
    store.close(60.0)
    store = open_store(store_directory, options=OPTIONS)
    db = store.tenant("golden")
    assert contents(db) == expected
    assert db is not None
    assert db.stats().replayed_samples == db.stats().deletions_waiting == 0
    store.close()


@pytest.mark.parametrize("version", _VERSIONS)
def test_a_golden_directory_is_read_without_a_change(store_directory: Path, version: str) -> None:
    """As queries in place read it."""
    before = _files(store_directory)
    (store_directory / "lock").touch()
    store = Store.open_read_only(store_directory, lambda: NOW_MS)
    assert contents(store.tenant("golden")) == json.loads(
        (ROOT / version / "expected.json").read_text()
    )
    store.close()
    assert _files(store_directory) == before
    assert sum(map(len, _files(ROOT / version).values())) < _MOST_BYTES


def _crc(content: bytes) -> bytes:
    return struct.pack("<I", google_crc32c.value(content))


def _newer_manifest(content: bytes) -> bytes:
    body = re.sub(rb"\Ao11y-manifest \d+", b"o11y-manifest 99", content[:-16])
    return body + b"crc32c=%08x\n" % google_crc32c.value(body)


def _newer_index(content: bytes) -> bytes:
    head = content[:8] + struct.pack("<I", 99) + content[12:28]
    return head + _crc(head) + content[32:]


def _newer_data(content: bytes) -> bytes:
    head = content[:8] + struct.pack("<I", 99)
    return head + _crc(head + content[16:24]) + content[16:]


def _newer_record(content: bytes) -> bytes:
    head = content[:4] + struct.pack("<H", 99) + content[6:20]
    return head + _crc(head) + content[24:]


def _open_and_read(directory: Path) -> None:
    store = open_store(directory, options=OPTIONS)
    try:
        contents(store.tenant("golden"))
    finally:
        store.close()


@pytest.mark.parametrize("version", _VERSIONS[-1:])
@pytest.mark.parametrize(
    ("pattern", "newer"),
    [
        ("manifest", _newer_manifest),
        ("manifest*", _newer_manifest),
        ("blocks/*/index", _newer_index),
        ("blocks/*/data", _newer_data),
        ("wal/*.wal", _newer_record),
        ("exemplars", _newer_record),
    ],
)
def test_a_newer_version_is_refused_and_left_alone(
    store_directory: Path, pattern: str, newer: Callable[[bytes], bytes]
) -> None:
    """Its checksums are right, so it is no damage: the file and its version are named."""
    paths = sorted((store_directory / "tenants/golden").glob(pattern))
    for path in paths:
        path.write_bytes(newer(path.read_bytes()))
    before = _files(store_directory)
    with pytest.raises(UnsupportedFormat) as refusal:
        _open_and_read(store_directory)
    assert any(str(path) in str(refusal.value) for path in paths)
    assert "version 99" in str(refusal.value)
    assert _files(store_directory) == before

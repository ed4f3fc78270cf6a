"""The manifest is kept twice, replaced as a whole and never misread."""

from pathlib import Path
from typing import Any
from unittest import mock

import google_crc32c
import pytest

from series.metadata import Metadata
from series.ports import StorageError
from tsdb.block.format import BlockMeta, block_directory
from tsdb.damage import Lost
from tsdb.files import Files
from tsdb.manifest import BLOCKS_NAME, NAMES, Manifest, listed_sequences, read_copies, remove_strays
from tsdb.versions import UnsupportedFormat


def _manifest(**changes: Any) -> Manifest:
    block = BlockMeta(
        sequence=4,
        min_time_ms=-5,
        max_time_ms=2**62,
        series=1,
        samples=2,
        index_bytes=3,
        data_bytes=4,
        late=True,
        rank=2,
        sources=(2, 3),
    )
    fields: dict[str, Any] = {
        "seed": bytes(range(16)),
        "blocks": (block,),
        "wal_through": 7,
        "sealed_until_ms": 9,
        "next_sequence": 5,
        "metadata": {"ünï": Metadata("counter", 'help "quoted"\n', "bytes")},
        "lost": (Lost("blocks/0000000001", -3, 2**63 - 1, "why"),),
    }
    return Manifest(**fields | changes)


def _as_version(content: bytes, version: int) -> bytes:
    """The bytes of a manifest as another version might have written them, with its checksum."""
    body = content[: -len(b"crc32c=01234567\n")].replace(b"manifest 2", b"manifest %d" % version)
    return body + b"crc32c=%08x\n" % google_crc32c.value(body)


def test_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    """All fields survive, from both copies; without a manifest there is none."""
    files = Files()
    assert Manifest.load(tmp_path, files) is None
    for manifest in (_manifest(), Manifest.new(), _manifest(wal_through=8)):
        manifest.save(tmp_path, files)
        assert Manifest.load(tmp_path, files) == manifest
        assert read_copies(tmp_path, files).agree
    (tmp_path / NAMES[0]).unlink()
    assert Manifest.load(tmp_path, files) == manifest
    assert not read_copies(tmp_path, files).agree
    assert len(Manifest.new().seed) == 16 and Manifest.new().seed != Manifest.new().seed


@pytest.mark.parametrize(
    "failing", ["create", "write", "fdatasync", "rename", "sync_directory", "unlink"]
)
@pytest.mark.parametrize("after", [0, 1])
def test_a_failing_disk_leaves_the_old_or_the_new(tmp_path: Path, failing: str, after: int) -> None:
    """Whatever step fails, both copies are whole then, and the next save succeeds."""
    files = Files()
    old, new = _manifest(), _manifest(wal_through=8)
    old.save(tmp_path, files)
    for name in NAMES:
        (tmp_path / f"{name}.tmp").write_bytes(b"left by a crash")
    act = getattr(files, failing)
    calls = iter(range(after)) if failing != "sync_directory" else iter(())

    def fail(*given: object) -> object:
        if next(calls, None) is None:
            raise OSError("disk")
        return act(*given)

    with (
        mock.patch.object(files, failing, side_effect=fail),
        pytest.raises(OSError, match="disk"),
    ):
        new.save(tmp_path, files)
    assert Manifest.load(tmp_path, files) in (old, new)
    assert not read_copies(tmp_path, files).damage
    new.save(tmp_path, files)
    assert Manifest.load(tmp_path, files) == new


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """One in either file costs nothing and is told; the same in both is refused by name."""
    files = Files()
    _manifest().save(tmp_path, files)
    paths = [tmp_path / name for name in NAMES]
    good = paths[0].read_bytes()
    for at in range(len(good)):
        damaged = bytearray(good)
        damaged[at] ^= 1 << at % 8
        for path in paths:
            path.write_bytes(bytes(damaged))
            found = read_copies(tmp_path, files)
            assert found.manifest == _manifest()
            assert [finding.path for finding in found.damage] == [path]
            path.write_bytes(good)
        for path in paths:
            path.write_bytes(bytes(damaged))
        with pytest.raises(StorageError, match=str(paths[0])):
            Manifest.load(tmp_path, files)
        for path in paths:
            path.write_bytes(good)
    for size in range(0, len(good), 7):
        for path in paths:
            path.write_bytes(good[:size])
        with pytest.raises(StorageError, match=str(paths[0])):
            Manifest.load(tmp_path, files)


@pytest.mark.parametrize("version", [1, 3])
def test_another_version_is_refused(tmp_path: Path, version: int) -> None:
    """Whether its checksum is where we look for it or not; it is not taken for damage."""
    files = Files()
    _manifest().save(tmp_path, files)
    path = tmp_path / NAMES[0]
    path.write_bytes(_as_version(path.read_bytes(), version))
    with pytest.raises(UnsupportedFormat, match=f"format version {version}"):
        read_copies(tmp_path, files)
    for name in NAMES:
        (tmp_path / name).write_bytes(b"o11y-manifest %d crc32c=00000000\n?" % version)
    with pytest.raises(UnsupportedFormat, match=f"format version {version}"):
        read_copies(tmp_path, files)


def test_a_lost_manifest_does_not_make_a_new_tenant(tmp_path: Path) -> None:
    """Blocks without a manifest are an error, so that nothing removes them as strays."""
    block_directory(tmp_path / BLOCKS_NAME, 1).mkdir(parents=True)
    with pytest.raises(StorageError, match="are missing"):
        Manifest.load(tmp_path, Files())


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"seed": 7}', b'{"seed": "00", "blocks": [{}]}', b"[" * 100_000]
)
def test_what_we_never_write_is_damage(tmp_path: Path, body: bytes) -> None:
    """Even under a checksum that is right."""
    content = b"o11y-manifest 2\n" + body
    content += b"crc32c=%08x\n" % google_crc32c.value(content)
    (tmp_path / NAMES[0]).write_bytes(content)
    with pytest.raises(StorageError, match="is damaged"):
        Manifest.load(tmp_path, Files())


def test_what_any_copy_lists_is_known(tmp_path: Path) -> None:
    """After a save that failed midway either may be found by the next start."""
    files = Files()
    _manifest().save(tmp_path, files)
    copy = (tmp_path / NAMES[1]).read_bytes()
    _manifest(blocks=()).save(tmp_path, files)
    assert listed_sequences(tmp_path, files) == set()
    (tmp_path / NAMES[1]).write_bytes(copy)
    assert listed_sequences(tmp_path, files) == {4}


def test_strays_are_removed(tmp_path: Path) -> None:
    """Only the blocks that the manifest lists stay; one that was damaged goes to quarantine."""
    blocks = tmp_path / BLOCKS_NAME
    for sequence in (1, 3, 4):
        block_directory(blocks, sequence).mkdir(parents=True)
    block_directory(blocks, 5).with_suffix(".tmp").mkdir()
    removed = remove_strays(blocks, _manifest(), Files())
    assert removed == ["0000000001", "0000000003", "0000000005.tmp"]
    assert [path.name for path in blocks.iterdir()] == ["0000000004"]
    assert [path.name for path in (tmp_path / "quarantine").iterdir()] == ["0000000001"]

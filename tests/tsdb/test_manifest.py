"""The manifest is replaced as a whole and never misread."""

from pathlib import Path
from unittest import mock

import pytest

from series.metadata import Metadata
from series.ports import StorageError
from tsdb.block.format import BlockMeta, block_directory
from tsdb.files import Files
from tsdb.manifest import BLOCKS_NAME, Manifest, remove_strays


def _manifest(**changes: int) -> Manifest:
    block = BlockMeta(
        sequence=4,
        min_time_ms=-5,
        max_time_ms=2**62,
        series=1,
        samples=2,
        index_bytes=3,
        data_bytes=4,
        late=True,
    )
    fields = {"wal_through": 7, "sealed_until_ms": 9, "next_sequence": 5} | changes
    metadata = {"ünï": Metadata("counter", 'help "quoted"\n', "bytes")}
    return Manifest(seed=bytes(range(16)), blocks=(block,), metadata=metadata, **fields)


def test_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    """All fields survive; without a manifest there is none."""
    files = Files()
    assert Manifest.load(tmp_path, files) is None
    for manifest in (_manifest(), Manifest.new(), _manifest(wal_through=8)):
        manifest.save(tmp_path, files)
        assert Manifest.load(tmp_path, files) == manifest
    assert len(Manifest.new().seed) == 16 and Manifest.new().seed != Manifest.new().seed


@pytest.mark.parametrize(
    "failing", ["create", "write", "fdatasync", "rename", "sync_directory", "unlink"]
)
def test_a_failing_disk_leaves_the_old_or_the_new(tmp_path: Path, failing: str) -> None:
    """Whatever step fails, what is loaded then is whole, and the next save succeeds."""
    files = Files()
    old, new = _manifest(), _manifest(wal_through=8)
    old.save(tmp_path, files)
    (tmp_path / "manifest.tmp").write_bytes(b"left by a crash")
    with (
        mock.patch.object(files, failing, side_effect=OSError("disk")),
        pytest.raises(OSError, match="disk"),
    ):
        new.save(tmp_path, files)
    assert Manifest.load(tmp_path, files) == (new if failing == "sync_directory" else old)
    new.save(tmp_path, files)
    assert Manifest.load(tmp_path, files) == new


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    """A changed byte or a missing end is refused, naming the file."""
    files = Files()
    _manifest().save(tmp_path, files)
    path = tmp_path / "manifest"
    good = path.read_bytes()
    for at in range(0, len(good), 3):
        damaged = bytearray(good)
        damaged[at] ^= 0x02
        path.write_bytes(bytes(damaged))
        with pytest.raises(StorageError, match=str(path)):
            Manifest.load(tmp_path, files)
    for size in range(0, len(good), 7):
        path.write_bytes(good[:size])
        with pytest.raises(StorageError, match=str(path)):
            Manifest.load(tmp_path, files)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    """The error says that a newer release wrote the data."""
    (tmp_path / "manifest").write_bytes(b"o11y-manifest 2 crc32c=00000000\n?")
    with pytest.raises(StorageError, match=r"format version 2.*newer release"):
        Manifest.load(tmp_path, Files())


def test_a_lost_manifest_does_not_make_a_new_tenant(tmp_path: Path) -> None:
    """Blocks without a manifest are an error, so that nothing removes them as strays."""
    block_directory(tmp_path / BLOCKS_NAME, 1).mkdir(parents=True)
    with pytest.raises(StorageError, match="is missing"):
        Manifest.load(tmp_path, Files())


def test_strays_are_removed(tmp_path: Path) -> None:
    """Only the blocks that the manifest lists stay."""
    for sequence in (3, 4):
        block_directory(tmp_path, sequence).mkdir()
    block_directory(tmp_path, 5).with_suffix(".tmp").mkdir()
    removed = remove_strays(tmp_path, _manifest(), Files())
    assert removed == ["0000000003", "0000000005.tmp"]
    assert [path.name for path in tmp_path.iterdir()] == ["0000000004"]

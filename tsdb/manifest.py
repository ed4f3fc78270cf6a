"""The manifest: which blocks a tenant consists of, and how far they cover the WAL.

One small text file, replaced as a whole: a line that names the format version and the CRC32C of
the rest, then JSON. What it does not list does not exist: files of blocks that a crash left
behind are removed by ``remove_strays``.
"""

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import google_crc32c

from series.metadata import Metadata
from series.ports import StorageError
from tsdb.block.format import BlockMeta, block_directory
from tsdb.files import Files
from tsdb.view.part import NEVER_MS

MANIFEST_VERSION = 1
SEED_BYTES = 16

BLOCKS_NAME = "blocks"
"""The directory of all blocks, beside the manifest."""

_NAME = "manifest"
_FIRST_LINE = re.compile(rb"o11y-manifest (\d+) crc32c=([0-9a-f]{8})\n")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The durable state of a tenant besides its WAL and its blocks.

    - ``blocks``: in ascending order of their sequence.
    - ``wal_through``: of every WAL segment up to this number, the samples before
      ``sealed_until_ms`` are in blocks.
    - ``sealed_until_ms``: see above; far in the past where nothing was sealed yet.
    - ``next_sequence``: that of the next block; sequences are never used again.
    - ``seed``: 16 random bytes chosen at the tenant's birth; fingerprints depend on it.
    - ``metadata``: what senders told about metrics, by metric name.
    """

    seed: bytes
    blocks: tuple[BlockMeta, ...] = ()
    wal_through: int = 0
    sealed_until_ms: int = NEVER_MS
    next_sequence: int = 1
    metadata: dict[str, Metadata] = field(default_factory=dict)

    @classmethod
    def new(cls) -> "Manifest":
        """The manifest of a tenant that is being born; not saved yet."""
        return cls(seed=os.urandom(SEED_BYTES))

    @classmethod
    def load(cls, directory: Path, files: Files) -> "Manifest | None":
        """The manifest in *directory*, None where there is none.

        Raises StorageError where it is damaged, of a version that this program does not know, or
        missing although there are blocks.
        """
        path = directory / _NAME
        try:
            if not files.exists(path):
                _expect_no_blocks(directory, files)
                return None
            content = files.read(path)
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error}") from error
        return _parse(content, path)

    def save(self, directory: Path, files: Files) -> None:
        """Replaces the manifest in *directory*; durable when it returns.

        Raises OSError where the disk refuses; the old manifest or the new one stands then.
        """
        body = _to_json(self)
        head = b"o11y-manifest %d crc32c=%08x\n" % (MANIFEST_VERSION, google_crc32c.value(body))
        aside = directory / f"{_NAME}.tmp"
        if files.exists(aside):
            files.unlink(aside)
        fd = files.create(aside)
        try:
            files.write(fd, [head, body])
            files.fdatasync(fd)
        finally:
            files.close(fd)
        files.rename(aside, directory / _NAME)
        files.sync_directory(directory)


def _expect_no_blocks(directory: Path, files: Files) -> None:
    blocks = directory / BLOCKS_NAME
    if any(not name.endswith(".tmp") for name in files.listdir(blocks)):
        raise StorageError(f"{directory / _NAME} is missing, but {blocks} holds blocks")


def _to_json(manifest: Manifest) -> bytes:
    state = {
        "seed": manifest.seed.hex(),
        "wal_through": manifest.wal_through,
        "sealed_until_ms": manifest.sealed_until_ms,
        "next_sequence": manifest.next_sequence,
        "blocks": [asdict(block) for block in manifest.blocks],
        "metadata": {name: asdict(known) for name, known in manifest.metadata.items()},
    }
    return json.dumps(state, ensure_ascii=False, indent=1).encode()


def _parse(content: bytes, path: Path) -> Manifest:
    first = _FIRST_LINE.match(content)
    if first is None:
        raise StorageError(f"{path} is damaged: it does not begin as a manifest does")
    version = int(first.group(1))
    if version > MANIFEST_VERSION:
        raise StorageError(
            f"{path} has format version {version}, which is newer than this program knows"
            f" ({MANIFEST_VERSION}): the data was written by a newer release"
        )
    body = content[first.end() :]
    if version < 1 or google_crc32c.value(body) != int(first.group(2), 16):
        raise StorageError(f"{path} is damaged: checksum mismatch")
    state = json.loads(body)
    return Manifest(
        seed=bytes.fromhex(state["seed"]),
        blocks=tuple(BlockMeta(**block) for block in state["blocks"]),
        wal_through=state["wal_through"],
        sealed_until_ms=state["sealed_until_ms"],
        next_sequence=state["next_sequence"],
        metadata={name: Metadata(**known) for name, known in state["metadata"].items()},
    )


def remove_strays(blocks: Path, manifest: Manifest, files: Files) -> list[str]:
    """Removes what lies in the directory *blocks* without standing in *manifest*.

    That are blocks that a crash interrupted before they counted or after they stopped counting.
    Returns their names.
    """
    listed = {block_directory(blocks, block.sequence).name for block in manifest.blocks}
    strays = [name for name in files.listdir(blocks) if name not in listed]
    for name in strays:
        files.remove_tree(blocks / name)
    return strays

"""The manifest: which blocks a tenant consists of, and how far they cover the WAL.

One small text file, kept twice and replaced as a whole: a line that names the format version, JSON,
and a line with the CRC32C of all before it. What it does not list does not exist: files of blocks
that a crash left behind are removed by ``remove_strays``. Where both copies are damaged,
``tsdb/rebuild.py`` makes a new one.
"""

import json
import os
import re
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from series.metadata import Metadata
from series.ports import StorageError
from tsdb import quarantine
from tsdb.block.format import BlockMeta, block_directory
from tsdb.damage import MANIFEST, Finding, Lost
from tsdb.deletion import Deletion
from tsdb.files import Files
from tsdb.versions import UnsupportedFormat
from tsdb.view.part import NEVER_MS

MANIFEST_VERSION = 2
SEED_BYTES = 16

BLOCKS_NAME = "blocks"
"""The directory of all blocks, beside the manifest."""

NAMES = ("manifest", "manifest.copy")
"""Both say the same; where they do not, a crash came between, and the first one counts."""

MISSING = "it and its copy are missing beside blocks or a log"

_FIRST_LINE = re.compile(rb"o11y-manifest (\d{1,9})[ \n]")
_LAST_LINE_BYTES = len(b"crc32c=01234567\n")


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
    - ``lost``: what damage has taken; queries of these times are warned.
    - ``deletions``: what was deleted and still lies in blocks.
    - ``clock_ms``: what the clock said, so far as it was believed, when this was saved.
    """

    seed: bytes
    blocks: tuple[BlockMeta, ...] = ()
    wal_through: int = 0
    sealed_until_ms: int = NEVER_MS
    next_sequence: int = 1
    metadata: dict[str, Metadata] = field(default_factory=dict)
    lost: tuple[Lost, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    clock_ms: int = 0

    @classmethod
    def new(cls) -> "Manifest":
        """The manifest of a tenant that is being born; not saved yet."""
        return cls(seed=os.urandom(SEED_BYTES))

    @classmethod
    def load(cls, directory: Path, files: Files) -> "Manifest | None":
        """The manifest in *directory*, from the copy where it must be; None where there is none.

        Raises UnsupportedFormat (a StorageError) for one of a version that this program does not
        know, and StorageError where both copies are damaged, or missing although there is data.
        """
        found = read_copies(directory, files)
        if found.manifest is None and (found.damage or holds_data(directory, files)):
            missing = f"{directory / NAMES[0]}: {MISSING}"
            raise StorageError("; ".join(map(str, found.damage)) or missing)
        return found.manifest

    def save(self, directory: Path, files: Files) -> None:
        """Replaces both copies in *directory*; durable when it returns.

        Raises OSError where the disk refuses; each copy is the old or the new one then.
        """
        content = _to_bytes(self)
        aside = [directory / f"{name}.tmp" for name in NAMES]
        for path in aside:
            _write_aside(path, content, files)
        for path, name in zip(aside, NAMES, strict=True):
            files.rename(path, directory / name)
        files.sync_directory(directory)


class Copies(NamedTuple):
    """What the copies of a manifest hold: the one that counts, and what is wrong.

    ``agree`` is False where they are not both there and the same.
    """

    manifest: Manifest | None
    damage: tuple[Finding, ...]
    agree: bool


def read_copies(directory: Path, files: Files) -> Copies:
    """Reads both copies of the manifest in *directory*.

    Raises UnsupportedFormat for one of another version, StorageError where the disk fails.
    """
    contents: list[bytes | None] = []
    sound: list[Manifest] = []
    damaged: list[Path] = []
    foreign = ""
    for name in NAMES:
        path = directory / name
        try:
            content = files.read(path) if files.exists(path) else None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error}") from error
        contents.append(content)
        if content is None:
            continue
        body = _checked(content)
        version = _version(content)
        if version not in (None, MANIFEST_VERSION):
            text = _unknown_version(path, version)
            if body is not None:
                raise UnsupportedFormat(text)
            foreign = foreign or text
        manifest = None if body is None else _from_json(body)
        if manifest is None:
            damaged.append(path)
        else:
            sound.append(manifest)
    if foreign and not sound:
        raise UnsupportedFormat(foreign)
    text = "it is not as it was written" + ("; the other copy is used" if sound else "")
    return Copies(
        manifest=sound[0] if sound else None,
        damage=tuple(Finding(MANIFEST, path, 0, text, is_loss=not sound) for path in damaged),
        agree=contents[0] is not None and contents[0] == contents[1] and not damaged,
    )


def listed_sequences(directory: Path, files: Files) -> set[int]:
    """The blocks that any copy of the manifest lists; raises as ``read_copies``."""
    listed: set[int] = set()
    for name in NAMES:
        path = directory / name
        body = _checked(files.read(path)) if files.exists(path) else None
        manifest = None if body is None else _from_json(body)
        if manifest is not None:
            listed |= {block.sequence for block in manifest.blocks}
    return listed


def holds_data(directory: Path, files: Files) -> bool:
    """Whether there are blocks or a log in the tenant's *directory*; then it has a manifest."""
    names = (*files.listdir(directory / BLOCKS_NAME), *files.listdir(directory / "wal"))
    return any(not name.endswith(".tmp") for name in names)


def remove_strays(blocks: Path, manifest: Manifest, files: Files) -> list[str]:
    """Removes what lies in the directory *blocks* without standing in *manifest*.

    That are blocks that a crash interrupted before they counted or after they stopped counting;
    those among them that were damaged go to quarantine. Returns the names of all.
    """
    listed = {block_directory(blocks, block.sequence).name for block in manifest.blocks}
    damaged = {lost.file for lost in manifest.lost}
    strays = [name for name in files.listdir(blocks) if name not in listed]
    for name in strays:
        if f"{BLOCKS_NAME}/{name}" in damaged:
            quarantine.keep(blocks.parent, blocks / name, files)
        else:
            files.remove_tree(blocks / name)
    return strays


def _write_aside(path: Path, content: bytes, files: Files) -> None:
    if files.exists(path):
        files.unlink(path)
    fd = files.create(path)
    try:
        files.write(fd, [content])
        files.fdatasync(fd)
    finally:
        files.close(fd)


def _to_bytes(manifest: Manifest) -> bytes:
    state = {
        "seed": manifest.seed.hex(),
        "wal_through": manifest.wal_through,
        "sealed_until_ms": manifest.sealed_until_ms,
        "next_sequence": manifest.next_sequence,
        "blocks": [asdict(block) for block in manifest.blocks],
        "lost": [asdict(lost) for lost in manifest.lost],
        "deletions": [asdict(deletion) for deletion in manifest.deletions],
        "clock_ms": manifest.clock_ms,
        "metadata": {name: asdict(known) for name, known in manifest.metadata.items()},
    }
    text = json.dumps(state, ensure_ascii=False, indent=1).encode()
    content = b"o11y-manifest %d\n%s\n" % (MANIFEST_VERSION, text)
    return content + b"crc32c=%08x\n" % google_crc32c.value(content)


def _checked(content: bytes) -> bytes | None:
    """The JSON of a manifest's bytes; None where any of them is not what was written."""
    end = len(content) - _LAST_LINE_BYTES
    if end < 0 or content[end:] != b"crc32c=%08x\n" % google_crc32c.value(content[:end]):
        return None
    return content[:end].partition(b"\n")[2]


def _version(content: bytes) -> int | None:
    """What the first line names; None where it is none of a manifest."""
    first = _FIRST_LINE.match(content)
    return None if first is None else int(first[1])


def _unknown_version(path: Path, version: int | None) -> str:
    text = f"{path} has format version {version}, which this program does not know"
    if version is not None and version > MANIFEST_VERSION:
        text += f" (it knows {MANIFEST_VERSION}): the data was written by a newer release"
    return text


def _from_json(body: bytes) -> Manifest | None:
    """The manifest of this JSON; None where it says anything that we never write."""
    try:
        state = json.loads(body)
        manifest = Manifest(
            seed=bytes.fromhex(state["seed"]),
            blocks=tuple(BlockMeta(**block) for block in state["blocks"]),
            wal_through=state["wal_through"],
            sealed_until_ms=state["sealed_until_ms"],
            next_sequence=state["next_sequence"],
            metadata={name: Metadata(**known) for name, known in state["metadata"].items()},
            lost=tuple(Lost(**lost) for lost in state["lost"]),
            deletions=tuple(Deletion(**deletion) for deletion in state["deletions"]),
            clock_ms=state["clock_ms"],
        )
        return manifest if _makes_sense(manifest) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _makes_sense(manifest: Manifest) -> bool:
    """Whether all is of its type and selects what it can; raises ValueError or TypeError, too."""
    numbers = [
        manifest.wal_through, manifest.sealed_until_ms, manifest.next_sequence, manifest.clock_ms,
    ]  # fmt: skip
    texts: list[object] = []
    for block in manifest.blocks:
        *fields, late, rank, sources = astuple(block)
        numbers += [*fields, rank, *sources]
        if not isinstance(late, bool):
            return False
    for lost in manifest.lost:
        numbers += [lost.min_time_ms, lost.max_time_ms]
        texts += [lost.file, lost.text]
    for deletion in manifest.deletions:
        numbers += [deletion.start_ms, deletion.end_ms, deletion.through_sequence]
        texts += [text for matcher in deletion.matchers for text in matcher]
    for known in manifest.metadata.values():
        texts += [known.type, known.help, known.unit]
    sequences = {block.sequence for block in manifest.blocks}
    return (
        len(manifest.seed) == SEED_BYTES
        and all(type(number) is int and -(2**63) <= number < 2**63 for number in numbers)
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(one.selector, tuple) for one in manifest.deletions)
        and len(sequences) == len(manifest.blocks)
        and min(sequences, default=1) > 0
    )

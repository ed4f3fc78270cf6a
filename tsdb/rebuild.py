"""Opening a tenant's manifest: mended from its copy, or rebuilt from the blocks where it must be.

A rebuilt manifest lists every block that says of itself what it is, but for those in whose place
another one stands, and lets the whole log be replayed: samples that stand in both are read once.
What only the manifest knew is lost: what senders told of their metrics, and deletions that no merge
has carried out yet.
"""

import logging
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from series.ports import StorageError
from tsdb import quarantine
from tsdb.block.format import BlockMeta, DamagedError
from tsdb.block.index_copy import read_meta
from tsdb.damage import FOREVER_MS, INDEX, MANIFEST, DamageNotes, Finding, Lost
from tsdb.files import Files
from tsdb.manifest import (
    BLOCKS_NAME,
    MISSING,
    NAMES,
    Manifest,
    holds_data,
    read_copies,
)
from tsdb.view.part import NEVER_MS

log = logging.getLogger("o11y.storage")

_BLOCK_NAME = re.compile(r"\d{10}")


class Opened(NamedTuple):
    """A tenant's manifest, and whether it stands on disk."""

    manifest: Manifest
    is_stored: bool


def open_manifest(
    directory: Path, files: Files, notes: DamageNotes, *, read_only: bool = False
) -> Opened:
    """The manifest of the tenant in *directory*, a new one where there is nothing.

    Damage is noted, and mended on disk unless that is *read_only*; damaged files go to quarantine.
    Raises UnsupportedFormat where anything was written by a newer version, and StorageError or
    OSError where the disk fails.
    """
    copies = read_copies(directory, files)
    for finding in copies.damage:
        notes.note(finding)
    manifest = copies.manifest
    if manifest is None:
        if not copies.damage:
            if not holds_data(directory, files):
                return Opened(Manifest.new(), False)
            notes.note(Finding(MANIFEST, directory / NAMES[0], 0, MISSING))
        manifest = _rebuilt(directory, files, notes)
    known = _still_kept(directory, manifest.lost, files)
    if not read_only and not (copies.agree and known == manifest.lost):
        manifest = replace(manifest, lost=known)
        for finding in copies.damage:
            quarantine.keep(directory, finding.path, files)
        manifest.save(directory, files)
    return Opened(manifest, True)


def _still_kept(directory: Path, lost: tuple[Lost, ...], files: Files) -> tuple[Lost, ...]:
    """Without what the operator has removed from quarantine: who does that knows of the loss."""
    kept = set(quarantine.kept_names(directory, files)) if lost else set()
    return tuple(
        one for one in lost if Path(one.file).name in kept or files.exists(directory / one.file)
    )


def _rebuilt(directory: Path, files: Files, notes: DamageNotes) -> Manifest:
    blocks: list[BlockMeta] = []
    seeds: Counter[bytes] = Counter()
    lost: dict[int, Lost] = {}
    numbers = [0]
    for name in files.listdir(directory / BLOCKS_NAME):
        if match := re.match(_BLOCK_NAME, name):
            numbers.append(int(match[0]))
        if not re.fullmatch(_BLOCK_NAME, name):
            continue
        path = directory / BLOCKS_NAME / name
        try:
            meta, seed = read_meta(files, path)
        except (DamagedError, FileNotFoundError) as error:
            offset = error.offset if isinstance(error, DamagedError) else 0
            finding = Finding(INDEX, path / "index", offset, str(error))
            notes.note(finding)
            lost[int(name)] = Lost(f"{BLOCKS_NAME}/{name}", NEVER_MS, FOREVER_MS, str(finding))
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error}") from error
        else:
            seeds[seed] += 1
            blocks.append(meta)
            numbers += meta.sources
    if len(seeds) > 1:
        raise StorageError(
            f"{directory / NAMES[0]} cannot be rebuilt: its blocks come from several tenants"
        )
    kept = quarantine.kept_names(directory, files)
    numbers += [int(name[:10]) for name in kept if re.match(_BLOCK_NAME, name)]
    replaced = {source for block in blocks for source in block.sources}
    counting = tuple(block for block in blocks if block.sequence not in replaced)
    log.error(
        "the manifest in %s was rebuilt from %d blocks and the log; what senders told of their"
        " metrics and deletions that were not carried out yet are lost",
        directory,
        len(counting),
    )
    return Manifest(
        seed=next(iter(seeds), Manifest.new().seed),
        blocks=counting,
        next_sequence=max(numbers) + 1,
        lost=tuple(one for number, one in lost.items() if number not in replaced),
    )

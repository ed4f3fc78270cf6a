"""Doctor: tells what is damaged in a data directory or a snapshot; it changes nothing.

Every byte is read. Where a server has the directory open, the segment of the log that it writes to
is left out, and what it merges or drops meanwhile is passed over.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from series.ports import StorageError
from tsdb import check, quarantine
from tsdb.block.format import BlockMeta, DamagedError, block_directory
from tsdb.block.index import BlockIndex, parse_index
from tsdb.block.index_copy import read_index, read_meta
from tsdb.damage import INDEX, Finding, Lost
from tsdb.files import Files
from tsdb.manifest import BLOCKS_NAME, Manifest, read_copies

SHOWN_SERIES = 5
"""The labels of so many series are named with a finding, of the others there is only the count."""


@dataclass(slots=True)
class Report:
    """What was found of a tenant, and what there is: sizes in bytes.

    ``lost`` is what earlier damage has taken, ``quarantined`` the files that are kept of it.
    """

    tenant: str
    findings: list[Finding] = field(default_factory=list)
    blocks: int = 0
    block_bytes: int = 0
    block_samples: int = 0
    log_segments: int = 0
    log_bytes: int = 0
    lost: tuple[Lost, ...] = ()
    quarantined: list[str] = field(default_factory=list)


def tenant_directories(directory: Path, files: Files) -> dict[str, Path]:
    """The tenants of a data directory or a snapshot, or the one whose own directory it is."""
    tenants = directory / "tenants"
    if files.exists(tenants):
        return {name: tenants / name for name in files.listdir(tenants)}
    if len(check.items(directory, files)) > 2 or files.exists(directory / check.MANIFEST_ITEM):
        return {directory.name: directory}
    return {}


def check_tenant(
    name: str,
    directory: Path,
    files: Files,
    *,
    live: bool = False,
    read: Callable[[int], object] = int,
) -> Report:
    """Reads all that tenant *name* has in *directory*; *read* hears of bytes that were read.

    *live* says that a server has it open. Raises UnsupportedFormat for files of another version.
    """
    report = Report(name, quarantined=quarantine.kept_names(directory, files))
    manifest = _manifest(directory, files)
    report.lost = manifest.lost if manifest else ()
    listed = {block.sequence: block for block in manifest.blocks} if manifest else None
    items = check.items(directory, files)
    if live:
        segments = [item for item in items if item.endswith(".wal")]
        items = [item for item in items if item not in segments[-1:]]
    for item in items:
        meta = None
        if item.startswith(BLOCKS_NAME) and listed is not None:
            meta = listed.pop(int(Path(item).name), None)
            if meta is None:
                continue  # A crash has left it, the next start removes it.
        found: list[Finding] = []
        try:
            for step in check.check_item(directory, item, files):
                if isinstance(step, int):
                    read(step)
                else:
                    found.append(step)
            if item.startswith(BLOCKS_NAME):
                found = _examined(directory / item, found, meta, files, report)
        except FileNotFoundError:
            found = [_whole(Finding(INDEX, directory / item, 0, "a file of it is missing"), meta)]
        if found and live and not _is_there(directory, item, files):
            continue
        if item.endswith(".wal"):
            report.log_segments += 1
            report.log_bytes += check.size_bytes(directory, item, files)
        report.findings += found
    for meta in (listed or {}).values():
        path = block_directory(directory / BLOCKS_NAME, meta.sequence)
        item = f"{BLOCKS_NAME}/{path.name}"
        if not live or _is_there(directory, item, files):
            text = "it is missing though the manifest lists it"
            report.findings.append(_whole(Finding(INDEX, path, 0, text), meta))
    return report


def _manifest(directory: Path, files: Files) -> Manifest | None:
    try:
        return read_copies(directory, files).manifest
    except StorageError:
        return None


def _is_there(directory: Path, item: str, files: Files) -> bool:
    """Whether *item* is still part of a tenant that a server has open."""
    if not item.startswith(BLOCKS_NAME):
        return files.exists(directory / item)
    manifest = _manifest(directory, files)
    return manifest is None or any(
        block.sequence == int(Path(item).name) for block in manifest.blocks
    )


def _examined(
    directory: Path, found: list[Finding], meta: BlockMeta | None, files: Files, report: Report
) -> list[Finding]:
    """*found* in a block, with the series and times that it takes; counts the block."""
    try:
        said = read_meta(files, directory)[0]
    except DamagedError:
        return [_whole(one, meta) if one.is_loss else one for one in found]
    if meta is not None and said != meta:
        text = "the block is not the one that the manifest names"
        found = [*found, _whole(Finding(INDEX, directory / "index", 0, text), meta)]
    report.blocks += 1
    report.block_bytes += said.size_bytes
    report.block_samples += said.samples
    if all(one.frame < 0 for one in found):
        return found
    index = parse_index(read_index(files, directory, said.sequence).sections, said)
    return [_reaching(one, index) if one.frame >= 0 else one for one in found]


def _whole(finding: Finding, meta: BlockMeta | None) -> Finding:
    """A finding that takes all of a block."""
    if meta is None:
        return finding
    times_ms = meta.min_time_ms, meta.max_time_ms
    return replace(finding, times_ms=times_ms, samples=meta.samples, series_count=meta.series)


def _reaching(finding: Finding, index: BlockIndex) -> Finding:
    reach = index.reach(finding.frame)
    labels = index.labels.frame(np.asarray(reach.rows[:SHOWN_SERIES])).all_labels()
    return replace(
        finding,
        times_ms=(reach.min_time_ms, reach.max_time_ms),
        samples=reach.samples,
        series_count=len(reach.rows),
        series=tuple(map(str, labels)),
    )


def check_directory(
    directory: Path,
    files: Files,
    *,
    tenant: str = "",
    live: bool = False,
    read: Callable[[int], object] = int,
) -> Iterator[Report]:
    """``check_tenant`` of all tenants in *directory*, or of the one that is named."""
    for name, path in tenant_directories(directory, files).items():
        if tenant in ("", name):
            yield check_tenant(name, path, files, live=live, read=read)

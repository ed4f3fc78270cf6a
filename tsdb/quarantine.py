"""Quarantine: a tenant's directory of damaged files, kept for whoever wants to look at them.

``<tenant>/quarantine/`` holds blocks (directories), segments of the log and other files under their
own names. Nothing here is read again, and only the operator removes it.
"""

from pathlib import Path

from tsdb.files import Files

NAME = "quarantine"


def keep(tenant: Path, path: Path, files: Files) -> Path:
    """Moves *path*, a file or directory of *tenant*'s, to its quarantine; durable when it returns.

    Returns where it lies now: under its name, or where that is taken with a number behind. Raises
    OSError where the disk refuses; the file is at one place or the other then.
    """
    directory = tenant / NAME
    files.mkdir(directory)
    kept = directory / path.name
    number = 0
    while files.exists(kept):
        number += 1
        kept = directory / f"{path.name}.{number}"
    files.rename(path, kept)
    files.sync_directory(directory)
    files.sync_directory(path.parent)
    return kept


def keep_copy(tenant: Path, path: Path, files: Files, name: str) -> None:
    """Copies the small file *path* to *tenant*'s quarantine as *name*, unless there is such a one.

    Durable when it returns; raises OSError where the disk refuses.
    """
    kept = tenant / NAME / name
    if files.exists(kept):
        return
    files.mkdir(kept.parent)
    aside = kept.with_name(f"{name}.tmp")
    if files.exists(aside):
        files.unlink(aside)
    fd = files.create(aside)
    try:
        files.write(fd, [files.read(path)])
        files.fdatasync(fd)
    finally:
        files.close(fd)
    files.rename(aside, kept)
    files.sync_directory(kept.parent)


def kept_names(tenant: Path, files: Files) -> list[str]:
    """The names of what is kept of *tenant*, sorted."""
    return files.listdir(tenant / NAME)

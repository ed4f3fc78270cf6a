"""Where an import reads: OpenMetrics text, Parquet, and blocks of Prometheus, told apart."""

from pathlib import Path

from transfer.import_source import ImportSource

_META = "meta.json"
_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"


class UnknownSource(ValueError):
    """There is nothing to import at a path; the text says why."""


def find_sources(paths: list[Path]) -> tuple[list[ImportSource], list[str]]:
    """The sources at *paths*, blocks in order of time, and notes for the user.

    A directory is a block of Prometheus or holds some. Raises UnknownSource and OSError.
    """
    found: list[ImportSource] = []
    notes: list[str] = []
    for path in paths:
        if path.is_dir():
            found += _blocks(path, notes)
        else:
            found.append(_file(path))
    return found, notes


def _blocks(directory: Path, notes: list[str]) -> list[ImportSource]:
    from transfer.block_source import BlockSource

    if (directory / _META).exists():
        return [BlockSource(directory)]
    blocks = [
        BlockSource(each)
        for each in sorted(directory.iterdir())
        if each.is_dir() and not each.name.endswith((".tmp", ".tmp-for-creation"))
        if (each / _META).exists()
    ]
    if not blocks:
        raise UnknownSource(f"{directory} is no block of Prometheus and holds none")
    if (directory / "wal").exists():
        notes.append(
            f"{directory}: samples that are in its log only are not read; a snapshot of "
            "Prometheus (/api/v1/admin/tsdb/snapshot) holds all of them"
        )
    return [*sorted(blocks, key=lambda block: block.min_time_ms)]


def _file(path: Path) -> ImportSource:
    with path.open("rb") as file:
        head = file.read(4)
    if head == _PARQUET:
        from transfer.parquet_source import ParquetSource

        return ParquetSource(path)
    from transfer.openmetrics_source import OpenMetricsSource

    encoding = "gzip" if head[:2] == _GZIP else "zstd" if head == _ZSTD else ""
    return OpenMetricsSource(path, encoding)

"""Export: the samples of selectors, from a data directory or a server, into a file."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from series.ports import Context
from transfer.reading import Matchers, ServerReading, Slab, read_database
from transfer.tally import Tally
from transfer.writing import ExportWriter, OpenMetricsWriter, ParquetWriter
from tsdb.store import Store

Progress = Callable[[int], None]
"""Hears of the samples exported so far."""


class Wanted(NamedTuple):
    """What to export: *selectors* (``()`` is everything), as texts too, and both times included."""

    selectors: tuple[Matchers, ...]
    texts: tuple[str, ...]
    start_ms: int
    end_ms: int


def from_directory(
    data: Path,
    tenant: str,
    wanted: Wanted,
    out: BinaryIO,
    is_parquet: bool,
    tally: Tally,
    progress: Progress,
) -> list[str]:
    """Exports from *data*, which nobody writes to meanwhile; returns warnings of damage.

    Raises FileNotFoundError where there is no such directory or tenant, BlockingIOError naming the
    process that uses it, StorageError and OSError.
    """
    store = Store.open_read_only(data, lambda: time.time_ns() // 1_000_000)
    try:
        db = store.tenant(tenant)
        if db is None:
            raise FileNotFoundError(f"no tenant {tenant!r} in {data}")
        context = Context()
        source = db.view(context.warn)
        names = {
            name
            for matchers in wanted.selectors
            for name in source.label_names(matchers, wanted.start_ms, wanted.end_ms)
        }
        slabs = read_database(source, wanted.selectors, wanted.start_ms, wanted.end_ms, context)
        _write(slabs, _writer(out, is_parquet, names, tally), tally, progress)
        return list(context.warnings)
    finally:
        store.close()


def from_server(
    url: str,
    headers: dict[str, str],
    wanted: Wanted,
    out: BinaryIO,
    is_parquet: bool,
    tally: Tally,
    progress: Progress,
) -> list[str]:
    """Exports from a server, one stretch of time after the other; TransferFailed where it refuses.

    ``tally.series`` then counts a series once for each stretch.
    """
    server = ServerReading(url, headers)
    try:
        names = server.label_names(wanted.texts, wanted.start_ms, wanted.end_ms)
        slabs = server.read(wanted.selectors, wanted.start_ms, wanted.end_ms)
        _write(slabs, _writer(out, is_parquet, names, tally), tally, progress)
        return []
    finally:
        server.close()


def _writer(out: BinaryIO, is_parquet: bool, names: Iterable[str], tally: Tally) -> ExportWriter:
    return ParquetWriter(out, names, tally) if is_parquet else OpenMetricsWriter(out, tally)


def _write(slabs: Iterator[Slab], writer: ExportWriter, tally: Tally, progress: Progress) -> None:
    for slab in slabs:
        writer.write(slab)
        progress(tally.samples)
    writer.close()

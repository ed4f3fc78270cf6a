"""What an export writes: Parquet, or OpenMetrics text, compressed or not."""

import gzip
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
import zstandard

from series.batch import STALE_NAN_BITS, SeriesBatch
from series.labels import METRIC_NAME
from transfer.reading import Slab
from transfer.tally import Tally
from wire.exposition_write import series_text

_GROUP_ROWS = 1 << 19
"""About the rows of a row group of Parquet."""


class ExportWriter(Protocol):
    """Takes slabs; ``close`` ends the file."""

    def write(self, slab: Slab) -> None: ...

    def close(self) -> None: ...


class OpenMetricsWriter:
    """A line a sample, with its time in seconds; ends with ``# EOF``.

    The format has no place for native histograms, stale markers, series without a name, start
    times and payloads of NaN: the first three are left out, what is left out is counted.
    """

    def __init__(self, out: BinaryIO, tally: Tally) -> None:
        self._out = out
        self._tally = tally

    def write(self, slab: Slab) -> None:
        batch = slab.batch.of_kind(histograms=False)
        self._skip("native histograms", slab.batch.sample_count - batch.sample_count)
        self._skip("start times", _count_starts(batch))
        stale = batch.values.view(np.uint64) == STALE_NAN_BITS
        self._skip("stale markers", int(np.count_nonzero(stale)))
        texts = _value_texts(batch)
        for row, labels in enumerate(slab.frame.all_labels()):
            begin, end = batch.offsets[row : row + 2].tolist()
            if not labels.get(METRIC_NAME):
                self._skip("samples of series without a name", end - begin)
                continue
            name = series_text(labels)
            times_ms = batch.row_times_ms(row).tolist()
            lines = [
                f"{name} {text} {_seconds(time_ms)}\n"
                for text, time_ms, gone in zip(
                    texts[begin:end], times_ms, stale[begin:end].tolist(), strict=True
                )
                if not gone
            ]
            self._out.write("".join(lines).encode())
            self._tally.samples += len(lines)
            self._tally.series += bool(lines)

    def close(self) -> None:
        self._out.write(b"# EOF\n")

    def _skip(self, kind: str, count: int) -> None:
        if count:
            self._tally.skipped[kind] += count


def _count_starts(batch: SeriesBatch) -> int:
    return 0 if batch.starts_ms is None else int(np.count_nonzero(batch.starts_ms))


def _value_texts(batch: SeriesBatch) -> list[str]:
    """The shortest digits of every value that give it back."""
    texts = list(map(repr, batch.values.tolist()))
    for at in np.flatnonzero(~np.isfinite(batch.values)).tolist():
        value = batch.values[at]
        texts[at] = "NaN" if np.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return texts


def _seconds(time_ms: int) -> str:
    sign = "-" if time_ms < 0 else ""
    return f"{sign}{abs(time_ms) // 1000}.{abs(time_ms) % 1000:03d}"


class ParquetWriter:
    """A row a sample, in groups of rows; see ``parquet_rows``."""

    def __init__(self, path: Path | BinaryIO, names: Iterable[str], tally: Tally) -> None:
        """*names* are those of all labels that will come."""
        import pyarrow.parquet as pq

        from transfer.parquet_rows import label_columns, schema_of

        self._schema = schema_of(names)
        self._tally = tally
        self._waiting: list[Slab] = []
        self._waiting_rows = 0
        # A dictionary of floats would take all NaNs for one.
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            use_dictionary=list(label_columns(self._schema)),
            column_encoding={"timestamp": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
        )

    def write(self, slab: Slab) -> None:
        self._waiting.append(slab)
        self._waiting_rows += slab.batch.sample_count
        self._tally.samples += slab.batch.sample_count
        self._tally.series += slab.batch.series_count
        if self._waiting_rows >= _GROUP_ROWS:
            self._write_group()

    def close(self) -> None:
        self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        import pyarrow as pa

        from transfer.parquet_rows import to_rows

        if not self._waiting:
            return
        parts = [to_rows(frame, batch, self._schema) for frame, batch in self._waiting]
        table = pa.Table.from_batches(parts, self._schema).unify_dictionaries()
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._waiting, self._waiting_rows = [], 0


@contextmanager
def output(path: Path, stdout: BinaryIO) -> Iterator[BinaryIO]:
    """The file *path*, written aside and named once all is well; ``-`` is *stdout*.

    It is compressed where the name ends in ``.gz`` or ``.zst``.
    """
    if str(path) == "-":
        yield stdout
        stdout.flush()
        return
    aside = path.with_name(f"{path.name}.tmp")
    try:
        with aside.open("wb") as raw:
            match path.suffix:
                case ".gz":
                    with gzip.GzipFile(fileobj=raw, mode="wb") as stream:
                        yield cast(BinaryIO, stream)
                case ".zst":
                    with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as stream:
                        yield cast(BinaryIO, stream)
                case _:
                    yield raw
            raw.flush()
            os.fsync(raw.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise

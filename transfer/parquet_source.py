"""Parquet to import: as exports write it, or simple tables of others; see ``parquet_rows``."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from series.labels import Labels
from transfer.import_source import Page
from transfer.parquet_rows import LabelRuns, check_schema, from_rows
from wire.errors import Malformed
from wire.exposition_page import Scraped

NO_SAMPLE = "no-sample"
"""The reason of a row without a time, or with neither a value nor a histogram."""
_ROWS = 1 << 17


class ParquetSource:
    """One file, read batch by batch."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.size_bytes = path.stat().st_size
        self._path = path

    def pages(self) -> Iterator[Page]:
        try:
            with pq.ParquetFile(self._path) as file:
                check_schema(file.schema_arrow)
                labels = LabelRuns()
                total = max(1, file.metadata.num_rows)
                done = 0
                for rows in file.iter_batches(_ROWS):
                    batch, without = from_rows(rows, labels)
                    page = Scraped(batch, np.ones(batch.series_count, dtype=np.bool_))
                    if without:
                        detail = f"within rows {done + 1} to {done + rows.num_rows}"
                        page.refuse(NO_SAMPLE, detail, Labels(), 0)
                        page.refused[NO_SAMPLE] = without
                    done += rows.num_rows
                    yield Page(page, self.size_bytes * done // total)
        except pa.ArrowException as error:
            raise Malformed(f"not a Parquet file that can be read: {error}") from None

"""Answers as Arrow record batches: a row a point, straight from the columns.

Columns: one of texts for every label (dictionary-encoded, null where a series lacks it), then
``timestamp`` (ms, UTC) and ``value`` (float64), and ``histogram`` where there are any. A label of
one of these three names is called ``exported_<name>``. The schema's metadata holds
``result_type``, and as JSON lists ``warnings`` and ``infos``.

pyarrow is imported when the first answer is converted: that takes 0.2 s and 34 MiB.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from promql.answer import Answer, Raw
from promql.histogram_buckets import bucket_columns
from promql.matrix import Matrix, ScalarRow, Text
from series.frame import LabelFrame
from series.histogram import Histograms

if TYPE_CHECKING:
    import pyarrow as pa

POINTS_PER_BATCH = 65_536
_RESERVED = ("timestamp", "value", "histogram")

Int64s = NDArray[np.int64]


def schema_of(answer: Answer) -> "pa.Schema":
    """The schema of the batches of *answer*."""
    import pyarrow as pa

    fields = []
    if isinstance(answer.value, Matrix | Raw):
        text = pa.dictionary(pa.int32(), pa.string())
        fields = [pa.field(_column_name(name), text) for name in sorted(answer.value.frame.columns)]
    fields.append(pa.field("timestamp", pa.timestamp("ms", "UTC"), nullable=False))
    kind = pa.string() if isinstance(answer.value, Text) else pa.float64()
    fields.append(pa.field("value", kind))
    if _histograms(answer) is not None:
        fields.append(pa.field("histogram", _histogram_type()))
    notes = {"warnings": json.dumps(answer.warnings), "infos": json.dumps(answer.infos)}
    return pa.schema(fields, {"result_type": answer.result_type, **notes})


def record_batches(answer: Answer) -> Iterator["pa.RecordBatch"]:
    """The points of *answer*, series by series, in batches of about POINTS_PER_BATCH."""
    import pyarrow as pa

    schema = schema_of(answer)
    match answer.value:
        case Matrix() as matrix:
            yield from _of_matrix(answer, matrix, schema)
        case Raw() as raw:
            yield from _of_raw(raw, schema)
        case ScalarRow(values):
            times_ms = pa.array(answer.grid.times_ms(), pa.timestamp("ms", "UTC"))
            yield pa.RecordBatch.from_arrays([times_ms, pa.array(values)], schema=schema)
        case Text(value=text):
            time_ms = pa.array([answer.grid.start_ms], pa.timestamp("ms", "UTC"))
            yield pa.RecordBatch.from_arrays([time_ms, pa.array([text])], schema=schema)


def to_table(answer: Answer) -> "pa.Table":
    """All of *answer* as one table."""
    import pyarrow as pa

    return pa.Table.from_batches(record_batches(answer), schema_of(answer))


def _of_matrix(answer: Answer, matrix: Matrix, schema: "pa.Schema") -> Iterator["pa.RecordBatch"]:
    labels = _LabelColumns(matrix.frame)
    times_ms = answer.grid.times_ms()
    per_batch = max(1, POINTS_PER_BATCH // max(1, matrix.step_count))
    for start in range(0, matrix.series_count, per_batch):
        rows, steps = np.nonzero(matrix.present[start : start + per_batch])
        rows += start
        ids = None if matrix.histogram_ids is None else matrix.histogram_ids[rows, steps]
        yield _batch(
            schema,
            labels,
            rows,
            times_ms[steps],
            matrix.values[rows, steps],
            ids,
            matrix.histograms,
        )


def _of_raw(raw: Raw, schema: "pa.Schema") -> Iterator["pa.RecordBatch"]:
    labels, batch = _LabelColumns(raw.frame), raw.batch
    lengths = np.diff(batch.offsets)
    rows = np.repeat(np.arange(batch.series_count), lengths)
    at = np.arange(batch.sample_count) + np.repeat(batch.time_starts - batch.offsets[:-1], lengths)
    for start in range(0, batch.sample_count, POINTS_PER_BATCH):
        part = slice(start, start + POINTS_PER_BATCH)
        ids = None if batch.histogram_ids is None else batch.histogram_ids[part]
        times_ms = batch.times_ms[at[part]]
        yield _batch(
            schema, labels, rows[part], times_ms, batch.values[part], ids, batch.histograms
        )


class _LabelColumns:
    """The columns of a frame with their dictionaries, made once for all batches."""

    def __init__(self, frame: LabelFrame) -> None:
        import pyarrow as pa

        self._columns = []
        for name in sorted(frame.columns):
            codes, values = frame.columns[name]
            self._columns.append((codes, pa.array(values[1:], pa.string())))

    def of(self, rows: Int64s) -> "list[pa.DictionaryArray]":
        import pyarrow as pa

        return [
            pa.DictionaryArray.from_arrays(pa.array(codes[rows] - 1, mask=codes[rows] == 0), texts)
            for codes, texts in self._columns
        ]


def _batch(
    schema: "pa.Schema",
    labels: _LabelColumns,
    rows: Int64s,
    times_ms: Int64s,
    values: NDArray[np.float64],
    ids: Int64s | None,
    histograms: Histograms | None,
) -> "pa.RecordBatch":
    import pyarrow as pa

    mask = None if ids is None else ids >= 0
    columns: list[Any] = labels.of(rows)
    columns.append(pa.array(times_ms, pa.timestamp("ms", "UTC")))
    columns.append(pa.array(values, mask=mask))
    if ids is not None and histograms is not None:
        columns.append(_histogram_column(ids, histograms))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _histogram_type() -> "pa.DataType":
    import pyarrow as pa

    bucket = pa.struct([("lower", pa.float64()), ("upper", pa.float64()), ("count", pa.float64())])
    return pa.struct(
        [("count", pa.float64()), ("sum", pa.float64()), ("buckets", pa.list_(bucket))]
    )


def _histogram_column(ids: Int64s, histograms: Histograms) -> "pa.StructArray":
    """One struct a point, null where ``ids`` is -1; only buckets that hold something."""
    import pyarrow as pa

    is_float = ids < 0
    chosen = histograms.take(ids[~is_float])
    offsets, lowers, uppers, counts = bucket_columns(chosen)
    place = np.where(is_float, 0, np.cumsum(~is_float) - 1)
    bucket = pa.StructArray.from_arrays(
        [pa.array(lowers), pa.array(uppers), pa.array(counts)], ["lower", "upper", "count"]
    )
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), bucket)
    struct = pa.StructArray.from_arrays(
        [pa.array(chosen.counts), pa.array(chosen.sums), lists], ["count", "sum", "buckets"]
    )
    return struct.take(pa.array(place, mask=is_float))


def _histograms(answer: Answer) -> Histograms | None:
    match answer.value:
        case Matrix(histograms=histograms):
            return histograms
        case Raw(batch=batch):
            return batch.histograms
    return None


def _column_name(label: str) -> str:
    return f"exported_{label}" if label in _RESERVED else label

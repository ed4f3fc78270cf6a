"""Samples as rows of a table, a row a sample, and back; bit for bit.

Columns: one of texts for every label (null where a series lacks it), then ``timestamp`` (ms, UTC),
``value`` (float64, null for a histogram), ``start_timestamp`` (ms, UTC; null where unknown) and
``histogram`` (a struct; null for a float). A label of one of these names stands in the column
``exported_<name>``; the metadata ``label`` of a column is the true name of its label.

Tables of others are read, too: ``timestamp`` or ``time`` of any unit or as whole milliseconds, a
``value`` of any type of number, and labels as columns of texts or as one map ``labels``.
"""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.histogram import OFFSET, Histograms, offsets_of
from series.labels import Labels
from wire.errors import Malformed

TIME, VALUE, START, HISTOGRAM = "timestamp", "value", "start_timestamp", "histogram"
RESERVED = (TIME, VALUE, START, HISTOGRAM)
MAP = "labels"
_LABEL = b"label"
_MS = pa.timestamp("ms", "UTC")
_TEXT = pa.dictionary(pa.int32(), pa.string())
_BUCKET = pa.struct([("negative", pa.bool_()), ("index", pa.int32()), ("count", pa.float64())])
_NUMBERS = ("count", "sum", "zero_threshold", "zero_count")
_HISTOGRAM = pa.struct(
    [
        ("schema", pa.int32()),
        ("counter_reset_hint", pa.uint8()),
        *((name, pa.float64()) for name in _NUMBERS),
        ("buckets", pa.list_(_BUCKET)),
        ("custom_bounds", pa.list_(pa.float64())),
    ]
)
_MAX_MS = 1 << 62

Int64s = NDArray[np.int64]


def schema_of(names: Iterable[str]) -> pa.Schema:
    """The columns of samples whose labels have *names*."""
    taken = set(names)
    fields = []
    for name in sorted(taken):
        column = name
        while column in RESERVED or (column != name and column in taken):
            column = f"exported_{column}"
        taken.add(column)
        fields.append(pa.field(column, _TEXT, metadata={_LABEL: name.encode()}))
    return pa.schema(
        [
            *fields,
            pa.field(TIME, _MS, nullable=False),
            pa.field(VALUE, pa.float64()),
            pa.field(START, _MS),
            pa.field(HISTOGRAM, _HISTOGRAM),
        ]
    )


def label_columns(schema: pa.Schema) -> dict[str, str]:
    """column -> label, of the columns of *schema* that hold labels."""
    found = {}
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if field.name not in RESERVED and is_text:
            found[field.name] = (field.metadata or {}).get(_LABEL, field.name.encode()).decode()
    return found


def to_rows(frame: LabelFrame, batch: SeriesBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The samples of *batch*, whose rows *frame* labels, by ``schema_of``."""
    lengths = np.diff(batch.offsets)
    rows = np.repeat(np.arange(batch.series_count), lengths)
    at = np.arange(batch.sample_count) + np.repeat(batch.time_starts - batch.offsets[:-1], lengths)
    columns = []
    for name in label_columns(schema).values():
        column = frame.columns.get(name)
        if column is None:
            columns.append(pa.nulls(len(rows), _TEXT))
            continue
        codes = column.codes[rows]
        indices = pa.array(codes - 1, pa.int32(), mask=codes == 0)
        texts = pa.array(column.values[1:], pa.string())
        columns.append(pa.DictionaryArray.from_arrays(indices, texts))
    ids = batch.histogram_ids
    mask = None if ids is None else ids >= 0
    columns.append(pa.array(batch.times_ms[at], _MS))
    columns.append(pa.array(batch.values, pa.float64(), mask=mask))
    starts_ms = batch.starts_ms
    if starts_ms is None:
        columns.append(pa.nulls(len(rows), _MS))
    else:
        columns.append(pa.array(starts_ms, _MS, mask=starts_ms == 0))
    if ids is None or batch.histograms is None:
        columns.append(pa.nulls(len(rows), _HISTOGRAM))
    else:
        columns.append(_histogram_column(ids, batch.histograms))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _histogram_column(ids: Int64s, histograms: Histograms) -> pa.StructArray:
    is_float = ids < 0
    chosen = histograms.take(ids[~is_float])
    negative = chosen.positions < 0
    buckets = pa.StructArray.from_arrays(
        [
            pa.array(negative),
            pa.array(np.abs(chosen.positions) - OFFSET, pa.int32()),
            pa.array(chosen.bucket_counts),
        ],
        fields=list(_BUCKET),
    )
    numbers = (chosen.counts, chosen.sums, chosen.zero_thresholds, chosen.zero_counts)
    struct = pa.StructArray.from_arrays(
        [
            pa.array(chosen.schemas),
            pa.array(chosen.hints),
            *map(pa.array, numbers),
            pa.ListArray.from_arrays(pa.array(chosen.offsets, pa.int32()), buckets),
            pa.ListArray.from_arrays(
                pa.array(chosen.bound_offsets, pa.int32()), pa.array(chosen.bounds)
            ),
        ],
        fields=list(_HISTOGRAM),
    )
    place = np.where(is_float, 0, np.cumsum(~is_float) - 1)
    return struct.take(pa.array(place, pa.int64(), mask=is_float))


def check_schema(schema: pa.Schema) -> None:
    """Malformed where a table of *schema* cannot be samples; the text says why."""
    names = schema.names
    if (TIME in names) == ("time" in names and "time" not in label_columns(schema)):
        raise Malformed(f"the table needs one column {TIME!r} or 'time'; it has {names}")
    kind = schema.field(_time_name(schema)).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_integer(kind)):
        raise Malformed(
            f"column {_time_name(schema)!r} is of type {kind}: neither timestamps nor whole "
            "milliseconds"
        )
    if VALUE not in names:
        raise Malformed(f"the table needs a column {VALUE!r}; it has {names}")
    kind = schema.field(VALUE).type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise Malformed(f"column {VALUE!r} is of type {kind}: no numbers")
    if MAP in names and not pa.types.is_map(schema.field(MAP).type):
        raise Malformed(f"column {MAP!r} is of type {schema.field(MAP).type}: no map of texts")
    if HISTOGRAM in names and not schema.field(HISTOGRAM).type.equals(_HISTOGRAM):
        raise Malformed(f"column {HISTOGRAM!r} is not as exports write it")
    others = {*label_columns(schema), *RESERVED, "time", MAP}
    if unknown := [name for name in names if name not in others]:
        raise Malformed(f"columns {unknown} are neither texts nor known")


def _time_name(schema: pa.Schema) -> str:
    return TIME if TIME in schema.names else "time"


def from_rows(rows: pa.RecordBatch, labels: "LabelRuns") -> tuple[SeriesBatch, int]:
    """The samples of *rows*, and how many rows hold none: no time, or no value.

    Neighbouring rows of one series make up a row of the batch.
    """
    times_ms, has_time = _times_ms(rows.column(_time_name(rows.schema)))
    column = rows.column(VALUE)
    has_value = _valid(column)
    values = _floats(column)
    ids, histograms = _histograms(rows)
    good = has_time & (has_value if ids is None else has_value | (ids >= 0))
    bounds, keys = labels.of(rows)
    run = np.repeat(np.arange(len(keys)), np.diff(bounds))[good]
    lengths = np.bincount(run, minlength=len(keys))
    key_ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
    key_starts = key_ends - np.array([len(key) for key in keys], dtype=np.int64)
    filled = lengths > 0
    offsets = offsets_of(lengths[filled])
    batch = SeriesBatch(
        values=values[good],
        times_ms=times_ms[good],
        offsets=offsets,
        time_starts=offsets[:-1].copy(),
        keys=np.frombuffer(b"".join(keys), dtype=np.uint8),
        key_starts=key_starts[filled],
        key_ends=key_ends[filled],
        histogram_ids=None if ids is None else ids[good],
        histograms=histograms,
        starts_ms=_starts(rows, good),
    )
    return batch, int(np.count_nonzero(~good))


class LabelRuns:
    """Finds which neighbouring rows belong to one series; remembers keys between batches."""

    def __init__(self) -> None:
        self._keys: dict[tuple[tuple[str, str], ...], bytes] = {}

    def of(self, rows: pa.RecordBatch) -> tuple[Int64s, list[bytes]]:
        """int64[R + 1] where the runs begin and the last one ends, and the key of each run.

        Malformed where a series has one label twice.
        """
        count = rows.num_rows
        codes: list[tuple[str, Int64s, list[str]]] = []
        for column, label in label_columns(rows.schema).items():
            coded = rows.column(column)
            if not pa.types.is_dictionary(coded.type):
                coded = coded.dictionary_encode()
            numbers = pc.fill_null(coded.indices.cast(pa.int64()), -1).to_numpy()
            codes.append((label, numbers, coded.dictionary.to_pylist()))
        maps = rows.column(MAP).to_pylist() if MAP in rows.schema.names else None
        begins = np.zeros(count, dtype=np.bool_)
        begins[:1] = True
        for _, numbers, _ in codes:
            begins[1:] |= np.diff(numbers) != 0
        if maps is not None:
            begins[1:] |= [a != b for a, b in pairwise(maps)]
        firsts = np.flatnonzero(begins)
        keys = []
        for at in firsts.tolist():
            pairs = [
                (label, texts[numbers[at]]) for label, numbers, texts in codes if numbers[at] >= 0
            ]
            if maps is not None:
                pairs += [(str(name), str(text)) for name, text in maps[at] or ()]
            keys.append(self._key(tuple(pairs)))
        return np.append(firsts, count), keys

    def _key(self, pairs: tuple[tuple[str, str], ...]) -> bytes:
        key = self._keys.get(pairs)
        if key is None:
            try:
                key = Labels(pairs).key
            except ValueError as error:
                raise Malformed(str(error)) from None
            if len(self._keys) >= 1 << 17:
                self._keys.clear()
            self._keys[pairs] = key
        return key


def _valid(column: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False))


def _times_ms(column: pa.Array) -> tuple[Int64s, NDArray[np.bool_]]:
    """int64[n] times and which there are; those finer than a millisecond are rounded down."""
    valid = _valid(column)
    if pa.types.is_timestamp(column.type):
        scale = {"s": 1000, "ms": 1, "us": -1000, "ns": -1_000_000}[column.type.unit]
        raw = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
        if scale < 0:
            return raw // -scale, valid
        within = np.abs(raw) < _MAX_MS // scale
        return np.where(within, raw, 0) * scale, valid & within
    whole = pc.fill_null(column.cast(pa.int64(), safe=False), 0).to_numpy()
    return np.array(whole, dtype=np.int64), valid


def _floats(column: pa.Array) -> NDArray[np.float64]:
    """float64[n], 0 where there is none; the bits of floats stay."""
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.float64(), safe=False)
    return np.array(pc.fill_null(column, 0.0).to_numpy(), dtype=np.float64)


def _starts(rows: pa.RecordBatch, good: NDArray[np.bool_]) -> Int64s | None:
    if START not in rows.schema.names:
        return None
    starts_ms, valid = _times_ms(rows.column(START))
    starts_ms = np.where(valid, starts_ms, 0)[good]
    return starts_ms if starts_ms.any() else None


def _histograms(rows: pa.RecordBatch) -> tuple[Int64s | None, Histograms | None]:
    """Which histogram each row is (-1 for none), and these; None and None where there is none."""
    if HISTOGRAM not in rows.schema.names:
        return None, None
    column = rows.column(HISTOGRAM)
    valid = _valid(column)
    if not valid.any():
        return None, None
    structs = column.filter(pa.array(valid))
    fields: dict[str, pa.Array] = dict(
        zip([each.name for each in _HISTOGRAM], structs.flatten(), strict=True)
    )
    if any(one.null_count for one in fields.values()):
        raise Malformed("a histogram lacks one of its fields")
    offsets, buckets = _lists(fields["buckets"])
    bound_offsets, bounds = _lists(fields["custom_bounds"])
    negative, index, counts = (_plain(one) for one in buckets.flatten())
    far = index.astype(np.int64) + OFFSET
    totals, sums, zero_thresholds, zero_counts = (
        np.array(_plain(fields[name]), dtype=np.float64) for name in _NUMBERS
    )
    histograms = Histograms(
        np.array(_plain(fields["schema"]), dtype=np.int32),
        np.array(_plain(fields["counter_reset_hint"]), dtype=np.uint8),
        totals,
        sums,
        zero_thresholds,
        zero_counts,
        offsets,
        np.where(negative, -far, far).astype(np.int32),
        np.array(counts, dtype=np.float64),
        bound_offsets,
        np.array(_plain(bounds), dtype=np.float64),
    )
    try:
        histograms.check()
    except AssertionError:
        raise Malformed("the buckets of a histogram do not ascend") from None
    ids = np.where(valid, np.cumsum(valid) - 1, -1)
    return ids, histograms


def _lists(column: pa.ListArray) -> tuple[Int64s, pa.Array]:
    """The offsets from 0 of a column of lists, and what they hold end to end."""
    lengths = pc.list_value_length(column).to_numpy()
    return offsets_of(lengths.astype(np.int64)), column.flatten()


def _plain(column: pa.Array) -> NDArray[np.generic]:
    return np.asarray(column.to_numpy(zero_copy_only=False))

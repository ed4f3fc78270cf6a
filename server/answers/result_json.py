"""The JSON of query results, in slices, with Go's number formatting.

Source: util/jsonutil and promql/value.go of Prometheus 3.14. The values of series are ``strconv 'f'
-1``, ``'e'`` below 1e-6 and from 1e21 on, their times unix seconds with three decimals or none.
Scalars and texts take another way there: always ``'f'``, times with as few decimals as will do.
"""

import math
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.frame import KEPT_ROWS, LabelFrame
from series.histogram import Histograms
from server.answers import json_kernels as kernels
from server.answers.mixed_json import Points, mixed_slices
from server.http import dumps

SLICE_POINTS = 16_000
"""Points a slice, of about half a megabyte: it stays in the processor's cache until it is sent."""

Slice = bytes | memoryview
"""A part of an answer; where it is long it has not been copied to bytes of its own."""

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]


FEW = 8
"""So many points of a vector are written without kernels, whose preparing would take longer."""


def format_value(value: float) -> str:
    """*value* as a series': what ``number_helpers.put_number`` makes of it."""
    magnitude = abs(value)
    if 1e-4 <= magnitude < 1e16 or value == 0:
        return repr(value).removesuffix(".0")
    if 1e-6 <= magnitude < 1e21 or not math.isfinite(value):
        return format_scalar(value)
    return repr(value)


def format_scalar(value: float) -> str:
    """*value* as a scalar's: the shortest digits that read back, never with an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return format(Decimal(repr(float(value)).removesuffix(".0")), "f")


def format_time(time_ms: int) -> str:
    """*time_ms* as unix seconds with as few decimals as will do: a scalar's or a text's."""
    whole, rest = divmod(abs(time_ms), 1000)
    sign = "-" if time_ms < 0 else ""
    return f"{sign}{whole}" + (f".{rest:03}".rstrip("0") if rest else "")


def point(time_ms: int, value: str) -> bytes:
    """``[time,"value"]`` of a scalar or string result."""
    return b"[%b,%b]" % (format_time(time_ms).encode(), dumps(value))


def vector(
    frame: LabelFrame,
    times_ms: Numbers,
    values: Values,
    ids: Numbers | None = None,
    histograms: Histograms | None = None,
) -> Iterator[Slice]:
    """Slices of the JSON array of an instant vector.

    *times_ms* int64[S] and *values* float64[S] are those of the S series of *frame*, *ids*
    int64[S] says which of *histograms* a value is (-1: a float).
    """
    rows = np.arange(len(values), dtype=np.int64)
    prefixes = _prefixes(times_ms)
    yield b"["
    if ids is not None and histograms is not None and len(rows):
        points = Points(rows, rows, values, ids, histograms)
        yield from mixed_slices(frame, points, prefixes, single=True)
        yield b"]"
        return
    column, present = values.reshape(-1, 1), np.ones((len(values), 1), dtype=np.bool_)
    for start in range(0, len(values), SLICE_POINTS):
        part = rows[start : start + SLICE_POINTS]
        heads = _heads(frame if len(part) == frame.size else frame.take(part), b'"value":')
        yield _written(
            column, present, part, heads, prefixes, b"}", times_a_row=1, begins=start == 0
        )
    yield b"]"


def few(frame: LabelFrame, time_ms: int, values: list[float]) -> bytes:
    """As ``vector`` for up to FEW series, which are all of one time."""
    time = _series_time(time_ms)
    points = zip(_head_texts(frame, b'"value":'), values, strict=True)
    return b"[%b]" % b",".join(
        [b'%b[%b,"%b"]}' % (head, time, format_value(value).encode()) for head, value in points]
    )


def _series_time(time_ms: int) -> bytes:
    """Unix seconds with three decimals or none: the time of a series' point."""
    whole, rest = divmod(abs(time_ms), 1000)
    sign = b"-" if time_ms < 0 else b""
    return b"%b%d.%03d" % (sign, whole, rest) if rest else b"%b%d" % (sign, whole)


def matrix(
    frame: LabelFrame,
    times_ms: Numbers,
    values: Values,
    present: NDArray[np.bool_],
    ids: Numbers | None = None,
    histograms: Histograms | None = None,
) -> Iterator[Slice]:
    """Slices of the JSON array of a range query's answer.

    *times_ms* int64[T] are the steps, *values* and *present* are [S, T], and *ids* [S, T] says
    which of *histograms* a value is (-1: a float); series without any present point are left out.
    """
    prefixes = _prefixes(times_ms)
    is_full = present.size > 0 and bool(present.all())
    filled = np.arange(len(present)) if is_full else np.flatnonzero(present.any(axis=1))
    values, present = np.ascontiguousarray(values), np.ascontiguousarray(present)
    rows_per_slice = max(1, SLICE_POINTS // max(len(times_ms), 1))
    yield b"["
    for start in range(0, len(filled), rows_per_slice):
        rows = filled[start : start + rows_per_slice]
        if ids is not None and histograms is not None:
            mask = present[rows]
            of, steps = np.nonzero(mask)
            points = Points(of, steps, values[rows][mask], ids[rows][mask], histograms)
            comma = b"," if start else b""
            yield from mixed_slices(frame.take(rows), points, prefixes, single=False, after=comma)
            continue
        heads = _heads_of(frame, rows, b'"values":[')
        yield _written(values, present, rows, heads, prefixes, b"]}", begins=start == 0)
    yield b"]"


def samples(frame: LabelFrame, batch: SeriesBatch) -> Iterator[Slice]:
    """Slices of the JSON array of raw samples; the rows of *batch* are the series of *frame*.

    Series without samples are left out.
    """
    yield b"["
    for number, rows in enumerate(_runs(np.diff(batch.offsets))):
        if batch.histogram_ids is not None and batch.histograms is not None:
            yield from _mixed_samples(frame, batch, rows, begins=number == 0)
        elif len(rows) == 1:
            yield from _long_row(frame, batch, int(rows[0]), begins=number == 0)
        else:
            yield _rows_of_samples(frame, batch, rows, begins=number == 0)
    yield b"]"


def _runs(lengths: Numbers) -> Iterator[Numbers]:
    """The rows that have samples, in order: those of one slice at once, or a longer one alone."""
    run: list[int] = []
    longest = 0
    for row, length in enumerate(lengths.tolist()):
        if not length:
            continue
        longest = max(longest, length)
        if run and (len(run) + 1) * longest > SLICE_POINTS:
            yield np.array(run)
            run, longest = [], length
        run.append(row)
    if run:
        yield np.array(run)


def _rows_of_samples(
    frame: LabelFrame, batch: SeriesBatch, rows: Numbers, *, begins: bool
) -> memoryview:
    """Whole *rows*, side by side in a matrix that is as wide as the longest."""
    starts = batch.offsets[rows]
    lengths = batch.offsets[rows + 1] - starts
    steps = np.arange(lengths.max())
    present = steps < lengths[:, None]
    values, times_ms = np.zeros(present.shape), np.zeros(present.shape, dtype=np.int64)
    values[present] = batch.values[(starts[:, None] + steps)[present]]
    times_ms[present] = batch.times_ms[(batch.time_starts[rows, None] + steps)[present]]
    return _written(
        values,
        present,
        np.arange(len(rows)),
        _heads_of(frame, rows, b'"values":['),
        _prefixes(times_ms.reshape(-1)),
        b"]}",
        begins=begins,
        times_a_row=len(steps),
    )


def _long_row(
    frame: LabelFrame, batch: SeriesBatch, row: int, *, begins: bool
) -> Iterator[memoryview]:
    """One row in as many slices as it needs."""
    times_ms, values = batch.row_times_ms(row), batch.row_values(row)
    heads, starts = _heads(frame.take(np.array([row])), b'"values":[')
    for start in range(0, len(values), SLICE_POINTS):
        part = values[start : start + SLICE_POINTS].reshape(1, -1)
        yield _written(
            part,
            np.ones(part.shape, dtype=np.bool_),
            np.zeros(1, dtype=np.int64),
            (heads, starts if start == 0 else np.zeros_like(starts)),
            _prefixes(times_ms[start : start + SLICE_POINTS]),
            b"]}" if start + SLICE_POINTS >= len(values) else b"",
            begins=begins and start == 0,
        )


def _mixed_samples(
    frame: LabelFrame, batch: SeriesBatch, rows: Numbers, *, begins: bool
) -> Iterator[Slice]:
    """*rows* of which some samples are histograms."""
    assert batch.histogram_ids is not None and batch.histograms is not None
    for row in rows.tolist():
        values = batch.row_values(row)
        ids = batch.histogram_ids[batch.offsets[row] : batch.offsets[row + 1]]
        at = np.arange(len(values))
        points = Points(np.full(len(values), row), at, values, ids, batch.histograms)
        comma, begins = b"" if begins else b",", False
        prefixes = _prefixes(batch.row_times_ms(row))
        yield from mixed_slices(frame, points, prefixes, single=False, after=comma)


def _prefixes(times_ms: Numbers) -> tuple[NDArray[np.uint8], Numbers]:
    out = np.empty(len(times_ms) * kernels.TIME_ROOM + kernels.SPARE, dtype=np.uint8)
    starts = np.empty(len(times_ms) + 1, dtype=np.int64)
    kernels.time_prefixes(np.ascontiguousarray(times_ms), out, starts)
    return out, starts


def _heads_of(
    frame: LabelFrame, rows: Numbers, opening: bytes
) -> tuple[NDArray[np.uint8], Numbers]:
    """As ``_heads``, of some ascending *rows*."""
    begin, end = int(rows[0]), int(rows[-1]) + 1
    if frame.size > KEPT_ROWS or end - begin != len(rows):
        return _heads(frame.take(rows), opening)
    heads, starts = _heads(frame, opening)
    return heads, starts[begin : end + 1]


def _heads(frame: LabelFrame, opening: bytes) -> tuple[NDArray[np.uint8], Numbers]:
    """(arena, starts int64[S + 1]) of ``{"metric":{...},`` and *opening* for every series."""
    found: tuple[NDArray[np.uint8], Numbers] | None = frame.memo.get((opening, "joined"))
    if found is None:
        heads = _head_texts(frame, opening)
        starts = np.zeros(len(heads) + 1, dtype=np.int64)
        np.cumsum([len(head) for head in heads], out=starts[1:])
        joined = bytearray(b"".join([*heads, bytes(kernels.SPARE)]))
        found = np.frombuffer(joined, dtype=np.uint8), starts
        if frame.size <= KEPT_ROWS:
            frame.memo[opening, "joined"] = found
    return found


def _head_texts(frame: LabelFrame, opening: bytes) -> list[bytes]:
    texts: list[bytes] | None = frame.memo.get(opening)
    if texts is None:
        texts = [b'{"metric":%b,%b' % (dumps(labels), opening) for labels in frame.as_dicts()]
        if frame.size <= FEW:
            frame.memo[opening] = texts
    return texts


def _written(
    values: Values,
    present: NDArray[np.bool_],
    rows: Numbers,
    heads: tuple[NDArray[np.uint8], Numbers],
    prefixes: tuple[NDArray[np.uint8], Numbers],
    tail: bytes,
    *,
    begins: bool,
    times_a_row: int = 0,
) -> memoryview:
    """The series of *rows*, each behind a comma but for the first where the array *begins*."""
    points = len(rows) * values.shape[1]
    room = int(heads[1][-1]) + len(rows) * (len(tail) + 1) + points * kernels.POINT_ROOM
    out = np.empty(room + kernels.SPARE, dtype=np.uint8)
    written = kernels.write_series(
        values,
        present,
        rows,
        times_a_row,
        *heads,
        *prefixes,
        np.frombuffer(bytearray(tail), dtype=np.uint8),
        out,
    )
    return out.data[int(begins) : written]

"""Samples of every kind for tests: what they hold, as plain values that compare bit for bit."""

import struct
from collections.abc import Iterable
from dataclasses import astuple, replace
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from series.batch import STALE_NAN, SeriesBatch, build_batch
from series.histogram import CUSTOM_SCHEMA, OFFSET, Histogram
from series.labels import Labels


class Started(NamedTuple):
    """A sample with a known start time."""

    value: float | Histogram
    start_ms: int


Value = float | Histogram | Started
Content = int | tuple[object, ...]


def bits_of(value: float) -> int:
    found: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return found


def content(value: Value) -> Content:
    """The bits of a float; of other samples a tuple of all that there is to them."""
    if isinstance(value, Started):
        return (value.start_ms, content(value.value)) if value.start_ms else content(value.value)
    if isinstance(value, Histogram):
        return tuple(map(_plain, astuple(value)))
    return bits_of(value)


def _plain(field: object) -> object:
    if isinstance(field, float):
        return bits_of(field)
    return tuple(map(_plain, field)) if isinstance(field, tuple) else field


def build(rows: Iterable[tuple[Labels, list[int], list[Value]]]) -> SeriesBatch:
    """As ``build_batch``, of samples that may have start times."""
    rows = list(rows)
    plain = [
        (labels, times, [one.value if isinstance(one, Started) else one for one in values])
        for labels, times, values in rows
    ]
    starts_ms = [
        one.start_ms if isinstance(one, Started) else 0 for _, _, values in rows for one in values
    ]
    batch = build_batch(plain)
    return (
        replace(batch, starts_ms=np.array(starts_ms, dtype=np.int64)) if any(starts_ms) else batch
    )


def contents(batch: SeriesBatch, row: int) -> dict[int, Content]:
    """The samples of one row by their time."""
    found: dict[int, Content] = {}
    values = batch.row_values(row).tolist()
    for at, (time_ms, value) in enumerate(
        zip(batch.row_times_ms(row).tolist(), values, strict=True), int(batch.offsets[row])
    ):
        sample: float | Histogram = value
        if batch.histogram_ids is not None and batch.histogram_ids[at] >= 0:
            assert batch.histograms is not None
            sample = batch.histograms.one(int(batch.histogram_ids[at]))
        start_ms = 0 if batch.starts_ms is None else int(batch.starts_ms[at])
        found[time_ms] = content(Started(sample, start_ms))
    return found


def ticket_float(number: int) -> float:
    """A float whose bits are those of a ticket."""
    found: float = struct.unpack("<d", struct.pack("<Q", (0x7FFF << 48) + number))[0]
    return found


_counts = st.sampled_from([0.0, -0.0, 1.0, 2.0, 1e9, 0.5])
_sums = st.sampled_from([0.0, -0.0, 12.25, float("nan"), float("inf")])
_indexes = st.lists(st.integers(-40, 40), unique=True, max_size=5)


def _exponential(
    schema: int, hint: int, counts: tuple[float, float, float], indexes: list[int]
) -> Histogram:
    positions = sorted((OFFSET if index >= 0 else -OFFSET) + index for index in indexes)
    return Histogram(
        schema=schema,
        count=counts[0],
        sum=counts[1],
        zero_threshold=1e-128,
        zero_count=counts[2],
        buckets=tuple((position, counts[0] + at) for at, position in enumerate(positions)),
        hint=hint,
    )


def _custom(count: float, total: float, bounds: list[float]) -> Histogram:
    rising = tuple(sorted(bounds))
    buckets = tuple((OFFSET + at, count + at) for at in range(0, len(rising) + 1, 2))
    return Histogram(schema=CUSTOM_SCHEMA, count=count, sum=total, buckets=buckets, bounds=rising)


exponential_histograms = st.builds(
    _exponential,
    st.integers(-4, 8),
    st.integers(0, 3),
    st.tuples(_counts, _sums, _counts),
    _indexes,
)
custom_histograms = st.builds(
    _custom, _counts, _sums, st.lists(st.sampled_from([0.5, 1.0, 2.5, 10.0]), unique=True)
)
histograms = st.one_of(exponential_histograms, custom_histograms)
"""Few enough distinct ones that duplicates and runs of one layout are found."""

floats = st.sampled_from([1.0, 2.0, float("nan"), STALE_NAN, -0.0, ticket_float(0)])
values = st.one_of(
    floats,
    histograms,
    st.builds(Started, st.one_of(floats, histograms), st.sampled_from([-5, 1, 10**12, 2**53])),
)

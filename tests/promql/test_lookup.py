"""Instant selectors against a plain search."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from promql.lookup import lookup, lookup_row
from series.batch import STALE_NAN, STALE_NAN_BITS, build_batch
from series.frame import LabelFrame
from series.labels import Labels
from tests.examples import examples

LOOKBACK_MS = 5_000
values = st.sampled_from([1.0, 2.0, -0.0, math.nan, math.inf, STALE_NAN])
rows = st.lists(
    st.dictionaries(st.integers(0, 30_000), values, max_size=10).map(lambda d: sorted(d.items())),
    min_size=1,
    max_size=4,
)


def bits(value: float) -> int:
    return int(np.float64(value).view(np.uint64))


@examples(100)
@given(rows, st.integers(1, 4_000), st.booleans())
def test_lookup_finds_the_newest_sample_unless_it_is_stale(
    series: list[list[tuple[int, float]]], step_ms: int, timed: bool
) -> None:
    """The sample lies in (t - lookback, t]; its bits are kept; a stale marker hides the series."""
    batch = build_batch([(Labels(), [t for t, _ in row], [v for _, v in row]) for row in series])
    ends_ms = np.arange(12, dtype=np.int64) * step_ms
    frame = LabelFrame.empty_labels(len(series))
    matrix = lookup(frame, batch, ends_ms, LOOKBACK_MS, timed=timed)
    matrix.check()
    assert (matrix.times_ms is not None) == timed
    for r, row in enumerate(series):
        for k, end in enumerate(ends_ms.tolist()):
            seen = [(t, v) for t, v in row if end - LOOKBACK_MS < t <= end]
            there = bool(seen) and bits(seen[-1][1]) != STALE_NAN_BITS
            assert matrix.present[r, k] == there
            if there:
                assert bits(matrix.values[r, k]) == bits(seen[-1][1])
                if matrix.times_ms is not None:
                    assert matrix.times_ms[r, k] == seen[-1][0]


def test_a_sample_exactly_one_lookback_old_is_gone() -> None:
    """The lookback is open on the left."""
    batch = build_batch([(Labels(), [1_000], [4.0])])
    ends_ms = np.array([1_000, 5_999, 6_000], dtype=np.int64)
    found = lookup(LabelFrame.empty_labels(1), batch, ends_ms, LOOKBACK_MS)
    assert found.present.tolist() == [[True, True, False]]


dense = st.dictionaries(st.integers(0, 20), values, max_size=12).map(lambda d: sorted(d.items()))


@examples(200)
@given(dense, st.integers(0, 25), st.integers(1, 6))
def test_a_single_row_is_looked_up_alike_without_kernels(
    row: list[tuple[int, float]], end_ms: int, lookback_ms: int
) -> None:
    """Also where the batch has neighbours outside the lookback and after the instant."""
    batch = build_batch([(Labels(), [t for t, _ in row], [v for _, v in row])])
    frame = LabelFrame.empty_labels(1)
    wanted = lookup(frame, batch, np.array([end_ms]), lookback_ms)
    found = lookup_row(frame, batch, end_ms, lookback_ms)
    assert (found is not None) == bool(wanted.present[0, 0])
    if found is not None:
        found.check()
        assert found.present.all() and bits(found.values[0, 0]) == bits(wanted.values[0, 0])

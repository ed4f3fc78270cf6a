"""Cutting rows into slabs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.slabs import (
    HISTOGRAM_SLAB_BYTES,
    LITTLE_CELLS,
    SLAB_CELLS,
    SLAB_MULTIPLE,
    Slabs,
)
from series.batch import SeriesBatch, build_batch
from series.histogram import Histogram
from series.labels import Labels


def lengths(slabs: Slabs) -> list[int]:
    """The rows of each slab, which together are all, in order."""
    cuts = list(slabs.slices())
    assert [cut.start for cut in cuts] == [0, *(cut.stop for cut in cuts[:-1])][: len(cuts)]
    assert sum(cut.stop - cut.start for cut in cuts) == slabs.size
    return [cut.stop - cut.start for cut in cuts]


@given(st.integers(0, 20_000), st.integers(1, 3 * SLAB_CELLS), st.none() | st.integers(1, 500))
def test_slabs_are_all_rows_in_bounds(size: int, row_cells: int, rows: int | None) -> None:
    """None is far above what a slab aims at, unless it is a single row."""
    size = min(size, 500 * SLAB_CELLS // row_cells + 1)  # so that the list stays short
    for length in lengths(Slabs(size, row_cells, rows)):
        assert length >= 1
        assert length <= rows if rows else length == 1 or length * row_cells <= 2 * SLAB_CELLS


@given(st.integers(LITTLE_CELLS + 5_000, 6 * SLAB_CELLS), st.integers(1_000, 5_000))
def test_two_threads_have_equal_shares_of_a_few(cells: int, row_cells: int) -> None:
    """After a small first one slabs are even in number and about equal, of whole multiples."""
    first, *others, last = lengths(Slabs(cells // row_cells, row_cells))
    assert first == SLAB_MULTIPLE
    assert len(others) % 2 == 1 and len(set(others)) == 1 and others[0] % SLAB_MULTIPLE == 0
    assert 0 <= others[0] - last < SLAB_MULTIPLE * (len(others) + 1)


@given(
    st.integers(1, 5_000),
    st.integers(1, SLAB_CELLS // 64),
    st.lists(st.integers(1, 200), min_size=1, max_size=200),
)
def test_slabs_end_where_they_had_better_end(size: int, row_cells: int, gaps: list[int]) -> None:
    """Unless that is far away; small stretches are never cut."""
    ends = np.cumsum(gaps)
    ends = np.append(ends[ends < size], size)
    bounds = np.cumsum([0, *lengths(Slabs(size, row_cells, ends=ends))])
    whole = np.isin(bounds[1:], ends)
    assert whole.all() or np.diff(ends, prepend=0).max() > 2 * SLAB_MULTIPLE


def test_little_is_one_slab() -> None:
    """It is not worth another thread."""
    slabs = Slabs(100, LITTLE_CELLS // 100)
    assert slabs.is_little and lengths(slabs) == [100]
    assert not replace(slabs, size=101).is_little


def histograms(samples: int, buckets: int) -> SeriesBatch:
    """One row of native histograms."""
    one = Histogram(count=float(buckets), buckets=tuple((at, 1.0) for at in range(buckets)))
    return build_batch([(Labels([("a", "b")]), range(samples), [one] * samples)])


@pytest.mark.parametrize("samples", [10, 1_000])
def test_large_histograms_make_small_slabs(samples: int) -> None:
    """All after the first, before which nobody knows how large they are."""
    batch = histograms(samples, 100)
    assert batch.histograms is not None
    slabs = Slabs(100_000, samples)
    cuts = slabs.slices()
    assert next(cuts) == slice(0, SLAB_MULTIPLE)
    slabs.learn(batch)
    rows = {cut.stop - cut.start for cut in cuts}
    assert max(rows) * batch.histograms.size_bytes <= 1.5 * HISTOGRAM_SLAB_BYTES
    assert len(rows) <= 2

"""Histograms are gathered from pools by their numbers, each to the place it is given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from series import histogram_kernels
from series.histogram import Histogram, Histograms, build_histograms, gather
from tests.examples import examples
from tests.tsdb.contents import content, histograms

_pools = st.lists(st.lists(histograms, min_size=1, max_size=6), min_size=1, max_size=4)


def _bits(found: Histograms) -> list[object]:
    found.check()
    return [content(found.one(at)) for at in range(found.size)]


@examples(80)
@given(_pools, st.data())
def test_gathered_histograms_are_those_of_the_pools(
    pools: list[list[Histogram]], data: st.DataObject
) -> None:
    """Bit for bit, in the places they were given; what a pool has may be named twice or never."""
    pairs = [(pool, h) for pool, rows in enumerate(pools) for h in range(len(rows))]
    chosen = data.draw(st.lists(st.sampled_from(pairs), max_size=20))
    places = data.draw(st.permutations(range(len(chosen))))
    parts = []
    for pool, rows in enumerate(pools):
        mine = [k for k, (owner, _) in enumerate(chosen) if owner == pool]
        ids = np.array([chosen[k][1] for k in mine], dtype=np.int64)
        to = np.array([places[k] for k in mine], dtype=np.int64)
        parts.append((build_histograms(rows), ids, to))
    expected: list[object] = [None] * len(chosen)
    for (pool, h), place in zip(chosen, places, strict=True):
        expected[place] = content(pools[pool][h])

    assert _bits(gather(parts, len(chosen))) == expected


@examples(60)
@given(st.lists(histograms, min_size=1, max_size=8), st.data())
def test_taken_histograms_stand_in_the_order_of_their_numbers(
    rows: list[Histogram], data: st.DataObject
) -> None:
    """Whatever the strides of these are, and where columns may not be written to."""
    ids = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    pool = build_histograms(rows)
    for column in pool.columns:
        column.flags.writeable = False
    spread = np.repeat(np.array(ids, dtype=np.int64), 2)[::2]

    assert _bits(pool.take(spread)) == [content(rows[h]) for h in ids]


@pytest.mark.parametrize("wrong", [-1, 2, 2**40])
def test_a_number_without_a_histogram_is_an_error(wrong: int) -> None:
    """Nothing outside of the pool is read."""
    pool = build_histograms([Histogram(), Histogram()])
    with pytest.raises(IndexError, match="no such histogram"):
        pool.take(np.array([0, wrong]))


@examples(40)
@given(st.lists(histograms, min_size=1, max_size=8))
def test_lengths_are_measured_at_their_places(rows: list[Histogram]) -> None:
    """A place beyond the answer is told, like a histogram beyond the pool."""
    pool = build_histograms(rows)
    ids = np.arange(len(rows))
    lengths, bound_lengths = np.zeros((2, len(rows)), dtype=np.int64)
    backwards = ids[::-1].copy()

    def measured(places: NDArray[np.int64]) -> bool:
        columns = pool.offsets, pool.bound_offsets
        return histogram_kernels.measure(*columns, ids, places, lengths, bound_lengths)

    assert measured(backwards)
    assert lengths.tolist() == [len(one.buckets) for one in reversed(rows)]
    assert bound_lengths.tolist() == [len(one.bounds) for one in reversed(rows)]
    assert not measured(ids + 1)

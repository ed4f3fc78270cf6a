"""Arithmetic with columns of native histograms against single objects in plain Python."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from promql.histogram_helpers import FRACTIONS
from promql.histogram_text import histogram_text
from promql.histograms import (
    combine,
    compact,
    detect_reset,
    equal,
    reduce_resolution,
    sample_weights,
    scale,
)
from series.histogram import CUSTOM_SCHEMA, OFFSET, Histogram, build_histograms
from tests.examples import examples
from tests.promql.native_strategies import histograms
from tests.promql.native_twin import Incompatible, Twin, combined, conflict, is_reset

PAIRS = st.lists(st.tuples(histograms, histograms), min_size=1, max_size=4)


@examples(150)
@given(PAIRS, st.booleans())
def test_sums_and_differences_are_those_of_single_histograms(
    pairs: list[tuple[Histogram, Histogram]], subtract: bool
) -> None:
    """Schemas, zero buckets, custom bounds and hints are reconciled, and it is said how."""
    left, right = (build_histograms(side) for side in zip(*pairs, strict=True))
    ids = np.arange(len(pairs))
    found = combine(left, ids, right, ids, subtract=subtract)
    found.histograms.check()
    for at, pair in enumerate(pairs):
        a, b = map(Twin.of, pair)
        try:
            want = combined(a, b, -1.0 if subtract else 1.0)
        except Incompatible:
            assert not found.ok[at]
            continue
        assert found.ok[at]
        assert Twin.of(found.histograms.one(at)).key() == want.key()
        assert found.reconciled[at] == (a.bounds != b.bounds)
        assert found.conflict[at] == conflict(a.hint, b.hint)


@examples(150)
@given(PAIRS)
def test_resets_are_seen_as_between_single_histograms(
    pairs: list[tuple[Histogram, Histogram]],
) -> None:
    """Hints, falling counts, finer schemas, narrower zero buckets, vanished buckets."""
    left, right = (build_histograms(side) for side in zip(*pairs, strict=True))
    ids = np.arange(len(pairs))
    found = detect_reset(left, ids, right, ids)
    assert found.tolist() == [is_reset(*map(Twin.of, pair)) for pair in pairs]


@examples(60)
@given(st.lists(histograms, min_size=1, max_size=4), st.sampled_from([-1, 0]))
def test_resolution_is_reduced_by_merging_buckets(found: list[Histogram], schema: int) -> None:
    """A coarser schema takes all buckets of the finer one; custom buckets stay."""
    columns = build_histograms(found)
    targets = np.minimum(columns.schemas, schema).astype(np.int64)
    reduced = reduce_resolution(columns, targets)
    reduced.check()
    for at, h in enumerate(found):
        twin = Twin.of(h)
        want = twin if twin.custom else twin.reduced(min(h.schema, schema))
        assert Twin.of(reduced.one(at)).key() == want.key()


@examples(60)
@given(st.lists(histograms, min_size=1, max_size=4), st.sampled_from([0.5, 2.0, -1.0]))
def test_scaling_takes_all_counts(found: list[Histogram], factor: float) -> None:
    """Multiplied and divided alike, and a negative factor makes a gauge."""
    columns = build_histograms(found)
    factors = np.full(len(found), factor)
    for divide, by in ((False, factor), (True, 1 / factor)):
        scaled = scale(columns, factors, divide=divide)
        for at, h in enumerate(found):
            assert Twin.of(scaled.one(at)).key() == Twin.of(h).scaled(by).key()


def test_division_by_zero_leaves_no_bucket() -> None:
    """Counts become infinite or NaN, as floats do."""
    h = Histogram(count=3.0, sum=0.0, buckets=((OFFSET + 1, 3.0),))
    gone = scale(build_histograms([h]), np.zeros(1), divide=True).one(0)
    assert gone.count == math.inf and math.isnan(gone.sum) and gone.buckets == ()


@examples(60)
@given(st.lists(histograms, min_size=1, max_size=4))
def test_compacting_drops_only_empty_buckets(found: list[Histogram]) -> None:
    """What can be seen of a histogram stays."""
    columns = compact(build_histograms(found))
    columns.check()
    assert (columns.bucket_counts != 0).all()
    for at, h in enumerate(found):
        assert Twin.of(columns.one(at)).key() == Twin.of(h).key()


@examples(60)
@given(PAIRS)
def test_equality_is_that_of_all_fields_but_the_hint(
    pairs: list[tuple[Histogram, Histogram]],
) -> None:
    """A histogram equals itself, and another one only where every column agrees."""
    left, right = (build_histograms(side) for side in zip(*pairs, strict=True))
    ids = np.arange(len(pairs))
    assert equal(left, ids, left, ids).all()
    want = [
        all(getattr(a, name) == getattr(b, name) for name in Histogram.__slots__ if name != "hint")
        for a, b in pairs
    ]
    assert equal(left, ids, right, ids).tolist() == want


def test_equality_looks_at_bits() -> None:
    """NaN equals NaN, and the zeros of either sign differ."""
    columns = build_histograms(
        [Histogram(sum=math.nan), Histogram(sum=math.nan), Histogram(sum=0.0), Histogram(sum=-0.0)]
    )
    a, b = np.array([0, 2]), np.array([1, 3])
    assert equal(columns, a, columns, b).tolist() == [True, False]


def test_bounds_within_a_power_of_two_are_those_of_prometheus() -> None:
    """The table differs from the correctly rounded powers in known places only."""
    table = FRACTIONS.tolist()
    assert table[0] == 0.5 and table[128] == 0.7071067811865475
    assert table[1] == 0.5013556375251013 and table[200] == 0.8593096490612387
    assert all(math.isclose(v, 2 ** (i / 256 - 1), rel_tol=1e-15) for i, v in enumerate(table))


def test_a_histogram_weighs_as_much_as_its_memory_in_prometheus() -> None:
    """168 bytes, eight a span, bucket and bound, eight for the time; sixteen are a sample."""
    columns = build_histograms(
        [
            Histogram(),
            Histogram(buckets=((-(OFFSET + 1), 1.0), (OFFSET + 1, 1.0), (OFFSET + 2, 1.0))),
            Histogram(schema=CUSTOM_SCHEMA, bounds=(1.0, 2.0), buckets=((OFFSET, 1.0),)),
        ]
    )
    assert sample_weights(columns).tolist() == [11, (176 + 8 * 5) // 16, (176 + 8 * 4) // 16]


def test_text_shows_buckets_in_ascending_order() -> None:
    """Negative buckets, the zero bucket, positive ones; empty ones are left out."""
    h = Histogram(
        count=7.0,
        sum=2.5,
        zero_threshold=0.001,
        zero_count=2.0,
        buckets=((-(OFFSET + 1), 1.0), (OFFSET, 0.0), (OFFSET + 1, 4.0)),
    )
    assert histogram_text(h) == "{count:7, sum:2.5, [-2,-1):1, [-0.001,0.001]:2, (1,2]:4}"
    native = Histogram(
        schema=CUSTOM_SCHEMA, count=3.0, bounds=(5.0,), buckets=((OFFSET, 1.0), (OFFSET + 1, 2.0))
    )
    assert histogram_text(native) == "{count:3, sum:0, [-Inf,5]:1, (5,+Inf]:2}"

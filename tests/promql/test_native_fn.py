"""Functions of native histograms: kernels and twin agree; floats, notes and mixed vectors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promql import native_kernels as kernels
from promql.histogram_buckets import Buckets
from series.histogram import CUSTOM_SCHEMA, OFFSET, Histogram, build_histograms
from tests import slow_histograms as slow
from tests.histogram_strategies import histograms
from tests.promqltest_histograms import parse_histogram

QUANTILES = st.one_of(
    st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0, -0.1, 1.5, math.nan, 0.25, 0.75])
)
BOUNDS = st.one_of(
    st.floats(-50, 50), st.sampled_from([0.0, 1.0, -1.0, 0.5, math.inf, -math.inf, math.nan])
)
SETTINGS = settings(max_examples=400, deadline=None)


def close(a: float, b: float) -> bool:
    """Equal but for the order of operations."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


@given(histograms())
@SETTINGS
def test_buckets_are_listed_as_the_twin_lists_them(h: Histogram) -> None:
    """Bounds, counts and rules of all buckets that count anything, in ascending order."""
    wanted = [b for b in slow.all_buckets(h) if b.count]
    buckets = Buckets.of(build_histograms([h]))
    assert buckets.lowers.tolist() == [b.lower for b in wanted]
    assert buckets.uppers.tolist() == [b.upper for b in wanted]
    assert buckets.counts.tolist() == [b.count for b in wanted]
    rules = {(False, True): 0, (True, False): 1, (False, False): 2, (True, True): 3}
    assert buckets.rules.tolist() == [rules[b.closed] for b in wanted]


@given(st.lists(st.tuples(histograms(), QUANTILES), min_size=1, max_size=4))
@SETTINGS
def test_quantiles_agree_with_the_twin(cases: list[tuple[Histogram, float]]) -> None:
    """Every kind of bucket and every position of the rank."""
    pool = build_histograms([h for h, _ in cases])
    out, said = np.empty(len(cases)), np.empty(len(cases), dtype=np.uint8)
    ids = np.arange(len(cases), dtype=np.int64)
    kernels.native_quantiles(pool.columns, ids, np.array([q for _, q in cases]), out, said)
    texts = {0: "", kernels.NAN_RESULT: "nan", kernels.NAN_SKEWED: "skewed"}
    for (h, q), got, kind in zip(cases, out.tolist(), said.tolist(), strict=True):
        wanted, note = slow.quantile(h, q)
        assert close(got, wanted), (h, q)
        assert texts[kind] == note


@given(histograms(), BOUNDS, BOUNDS)
@SETTINGS
def test_fractions_agree_with_the_twin(h: Histogram, low: float, high: float) -> None:
    """Every kind of bucket, cut or whole."""
    out, said = np.empty(1), np.empty(1, dtype=np.uint8)
    kernels.native_fractions(
        build_histograms([h]).columns,
        np.zeros(1, dtype=np.int64),
        np.array([low]),
        np.array([high]),
        out,
        said,
    )
    wanted, note = slow.fraction(h, low, high)
    assert close(float(out[0]), wanted)
    assert bool(said[0] == kernels.NAN_EXCLUDED) is note


@given(histograms(), st.booleans())
@SETTINGS
def test_variances_agree_with_the_twin(h: Histogram, root: bool) -> None:
    """Geometric means stand for exponential buckets, arithmetic ones for custom buckets."""
    out = np.empty(1)
    pool = build_histograms([h])
    kernels.native_variances(pool.columns, np.zeros(1, dtype=np.int64), root, out)
    wanted = slow.variance(h)
    assert close(float(out[0]), math.sqrt(wanted) if root else wanted)


@pytest.mark.parametrize(
    ("literal", "q", "value"),
    [
        ("{{count:4 buckets:[2 2]}}", 0.75, math.sqrt(2)),
        ("{{count:4 buckets:[2 2]}}", 1.0, 2.0),
        ("{{count:4 n_buckets:[2 2]}}", 0.25, -math.sqrt(2)),
        ("{{count:4 z_bucket:2 z_bucket_w:0.5 buckets:[2]}}", 0.25, 0.25),
        ("{{schema:-53 count:4 custom_values:[2 4] buckets:[2 1 1]}}", 0.25, 1.0),
        ("{{schema:-53 count:4 custom_values:[2 4] buckets:[2 1 1]}}", 0.9, 4.0),
        ("{{schema:-53 count:4 custom_values:[-2 4] buckets:[2 1 1]}}", 0.25, -2.0),
        ("{{}}", 0.5, math.nan),
    ],
)
def test_known_quantiles(literal: str, q: float, value: float) -> None:
    """What follows from the rules by hand."""
    out, said = np.empty(1), np.empty(1, dtype=np.uint8)
    pool = build_histograms([parse_histogram(literal)])
    kernels.native_quantiles(pool.columns, np.zeros(1, np.int64), np.array([q]), out, said)
    assert close(float(out[0]), value) and said[0] == 0


def test_buckets_of_the_largest_floats_end_at_the_largest() -> None:
    """The last exponential bucket ends at the largest float, not at infinity."""
    pool = build_histograms([Histogram(0, 1, 1, buckets=((OFFSET + 1024, 1),))])
    assert Buckets.of(pool).uppers.tolist() == [np.finfo(np.float64).max]


def test_custom_bounds_of_many_histograms_stay_apart() -> None:
    """Each histogram of a pool has its own bounds."""
    rows = [
        Histogram(CUSTOM_SCHEMA, 1, 1, buckets=((OFFSET + 1, 1),), bounds=bounds)
        for bounds in ((1.0, 2.0), (3.0,), (5.0, 7.0, 9.0))
    ]
    buckets = Buckets.of(build_histograms(rows))
    assert buckets.lowers.tolist() == [1, 3, 5]
    assert buckets.uppers.tolist() == [2, math.inf, 7]

"""Hypothesis strategies for native histograms."""

import math

from hypothesis import strategies as st

from series.histogram import CUSTOM_SCHEMA, OFFSET, Histogram

_COUNTS = st.one_of(st.integers(0, 9).map(float), st.floats(0, 100))
_SCHEMAS = st.integers(-4, 8)


@st.composite
def histograms(draw: st.DrawFn, custom: bool | None = None) -> Histogram:
    """A histogram whose count is about that of its buckets; now and then with NaN observations."""
    if draw(st.booleans()) if custom is None else custom:
        bounds = sorted(draw(st.sets(st.integers(-5, 20).map(float), max_size=6)))
        positions = draw(st.sets(st.integers(0, len(bounds))))
        schema, threshold, zero_count = CUSTOM_SCHEMA, 0.0, 0.0
        at = sorted(OFFSET + index for index in positions)
    else:
        bounds = []
        schema = draw(_SCHEMAS)
        indexes = st.sets(st.integers(-6, 12), max_size=6)
        at = sorted(
            [OFFSET + index for index in draw(indexes)]
            + [-(OFFSET + index) for index in draw(indexes)] * draw(st.booleans())
        )
        threshold = draw(st.sampled_from([0.0, 1e-128, 0.001, 0.5, 1.0, 3.0]))
        zero_count = draw(st.one_of(st.just(0.0), _COUNTS))
    buckets = tuple((position, draw(_COUNTS)) for position in at)
    observed = zero_count + sum(count for _, count in buckets)
    nan = draw(st.integers(0, 5)) == 0
    return Histogram(
        schema=schema,
        count=observed + (draw(st.integers(0, 3)) if nan else 0),
        sum=math.nan if nan else draw(st.floats(-1e3, 1e3)),
        zero_threshold=threshold,
        zero_count=zero_count,
        buckets=buckets,
        bounds=tuple(bounds),
        hint=draw(st.integers(0, 3)),
    )

"""Native histograms for tests: small whole counts, few schemas, bounds and thresholds that meet."""

from dataclasses import replace

from hypothesis import strategies as st

from series.histogram import (
    CUSTOM_SCHEMA,
    GAUGE,
    NOT_RESET,
    OFFSET,
    RESET,
    UNKNOWN,
    Histogram,
)

HINTS = st.sampled_from([UNKNOWN, UNKNOWN, UNKNOWN, RESET, NOT_RESET, GAUGE])
COUNTS = st.integers(0, 6).map(float)
BOUNDS = st.sampled_from([(1.0, 2.0, 5.0), (1.0, 5.0), (2.0, 5.0, 10.0), (3.0,), ()])


@st.composite
def exponential(draw: st.DrawFn) -> Histogram:
    """A histogram with exponential buckets of either sign and a zero bucket."""
    sides = [draw(st.dictionaries(st.integers(-3, 4), COUNTS, max_size=5)) for _ in range(2)]
    buckets = [(OFFSET + i, n) for i, n in sides[0].items()]
    buckets += [(-(OFFSET + i), n) for i, n in sides[1].items()]
    zero = draw(COUNTS)
    return Histogram(
        schema=draw(st.sampled_from([-1, 0, 0, 1, 2])),
        count=zero + sum(n for _, n in buckets) + draw(st.sampled_from([0.0, 0.0, 1.0])),
        sum=float(draw(st.integers(-20, 20))),
        zero_threshold=draw(st.sampled_from([0.0, 0.0, 0.5, 0.7, 1.0, 2.0])),
        zero_count=zero,
        buckets=tuple(sorted(buckets)),
        hint=draw(HINTS),
    )


@st.composite
def custom(draw: st.DrawFn) -> Histogram:
    """A histogram with custom buckets."""
    bounds = draw(BOUNDS)
    counts = draw(st.dictionaries(st.integers(0, len(bounds)), COUNTS, max_size=4))
    return Histogram(
        schema=CUSTOM_SCHEMA,
        count=sum(counts.values()),
        sum=float(draw(st.integers(-20, 20))),
        buckets=tuple(sorted((OFFSET + i, n) for i, n in counts.items())),
        bounds=bounds,
        hint=draw(HINTS),
    )


histograms = st.one_of(exponential(), exponential(), custom())


@st.composite
def rows(draw: st.DrawFn, length: int = 6) -> list[Histogram]:
    """Histograms one after the other: of a counter that rises, or each on its own."""
    kind = (exponential(), custom(), histograms)[draw(st.integers(0, 2))]
    found: list[Histogram] = []
    for _ in range(draw(st.integers(0, length))):
        rises = draw(st.booleans())
        if found and rises:
            last = found[-1]
            found.append(
                replace(
                    last,
                    count=last.count + 2 * len(last.buckets),
                    sum=last.sum + 3,
                    buckets=tuple((at, n + 2) for at, n in last.buckets),
                    hint=draw(HINTS),
                )
            )
            continue
        found.append(draw(kind))
    return found

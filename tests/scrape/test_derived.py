"""What pages tell between their lines: starts of series, and classic histograms as native ones."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrape.derived import Derived
from scrape.histogram_config import HistogramOptions
from series.histogram import CUSTOM_SCHEMA, OFFSET, Histogram
from series.labels import Labels
from wire.exposition import decode
from wire.exposition_page import Scraped

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TEXT = "text/plain; version=0.0.4"
NOW_MS = 1_700_000_000_000
CONVERT = HistogramOptions(convert=True)
CONVERT_ALSO = HistogramOptions(always_classic=True, convert=True)

CREATED_PAGE = """# TYPE a counter
a_total{x="1"} 5
a_created{x="1"} 1600000000.5
a_total{x="2"} 6
# TYPE h histogram
h_bucket{le="1.0"} 1
h_bucket{le="+Inf"} 2
h_count 2
h_sum 3
h_created 1.6e9
# TYPE s summary
s{quantile="0.5"} 1
s_count 2
s_created NaN
# TYPE g gauge
g 1
g_created 5
# EOF
"""


def page_of(text: str, options: HistogramOptions, content_type: str = TEXT) -> Scraped:
    page = decode(text.encode(), content_type, NOW_MS)
    Derived().apply(page, options, openmetrics=content_type == OPENMETRICS)
    page.batch.check()
    assert len(page.explicit) == page.batch.series_count
    return page


def names(page: Scraped) -> list[str]:
    batch = page.batch
    return [str(Labels.from_key(batch.key(row))) for row in range(batch.series_count)]


def native(page: Scraped) -> dict[str, Histogram]:
    batch = page.batch
    if batch.histogram_ids is None or batch.histograms is None:
        return {}
    return {
        name: batch.histograms.one(one)
        for name, one in zip(names(page), batch.histogram_ids.tolist(), strict=True)
        if one >= 0
    }


def test_created_series_tell_starts() -> None:
    """Of the counters, histograms and summaries with their labels; they stay series."""
    page = page_of(CREATED_PAGE, HistogramOptions(), OPENMETRICS)
    assert page.batch.starts_ms is not None
    told = dict(zip(names(page), page.batch.starts_ms.tolist(), strict=True))
    assert told == {
        '{__name__="a_total", x="1"}': 1_600_000_000_500,
        '{__name__="a_created", x="1"}': 0,
        '{__name__="a_total", x="2"}': 0,
        '{__name__="h_bucket", le="1.0"}': 1_600_000_000_000,
        '{__name__="h_bucket", le="+Inf"}': 1_600_000_000_000,
        '{__name__="h_count"}': 1_600_000_000_000,
        '{__name__="h_sum"}': 1_600_000_000_000,
        '{__name__="h_created"}': 0,
        '{__name__="s", quantile="0.5"}': 0,
        '{__name__="s_count"}': 0,
        '{__name__="s_created"}': 0,
        '{__name__="g"}': 0,
        '{__name__="g_created"}': 0,
    }


def test_created_series_of_other_formats_tell_nothing() -> None:
    """Only OpenMetrics gives them a meaning."""
    assert page_of(CREATED_PAGE, HistogramOptions()).batch.starts_ms is None
    page = page_of("# TYPE a counter\na_total 1\n# EOF\n", HistogramOptions(), OPENMETRICS)
    assert page.batch.starts_ms is None


def test_starts_follow_the_pages() -> None:
    """The next page with the same series has values of its own."""
    derived = Derived()
    found = []
    for created in (5, 7):
        text = f"# TYPE a counter\na_total 1\na_created {created}\n# EOF\n"
        page = decode(text.encode(), OPENMETRICS, NOW_MS)
        derived.apply(page, HistogramOptions(), openmetrics=True)
        assert page.batch.starts_ms is not None
        found.append(page.batch.starts_ms.tolist())
    assert found == [[5000, 0], [7000, 0]]


CLASSIC = """# TYPE h histogram
h_bucket{a="1",le="1"} 2
h_bucket{a="1",le="0.5"} 1
h_bucket{a="1",le="+Inf"} 5
h_count{a="1"} 5
h_sum{a="1"} 3.5
# TYPE g gauge
g_bucket{le="1"} 1
"""


def test_classic_histograms_become_native_ones() -> None:
    """With the bounds in order; the classic series go, or stay where that is wanted."""
    expected = {
        '{__name__="h", a="1"}': Histogram(
            schema=CUSTOM_SCHEMA,
            count=5.0,
            sum=3.5,
            buckets=((OFFSET, 1.0), (OFFSET + 1, 1.0), (OFFSET + 2, 3.0)),
            bounds=(0.5, 1.0),
        )
    }
    alone = page_of(CLASSIC, CONVERT)
    assert native(alone) == expected
    assert names(alone) == ['{__name__="g_bucket", le="1"}', '{__name__="h", a="1"}']
    both = page_of(CLASSIC, CONVERT_ALSO)
    assert native(both) == expected
    assert len(names(both)) == 7


@pytest.mark.parametrize(
    ("removed", "count", "total"),
    [
        ('h_bucket{a="1",le="+Inf"} 5\n', 5.0, 3.5),
        ('h_count{a="1"} 5\n', 5.0, 3.5),
        ('h_sum{a="1"} 3.5\n', 5.0, 0.0),
        ('h_bucket{a="1",le="+Inf"} 5\nh_count{a="1"} 5\n', 2.0, 3.5),
    ],
)
def test_what_is_missing_is_inferred(removed: str, count: float, total: float) -> None:
    """The bucket of all from the count, the count from the last bucket; a sum is 0."""
    assert removed in CLASSIC
    [one] = native(page_of(CLASSIC.replace(removed, ""), CONVERT)).values()
    assert (one.count, one.sum) == (count, total)


@pytest.mark.parametrize(
    ("old", "new"),
    [('le="1"} 2', 'le="1"} 0'), ('h_count{a="1"} 5', 'h_count{a="1"} 6'), ('f"} 5', 'f"} NaN')],
)
def test_histograms_that_do_not_add_up_stay_classic(old: str, new: str) -> None:
    """Falling counts, or others than the count of all; nothing is lost."""
    sound = CLASSIC.replace('a="1"', 'a="2"').replace("# TYPE h histogram\n", "")
    assert old in CLASSIC
    page = page_of(CLASSIC.replace(old, new) + sound, CONVERT)
    assert list(native(page)) == ['{__name__="h", a="2"}']
    assert sum('a="1"' in name for name in names(page)) == 5
    assert sum('a="2"' in name for name in names(page)) == 1


def test_times_starts_and_exemplars_come_along() -> None:
    """As the series that a histogram is made of have them."""
    text = """# TYPE h histogram
h_bucket{le="1.0"} 1 5 # {t="x"} 0.5 4
h_bucket{le="+Inf"} 2 5
h_count 2 5
h_created 3
# EOF
"""
    page = page_of(text, CONVERT, OPENMETRICS)
    assert names(page) == ['{__name__="h_created"}', '{__name__="h"}']
    assert page.explicit.tolist() == [False, True]
    assert page.batch.row_times_ms(1).tolist() == [5000]
    assert page.batch.starts_ms is not None and page.batch.starts_ms.tolist() == [0, 3000]
    exemplars = page.batch.exemplars
    assert exemplars is not None
    assert (exemplars.rows.tolist(), exemplars.times_ms.tolist()) == ([1], [4000])
    assert exemplars.key(0) == Labels.of({"t": "x"}).key


@dataclass
class Classic:
    """Cumulative counts by bound, the count of all, the sum."""

    buckets: Mapping[float, int]
    count: int


def slow(one: Classic) -> Histogram | None:
    """The histogram that Prometheus makes of a classic one; None where it makes none."""
    cumulative = {**({math.inf: one.count} if math.inf not in one.buckets else {}), **one.buckets}
    bounds = sorted(cumulative)
    counts = [cumulative[bound] for bound in bounds]
    if counts != sorted(counts) or counts[-1] != one.count:
        return None
    alone = [b - a for a, b in zip([0, *counts], counts, strict=False)]
    filled = [at for at, count in enumerate(alone) if count]
    kept = set(filled)
    for before, after in itertools.pairwise(filled):
        if after - before <= 3:
            kept |= set(range(before, after))
    return Histogram(
        schema=CUSTOM_SCHEMA,
        count=float(one.count),
        buckets=tuple((OFFSET + at, float(alone[at])) for at in sorted(kept)),
        bounds=tuple(bounds[:-1]),
    )


@st.composite
def classics(draw: st.DrawFn) -> Classic:
    bounds = draw(
        st.lists(st.integers(-3, 9).map(float) | st.just(math.inf), min_size=1, unique=True)
    )
    counts = draw(st.lists(st.sampled_from([0, 0, 0, 1, 3]), min_size=9, max_size=14))
    running = np.cumsum(counts).tolist()
    buckets = {bound: running[at % len(running)] for at, bound in enumerate(sorted(bounds))}
    count = max(buckets.values()) + draw(st.sampled_from([0, 0, 0, 2, -1]))
    return Classic(dict(draw(st.permutations(list(buckets.items())))), count)


@given(st.lists(classics(), max_size=4))
def test_histograms_are_made_as_the_slow_converter_makes_them(some: list[Classic]) -> None:
    """Whatever bounds and counts, also with empty buckets at the ends and in between."""
    lines = ["# TYPE h histogram"]
    for at, one in enumerate(some):
        for bound, count in one.buckets.items():
            text = "+Inf" if math.isinf(bound) else bound
            lines.append(f'h_bucket{{n="{at}",le="{text}"}} {count}')
        lines.append(f'h_count{{n="{at}"}} {one.count}')
    page = page_of("\n".join(lines) + "\n", CONVERT)
    expected = {
        f'{{__name__="h", n="{at}"}}': made
        for at, one in enumerate(some)
        if (made := slow(one)) is not None
    }
    assert native(page) == expected

"""OTLP's histograms as native ones, start times and exemplars."""

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from series.histogram import CUSTOM_SCHEMA, OFFSET, Histogram
from series.metadata import Metadata
from tests.wire.encode import chunk
from tests.wire.histograms import zigzag
from tests.wire.otlp import (
    DELTA,
    NOW_MS,
    Export,
    exemplars,
    histograms,
    set_attributes,
    translate,
    values,
)
from wire.errors import Malformed
from wire.otlp_options import Options
from wire.otlp_translate import Translator

CONVERT = Options(convert_histograms_to_nhcb=True)
TRACE, SPAN = bytes(range(16)), bytes(range(8))
IDS = {"trace_id": TRACE.hex(), "span_id": SPAN.hex()}


@pytest.fixture
def translator() -> Translator:
    return Translator(Options())


def add_exemplar(point: Any, value: float, at_ms: int = NOW_MS, **attributes: Any) -> Any:
    one = point.exemplars.add()
    one.time_unix_nano, one.as_double = at_ms * 1_000_000, value
    one.trace_id, one.span_id = TRACE, SPAN
    set_attributes(one.filtered_attributes, attributes)
    return one


def test_exponential_histograms_become_native_ones(translator: Translator) -> None:
    """Bucket i is i + 1, the zero threshold the smallest; type and name as of a histogram."""
    export = Export(service__name="shop")
    export.exponential("lat", (-2, [1, 2]), (3, [4]), 3, 5, 2.5, start_ms=7, route="a")
    request = translate(translator, export.body)
    assert histograms(request) == {
        '{__name__="lat", job="shop", route="a"}': Histogram(
            schema=3,
            count=12.0,
            sum=2.5,
            zero_threshold=1e-128,
            zero_count=5.0,
            buckets=((-OFFSET - 4, 4.0), (OFFSET - 1, 1.0), (OFFSET, 2.0)),
        )
    }
    assert request.metadata["lat"] == Metadata("histogram", "", "")
    assert request.batch.starts_ms is not None
    assert request.batch.starts_ms.tolist() == [7]


def test_zero_thresholds_are_kept(translator: Translator) -> None:
    """Where a point tells its own."""
    export = Export().exponential("h", zero_count=1)
    export.point.zero_threshold = 0.25
    [one] = histograms(translate(translator, export.body)).values()
    assert one.zero_threshold == 0.25


def test_high_scales_are_merged_down(translator: Translator) -> None:
    """Four buckets of scale 10 make one of schema 8; scales without end do no harm."""
    export = Export().exponential("h", (0, [1] * 8), (-4, [2] * 4), 10)
    export.exponential("i", (5, [3]), scale=2**31 - 1)
    first, second = histograms(translate(translator, export.body)).values()
    assert first.schema == second.schema == 8
    assert first.buckets == ((-OFFSET, 8.0), (OFFSET + 1, 4.0), (OFFSET + 2, 4.0))
    assert second.buckets == ((OFFSET + 1, 3.0),)


def test_unpacked_and_scattered_points_are_read(translator: Translator) -> None:
    """Counts one by one, attributes apart from each other."""
    export = Export().exponential("h", (1, [1, 300]), total=1.5, a="1", b="2")
    usual = histograms(translate(translator, export.body))
    point = export.point
    attributes = [chunk(1, one.SerializeToString()) for one in point.attributes]
    side = chunk(8, b"\x10\x01\x08" + zigzag(1) + b"\x10\xac\x02")
    point.ClearField("attributes")
    point.ClearField("positive")
    scattered = attributes[0] + point.SerializeToString() + side + attributes[1]
    data = chunk(10, chunk(1, scattered) + b"\x10\x02")
    body = chunk(1, chunk(2, chunk(2, chunk(1, b"h") + data)))
    assert histograms(translate(Translator(Options()), body)) == usual


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scale": -5}, "cannot convert exponential to native histogram. Scale must be >= -4"),
        ({"count": 4}, "3 observations found in buckets, but the Count field is 4"),
        ({"count": 2, "sum": math.nan}, "should be at least the number of observations"),
    ],
)
def test_invalid_ones_are_refused_by_name(
    translator: Translator, changes: dict[str, Any], words: str
) -> None:
    """In Prometheus' words; the good one beside is stored."""
    export = Export().exponential("good", (0, [3])).exponential("bad", (0, [3]))
    for name, value in changes.items():
        setattr(export.point, name, value)
    request = translate(translator, export.body)
    assert request.refused == {"invalid-native-histogram": 1}
    assert words in request.refusals[0].detail
    assert request.refusals[0].detail.endswith('metric "bad"')
    assert list(histograms(request)) == ['{__name__="good"}']
    assert request.batch.series_count == 1


def test_many_invalid_ones_are_counted(translator: Translator) -> None:
    """Only the first are told apart."""
    export = Export()
    for scale in range(-5, -30, -1):
        export.exponential("bad", scale=scale)
    request = translate(translator, export.body)
    assert request.refused == {"invalid-native-histogram": 25}
    assert len(request.refusals) == 10


def test_indexes_beyond_any_number_are_refused(translator: Translator) -> None:
    """No observation can be there."""
    export = Export().exponential("h", (2**31 - 1, [1]))
    request = translate(translator, export.body)
    assert request.refused == {"invalid-native-histogram": 1}
    assert "a bucket has index 2147483648" in request.refusals[0].detail


def test_ends_are_float_markers(translator: Translator) -> None:
    """A point without a recorded value, whatever else it holds."""
    export = Export().exponential("h", (0, [1]), flags=1).exponential("i", scale=-9, flags=1)
    request = translate(translator, export.body)
    assert not histograms(request)
    assert [math.isnan(value) for value in values(request).values()] == [True, True]


def test_deltas_are_refused(translator: Translator) -> None:
    """Native histograms have no running totals."""
    export = Export().exponential("h", (0, [1]), temporality=DELTA)
    request = translate(translator, export.body)
    assert request.refused == {"invalid-temporality": 1}


def test_explicit_histograms_are_converted_on_demand() -> None:
    """Bounds become custom ones; a last bound of infinity is none, no buckets are one."""
    translator = Translator(CONVERT)
    export = Export().histogram("h", [0, 2, 0, 0, 0, 3], [1, 2, 3, 4, 5], 5.5)
    export.histogram("i", [1, 2, 3], [1, math.inf])
    export.histogram("j", [], [])
    export.point.count = 4
    request = translate(translator, export.body)
    assert histograms(request) == {
        '{__name__="h"}': Histogram(
            schema=CUSTOM_SCHEMA,
            count=5.0,
            sum=5.5,
            buckets=((OFFSET + 1, 2.0), (OFFSET + 5, 3.0)),
            bounds=(1.0, 2.0, 3.0, 4.0, 5.0),
        ),
        '{__name__="i"}': Histogram(
            schema=CUSTOM_SCHEMA,
            count=6.0,
            buckets=((OFFSET, 1.0), (OFFSET + 1, 5.0)),
            bounds=(1.0,),
        ),
        '{__name__="j"}': Histogram(schema=CUSTOM_SCHEMA, count=4.0, buckets=((OFFSET, 4.0),)),
    }
    assert request.metadata["h"].type == "histogram"


def test_what_cannot_be_converted() -> None:
    """Bounds out of order are refused; deltas stay classic histograms, with running totals."""
    translator = Translator(CONVERT)
    export = Export().histogram("h", [1, 2, 3], [2, 1]).histogram("u", [1, 2], [2, 1])
    request = translate(translator, export.body)
    assert request.refused == {"invalid-native-histogram": 2}
    delta = Export().histogram("d", [1, 2], [5], temporality=DELTA)
    request = translate(translator, delta.body)
    assert not histograms(request)
    assert len(values(request)) == 3


def test_starts_of_what_counts(translator: Translator) -> None:
    """Sums, histograms and their like have them; gauges and deltas do not."""
    export = Export(service__name="s", a="b")
    export.counter("c", 1, start_ms=5).gauge("g", 1.0, start_ms=6)
    export.histogram("h", [1, 1], [1], start_ms=7)
    export.counter("d", 1, temporality=DELTA, start_ms=8)
    batch = translate(translator, export.body).batch
    assert batch.starts_ms is not None
    assert batch.starts_ms.tolist() == [5, 0, 7, 7, 7, 0, 0]
    bare = translate(Translator(Options()), Export().gauge("g", 1.0, start_ms=6).body)
    assert bare.batch.starts_ms is None


def test_exemplars_come_with_their_series(translator: Translator) -> None:
    """Of sums, of the bucket that a value falls into, of native histograms; not of gauges."""
    export = Export().counter("c", 1)
    add_exemplar(export.point, 0.5, NOW_MS - 5)
    export.gauge("g", 1.0)
    add_exemplar(export.point, 0.5)
    export.histogram("h", [1, 1, 1], [1, 2], 3.0)
    for value in (2.0, 1.5, 9.0, 1.0):
        add_exemplar(export.point, value)
    export.exponential("e", (0, [1]))
    add_exemplar(export.point, 1.5, 0)
    request = translate(translator, export.body)
    request.batch.check()
    assert exemplars(request) == [
        ('{__name__="c_total"}', IDS, NOW_MS - 5, 0.5),
        ('{__name__="h_bucket", le="2"}', IDS, NOW_MS, 2.0),
        ('{__name__="h_bucket", le="2"}', IDS, NOW_MS, 1.5),
        ('{__name__="h_bucket", le="+Inf"}', IDS, NOW_MS, 9.0),
        ('{__name__="h_bucket", le="1"}', IDS, NOW_MS, 1.0),
        ('{__name__="e"}', IDS, NOW_MS, 1.5),
    ]
    assert request.skipped == {"exemplars": 1}


def test_labels_of_exemplars(translator: Translator) -> None:
    """Attributes that fit; ids only where there are any; an exemplar needs a value."""
    export = Export().counter("c", 1)
    add_exemplar(export.point, 1.0, user="x", n=5)
    add_exemplar(export.point, 2.0, long="x" * 90)
    bare = add_exemplar(export.point, 3.0)
    bare.trace_id, bare.span_id, bare.as_int = b"", bytes(8), -3
    add_exemplar(export.point, 4.0).ClearField("as_double")
    add_exemplar(export.point, 5.0).trace_id = b"odd"
    request = translate(translator, export.body)
    assert [(labels, value) for _, labels, _, value in exemplars(request)] == [
        ({**IDS, "user": "x", "n": "5"}, 1.0),
        (IDS, 2.0),
        ({}, -3.0),
        ({**IDS, "trace_id": b"odd".hex()}, 5.0),
    ]
    assert request.skipped == {"invalid-exemplars": 1}


def test_exemplars_of_refused_points_are_left_out(translator: Translator) -> None:
    """They have no series to go with."""
    export = Export().exponential("h", scale=-9)
    add_exemplar(export.point, 1.0)
    request = translate(translator, export.body)
    assert exemplars(request) == []
    assert request.skipped == {"exemplars": 1}


# --- against a slow reading -----------------------------------------------------------------------

counts = st.lists(st.sampled_from([0, 0, 0, 1, 5]), max_size=12)


def slow_side(offset: int, of_side: list[int], shift: int, sign: int) -> list[tuple[int, float]]:
    """The buckets of one side: merged, cut at both ends, with gaps of up to two filled."""
    merged: dict[int, int] = {}
    for at, count in enumerate(of_side):
        index = math.ceil((offset + 1 + at) / 2**shift)
        merged[index] = merged.get(index, 0) + count
    filled = sorted(index for index, count in merged.items() if count)
    kept = set(filled)
    for before, after in itertools.pairwise(filled):
        if after - before <= 3:
            kept |= set(range(before, after))
    return [(sign * (OFFSET + index), float(merged[index])) for index in kept]


@given(
    st.tuples(st.integers(-2000, 2000), counts),
    st.tuples(st.integers(-2000, 2000), counts),
    st.integers(-4, 14),
    st.integers(0, 3),
    st.none() | st.floats(),
)
@settings(max_examples=200, deadline=None)
def test_buckets_are_laid_down_as_the_slow_reader_does_it(
    positive: tuple[int, list[int]],
    negative: tuple[int, list[int]],
    scale: int,
    zero_count: int,
    total: float | None,
) -> None:
    """Whatever offsets, empty buckets and scales."""
    export = Export().exponential("h", positive, negative, scale, zero_count, total)
    [one] = histograms(translate(Translator(Options()), export.body)).values()
    shift = max(0, scale - 8)
    buckets = slow_side(*positive, shift, 1) + slow_side(*negative, shift, -1)
    expected = Histogram(
        schema=min(scale, 8),
        count=float(sum(positive[1]) + sum(negative[1]) + zero_count),
        sum=0.0 if total is None else total,
        zero_threshold=1e-128,
        zero_count=float(zero_count),
        buckets=tuple(sorted(buckets)),
    )
    assert repr(one) == repr(expected)


def example() -> bytes:
    export = Export(a="b").exponential("e", (-3, [1, 0, 2]), (2, [1]), 9, 1, 2.5, k="v")
    add_exemplar(export.point, 1.5, user="x")
    export.histogram("h", [1, 2, 3], [0.5, 1], 2.5, k="v")
    add_exemplar(export.point, 0.75)
    return export.body


@settings(max_examples=300, deadline=None)
@given(st.booleans(), st.data())
def test_damaged_bytes_are_malformed_or_harmless(convert: bool, data: st.DataObject) -> None:
    """Whatever bytes are changed, cut or put in, the outcome is a sound batch or Malformed."""
    options = Options(convert_histograms_to_nhcb=convert)
    body = bytearray(example())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        translate(Translator(options), bytes(body))
    except Malformed:
        return

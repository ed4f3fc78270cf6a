"""Native histograms: messages to columns, and why some are refused."""

import dataclasses
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from series.histogram import CUSTOM_SCHEMA, GAUGE, OFFSET, Histogram
from tests.wire import histograms as slow
from tests.wire.histograms import Broken, Sent, sent
from wire.errors import Malformed
from wire.histograms import REMOTE_WRITE_2, Decoded, decode


def decoded(*messages: bytes) -> Decoded:
    """The messages end to end, every invariant checked."""
    ends = np.cumsum([len(message) for message in messages], dtype=np.int64)
    spans = np.stack([ends - [len(message) for message in messages], ends], axis=1)
    whole = np.frombuffer(bytearray(b"".join(messages)), dtype=np.uint8)
    found = decode(whole, spans, REMOTE_WRITE_2)
    found.histograms.check()
    return found


def outcome(found: Decoded, at: int) -> slow.Read:
    one = int(found.ids[at])
    return slow.Read(
        int(found.times_ms[at]),
        int(found.starts_ms[at]),
        found.histograms.one(one) if one >= 0 else None,
        found.problem(at) if found.refused[at] else "",
    )


@given(st.lists(st.tuples(sent, st.booleans()), max_size=6))
@settings(max_examples=300, deadline=None)
def test_histograms_are_read_as_the_slow_reader_reads_them(some: list[tuple[Sent, bool]]) -> None:
    """Packed or not, sound or not: columns, ends and words of refusals agree."""
    messages = [one.message(packed=packed) for one, packed in some]
    if not messages:
        return
    found = decoded(*messages)
    for at, message in enumerate(messages):
        assert repr(outcome(found, at)) == repr(slow.slow_histogram(message))


@given(sent, st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_histograms_are_read_or_refused_alike(one: Sent, data: st.DataObject) -> None:
    """Flipped, inserted and removed bytes give what the slow reader says."""
    damaged = bytearray(one.message(packed=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    message = bytes(damaged)
    try:
        expected = slow.slow_histogram(message)
    except Broken:
        with pytest.raises(Malformed):
            decoded(message)
        return
    got = outcome(decoded(message), 0)
    assert bool(got.problem) == bool(expected.problem)
    got.problem = expected.problem = ""
    assert repr(got) == repr(expected)


def test_positions_of_all_sides() -> None:
    """Negative buckets come first, the ones furthest from zero before the others."""
    one = Sent(
        True, 2, 10.0, 3.5, 0.25, 1.0, [(1, 1), (2, 1)], [1.0, 2.0], [(-3, 2)], [2.5, 3.5], GAUGE
    )
    assert outcome(decoded(one.message()), 0).histogram == Histogram(
        schema=2,
        count=10.0,
        sum=3.5,
        zero_threshold=0.25,
        zero_count=1.0,
        buckets=((-OFFSET - 4, 2.0), (-OFFSET - 1, 1.0), (OFFSET - 3, 2.5), (OFFSET - 2, 3.5)),
        hint=GAUGE,
    )


def test_high_resolutions_are_reduced() -> None:
    """Schema 10 becomes 8: four buckets make one, on both sides."""
    one = Sent(False, 10, 36, 1.0, 0.0, 0, [(1, 8)], [1] * 8, [(-3, 8)], [*range(8)])
    assert outcome(decoded(one.message()), 0).histogram == Histogram(
        schema=8,
        count=36.0,
        sum=1.0,
        buckets=((-OFFSET - 2, 4.0), (-OFFSET - 1, 4.0), (OFFSET, 6.0), (OFFSET + 1, 22.0)),
    )


def test_empty_buckets_are_kept() -> None:
    """A bucket that was sent stays, empty or not."""
    one = Sent(count=1, positive_spans=[(0, 3)], positive=[0, 1, 0])
    histogram = outcome(decoded(one.message()), 0).histogram
    assert histogram is not None
    assert [count for _, count in histogram.buckets] == [0.0, 1.0, 0.0]


def test_custom_buckets() -> None:
    """Positions begin at the first bound; the last bucket ends at infinity."""
    one = Sent(
        schema=CUSTOM_SCHEMA, count=3, positive_spans=[(0, 1), (1, 1)], positive=[1, 2],
        bounds=[0.5, 1.0],
    )  # fmt: skip
    assert outcome(decoded(one.message()), 0).histogram == Histogram(
        schema=CUSTOM_SCHEMA,
        count=3.0,
        buckets=((OFFSET, 1.0), (OFFSET + 2, 2.0)),
        bounds=(0.5, 1.0),
    )


TOO_FEW = (
    "histogram's observation count should be at least the number of observations found in the"
    " buckets"
)
NEGATIVE_OFFSET = "histogram has a span whose offset is negative"
OTHER_NUMBER = "histogram spans specify different number of buckets than provided"
NEGATIVE_COUNT = "histogram has a bucket whose observation count is negative"
NO_ORDER = "histogram custom bounds must be in strictly increasing order"

SOUND = Sent(count=3, positive_spans=[(0, 2)], positive=[1, 2])
CUSTOM = Sent(schema=CUSTOM_SCHEMA, count=1, positive_spans=[(0, 1)], positive=[1], bounds=[1.0])


@pytest.mark.parametrize(
    ("one", "changes", "words"),
    [
        (
            SOUND,
            {"count": 2, "sum": float("nan")},
            f"3 observations found in buckets, but the Count field is 2: {TOO_FEW}",
        ),
        (
            SOUND,
            {"positive_spans": [(0, 1), (-1, 1)]},
            f"positive side: span number 2 with offset -1: {NEGATIVE_OFFSET}",
        ),
        (
            SOUND,
            {"positive_spans": [(0, 3)]},
            f"positive side: spans need 3 buckets, have 2 buckets: {OTHER_NUMBER}",
        ),
        (
            SOUND,
            {"positive": [1, -2]},
            f"positive side: bucket number 2 has observation count of -2: {NEGATIVE_COUNT}",
        ),
        (
            SOUND,
            {"positive": [1, -0.5], "is_float": True},
            f"positive side: bucket number 2 has observation count of -0.5: {NEGATIVE_COUNT}",
        ),
        (
            SOUND,
            {"count": -1.0, "is_float": True},
            "observation count is  -1: histogram's observation count is negative",
        ),
        (
            SOUND,
            {"zero_count": -1.0, "is_float": True},
            f"zero bucket has observation count of -1: {NEGATIVE_COUNT}",
        ),
        (
            SOUND,
            {"schema": 53},
            "histogram has an invalid schema, which must be between -4 and 8 for exponential"
            " buckets, or -53 for custom buckets, got schema 53",
        ),
        (SOUND, {"bounds": [1.0]}, "histogram with exponential schema must not have custom bounds"),
        (
            SOUND,
            {"positive_spans": [(2**30, 2)]},
            "positive side: a bucket has index 1073741824, which no observation falls into",
        ),
        (
            CUSTOM,
            {"bounds": [1.0, 1.0]},
            f"custom buckets: previous bound is 1.000000 and current is 1.000000: {NO_ORDER}",
        ),
        (
            CUSTOM,
            {"bounds": [float("inf")]},
            "custom buckets: last +Inf bound must not be explicitly defined: histogram custom"
            " bounds must be finite",
        ),
        (
            CUSTOM,
            {"positive_spans": [(3, 1)]},
            "custom buckets: only 1 custom bounds defined which is insufficient to cover total span"
            " length of 4: histogram custom bounds are too few",
        ),
        (CUSTOM, {"zero_threshold": 0.5}, "custom buckets: must have zero threshold of 0"),
    ],
)
def test_refusals_say_what_prometheus_says(
    one: Sent, changes: dict[str, object], words: str
) -> None:
    """Each wrong thing has its own words."""
    changed = dataclasses.replace(one, **changes)  # type: ignore[arg-type]
    assert not decoded(one.message()).refused[0]
    assert outcome(decoded(changed.message()), 0).problem == words


def test_a_refused_histogram_leaves_its_neighbours_alone() -> None:
    """Columns hold only what is kept, whatever stands between."""
    bad = dataclasses.replace(CUSTOM, bounds=[2.0, 1.0])
    end = dataclasses.replace(SOUND, sum=struct.pack("<Q", 0x7FF0000000000002))
    found = decoded(CUSTOM.message(), bad.message(), end.message(), SOUND.message())
    assert found.ids.tolist() == [0, -1, -1, 1]
    assert found.refused.tolist() == [False, True, False, False]
    assert found.histograms.bounds.tolist() == [1.0]
    assert found.histograms.bucket_counts.tolist() == [1.0, 1.0, 2.0]

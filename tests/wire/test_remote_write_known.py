"""Bodies of known series that are read together: as one by one, or not at all."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from series.known import Known
from tests.wire import encode
from tests.wire.histograms import Broken
from tests.wire.slow_remote_write import Row, known_from, parsed, slow_rows
from wire.remote_write_known import read_known

NAMES = [b"m%d" % n + b"x" * (n * 7) for n in range(9)]
"""Keys of many lengths."""


def labels_of(number: int) -> list[encode.Pair]:
    return [(b"__name__", NAMES[number]), (b"job", b"j")]


def known_series(*numbers: int) -> Known:
    """These, numbered in their order."""
    message = b"".join(encode.series(encode.Series(labels_of(n), [(1, 1.0)])) for n in numbers)
    return known_from(parsed(message).batch)


KNOWN = known_series(*range(6))
"""Of the series 6 to 8 nothing is known."""

samples = st.lists(
    st.tuples(st.sampled_from([0, -1, 5, 1_700_000_000_000]), st.floats(width=32)), max_size=3
)
series = st.builds(
    lambda number, points: encode.series(encode.Series(labels_of(number), points)),
    st.integers(0, 5),
    samples,
)
others = st.sampled_from(
    [
        encode.series(encode.Series(labels_of(7), [(5, 1.0)])),
        encode.series(encode.Series(labels_of(1)[::-1], [(5, 1.0)])),
        encode.series(
            encode.Series(labels_of(1), [(5, 1.0)], exemplars=[encode.exemplar([], 5, 1)])
        ),
        encode.series(encode.Series([], [(5, 1.0)])),
        encode.series(encode.Series([*labels_of(1), (b"z", b"1")], [(5, 1.0)])),
        encode.metadata(1, b"m", b"text", b""),
        encode.chunk(9, b"whatever"),
        encode.chunk(1, b"".join(encode.label(*one) for one in labels_of(0)) + b"\x12\x00"),
        b"\x0a\x7f",
        b"\x0a",
        b"\x00",
    ]
)


def flat(rows: list[Row]) -> list[tuple[bytes, int, object]]:
    """(key, time, bits) of every sample."""
    return [
        (labels.key, time_ms, bits)
        for labels, times, found in rows
        for time_ms, bits in zip(times, found, strict=True)
    ]


def read(
    messages: list[bytes], known: Known = KNOWN
) -> list[list[tuple[bytes, int, object]] | None]:
    """What ``read_known`` finds in each; None where it does not read it."""
    found = read_known([encode.snappy(one) for one in messages], known, 1 << 20)
    if found is None:
        return [None] * len(messages)
    sent = found.samples
    assert len(sent.ids) == len(sent.times_ms) == len(sent.bits) == sent.ends[-1]
    if len(sent.ids):
        assert (sent.first_ms, sent.last_ms) == (sent.times_ms.min(), sent.times_ms.max())
    whole = [
        (
            known.keys[known.key_starts[number] : known.key_starts[number + 1]].tobytes(),
            time_ms,
            struct.pack("<Q", bits),
        )
        for number, time_ms, bits in zip(
            sent.ids.tolist(), sent.times_ms.tolist(), sent.bits.tolist(), strict=True
        )
    ]
    parts = iter(np.split(np.arange(len(whole)), sent.ends[:-1]))
    return [[whole[at] for at in next(parts)] if is_read else None for is_read in found.are_read]


@given(st.lists(st.lists(series, min_size=1, max_size=8).map(b"".join), min_size=1, max_size=5))
def test_bodies_of_known_series_are_read(messages: list[bytes]) -> None:
    """All of them, to what a slow reader finds in each."""
    assert read(messages) == [flat(slow_rows(message)[0]) for message in messages]


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.lists(series | others, min_size=1, max_size=6).map(b"".join),
            st.none() | st.integers(0, 200),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_read_is_what_a_slow_reader_finds(sent: list[tuple[bytes, int | None]]) -> None:
    """Whatever stands beside it: others are left, and none reaches into the next one."""
    messages = [message[:cut] or message for message, cut in sent]
    for message, found in zip(messages, read(messages), strict=True):
        if found is not None:
            rows, refused = slow_rows(message)
            assert (found, refused) == (flat(rows), 0)


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_are_read_or_left(message: bytes) -> None:
    """A message that a slow reader does not understand is left."""
    [found] = read([message])
    if found is not None:
        assert found == flat(slow_rows(message)[0])


@pytest.mark.parametrize("message", [b"\x0a\xff", b"\x0a\x05\x0a", b"\xff"])
def test_a_body_that_breaks_off_is_left(message: bytes) -> None:
    """Also where the bytes of the next one would complete it."""
    good = encode.series(encode.Series(labels_of(2), [(5, 1.0)]))
    with pytest.raises(Broken):
        slow_rows(message)
    assert read([message, good])[0] is None
    assert read([message, good])[1] == flat(slow_rows(good)[0])


def test_series_beyond_those_that_are_told_of_are_unknown() -> None:
    """Though the table of their fingerprints has them already."""
    first = KNOWN._replace(size=3)
    one, other = (encode.series(encode.Series(labels_of(n), [(5, 1.0)])) for n in (2, 3))
    assert [found is not None for found in read([one, other], first)] == [True, False]


def test_bodies_that_are_no_snappy_or_too_large_are_left() -> None:
    """None of those that came with them is read."""
    good = encode.snappy(encode.series(encode.Series(labels_of(2), [(5, 1.0)])))
    assert read_known([good], KNOWN, 1000) is not None
    for bad in (b"", b"\x05", b"\xff" * 9, good[:-1], good + b"x"):
        assert read_known([good, bad], KNOWN, 1000) is None
    assert read_known([good], KNOWN, 10) is None


def test_more_samples_than_usual_are_left() -> None:
    """What is made room for depends on the bytes, not on what they claim."""
    short = b"".join(encode.label(*one) for one in labels_of(0)) + b"\x12\x00" * 1000
    assert read([encode.chunk(1, short)]) == [None]

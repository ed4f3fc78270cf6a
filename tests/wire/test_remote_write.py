"""Remote write bodies: what they hold, and what they cannot break."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from series.batch import STALE_NAN_BITS
from series.histogram import OFFSET, Histogram
from series.known import Known
from series.labels import Labels
from tests.wire import encode
from tests.wire.encode import Series
from tests.wire.histograms import STALE, Sent, sent
from tests.wire.slow_remote_write import NAME, agrees, known_from, parsed, rows
from wire.errors import Malformed
from wire.exemplar_columns import MAX_EXEMPLARS
from wire.remote_write import decode, decode_message
from wire.write_request import MAX_HISTOGRAMS, MAX_IRREGULAR, MAX_LABELS, MAX_SERIES

texts = st.one_of(
    st.sampled_from([b"__name__", b"a", b"b", b"job", b"", b"\xff", b"\xed\xa0\x80", b"x" * 130]),
    st.text(max_size=12).map(str.encode),
    st.binary(max_size=6),
)
times = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.integers(2**35 - 2, 2**42 + 2), st.just(1_700_000_000_000)
)
points = st.tuples(times, st.floats(width=64))
well_formed = st.builds(
    lambda pairs, samples: Series(sorted({**dict(pairs), NAME[0]: b"m"}.items()), samples),
    st.lists(st.tuples(st.sampled_from([b"a", b"b", b"z", b"\xc3\xa9"]), texts)),
    st.lists(points, max_size=4),
)
any_series = st.one_of(
    well_formed,
    st.builds(
        Series,
        st.lists(st.tuples(texts, texts), max_size=5),
        st.lists(points, max_size=3),
        st.lists(sent.map(Sent.message), max_size=2),
        st.sampled_from([b"", b"\x28\x01", encode.chunk(3, b""), encode.label(b"q", b"1")]),
        st.lists(
            st.builds(
                encode.exemplar,
                st.lists(st.tuples(texts, texts), max_size=2),
                st.integers(0, 9),
                st.floats(),
            ),
            max_size=2,
        ),
    ),
)
messages = st.lists(any_series, max_size=5).map(lambda all_: b"".join(map(encode.series, all_)))
described = st.builds(encode.metadata, st.integers(0, 9), texts, texts, texts)


@given(messages, st.lists(described, max_size=2))
@settings(max_examples=200, deadline=None)
def test_bodies_are_read_as_the_slow_reader_reads_them(message: bytes, extra: list[bytes]) -> None:
    """Whatever labels and samples a body holds, rows, bits and refusals agree."""
    agrees(b"".join(extra) + message)


@given(messages, st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_bodies_are_read_or_refused_alike(message: bytes, data: st.DataObject) -> None:
    """Flipped, inserted and removed bytes give the slow reader's rows or Malformed."""
    damaged = bytearray(message)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    agrees(bytes(damaged))


@given(st.lists(any_series, max_size=5), st.data())
@settings(max_examples=200, deadline=None)
def test_known_series_are_read_as_the_unknown(
    all_series: list[Series], data: st.DataObject
) -> None:
    """Whatever is known, in whatever order it comes and whatever is damaged; ids name the keys."""
    before = parsed(b"".join(map(encode.series, all_series))).batch
    known = known_from(
        before.take(np.arange(before.series_count) % 3 != data.draw(st.integers(0, 3)))
    )
    again = data.draw(st.permutations(all_series))
    message = bytearray(b"".join(map(encode.series, again)))
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(message)))
        message[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    request = agrees(bytes(message), known)
    if request is None:
        return
    assert request.batch.known is not None
    numbers = {known_key(known, number): number for number in range(known.size)}
    ids = request.batch.known.ids.tolist()
    for row, number in enumerate(ids):
        assert number in (-1, numbers.get(request.batch.key(row), -1))
    assert not request.batch.known.are_all or min(ids, default=0) >= 0


def known_key(known: Known, number: int) -> bytes:
    return known.keys[known.key_starts[number] : known.key_starts[number + 1]].tobytes()


def test_series_that_come_again_are_known() -> None:
    """In the order of their numbers or not; those beyond, longer or shorter ones are not."""
    sample = [(1_700_000_000_000, 1.0)]
    all_series = [Series([NAME, (b"job", b"%d" % job)], sample) for job in range(40)]
    known = known_from(parsed(b"".join(map(encode.series, all_series[:30]))).batch)
    longer = Series([NAME, (b"job", b"7"), (b"z", b"1")], sample)
    shorter = Series([NAME], sample)
    moved = [*all_series[5:20], longer, *all_series[3:10], shorter, *all_series[25:40]]
    batch = parsed(b"".join(map(encode.series, moved)), known).batch
    assert batch.known is not None and not batch.known.are_all
    assert batch.known.numbering is known.numbering
    expected = [*range(5, 20), -1, *range(3, 10), -1, *range(25, 30), *[-1] * 10]
    assert batch.known.ids.tolist() == expected
    part = batch.take(np.array(expected) >= 0)
    assert part.known is not None and part.known.are_all


def test_labels_behind_a_known_key_are_judged() -> None:
    """A series that goes on with labels, at once or behind its samples, is not the known one."""
    known = known_from(parsed(encode.series(Series([NAME, (b"job", b"a")], [(1, 1.0)]))).batch)
    labels = encode.label(*NAME) + encode.label(b"job", b"a")
    for rest in (
        encode.label(b"z", b"1") + encode.sample(1, 1.0),
        encode.sample(1, 1.0) + encode.label(b"z", b"1"),
        encode.sample(1, 1.0) + encode.label(b"a", b"1"),
        b"\x8a\x00" + encode.label(b"z", b"1")[1:] + encode.sample(1, 1.0),
    ):
        request = agrees(encode.chunk(1, labels + rest), known)
        assert request is not None and request.batch.known is not None
        assert request.batch.known.ids.tolist() == [-1]


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_garbage_is_read_or_refused_alike(message: bytes) -> None:
    """Random bytes never crash the reader."""
    agrees(message)


def test_every_cut_of_a_body_is_handled() -> None:
    """A body cut at any byte gives the rows before the cut or Malformed."""
    whole = encode.metadata(1, b"up", b"help", b"") + b"".join(
        encode.series(Series([NAME, (b"job", b"%d" % job)], [(job, 1.5), (job + 1, 2.5)]))
        for job in range(3)
    )
    for end in range(len(whole) + 1):
        agrees(whole[:end])


@pytest.mark.parametrize("size", [2**31, 2**32 - 1, 2**63, 2**63 - 1, 2**64 - 1])
def test_huge_lengths_are_malformed(size: int) -> None:
    """A length beyond the body is refused wherever it stands."""
    label = b"\x0a" + encode.varint(size)
    for message in (
        label,
        encode.chunk(1, label),
        encode.chunk(1, encode.chunk(1, label)),
        encode.chunk(1, encode.chunk(2, b"\x1a" + encode.varint(size))),
        b"\x1a" + encode.varint(size),
    ):
        agrees(message)
        with pytest.raises(Malformed):
            parsed(message)


def test_overlong_varints_are_malformed() -> None:
    """A varint of more than ten bytes is refused."""
    with pytest.raises(Malformed, match="integer overflow"):
        parsed(b"\xff" * 11)


def test_many_tiny_series_and_samples_fit() -> None:
    """Bodies whose series and samples are as small as can be still fit the columns."""
    agrees(encode.chunk(1, b"") * 5000)
    agrees(encode.chunk(1, encode.label(*NAME) + encode.chunk(2, b"") * 5000))
    agrees(encode.chunk(3, b"") * 5000)


def test_floods_of_useless_messages_are_refused() -> None:
    """What would cost seconds of work for nothing ends at once, naming the limit."""
    for flood in (
        encode.chunk(1, b"") * (MAX_IRREGULAR + 1),
        encode.chunk(1, b"") * (MAX_SERIES + 1),
        encode.chunk(3, b"") * (MAX_IRREGULAR + 1),
        encode.chunk(1, encode.chunk(4, b"") * (MAX_HISTOGRAMS + 1)),
    ):
        with pytest.raises(Malformed, match=r"more than 100000|more than 500000"):
            parsed(flood)


def test_value_bits_are_kept() -> None:
    """Stale markers, NaN payloads, infinities and negative zero arrive bit for bit."""
    patterns = [STALE_NAN_BITS, 0x7FF8000000000001, 0xFFF0000000000000, 0x8000000000000000, 1]
    bits = [struct.pack("<Q", pattern) for pattern in patterns]
    message = encode.series(
        Series([NAME], [(at, struct.unpack("<d", raw)[0]) for at, raw in enumerate(bits)])
    )
    request = parsed(message)
    assert request.batch.values.view(np.uint64).tolist() == patterns


def test_sorted_labels_are_not_copied() -> None:
    """The keys of well-formed series lie in the body itself."""
    message = np.frombuffer(bytearray(encode.series(Series([NAME], [(1, 1.0)]))), dtype=np.uint8)
    request = decode_message(message)
    assert request.batch.keys is message


@pytest.mark.parametrize(
    ("labels", "reason", "words"),
    [
        ([NAME, (b"a", b"1"), (b"a", b"2")], "duplicate-label", "duplicated label a"),
        ([(b"a", b"1")], "missing-metric-name", 'invalid metric name or labels, got {a="1"}'),
        ([(b"__name__", b"")], "missing-metric-name", "invalid metric name or labels"),
        ([NAME, (b"", b"1")], "empty-label-name", "empty label name"),
        ([NAME, (b"a", b"\xff")], "invalid-utf8", "invalid UTF-8"),
        ([NAME, *[(b"a", b"1")] * MAX_LABELS], "too-many-labels", "the limit is 1000"),
    ],
)
def test_bad_labels_are_refused_by_name(
    labels: list[tuple[bytes, bytes]], reason: str, words: str
) -> None:
    """A series with unusable labels is refused in words; its neighbour is stored."""
    message = encode.series(Series(labels, [(1, 1.0), (2, 2.0)]))
    message += encode.series(Series([NAME], [(3, 3.0)]))
    request = parsed(message)
    assert request.refused == {reason: 2}
    assert words in request.refusals[0].detail
    assert rows(request) == [(Labels.of({"__name__": "up"}), [3], [struct.pack("<d", 3.0)])]


def test_histograms_join_the_floats_of_their_series() -> None:
    """Both kinds of samples of a series come to one row, in the order floats, histograms."""
    histogram = Sent(schema=3, count=3, sum=1.5, positive_spans=[(-2, 2)], positive=[1, 2])
    message = encode.series(Series([NAME], [(1, 1.0)], [histogram.message(), histogram.message()]))
    message += encode.series(Series([(b"__name__", b"x")], [(2, 2.0)]))
    expected = Histogram(3, 3.0, 1.5, buckets=((OFFSET - 2, 1.0), (OFFSET - 1, 2.0)))
    assert rows(parsed(message)) == [
        (Labels.of({"__name__": "up"}), [1, 0, 0], [struct.pack("<d", 1.0), expected, expected]),
        (Labels.of({"__name__": "x"}), [2], [struct.pack("<d", 2.0)]),
    ]


def test_ends_of_histograms_are_float_markers() -> None:
    """A histogram whose sum is the stale marker ends the series as a float does."""
    message = encode.series(Series([NAME], histograms=[Sent(sum=STALE, time_ms=7).message()]))
    request = parsed(message)
    assert rows(request) == [(Labels.of({"__name__": "up"}), [7], [STALE])]
    assert request.batch.histograms is None


def test_refusals_are_counted_beyond_those_shown() -> None:
    """Only the first ten refusals are shown, all are counted."""
    bad = Sent(count=1).message()
    request = parsed(encode.series(Series([NAME], [(1, 1.0)], [bad])) * 25)
    assert request.refused == {"invalid-native-histogram": 25}
    assert len(request.refusals) == 10
    assert request.batch.sample_count == 25
    assert request.refusals[0].detail == (
        "0 observations found in buckets, but the Count field is 1: histogram's observation count"
        " should equal the number of observations found in the buckets (in absence of NaN)"
    )


def test_exemplars_come_with_their_rows() -> None:
    """Labels as keys, in order or not; unsound ones are counted; a row may bring nothing else."""
    pairs = [(b"trace_id", b"1"), (b"a", b"2")]
    message = encode.series(
        Series([NAME], [(1, 1.0)], exemplars=[encode.exemplar(pairs[:1], 5, 0.5)])
    )
    message += encode.series(Series([(b"a", b"1")], [(1, 1.0)]))
    message += encode.series(
        Series(
            [(b"__name__", b"x")],
            exemplars=[
                encode.exemplar(pairs, 6, 1.5),
                encode.exemplar([(b"", b"1")], 6, 1.5),
                encode.exemplar([], 7, 2.5),
            ],
        )
    )
    request = parsed(message)
    exemplars = request.batch.exemplars
    assert exemplars is not None
    assert exemplars.rows.tolist() == [0, 1, 1]
    assert exemplars.times_ms.tolist() == [5, 6, 7]
    assert exemplars.values.tolist() == [0.5, 1.5, 2.5]
    assert [Labels.from_key(exemplars.key(at)) for at in range(3)] == [
        Labels.of({"trace_id": "1"}),
        Labels.of({"trace_id": "1", "a": "2"}),
        Labels(),
    ]
    assert request.skipped == {"invalid-exemplars": 1}
    assert request.refused == {"missing-metric-name": 1}


def test_exemplars_beyond_the_limit_are_counted() -> None:
    """A flood of them costs no more than the limit."""
    message = encode.series(Series([NAME], [(1, 1.0)], exemplars=[b""] * (MAX_EXEMPLARS + 5)))
    request = parsed(message)
    assert request.batch.exemplars is not None
    assert request.batch.exemplars.size == MAX_EXEMPLARS
    assert request.skipped == {"exemplars": 5}


def test_metadata_is_decoded() -> None:
    """Type, help and unit arrive; unknown types are unknown; the last one wins."""
    message = encode.metadata(2, b"up", b"old", b"")
    message += encode.metadata(1, b"up", b"Is it up?", b"ratio") + encode.metadata(
        99, b"b", b"", b""
    )
    found = parsed(message).metadata
    assert (found["up"].type, found["up"].help, found["up"].unit) == (
        "counter",
        "Is it up?",
        "ratio",
    )
    assert found["b"].type == "unknown"


def test_snappy_claims_are_checked_before_allocating() -> None:
    """A header that claims more than the limit is refused by name, whatever follows."""
    for claimed in (2**25 + 1, 2**30, 2**32 - 1, 2**60):
        with pytest.raises(Malformed, match="exceeds the 33554432 bytes limit"):
            decode(encode.varint(claimed) + b"\x00")


def test_corrupt_snappy_is_malformed() -> None:
    """Cut, garbled and short blocks are refused; an empty block is an empty request."""
    body = encode.snappy(encode.series(Series([NAME], [(1, 1.0)])) * 20)
    for end in range(len(body)):
        with pytest.raises(Malformed):
            decode(body[:end])
    for bad in (b"", b"\xff" * 20, b"\x05\x00a", encode.varint(2**25) + b"\x00a"):
        with pytest.raises(Malformed, match="snappy"):
            decode(bad)
    assert decode(encode.snappy(b"")).batch.series_count == 0

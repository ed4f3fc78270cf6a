"""Remote write 2.0: bytes to a batch, the same as 1.0 gives for the same series."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.labels import Labels
from series.metadata import Metadata
from tests.wire import encode, encode_v2
from tests.wire.encode_v2 import Series
from tests.wire.histograms import Sent, sent
from wire import remote_write, remote_write_v2
from wire.errors import Malformed
from wire.write_request import WriteRequest

NAME = (b"__name__", b"up")


def decode(*rows: Series) -> WriteRequest:
    return decode_message(encode_v2.request(*rows))


def decode_message(message: bytes) -> WriteRequest:
    request = remote_write_v2.decode_message(np.frombuffer(bytearray(message), dtype=np.uint8))
    request.batch.check()
    return request


def rows_of(request: WriteRequest) -> list[tuple[Labels, list[int], list[int]]]:
    """(labels, times, value bits) of every row."""
    batch = request.batch
    return [
        (
            Labels.from_key(batch.key(row)),
            batch.row_times_ms(row).tolist(),
            batch.row_values(row).view(np.uint64).tolist(),
        )
        for row in range(batch.series_count)
    ]


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200).map(str.encode)
label_sets = st.dictionaries(texts, texts, max_size=5).map(
    lambda d: sorted({**d, **dict([NAME])}.items())
)
samples = st.lists(
    st.tuples(st.integers(0, 2**62), st.floats(allow_nan=True)), min_size=1, max_size=4
)
histograms = st.lists(sent.map(Sent.message), max_size=2)
rows = st.lists(st.builds(Series, label_sets, samples, st.integers(0, 9), histograms), max_size=6)


@given(rows)
def test_both_versions_give_the_same(some: list[Series]) -> None:
    """The same series sent by 1.0 and 2.0 become the same keys, times and bits."""
    first = b"".join(
        encode.series(encode.Series(one.labels, one.samples, one.histograms)) for one in some
    )
    expected = remote_write.decode_message(np.frombuffer(bytearray(first), dtype=np.uint8))
    got = decode(*some)
    assert rows_of(got) == rows_of(expected)
    assert got.refused == expected.refused
    assert repr(got.batch.histograms) == repr(expected.batch.histograms)
    assert repr(got.batch.histogram_ids) == repr(expected.batch.histogram_ids)
    keys = [got.batch.key(row) for row in range(got.batch.series_count)]
    assert keys == [labels.key for labels, _, _ in rows_of(got)]


@given(st.permutations([(b"b", b"2"), NAME, (b"a", b"1")]), st.booleans())
def test_labels_are_put_in_order(pairs: list[tuple[bytes, bytes]], packed: bool) -> None:
    """Whatever their order and packing, and empty values are left out."""
    got = decode(Series([*pairs, (b"c", b"")], [(1, 1.0)], packed=packed))
    assert [labels for labels, _, _ in rows_of(got)] == [
        Labels.of({"__name__": "up", "a": "1", "b": "2"})
    ]


@given(st.data())
def test_any_prefix_or_flip_is_malformed_or_read(data: st.DataObject) -> None:
    """Damaged bytes never do more than raise Malformed."""
    message = bytearray(
        encode_v2.request(
            Series(
                [NAME, (b"a", b"1")],
                [(1, 2.0)],
                1,
                [Sent(count=1, zero_count=1, positive_spans=[(1, 0)], start_ms=3).message()],
                [([(b"trace_id", b"1")], 5, 1.0)],
                (1, b"help", b"s"),
            ),
            Series([(b"z", b"1"), NAME], [(1, 2.0)]),
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(message) - 1))
        message[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(message)))
    try:
        decode_message(bytes(message[:cut]))
    except Malformed:
        return


@pytest.mark.parametrize(
    ("row", "reason", "words"),
    [
        (Series([], [(1, 1.0)], refs=[1, 99]), "bad-symbol-ref", "outside of symbols table"),
        (Series([], [(1, 1.0)], refs=[1]), "bad-symbol-ref", "invalid labelRefs length 1"),
        (Series([NAME, NAME], [(1, 1.0)]), "duplicate-label", "duplicated label __name__"),
        (Series([(b"a", b"1")], [(1, 1.0)]), "missing-metric-name", "no metric name"),
        (Series([NAME, (b"", b"1")], [(1, 1.0)]), "empty-label-name", "empty label name"),
        (Series([NAME, (b"a", b"\xff")], [(1, 1.0)]), "invalid-utf8", "invalid UTF-8"),
        (Series([NAME]), "empty-series", "must contain at least one sample or histogram"),
        (
            Series([NAME], histograms=[Sent(schema=-9).message()]),
            "invalid-native-histogram",
            "got schema -9",
        ),
    ],
)
def test_bad_series_are_refused_and_the_rest_kept(row: Series, reason: str, words: str) -> None:
    """Each by its name, whatever else the request brings."""
    got = decode(row, Series([NAME, (b"good", b"1")], [(5, 7.0)]))
    assert got.refused == {reason: 1}
    assert words in got.refusals[0].detail
    assert [(labels.get("good"), times) for labels, times, _ in rows_of(got)] == [("1", [5])]


def test_starts_and_exemplars_come_with_the_samples() -> None:
    """Floats and histograms have starts of their own; a series of exemplars alone is no error."""
    histogram = Sent(count=1, zero_count=1, time_ms=9, start_ms=4).message()
    got = decode(
        Series([NAME], [(1, 1.0)]),
        Series([NAME], [(1, 1.0), (2, 2.0)], start_ms=3, histograms=[histogram]),
        Series([(b"__name__", b"x")], exemplars=[([(b"t", b"1")], 5, 1.5), ([], 6, 2.5)]),
    )
    assert not got.refused and not got.skipped
    batch = got.batch
    assert batch.starts_ms is not None and batch.histogram_ids is not None
    assert batch.starts_ms.tolist() == [0, 3, 3, 4]
    assert batch.times_ms.tolist() == [1, 1, 2, 9]
    assert batch.histogram_ids.tolist() == [-1, -1, -1, 0]
    exemplars = batch.exemplars
    assert exemplars is not None
    assert exemplars.rows.tolist() == [2, 2]
    assert [Labels.from_key(exemplars.key(at)).as_dict() for at in range(2)] == [{"t": "1"}, {}]


def test_exemplars_with_odd_labels() -> None:
    """Unsorted ones are put in order, bad references make them invalid."""
    pairs = [(b"b", b"1"), (b"a", b"2")]
    symbols = encode_v2.Symbols()
    good = encode_v2.series(Series([NAME], [(1, 1.0)], exemplars=[(pairs, 5, 1.5)]), symbols)
    bad = [encode.chunk(4, encode.chunk(1, bytes(refs))) for refs in ([99, 98], [1])]
    one = encode_v2.series(Series([NAME], [(1, 1.0)], extra=b"".join(bad)), symbols)
    unpacked = encode.chunk(4, b"\x08\x03\x08\x04")
    other = encode_v2.series(Series([NAME], [(1, 1.0)], extra=unpacked), symbols)
    got = decode_message(symbols.message() + good + one + other)
    exemplars = got.batch.exemplars
    assert exemplars is not None
    assert exemplars.rows.tolist() == [0, 2]
    assert [Labels.from_key(exemplars.key(at)).as_dict() for at in range(2)] == [
        {"a": "2", "b": "1"},
        {"b": "1"},
    ]
    assert got.skipped == {"invalid-exemplars": 2}


def test_metadata_by_family() -> None:
    """The names of histograms and summaries lose what their series put behind them."""
    histogram = (3, b"How long.", b"seconds")
    got = decode(
        Series([(b"__name__", b"http_bucket"), (b"le", b"1")], [(1, 1.0)], metadata=histogram),
        Series([(b"__name__", b"http_bucket"), (b"le", b"2")], [(1, 1.0)], metadata=histogram),
        Series([(b"__name__", b"a_count")], [(1, 1.0)], metadata=(1, b"Things.", b"")),
        Series([(b"__name__", b"b")], [(1, 1.0)], metadata=(99, b"", b"u")),
        Series([(b"__name__", b"c")], [(1, 1.0)]),
    )
    assert got.metadata == {
        "http": Metadata("histogram", "How long.", "seconds"),
        "a_count": Metadata("counter", "Things.", ""),
        "b": Metadata("unknown", "", "u"),
    }


def test_symbols_may_follow_and_rows_be_many() -> None:
    """The table is read first wherever it stands; the arena of keys grows as needed."""
    symbols = encode_v2.Symbols()
    long = b"x" * 5000
    many = [Series([NAME, (b"long", long), (b"n", b"%d" % n)], [(n, 1.0)]) for n in range(200)]
    body = b"".join(encode_v2.series(one, symbols) for one in many)
    got = decode_message(body + symbols.message())
    assert [labels.get("n") for labels, _, _ in rows_of(got)] == [str(n) for n in range(200)]
    assert all(labels.get("long") == long.decode() for labels, _, _ in rows_of(got))


def test_stale_markers_and_payloads_keep_their_bits() -> None:
    """A NaN is not just a NaN."""
    bits = 0x7FF0000000000002
    stale = struct.unpack("<d", struct.pack("<Q", bits))[0]
    assert math.isnan(stale)
    assert rows_of(decode(Series([NAME], [(1, stale)])))[0][2] == [bits]


def test_label_bombs_are_refused() -> None:
    """A large symbol named over and over costs no memory and little time."""
    symbols = encode_v2.Symbols()
    refs = [symbols.ref(text) for text in (b"__name__", b"up", b"a" * 4_000_000, b"b")]
    one = encode_v2.series(Series([], [(1, 1.0)], refs=refs), symbols)
    with pytest.raises(Malformed, match="bytes in one request"):
        decode_message(symbols.message() + one * 20_000)
    backwards = encode_v2.series(Series([], [(1, 1.0)], refs=refs[2:] + refs[:2]), symbols)
    with pytest.raises(Malformed, match="bytes"):
        decode_message(symbols.message() + backwards * 20_000)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (encode.chunk(4, b"not empty"), "first symbol"),
        (b"\x28\x01", "wrong wireType"),
        (b"\x2a\xff", "unexpected EOF"),
        (b"\x00", "illegal tag"),
    ],
)
def test_no_request_at_all(message: bytes, words: str) -> None:
    """Malformed tells what and where."""
    with pytest.raises(Malformed, match=words):
        decode_message(message)


def test_an_empty_request_is_one() -> None:
    """Without series, and without a single byte."""
    for message in (b"", encode_v2.request()):
        assert decode_message(message).batch.series_count == 0

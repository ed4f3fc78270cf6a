"""What an import sends and an export asks is understood by the other side of the same protocol."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.frame import LabelFrame
from series.labels import Labels
from series.matcher import Matcher, MatchType
from tests.tsdb.contents import Value, build, contents
from tests.tsdb.test_histograms import histogram
from wire.errors import Malformed
from wire.remote_read import ReadQuery, decode_request, encode_response, encode_series
from wire.remote_read_client import decode_answer, encode_query, encode_write
from wire.remote_write import decode

MATCHERS = (
    Matcher(MatchType.EQUAL, "__name__", "up"),
    Matcher(MatchType.NOT_EQUAL, "a", ""),
    Matcher(MatchType.REGEX, "b", "x.*é"),
    Matcher(MatchType.NOT_REGEX, "c", "y|z"),
)


@given(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62), st.integers(0, 4))
def test_a_query_is_read_as_it_was_meant(start_ms: int, end_ms: int, count: int) -> None:
    """Times and matchers of every type arrive, and samples are what is accepted."""
    request = decode_request(encode_query(MATCHERS[:count], start_ms, end_ms))

    assert request.queries == (ReadQuery(start_ms, end_ms, MATCHERS[:count]),)
    assert request.accepted == (0,)


ROWS: list[tuple[Labels, list[int], list[Value]]] = [
    (Labels.of({"__name__": "m", "a": "1"}), [1, 2, 9], [0.5, float("inf"), -0.0]),
    (Labels.of({"__name__": "h"}), [5, 6], [histogram(1), 2.0]),
]


def test_samples_arrive_bit_for_bit() -> None:
    """Floats and histograms of a write and of an answer are those that were sent."""
    batch = build(ROWS)
    odd = batch.values.copy()
    odd[0] = np.array([0x7FF0000000000002], dtype=np.uint64).view(np.float64)[0]
    batch.values[:] = odd
    frame = LabelFrame.from_labels([labels for labels, _, _ in ROWS])

    written = decode(encode_write(batch)).batch
    answered = decode_answer(encode_response([b"".join(encode_series(frame, batch))])).batch

    for found in (written, answered):
        assert [Labels.from_key(found.key(row)) for row in range(2)] == [row[0] for row in ROWS]
        for row in range(2):
            # Of a series floats travel before histograms.
            assert contents(found, row) == contents(batch, row)


def test_rows_of_one_series_are_sent_as_one() -> None:
    """A page of single samples costs each series' labels once."""
    labels = Labels.of({"__name__": "m"})
    batch = build([(labels, [1], [1.0]), (Labels.of({"__name__": "n"}), [1], [3.0]),
                   (labels, [2], [2.0])])  # fmt: skip

    found = decode(encode_write(batch)).batch

    assert found.series_count == 2
    assert found.row_times_ms(0).tolist() == [1, 2]


@pytest.mark.parametrize("body", [b"", b"\xff\xff", b"\x02\x04\x0a\x05"])
def test_an_answer_that_is_none_says_so(body: bytes) -> None:
    with pytest.raises(Malformed):
        decode_answer(body)

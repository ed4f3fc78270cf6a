"""JSON lines, a series a line."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.labels import METRIC_NAME, Labels
from wire.exposition_page import Scraped
from wire.json_lines import JsonLinesDecoder

Rows = list[tuple[Labels, list[int], list[float]]]


def rows(page: Scraped) -> Rows:
    page.batch.check()
    assert page.explicit.all() and len(page.explicit) == page.batch.series_count
    return [
        (
            Labels.from_key(page.batch.key(row)),
            page.batch.row_times_ms(row).tolist(),
            page.batch.row_values(row).tolist(),
        )
        for row in range(page.batch.series_count)
    ]


def line(metric: object, values: object, times_ms: object) -> bytes:
    return json.dumps({"metric": metric, "values": values, "timestamps": times_ms}).encode()


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(min_size=1, max_size=4), st.text(max_size=4), max_size=3),
            st.lists(
                st.tuples(
                    st.integers(-(2**63), 2**63 - 1),
                    st.floats(allow_nan=False, allow_infinity=False) | st.integers(-99, 99),
                ),
                max_size=4,
            ),
        ),
        max_size=4,
    )
)
def test_what_is_written_is_read(
    series: list[tuple[dict[str, str], list[tuple[int, float]]]],
) -> None:
    """Labels, times and values come back; series without samples are left out."""
    body, expected = [], []
    for labels, points in series:
        metric = {**labels, METRIC_NAME: "m"}
        times_ms, values = [t for t, _ in points], [v for _, v in points]
        body.append(line(metric, values, times_ms))
        if points:
            expected.append((Labels.of(metric), times_ms, [float(v) for v in values]))
    page = JsonLinesDecoder().feed(b"\n".join(body))
    assert not page.refused, page.refusals
    assert rows(page) == expected


def test_values_that_json_has_no_number_for() -> None:
    """null and the texts that VictoriaMetrics writes."""
    values = [None, "NaN", "Infinity", "-Infinity", 1]
    page = JsonLinesDecoder().feed(line({METRIC_NAME: "m"}, values, [1, 2, 3, 4, 5]))
    (_, _, found) = rows(page)[0]
    assert math.isnan(found[0]) and math.isnan(found[1])
    assert found[2:] == [math.inf, -math.inf, 1.0]
    assert page.batch.values.view("u8")[0] == 0x7FF8000000000001


M = {METRIC_NAME: "m"}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (b"{", "cannot parse JSON"),
        (b"\xff", "cannot parse JSON"),
        (b"[1]", "not a JSON object"),
        (b"{}", "missing metric object"),
        (line("up", [1], [1]), "missing metric object"),
        (line({METRIC_NAME: 1}, [1], [1]), "missing metric object"),
        (line({"a": "b"}, [1], [1]), 'no metric name in {a="b"}'),
        (line({METRIC_NAME: "m", "": "b"}, [1], [1]), "empty label name"),
        (line(M, 1, [1]), "missing values or timestamps array"),
        (line(M, [1], None), "missing values or timestamps array"),
        (line(M, [1, 2], [1]), '2 values do not match 1 timestamps for series {__name__="m"}'),
        (line(M, ["x"], [1]), 'value "x" is no number'),
        (line(M, [True], [1]), 'value "True" is no number'),
        (line(M, [1], [1.5]), 'timestamp "1.5" is no integer'),
        (line(M, [1], [True]), 'timestamp "True" is no integer'),
        (line(M, [1], [2**63]), "is no integer"),
        (b"[" * 5000, "cannot parse JSON"),
    ],
)
def test_bad_lines_are_named(bad: bytes, words: str) -> None:
    """By number; the others, before and behind, are kept."""
    good = line(M, [1], [1])
    decoder = JsonLinesDecoder()
    page = decoder.feed(b"\n".join([good, b" ", bad, good, b""]))
    assert len(rows(page)) == 2
    assert page.refused == {"malformed-line": 1}
    assert page.refusals[0].detail.startswith("line 3: ")
    assert words in page.refusals[0].detail
    assert decoder.feed(bad).refusals[0].detail.startswith("line 5: ")

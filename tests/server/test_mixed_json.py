"""The JSON of native histograms: Prometheus' shape, a twin in plain Python, slices that join."""

import math
from unittest.mock import patch

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from series.batch import build_batch
from series.frame import LabelFrame
from series.histogram import CUSTOM_SCHEMA, OFFSET, Histogram, build_histograms
from series.labels import Labels
from server.answers import mixed_json, result_json
from tests.histogram_strategies import histograms
from tests.promqltest_histograms import parse_histogram
from tests.server.test_result_json import go_text
from tests.slow_histograms import all_buckets

Point = float | Histogram


def twin(histogram: Histogram) -> dict[str, object]:
    """The object of one histogram."""
    buckets = [
        [
            {(False, True): 0, (True, False): 1, (False, False): 2, (True, True): 3}[b.closed],
            *(go_text(number) for number in (b.lower, b.upper, b.count)),
        ]
        for b in all_buckets(histogram)
        if b.count != 0
    ]
    whole: dict[str, object] = {"count": go_text(histogram.count), "sum": go_text(histogram.sum)}
    return {**whole, "buckets": buckets} if buckets else whole


def columns(points: list[Point]) -> tuple[np.ndarray, np.ndarray, list[Histogram]]:
    found = [point for point in points if isinstance(point, Histogram)]
    numbers = iter(range(len(found)))
    ids = [next(numbers) if isinstance(point, Histogram) else -1 for point in points]
    values = [0.0 if isinstance(point, Histogram) else point for point in points]
    return np.array(values), np.array(ids, dtype=np.int64), found


def rows_of(rows: int) -> LabelFrame:
    return LabelFrame.from_labels([Labels.of({"row": f'"{row}'}) for row in range(rows)])


def vector(points: list[Point]) -> bytes:
    values, ids, found = columns(points)
    frame = rows_of(len(points))
    times_ms = np.full(len(points), 1500, dtype=np.int64)
    return b"".join(result_json.vector(frame, times_ms, values, ids, build_histograms(found)))


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ("{{}}", '{"count":"0","sum":"0"}'),
        (
            "{{count:9 sum:-1.5 z_bucket:2 z_bucket_w:0.5 buckets:[1 0 2] n_buckets:[3]}}",
            '{"count":"9","sum":"-1.5","buckets":[[1,"-1","-0.5","3"],[3,"-0.5","0.5","2"],'
            '[0,"0.5","1","1"],[0,"2","4","2"]]}',
        ),
        (
            "{{schema:-53 count:3 sum:1e21 custom_values:[-1 5] buckets:[1 1 1]}}",
            '{"count":"3","sum":"1e+21","buckets":[[3,"-Inf","-1","1"],[0,"-1","5","1"],'
            '[0,"5","+Inf","1"]]}',
        ),
    ],
)
def test_known_histograms(literal: str, text: str) -> None:
    """Bounds and counts are texts; empty buckets and an empty list of buckets are left out."""
    whole = vector([parse_histogram(literal)]).decode()
    assert whole == '[{"metric":{"row":"\\"0"},"histogram":[1.500,' + text + "]}]"


points = st.one_of(st.floats(-1e3, 1e3), st.just(math.nan), histograms())


@given(st.lists(points, max_size=8))
@settings(max_examples=150, deadline=None)
def test_vectors_agree_with_the_twin(row: list[Point]) -> None:
    """Every element stands there with its value or its histogram."""
    expected = [
        {"metric": {"row": f'"{at}'}, **_member("value", "histogram", 1.5, point)}
        for at, point in enumerate(row)
    ]
    assert orjson.loads(vector(row)) == expected


def _member(value: str, histogram: str, seconds: float, point: Point) -> dict[str, object]:
    if isinstance(point, Histogram):
        return {histogram: [seconds, twin(point)]}
    return {value: [seconds, go_text(point)]}


@given(
    st.lists(st.lists(st.one_of(st.none(), points), min_size=3, max_size=3), max_size=5),
    st.integers(1, 40),
)
@settings(max_examples=150, deadline=None)
def test_matrices_agree_with_the_twin(rows: list[list[Point | None]], numbers: int) -> None:
    """A series has its floats and its histograms under two keys, however small the slices."""
    flat: list[Point] = [0.0 if point is None else point for row in rows for point in row]
    values, ids, found = columns(flat)
    shape = len(rows), 3
    present = np.array([[point is not None for point in row] for row in rows], dtype=np.bool_)
    with patch.object(mixed_json, "SLICE_NUMBERS", numbers):
        slices = list(
            result_json.matrix(
                rows_of(len(rows)),
                np.array([0, 1000, 1001], dtype=np.int64),
                values.reshape(shape),
                present.reshape(shape),
                ids.reshape(shape),
                build_histograms(found),
            )
        )
    assert all(slices)
    assert orjson.loads(b"".join(slices)) == _expected(rows)


def _expected(rows: list[list[Point | None]]) -> list[object]:
    out: list[object] = []
    for at, row in enumerate(rows):
        member: dict[str, object] = {"metric": {"row": f'"{at}'}}
        there = [(s, p) for s, p in zip((0, 1, 1.001), row, strict=True) if p is not None]
        floats = [[s, go_text(p)] for s, p in there if not isinstance(p, Histogram)]
        found = [[s, twin(p)] for s, p in there if isinstance(p, Histogram)]
        if floats:
            member["values"] = floats
        if found:
            member["histograms"] = found
        if there:
            out.append(member)
    return out


def test_raw_samples_of_both_kinds() -> None:
    """A range vector's histograms have their own times."""
    histogram = Histogram(CUSTOM_SCHEMA, 1, 2, buckets=((OFFSET, 1),), bounds=(1,))
    labels = [Labels.of({"row": str(row)}) for row in range(3)]
    batch = build_batch(
        [(labels[0], [1, 1500], [histogram, 2.5]), (labels[1], [], []), (labels[2], [3], [1.0])]
    )
    text = b"".join(result_json.samples(LabelFrame.from_labels(labels), batch))
    assert orjson.loads(text) == [
        {
            "metric": {"row": "0"},
            "values": [[1.5, "2.5"]],
            "histograms": [[0.001, twin(histogram)]],
        },
        {"metric": {"row": "2"}, "values": [[0.003, "1"]]},
    ]

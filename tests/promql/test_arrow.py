"""Answers as Arrow tables hold the same points as the answers themselves."""

import json
import math

import pytest

from promql import arrow
from promql.engine import Engine
from promql.env import QueryTimes
from series.histogram import OFFSET, Histogram
from series.labels import Labels
from series.ports import Context
from tests.memory_source import MemorySource

HISTOGRAM = Histogram(schema=0, count=3, sum=4.5, buckets=((OFFSET, 1.0), (OFFSET + 1, 2.0)))


def source() -> MemorySource:
    """Two series of floats, one of them with a gap, and one of histograms."""
    return MemorySource(
        {
            Labels.of({"__name__": "m", "job": "a"}): [(0, 1.0), (60_000, 2.0), (120_000, 3.0)],
            Labels.of({"__name__": "m", "value": "v"}): [(60_000, 5.0), (120_000, float("nan"))],
            Labels.of({"__name__": "h"}): [(0, HISTOGRAM), (60_000, HISTOGRAM)],
        }
    )


def test_matrices_are_long_tables() -> None:
    """A row a point; absent labels are null; names of our own columns are kept apart."""
    answer = Engine().range(source(), "m", QueryTimes(0, 120_000, 60_000), Context())
    table = arrow.to_table(answer)
    assert table.column_names == ["__name__", "job", "exported_value", "timestamp", "value"]
    rows = [
        (row["job"], row["exported_value"], row["timestamp"].timestamp(), row["value"])
        for row in table.to_pylist()
    ]
    assert rows[:4] == [
        ("a", None, 0.0, 1.0),
        ("a", None, 60.0, 2.0),
        ("a", None, 120.0, 3.0),
        (None, "v", 60.0, 5.0),
    ]
    assert len(rows) == 5 and math.isnan(rows[4][3])
    assert table.schema.metadata[b"result_type"] == b"matrix"


def test_histograms_are_structs() -> None:
    """A point is a float or a histogram with its buckets, the other column is null."""
    answer = Engine().instant(source(), '{__name__=~"m|h"}', 60_000, Context())
    rows = {row["__name__"]: row for row in arrow.to_table(answer).to_pylist()}
    assert rows["h"]["value"] is None
    assert rows["h"]["histogram"] == {
        "count": 3.0,
        "sum": 4.5,
        "buckets": [
            {"lower": 0.5, "upper": 1.0, "count": 1.0},
            {"lower": 1.0, "upper": 2.0, "count": 2.0},
        ],
    }
    assert rows["m"]["histogram"] is None


def test_raw_samples_scalars_and_strings() -> None:
    """Every type of answer has a table."""
    engine, context = Engine(), Context()
    raw = arrow.to_table(engine.instant(source(), "m[2m]", 120_000, context))
    assert raw.num_rows == 4
    scalar = arrow.to_table(engine.instant(source(), "1 + 1", 5_000, context))
    assert [row["value"] for row in scalar.to_pylist()] == [2.0]
    text = arrow.to_table(engine.instant(source(), '"x"', 5_000, context))
    assert [row["value"] for row in text.to_pylist()] == ["x"]
    nothing = arrow.to_table(engine.instant(source(), "none", 5_000, context))
    assert nothing.num_rows == 0


def test_notes_stand_in_the_metadata() -> None:
    """Warnings and infos are lists in the schema's metadata."""
    answer = Engine().instant(source(), "rate(m[2m])", 120_000, Context())
    infos = json.loads(arrow.to_table(answer).schema.metadata[b"infos"])
    assert infos == answer.infos
    assert len(infos) == 1


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the batches, together they are the same table."""
    answer = Engine().range(source(), "m", QueryTimes(0, 120_000, 60_000), Context())
    whole = arrow.to_table(answer).to_pylist()
    monkeypatch.setattr(arrow, "POINTS_PER_BATCH", 3)
    assert len(list(arrow.record_batches(answer))) == 2
    assert str(arrow.to_table(answer).to_pylist()) == str(whole)

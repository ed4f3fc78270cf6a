"""Aggregations of native histograms against plain Python, group by group and step by step."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql import ast
from promql.aggregate import Fold, count_values, group_labels, quantile
from promql.matrix import Matrix
from promql.selecting import select_rows
from series.frame import LabelFrame
from series.histogram import NOT_RESET, OFFSET, RESET, Histogram, build_histograms
from series.labels import Labels
from tests.examples import examples
from tests.promql.matrices import ZERO, Bench
from tests.promql.native_strategies import histograms
from tests.promql.native_twin import Incompatible, Twin, total

STEPS = 3
Point = float | Histogram | None

points = st.one_of(st.none(), histograms, histograms, st.sampled_from([1.0, 2.0]))
tables = st.lists(st.lists(points, min_size=STEPS, max_size=STEPS), min_size=1, max_size=6)


def matrix_of(rows: Sequence[Sequence[Point]]) -> Matrix:
    """Rows of series ``m{i=".."}``; every third one in the same group."""
    found: list[Histogram] = []
    ids = np.full((len(rows), STEPS), -1, dtype=np.int64)
    values = np.zeros((len(rows), STEPS))
    present = np.zeros((len(rows), STEPS), dtype=np.bool_)
    for r, row in enumerate(rows):
        for k, point in enumerate(row):
            present[r, k] = point is not None
            if isinstance(point, Histogram):
                ids[r, k] = len(found)
                found.append(point)
            elif point is not None:
                values[r, k] = point
    labels = [
        Labels([("__name__", "m"), ("g", str(r % 3)), ("i", str(r))]) for r in range(len(rows))
    ]
    frame = LabelFrame.from_labels(labels)
    return Matrix(frame, values, present, None, None, ids, build_histograms(found))


def node_of(op: str, *grouping: str) -> ast.Aggregate:
    return ast.Aggregate(op, ZERO, None, grouping, False)


def folded(op: str, rows: Sequence[Sequence[Point]], slab_rows: int, bench: Bench) -> Matrix:
    matrix = matrix_of(rows)
    labels = group_labels(matrix.frame, node_of(op, "g"))
    ids, first = labels.group_ids()
    fold = Fold(op, len(first), STEPS, bench.env)
    for start in range(0, len(rows), slab_rows):
        some = np.arange(start, min(start + slab_rows, len(rows)))
        fold.add(matrix.take(some), ids[some])
    result = fold.result(labels.take(first))
    result.check()
    return result


def seen(matrix: Matrix) -> dict[tuple[str, int], object]:
    """Every point by its group and step."""
    out: dict[tuple[str, int], object] = {}
    for r, labels in enumerate(matrix.frame.as_dicts()):
        for k in np.flatnonzero(matrix.present[r]).tolist():
            ids = matrix.histogram_ids
            if ids is not None and matrix.histograms is not None and ids[r, k] >= 0:
                point: object = Twin.of(matrix.histograms.one(int(ids[r, k]))).key()
            else:
                point = float(matrix.values[r, k])
            out[labels["g"], k] = point
    return out


def slow(op: str, group: Sequence[Point]) -> object:
    """The point of a group at one step, None for none."""
    there = [p for p in group if p is not None]
    if op in ("count", "group"):
        return (float(len(there)) if op == "count" else 1.0) if there else None
    floats = [p for p in there if not isinstance(p, Histogram)]
    natives = [Twin.of(p) for p in there if isinstance(p, Histogram)]
    if op in ("min", "max"):
        return (min if op == "min" else max)(floats, default=None)
    if (floats and natives) or not there:
        return None
    if floats:
        return sum(floats) / (len(floats) if op == "avg" else 1)
    try:
        result = total(natives, average=op == "avg")
    except Incompatible:
        return None
    return result.key()


@pytest.mark.parametrize("op", ["sum", "avg", "count", "group", "min", "max"])
@pytest.mark.parametrize("slab_rows", [1, 100])
@examples(50)
@given(rows=tables)
def test_groups_of_both_kinds_follow_their_definition(
    op: str, slab_rows: int, rows: list[list[Point]]
) -> None:
    """Whatever the slabs: sums and means of histograms, none of mixed groups, counts of all."""
    want = {}
    for g in range(min(3, len(rows))):
        for k in range(STEPS):
            point = slow(op, [row[k] for row in rows[g::3]])
            if point is not None:
                want[str(g), k] = point
    assert seen(folded(op, rows, slab_rows, Bench())) == want


H = Histogram(count=2.0, sum=1.0, buckets=((OFFSET + 1, 2.0),))
NHCB = Histogram(schema=-53, count=4.0, buckets=((OFFSET, 4.0),), bounds=(1.0,))
OTHER = Histogram(schema=-53, count=4.0, buckets=((OFFSET, 4.0),), bounds=(1.0, 2.0))


def same_step(*found: Point) -> list[list[Point]]:
    """All of one group, at the first step."""
    return [[p, None, None] for point in found for p in (point, None, None)]


@pytest.mark.parametrize(
    ("op", "found", "warning", "info"),
    [
        ("sum", (H, H), "", ""),
        ("sum", (H, 1.0), "mix of histograms and floats for aggregation", ""),
        ("sum", (H, NHCB), "exponential and custom buckets schemas for metric name", ""),
        ("avg", (NHCB, OTHER), "", "reconciled during aggregation"),
        ("min", (H, 1.0), "", "ignored histogram in min aggregation"),
        ("count", (H, 1.0), "", ""),
        (
            "avg",
            (replace(H, hint=RESET), replace(H, hint=NOT_RESET)),
            "conflicting counter resets during histogram aggregation",
            "",
        ),
    ],
)
def test_what_cannot_be_aggregated_is_said(
    op: str, found: tuple[Point, ...], warning: str, info: str
) -> None:
    """Each reason has its note, and none comes without."""
    bench = Bench()
    folded(op, same_step(*found), 2, bench)
    for texts, want in ((bench.warnings, warning), (bench.infos, info)):
        assert len(texts) == bool(want)
        assert all(want in text for text in texts)


def test_sums_that_overflow_go_on_as_means() -> None:
    """The mean of huge histograms is finite."""
    huge = Histogram(count=1.5e308, sum=1e308, buckets=((OFFSET + 1, 1.5e308),))
    found = folded("avg", same_step(huge, huge, huge), 2, Bench())
    assert found.histograms is not None
    mean = found.histograms.one(0)
    assert mean.count == pytest.approx(1.5e308) and mean.buckets[0][1] == pytest.approx(1.5e308)


def test_compensations_keep_what_addition_loses() -> None:
    """Kahan's sum of fractions is exact where plain addition is not, bucket by bucket."""
    small = [Histogram(count=n, sum=n, buckets=((OFFSET + 1, n),)) for n in (1.0, 1e100, 1.0)]
    found = folded("sum", same_step(*small, replace(small[1], count=-1e100, sum=-1e100,
        buckets=((OFFSET + 1, -1e100),))), 1, Bench())  # fmt: skip
    assert found.histograms is not None
    result = found.histograms.one(0)
    assert (result.count, result.sum, result.buckets) == (2.0, 2.0, ((OFFSET + 1, 2.0),))


def test_rows_are_kept_with_their_histograms() -> None:
    """limitk counts histograms like floats; topk and quantile pass over them and say so."""
    matrix = matrix_of([[H, None, None], [1.0, None, None], [2.0, None, None]])
    bench = Bench()
    one = np.ones(STEPS)
    kept = select_rows(node_of("limitk"), matrix, one, bench.env)
    assert kept.holds_histograms[0, 0] and kept.series_count == 1
    best = select_rows(node_of("topk"), matrix, one, bench.env)
    assert best.values[best.present].tolist() == [2.0]
    quantile(node_of("quantile"), matrix, np.full(STEPS, 0.5), bench.env)
    assert [text.split(": ")[1].split(" (")[0] for text in bench.infos] == [
        "ignored histogram in topk aggregation",
        "ignored histogram in quantile aggregation",
    ]


def test_values_of_histograms_are_counted_by_their_text() -> None:
    """Equal texts count together, beside floats."""
    matrix = matrix_of([[H, None, None], [replace(H), None, None], [2.0, None, None]])
    found = count_values(node_of("count_values"), matrix, "v", Bench().env)
    counts = {
        labels["v"]: value
        for labels, value in zip(found.frame.as_dicts(), found.values[:, 0].tolist(), strict=True)
    }
    assert counts == {"2": 1.0, "{count:2, sum:1, (1,2]:2}": 2.0}

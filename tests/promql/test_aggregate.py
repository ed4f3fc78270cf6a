"""Aggregations against plain Python over each group and step."""

import heapq
import math
import statistics
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql import ast
from promql.aggregate import (
    FOLDS,
    Fold,
    count_values,
    group_ends,
    group_labels,
    plain_number,
    quantile,
)
from promql.env import Env, Options, QueryTimes
from promql.matrix import Matrix
from promql.notes import ExecutionError, Notes
from promql.selecting import select_rows
from promql.xxhash import xxh64
from series.frame import LabelFrame
from series.grid import Grid
from series.labels import Labels
from series.ports import Context
from tests.examples import examples
from tests.promql.matrices import Bench

STEPS = 3
Points = dict[Labels, list[float | None]]

numbers = st.sampled_from([0.0, -0.0, 1.0, 2.0, 2.5, -3.0, 7.0, 1e9])
anything = st.one_of(numbers, st.sampled_from([math.nan, math.inf, -math.inf, 1.7e308]))


def vectors(values: st.SearchStrategy[float]) -> st.SearchStrategy[Points]:
    """Up to eight series named m with labels a and b."""
    labels = st.tuples(st.sampled_from("123"), st.sampled_from("xyz")).map(
        lambda pair: Labels.of({"__name__": "m", "a": pair[0], "b": pair[1]})
    )
    row = st.lists(st.one_of(st.none(), values, values), min_size=STEPS, max_size=STEPS)
    return st.dictionaries(labels, row, max_size=8)


def matrix_of(points: Points) -> Matrix:
    frame = LabelFrame.from_labels(list(points))
    shape = len(points), STEPS
    values = np.array([[0.0 if v is None else v for v in row] for row in points.values()])
    present = np.array([[v is not None for v in row] for row in points.values()], dtype=np.bool_)
    return Matrix(frame, values.reshape(shape), present.reshape(shape))


def points_of(matrix: Matrix) -> Points:
    """The series that have points; absence is None."""
    matrix.check()
    return {
        labels: [
            value if there else None
            for value, there in zip(matrix.values[row], matrix.present[row], strict=True)
        ]
        for row, labels in enumerate(matrix.frame.all_labels())
        if matrix.present[row].any()
    }


def env(query: str = "q", steps: int = STEPS) -> Env:
    grid = Grid(0, 1, steps)
    return Env(Options(), Notes(query), Context(), grid, QueryTimes(0, grid.end_ms, 1), ast.NOWHERE)


def node(op: str, *grouping: str, without: bool = False) -> ast.Aggregate:
    return ast.Aggregate(op, ast.NumberLiteral(0.0), None, grouping, without)


def group_of(labels: Labels, aggregate: ast.Aggregate) -> Labels:
    if aggregate.without:
        return labels.without((*aggregate.grouping, "__name__"))
    return Labels(pair for pair in labels if pair[0] in aggregate.grouping)


def expected(
    points: Points, aggregate: ast.Aggregate, function: Callable[[list[float]], float]
) -> Points:
    """*function* over the values of each group at each step, in the order of the series."""
    groups: dict[Labels, list[list[float]]] = {}
    for labels, row in points.items():
        group = groups.setdefault(group_of(labels, aggregate), [[] for _ in range(STEPS)])
        for step, value in enumerate(row):
            if value is not None:
                group[step].append(value)
    answer = {g: [function(v) if v else None for v in steps] for g, steps in groups.items()}
    return {group: row for group, row in answer.items() if any(v is not None for v in row)}


def assert_same(got: Points, want: Points) -> None:
    assert got.keys() == want.keys()
    for labels, row in want.items():
        for a, b in zip(got[labels], row, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) or (a != a and b != b)


def folded(points: Points, aggregate: ast.Aggregate, slab_rows: int = 100) -> Matrix:
    matrix = matrix_of(points)
    labels = group_labels(matrix.frame, aggregate)
    ids, first = labels.group_ids()
    fold = Fold(aggregate.op, len(first), STEPS, Bench().env)
    for start in range(0, matrix.series_count, slab_rows):
        rows = np.arange(start, min(start + slab_rows, matrix.series_count))
        fold.add(matrix.take(rows), ids[rows])
    return fold.result(labels.take(first))


def total(values: list[float]) -> float:
    finite = all(map(math.isfinite, values))
    return math.fsum(values) if finite else float(np.sum(values))


def extreme(pick: Callable[[Iterable[float]], float]) -> Callable[[list[float]], float]:
    return lambda values: pick([v for v in values if v == v] or [math.nan])


def variance(values: list[float]) -> float:
    return statistics.pvariance(values) if all(map(math.isfinite, values)) else math.nan


SLOW: dict[str, Callable[[list[float]], float]] = {
    "sum": total,
    "avg": lambda values: total(values) / len(values),
    "min": extreme(min),
    "max": extreme(max),
    "count": lambda values: float(len(values)),
    "group": lambda values: 1.0,
    "stdvar": variance,
    "stddev": lambda values: math.sqrt(variance(values)),
}
GROUPINGS = [
    ((), False),
    (("a",), False),
    (("a", "__name__", "none"), False),
    (("b",), True),
    ((), True),
]


@pytest.mark.parametrize("op", sorted(FOLDS))
@examples(40)
@given(data=st.data(), grouping=st.sampled_from(GROUPINGS))
def test_folds_follow_their_definition(
    op: str, data: st.DataObject, grouping: tuple[tuple[str, ...], bool]
) -> None:
    """Groups are those of by and without; NaN and infinities as in Prometheus."""
    odd = st.sampled_from([math.nan, math.inf, -math.inf])
    points = data.draw(vectors(st.one_of(numbers, odd)))
    aggregate = node(op, *grouping[0], without=grouping[1])
    with np.errstate(all="ignore"):
        assert_same(points_of(folded(points, aggregate)), expected(points, aggregate, SLOW[op]))


@examples(60)
@given(vectors(anything), st.sampled_from(sorted(FOLDS)), st.integers(1, 4))
def test_folds_do_not_depend_on_slabs(points: Points, op: str, slab_rows: int) -> None:
    """The same bits come out however the rows are cut."""
    whole, cut = (folded(points, node(op, "a"), rows) for rows in (100, slab_rows))
    assert whole.frame.all_labels() == cut.frame.all_labels()
    assert whole.values.tobytes() == cut.values.tobytes()
    assert (whole.present == cut.present).all()


@given(st.lists(st.integers(0, 5), max_size=12))
def test_groups_end_behind_their_last_rows(ids: list[int]) -> None:
    """At each end no group has rows on both sides."""
    ends = [at for at in range(1, len(ids) + 1) if not set(ids[:at]) & set(ids[at:])]
    assert group_ends(np.array(ids, dtype=np.int64)).tolist() == ends


def test_a_mean_whose_sum_overflows_is_still_right() -> None:
    """avg goes on incrementally where the sum is beyond the largest float."""
    points: Points = {Labels.of({"a": str(i)}): [1.7e308, None, 1.0] for i in range(4)}
    answer = points_of(folded(points, node("avg")))
    assert answer[Labels()] == [pytest.approx(1.7e308), None, 1.0]


@examples(60)
@given(vectors(st.one_of(numbers, st.just(math.nan))), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_quantiles_sort_nan_first(points: Points, q: float) -> None:
    """Values between two ranks are interpolated."""

    def slow(values: list[float]) -> float:
        ordered = sorted(values, key=lambda v: (v == v, v))
        rank = q * (len(ordered) - 1)
        low = math.floor(rank)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] * (1 - (rank - low)) + ordered[high] * (rank - low)

    aggregate = node("quantile", "a")
    got = quantile(aggregate, matrix_of(points), np.full(STEPS, q), env())
    assert_same(points_of(got), expected(points, aggregate, slow))


def test_bad_quantiles_are_infinite_and_earn_warnings() -> None:
    """Each kind of bad quantile is told once, with the worst of its kind."""
    notes = env("quantile(x, y)")
    points: Points = {Labels(): [1.0, 1.0, 1.0]}
    row = points_of(
        quantile(node("quantile"), matrix_of(points), np.array([-1.0, 1.5, math.nan]), notes)
    )[Labels()]
    assert row[:2] == [-math.inf, math.inf] and math.isnan(row[2] or 0)
    assert list(notes.notes.warnings) == [
        f"PromQL warning: quantile value should be between 0 and 1, got {q} (1:1)"
        for q in ("NaN", "1.5", "-1")
    ]


@examples(100)
@given(vectors(st.one_of(numbers, st.just(math.nan))), st.booleans(), st.integers(-1, 4))
def test_topk_keeps_the_best_of_each_group(points: Points, largest: bool, k: int) -> None:
    """At every step the kept values are the k best; NaN is worse than every number."""
    aggregate = node("topk" if largest else "bottomk", "a")
    got = points_of(select_rows(aggregate, matrix_of(points), np.full(STEPS, float(k)), env()))
    sign = 1 if largest else -1

    def rank(value: float) -> tuple[bool, float]:
        return value == value, sign * value

    for step in range(STEPS):
        for group in {group_of(labels, aggregate) for labels in points}:
            every = [row[step] for ls, row in points.items() if group_of(ls, aggregate) == group]
            kept = [row[step] for ls, row in got.items() if group_of(ls, aggregate) == group]
            best = heapq.nlargest(k, [v for v in every if v is not None], key=rank)
            found = sorted([v for v in kept if v is not None], key=rank, reverse=True)
            assert [str(v + 0) for v in found] == [str(v + 0) for v in best]
    for labels, row in got.items():
        pairs = zip(row, points[labels], strict=True)
        assert all(kept is None or str(kept) == str(given) for kept, given in pairs)


def test_topk_of_one_step_is_ordered_best_first() -> None:
    """Groups stand in order of appearance, NaN comes last."""
    values = [("1", 2.0), ("2", 5.0), ("1", math.nan), ("1", 9.0), ("2", 7.0)]
    frame = LabelFrame.from_labels(
        [Labels.of({"a": a, "n": str(n)}) for n, (a, _) in enumerate(values)]
    )
    matrix = Matrix(
        frame, np.array([[v] for _, v in values]), np.ones((len(values), 1), dtype=np.bool_)
    )
    top = select_rows(node("topk", "a"), matrix, np.array([3.0]), env(steps=1))
    assert top.frame.texts("n") == ["3", "0", "2", "4", "1"]
    low = select_rows(node("bottomk", "a"), matrix, np.array([2.0]), env(steps=1))
    assert low.frame.texts("n") == ["0", "3", "1", "4"]


@pytest.mark.parametrize(
    ("op", "parameter", "text"),
    [
        ("topk", math.nan, "Parameter value is NaN"),
        ("bottomk", 1e19, "Scalar value 1e+19 overflows int64"),
        ("limitk", math.nan, "Parameter value is NaN"),
        ("limit_ratio", math.nan, "Ratio value is NaN"),
    ],
)
def test_bad_parameters_are_errors(op: str, parameter: float, text: str) -> None:
    """The texts are those of Prometheus."""
    points: Points = {Labels(): [1.0, 1.0, 1.0]}
    with pytest.raises(ExecutionError) as error:
        select_rows(node(op), matrix_of(points), np.full(STEPS, parameter), env())
    assert str(error.value) == text


def test_underflowing_counts_are_errors_only_beside_a_real_one() -> None:
    """Nothing is looked at where no step asks for a series."""
    points: Points = {Labels(): [1.0, 1.0, 1.0]}
    empty = select_rows(node("topk"), matrix_of(points), np.full(STEPS, -1e19), env())
    assert points_of(empty) == {}
    with pytest.raises(ExecutionError, match=r"Scalar value -1e\+19 underflows int64"):
        select_rows(node("topk"), matrix_of(points), np.array([-1e19, 1.0, 1.0]), env())


@examples(60)
@given(vectors(numbers), st.integers(0, 3))
def test_limitk_keeps_the_first_of_each_group(points: Points, k: int) -> None:
    """At every step the first k series that have a point stay."""
    aggregate = node("limitk", "a")
    got = points_of(select_rows(aggregate, matrix_of(points), np.full(STEPS, float(k)), env()))
    for step in range(STEPS):
        taken: dict[Labels, int] = {}
        for labels, row in points.items():
            group = group_of(labels, aggregate)
            keep = row[step] is not None and taken.get(group, 0) < k
            taken[group] = taken.get(group, 0) + keep
            assert (got.get(labels, [None] * STEPS)[step] is not None) == keep


@examples(40)
@given(vectors(numbers), st.sampled_from([0.1, 0.5, 0.8]))
def test_a_ratio_and_its_complement_share_the_series(points: Points, ratio: float) -> None:
    """limit_ratio(r) and limit_ratio(r - 1) keep every series exactly once."""
    matrix = matrix_of(points)
    aggregate = node("limit_ratio")
    parts = [
        points_of(select_rows(aggregate, matrix, np.full(STEPS, r), env()))
        for r in (ratio, ratio - 1.0)
    ]
    assert parts[0].keys() & parts[1].keys() == set()
    assert {**parts[0], **parts[1]} == points_of(matrix)


def test_ratios_beyond_one_are_capped_with_a_warning() -> None:
    """A capped ratio keeps everything."""
    notes = env("limit_ratio(1.1, x)")
    points: Points = {Labels.of({"a": str(i)}): [1.0] * STEPS for i in range(5)}
    got = select_rows(node("limit_ratio"), matrix_of(points), np.full(STEPS, 1.1), notes)
    assert points_of(got) == points
    assert list(notes.notes.warnings) == [
        "PromQL warning: ratio value should be between -1 and 1, got 1.1, capping to 1 (1:1)"
    ]


@examples(60)
@given(vectors(anything), st.sampled_from(GROUPINGS))
def test_count_values_counts_texts(points: Points, grouping: tuple[tuple[str, ...], bool]) -> None:
    """The label holds the value's text and stands beside those of the group."""
    aggregate = node("count_values", *grouping[0], without=grouping[1])
    got = points_of(count_values(aggregate, matrix_of(points), "v", env()))
    want: Points = {}
    for labels, row in points.items():
        for step, value in enumerate(row):
            if value is not None:
                pairs = (*group_of(labels, aggregate), ("v", plain_number(value)))
                counts = want.setdefault(Labels(pairs), [None] * STEPS)
                counts[step] = (counts[step] or 0.0) + 1.0
    assert got == want


def test_count_values_overrides_the_label_and_respects_without() -> None:
    """An existing label gives way to the value; without that label nothing tells values apart."""
    points: Points = {Labels.of({"v": "old", "a": "1"}): [3.0, 3.0, None]}
    matrix = matrix_of(points)
    overridden = points_of(count_values(node("count_values", without=True), matrix, "v", env()))
    assert overridden == {Labels.of({"a": "1", "v": "3"}): [1.0, 1.0, None]}
    lost = points_of(count_values(node("count_values", "v", without=True), matrix, "v", env()))
    assert lost == {Labels.of({"a": "1"}): [1.0, 1.0, None]}
    with pytest.raises(ExecutionError, match='invalid label name ""'):
        count_values(node("count_values"), matrix, "", env())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        (math.nan, "NaN"),
        (-math.inf, "-Inf"),
    ],
)
def test_values_print_without_exponents(value: float, text: str) -> None:
    """The texts are those of Go's strconv 'f' -1."""
    assert plain_number(value) == text


def test_late_removal_of_names_marks_groups() -> None:
    """A group with one marked member is marked."""
    frame = LabelFrame.from_labels([Labels.of({"__name__": "m", "a": a}) for a in "12"])
    marked = Matrix(
        frame,
        np.ones((2, STEPS)),
        np.ones((2, STEPS), dtype=np.bool_),
        np.array([False, True]),
    )
    fold = Fold("sum", 2, STEPS, Bench().env)
    fold.add(marked, np.array([0, 1]))
    assert fold.result(frame).marks().tolist() == [False, True]


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_xxh64_agrees_with_published_digests(data: bytes, digest: int) -> None:
    """Short inputs and inputs of more than one stripe."""
    assert xxh64(data) == digest

"""Operators with native histograms: cell by cell as a twin in plain Python, with its notes."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promql import ast
from promql.binary import negate
from promql.cells import Points, Side
from promql.env import Env, Options, QueryTimes
from promql.histogram_binary import operate
from promql.histograms import combine, filled, room
from promql.matrix import Matrix
from promql.notes import Notes
from promql.trim_kernels import trimmed
from series.frame import LabelFrame
from series.histogram import GAUGE, NOT_RESET, RESET, UNKNOWN, Histogram, build_histograms
from series.ports import Context
from tests import slow_histograms as slow
from tests.histogram_strategies import histograms
from tests.promqltest_compare import same_value
from tests.promqltest_histograms import parse_histogram

SETTINGS = settings(max_examples=250, deadline=None)
Value = float | Histogram
OPERATORS = ("+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", ">=", "</", ">/")


def env_of() -> Env:
    query = QueryTimes.instant(0)
    return Env(Options(), Notes("a"), Context(), query.grid, query, ast.Span(0, 1))


def side(values: list[list[Value]]) -> Side:
    flat = [value for row in values for value in row]
    found = [value for value in flat if isinstance(value, Histogram)]
    numbers = iter(range(len(found)))
    shape = len(values), len(values[0])
    ids = [next(numbers) if isinstance(value, Histogram) else -1 for value in flat]
    floats = [0.0 if isinstance(value, Histogram) else value for value in flat]
    return Side(
        np.array(floats).reshape(shape),
        np.array(ids, dtype=np.int64).reshape(shape),
        build_histograms(found),
    )


def value_at(points: Points, row: int, step: int) -> Value | None:
    if not points.present[row, step]:
        return None
    if points.ids is not None and points.histograms is not None and points.ids[row, step] >= 0:
        return points.histograms.one(int(points.ids[row, step]))
    return float(points.values[row, step])


def twin(op: str, a: Value, b: Value, return_bool: bool) -> Value | None:
    """What becomes of two values that are not both floats, nor added."""
    if isinstance(a, Histogram) and isinstance(b, float):
        if op in ("*", "/"):
            return _scaled(a, b, op)
        if op in ("</", ">/"):
            return slow.trim(a, b, below=op == "</")
    if isinstance(a, float) and isinstance(b, Histogram) and op == "*":
        return _scaled(b, a, op)
    if isinstance(a, Histogram) and isinstance(b, Histogram) and op in ("==", "!="):
        held = _same(a, b) == (op == "==")
        return float(held) if return_bool else (a if held else None)
    return None


def _same(a: Histogram, b: Histogram) -> bool:
    parts = [(h.schema, h.buckets, h.bounds, h.zero_threshold) for h in (a, b)]
    numbers = [np.array([h.count, h.sum, h.zero_count]).tobytes() for h in (a, b)]
    return parts[0] == parts[1] and numbers[0] == numbers[1]


def _scaled(h: Histogram, factor: float, op: str) -> Histogram:
    def by(number: float) -> float:
        with np.errstate(all="ignore"):
            x, y = np.float64(number), np.float64(factor)
            return float(x * y if op == "*" else x / y)

    gone = op == "/" and factor == 0
    buckets = () if gone else tuple((at, by(n)) for at, n in h.buckets)
    return Histogram(
        h.schema,
        by(h.count),
        by(h.sum),
        h.zero_threshold,
        by(h.zero_count),
        tuple((at, n) for at, n in buckets if n != 0),
        h.bounds,
        GAUGE if factor < 0 else h.hint,
    )


values = st.one_of(histograms(), st.sampled_from([0.0, 2.0, -1.5, math.inf, math.nan, 0.5, 3.0]))
cells = st.lists(st.tuples(values, values), min_size=4, max_size=4)


@given(cells, st.sampled_from(OPERATORS), st.booleans())
@SETTINGS
def test_cells_agree_with_the_twin(
    pairs: list[tuple[Value, Value]], op: str, return_bool: bool
) -> None:
    """Every kind of encounter under every operator; floats among them stay what they are."""
    env = env_of()
    left = side([[pairs[0][0], pairs[1][0]], [pairs[2][0], pairs[3][0]]])
    right = side([[pairs[0][1], pairs[1][1]], [pairs[2][1], pairs[3][1]]])
    present = np.ones((2, 2), dtype=np.bool_)
    points = operate(
        op, left, right, present, lambda: (left.values, present), env, return_bool=return_bool
    )
    for (a, b), (row, step) in zip(pairs, product((0, 1), (0, 1)), strict=True):
        got = value_at(points, row, step)
        if isinstance(a, float) and isinstance(b, float):
            assert op in ("</", ">/") or same_value(a, got if got is not None else math.inf)
            continue
        if op in ("+", "-") and isinstance(a, Histogram) and isinstance(b, Histogram):
            continue
        wanted = twin(op, a, b, return_bool)
        if wanted is None:
            assert got is None
        else:
            assert got is not None and same_value(wanted, got), (wanted, got)
            if isinstance(wanted, Histogram) and isinstance(got, Histogram):
                assert wanted.hint == got.hint
    assert all(f'binary operator "{op}"' in text for text in env.notes.infos if "sample" in text)


@given(
    histograms(),
    st.one_of(st.floats(-40, 40), st.sampled_from([0.0, 1.0, math.inf, math.nan])),
    st.booleans(),
)
@SETTINGS
def test_trimming_agrees_with_the_twin(h: Histogram, bound: float, below: bool) -> None:
    """What is kept of each bucket, and the count and sum made anew."""
    pool = build_histograms([h])
    out = room(1, len(h.buckets), len(h.bounds))
    trimmed(pool.columns, np.zeros(1, np.int64), np.array([bound]), below, out)
    got = filled(out)
    got.check()
    wanted = slow.trim(h, bound, below=below)
    assert same_value(wanted, got.one(0)), (wanted, got.one(0))
    assert got.one(0).hint == h.hint


def test_trimming_keeps_what_is_whole() -> None:
    """Where nothing is cut off, count and sum are not made anew and empty buckets stay."""
    h = parse_histogram("{{count:7 sum:9 z_bucket:1 z_bucket_w:0.5 buckets:[1 0 2]}}")
    out = room(1, 3, 0)
    pool = build_histograms([h])
    trimmed(pool.columns, np.zeros(1, np.int64), np.array([4.0]), True, out)
    assert filled(out).one(0) == pool.one(0)


def added(op: str, a: Histogram, b: Histogram) -> tuple[Value | None, list[str]]:
    env = env_of()
    left, right = side([[a]]), side([[b]])
    present = np.ones((1, 1), dtype=np.bool_)
    points = operate(
        op, left, right, present, lambda: (left.values, present), env, return_bool=False
    )
    return value_at(points, 0, 0), [*env.notes.warnings, *env.notes.infos]


@given(histograms(), histograms(), st.sampled_from("+-"))
@SETTINGS
def test_sums_are_those_of_the_arithmetic(a: Histogram, b: Histogram, op: str) -> None:
    """A sum is compacted and a difference a gauge; a conflict or another layout gives nothing."""
    zero = np.zeros(1, dtype=np.int64)
    pools = build_histograms([a]), build_histograms([b])
    raw = combine(pools[0], zero, pools[1], zero, subtract=op == "-")
    got, notes = added(op, a, b)
    if not raw.ok[0]:
        assert got is None
        assert notes == [
            f"PromQL warning: incompatible bucket layout encountered for binary operator {op} (1:1)"
        ]
        return
    if raw.conflict[0]:
        assert got is None and "conflicting counter resets during histogram" in notes[0]
        return
    assert isinstance(got, Histogram) and same_value(raw.histograms.one(0), got)
    assert all(count != 0 for _, count in got.buckets)
    assert got.hint == (GAUGE if op == "-" else raw.histograms.one(0).hint)
    assert (notes != []) is bool(raw.reconciled[0])


SAMPLE_TYPES = "info: incompatible sample types encountered for binary operator"
RESETS = "{{counter_reset_hint:reset}}", "{{counter_reset_hint:not_reset}}"
BOUNDS = "{{schema:-53 custom_values:[1 2]}}", "{{schema:-53 custom_values:[1 3]}}"


@pytest.mark.parametrize(
    ("op", "a", "b", "text"),
    [
        ("+", "{{}}", 1.0, f'{SAMPLE_TYPES} "+": histogram + float'),
        ("/", 1.0, "{{}}", f'{SAMPLE_TYPES} "/": float / histogram'),
        ("*", "{{}}", "{{}}", f'{SAMPLE_TYPES} "*": histogram * histogram'),
        ("</", 1.0, 2.0, f'{SAMPLE_TYPES} "</": float </ float'),
        ("-", *RESETS, "warning: conflicting counter resets during histogram subtraction"),
        ("+", *BOUNDS, "info: mismatched custom buckets were reconciled during addition"),
    ],
)
def test_notes(op: str, a: str | float, b: str | float, text: str) -> None:
    """The words of each note."""
    env = env_of()
    left, right = (
        side([[parse_histogram(value) if isinstance(value, str) else value]]) for value in (a, b)
    )
    present = np.ones((1, 1), dtype=np.bool_)
    operate(op, left, right, present, lambda: (left.values, present), env, return_bool=False)
    assert [*env.notes.warnings, *env.notes.infos] == [f"PromQL {text} (1:1)"]


def test_the_last_cell_of_a_step_speaks() -> None:
    """Of several things to say at one step, the one about the last row is said."""
    env = env_of()
    h = Histogram()
    left, right = side([[h, h], [1.0, 2.0]]), side([[1.0, 1.0], [h, 2.0]])
    present = np.ones((2, 2), dtype=np.bool_)
    operate("-", left, right, present, lambda: (left.values, present), env, return_bool=False)
    assert [text.split(": ")[2] for text in env.notes.infos] == [
        "float - histogram (1:1)",
        "histogram - float (1:1)",
    ]


def test_negation() -> None:
    """Floats and histograms change their sign; a negated histogram is a gauge."""
    h = parse_histogram("{{count:3 sum:2 z_bucket:1 buckets:[2]}}")
    cells = side([[h, 2.0]])
    matrix = Matrix(
        LabelFrame.empty_labels(1),
        cells.values,
        np.array([[True, True]]),
        histogram_ids=cells.ids,
        histograms=cells.histograms,
    )
    result = negate(matrix, env_of())
    assert isinstance(result, Matrix) and result.histograms is not None
    result.check()
    assert result.values[0, 1] == -2
    got = result.histograms.one(0)
    assert (got.count, got.sum, got.zero_count, got.hint) == (-3, -2, -1, GAUGE)
    assert [count for _, count in got.buckets] == [-2]


def test_hints_of_sums() -> None:
    """A gauge wins over all, what is unknown over the rest."""
    cases = [(RESET, RESET, RESET), (GAUGE, RESET, GAUGE), (UNKNOWN, NOT_RESET, UNKNOWN)]
    for a, b, wanted in cases:
        got, notes = added("+", Histogram(hint=a), Histogram(hint=b))
        assert isinstance(got, Histogram) and got.hint == wanted and notes == []

"""Functions of values: mathematics, clamps, rounding, scalar and vector, absent."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql import ast
from promql.instant import CALLS
from promql.matrix import Matrix, ScalarRow, Value
from series.matcher import Matcher, MatchType
from tests.examples import examples
from tests.promql.matrices import VALUES, ZERO, Bench, elements, matrix, points, row, same

NAN, INF = math.nan, math.inf


def call(name: str, *args: Value, bench: Bench | None = None) -> Value:
    node = ast.Call(name, tuple(ZERO for _ in args))
    return CALLS[name](list(args), node, (bench or Bench()).env)


def of(name: str, value: float, *args: float) -> float:
    """The function of one value, with scalar arguments behind."""
    found = call(name, matrix({"a": [value]}, 1), *(row(arg) for arg in args), bench=Bench(1))
    ((_, result, marked),) = elements(found, 0)
    assert marked
    return result


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("abs", -0.0, 0.0),
        ("acosh", 0.5, NAN),
        ("atanh", 1.0, INF),
        ("ceil", -0.5, -0.0),
        ("deg", math.pi, 180.0),
        ("exp", -INF, 0.0),
        ("floor", -0.5, -1.0),
        ("ln", 0.0, -INF),
        ("ln", -1.0, NAN),
        ("log10", 100.0, 2.0),
        ("log10", 1000.0, 3.0),
        ("log2", 8.0, 3.0),
        ("log2", 0.0, -INF),
        ("log2", INF, INF),
        ("log2", -1.0, NAN),
        ("rad", 180.0, math.pi),
        ("sgn", -3.0, -1.0),
        ("sgn", -0.0, -0.0),
        ("sgn", NAN, NAN),
        ("sqrt", -1.0, NAN),
        ("sinh", 0.0, 0.0),
        ("tan", INF, NAN),
        ("round", 0.5, 1.0),
        ("round", -0.5, 0.0),
        ("round", -2.5, -2.0),
    ],
)
def test_special_cases_of_gos_math(name: str, value: float, wanted: float) -> None:
    """Zeros, infinities, NaN."""
    assert same(of(name, value), wanted)


def test_functions_keep_gaps_and_drop_names() -> None:
    """Absence stays absence."""
    found = call("abs", matrix({"a{i=1}": [-1.0, None, NAN]}), bench=Bench(delayed=False))
    ((labels, values),) = points(found).items()
    assert labels == "{i=1}" and values[:2] == [1.0, None] and math.isnan(values[2] or 0.0)


@examples(150)
@given(value=VALUES, low=VALUES, high=VALUES)
def test_clamp_is_gos_max_and_min(value: float, low: float, high: float) -> None:
    """``max(low, min(high, value))``, nothing where high < low; an infinity beats NaN."""

    def go_max(a: float, b: float) -> float:
        if INF in (a, b):
            return INF
        if math.isnan(a) or math.isnan(b):
            return NAN
        if a == b == 0:
            return 0.0 if math.copysign(1, a) > 0 or math.copysign(1, b) > 0 else -0.0
        return max(a, b)

    def go_min(a: float, b: float) -> float:
        return -go_max(-a, -b)

    found = call("clamp", matrix({"a": [value]}, 1), row(low), row(high), bench=Bench(1))
    if high < low:
        assert elements(found, 0) == []
        return
    assert same(elements(found, 0)[0][1], go_max(low, go_min(high, value)))
    assert same(of("clamp_min", value, low), go_max(low, go_min(INF, value)))
    assert same(of("clamp_max", value, high), go_max(-INF, go_min(high, value)))


@examples(100)
@given(value=VALUES, nearest=st.sampled_from([1.0, 0.1, 5.0, -2.0, 0.0]))
def test_round_goes_to_multiples(value: float, nearest: float) -> None:
    """``floor(x * (1/to) + 0.5) / (1/to)``."""
    with np.errstate(all="ignore"):
        inverse = np.float64(1.0) / np.float64(nearest)
        wanted = float(np.floor(np.float64(value) * inverse + 0.5) / inverse)
    assert same(of("round", value, nearest), wanted)


def test_scalar_takes_the_only_element() -> None:
    """NaN where there is none or more than one."""
    found = call("scalar", matrix({"a": [1.0, None, 3.0], "b": [None, None, 4.0]}))
    assert isinstance(found, ScalarRow)
    assert same(float(found.values[0]), 1.0)
    assert np.isnan(found.values[1:]).all()
    assert np.isnan(call("scalar", Matrix.empty(3)).values).all()  # type: ignore[union-attr]


def test_vector_has_one_element_without_labels() -> None:
    """At every step."""
    assert points(call("vector", row(1.0, 2.0, 3.0))) == {"": [1.0, 2.0, 3.0]}


def test_scalars_of_the_query() -> None:
    """pi, time and the window of the query."""
    bench = Bench()
    names = ("pi", "time", "start", "end", "step", "range")
    found = {name: call(name, bench=bench).values.tolist() for name in names}  # type: ignore[union-attr]
    assert found == {
        "pi": [math.pi] * 3,
        "time": [0.0, 1.0, 2.0],
        "start": [0.0] * 3,
        "end": [2.0] * 3,
        "step": [1.0] * 3,
        "range": [2.0] * 3,
    }
    assert call("step", bench=Bench(1, is_range=False)).values.tolist() == [0.0]  # type: ignore[union-attr]


def test_min_of_and_max_of() -> None:
    """NaN wins."""
    a, b = row(1.0, NAN, -0.0), row(2.0, 1.0, 0.0)
    low, high = call("min_of", a, b), call("max_of", a, b)
    assert isinstance(low, ScalarRow) and isinstance(high, ScalarRow)
    assert [same(*pair) for pair in zip(low.values, [1.0, NAN, -0.0], strict=True)] == [True] * 3
    assert [same(*pair) for pair in zip(high.values, [2.0, NAN, 0.0], strict=True)] == [True] * 3


def selector(*matchers: Matcher) -> ast.VectorSelector:
    return ast.VectorSelector("up", matchers)


@pytest.mark.parametrize(
    ("argument", "labels"),
    [
        (selector(Matcher(MatchType.EQUAL, "job", "x")), "{job=x}"),
        (ast.Paren(selector(Matcher(MatchType.EQUAL, "job", "x"))), "{job=x}"),
        (selector(Matcher(MatchType.REGEX, "job", "x")), ""),
        (
            selector(
                Matcher(MatchType.EQUAL, "job", "x"),
                Matcher(MatchType.EQUAL, "job", "x"),
                Matcher(MatchType.EQUAL, "i", "1"),
            ),
            "{i=1}",
        ),
        (
            selector(
                Matcher(MatchType.NOT_EQUAL, "job", "y"), Matcher(MatchType.EQUAL, "job", "x")
            ),
            "{job=x}",
        ),
        (ast.MatrixSelector(selector(), ast.DurationLiteral(1)), ""),
        (ast.Aggregate("sum", selector(Matcher(MatchType.EQUAL, "job", "x"))), ""),
    ],
)
def test_absent_has_the_labels_that_the_selector_demands(argument: ast.Node, labels: str) -> None:
    """Those with one condition, an equality; only of a selector itself; never the name."""
    node = ast.Call("absent", (argument,))
    found = CALLS["absent"]([matrix({"up": [1.0, None, 1.0]})], node, Bench().env)
    assert points(found) == {labels: [None, 1.0, None]}


def test_absent_of_something_always_there_is_empty() -> None:
    """No series at all."""
    assert points(call("absent", matrix({"up": [1.0, NAN, 1.0]}))) == {}


def test_functions_of_native_histograms_pass_floats_over() -> None:
    """Their result is empty."""
    for name in ("count", "sum", "avg", "stddev", "stdvar"):
        assert points(call(f"histogram_{name}", matrix({"a": [1.0, 2.0, 3.0]}))) == {}


def test_start_times_are_those_of_bare_selectors_only() -> None:
    """Any other vector has none, nor has any where start times do not count."""
    assert points(call("start_timestamp", matrix({"a": [1.0, 2.0, 3.0]}))) == {}

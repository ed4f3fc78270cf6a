"""The table of functions."""

import pytest

from promql.ast import ValueType
from promql.functions import AGGREGATORS, FUNCTIONS
from promql.instant import CALLS
from promql.lexer import KEYWORDS
from promql.parser import parse
from promql.rollup import ROLLUPS

EXPERIMENTAL = {
    "double_exponential_smoothing",
    *("start", "end", "step", "range", "min_of", "max_of", "start_timestamp"),
    *("histogram_quantiles", "info", "mad_over_time", "sort_by_label", "sort_by_label_desc"),
    *("ts_of_first_over_time", "ts_of_last_over_time"),
    *("ts_of_min_over_time", "ts_of_max_over_time"),
}


def test_the_table_holds_the_functions_of_3_14() -> None:
    """By name, in order, with the experimental ones marked."""
    assert list(FUNCTIONS) == sorted(FUNCTIONS)
    assert {name for name, f in FUNCTIONS.items() if f.experimental} == EXPERIMENTAL
    assert all(name == function.name for name, function in FUNCTIONS.items())
    assert len(FUNCTIONS) == 90


@pytest.mark.parametrize(
    ("name", "least", "most", "text"),
    [
        ("rate", 1, 1, "rate(range vector) instant vector"),
        ("round", 1, 2, "round(instant vector, [scalar]) instant vector"),
        ("time", 0, 0, "time() scalar"),
        ("hour", 0, 1, "hour([instant vector]) instant vector"),
        (
            "label_join",
            3,
            None,
            "label_join(instant vector, string, string, [string, ...]) instant vector",
        ),
        ("histogram_quantiles", 3, 12, None),
    ],
)
def test_arity(name: str, least: int, most: int | None, text: str | None) -> None:
    """How many arguments a call may have, and how the signature prints."""
    function = FUNCTIONS[name]
    assert (function.least, function.most) == (least, most)
    assert text is None or str(function) == text


def test_the_last_type_repeats() -> None:
    """Arguments beyond the listed ones have the type of the last."""
    assert FUNCTIONS["label_join"].argument_type(9) is ValueType.STRING
    assert FUNCTIONS["histogram_quantiles"].argument_type(9) is ValueType.SCALAR


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_can_be_called(name: str) -> None:
    """With arguments of the types that its signature asks for."""
    samples = {
        ValueType.SCALAR: "1",
        ValueType.STRING: '"a"',
        ValueType.VECTOR: "x",
        ValueType.MATRIX: "x[5m]",
    }
    arguments = [samples[kind] for kind in FUNCTIONS[name].arguments]
    if name == "info":
        arguments[1] = "{}"
    parse(f"{name}({', '.join(arguments)})")
    if FUNCTIONS[name].variadic:
        parse(f"{name}({', '.join(arguments[:-1])})")


def test_aggregators_are_keywords() -> None:
    """The lexer knows each aggregation operator."""
    assert all(KEYWORDS[name] == "AGGREGATOR" for name in AGGREGATORS)


def test_every_function_can_be_evaluated() -> None:
    """A function of a range vector stands among the rollups, every other one among the calls."""
    for name, function in FUNCTIONS.items():
        over_ranges = ValueType.MATRIX in function.arguments
        assert name in (ROLLUPS if over_ranges else CALLS)

"""Duration expressions, worked out for the step and range of a query."""

import pytest
from hypothesis import given

from promql.ast import Duration, MatrixSelector, VectorSelector
from promql.duration_values import InvalidQuery, duration_ms
from promql.env import QueryTimes
from promql.parser import parse
from tests.examples import examples
from tests.strategies import duration_expressions

EVERY_FIVE_SECONDS = QueryTimes(50_000, 60_000, 5_000)


def in_brackets(text: str) -> Duration:
    tree = parse(f"x[{text}]")
    assert isinstance(tree, MatrixSelector)
    return tree.range


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("5m", 300_000),
        ("26m+4m", 1_800_000),
        ("60*30", 1_800_000),
        ("24m+((1.5*2m)+2m)", 1_740_000),
        ("-5m+35m", 1_800_000),
        ("1h30m % 1h", 1_800_000),
        ("30m1s-30m1s % 1m", 1_800_000),
        ("2 ^ 3 ^ 2", 512_000),
        ("-(2 ^ 2) + 10", 6_000),
        ("step()+1ms", 5_001),
        ("range()", 10_000),
        ("max_of(min_of(step()+1,1h),1ms)", 6_000),
        ("1/3*1s", 333),
    ],
)
def test_values(text: str, milliseconds: int) -> None:
    """Seconds are calculated as floats and cut to whole milliseconds."""
    assert duration_ms(in_brackets(text), EVERY_FIVE_SECONDS, positive=True) == milliseconds


def test_offsets_may_be_negative() -> None:
    """Only ranges and steps must be positive."""
    tree = parse("x offset -(step() * 2)")
    assert isinstance(tree, VectorSelector) and tree.modifiers.offset is not None
    assert duration_ms(tree.modifiers.offset, EVERY_FIVE_SECONDS, positive=False) == -10_000


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("5m/(1-1)", "2:10: division by zero"),
        ("5m%(1-1)", "2:10: modulo by zero"),
        ("1s-1m", "2:7: duration must be greater than 0"),
        ("10^400", "2:8: duration is NaN or infinite"),
        ("(0-1)^0.5", "2:11: duration is NaN or infinite"),
        ("min_of(5m,(0-1)^0.5)", "2:22: duration is NaN or infinite"),
        ("max_of((0-1)^0.5,5m)", "2:22: duration is NaN or infinite"),
        ("(10^400)%7", "2:12: duration is NaN or infinite"),
        ("9y^9", "2:6: duration is out of range"),
    ],
)
def test_complaints(text: str, error: str) -> None:
    """What has no value is refused with the place of the expression."""
    with pytest.raises(InvalidQuery) as caught:
        duration_ms(in_brackets(text), EVERY_FIVE_SECONDS, positive=True)
    assert str(caught.value) == error


@examples(100)
@given(duration_expressions(4))
def test_every_expression_has_a_value_or_a_complaint(duration: Duration) -> None:
    """However large, small or odd the numbers are."""
    try:
        assert abs(duration_ms(duration, EVERY_FIVE_SECONDS, positive=False)) < 2**63
    except InvalidQuery as error:
        complaint = str(error)
    else:
        return
    assert "zero" in complaint or "duration is" in complaint

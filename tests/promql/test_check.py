"""The type checker: what does not fit is refused in Prometheus' words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.ast import Node, ValueType
from promql.check import value_type
from promql.parser import ParseError, parse
from promql.printer import to_text
from tests.examples import examples
from tests.strategies import expressions


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("1 and 1", '1:1: set operator "and" not allowed in binary scalar expression'),
        ("1 or x", '1:1: set operator "or" not allowed in binary scalar expression'),
        ("x unless 1", '1:1: set operator "unless" not allowed in binary scalar expression'),
        ("1 == 1", "1:3: comparisons between scalars must use BOOL modifier"),
        ("x + bool y", "1:3: bool modifier can only be used on comparison operators"),
        ("x + bool 10", "1:3: bool modifier can only be used on comparison operators"),
        ("x </ bool 10", "1:3: bool modifier can only be used on comparison operators"),
        ("1 + x[5m]", "1:5: binary expression must contain only scalar and instant vector types"),
        ('"a" + 1', "1:1: binary expression must contain only scalar and instant vector types"),
        ("x * on(a) 1", "1:1: vector matching only allowed between instant vectors"),
        ("1 + fill(1) x", "1:1: filling in missing series only allowed between instant vectors"),
        ("x and on(a) group_left(b) y", '1:1: no grouping allowed for "and" operation'),
        ("x or fill(1) y", "1:1: filling in missing series not allowed for set operators"),
        (
            "x + on(a, b) group_left(c, b) y",
            '1:3: label "b" must not occur in ON and GROUP clause at once',
        ),
        (
            '-"a"',
            "1:1: unary expression only allowed on expressions of type scalar or instant vector, "
            'got "string"',
        ),
        (
            "-x[5m]",
            "1:1: unary expression only allowed on expressions of type scalar or instant vector, "
            'got "range vector"',
        ),
        ("1[5m:]", "1:1: subquery is only allowed on instant vector, got scalar instead"),
        ("x[5m][5m:]", "1:1: subquery is only allowed on instant vector, got matrix instead"),
        ("{}", "1:1: vector selector must contain at least one non-empty matcher"),
        ('x + {a=""}', "1:5: vector selector must contain at least one non-empty matcher"),
        ('{a=~".*",b!="c"}', "1:1: vector selector must contain at least one non-empty matcher"),
        ('{a!~".+"}[5m]', "1:1: vector selector must contain at least one non-empty matcher"),
        ('x{__name__="y"}', '1:1: metric name must not be set twice: "x" or "y"'),
        ('x{"y"}', '1:1: metric name must not be set twice: "x" or "y"'),
        ("sum(1)", "1:5: expected type instant vector in aggregation expression, got scalar"),
        (
            "sum(x[5m])",
            "1:5: expected type instant vector in aggregation expression, got range vector",
        ),
        (
            "topk(x)",
            "1:1: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        (
            "sum(1, x)",
            "1:1: wrong number of arguments for aggregate expression provided, expected 1, got 2",
        ),
        ("topk(x, y)", "1:6: expected type scalar in aggregation parameter, got instant vector"),
        ("count_values(5, x)", "1:14: expected type string in aggregation parameter, got scalar"),
        ("abs(x, y)", '1:1: expected 1 argument(s) in call to "abs", got 2'),
        ("pi(1)", '1:1: expected 0 argument(s) in call to "pi", got 1'),
        ("round()", '1:1: expected at least 1 argument(s) in call to "round", got 0'),
        ("round(x, 1, 2)", '1:1: expected at most 2 argument(s) in call to "round", got 3'),
        ("hour(x, y)", '1:1: expected at most 1 argument(s) in call to "hour", got 2'),
        (
            'label_join(x, "a")',
            '1:1: expected at least 3 argument(s) in call to "label_join", got 2',
        ),
        (
            'histogram_quantiles(x, "q")',
            '1:1: expected at least 3 argument(s) in call to "histogram_quantiles", got 2',
        ),
        (
            "rate(x)",
            '1:6: expected type range vector in call to function "rate", got instant vector',
        ),
        ("abs(1)", '1:5: expected type instant vector in call to function "abs", got scalar'),
        (
            "label_replace(x, 1, 2, 3, 4)",
            '1:18: expected type string in call to function "label_replace", got scalar',
        ),
        (
            'label_join(x, "a", "b", "c", 1)',
            '1:30: expected type string in call to function "label_join", got scalar',
        ),
        ("info(x, y)", "1:9: expected label selectors only, got vector selector instead"),
        ("info(x, ({a='b'}))", "1:9: expected label selectors only"),
        ("info(x, 1)", '1:9: expected type instant vector in call to function "info", got scalar'),
        (
            "sum_over_time(x[5m] anchored)",
            "1:1: anchored modifier can only be used with: changes, delta, increase, rate, resets "
            "- not with sum_over_time",
        ),
        (
            "resets((x[5m] smoothed))",
            "1:1: smoothed modifier can only be used with: delta, increase, rate - not with resets",
        ),
    ],
)
def test_complaints(query: str, error: str) -> None:
    """Each rule of the language names its breach and its place."""
    place, _, words = error.partition(": ")
    with pytest.raises(ParseError) as caught:
        parse(query)
    assert str(caught.value) == f"{place}: parse error: {words}"


@pytest.mark.parametrize(
    "query",
    [
        "info(x, {})",
        'info(x, {a=~".*"})',
        'info(x, {__name__="y"})',
        '{a="",b="c"}',
        "round(x)",
        "hour()",
        'sort_by_label(x, "a", "b", "c")',
        "increase(x[5m] smoothed)",
        "1 == bool 1",
        "x + on() 1",
    ],
)
def test_what_fits_is_accepted(query: str) -> None:
    """The exceptions of the rules are no faults."""
    parse(query)


def test_grammar_goes_before_types_and_the_first_fault_before_others() -> None:
    """A fault of types is named only where the text follows the grammar; then the leftmost."""
    with pytest.raises(ParseError, match="unexpected end of input"):
        parse("rate(x) +")
    with pytest.raises(ParseError, match=r'^1:6: .* "rate"'):
        parse("rate(x) + abs(1)")
    with pytest.raises(ParseError, match=r"^1:9: .*non-empty matcher"):
        parse("abs(abs({}))")


@examples(100)
@given(st.sampled_from(ValueType).flatmap(lambda kind: st.tuples(st.just(kind), expressions(kind))))
def test_the_type_of_an_expression(drawn: tuple[ValueType, Node]) -> None:
    """value_type tells the type that the checker found, whatever the expression."""
    kind, tree = drawn
    assert value_type(parse(to_text(tree))) is kind

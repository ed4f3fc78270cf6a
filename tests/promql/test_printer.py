"""The printer: what it prints is Prometheus' form, and reads back as the same tree."""

import math

import pytest
from hypothesis import given

from promql.ast import Node, NumberLiteral, StringLiteral
from promql.parser import parse
from promql.printer import number_text, to_text
from tests.examples import examples
from tests.strategies import queries


@examples(150)
@given(queries())
def test_what_is_printed_reads_back(tree: Node) -> None:
    """parse(to_text(tree)) is the tree again, for every kind of tree."""
    assert parse(to_text(tree)) == tree


@pytest.mark.parametrize(
    ("query", "printed"),
    [
        ("sum by(job)(rate(http_requests_total[5m]))",) * 1
        + ("sum by (job) (rate(http_requests_total[5m]))",),
        ("SUM(x) WITHOUT (a,b,)", "sum without (a, b) (x)"),
        ("sum by () (x)", "sum(x)"),
        ("topk(3,x)by(a)", "topk by (a) (3, x)"),
        ("a+on(b)group_left(c)d", "a + on (b) group_left (c) d"),
        ("a * ignoring(b) group_right d", "a * ignoring (b) group_right () d"),
        ("a == bool on() b", "a == bool on () b"),
        ("a AND b Or c", "a and b or c"),
        ("a + fill(2) b", "a + fill (2) b"),
        ("a + fill_right(1) fill_left(-2e6) b", "a + fill_left (-2e+06) fill_right (1) b"),
        ("x offset 300", "x offset 5m"),
        ("x offset -1.5", "x offset -1s500ms"),
        ("x offset 0s", "x"),
        ("x[300]", "x[5m]"),
        ("x[1h30m] offset 1w @ 1.5", "x[1h30m] @ 1.500 offset 1w"),
        ("x @ -0.001", "x @ -0.001"),
        ("x @ end() offset 8d", "x @ end() offset 8d"),
        ("x[5m] smoothed @ start()", "x[5m] smoothed @ start()"),
        ("x smoothed @ 1 offset 1m", "x @ 1.000 smoothed offset 1m"),
        ("rate(x[5m])[1h:]", "rate(x[5m])[1h:]"),
        ("x[5m:1m] offset 1m @ 1", "x[5m:1m] @ 1.000 offset 1m"),
        ("x[ 5m*2 + step( ) ]", "x[5m * 2 + step()]"),
        ("x offset -( min_of(step(),2)^2 )", "x offset -(min_of(step(), 2) ^ 2)"),
        ('{b="1",a=~"2"}', '{a=~"2",b="1"}'),
        ('x{b="1",a!="2",}', 'x{a!="2",b="1"}'),
        ('{"a.b", "c d"!~"e"}', '{"c d"!~"e",__name__="a.b"}'),
        ("'a\"\\n\\x41'", '"a\\"\\nA"'),
        ("`a\\n`", '"a\\\\n"'),
        ("-2^2", "-2 ^ 2"),
        ("1e3 + 0x1F + 017 + 1_000", "1000 + 31 + 15 + 1000"),
        ("5m + .5", "5m + 0.5"),
        ("Inf ^ 2", "Inf ^ 2"),
        ("-INF + nan", "-Inf + NaN"),
        ("+x # a comment", "+x"),
        ('sum by ("a.b", "without") (x)', 'sum by ("a.b", "without") (x)'),
    ],
)
def test_the_form_is_that_of_prometheus(query: str, printed: str) -> None:
    """Whitespace, order of modifiers, quotes and numbers come out in one way."""
    assert to_text(parse(query)) == printed


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e21, "1" + "0" * 21), (1e-7, "0.0000001"), (0.1, "0.1"), (-0.0, "-0"), (3.0, "3")],
)
def test_numbers_have_no_exponent(value: float, text: str) -> None:
    """A number prints in the fewest digits, however large or small it is."""
    assert number_text(value) == text


def test_special_numbers_and_bytes() -> None:
    """Infinities, NaN and bytes that are not UTF-8 print in Go's way."""
    assert [number_text(x) for x in (math.inf, -math.inf, math.nan)] == ["+Inf", "-Inf", "NaN"]
    assert to_text(StringLiteral(b"a\xc5z\x00".decode("utf-8", "surrogateescape"))) == (
        r'"a\xc5z\x00"'
    )
    assert to_text(NumberLiteral(-0.001, duration=True)) == "-1ms"

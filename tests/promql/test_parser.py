"""The parser: the whole language of PromQL, its spans, and its complaints in Prometheus' words."""

import math
import os
import pathlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from promql.ast import (
    Aggregate,
    AtAnchor,
    Binary,
    Call,
    Cardinality,
    DurationBinary,
    DurationCall,
    DurationLiteral,
    DurationNumber,
    DurationParen,
    Edge,
    Matching,
    MatrixSelector,
    Modifiers,
    Node,
    NumberLiteral,
    Paren,
    Span,
    StringLiteral,
    Subquery,
    Unary,
    VectorSelector,
)
from promql.check import MAX_DEPTH, MAX_HEIGHT
from promql.lexer import MAX_TOKENS
from promql.parser import ParseError, parse
from promql.pretty import pretty
from promql.printer import to_text
from promql.tree import tree
from series.matcher import Matcher, MatchType
from tests.examples import examples

A, B, C = (VectorSelector(name) for name in "abc")
X = VectorSelector("x")
ONE_TO_ONE = Matching()


def number(value: float) -> NumberLiteral:
    return NumberLiteral(value)


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("x", X),
        (" \t\r\n x # comment", X),
        ("a:b", VectorSelector("a:b")),
        ("::", VectorSelector("::")),
        (
            'x{a="1",b!="2" # why\n ,c=~"3.*",d!~\'4\',}',
            VectorSelector(
                "x",
                (
                    Matcher(MatchType.NOT_EQUAL, "b", "2"),
                    Matcher(MatchType.NOT_REGEX, "d", "4"),
                    Matcher(MatchType.EQUAL, "a", "1"),
                    Matcher(MatchType.REGEX, "c", "3.*"),
                ),
            ),
        ),
        ('{"a.b"}', VectorSelector("", (Matcher(MatchType.EQUAL, "__name__", "a.b"),))),
        ('{sum="1"}', VectorSelector("", (Matcher(MatchType.EQUAL, "sum", "1"),))),
        ('x{"a b"="1"}', VectorSelector("x", (Matcher(MatchType.EQUAL, "a b", "1"),))),
        ("x{}", X),
    ],
)
def test_selectors(query: str, tree: Node) -> None:
    """Names may stand outside or quoted inside the braces; conditions are in one order."""
    found = parse(query)
    assert isinstance(found, VectorSelector) and isinstance(tree, VectorSelector)
    assert found.name == tree.name and set(found.matchers) == set(tree.matchers)
    assert found == parse(to_text(found))


def words(text: str) -> list[str]:
    return text.split()


KEYWORD_NAMES = words(
    "sum avg count min max group stddev stdvar topk bottomk count_values quantile limitk "
    "limit_ratio and or unless by without offset fill fill_left fill_right start end step range "
    "max_of min_of anchored smoothed"
)


@pytest.mark.parametrize("name", [*KEYWORD_NAMES, *(word.upper() for word in KEYWORD_NAMES)])
def test_most_keywords_are_metric_names(name: str) -> None:
    """A keyword where an operand stands is a name, with all that may follow one."""
    assert parse(name) == VectorSelector(name)
    assert parse(f"{name} + {name}") == Binary(
        "+", VectorSelector(name), VectorSelector(name), ONE_TO_ONE
    )
    assert parse(f"sum({name})") == Aggregate("sum", VectorSelector(name))
    selector = VectorSelector(name, modifiers=Modifiers(DurationLiteral(300_000)))
    assert parse(f"{name}[5m] offset 5m") == MatrixSelector(selector, DurationLiteral(300_000))


@pytest.mark.parametrize("name", ["bool", "on", "ignoring", "group_left", "group_right", "atan2"])
def test_some_keywords_are_no_metric_names(name: str) -> None:
    """Those that would be ambiguous need quotes."""
    with pytest.raises(ParseError, match="unexpected"):
        parse(name)
    assert isinstance(parse(f'{{"{name}"}}'), VectorSelector)


LABEL_WORDS = (
    "and or unless atan2 sum limit_ratio offset smoothed anchored by on ignoring group_left "
    "group_right fill fill_left fill_right bool start end step range max_of min_of job a:b"
)


@pytest.mark.parametrize("label", LABEL_WORDS.split())
def test_keywords_are_label_names(label: str) -> None:
    """Every keyword but ``without`` may stand in a list of labels, in any case."""
    assert parse(f"sum by ({label},) (x)") == Aggregate("sum", X, None, (label,))
    matching = Matching(on=True, labels=(label, label.upper()))
    assert parse(f"a + on({label}, {label.upper()}) b") == Binary("+", A, B, matching)


def test_without_and_numbers_are_no_bare_labels() -> None:
    """``without``, ``inf`` and ``nan`` need quotes."""
    for word in ("without", "inf", "nan"):
        with pytest.raises(ParseError, match="in grouping opts, expected label"):
            parse(f"sum by ({word}) (x)")
        assert parse(f'sum by ("{word}") (x)') == Aggregate("sum", X, None, (word,))


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("1", 1.0),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("-1e3", -1000.0),
        ("1_000.5e-1_0", 1000.5e-10),
        ("0x1f", 31.0),
        ("0X_FF_FF", 65535.0),
        ("017", 15.0),
        ("09", 9.0),
        ("09.5", 9.5),
        ("1e3", 1000.0),
        ("iNf", math.inf),
        ("-INF", -math.inf),
        ("9223372036854775807", 9223372036854775807.0),
        ("9223372036854775808", 9223372036854775808.0),
        ("0777777777777777777777777", 777777777777777777777777.0),
        ("- -3", 3.0),
        ("4.9e-324", 5e-324),
    ],
)
def test_numbers(query: str, value: float) -> None:
    """Decimal, hexadecimal and octal numbers, with the sign folded in."""
    assert parse(query) == number(value)


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("5m", 300.0),
        ("1y2w3d4h5m6s7ms", 33_019_506.007),
        ("-1ms", -0.001),
        ("0s", 0.0),
        ("1h30m", 5400.0),
    ],
)
def test_durations_are_numbers(query: str, seconds: float) -> None:
    """A duration is its number of seconds and remembers how it was written."""
    assert parse(query) == NumberLiteral(seconds, duration=True)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (r'"a\"b"', 'a"b'),
        (r"'it\'s'", "it's"),
        (r'"\a\b\f\n\r\t\v\\"', "\a\b\f\n\r\t\v\\"),
        (r'"\101\x42\u0043\U0001F600"', "ABC\U0001f600"),
        (r'"\xc3\xa9"', "é"),
        (r'"a\xc5z"', b"a\xc5z".decode("utf-8", "surrogateescape")),
        ("`a\\n\nb`", "a\\n\nb"),
        ('"été {[("', "été {[("),
        ('""', ""),
    ],
)
def test_strings(query: str, text: str) -> None:
    """Go's escapes in both kinds of quotes, none in raw strings."""
    assert parse(query) == StringLiteral(text)


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("-a ^ b", Unary("-", Binary("^", A, B, ONE_TO_ONE))),
        ("-2 ^ 2", Unary("-", Binary("^", number(2), number(2)))),
        ("-a * b", Binary("*", Unary("-", A), B, ONE_TO_ONE)),
        ("2 ^ 3 ^ 4", Binary("^", number(2), Binary("^", number(3), number(4)))),
        ("2 ^ -3 * 4", Binary("*", Binary("^", number(2), number(-3)), number(4))),
        ("1 - 2 - 3", Binary("-", Binary("-", number(1), number(2)), number(3))),
        ("1 + 2 * 3", Binary("+", number(1), Binary("*", number(2), number(3)))),
        ("1 % 2 atan2 3", Binary("atan2", Binary("%", number(1), number(2)), number(3))),
        ("a == b + c", Binary("==", A, Binary("+", B, C, ONE_TO_ONE), ONE_TO_ONE)),
        ("a </ 1 >/ 2", Binary(">/", Binary("</", A, number(1)), number(2))),
        ("(a)", Paren(A)),
        ("+a", Unary("+", A)),
        ("-(1)", Unary("-", Paren(number(1)))),
        ("1 < BOOL 2", Binary("<", number(1), number(2), return_bool=True)),
    ],
)
def test_precedence(query: str, tree: Node) -> None:
    """Operators bind as in Prometheus; the power goes to the right, the others to the left."""
    assert parse(query) == tree


def test_set_operators() -> None:
    """``and`` and ``unless`` bind tighter than ``or``; all are many-to-many."""
    sets = Matching(Cardinality.MANY_TO_MANY)
    inner = Binary("unless", Binary("and", A, B, sets), C, sets)
    assert parse("a and b unless c or x") == Binary("or", inner, X, sets)
    on = Matching(Cardinality.MANY_TO_MANY, True, ("l",))
    assert parse("a AND on(l) b") == Binary("and", A, B, on)


@pytest.mark.parametrize(
    ("modifiers", "matching"),
    [
        ("", Matching()),
        ("ignoring()", Matching()),
        ("on()", Matching(on=True)),
        ("ignoring(l, m)", Matching(labels=("l", "m"))),
        ("on(l) group_left", Matching(Cardinality.MANY_TO_ONE, True, ("l",))),
        ("on(l) group_right(m,)", Matching(Cardinality.ONE_TO_MANY, True, ("l",), ("m",))),
        ("fill(1)", Matching(fill_left=1.0, fill_right=1.0)),
        ("on(l) fill_left (-5m)", Matching(on=True, labels=("l",), fill_left=-300.0)),
        ("fill_right(+Inf) fill_left(2)", Matching(fill_left=2.0, fill_right=math.inf)),
    ],
)
def test_matching(modifiers: str, matching: Matching) -> None:
    """All modifiers of a binary operator, in the order that the language wants."""
    assert parse(f"a + {modifiers} b") == Binary("+", A, B, matching)
    assert parse(f"a >= bool {modifiers} b") == Binary(">=", A, B, matching, True)


def test_a_parenthesis_after_group_left_holds_labels() -> None:
    """``group_left (b)`` takes the labels, so the operand is what follows."""
    with pytest.raises(ParseError, match="unexpected end of input"):
        parse("a + on(l) group_left (b)")


FIVE_MINUTES = DurationLiteral(300_000)


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("x[5m]", MatrixSelector(X, FIVE_MINUTES)),
        ("x[300]", MatrixSelector(X, FIVE_MINUTES)),
        ("x [ 300.0009 ]", MatrixSelector(X, FIVE_MINUTES)),
        ("x[1h:1m]", Subquery(X, DurationLiteral(3_600_000), DurationLiteral(60_000))),
        ("x[5m:]", Subquery(X, FIVE_MINUTES)),
        ("x[300:step()]", Subquery(X, FIVE_MINUTES, DurationCall("step"))),
        ("x offset 5m", VectorSelector("x", modifiers=Modifiers(FIVE_MINUTES))),
        ("x OFFSET -300", VectorSelector("x", modifiers=Modifiers(DurationLiteral(-300_000)))),
        ("x offset 0", X),
        ("x offset 0 offset 5m", VectorSelector("x", modifiers=Modifiers(FIVE_MINUTES))),
        ("x @ 1.0005", VectorSelector("x", modifiers=Modifiers(at=1001))),
        ("x @ -5m", VectorSelector("x", modifiers=Modifiers(at=-300_000))),
        ("x @ START()", VectorSelector("x", modifiers=Modifiers(at=AtAnchor.START))),
        (
            "x offset 5m @ end()",
            VectorSelector("x", modifiers=Modifiers(FIVE_MINUTES, AtAnchor.END)),
        ),
        (
            "x[5m] @ 1 offset 5m anchored",
            MatrixSelector(
                VectorSelector("x", (), Modifiers(FIVE_MINUTES, 1000), Edge.ANCHORED), FIVE_MINUTES
            ),
        ),
        ("x smoothed", VectorSelector("x", edge=Edge.SMOOTHED)),
        ("-x offset 5m", Unary("-", VectorSelector("x", modifiers=Modifiers(FIVE_MINUTES)))),
        ("x[5m:] @ 0", Subquery(X, FIVE_MINUTES, None, Modifiers(at=0))),
    ],
)
def test_modifiers(query: str, tree: Node) -> None:
    """Ranges, subqueries, offset, @ and the edges of a range."""
    assert parse(query) == tree


STEP = DurationCall("step")


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("5m*2", DurationBinary("*", FIVE_MINUTES, DurationNumber(2.0))),
        ("-5m+1h", DurationBinary("+", DurationLiteral(-300_000), DurationLiteral(3_600_000))),
        ("2^-1", DurationBinary("^", DurationNumber(2.0), DurationNumber(-1.0))),
        ("(300)", DurationParen(DurationNumber(300.0))),
        ("Step()", STEP),
        ("MAX_OF(step(), 300)", DurationBinary("max_of", STEP, DurationNumber(300.0))),
        (
            "1+(STep()-5)*2",
            DurationBinary(
                "+",
                DurationNumber(1.0),
                DurationBinary(
                    "*",
                    DurationParen(DurationBinary("-", STEP, DurationNumber(5.0))),
                    DurationNumber(2.0),
                ),
            ),
        ),
    ],
)
def test_duration_expressions(text: str, duration: Node) -> None:
    """Arithmetic in brackets, and in parentheses after an offset."""
    assert parse(f"x[{text}]") == MatrixSelector(X, duration)  # type: ignore[arg-type]
    found = parse(f"x offset ({text})")
    assert isinstance(found, VectorSelector)
    assert found.modifiers.offset == DurationParen(duration)  # type: ignore[arg-type]


def test_an_offset_without_parentheses_is_one_operand() -> None:
    """``x offset -2 ^ 2`` raises the shifted vector to a power."""
    shifted = VectorSelector("x", modifiers=Modifiers(DurationLiteral(-2000)))
    assert parse("x offset -2 ^ 2") == Binary("^", shifted, number(2))
    by_step = VectorSelector("x", modifiers=Modifiers(STEP))
    assert parse("x offset +step()*2") == Binary("*", by_step, number(2))


def test_calls_and_aggregations() -> None:
    """Arguments, groupings before and after, and the functions named like keywords."""
    rate = Call("rate", (MatrixSelector(X, FIVE_MINUTES),))
    assert parse("rate(x[5m])") == rate
    assert parse("sum(rate(x[5m])) by (job)") == Aggregate("sum", rate, None, ("job",))
    assert parse("Sum without () (x)") == Aggregate("sum", X, without=True)
    assert parse("topk by (a) (2, x)") == Aggregate("topk", X, number(2), ("a",))
    assert parse("min_of(start(), end())") == Call("min_of", (Call("start", ()), Call("end", ())))
    assert parse("range() + step()") == Binary("+", Call("range", ()), Call("step", ()))


def test_spans_cover_the_text_of_each_node() -> None:
    """A node's span is the part of the query that wrote it."""
    query = 'sum by (a) (x{b="c"} @ 10 + -y offset 2m) '
    tree = parse(query)
    assert isinstance(tree, Aggregate) and isinstance(tree.expr, Binary)

    def text(span: Span) -> str:
        return query[span.start : span.end]

    assert text(tree.span) == query.strip()
    assert text(tree.expr.left.span) == 'x{b="c"} @ 10'
    assert text(tree.expr.right.span) == "-y offset 2m"
    matrix = parse(" x[5m] offset 1m ")
    assert matrix.span == Span(1, 16)


@pytest.mark.parametrize(
    "query",
    [
        "(" * 1000 + "x" + ")" * 1000,
        "-" * 1000 + "x",
        "abs(" * 1000 + "x" + ")" * 1000,
        "x" + "[5m:]" * 1000,
        "2^" * 1000 + "x",
    ],
)
def test_deep_nesting_is_refused(query: str) -> None:
    """A tree deeper than what recursion bears is a plain parse error."""
    with pytest.raises(ParseError, match=r"nested too deeply: \d+ levels, at most 120"):
        parse(query)


def test_the_levels_of_parentheses_are_counted_to_the_end() -> None:
    """The complaint tells how deep the text is, not where reading stopped."""
    with pytest.raises(ParseError, match="nested too deeply: 1001 levels, at most 120 levels"):
        parse("(" * 1000 + "x" + ")" * 1000)


@pytest.mark.parametrize("operator", ["or", "+", "<", "and"])
def test_a_chain_of_operators_is_not_deep(operator: str) -> None:
    """A thousand operands in a row parse, print and read back; a chain has its own limit."""
    query = f" {operator} ".join(["x"] * MAX_HEIGHT)
    assert to_text(parse(query)) == query
    pretty(parse(query))
    tree(parse(query))
    words = f"too many operators: at least {MAX_HEIGHT}, at most {MAX_HEIGHT - 1} are allowed"
    with pytest.raises(ParseError, match=words):
        parse(f"{query} {operator} x {operator} x")


def test_nesting_up_to_the_limit_is_accepted() -> None:
    """Trees of the greatest depth parse, print and read back."""
    query = "(" * (MAX_DEPTH - 1) + "x" + ")" * (MAX_DEPTH - 1)
    assert parse(to_text(parse(query))) == parse(query)


def test_long_texts() -> None:
    """A text of a megabyte gets an answer: its tree, or a complaint about its many tokens."""
    choices = "|".join(f"host{index}" for index in range(120_000))
    tree = parse(f'x{{host=~"{choices}"}}')
    assert isinstance(tree, VectorSelector) and tree.matchers[0].value == choices
    with pytest.raises(ParseError, match=f"at most {MAX_TOKENS} tokens"):
        parse("sum(" + "x," * 500_000)
    with pytest.raises(ParseError, match="duration out of range"):
        parse("9" * 1_000_000 + "y")
    for digits in ("9" * 1_000_000, "0x" + "f" * 1_000_000):
        with pytest.raises(ParseError, match="error parsing number"):
            parse(digits)
    assert parse("0" * 1_000_000 + "1") == number(1)


@examples(150)
@given(st.text(max_size=40))
@example("x{a='\ud800'}")
@example("\ud800")
def test_no_text_breaks_the_parser(text: str) -> None:
    """Whatever is written, the answer is a tree or a ParseError."""
    _parse_or_complain(text)


PIECES = words(
    "sum by without ( ) { } [ ] , : = == != =~ + - * / % ^ @ offset on ignoring group_left bool "
    "fill 5m 1 0x 1. 'a' \" ` x rate start() step() and or # \\ anchored inf min_of x{a='b'} é"
)


@examples(300)
@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_no_sequence_of_tokens_breaks_the_parser(pieces: list[str]) -> None:
    """Nor does any sequence of things that look like PromQL."""
    _parse_or_complain(" ".join(pieces))
    _parse_or_complain("".join(pieces))


def _parse_or_complain(text: str) -> None:
    try:
        tree = parse(text)
    except ParseError as error:
        complaint = str(error)
    else:
        assert parse(to_text(tree)) == tree
        return
    assert re.match(r"(\d+:\d+|unknown position): parse error: .", complaint, re.DOTALL)


SCRIPTS = pathlib.Path(os.environ.get("PROMQLTEST_DIR", "../shared/promqltest"))
EVAL = re.compile(
    r"\s*eval(?:_\w+)?\s+(?:instant(?:\s+at\s+\S+)?"
    r"|range\s+from\s+\S+\s+to\s+\S+\s+step\s+\S+)\s+(?P<query>.*\S)"
)


def test_the_expressions_of_prometheus_own_scripts() -> None:
    """All of them parse (what fails there fails while it runs) and survive printing."""
    scripts = sorted(SCRIPTS.glob("*.test"))
    if not scripts:
        pytest.skip(f"no promqltest scripts in {SCRIPTS}; set PROMQLTEST_DIR")
    queries = [
        found["query"]
        for script in scripts
        for line in script.read_text().splitlines()
        if (found := EVAL.match(line)) is not None
    ]
    assert len(queries) > 1000
    for query in queries:
        tree = parse(query)
        assert parse(to_text(tree)) == tree, query

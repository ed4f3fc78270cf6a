"""Hypothesis strategies for PromQL trees: exactly such trees as the parser can give."""

import math
from collections.abc import Callable

from hypothesis import strategies as st

from promql.ast import (
    Aggregate,
    AtAnchor,
    Binary,
    Call,
    Cardinality,
    Duration,
    DurationBinary,
    DurationCall,
    DurationLiteral,
    DurationNumber,
    DurationParen,
    DurationUnary,
    Edge,
    Matching,
    MatrixSelector,
    Modifiers,
    Node,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    Unary,
    ValueType,
    VectorSelector,
)
from promql.check import COMPARISONS, EDGE_FUNCTIONS, SET_OPERATORS, value_type
from promql.functions import AGGREGATORS, FUNCTIONS, Function
from promql.numbers import seconds_of
from promql.printer import duration_text, matcher_text, to_text
from series.matcher import Matcher, MatchType

LEVELS = {
    **dict.fromkeys(("or",), 1),
    **dict.fromkeys(("and", "unless"), 2),
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "</", ">/"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%", "atan2"), 5),
    "^": 7,
}
SIGNED, OPERAND = 6, 8
TRIMS = ("</", ">/")

metric_names = st.one_of(
    st.from_regex(r"[a-z_][a-z0-9_]{0,6}(:[a-z]+)?", fullmatch=True).filter(
        lambda name: name not in ("on", "bool", "ignoring", "atan2", "inf", "nan")
    ),
    st.sampled_from(
        (
            *("up", "sum", "Count", "by", "without", "and", "OR", "unless", "offset", "start"),
            *("END", "step", "range", "min_of", "fill", "fill_left", "anchored", "smoothed"),
            *(":a", "topk"),
        )
    ),
)
label_names = st.one_of(
    st.sampled_from(["job", "instance", "le", "by", "on", "sum", "without", "inf", "a.b", "été"]),
    st.text(min_size=1, max_size=4),
)
texts = st.one_of(
    st.text(max_size=8),
    st.binary(max_size=5).map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.sampled_from(['"', "\\", "'", "`", "\n", "\a", "\x7f", "�", "\U0001f600", "‮"]),
)
regexes = st.sampled_from(["", ".*", ".+", "a|b", "a.+", "[0-9]{2}", "(?i)x", 'q"\\.', "\n", "^$"])


@st.composite
def matchers(draw: st.DrawFn) -> Matcher:
    """One condition; about half of them on RE2 patterns."""
    kind = draw(st.sampled_from(MatchType))
    regex = kind in (MatchType.REGEX, MatchType.NOT_REGEX)
    value = draw(regexes if regex else st.text(max_size=6))
    return Matcher(kind, draw(label_names), value)


# --- durations -------------------------------------------------------------------------------

milliseconds = st.one_of(
    st.integers(1, 10_000), st.sampled_from([300_000, 3_600_000, 694_800_000, 31_536_000_000])
)
duration_seconds = st.floats(0, 1e9, allow_nan=False).map(abs)


def _duration_level(duration: Duration) -> int:
    match duration:
        case DurationBinary(op="min_of" | "max_of"):
            return OPERAND
        case DurationBinary(op=op):
            return LEVELS[op]
    return SIGNED if duration_text(duration).startswith("-") else OPERAND


def _duration_at_least(duration: Duration, level: int) -> Duration:
    return duration if _duration_level(duration) >= level else DurationParen(duration)


def _signed(duration: Duration) -> Duration:
    """A minus before *duration*, which goes into a literal."""
    match duration:
        case DurationLiteral(milliseconds=ms):
            return DurationLiteral(-ms)
        case DurationNumber(seconds=seconds):
            return DurationNumber(-seconds)
    return DurationUnary("-", duration)


@st.composite
def duration_expressions(draw: st.DrawFn, depth: int = 2) -> Duration:
    """What may stand in parentheses of a duration."""
    kind = draw(st.integers(0, 2 if depth <= 0 else 6))
    if kind == 0:
        return DurationLiteral(draw(milliseconds))
    if kind == 1:
        return DurationNumber(draw(duration_seconds))
    if kind == 2:
        return DurationCall(draw(st.sampled_from(["step", "range"])))
    inner = duration_expressions(depth - 1)
    if kind == 3:
        return DurationParen(draw(inner))
    if kind == 4:
        return _signed(_duration_at_least(draw(inner), SIGNED))
    if kind == 5:
        op = draw(st.sampled_from(["min_of", "max_of"]))
        return DurationBinary(op, draw(inner), draw(inner))
    op = draw(st.sampled_from(["+", "-", "*", "/", "%", "^"]))
    level = LEVELS[op]
    left = _duration_at_least(draw(inner), OPERAND if op == "^" else level)
    right = _duration_at_least(draw(inner), SIGNED if op == "^" else level + 1)
    if op in "/%" and right in (DurationNumber(0), DurationLiteral(0)):
        right = DurationLiteral(1)
    return DurationBinary(op, left, right)


def _lone(duration: Duration) -> Duration:
    """A number that stands alone is a literal of seconds."""
    return DurationLiteral(1000) if isinstance(duration, DurationNumber) else duration


def _positive(duration: Duration) -> Duration:
    if isinstance(duration, DurationLiteral):
        return DurationLiteral(abs(duration.milliseconds))
    return _lone(duration)


ranges: st.SearchStrategy[Duration] = st.one_of(
    milliseconds.map(DurationLiteral), duration_expressions().map(_positive)
)


@st.composite
def offsets(draw: st.DrawFn) -> Duration:
    """One operand, perhaps with a minus before it."""
    operand = _lone(_duration_at_least(draw(duration_expressions()), OPERAND))
    return _signed(operand) if draw(st.booleans()) else operand


@st.composite
def modifiers(draw: st.DrawFn) -> Modifiers:
    """None of both in most cases."""
    times = st.one_of(st.integers(-(10**13), 10**13), st.sampled_from(AtAnchor))
    return Modifiers(
        draw(offsets()) if draw(st.integers(0, 3)) == 0 else None,
        draw(times) if draw(st.integers(0, 3)) == 0 else None,
    )


# --- expressions -----------------------------------------------------------------------------

numbers = st.one_of(
    st.floats(allow_nan=False),
    st.integers(-100, 100).map(float),
    st.sampled_from([math.inf, -math.inf, math.nan, 0.1, 1e21, 1e-7]),
)


def _level(node: Node) -> int:
    if isinstance(node, Binary):
        return LEVELS[node.op]
    return SIGNED if to_text(node)[0] in "+-" else OPERAND


def _at_least(node: Node, level: int) -> Node:
    return node if _level(node) >= level else Paren(node)


@st.composite
def vector_selectors(draw: st.DrawFn, *, edges: bool = True) -> VectorSelector:
    """Selectors with a name or with a condition that the empty string fails."""
    found = draw(st.lists(matchers(), max_size=3))
    name = draw(metric_names) if draw(st.booleans()) else ""
    if name:
        found = [matcher for matcher in found if matcher.name != "__name__"]
    elif all(matcher.matches("") for matcher in found):
        found.append(Matcher(MatchType.EQUAL, "__name__", draw(metric_names)))
    edge = draw(st.sampled_from(Edge)) if edges and draw(st.integers(0, 5)) == 0 else Edge.PLAIN
    return VectorSelector(name, tuple(sorted(found, key=matcher_text)), draw(modifiers()), edge)


@st.composite
def number_literals(draw: st.DrawFn) -> NumberLiteral:
    """Numbers, some written as durations."""
    if draw(st.booleans()):
        return NumberLiteral(draw(numbers))
    sign = draw(st.sampled_from([1, -1]))
    return NumberLiteral(seconds_of(sign * draw(milliseconds)), duration=True)


@st.composite
def matrices(draw: st.DrawFn, depth: int, edges: tuple[Edge, ...]) -> Node:
    """Range vectors; *edges* are those that the reader of the range allows."""
    if depth > 0 and draw(st.integers(0, 3)) == 0:
        expr = _at_least(draw(vectors(depth - 1)), OPERAND)
        step = draw(ranges) if draw(st.booleans()) else None
        return Subquery(expr, draw(ranges), step, draw(modifiers()))
    bare = draw(vector_selectors(edges=False))
    edge = draw(st.sampled_from(edges))
    vector = VectorSelector(bare.name, bare.matchers, bare.modifiers, edge)
    return MatrixSelector(vector, draw(ranges))


@st.composite
def matchings(draw: st.DrawFn) -> Matching:
    """Any matching of a binary operator that is no set operator."""
    on = draw(st.booleans())
    labels = tuple(draw(st.lists(label_names, max_size=2)))
    cardinality = draw(
        st.sampled_from((Cardinality.ONE_TO_ONE, Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_MANY))
    )
    include: tuple[str, ...] = ()
    if cardinality is not Cardinality.ONE_TO_ONE:
        drawn = draw(st.lists(label_names, max_size=2))
        include = tuple(label for label in drawn if not (on and label in labels))
    fills = st.one_of(st.none(), st.none(), numbers)
    return Matching(cardinality, on, labels, include, draw(fills), draw(fills))


@st.composite
def binaries(draw: st.DrawFn, depth: int, kind: ValueType) -> Binary:
    """Binary operators of the type *kind*, vector or scalar."""
    scalar = kind is ValueType.SCALAR
    usable = [op for op in LEVELS if not scalar or op not in (*SET_OPERATORS, *TRIMS)]
    op = draw(st.sampled_from(usable))
    level = LEVELS[op]
    either = scalars if scalar else vectors
    other = scalars if op not in SET_OPERATORS and draw(st.booleans()) else either
    sides = draw(st.permutations([draw(either(depth - 1)), draw(other(depth - 1))]))
    left = _at_least(
        sides[0], OPERAND if op == "^" and sides[0] != NumberLiteral(math.inf) else level
    )
    right = _at_least(sides[1], SIGNED if op == "^" else level + 1)
    both_vectors = value_type(left) is ValueType.VECTOR and value_type(right) is ValueType.VECTOR
    matching = draw(matchings()) if both_vectors else None
    if matching is not None and op in SET_OPERATORS:
        matching = Matching(Cardinality.MANY_TO_MANY, matching.on, matching.labels)
    return_bool = op in COMPARISONS and (scalar or draw(st.booleans()))
    return Binary(op, left, right, matching, return_bool)


@st.composite
def aggregates(draw: st.DrawFn, depth: int) -> Aggregate:
    """Every aggregation operator, with its parameter where it has one."""
    op = draw(st.sampled_from(sorted(AGGREGATORS)))
    wanted = AGGREGATORS[op]
    param = None if wanted is None else draw(expressions(wanted, depth - 1))
    grouping = tuple(draw(st.lists(label_names, max_size=2)))
    return Aggregate(op, draw(vectors(depth - 1)), param, grouping, draw(st.booleans()))


@st.composite
def calls(draw: st.DrawFn, depth: int, kind: ValueType) -> Call:
    """Every function that returns *kind*."""
    usable = [f for f in FUNCTIONS.values() if f.returns is kind]
    function: Function = draw(st.sampled_from(usable))
    most = function.most if function.most is not None else function.least + 2
    count = draw(st.integers(function.least, most))
    args: list[Node] = []
    for index in range(count):
        wanted = function.argument_type(index)
        if function.name == "info" and index == 1:
            found = tuple(sorted(draw(st.lists(matchers(), max_size=2)), key=matcher_text))
            args.append(VectorSelector("", found))
        elif wanted is ValueType.MATRIX:
            allowed = [Edge.PLAIN]
            allowed += [edge for edge, names in EDGE_FUNCTIONS.items() if function.name in names]
            args.append(draw(matrices(depth - 1, tuple(allowed))))
        else:
            args.append(draw(expressions(wanted, depth - 1)))
    return Call(function.name, tuple(args))


def _unary_of(node: Node, op: str) -> Node:
    operand = _at_least(node, SIGNED)
    return node if isinstance(operand, NumberLiteral) else Unary(op, operand)


@st.composite
def scalars(draw: st.DrawFn, depth: int = 2) -> Node:
    """Expressions of type scalar."""
    kind = draw(st.integers(0, 0 if depth <= 0 else 4))
    if kind == 0:
        return draw(number_literals())
    if kind == 1:
        return Paren(draw(scalars(depth - 1)))
    if kind == 2:
        return _unary_of(draw(scalars(depth - 1)), draw(st.sampled_from("+-")))
    if kind == 3:
        return draw(calls(depth, ValueType.SCALAR))
    return draw(binaries(depth, ValueType.SCALAR))


@st.composite
def vectors(draw: st.DrawFn, depth: int = 2) -> Node:
    """Expressions of type instant vector."""
    kind = draw(st.integers(0, 0 if depth <= 0 else 5))
    if kind == 0:
        return draw(vector_selectors())
    if kind == 1:
        return Paren(draw(vectors(depth - 1)))
    if kind == 2:
        return _unary_of(draw(vectors(depth - 1)), draw(st.sampled_from("+-")))
    if kind == 3:
        return draw(calls(depth, ValueType.VECTOR))
    if kind == 4:
        return draw(aggregates(depth))
    return draw(binaries(depth, ValueType.VECTOR))


def strings() -> st.SearchStrategy[Node]:
    """String literals, some in parentheses."""
    literals = texts.map(StringLiteral)
    return st.one_of(literals, literals.map(Paren))


def expressions(kind: ValueType, depth: int = 2) -> st.SearchStrategy[Node]:
    """Expressions of the type *kind*."""
    makers: dict[ValueType, Callable[[], st.SearchStrategy[Node]]] = {
        ValueType.SCALAR: lambda: scalars(depth),
        ValueType.VECTOR: lambda: vectors(depth),
        ValueType.MATRIX: lambda: matrices(depth, tuple(Edge)),
        ValueType.STRING: strings,
    }
    return makers[kind]()


def queries(depth: int = 3) -> st.SearchStrategy[Node]:
    """Any tree that the parser can give, up to *depth* levels of operations."""
    return st.sampled_from(ValueType).flatmap(lambda kind: expressions(kind, depth))

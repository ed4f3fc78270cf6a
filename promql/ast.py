"""The syntax tree of PromQL: frozen dataclasses, one a construct.

Every node carries its ``span`` in the query's text, for positions in errors and annotations; spans
take no part in equality, so ``parse(print(tree)) == tree``.
"""

from dataclasses import dataclass, field
from enum import Enum

from series.matcher import Matcher, MatchType


class ValueType(Enum):
    """What an expression evaluates to; the values are the words of Prometheus' errors."""

    SCALAR = "scalar"
    STRING = "string"
    VECTOR = "instant vector"
    MATRIX = "range vector"


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of the query text."""

    start: int
    end: int


NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expr:
    """The base of all nodes."""

    span: Span = field(default=NOWHERE, compare=False, repr=False)


# --- durations -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DurationLiteral(Expr):
    """A fixed duration; negative where a minus stood before it."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class DurationNumber(Expr):
    """A number inside a duration expression: seconds where a duration is wanted."""

    seconds: float


@dataclass(frozen=True, slots=True)
class DurationCall(Expr):
    """``step()`` or ``range()`` of the query inside a duration."""

    name: str


@dataclass(frozen=True, slots=True)
class DurationUnary(Expr):
    op: str
    operand: "Duration"


@dataclass(frozen=True, slots=True)
class DurationBinary(Expr):
    """``+ - * / % ^``, or ``min_of``/``max_of`` of two durations."""

    op: str
    left: "Duration"
    right: "Duration"


@dataclass(frozen=True, slots=True)
class DurationParen(Expr):
    inner: "Duration"


Duration = (
    DurationLiteral | DurationNumber | DurationCall | DurationUnary | DurationBinary | DurationParen
)


# --- leaves ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NumberLiteral(Expr):
    """A number; ``duration`` tells that it was written as one (``5m``) and prints so."""

    value: float
    duration: bool = False


@dataclass(frozen=True, slots=True)
class StringLiteral(Expr):
    value: str


class AtAnchor(Enum):
    START = "start()"
    END = "end()"


@dataclass(frozen=True, slots=True)
class Modifiers:
    """``offset`` and ``@`` of a selector or subquery; ``at`` in ms since 1970, or an anchor."""

    offset: Duration | None = None
    at: int | AtAnchor | None = None


class Edge(Enum):
    """How a range selector treats its edges (``anchored``, ``smoothed``)."""

    PLAIN = ""
    ANCHORED = "anchored"
    SMOOTHED = "smoothed"


@dataclass(frozen=True, slots=True)
class VectorSelector(Expr):
    """``name{matchers}``.

    ``name`` is what stood before the braces ('' if nothing); ``matchers`` are all conditions but
    that of ``name``, in the order of their printed texts. ``all_matchers`` joins both.
    """

    name: str
    matchers: tuple[Matcher, ...] = ()
    modifiers: Modifiers = Modifiers()
    edge: Edge = Edge.PLAIN
    all_matchers: tuple[Matcher, ...] = field(init=False, compare=False, repr=False)
    """The matchers plus ``__name__="name"``, which stands last as in Prometheus."""

    def __post_init__(self) -> None:
        named = (Matcher(MatchType.EQUAL, "__name__", self.name),) if self.name else ()
        object.__setattr__(self, "all_matchers", (*self.matchers, *named))


@dataclass(frozen=True, slots=True)
class MatrixSelector(Expr):
    """``selector[range]``; offset, @ and edge stand in the selector."""

    vector: VectorSelector
    range: Duration


@dataclass(frozen=True, slots=True)
class Subquery(Expr):
    """``expr[range:step]``; a missing step means the default interval."""

    expr: "Node"
    range: Duration
    step: Duration | None = None
    modifiers: Modifiers = Modifiers()


# --- operations ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Paren(Expr):
    inner: "Node"


@dataclass(frozen=True, slots=True)
class Unary(Expr):
    """``+`` or ``-`` before anything but a number literal, which takes the sign in."""

    op: str
    operand: "Node"


class Cardinality(Enum):
    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"  # group_left
    ONE_TO_MANY = "one-to-many"  # group_right
    MANY_TO_MANY = "many-to-many"  # and, or, unless


@dataclass(frozen=True, slots=True)
class Matching:
    """How the sides of a binary operator between vectors find each other.

    ``on`` is True for ``on(labels)``, False for ``ignoring(labels)`` and for neither; ``include``
    are the labels of ``group_left``/``group_right``; the fills are the values of ``fill*()``.
    """

    cardinality: Cardinality = Cardinality.ONE_TO_ONE
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class Binary(Expr):
    """``left op right``; ``matching`` is None unless both sides are vectors.

    ``op`` is in lower case: ``+ - * / % ^ atan2 == != < <= > >= </ >/ and or unless``.
    """

    op: str
    left: "Node"
    right: "Node"
    matching: Matching | None = None
    return_bool: bool = False


@dataclass(frozen=True, slots=True)
class Aggregate(Expr):
    """``op by|without (grouping) (param, expr)``; ``op`` in lower case."""

    op: str
    expr: "Node"
    param: "Node | None" = None
    grouping: tuple[str, ...] = ()
    without: bool = False


@dataclass(frozen=True, slots=True)
class Call(Expr):
    """A function call; ``name`` stands in ``promql.functions.FUNCTIONS``."""

    name: str
    args: tuple["Node", ...]


Node = (
    NumberLiteral
    | StringLiteral
    | VectorSelector
    | MatrixSelector
    | Subquery
    | Paren
    | Unary
    | Binary
    | Aggregate
    | Call
)

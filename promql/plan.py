"""The plan: a query bound to its time axis.

Each node of a plan knows the Grid that it is evaluated over. ``offset``, ``@`` and subqueries turn
into other Grids at the leaves below them, so nobody above has to know of them. A part of the query
whose selectors are all pinned by ``@`` is planned over one instant and repeated on every step.
"""

import dataclasses

from promql import ast
from promql.ast import AtAnchor, Edge, Modifiers, Node, Span
from promql.duration_values import duration_ms
from promql.env import Options, QueryTimes
from promql.info import info_selector
from series.grid import Grid
from series.immutable import immutable, immutable_by_name
from series.matcher import Matcher


@immutable_by_name
class Step:
    """The base of plan nodes: what is evaluated at every instant of ``grid``."""

    grid: Grid
    span: Span


@immutable_by_name
class Number(Step):
    value: float


@immutable_by_name
class String(Step):
    value: str


@immutable_by_name
class Select(Step):
    """An instant selector; looks at the instants of ``at``, which has as many as the grid.

    ``timed``: the answer carries the times of the samples themselves; ``started``: their start
    times instead. ``smoothed``: values lie on the lines between samples.
    ``hinted``: histograms without hints of resets get them. Without ``valued`` only the presence
    of floats counts.
    """

    matchers: tuple[Matcher, ...]
    at: Grid
    lookback_ms: int
    timed: bool = False
    started: bool = False
    smoothed: bool = False
    hinted: bool = False
    valued: bool = True


@immutable_by_name
class SelectRange(Step):
    """A range selector: windows of ``range_ms`` that end at the instants of ``ends``.

    ``ends`` has one instant where ``@`` pins the selector: then all steps see the same window.
    ``lookback_ms`` is how far an ``edge`` that is not plain looks beyond the window, and where the
    sample before its first may be that tells whether that one was a reset.
    """

    matchers: tuple[Matcher, ...]
    ends: Grid
    range_ms: int
    edge: Edge = Edge.PLAIN
    lookback_ms: int = 0
    hinted: bool = False

    @property
    def start_ms(self) -> int:
        """The earliest time that can matter."""
        before_ms = self.lookback_ms if self.hinted or self.edge is not Edge.PLAIN else 0
        return self.ends.start_ms - self.range_ms - before_ms + 1

    @property
    def end_ms(self) -> int:
        """The latest time that can matter."""
        return self.ends.end_ms + (self.lookback_ms if self.edge is Edge.SMOOTHED else 0)


@immutable_by_name
class SubqueryRange(Step):
    """A subquery: windows over what ``inner`` gives on its own grid; else like SelectRange."""

    inner: "Plan"
    ends: Grid
    range_ms: int


@immutable_by_name
class RangeCall(Step):
    """A range-vector function; ``parameters`` are its scalar arguments."""

    call: ast.Call
    source: SelectRange | SubqueryRange
    parameters: tuple["Plan", ...]


@immutable_by_name
class InstantCall(Step):
    call: ast.Call
    arguments: tuple["Plan", ...]


@immutable_by_name
class Aggregation(Step):
    node: ast.Aggregate
    inner: "Plan"
    parameter: "Plan | None"


@immutable_by_name
class Operation(Step):
    """A binary operator."""

    node: ast.Binary
    left: "Plan"
    right: "Plan"


@immutable_by_name
class Negation(Step):
    inner: "Plan"


@immutable_by_name
class Repeat(Step):
    """The one instant of ``inner`` on every step."""

    inner: "Plan"


Plan = (
    Number
    | String
    | Select
    | SelectRange
    | SubqueryRange
    | RangeCall
    | InstantCall
    | Aggregation
    | Operation
    | Negation
    | Repeat
)

_TIME_CALLS = frozenset(
    (
        *("days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute"),
        *("month", "year", "predict_linear", "time", "timestamp", "start", "end", "step"),
        "range",
    )
)
"""Functions whose value changes with the step though their selectors are pinned."""


_COUNTING = frozenset(("count", "group"))
"""Aggregations that look at no values."""
_STATISTICS = frozenset(("histogram_count", "histogram_sum", "histogram_avg"))
_SHAPES = frozenset(("histogram_quantile", "histogram_quantiles", "histogram_fraction"))
"""Functions that need no buckets of the histograms below them, and that do."""


def make_plan(node: Node, query: QueryTimes, options: Options) -> Plan:
    """The plan of *node* over *query*.

    Raises InvalidQuery, and ExecutionError for what the engine does not evaluate.
    """
    return _Planner(query, options).plan(node, query.grid)


@immutable
class _Planner:
    """``hinted``: only counts and sums of the histograms below are asked for."""

    query: QueryTimes
    options: Options
    hinted: bool = False

    def plan(self, node: Node, grid: Grid) -> Plan:
        if grid.count != 1 and _repeats(node):
            once = self._plan(node, Grid.instant(grid.start_ms))
            return Repeat(grid=grid, span=node.span, inner=once)
        return self._plan(node, grid)

    def _plan(self, node: Node, grid: Grid) -> Plan:
        match node:
            case ast.NumberLiteral():
                return Number(grid=grid, span=node.span, value=node.value)
            case ast.StringLiteral():
                return String(grid=grid, span=node.span, value=node.value)
            case ast.VectorSelector():
                return self._select(node, grid)
            case ast.MatrixSelector():
                return self._select_range(node, grid)
            case ast.Subquery():
                return self._subquery(node, grid)
            case ast.Paren():
                return self.plan(node.inner, grid)
            case ast.Unary():
                inner = self.plan(node.operand, grid)
                return Negation(grid=grid, span=node.span, inner=inner) if node.op == "-" else inner
            case ast.Binary():
                planner = self._hinting(False)
                return Operation(
                    grid=grid,
                    span=node.span,
                    node=node,
                    left=planner.plan(node.left, grid),
                    right=planner.plan(node.right, grid),
                )
            case ast.Aggregate():
                inner = self.plan(node.expr, grid)
                return Aggregation(
                    grid=grid,
                    span=node.span,
                    node=node,
                    inner=_unvalued(inner) if node.op in _COUNTING else inner,
                    parameter=None if node.param is None else self.plan(node.param, grid),
                )
            case ast.Call():
                hinted = node.name in _STATISTICS or (self.hinted and node.name not in _SHAPES)
                return self._hinting(hinted)._call(node, grid)

    def _hinting(self, hinted: bool) -> "_Planner":
        return self if hinted == self.hinted else _Planner(self.query, self.options, hinted)

    def _select(self, node: ast.VectorSelector, grid: Grid) -> Plan:
        at = self._moved(node.modifiers, grid)
        once = Select(
            grid=grid if at.count == grid.count else Grid.instant(grid.start_ms),
            span=node.span,
            matchers=node.all_matchers,
            at=at,
            lookback_ms=self.options.lookback_ms,
            smoothed=node.edge is Edge.SMOOTHED,
            hinted=self.hinted,
        )
        if at.count == grid.count:
            return once
        return Repeat(grid=grid, span=node.span, inner=once)

    def _select_range(self, node: ast.MatrixSelector, grid: Grid) -> SelectRange:
        return SelectRange(
            grid=grid,
            span=node.span,
            matchers=node.vector.all_matchers,
            ends=self._moved(node.vector.modifiers, grid),
            range_ms=duration_ms(node.range, self.query, positive=True),
            edge=node.vector.edge,
            lookback_ms=self.options.lookback_ms,
            hinted=self.hinted,
        )

    def _subquery(self, node: ast.Subquery, grid: Grid) -> SubqueryRange:
        """Instants of a subquery are the multiples of its step since 1970."""
        ends = self._moved(node.modifiers, grid)
        range_ms = duration_ms(node.range, self.query, positive=True)
        step_ms = self.options.default_step_ms
        if node.step is not None:
            step_ms = duration_ms(node.step, self.query, positive=True)
        first_ms = ((ends.start_ms - range_ms) // step_ms + 1) * step_ms
        return SubqueryRange(
            grid=grid,
            span=node.span,
            inner=self.plan(node.expr, Grid.between(first_ms, ends.end_ms, step_ms)),
            ends=ends,
            range_ms=range_ms,
        )

    def _call(self, node: ast.Call, grid: Grid) -> Plan:
        if node.name == "info":
            base = self.plan(_bare(node.args[0]), grid)
            infos = _timed(self.plan(info_selector(node), grid))
            return InstantCall(grid=grid, span=node.span, call=node, arguments=(base, infos))
        arguments = tuple(self.plan(_bare(argument), grid) for argument in node.args)
        # Unary plus is no plan node, but makes a vector of its argument that has no sample times.
        if node.name == "timestamp" and isinstance(_bare(node.args[0]), ast.VectorSelector):
            arguments = (_timed(arguments[0]),)
        if node.name == "start_timestamp" and isinstance(_bare(node.args[0]), ast.VectorSelector):
            arguments = (_timed(arguments[0], started=True),)
        sources = [a for a in arguments if isinstance(a, SelectRange | SubqueryRange)]
        if not sources:
            return InstantCall(grid=grid, span=node.span, call=node, arguments=arguments)
        return RangeCall(
            grid=grid,
            span=node.span,
            call=node,
            source=sources[0],
            parameters=tuple(a for a in arguments if a is not sources[0]),
        )

    def _moved(self, modifiers: Modifiers, grid: Grid) -> Grid:
        """The instants that a selector below ``offset`` and ``@`` looks at."""
        offset_ms = 0
        if modifiers.offset is not None:
            offset_ms = duration_ms(modifiers.offset, self.query, positive=False)
        match modifiers.at:
            case None:
                return grid.shifted(-offset_ms)
            case AtAnchor.START:
                return Grid.instant(self.query.start_ms - offset_ms)
            case AtAnchor.END:
                return Grid.instant(self.query.end_ms - offset_ms)
            case at_ms:
                return Grid.instant(at_ms - offset_ms)


def _bare(node: Node) -> Node:
    while isinstance(node, ast.Paren):
        node = node.inner
    return node


def _timed(plan: Plan, *, started: bool = False) -> Plan:
    match plan:
        case Select():
            return dataclasses.replace(plan, timed=True, started=started)
        case Repeat(inner=Select() as select):
            return dataclasses.replace(plan, inner=_timed(select, started=started))
        case _:
            return plan


def _unvalued(plan: Plan) -> Plan:
    """*plan* for who asks for presence alone."""
    match plan:
        case Select(smoothed=False, hinted=False):
            return dataclasses.replace(plan, valued=False)
        case Repeat(inner=Select() as select):
            return dataclasses.replace(plan, inner=_unvalued(select))
        case _:
            return plan


def _repeats(node: Node) -> bool:
    """Whether *node* is worth evaluating once: the same on every step, and no mere literal."""
    node = _bare(node)
    if isinstance(node, ast.Unary):
        return _repeats(node.operand)
    literal = isinstance(node, ast.NumberLiteral | ast.StringLiteral)
    ranges = isinstance(node, ast.MatrixSelector | ast.Subquery)
    return not literal and not ranges and _is_invariant(node)


def _is_invariant(node: Node) -> bool:
    """Whether *node* has the same value on every step (PreprocessExpr of Prometheus)."""
    match node:
        case ast.NumberLiteral() | ast.StringLiteral():
            return True
        case ast.VectorSelector() | ast.Subquery():
            return node.modifiers.at is not None
        case ast.MatrixSelector():
            return node.vector.modifiers.at is not None
        case ast.Paren():
            return _is_invariant(node.inner)
        case ast.Unary():
            return _is_invariant(node.operand)
        case ast.Binary():
            # The short side of a long chain first.
            return _is_invariant(node.right) and _is_invariant(node.left)
        case ast.Aggregate():
            return _is_invariant(node.expr)
        case ast.Call():
            return node.name not in _TIME_CALLS and all(map(_is_invariant, node.args))

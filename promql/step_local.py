"""Step-local plans: those of which every step can be computed by itself, to the bit.

A cache of range answers keeps steps and computes others later, over another range. That is exact
where a step's value depends on the samples around it and on nothing else of the range. Only what is
known to be so is; the rest is always computed as a whole.

Sums depend on the order of their rows. Rows of a selector keep theirs whatever the range is; groups
stand in the order in which they first appear, so where that order counts it must be compared; of
other rows nothing is known.
"""

import re
from dataclasses import dataclass, field
from enum import Enum

from promql.ast import Aggregate, Edge
from promql.env import Options
from promql.plan import (
    Aggregation,
    InstantCall,
    Negation,
    Number,
    Operation,
    Plan,
    RangeCall,
    Repeat,
    Select,
    SelectRange,
    String,
    SubqueryRange,
)
from series.labels import METADATA_LABELS

NOTHING_AHEAD_MS = -(2**62)
"""How far ahead steps look that depend on no samples at all."""

WINDOWS = frozenset(
    (
        *("rate", "increase", "delta", "irate", "idelta", "deriv", "predict_linear", "changes"),
        *("resets", "sum_over_time", "avg_over_time", "min_over_time", "max_over_time"),
        *("count_over_time", "present_over_time", "absent_over_time", "first_over_time"),
        *("last_over_time", "stddev_over_time", "stdvar_over_time", "ts_of_first_over_time"),
        *("ts_of_last_over_time", "ts_of_min_over_time", "ts_of_max_over_time"),
        "double_exponential_smoothing",
    )
)
"""Functions of range vectors that see a window and nothing else."""
CELLS = frozenset(
    (
        *("abs", "ceil", "floor", "sqrt", "sgn", "round", "clamp", "clamp_min", "clamp_max"),
        *("deg", "rad", "timestamp", "minute", "hour", "day_of_week", "day_of_month"),
        *("day_of_year", "days_in_month", "month", "year"),
    )
)
"""Functions of a vector that see a point and its step and nothing else."""
SCALARS = frozenset(("time", "pi", "scalar", "min_of", "max_of"))
"""Functions that give a scalar from what stands at a step."""
VECTORS = frozenset(
    (
        *("vector", "absent", "label_replace", "label_join"),
        *("histogram_quantile", "histogram_fraction"),
    )
)
"""Functions that give a vector from what stands at a step."""
OTHERS = frozenset(
    (
        # These look at the range, or at series that only other steps have.
        *("start", "end", "step", "range", "info"),
        # These only warn in a range query.
        *("sort", "sort_desc", "sort_by_label", "sort_by_label_desc"),
        # The last bit may depend on where in an array a value stands.
        *("exp", "ln", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan"),
        *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
        # The sign of a zero may depend on how the window came about.
        *("quantile_over_time", "mad_over_time"),
        # These are of native histograms and start times.
        *("histogram_avg", "histogram_count", "histogram_sum", "histogram_stddev"),
        *("histogram_stdvar", "histogram_quantiles", "start_timestamp"),
    )
)
"""Functions that are never taken for step-local."""
OPERATORS = frozenset(("+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">="))
FILTERS = frozenset(("and", "unless"))
FOLDED = frozenset(("sum", "avg", "min", "max", "stddev", "stdvar"))
COUNTED = frozenset(("count", "group", "count_values", "limit_ratio"))
CHOSEN = frozenset(("topk", "bottomk", "limitk"))
RANKED = frozenset(("quantile",))
"""Aggregations by whether the order of rows counts: it does not for COUNTED."""


class _Order(Enum):
    STREAM = "the rows of a selector"
    ROWS = "some of the rows of a selector, in its order"
    GROUPS = "the groups of a selector's rows, in order of first appearance"
    LOOSE = "any"
    NONE = "no rows: a scalar or a text"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is known of the rows of a value; ``leaf`` and ``groups`` say whose they are."""

    order: _Order
    leaf: "Leaf | None" = None
    groups: Aggregate | None = None


Leaf = Select | SelectRange
_LOOSE, _NONE = _Kind(_Order.LOOSE), _Kind(_Order.NONE)


@dataclass(slots=True)
class StepLocal:
    """How the steps of a plan depend on samples.

    - ``ahead_ms``: no sample later than this after a step matters to it; may be negative.
    - ``leaves``: the selectors, in an order that depends on the query's text alone. None of them
      may find series of several names, or of types and units.
    - ``orders``: selectors and aggregations over them whose groups' order counts.
    """

    ahead_ms: int = NOTHING_AHEAD_MS
    leaves: list[Leaf] = field(default_factory=list)
    orders: list[tuple[Leaf, Aggregate]] = field(default_factory=list)


class _NotLocalError(Exception):
    """The plan is not known to be step-local."""


_RANGE = re.compile(r"\brange\b", re.IGNORECASE)


def step_local(query: str, plan: Plan, options: Options) -> StepLocal | None:
    """How the steps of *plan*, that of *query* over two steps at least, depend on samples.

    None where it is not known to be step-local.
    """
    # A duration may hold ``range()``. Which word it is matters less than that none is missed.
    if plan.grid.count < 2 or _RANGE.search(query):
        return None
    # Marks of names to be removed are kept for the whole range, and start times look back.
    if options.delayed_name_removal or options.use_start_timestamps:
        return None
    walk = _Walk()
    try:
        walk.kind(plan, 0, within=False)
    except _NotLocalError:
        return None
    return walk.found


@dataclass(slots=True)
class _Walk:
    found: StepLocal = field(default_factory=StepLocal)

    def kind(self, plan: Plan, ahead_ms: int, *, within: bool) -> _Kind:
        """What the rows of *plan* are, whose grid looks *ahead_ms* beyond the query's steps.

        *within* a subquery there may be a single step where elsewhere there are more.
        """
        match plan:
            case Number() | String():
                return _NONE
            case Select():
                _expect(not (plan.smoothed or plan.started or plan.hinted))
                return self._leaf(plan, ahead_ms + plan.at.end_ms - plan.grid.end_ms)
            case RangeCall():
                return self._range_call(plan, ahead_ms, within=within)
            case InstantCall():
                return self._instant_call(plan, ahead_ms, within=within)
            case Negation():
                return self.kind(plan.inner, ahead_ms, within=within)
            case Operation():
                return self._operation(plan, ahead_ms, within=within)
            case Aggregation():
                return self._aggregation(plan, ahead_ms, within=within)
            case Repeat():
                return self._constant(plan.inner)
            case SelectRange() | SubqueryRange():
                raise _NotLocalError

    def _leaf(self, leaf: Leaf, ahead_ms: int) -> _Kind:
        self.found.leaves.append(leaf)
        self.found.ahead_ms = max(self.found.ahead_ms, ahead_ms)
        return _Kind(_Order.STREAM, leaf)

    def _range_call(self, plan: RangeCall, ahead_ms: int, *, within: bool) -> _Kind:
        source, name = plan.source, plan.call.name
        _expect(name in WINDOWS and source.ends.count == plan.grid.count)
        for parameter in plan.parameters:
            _expect(self.kind(parameter, ahead_ms, within=within) is _NONE)
        ahead_ms += source.ends.end_ms - plan.grid.end_ms
        if isinstance(source, SelectRange):
            _expect(source.edge is Edge.PLAIN and not source.hinted)
            rows = self._leaf(source, ahead_ms)
        else:
            # Of a single instant ``@`` cannot be told from ``offset``.
            _expect(source.inner.grid.count > 1)
            rows = _gathered(self.kind(source.inner, ahead_ms, within=True))
            # Rows of equal labels would be one series in one range and two in another.
            _expect(rows.order in (_Order.ROWS, _Order.GROUPS))
        return _LOOSE if name == "absent_over_time" else rows

    def _instant_call(self, plan: InstantCall, ahead_ms: int, *, within: bool) -> _Kind:
        name = plan.call.name
        kinds = [self.kind(argument, ahead_ms, within=within) for argument in plan.arguments]
        if name in CELLS:
            return kinds[0] if kinds else _LOOSE
        if name in SCALARS:
            return _NONE
        _expect(name in VECTORS)
        if name in ("histogram_quantile", "histogram_fraction"):
            self._expect_order(kinds[-1])
        return _LOOSE

    def _operation(self, plan: Operation, ahead_ms: int, *, within: bool) -> _Kind:
        left = self.kind(plan.left, ahead_ms, within=within)
        right = self.kind(plan.right, ahead_ms, within=within)
        op = plan.node.op
        _expect(op in OPERATORS or op in FILTERS or op == "or")
        if op in FILTERS:
            return _gathered(left)
        if right is _NONE:
            return left
        return right if left is _NONE else _LOOSE

    def _aggregation(self, plan: Aggregation, ahead_ms: int, *, within: bool) -> _Kind:
        node, rows = plan.node, self.kind(plan.inner, ahead_ms, within=within)
        op = node.op
        _expect(op in FOLDED or op in COUNTED or op in CHOSEN or op in RANKED)
        # A parameter that changes with the steps is checked as a whole.
        _expect(plan.parameter is None or isinstance(plan.parameter, Number | String))
        if op not in COUNTED:
            self._expect_order(rows)
        if op in CHOSEN:
            # Over a single step they put the best first.
            _expect(not within)
            return _gathered(rows)
        if op == "limit_ratio":
            return _gathered(rows)
        keeps_names = not node.without and set(node.grouping) & set(METADATA_LABELS)
        if op in RANKED or op == "count_values" or rows.order is not _Order.STREAM or keeps_names:
            return _LOOSE
        return _Kind(_Order.GROUPS, rows.leaf, node)

    def _expect_order(self, rows: _Kind) -> None:
        """The order of *rows* counts."""
        _expect(rows.order is not _Order.LOOSE)
        if rows.groups is not None and rows.leaf is not None:
            self.found.orders.append((rows.leaf, rows.groups))

    def _constant(self, plan: Plan) -> _Kind:
        """The kind of what is the same on every step, if that is because it reads no samples."""
        leaves = len(self.found.leaves)
        kind = self.kind(plan, 0, within=True)
        _expect(len(self.found.leaves) == leaves)
        return kind if kind is _NONE else _LOOSE


def _gathered(rows: _Kind) -> _Kind:
    """The kind of some of *rows*, in their order."""
    return _Kind(_Order.ROWS, rows.leaf) if rows.order is _Order.STREAM else rows


def _expect(is_so: bool) -> None:
    if not is_so:
        raise _NotLocalError

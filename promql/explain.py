"""A plan as text, one line a node, its inputs below it; or as a tree of objects."""

from collections.abc import Iterator

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
from series.durations import format_duration_ms
from series.grid import Grid
from series.labels import quote
from series.matcher import Matcher


def explain(plan: Plan) -> str:
    """*plan* as indented lines; a line names its instants where they are not those above it."""
    return "\n".join(_lines(plan, None, 0))


def _lines(plan: Plan, above: Grid | None, depth: int) -> Iterator[str]:
    place = "" if plan.grid == above else f"  at {instants(plan.grid)}"
    yield f"{'  ' * depth}{title(plan)}{place}"
    for child in children(plan):
        yield from _lines(child, plan.grid, depth + 1)


def title(plan: Plan) -> str:
    """What *plan* does, in a few words."""
    match plan:
        case Number():
            return f"number {plan.value!r}"
        case String():
            return f"string {quote(plan.value)}"
        case Select():
            moved = "" if plan.at == plan.grid else f" looking at {instants(plan.at)}"
            return f"select {_selector(plan.matchers)}{moved}"
        case SelectRange():
            return f"windows of {_selector(plan.matchers)}{_windows(plan)}"
        case SubqueryRange():
            return f"windows of a subquery{_windows(plan)}"
        case RangeCall() | InstantCall():
            return f"call {plan.call.name}"
        case Aggregation(node=node):
            by = "without" if node.without else "by"
            return f"aggregate {node.op} {by} ({', '.join(node.grouping)})"
        case Operation():
            return f"operator {plan.node.op}"
        case Negation():
            return "negate"
        case Repeat():
            return "repeat"


def children(plan: Plan) -> tuple[Plan, ...]:
    """The inputs of *plan*."""
    match plan:
        case SubqueryRange() | Negation() | Repeat():
            return (plan.inner,)
        case RangeCall():
            return (*plan.parameters, plan.source)
        case InstantCall():
            return plan.arguments
        case Aggregation():
            return (plan.inner,) if plan.parameter is None else (plan.parameter, plan.inner)
        case Operation():
            return plan.left, plan.right
        case _:
            return ()


def _selector(matchers: tuple[Matcher, ...]) -> str:
    return "{" + ", ".join(map(str, matchers)) + "}"


def _windows(plan: SelectRange | SubqueryRange) -> str:
    ends = "" if plan.ends == plan.grid else f" ending at {instants(plan.ends)}"
    return f" over {format_duration_ms(plan.range_ms)}{ends}"


def instants(grid: Grid) -> str:
    """``10s``, or ``10s ... 70s step 10s``."""
    if grid.count == 1:
        return f"{grid.start_ms / 1000:.13g}s"
    step = format_duration_ms(grid.step_ms)
    return f"{grid.start_ms / 1000:.13g}s ... {grid.end_ms / 1000:.13g}s step {step}"

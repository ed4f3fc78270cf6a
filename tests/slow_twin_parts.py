"""The parts that the slow twin is put together from: elements, tables of functions, labels."""

import calendar
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import re2

from promql import ast
from series.batch import STALE_NAN_BITS
from series.labels import METADATA_LABELS, Labels
from tests import slow_twin_math as sums
from tests.slow_twin_math import INF, Samples, divide

Group = tuple[tuple[str, str], ...]


class TwinError(Exception):
    """The query fails; the text begins as Prometheus' error does."""


class Unknown(Exception):
    """The query needs something that the twin does not know."""


@dataclass(frozen=True)
class Element:
    """One element of an instant vector; ``drop``: its name goes away at the end of the query."""

    labels: dict[str, str]
    value: float
    drop: bool = False
    time_ms: int | None = None


@dataclass(frozen=True)
class Window:
    """One series of a range vector, its samples within (start_ms, end_ms]."""

    labels: dict[str, str]
    drop: bool
    samples: Samples
    start_ms: int
    end_ms: int

    @property
    def values(self) -> list[float]:
        return [value for _, value in self.samples]


Vector = list[Element]


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}
ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": divide,
    "%": sums.modulo,
    "^": sums.power,
    "atan2": math.atan2,
}
FOLDS: dict[str, Callable[[list[float]], float]] = {
    "sum": sums.kahan_sum,
    "avg": sums.average,
    "min": lambda values: sums.extreme(values, lambda a, b: a < b),
    "max": lambda values: sums.extreme(values, lambda a, b: a > b),
    "count": lambda values: float(len(values)),
    "count_values": lambda values: float(len(values)),
    "group": lambda values: 1.0,
    "stdvar": sums.variance_of_group,
    "stddev": lambda values: math.sqrt(sums.variance_of_group(values)),
}

Rollup = Callable[[Window, list[float], int], float | None]


def _of_values(fold: Callable[[list[float]], float]) -> Rollup:
    return lambda window, scalars, time_ms: fold(window.values)


def _of_rate(*, counter: bool, per_second: bool) -> Rollup:
    return lambda w, scalars, time_ms: sums.rate(
        w.samples, w.start_ms, w.end_ms, counter=counter, per_second=per_second
    )


def _deriv(window: Window, scalars: list[float], time_ms: int) -> float | None:
    if len(window.samples) < 2:
        return None
    return sums.line(window.samples, window.samples[0][0])[0]


def _predict(window: Window, scalars: list[float], time_ms: int) -> float | None:
    if len(window.samples) < 2:
        return None
    slope, intercept = sums.line(window.samples, time_ms)
    return slope * scalars[0] + intercept


def _smooth(window: Window, scalars: list[float], time_ms: int) -> float | None:
    for kind, factor in zip(("smoothing", "trend"), scalars, strict=True):
        if factor <= 0 or factor >= 1:
            raise TwinError(f"invalid {kind} factor")
    return sums.smooth(window.samples, *scalars) if len(window.samples) > 1 else None


OVER_TIME: dict[str, Rollup] = {
    "rate": _of_rate(counter=True, per_second=True),
    "increase": _of_rate(counter=True, per_second=False),
    "delta": _of_rate(counter=False, per_second=False),
    "irate": lambda w, scalars, time_ms: sums.last_two(w.samples, counter=True),
    "idelta": lambda w, scalars, time_ms: sums.last_two(w.samples, counter=False),
    "deriv": _deriv,
    "predict_linear": _predict,
    "double_exponential_smoothing": _smooth,
    "changes": _of_values(sums.changes),
    "resets": _of_values(sums.resets),
    "avg_over_time": _of_values(sums.average),
    "sum_over_time": _of_values(sums.kahan_sum),
    "min_over_time": _of_values(FOLDS["min"]),
    "max_over_time": _of_values(FOLDS["max"]),
    "count_over_time": _of_values(FOLDS["count"]),
    "present_over_time": _of_values(FOLDS["group"]),
    "stdvar_over_time": _of_values(sums.variance_over_time),
    "stddev_over_time": _of_values(lambda values: math.sqrt(sums.variance_over_time(values))),
    "quantile_over_time": lambda w, scalars, time_ms: sums.quantile(scalars[0], w.values),
    "mad_over_time": _of_values(sums.deviation),
    "last_over_time": lambda w, scalars, time_ms: w.samples[-1][1],
    "first_over_time": lambda w, scalars, time_ms: w.samples[0][1],
    "ts_of_first_over_time": lambda w, scalars, time_ms: w.samples[0][0] / 1000,
    "ts_of_last_over_time": lambda w, scalars, time_ms: w.samples[-1][0] / 1000,
    "ts_of_min_over_time": lambda w, s, t: sums.extreme_time(w.samples, lambda a, b: a <= b),
    "ts_of_max_over_time": lambda w, s, t: sums.extreme_time(w.samples, lambda a, b: a >= b),
}

CLOCK: dict[str, Callable[[datetime], float]] = {
    "minute": lambda t: t.minute,
    "hour": lambda t: t.hour,
    "day_of_week": lambda t: t.isoweekday() % 7,
    "day_of_month": lambda t: t.day,
    "day_of_year": lambda t: t.timetuple().tm_yday,
    "days_in_month": lambda t: calendar.monthrange(t.year, t.month)[1],
    "month": lambda t: t.month,
    "year": lambda t: t.year,
}


def clock(part: Callable[[datetime], float], seconds: float) -> float:
    return float(part(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=math.trunc(seconds))))


def clamps(name: str, scalars: Sequence[float]) -> tuple[float, float]:
    if name == "clamp":
        return scalars[0], scalars[1]
    return (scalars[0], INF) if name == "clamp_min" else (-INF, scalars[0])


def is_stale(value: float) -> bool:
    return struct.pack("<d", value) == struct.pack("<Q", STALE_NAN_BITS)


def length_ms(duration: ast.Duration) -> int:
    match duration:
        case ast.DurationLiteral():
            return duration.milliseconds
        case ast.DurationNumber():
            return round(duration.seconds * 1000)
        case ast.DurationParen():
            return length_ms(duration.inner)
    raise Unknown(str(duration))


def unwrapped(node: ast.Node) -> ast.Node:
    while isinstance(node, ast.Paren):
        node = node.inner
    return node


def is_range(node: ast.Node) -> bool:
    return isinstance(unwrapped(node), ast.MatrixSelector | ast.Subquery)


def is_scalar(node: ast.Node) -> bool:
    match unwrapped(node):
        case ast.NumberLiteral():
            return True
        case ast.Call(name=name):
            return name in ("scalar", "time", "pi")
        case ast.Unary(operand=operand):
            return is_scalar(operand)
        case ast.Binary(left=left, right=right):
            return is_scalar(left) and is_scalar(right)
    return False


def nameless(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name not in METADATA_LABELS}


def finished(element: Element) -> Element:
    return replace(element, labels=nameless(element.labels)) if element.drop else element


def unique(vector: Vector) -> Vector:
    if len({Labels.of(e.labels) for e in vector}) < len(vector):
        raise TwinError("vector cannot contain metrics with the same labelset")
    return vector


def apply(op: str, a: float, b: float) -> float:
    return float(COMPARISONS[op](a, b)) if op in COMPARISONS else ARITHMETIC[op](a, b)


def group_of(labels: Mapping[str, str], names: Sequence[str], without: bool) -> Group:
    hidden = (*names, "__name__") if without else ()
    return tuple(
        sorted(
            (n, v) for n, v in labels.items() if v and (n in names or without) and n not in hidden
        )
    )


def signature(labels: Mapping[str, str], matching: ast.Matching) -> Group:
    return group_of(labels, matching.labels, not matching.on)


def set_operation(op: str, matching: ast.Matching, left: Vector, right: Vector) -> Vector:
    in_left = {signature(e.labels, matching) for e in left}
    in_right = {signature(e.labels, matching) for e in right}
    if op == "or":
        return left + [e for e in right if signature(e.labels, matching) not in in_left]
    wanted = op == "and"
    return [e for e in left if (signature(e.labels, matching) in in_right) == wanted]


def sorted_by_value(vector: Vector, *, descending: bool) -> Vector:
    numbers = [e for e in vector if not math.isnan(e.value)]
    numbers.sort(key=lambda e: e.value, reverse=descending)
    return numbers + [e for e in vector if math.isnan(e.value)]


def extremes(groups: Mapping[Group, Vector], k: float, *, largest: bool) -> Vector:
    if math.isnan(k):
        raise TwinError("Parameter value is NaN")
    if k >= 2**63:
        raise TwinError("Scalar value")
    count = int(k) if k >= 1 else 0
    return [
        e
        for group in groups.values()
        for e in sorted_by_value(_kept(group, count, largest), descending=largest)
    ]


def _kept(vector: Vector, count: int, largest: bool) -> Vector:
    """The *count* elements that are left in a heap as Go's container/heap keeps it, which decides
    among equals: the worst of those that were kept stands at its top and gives way."""

    def worse(a: Element, b: Element) -> bool:
        return math.isnan(a.value) or (a.value < b.value if largest else a.value > b.value)

    def gives_way(top: Element, e: Element) -> bool:
        is_better = top.value < e.value if largest else top.value > e.value
        return is_better or (math.isnan(top.value) and not math.isnan(e.value))

    heap: list[Element] = []
    for e in vector:
        if len(heap) < count:
            heap.append(e)
            at = len(heap) - 1
            while at and worse(heap[at], heap[(at - 1) // 2]):
                parent = (at - 1) // 2
                heap[at], heap[parent] = heap[parent], heap[at]
                at = parent
        elif heap and gives_way(heap[0], e):
            heap[0], at = e, 0
            while children := range(2 * at + 1, min(2 * at + 3, len(heap))):
                child = children[0]
                if len(children) > 1 and worse(heap[children[1]], heap[child]):
                    child = children[1]
                if not worse(heap[child], heap[at]):
                    break
                heap[at], heap[child] = heap[child], heap[at]
                at = child
    return heap


def absent_labels(node: ast.Node) -> dict[str, str]:
    node = unwrapped(node)
    if isinstance(node, ast.MatrixSelector):
        node = node.vector
    if not isinstance(node, ast.VectorSelector):
        return {}
    names = [m.name for m in node.matchers]
    return {
        m.name: m.value
        for m in node.matchers
        if m.type.value == "=" and names.count(m.name) == 1 and m.name != "__name__" and m.value
    }


def relabelled(node: ast.Call, element: Element) -> Element:
    """label_replace or label_join of one element."""
    arguments = [unwrapped(arg) for arg in node.args[1:]]
    texts = [arg.value for arg in arguments if isinstance(arg, ast.StringLiteral)]
    target = texts[0]
    if target == "":
        raise TwinError(f"invalid destination label name in {node.name}()")
    if node.name == "label_join":
        text = texts[1].join(element.labels.get(source, "") for source in texts[2:])
    else:
        found = re2.fullmatch(f"(?s:{texts[3]})", element.labels.get(texts[2], ""))
        if found is None:
            return element
        text = _expanded(texts[1], found)
    labels = {n: v for n, v in element.labels.items() if n != target}
    if text:
        labels[target] = text
    return replace(element, labels=labels, drop=element.drop and target != "__name__")


def _expanded(template: str, found: "re2._Match[str]") -> str:
    """``$1``, ``$name``, ``${1}`` and ``${name}`` replaced by what the groups hold, ``$$`` by $."""

    def text_of(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        if name.isdigit():
            return (found.group(int(name)) or "") if int(name) <= len(found.groups()) else ""
        return found.groupdict().get(name) or ""

    return re.sub(r"\$\$|\$(\w+)|\$\{(\w+)\}", text_of, template)

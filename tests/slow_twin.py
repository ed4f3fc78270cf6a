"""An evaluator of PromQL for tests that is as plain as it is slow.

It walks the syntax tree once a step, keeps every element as a dict of labels and a float, and
knows floats only: no native histograms, start timestamps, fill modifiers or extended ranges. It
shares the syntax tree and the matchers with the engine and nothing else.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from promql import ast
from series.labels import Labels
from tests import slow_twin_math as sums
from tests.slow_twin_math import NAN, Samples
from tests.slow_twin_parts import (
    CLOCK,
    COMPARISONS,
    FOLDS,
    OVER_TIME,
    Element,
    Group,
    TwinError,
    Unknown,
    Vector,
    Window,
    absent_labels,
    apply,
    clamps,
    clock,
    extremes,
    finished,
    group_of,
    is_range,
    is_scalar,
    is_stale,
    length_ms,
    nameless,
    relabelled,
    set_operation,
    signature,
    sorted_by_value,
    unique,
    unwrapped,
)

LOOKBACK_MS = 300_000
DEFAULT_STEP_MS = 60_000

_OTHER_FUNCTIONS = ("timestamp", "round", "clamp", "clamp_min", "clamp_max")

Answer = dict[Labels, dict[int, float]]
"""Series -> time in ms -> value; a scalar is the series ``{}``."""


@dataclass(frozen=True)
class Twin:
    """The data and the query's window; *delayed*: names are removed at the end of the query."""

    series: Mapping[Labels, Samples]
    start_ms: int
    end_ms: int
    step_ms: int
    delayed: bool = False
    origins: dict[tuple[int, Labels], Labels] = field(default_factory=dict)
    """Which series became those without a name of a call over ranges, at any step."""

    def answer(self, node: ast.Node) -> Answer:
        """The answer at every step from start_ms to end_ms; TwinError where the query fails."""
        out: Answer = {}
        for time_ms in range(self.start_ms, self.end_ms + 1, self.step_ms):
            for element in unique([finished(e) for e in self.elements(node, time_ms)]):
                out.setdefault(Labels.of(element.labels), {})[time_ms] = element.value
        return out

    def elements(self, node: ast.Node, time_ms: int) -> Vector:
        """A vector, or a scalar as the one element ``{}``."""
        while isinstance(node, ast.Paren):
            node = node.inner
        match node:
            case ast.NumberLiteral():
                return [Element({}, node.value)]
            case ast.VectorSelector():
                return self.select(node, time_ms)
            case ast.Unary():
                operand = self.elements(node.operand, time_ms)
                if node.op == "+":
                    return operand
                return self.unnamed([replace(e, value=-e.value) for e in operand])
            case ast.Binary():
                return self.binary(node, time_ms)
            case ast.Aggregate():
                return self.aggregate(node, time_ms)
            case ast.Call():
                return self.call(node, time_ms)
        raise Unknown(str(node))

    def scalar(self, node: ast.Node, time_ms: int) -> float:
        return self.elements(node, time_ms)[0].value

    def unnamed(self, vector: Vector) -> Vector:
        """Names dropped: now, or marked for the end."""
        if self.delayed:
            return [replace(e, drop=True, time_ms=None) for e in vector]
        return unique([Element(nameless(e.labels), e.value) for e in vector])

    # --- selectors ---------------------------------------------------------------------------

    def moved(self, modifiers: ast.Modifiers, time_ms: int) -> int:
        """The instant that a leaf looks at when the query is at *time_ms*."""
        anchors = {ast.AtAnchor.START: self.start_ms, ast.AtAnchor.END: self.end_ms}
        at = modifiers.at
        if isinstance(at, ast.AtAnchor):
            time_ms = anchors[at]
        elif at is not None:
            time_ms = at
        return time_ms - (length_ms(modifiers.offset) if modifiers.offset else 0)

    def matching(self, selector: ast.VectorSelector) -> list[tuple[Labels, Samples]]:
        if selector.edge is not ast.Edge.PLAIN:
            raise Unknown(selector.edge.value)
        return [
            (labels, self.series[labels])
            for labels in sorted(self.series)
            if all(m.matches(labels.get(m.name)) for m in selector.all_matchers)
        ]

    def select(self, selector: ast.VectorSelector, time_ms: int) -> Vector:
        at_ms = self.moved(selector.modifiers, time_ms)
        out = []
        for labels, samples in self.matching(selector):
            seen = [(t, v) for t, v in samples if at_ms - LOOKBACK_MS < t <= at_ms]
            if seen and not is_stale(seen[-1][1]):
                out.append(Element(labels.as_dict(), seen[-1][1], time_ms=seen[-1][0]))
        return out

    def windows(self, node: ast.Node, time_ms: int) -> list[Window]:
        """A range vector, series without samples left out."""
        while isinstance(node, ast.Paren):
            node = node.inner
        if isinstance(node, ast.Subquery):
            return self.subquery(node, time_ms)
        assert isinstance(node, ast.MatrixSelector)
        end_ms = self.moved(node.vector.modifiers, time_ms)
        start_ms = end_ms - length_ms(node.range)
        out = []
        for labels, samples in self.matching(node.vector):
            inside = [(t, v) for t, v in samples if start_ms < t <= end_ms and not is_stale(v)]
            if inside:
                out.append(Window(labels.as_dict(), False, inside, start_ms, end_ms))
        return out

    def subquery(self, node: ast.Subquery, time_ms: int) -> list[Window]:
        end_ms = self.moved(node.modifiers, time_ms)
        start_ms = end_ms - length_ms(node.range)
        step_ms = length_ms(node.step) if node.step else DEFAULT_STEP_MS
        rows: dict[Labels, tuple[Element, list[tuple[int, float]]]] = {}
        for inner_ms in range(step_ms * (start_ms // step_ms), end_ms + 1, step_ms):
            if inner_ms > start_ms:
                for e in self.elements(node.expr, inner_ms):
                    row = rows.setdefault(Labels.of(e.labels), (e, []))
                    row[1].append((inner_ms, e.value))
        return [Window(e.labels, e.drop, samples, start_ms, end_ms) for e, samples in rows.values()]

    # --- operators ---------------------------------------------------------------------------

    def binary(self, node: ast.Binary, time_ms: int) -> Vector:
        left, right = self.elements(node.left, time_ms), self.elements(node.right, time_ms)
        if node.matching is not None:
            if node.matching.cardinality is ast.Cardinality.MANY_TO_MANY:
                return set_operation(node.op, node.matching, left, right)
            return self.match(node, node.matching, left, right)
        comparison = node.op in COMPARISONS
        if is_scalar(node.left) and is_scalar(node.right):
            return [Element({}, apply(node.op, left[0].value, right[0].value))]
        on_left = is_scalar(node.right)
        out = []
        for e in left if on_left else right:
            a, b = (e.value, right[0].value) if on_left else (left[0].value, e.value)
            result = apply(node.op, a, b)
            if not comparison or node.return_bool:
                out.append(replace(e, value=result))
            elif result:
                out.append(e)
        return out if comparison and not node.return_bool else self.unnamed(out)

    def match(
        self, node: ast.Binary, matching: ast.Matching, left: Vector, right: Vector
    ) -> Vector:
        """One-to-one, many-to-one and one-to-many matching."""
        if matching.fill_left is not None or matching.fill_right is not None:
            raise Unknown("fill")
        swapped = matching.cardinality is ast.Cardinality.ONE_TO_MANY
        single = matching.cardinality is ast.Cardinality.ONE_TO_ONE
        many, one = (right, left) if swapped else (left, right)
        if not many or not one:
            return []
        partners: dict[Group, Element] = {}
        for e in one:
            key = signature(e.labels, matching)
            if key in partners:
                raise TwinError("found duplicate series for the match group")
            partners[key] = e
        used: set[tuple[Group, Group]] = set()
        out = []
        for e in many:
            key = signature(e.labels, matching)
            if key not in partners:
                continue
            other = partners[key]
            a, b = (other.value, e.value) if swapped else (e.value, other.value)
            result = apply(node.op, a, b)
            labels = self.matched_labels(node, matching, e.labels, other.labels)
            mark = (key, () if single else tuple(sorted(labels.items())))
            if mark in used:
                raise TwinError("multiple matches for labels")
            used.add(mark)
            if node.op in COMPARISONS and not node.return_bool:
                if result:
                    out.append(Element(labels, a))
            else:
                out.append(Element(labels, result, drop=self.delayed and node.return_bool))
        return out if self.delayed else unique(out)

    def matched_labels(
        self, node: ast.Binary, matching: ast.Matching, many: dict[str, str], one: dict[str, str]
    ) -> dict[str, str]:
        labels = dict(many)
        if node.op not in COMPARISONS or (node.return_bool and not self.delayed):
            labels = nameless(labels)
        if matching.cardinality is ast.Cardinality.ONE_TO_ONE:
            keep = {n for n in labels if (n in matching.labels) == matching.on}
            labels = {n: v for n, v in labels.items() if n in keep}
        for name in matching.include:
            labels.pop(name, None)
            if name in one:
                labels[name] = one[name]
        return labels

    def aggregate(self, node: ast.Aggregate, time_ms: int) -> Vector:
        vector = self.elements(node.expr, time_ms)
        text = node.param.value if isinstance(node.param, ast.StringLiteral) else ""
        param = 0.0
        if node.param is not None and not text:
            param = self.scalar(node.param, time_ms)
        groups: dict[Group, Vector] = {}
        for e in vector:
            labels = e.labels
            if node.op == "count_values":
                labels = {**labels, text: sums.decimal_text(e.value)}
            grouping = (*node.grouping, text) if text and not node.without else node.grouping
            groups.setdefault(group_of(labels, grouping, node.without), []).append(e)
        if node.op in ("topk", "bottomk"):
            return extremes(groups, param, largest=node.op == "topk")
        if node.op == "limitk":
            return [e for group in groups.values() for e in group[: max(0, int(param))]]
        if node.op not in FOLDS and node.op != "quantile":
            raise Unknown(node.op)
        fold = partial(sums.quantile, param) if node.op == "quantile" else FOLDS[node.op]
        marked = node.op != "count_values"  # which loses the marks
        return [
            Element(
                dict(key), fold([e.value for e in group]), marked and any(e.drop for e in group)
            )
            for key, group in groups.items()
        ]

    # --- functions ---------------------------------------------------------------------------

    def call(self, node: ast.Call, time_ms: int) -> Vector:
        name, args = node.name, node.args
        if name in OVER_TIME:
            return self.over_time(node, time_ms)
        if name in CLOCK:
            base = [Element({}, float(time_ms // 1000))]
            vector = self.elements(args[0], time_ms) if args else base
            out = [replace(e, value=clock(CLOCK[name], e.value)) for e in vector]
            return self.unnamed(out) if args else out
        match name:
            case "time":
                return [Element({}, time_ms / 1000)]
            case "pi":
                return [Element({}, math.pi)]
            case "vector":
                return [Element({}, self.scalar(args[0], time_ms))]
            case "scalar":
                vector = self.elements(args[0], time_ms)
                return [Element({}, vector[0].value if len(vector) == 1 else NAN)]
            case "absent":
                found = self.elements(args[0], time_ms)
                return [] if found else [Element(absent_labels(args[0]), 1.0)]
            case "absent_over_time":
                present = self.windows(args[0], time_ms)
                return [] if present else [Element(absent_labels(args[0]), 1.0)]
            case "label_replace" | "label_join":
                return unique([relabelled(node, e) for e in self.elements(args[0], time_ms)])
            case "sort" | "sort_desc":
                return sorted_by_value(
                    self.elements(args[0], time_ms), descending=name == "sort_desc"
                )
            case "histogram_quantile":
                phi = self.scalar(args[0], time_ms)
                fold = partial(sums.bucket_quantile, phi)
                return self.buckets(fold, self.elements(args[1], time_ms))
            case "histogram_fraction":
                low, high = self.scalar(args[0], time_ms), self.scalar(args[1], time_ms)
                fold = partial(sums.bucket_fraction, low, high)
                return self.buckets(fold, self.elements(args[2], time_ms))
        if name not in sums.UNARY and name not in _OTHER_FUNCTIONS:
            raise Unknown(name)
        vector = self.elements(args[0], time_ms)
        scalars = [self.scalar(arg, time_ms) for arg in args[1:]]
        if name == "timestamp":
            direct = isinstance(unwrapped(args[0]), ast.VectorSelector)
            seen = [e.time_ms if direct and e.time_ms is not None else time_ms for e in vector]
            out = [replace(e, value=t / 1000) for e, t in zip(vector, seen, strict=True)]
            return self.unnamed(out)
        if name.startswith("clamp"):
            low, high = clamps(name, scalars)
            if high < low:
                return []
            return self.unnamed(
                [replace(e, value=sums.go_max(low, sums.go_min(high, e.value))) for e in vector]
            )
        if name == "round":
            nearest = scalars[0] if scalars else 1.0
            return self.unnamed([replace(e, value=sums.round_to(e.value, nearest)) for e in vector])
        function = sums.UNARY[name]
        return self.unnamed([replace(e, value=function(e.value)) for e in vector])

    def over_time(self, node: ast.Call, time_ms: int) -> Vector:
        ranged = next(a for a in node.args if is_range(a))
        scalars = [self.scalar(arg, time_ms) for arg in node.args if arg is not ranged]
        out = []
        for window in self.windows(ranged, time_ms):
            value = OVER_TIME[node.name](window, scalars, time_ms)
            if value is not None:
                out.append(Element(window.labels, value, window.drop))
        keeps = node.name in ("last_over_time", "first_over_time")
        return out if keeps else self.unnamed(self.of_one_origin(node, out))

    def of_one_origin(self, node: ast.Call, vector: Vector) -> Vector:
        """*vector*; Prometheus refuses equal labels here even where no step has both."""
        for e in [] if self.delayed else vector:
            key, series = (id(node), Labels.of(nameless(e.labels))), Labels.of(e.labels)
            if self.origins.setdefault(key, series) != series:
                raise TwinError("vector cannot contain metrics with the same labelset")
        return vector

    def buckets(self, fold: Callable[[sums.Buckets], float], vector: Vector) -> Vector:
        groups: dict[Group, list[tuple[dict[str, str], float, float]]] = {}
        for e in vector:
            try:
                bound = float(e.labels.get("le", ""))
            except ValueError:
                continue
            rest = {n: v for n, v in e.labels.items() if n != "le"}
            key = tuple(sorted(rest.items())) if self.delayed else group_of(rest, (), True)
            groups.setdefault(key, []).append((rest, bound, e.value))
        return self.unnamed(
            [
                Element(rows[0][0], fold([(bound, count) for _, bound, count in rows]))
                for rows in groups.values()
            ]
        )

"""analyze: what each node of a plan is expected to cost, and what it did cost.

A Recorder stands between the engine and its operators. Time is the node's own, without that of
its inputs; samples are those that the node read from the database itself.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from promql.aggregate import group_labels
from promql.explain import children, instants, title
from promql.matrix import Matrix, Value
from promql.operators import OPERATORS, STREAMS, select_hints
from promql.plan import Aggregation, Plan, RangeCall, Select, SelectRange, Step
from promql.run import Operator, Rows, Run, Stream
from series.frame import LabelFrame

SAMPLE_BYTES = 16
"""Value and time of a decoded sample."""


@dataclass(slots=True)
class Cost:
    """What one node did: ``points`` are those of its answer, ``bytes`` their memory."""

    seconds: float = 0.0
    samples: int = 0
    series: int = 0
    points: int = 0
    bytes: int = 0

    def gave(self, value: Value) -> None:
        """Counts *value*, the node's answer or a slab of it."""
        if isinstance(value, Matrix):
            self.series += int(np.count_nonzero(value.with_points))
            self.points += int(np.count_nonzero(value.present))
            self.bytes += value.values.nbytes + value.present.nbytes
            if value.histograms is not None:
                self.bytes += value.histograms.size_bytes


class Recorder:
    """Measures one query; the nodes of a plan are told apart by identity."""

    def __init__(self) -> None:
        self._costs: dict[int, Cost] = {}
        self._open: list[tuple[Cost, float, int]] = []

    @property
    def operators(self) -> Mapping[type[Step], Operator]:
        """The engine's operators, each under the clock."""
        return {kind: self._measured(operator) for kind, operator in OPERATORS.items()}

    @property
    def streams(self) -> Mapping[type[Step], Stream]:
        """The engine's streams, each under the clock, slab by slab."""
        return {kind: self._streamed(stream) for kind, stream in STREAMS.items()}

    def cost(self, plan: Plan) -> Cost:
        return self._costs.setdefault(id(plan), Cost())

    def _measured(self, operator: Operator) -> Operator:
        def run_operator(run: Run, plan: Any) -> Value:
            cost = self._enter(run, plan)
            try:
                value = operator(run, plan)
            finally:
                self._leave(run)
            cost.gave(value)
            return value

        return run_operator

    def _streamed(self, stream: Stream) -> Stream:
        def run_stream(run: Run, plan: Any) -> Rows | None:
            self._enter(run, plan)
            try:
                rows = stream(run, plan)
            finally:
                self._leave(run)
            return None if rows is None else Rows(rows.frame, self._slabs(run, plan, rows.slabs))

        return run_stream

    def _slabs(self, run: Run, plan: Plan, slabs: Iterator[Matrix]) -> Iterator[Matrix]:
        while True:
            cost = self._enter(run, plan)
            try:
                slab = next(slabs, None)
            finally:
                self._leave(run)
            if slab is None:
                return
            cost.gave(slab)
            yield slab

    def _enter(self, run: Run, plan: Plan) -> Cost:
        """From here on time and samples are those of *plan*, until an input of it is entered."""
        self._credit(run)
        cost = self.cost(plan)
        self._open.append((cost, time.perf_counter(), run.context.samples_read))
        return cost

    def _leave(self, run: Run) -> None:
        self._credit(run)
        self._open.pop()
        if self._open:
            self._open[-1] = (self._open[-1][0], time.perf_counter(), run.context.samples_read)

    def _credit(self, run: Run) -> None:
        if self._open:
            cost, since, read = self._open[-1]
            cost.seconds += time.perf_counter() - since
            cost.samples += run.context.samples_read - read


def plan_tree(run: Run, plan: Plan, recorder: Recorder | None = None) -> dict[str, Any]:
    """*plan* as objects with what each node is expected to cost and, measured, what it did."""
    return _tree(run, plan, recorder)[0]


def _tree(
    run: Run, plan: Plan, recorder: Recorder | None
) -> tuple[dict[str, Any], LabelFrame | None]:
    """The object of *plan*, and the labels of its rows where they are known beforehand."""
    below = [_tree(run, child, recorder) for child in children(plan)]
    samples = sum(tree["estimated"]["samples"] for tree, _ in below)
    frame: LabelFrame | None = None
    if isinstance(plan, Select | SelectRange):
        selection = run.select(plan.matchers, select_hints(plan))
        frame, samples = (
            selection.frame,
            selection.estimated_samples() if selection.frame.size else 0,
        )
    elif isinstance(plan, RangeCall):
        frame = below[-1][1]
    elif isinstance(plan, Aggregation) and (inner := below[-1][1]) is not None:
        kept = group_labels(inner, plan.node)
        frame = kept.take(kept.group_ids()[1])
    node: dict[str, Any] = {
        "node": title(plan),
        "expr": run.notes.query[plan.span.start : plan.span.end],
        "at": instants(plan.grid),
        "steps": plan.grid.count,
        "estimated": {
            "series": None if frame is None else frame.size,
            "samples": samples,
            "bytes": samples * SAMPLE_BYTES,
        },
    }
    if recorder is not None:
        cost = recorder.cost(plan)
        node["measured"] = {
            "seconds": round(cost.seconds, 9),
            "series": cost.series,
            "points": cost.points,
            "samples": cost.samples,
            "bytes": cost.bytes,
        }
    node["children"] = [tree for tree, _ in below]
    return node, frame

"""Aggregations: the rows of a vector into groups.

sum, avg, min, max, count, group, stddev and stdvar fold rows as they come (``Fold``). quantile and
count_values need all rows at once, as do topk, bottomk, limitk and limit_ratio of ``selecting``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from promql import aggregate_kernels as kernels
from promql.ast import Aggregate
from promql.env import Env
from promql.go_text import format_g
from promql.matrix import Mask, Matrix, Values
from promql.notes import ExecutionError
from promql.strings import is_utf8, quote
from series.frame import LabelFrame
from series.labels import METRIC_NAME

Ids = NDArray[np.int64]

FOLDS = frozenset(("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"))


def group_labels(frame: LabelFrame, node: Aggregate) -> LabelFrame:
    """The labels of *frame* that ``by`` keeps or ``without`` leaves; the latter drops the name."""
    if node.without:
        return frame.drop((*node.grouping, METRIC_NAME))
    return frame.keep(node.grouping)


@dataclass(slots=True)
class Fold:
    """A running aggregation of G groups over T steps.

    The state of every group carries its Kahan compensation, and rows are taken in order, so that
    the result does not depend on how the rows are cut into slabs.
    """

    op: str
    groups: int
    steps: int
    totals: Values = field(init=False)
    extras: Values = field(init=False)
    counts: Values = field(init=False)
    incremental: Mask = field(init=False)
    marks: Mask = field(init=False)

    def __post_init__(self) -> None:
        shape = self.groups, self.steps
        self.totals, self.extras, self.counts = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.incremental = np.zeros(shape, dtype=np.bool_)
        self.marks = np.zeros(self.groups, dtype=np.bool_)

    def add(self, slab: Matrix, ids: Ids) -> None:
        """Takes the rows of *slab*; ``ids[S]`` are their groups."""
        if slab.drop_name is not None:
            np.logical_or.at(self.marks, ids, slab.drop_name & slab.with_points)
        points = slab.values, slab.present, ids
        match self.op:
            case "sum":
                kernels.fold_sum(*points, self.totals, self.extras, self.counts)
            case "avg":
                kernels.fold_mean(*points, self.totals, self.extras, self.counts, self.incremental)
            case "min" | "max":
                kernels.fold_extreme(*points, self.op == "max", self.totals, self.counts)
            case "stddev" | "stdvar":
                kernels.fold_variance(*points, self.totals, self.extras, self.counts)
            case _:
                kernels.fold_count(*points, self.counts)

    def result(self, frame: LabelFrame) -> Matrix:
        """One row a group, labelled by *frame*; groups without any point are left out."""
        present = self.counts > 0
        matrix = Matrix(frame, self._values(), present, self.marks if self.marks.any() else None)
        return matrix.take(matrix.with_points)

    def _values(self) -> Values:
        with np.errstate(all="ignore"):
            match self.op:
                case "sum":
                    return self.totals + self.extras
                case "avg":
                    mean = self.totals / self.counts + self.extras / self.counts
                    return np.where(self.incremental, self.totals + self.extras, mean)
                case "count":
                    return self.counts
                case "group":
                    return np.ones_like(self.counts)
                case "stdvar":
                    return self.totals / self.counts
                case "stddev":
                    return np.sqrt(self.totals / self.counts)
                case _:
                    return self.totals


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows in groups: ``ids[S]``, and the rows of group g at ``order[starts[g] : starts[g+1]]``.

    ``labels``: the group's labels, [G].
    """

    ids: Ids
    order: Ids
    starts: Ids
    labels: LabelFrame

    @classmethod
    def of(cls, frame: LabelFrame, node: Aggregate) -> "Grouped":
        kept = group_labels(frame, node)
        ids, first = kept.group_ids()
        starts = np.zeros(len(first) + 1, dtype=np.int64)
        np.cumsum(np.bincount(ids, minlength=len(first)), out=starts[1:])
        return cls(ids, np.argsort(ids, kind="stable"), starts, kept.take(first))

    @property
    def count(self) -> int:
        return len(self.starts) - 1


def quantile(node: Aggregate, matrix: Matrix, q: Values, env: Env) -> Matrix:
    """``quantile(q, matrix)`` with ``q[T]`` at every step."""
    note_bad_quantiles(q, env)
    grouped = Grouped.of(matrix.frame, node)
    out = np.zeros((grouped.count, matrix.step_count))
    found = np.zeros(out.shape, dtype=np.bool_)
    kernels.quantiles(matrix.values, matrix.present, grouped.order, grouped.starts, q, out, found)
    marks = None
    if matrix.drop_name is not None:
        marks = np.zeros(grouped.count, dtype=np.bool_)
        np.logical_or.at(marks, grouped.ids, matrix.drop_name)
    return Matrix(grouped.labels, out, found, marks)


def note_bad_quantiles(q: Values, env: Env) -> None:
    """Warns of each kind of quantile that is none: NaN, more than 1, less than 0."""
    if not len(q):
        return
    bad: Iterable[float] = (
        *([np.nan] if np.isnan(q).any() else []),
        *([float(np.nanmax(q))] if (q > 1).any() else []),
        *([float(np.nanmin(q))] if (q < 0).any() else []),
    )
    for value in bad:
        env.warn(f"quantile value should be between 0 and 1, got {format_g(value)}")


def count_values(node: Aggregate, matrix: Matrix, label: str) -> Matrix:
    """How often each value occurs in each group, the value as the text of *label*."""
    if not label or not is_utf8(label):
        raise ExecutionError(f"invalid label name {quote(label)}")
    rows, steps = np.nonzero(matrix.present)
    bits, codes = np.unique(matrix.values[rows, steps].view(np.uint64), return_inverse=True)
    texts = [plain_number(value) for value in bits.view(np.float64).tolist()]
    # Values that print alike, the many NaNs, are one value.
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    codes = np.array([numbers[text] for text in texts], dtype=np.int64)[codes]
    base = group_labels(matrix.frame.drop((label,)), node)
    if node.without and label in node.grouping:
        codes, numbers = np.zeros_like(codes), {"": 0}
    ids, _ = base.group_ids()
    pairs = ids[rows] * len(numbers) + codes
    distinct, first, found = np.unique(pairs, return_index=True, return_inverse=True)
    counts = np.zeros((len(distinct), matrix.step_count))
    np.add.at(counts, (found, steps), 1.0)
    names = list(numbers)
    frame = base.take(rows[first]).set_texts(label, [names[code] for code in codes[first].tolist()])
    return Matrix(frame, counts, counts > 0)


def plain_number(value: float) -> str:
    """*value* without an exponent in the fewest digits, as Go's ``strconv 'f' -1`` prints it."""
    if value != value:
        return "NaN"
    if value in (np.inf, -np.inf):
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")

"""Aggregations: the rows of a vector into groups.

sum, avg, min, max, count, group, stddev and stdvar fold rows as they come (``Fold``). quantile and
count_values need all rows at once, as do topk, bottomk, limitk and limit_ratio of ``selecting``.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from promql import aggregate_kernels as kernels
from promql import histogram_total_kernels as totals
from promql.aggregate_histograms import HistogramFold
from promql.ast import Aggregate
from promql.env import Env
from promql.go_text import format_g
from promql.histogram_text import histogram_text
from promql.matrix import Mask, Matrix, Values
from promql.notes import ExecutionError
from promql.slices import CELLS_PER_SAMPLE, row_slices, step_slices
from promql.strings import is_utf8, quote
from series.frame import LabelFrame
from series.labels import METRIC_NAME

Ids = NDArray[np.int64]
Integer = TypeVar("Integer", np.int64, np.uint64)

FOLDS = frozenset(("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"))


def group_labels(frame: LabelFrame, node: Aggregate) -> LabelFrame:
    """The labels of *frame* that ``by`` keeps or ``without`` leaves; the latter drops the name."""
    if node.without:
        return frame.drop((*node.grouping, METRIC_NAME))
    return frame.keep(node.grouping)


def group_ends(ids: Ids) -> Ids:
    """The rows behind which no row of a group before them comes, rising.

    ``ids[S]`` are the groups of the rows.
    """
    rows = np.arange(len(ids))
    last = np.zeros(ids.max(initial=-1) + 1, dtype=np.int64)
    last[ids] = rows
    return np.flatnonzero(np.maximum.accumulate(last[ids]) == rows) + 1


@dataclass(slots=True)
class Fold:
    """A running aggregation of G groups over T steps.

    The state of every group carries its Kahan compensation, and rows are taken in order, so that
    the result does not depend on how the rows are cut into slabs.
    """

    op: str
    groups: int
    steps: int
    env: Env
    """Where notes go; its span is the expression's that is aggregated."""
    totals: Values = field(init=False)
    extras: Values = field(init=False)
    counts: Values = field(init=False)
    incremental: Mask = field(init=False)
    marks: Mask = field(init=False)
    native: HistogramFold | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        shape = self.groups, self.steps
        self.totals, self.extras, self.counts = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.incremental = np.zeros(shape, dtype=np.bool_)
        self.marks = np.zeros(self.groups, dtype=np.bool_)

    def add(self, slab: Matrix, ids: Ids) -> None:
        """Takes the rows of *slab*; ``ids[S]`` are their groups."""
        if slab.histogram_ids is not None or self.native is not None:
            self._mark(slab, ids)
            slab = self._without_histograms(slab, ids)
        self.add_floats(slab, ids)

    def add_floats(self, slab: Matrix, ids: Ids) -> None:
        """As ``add``, of rows without histograms.

        Threads may do so at once, and one ``add`` the rest, so far as they have no group in common.
        """
        self._mark(slab, ids)
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

    def _mark(self, slab: Matrix, ids: Ids) -> None:
        """Takes over from which points names go away late."""
        if slab.drop_name is not None:
            np.logical_or.at(self.marks, ids, slab.drop_name & slab.with_points)

    def _without_histograms(self, slab: Matrix, ids: Ids) -> Matrix:
        """The points of *slab* that count as floats, after its histograms were taken."""
        if self.op in ("count", "group"):
            return slab
        if self.op not in ("sum", "avg"):
            note_ignored(self.op, slab, self.env)
            return slab.floats()
        if self.native is None:
            seen = np.where(self.counts > 0, totals.SEEN_FLOAT, 0).astype(np.uint8).reshape(-1)
            self.native = HistogramFold(self.op == "avg", self.groups, self.steps, seen)
        for row in np.flatnonzero(self.native.add(slab, ids)).tolist():
            self.env.warn(
                "vector contains a mix of histograms with exponential and custom buckets schemas "
                f"for metric name {quote(slab.frame.labels(row).metric)}"
            )
        return slab.floats()

    def result(self, frame: LabelFrame) -> Matrix:
        """One row a group, labelled by *frame*; groups without any point are left out."""
        present = self.counts > 0
        marks = self.marks if self.marks.any() else None
        if self.native is None:
            return Matrix(frame, self._values(), present, marks).alive()
        seen = self.native.seen.reshape(present.shape)
        mixed = (seen & totals.SEEN_FLOAT != 0) & (seen & totals.SEEN_HISTOGRAM != 0)
        if mixed.any():
            self.env.warn("encountered a mix of histograms and floats for aggregation")
        if (seen & totals.SEEN_OTHER_BOUNDS).any():
            self.env.info("mismatched custom buckets were reconciled during aggregation")
        ids, histograms = self.native.result()
        conflict = (seen & totals.SEEN_RESET != 0) & (seen & totals.SEEN_NOT_RESET != 0)
        if (conflict & (ids >= 0)).any():
            self.env.warn("conflicting counter resets during histogram aggregation")
        present &= seen & (totals.SEEN_HISTOGRAM | totals.BROKEN) == 0
        present |= ids >= 0
        return Matrix(frame, self._values(), present, marks, None, ids, histograms).alive()

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


def note_ignored(op: str, matrix: Matrix, env: Env) -> None:
    """Says that *op* passes over the histograms of *matrix*, if it has any."""
    if matrix.holds_histograms.any():
        env.info(f"ignored histogram in {op} aggregation")


def quantile(node: Aggregate, matrix: Matrix, q: Values, env: Env) -> Matrix:
    """``quantile(q, matrix)`` with ``q[T]`` at every step."""
    note_ignored("quantile", matrix, env.at(node.expr.span))
    matrix = matrix.floats()
    note_bad_quantiles(q, env)
    grouped = Grouped.of(matrix.frame, node)
    out = np.zeros((grouped.count, matrix.step_count))
    found = np.zeros(out.shape, dtype=np.bool_)
    # Sorting takes some times longer than most work on a point.
    for steps in step_slices(4 * matrix.series_count, matrix.step_count, env.context):
        part = np.ascontiguousarray(out[:, steps]), np.ascontiguousarray(found[:, steps])
        points = matrix.at_steps(steps)
        kernels.quantiles(
            points.values, points.present, grouped.order, grouped.starts, q[steps], *part
        )
        out[:, steps], found[:, steps] = part
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


def count_values(node: Aggregate, matrix: Matrix, label: str, env: Env) -> Matrix:
    """How often each value occurs in each group, the value as the text of *label*."""
    if not label or not is_utf8(label):
        raise ExecutionError(f"invalid label name {quote(label)}")
    if matrix.histogram_ids is None or matrix.histograms is None:
        return _count_values(node, matrix, label, plain_number, env)
    if node.without and label in node.grouping:
        return _count_values(node, replace(matrix, histogram_ids=None), label, plain_number, env)
    # Every text gets a number, which takes the place of the histograms that have it.
    texts: dict[str, int] = {}
    numbers = np.zeros(matrix.histograms.size + 1)
    native = matrix.holds_histograms
    for at in np.unique(matrix.histogram_ids[native]).tolist():
        env.context.check()
        text = histogram_text(matrix.histograms.one(at))
        numbers[at] = texts.setdefault(text, len(texts))
    names = list(texts)
    natives = Matrix(matrix.frame, numbers[matrix.histogram_ids], native)
    return Matrix.concat(
        [
            _count_values(node, matrix.floats(), label, plain_number, env),
            _count_values(node, natives, label, lambda number: names[int(number)], env),
        ]
    )


def _count_values(
    node: Aggregate, matrix: Matrix, label: str, text: Callable[[float], str], env: Env
) -> Matrix:
    """The same of floats, whose values *text* writes."""
    bits = _distinct_values(matrix, env)
    codes, texts = _texts(bits.view(np.float64), text, env)
    base = group_labels(matrix.frame.drop((label,)), node)
    if node.without and label in node.grouping:
        codes, texts = np.zeros_like(codes), [""]
    ids, first = base.group_ids()
    bases = ids * len(texts)
    pairs = np.zeros(0, dtype=np.int64)
    for _, found in _pairs(matrix, bits, codes, bases, env):
        pairs = _union(pairs, found)
        _hold_rows(len(pairs), matrix.step_count, env)
    counts = np.zeros((len(pairs), matrix.step_count))
    for steps, found in _pairs(matrix, bits, codes, bases, env):
        order = np.argsort(found)
        np.add.at(counts, (np.searchsorted(pairs, found[order]), steps[order]), 1.0)
    groups, values = np.divmod(pairs, max(len(texts), 1))
    frame = base.take(first[groups]).set_coded(label, values, texts)
    return Matrix(frame, counts, counts > 0)


def _texts(values: Values, text: Callable[[float], str], env: Env) -> tuple[Ids, list[str]]:
    """The texts of distinct *values*, and which one each has; the many NaNs share theirs."""
    nan = np.isnan(values)
    new = ~nan
    new[np.flatnonzero(nan)[:1]] = True
    codes = np.cumsum(new) - 1
    codes[nan] = codes[nan][:1]
    return codes, [text(value) for value in _watched(values[new].tolist(), env)]


def _distinct_values(matrix: Matrix, env: Env) -> NDArray[np.uint64]:
    """The bits of all values of *matrix*, rising."""
    bits = np.zeros(0, dtype=np.uint64)
    for rows in row_slices(matrix.series_count, matrix.step_count, env.context):
        some = matrix.values[rows][matrix.present[rows]]
        bits = _union(bits, some.view(np.uint64))
        _hold_rows(len(bits), matrix.step_count, env)
    return bits


def _union(known: NDArray[Integer], found: NDArray[Integer]) -> NDArray[Integer]:
    """The distinct numbers of both, rising; faster than numpy's, which hashes them."""
    both: NDArray[Integer] = np.sort(np.concatenate((known, found)))
    first = np.ones(len(both), dtype=np.bool_)
    np.not_equal(both[1:], both[:-1], out=first[1:])
    return both[first]


def _hold_rows(rows: int, steps: int, env: Env) -> None:
    """Raises TooManySamples where an answer of so many *rows* could exhaust the memory."""
    env.context.hold(rows * steps // CELLS_PER_SAMPLE)


def _pairs(
    matrix: Matrix, bits: NDArray[np.uint64], codes: Ids, bases: Ids, env: Env
) -> Iterator[tuple[Ids, Ids]]:
    """The step of every point, and one number for its group and its value, part by part."""
    for rows in row_slices(matrix.series_count, matrix.step_count, env.context):
        found, steps = np.nonzero(matrix.present[rows])
        values = matrix.values[rows][found, steps].view(np.uint64)
        order = np.argsort(values)  # a search is fastest in order
        at = np.searchsorted(bits, values[order])
        yield steps[order], bases[rows][found[order]] + codes[at]


def _watched(values: list[float], env: Env) -> Iterator[float]:
    """*values*, with a look at the context now and then."""
    for at, value in enumerate(values):
        if at % 4096 == 0:
            env.context.check()
        yield value


def plain_number(value: float) -> str:
    """*value* without an exponent in the fewest digits, as Go's ``strconv 'f' -1`` prints it."""
    if value != value:
        return "NaN"
    if value in (np.inf, -np.inf):
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")

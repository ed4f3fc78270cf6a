"""Aggregations that keep some of the rows as they are: topk, bottomk, limitk, limit_ratio."""

from dataclasses import replace

import numpy as np

from promql import aggregate_kernels as kernels
from promql.aggregate import Grouped, note_ignored
from promql.ast import Aggregate
from promql.env import Env
from promql.go_text import format_g
from promql.matrix import Mask, Matrix, Values
from promql.notes import ExecutionError
from promql.slices import row_slices, step_slices
from promql.xxhash import xxh64

SELECTING = frozenset(("topk", "bottomk", "limitk", "limit_ratio"))

HASHING = 2_000
"""The points that could be worked on while one label set is hashed."""

_MAX_INT64 = 9223372036854774784.0
_MIN_INT64 = -9223372036854775808.0


def select_rows(node: Aggregate, matrix: Matrix, parameter: Values, env: Env) -> Matrix:
    """The points that ``node.op`` keeps, with ``parameter[T]`` as its k or ratio at every step.

    topk and bottomk over a single step put their rows in order: group by group, best first.
    ``env.span`` is the parameter's.
    """
    if node.op == "limit_ratio":
        return _ratio(matrix, parameter, env)
    if not len(parameter) or parameter.max() < 1:
        return Matrix.empty(matrix.step_count)
    if node.op != "limitk":
        note_ignored(node.op, matrix, env.at(node.expr.span))
        matrix = matrix.floats()
    ks = np.minimum(_counts(parameter), matrix.series_count)
    grouped = Grouped.of(matrix.frame, node)
    chosen = np.zeros(matrix.present.shape, dtype=np.bool_)
    if node.op == "limitk":
        counts = np.zeros((grouped.count, matrix.step_count), dtype=np.int64)
        kernels.choose_first(matrix.present, grouped.ids, ks, counts, chosen)
        return _only(matrix, chosen, env)
    largest = node.op == "topk"
    ranked, length = np.empty(matrix.series_count, dtype=np.int64), 0
    for steps in step_slices(matrix.series_count, matrix.step_count, env.context):
        points = matrix.at_steps(steps)
        part = np.zeros_like(points.present)
        length = kernels.choose_extremes(
            points.values,
            points.present,
            grouped.order,
            grouped.starts,
            ks[steps],
            largest,
            part,
            ranked,
        )
        chosen[:, steps] = part
    if matrix.step_count != 1:
        return _only(matrix, chosen, env)
    rows = ranked[:length]
    values = matrix.values[rows, 0]
    # lexsort is stable and puts NaN last in either direction.
    order = np.lexsort((-values if largest else values, grouped.ids[rows]))
    return matrix.take(rows[order])


def _only(matrix: Matrix, chosen: Mask, env: Env) -> Matrix:
    return replace(matrix, present=chosen, times_ms=None).alive(env.context)


def _counts(parameter: Values) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The parameter of topk as integers; ExecutionError where it is none."""
    if np.isnan(parameter).any():
        raise ExecutionError("Parameter value is NaN")
    if (lowest := float(parameter.min())) <= _MIN_INT64:
        raise ExecutionError(f"Scalar value {format_g(lowest)} underflows int64")
    if (highest := float(parameter.max())) >= _MAX_INT64:
        raise ExecutionError(f"Scalar value {format_g(highest)} overflows int64")
    return parameter.astype(np.int64)


def _ratio(matrix: Matrix, ratios: Values, env: Env) -> Matrix:
    """The rows whose hash falls below the ratio, or, for a negative one, above its complement."""
    if not len(ratios) or (ratios == 0).all():
        return Matrix.empty(matrix.step_count)
    if np.isnan(ratios).any():
        raise ExecutionError("Ratio value is NaN")
    for worst, limit in ((float(ratios.max()), 1.0), (float(ratios.min()), -1.0)):
        if abs(worst) > 1 and worst * limit > 0:
            env.warn(
                f"ratio value should be between -1 and 1, got {format_g(worst)}, "
                f"capping to {format_g(limit)}"
            )
    ratios = np.clip(ratios, -1.0, 1.0)
    offsets = np.empty((matrix.series_count, 1))
    for rows in row_slices(matrix.series_count, HASHING, env.context):
        offsets[rows, 0] = [_place(labels) for labels in matrix.frame.take(rows).as_dicts()]
    chosen = np.where(ratios >= 0, offsets < ratios, offsets >= 1.0 + ratios)
    return _only(matrix, matrix.present & chosen, env)


def _place(labels: dict[str, str]) -> float:
    """Where in [0, 1] the hash of a label set falls.

    The hashed bytes are Prometheus' own form of label sets: every name and value, sorted, after
    its length, which is one byte, or 0xFF and three (model/labels/labels_stringlabels.go).
    """
    texts = [text.encode() for pair in labels.items() for text in pair]
    return xxh64(b"".join(_length(len(text)) + text for text in texts)) / float(2**64 - 1)


def _length(size: int) -> bytes:
    return bytes((size,)) if size < 255 else b"\xff" + size.to_bytes(3, "little")

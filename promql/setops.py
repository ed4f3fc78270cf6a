"""``and``, ``or``, ``unless``: the set operators, many-to-many, values and labels untouched."""

from dataclasses import replace

from promql.ast import Matching
from promql.groups import Groups
from promql.labelsets import merge_equal_labels
from promql.matching import signature
from promql.matrix import Mask, Matrix
from series.frame import shared_group_ids
from series.ports import Context


def set_operation(
    op: str, left: Matrix, right: Matrix, matching: Matching, context: Context
) -> Matrix:
    """``left op right`` at every step; raises where the query must stop."""
    frames = [signature(left.frame, matching), signature(right.frame, matching)]
    (left_ids, right_ids), count = shared_group_ids(frames)
    if op == "or":
        taken = Groups(left_ids, count).any(left.present)[right_ids]
        added = _with_present(right, right.present & ~taken, context)
        kept = _with_present(left, left.present, context)
        return merge_equal_labels(Matrix.concat([kept, added], context))
    matched = Groups(right_ids, count).any(right.present)[left_ids]
    present = left.present & (matched if op == "and" else ~matched)
    return _with_present(left, present, context)


def _with_present(matrix: Matrix, present: Mask, context: Context) -> Matrix:
    """*matrix* with other points, without the rows that have none left."""
    return replace(matrix, present=present, times_ms=None).alive(context)

"""Vector matching: which elements of two vectors meet under a binary operator.

Every row has a *signature*: the labels that ``on``/``ignoring`` leave for matching. Rows of equal
signature form a match group. One side, the *one* side, may have a single element of a group at
any step (the right side, or the left under ``group_right``); the other is the *many* side::

    many row 0   group 7 --+
    many row 1   group 7 --+--> one row 4   group 7      pairs (0, 4), (1, 4)
    many row 2   group 9                                 no partner: nothing, or a filled pair

All of it is judged step by step: a group may have several rows as long as their points do not
meet. The order of checks and their texts are those of Prometheus' VectorBinop.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from promql.ast import Cardinality, Matching
from promql.cells import Side
from promql.groups import Groups, Ids
from promql.matrix import Mask, Matrix
from promql.notes import ExecutionError
from promql.stacking import stacked, taken
from series.frame import LabelColumn, LabelFrame, shared_group_ids
from series.labels import METADATA_LABELS, METRIC_NAME
from series.ports import Context

MANY_TO_ONE_IMPLICIT = (
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
)
GROUPING_NOT_UNIQUE = "multiple matches for labels: grouping labels must ensure unique matches"


@dataclass(frozen=True, slots=True)
class Pairs:
    """What meets: P rows of result labels with the values of both sides, as written in the query.

    ``present`` is bool[P, T]; ``left`` and ``right`` have as many cells. Rows of equal labels have
    disjoint points unless they stem from different match groups.
    """

    frame: LabelFrame
    left: Side
    right: Side
    present: Mask


@dataclass(frozen=True, slots=True)
class _Side:
    """One operand with its match groups."""

    matrix: Matrix
    signature: LabelFrame
    groups: Groups


@dataclass(frozen=True, slots=True)
class _Block:
    """Pairs of one kind: matched, or filled on either side; ``groups`` are their match groups."""

    frame: LabelFrame
    many: Side
    one: Side
    present: Mask
    groups: Ids


def signature(frame: LabelFrame, matching: Matching) -> LabelFrame:
    """The labels that take part in matching; without ``on`` the metric name does not."""
    if matching.on:
        return frame.keep(matching.labels)
    return frame.drop((METRIC_NAME, *matching.labels))


def match_pairs(
    left: Matrix, right: Matrix, matching: Matching, context: Context, *, drop_names: bool
) -> Pairs:
    """The pairs of *left* and *right*, result labels without name labels if *drop_names*.

    Raises ExecutionError in Prometheus' words at the first step where the matching is ambiguous,
    TooManySamples where the pairs would exhaust the memory.
    """
    swapped = matching.cardinality is Cardinality.ONE_TO_MANY
    many, one = _sides(*((right, left) if swapped else (left, right)), matching)
    fault = _one_side_fault(many, one, matching, swapped)
    one = _condensed(one, matching)
    if fault is not None and _pair_cells(many, one) > context.max_samples:
        _raise_first(fault)
    context.hold(_pair_cells(many, one))
    blocks = [_matched(many, one, matching, drop_names, context)]
    # The fills keep their sides under group_right too: fill_left goes to the many side.
    if matching.fill_right is not None:
        blocks.append(_filled_one(many, one, matching, drop_names, context))
    if matching.fill_left is not None:
        blocks.append(_filled_many(many, one, matching, drop_names, context))
    block = _joined(blocks, context)
    _raise_first(fault, _many_side_fault(block, matching))
    if swapped:
        return Pairs(block.frame, block.one, block.many, block.present)
    return Pairs(block.frame, block.many, block.one, block.present)


def _sides(many: Matrix, one: Matrix, matching: Matching) -> tuple[_Side, _Side]:
    signatures = [signature(many.frame, matching), signature(one.frame, matching)]
    (many_ids, one_ids), count = shared_group_ids(signatures)
    return (
        _Side(many, signatures[0], Groups(many_ids, count)),
        _Side(one, signatures[1], Groups(one_ids, count)),
    )


# --- faults ----------------------------------------------------------------------------------

_Fault = tuple[int, str]


def _raise_first(*faults: _Fault | None) -> None:
    found = [fault for fault in faults if fault is not None]
    if found:
        raise ExecutionError(min(found, key=lambda fault: fault[0])[1])


def _one_side_fault(many: _Side, one: _Side, matching: Matching, swapped: bool) -> _Fault | None:
    """The first step at which a group has two elements on the one side, and the error's text.

    Where the many side is empty nothing is matched at all, so nothing is ambiguous.
    """
    if one.groups.unique:
        return None
    steps = one.groups.repeated(one.matrix.present)
    if matching.fill_left is None and matching.fill_right is None:
        steps &= many.matrix.present.any(axis=0)
    if not steps.any():
        return None
    step = int(np.argmax(steps))
    first, second = _first_repetition(one, step)
    side = "left" if swapped else "right"
    frame = one.matrix.frame
    pair = ", ".join(sorted(str(frame.labels(row)) for row in (first, second)))
    return step, (
        f"found duplicate series for the match group {one.signature.labels(first)} on the {side} "
        f"hand-side of the operation: [{pair}];many-to-many matching not allowed: matching "
        "labels must be unique on one side"
    )


def _first_repetition(side: _Side, step: int) -> tuple[int, int]:
    """The first row at *step* whose group was there before, and the row it repeats."""
    rows = np.flatnonzero(side.matrix.present[:, step])
    ids = side.groups.ids[rows]
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    second = int(np.flatnonzero(first[inverse] != np.arange(len(rows)))[0])
    return int(rows[first[inverse[second]]]), int(rows[second])


def _many_side_fault(block: _Block, matching: Matching) -> _Fault | None:
    """The first step at which two pairs would become one element of the result."""
    if matching.cardinality is Cardinality.ONE_TO_ONE:
        ids, text = block.groups, MANY_TO_ONE_IMPLICIT
        ids = _renumbered(ids)
    else:
        labels, first = block.frame.group_ids()
        if len(first) == len(labels):
            return None
        span = int(block.groups.max()) + 1
        ids, text = _renumbered(labels * span + block.groups), GROUPING_NOT_UNIQUE
    steps = Groups(ids, int(ids.max(initial=-1)) + 1).repeated(block.present)
    return (int(np.argmax(steps)), text) if steps.any() else None


def _renumbered(ids: Ids) -> Ids:
    return np.unique(ids, return_inverse=True)[1]


# --- pairs -----------------------------------------------------------------------------------


def _condensed(one: _Side, matching: Matching) -> _Side:
    """The one side with rows that match and include alike folded into one row each.

    A series that was replaced by another (a restarted pod) leaves two rows of one group; folding
    them keeps the pairs from multiplying.
    """
    if one.groups.unique:
        return one
    wanted = one.matrix.frame.keep({*one.signature.columns, *matching.include})
    ids, first = wanted.group_ids()
    folded = Groups(ids, len(first))
    return _Side(
        replace(folded.merged(one.matrix), frame=wanted.take(first)),
        one.signature.take(first),
        Groups(one.groups.ids[first], one.groups.count),
    )


def _pair_cells(many: _Side, one: _Side) -> int:
    """The cells that the pairs take beyond those of the many side itself."""
    if one.groups.unique:
        return 0
    return int(one.groups.sizes[many.groups.ids].sum()) * many.matrix.step_count


def _matched(
    many: _Side, one: _Side, matching: Matching, drop_names: bool, context: Context
) -> _Block:
    many_rows, one_rows = joined_rows(many.groups, one.groups)
    whole = _whole(many_rows, many.matrix)
    many_side, many_present = _cells(many.matrix, whole, context)
    one_side, one_present = _cells(one.matrix, _whole(one_rows, one.matrix), context)
    frame = many.matrix.frame.take(whole)
    return _Block(
        _result_frame(frame, one.matrix.frame, one_rows, matching, drop_names),
        many_side,
        one_side,
        many_present & one_present,
        many.groups.ids[whole],
    )


def joined_rows(many: Groups, one: Groups) -> tuple[Ids, Ids]:
    """All (many row, one row) of equal group, in the order of the many rows."""
    if one.unique:
        partner = np.full(one.count, -1, dtype=np.int64)
        partner[one.ids] = np.arange(len(one.ids))
        partners = partner[many.ids]
        many_rows = np.flatnonzero(partners >= 0)
        return many_rows, partners[many_rows]
    counts = one.sizes[many.ids]
    many_rows = np.repeat(np.arange(len(many.ids)), counts)
    within = np.arange(len(many_rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return many_rows, one.order[one.starts[many.ids[many_rows]] + within]


def _whole(rows: Ids, matrix: Matrix) -> Ids | slice:
    """*rows*, or a slice that copies nothing where they are all rows in order."""
    count = matrix.series_count
    return slice(None) if len(rows) == count and (rows == np.arange(count)).all() else rows


def _cells(matrix: Matrix, rows: Ids | slice, context: Context) -> tuple[Side, Mask]:
    """The cells of some *rows*, and which have a point; a slice means all."""
    if isinstance(rows, slice):
        return Side.of(matrix), matrix.present
    ids = matrix.histogram_ids
    ids = None if ids is None else taken(ids, rows, context)
    values = taken(matrix.values, rows, context)
    return Side(values, ids, matrix.histograms), taken(matrix.present, rows, context)


def _filled_one(
    many: _Side, one: _Side, matching: Matching, drop_names: bool, context: Context
) -> _Block:
    """Every element of the many side that has no partner, with ``fill_right`` as partner."""
    side, present, rows = _unmatched(many, one, context)
    frame = many.matrix.frame.take(rows)
    return _Block(
        _result_frame(frame, many.signature, rows, matching, drop_names),
        side,
        Side(np.full(present.shape, matching.fill_right)),
        present,
        many.groups.ids[rows],
    )


def _filled_many(
    many: _Side, one: _Side, matching: Matching, drop_names: bool, context: Context
) -> _Block:
    """Every element of the one side that has no partner, with one of ``fill_left``."""
    side, present, rows = _unmatched(one, many, context)
    frame = one.signature.take(rows)
    return _Block(
        _result_frame(frame, one.matrix.frame, rows, matching, drop_names),
        Side(np.full(present.shape, matching.fill_left)),
        side,
        present,
        one.groups.ids[rows],
    )


def _unmatched(side: _Side, other: _Side, context: Context) -> tuple[Side, Mask, Ids]:
    """The rows of *side* with points that have no partner: their cells, those points, the rows."""
    present = side.matrix.present & ~other.groups.any(other.matrix.present)[side.groups.ids]
    rows = np.flatnonzero(present.any(axis=1))
    cells, _ = _cells(side.matrix, _whole(rows, side.matrix), context)
    return cells, present[rows], rows


def _result_frame(
    many: LabelFrame, one: LabelFrame, one_rows: Ids, matching: Matching, drop_names: bool
) -> LabelFrame:
    """The labels of pairs, row for row: those of *many*, with the included ones of *one*."""
    frame = many.drop(METADATA_LABELS) if drop_names else many
    if matching.cardinality is Cardinality.ONE_TO_ONE:
        return frame.keep(matching.labels) if matching.on else frame.drop(matching.labels)
    columns = dict(frame.columns)
    for name in matching.include:
        columns.pop(name, None)
        if name in one.columns:
            codes, values = one.columns[name]
            columns[name] = LabelColumn(codes[one_rows], values)
    return LabelFrame(frame.size, columns)


def _joined(blocks: Sequence[_Block], context: Context) -> _Block:
    if len(blocks) == 1:
        return blocks[0]
    return _Block(
        LabelFrame.concat([block.frame for block in blocks]),
        Side.concat([block.many for block in blocks], context),
        Side.concat([block.one for block in blocks], context),
        stacked([block.present for block in blocks], context),
        np.concatenate([block.groups for block in blocks]),
    )

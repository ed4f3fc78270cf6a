"""``info(v, {selector})``: series enriched with the labels of their info metrics.

An info metric (``target_info`` unless the selector names others) describes a target by its labels;
it belongs to the series that share its ``instance`` and ``job``. Of several info series of one
metric and target the one with the newest sample counts, step by step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from promql import ast
from promql.env import Env
from promql.groups import Groups, Ids
from promql.labelsets import merge_equal_labels
from promql.matching import joined_rows
from promql.matrix import Mask, Matrix, Value
from promql.notes import ExecutionError
from series.frame import LabelColumn, LabelFrame, shared_group_ids
from series.labels import METRIC_NAME
from series.matcher import Matcher, MatchType
from series.ports import Context

IDENTIFYING_LABELS = ("instance", "job")
DEFAULT_METRIC = Matcher(MatchType.EQUAL, METRIC_NAME, "target_info")
ANY_INFO_METRIC = Matcher(MatchType.REGEX, METRIC_NAME, ".+_info")


def info_selector(call: ast.Call) -> ast.VectorSelector:
    """What selects the info series for *call*, at the times that its first selector looks at."""
    names, data = _matchers(call)
    return ast.VectorSelector(
        "", (*names, *data), _first_modifiers(call.args[0]) or ast.Modifiers(), span=call.span
    )


def info(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``info(v, {selector})``; *args* holds the values of *v* and of ``info_selector(call)``.

    The latter with the times of its samples.

    Raises ExecutionError where two info series of one target are equally new, or where two info
    metrics disagree on a label.
    """
    base, infos = args
    assert isinstance(base, Matrix) and isinstance(infos, Matrix)
    names, data = _matchers(call)
    plain = _passed_through(base.frame, names)
    wanted = {matcher.name for matcher in data}
    enriched = _enriched(base.take(~plain), infos, wanted, env.context)
    keep = enriched.matched
    if all(matcher.matches("") for matcher in data):
        keep = np.ones_like(keep)
    result = replace(enriched.base, frame=enriched.frame, times_ms=None)
    return merge_equal_labels(Matrix.concat([base.take(plain), result.take(keep)]))


def _matchers(call: ast.Call) -> tuple[tuple[Matcher, ...], tuple[Matcher, ...]]:
    """The conditions on the names of info metrics, and those on their other labels."""
    given: tuple[Matcher, ...] = ()
    if len(call.args) > 1:
        selector = call.args[1]
        assert isinstance(selector, ast.VectorSelector)
        given = selector.all_matchers
    names = tuple(matcher for matcher in given if matcher.name == METRIC_NAME)
    if not names:
        names = (DEFAULT_METRIC,)
    elif all(matcher.type.negative for matcher in names):
        names = (*names, ANY_INFO_METRIC)
    return names, tuple(matcher for matcher in given if matcher.name != METRIC_NAME)


def _first_modifiers(node: ast.Node) -> ast.Modifiers | None:
    """Where the first selector of *node* looks, with what the subqueries around it add."""
    match node:
        case ast.VectorSelector():
            return node.modifiers
        case ast.MatrixSelector():
            return node.vector.modifiers
        case ast.Subquery():
            inner = _first_modifiers(node.expr)
            return None if inner is None else _nested(node.modifiers, inner)
        case ast.Paren():
            return _first_modifiers(node.inner)
        case ast.Unary():
            return _first_modifiers(node.operand)
        case ast.Aggregate():
            return _first_modifiers(node.expr)
        case ast.Binary():
            return _first_modifiers(node.left) or _first_modifiers(node.right)
        case ast.Call():
            found = (_first_modifiers(argument) for argument in node.args)
            return next((modifiers for modifiers in found if modifiers is not None), None)
        case _:
            return None


def _nested(outer: ast.Modifiers, inner: ast.Modifiers) -> ast.Modifiers:
    """*inner* within a subquery of *outer*: offsets add up, an inner ``@`` overrides."""
    if inner.at is not None or outer.offset is None:
        return inner if inner.at is not None else ast.Modifiers(inner.offset, outer.at)
    if inner.offset is None:
        return outer
    return ast.Modifiers(ast.DurationBinary("+", outer.offset, inner.offset), outer.at)


def _passed_through(frame: LabelFrame, names: Sequence[Matcher]) -> Mask:
    """bool[S]: info series themselves, and series that no info series can belong to."""
    column = frame.columns.get(METRIC_NAME, LabelColumn(np.zeros(frame.size, np.int32), ("",)))
    is_info = np.all([matcher.matches_many(column.values) for matcher in names], axis=0)
    identified = np.zeros(frame.size, dtype=np.bool_)
    for name in IDENTIFYING_LABELS:
        if name in frame.columns:
            identified |= frame.columns[name].codes != 0
    return np.asarray(is_info[column.codes] | ~identified)


# --- joining ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Enriched:
    """Rows of ``base``, several times where their info series changes from step to step.

    ``frame`` holds their labels so far, ``added`` those of them that came from info series;
    ``matched`` bool[R] tells which rows have met an info series.
    """

    base: Matrix
    frame: LabelFrame
    added: LabelFrame
    matched: Mask


def _enriched(base: Matrix, infos: Matrix, wanted: set[str], context: Context) -> _Enriched:
    """*base* with the *wanted* labels (all if empty) of every info metric in turn."""
    rows = _Enriched(
        base,
        base.frame,
        LabelFrame.empty_labels(base.series_count),
        np.zeros(base.series_count, dtype=np.bool_),
    )
    infos = infos.take(_known_targets(base.frame, infos.frame))
    ids, first = infos.frame.keep((METRIC_NAME,)).group_ids()
    for metric in range(len(first)):
        rows = _with_metric(rows, _newest(infos.take(ids == metric)), wanted, context)
    return rows


def _known_targets(base: LabelFrame, infos: LabelFrame) -> Mask:
    """bool[I]: the info series whose identifying labels occur, one by one, in *base*."""
    known = np.ones(infos.size, dtype=np.bool_)
    for name in IDENTIFYING_LABELS:
        texts = set(base.keep((name,)).take(base.keep((name,)).group_ids()[1]).texts(name)) - {""}
        column = infos.columns.get(name, LabelColumn(np.zeros(infos.size, np.int32), ("",)))
        if texts:
            known &= np.array([text in texts for text in column.values])[column.codes]
    return known if base.size else np.zeros_like(known)


def _newest(infos: Matrix) -> Matrix:
    """The series of one info metric, present only where theirs is the newest of their target."""
    ids, first = infos.frame.keep(IDENTIFYING_LABELS).group_ids()
    groups = Groups(ids, len(first))
    if groups.unique:
        return infos
    assert infos.times_ms is not None
    lowest = np.iinfo(np.int64).min
    times_ms = np.where(infos.present, infos.times_ms, lowest)
    newest = infos.present & (times_ms == groups.greatest(times_ms)[ids])
    tied = groups.repeated(newest)
    if tied.any():
        step = int(np.argmax(tied))
        _raise_tie(infos, ids, newest[:, step], times_ms[:, step])
    return Matrix(infos.frame, infos.values, newest, None, infos.times_ms)


def _raise_tie(infos: Matrix, ids: Ids, newest: Mask, times_ms: Ids) -> None:
    seen: dict[int, int] = {}
    for row in np.flatnonzero(newest).tolist():
        other = seen.setdefault(int(ids[row]), row)
        if other != row:
            raise ExecutionError(
                f"found duplicate series for info metric: existing {infos.frame.labels(other)} "
                f"@ {times_ms[other]}, new {infos.frame.labels(row)} @ {times_ms[row]}"
            )


def _with_metric(rows: _Enriched, infos: Matrix, wanted: set[str], context: Context) -> _Enriched:
    """*rows* with the labels of one info metric where one of its series is present."""
    context.check()
    targets = [
        rows.base.frame.keep(IDENTIFYING_LABELS),
        infos.frame.keep(IDENTIFYING_LABELS),
    ]
    (ids, info_ids), count = shared_group_ids(targets)
    groups = Groups(info_ids, count)
    context.hold(int(groups.sizes[ids].sum()) * infos.step_count)
    left, right = joined_rows(Groups(ids, count), groups)
    together = rows.base.present[left] & infos.present[right]
    met = together.any(axis=1)
    left, right, together = left[met], right[met], together[met]
    alone = rows.base.present & ~groups.any(infos.present)[ids]
    single = np.flatnonzero(alone.any(axis=1))
    base = rows.base.take(np.concatenate((left, single)))
    present = np.concatenate((together, alone[single]))
    result = _Enriched(
        replace(base, present=present, times_ms=None),
        rows.frame.take(np.concatenate((left, single))),
        rows.added.take(np.concatenate((left, single))),
        np.concatenate((np.ones(len(left), np.bool_), rows.matched[single])),
    )
    # Rows that stay alone take their labels from any info series, masked out below.
    source = np.concatenate((right, np.zeros(len(single), np.int64)))
    has = np.arange(len(source)) < len(left)
    for name, column in infos.frame.columns.items():
        if name == METRIC_NAME or (wanted and name not in wanted):
            continue
        result = _with_label(result, name, LabelColumn(column.codes[source], column.values), has)
    return result


def _with_label(rows: _Enriched, name: str, offered: LabelColumn, has: Mask) -> _Enriched:
    """*rows* with label *name* as *offered* to the rows of *has*, unless the base has its own."""
    missing = LabelColumn(np.zeros(len(has), np.int32), ("",))
    added = rows.added.columns.get(name, missing)
    own = rows.base.frame.columns.get(name, missing)
    has = has & (offered.codes != 0)
    if (has & (added.codes != 0) & ~_equal(added, offered)).any():
        raise ExecutionError(f"conflicting label: {name}")
    set_ = has & (own.codes == 0)
    texts = [*added.values, *offered.values]
    codes = np.where(set_, offered.codes + len(added.values), added.codes).astype(np.int64)
    current = rows.frame.columns.get(name, missing)
    shown = np.where(set_, offered.codes + len(current.values), current.codes).astype(np.int64)
    return _Enriched(
        rows.base,
        rows.frame.set_coded(name, shown, [*current.values, *offered.values]),
        rows.added.set_coded(name, codes, texts),
        rows.matched,
    )


def _equal(a: LabelColumn, b: LabelColumn) -> NDArray[np.bool_]:
    """bool[S]: whether two columns hold the same text."""
    numbers = {text: at for at, text in enumerate(a.values)}
    recoded = np.array([numbers.get(text, -1) for text in b.values])
    return np.asarray(a.codes == recoded[b.codes])

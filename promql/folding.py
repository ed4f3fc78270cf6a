"""Aggregations that fold rows as they come, slab by slab."""

from collections.abc import Callable, Iterator

from promql.aggregate import Fold, Ids, group_ends, group_labels
from promql.matrix import Matrix
from promql.plan import Aggregation
from promql.run import Ends, Rows, Run, Use, Used
from series.labels import METADATA_LABELS


def folded(run: Run, plan: Aggregation) -> Matrix:
    """In one slab where the groups depend on labels that slabs may have lost."""
    node = plan.node
    rows = run.rows(plan.inner)
    labels = group_labels(rows.frame, node)
    if not run.options.delayed_name_removal and set(labels.columns) & set(METADATA_LABELS):
        matrix = run.vector(plan.inner)
        rows = Rows(matrix.frame, iter((matrix,)))
    labels = group_labels(rows.frame, node)
    ids, first = labels.group_ids()
    run.hold_cells(len(first) * plan.grid.count)
    env = run.env(plan).at(node.expr.span)
    fold = Fold(node.op, len(first), plan.grid.count, env)
    ends = group_ends(ids)
    if rows.used is not None and len(ends) > 1:
        _fold_apart(run, fold, ids, ends, rows.used)
    else:
        at = 0
        for slab in rows.slabs:
            fold.add(slab, ids[at : at + slab.series_count])
            at += slab.series_count
    return fold.result(labels.take(first))


def _fold_apart(
    run: Run, fold: Fold, ids: Ids, ends: Ends, used: Callable[[Use, Ends], Iterator[Used]]
) -> None:
    """Slabs that share no group with others are folded where they are made, so far as floats."""
    borders = {0, *ends.tolist()}

    def use(part: Run, rows: slice, slab: Matrix) -> Matrix | None:
        if slab.histogram_ids is not None or not borders.issuperset((rows.start, rows.stop)):
            return slab
        fold.add_floats(part.counted(slab), ids[rows])
        return None

    for rows, slab in used(use, ends):
        if slab is not None:
            fold.add(run.counted(slab), ids[rows])

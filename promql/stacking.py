"""Rows of many arrays as one, or some rows of one, so that a query can be cancelled in between."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from promql.slices import row_slices
from series.histogram import Histograms
from series.ports import Context

Ids = NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)
Pooled = tuple[tuple[int, ...], Ids | None, Histograms | None]
"""The shape of some cells, the id of the histogram in each (-1: none), and those histograms."""


def stacked(parts: Sequence[NDArray[Scalar]], context: Context | None) -> NDArray[Scalar]:
    """The rows of all *parts* ([S, T] with one T), in order; raises where the query must stop."""
    if context is None:
        return np.concatenate(parts)
    steps = parts[0].shape[1]
    out = np.empty((sum(map(len, parts)), steps), dtype=parts[0].dtype)
    at = 0
    for part in parts:
        for rows in row_slices(len(part), steps, context):
            out[at + rows.start : at + rows.stop] = part[rows]
        at += len(part)
    return out


def pooled(
    parts: Sequence[Pooled], context: Context | None
) -> tuple[Ids, Histograms] | tuple[None, None]:
    """Ids and histograms of all *parts* together, numbered through; None where no part has any."""
    pools = [pool for _, _, pool in parts if pool is not None]
    if not pools:
        return None, None
    numbered, start = [], 0
    for shape, ids, pool in parts:
        if ids is None or pool is None:
            numbered.append(np.full(shape, -1, dtype=np.int64))
            continue
        numbered.append(np.where(ids >= 0, ids + start, -1) if start else ids)
        start += pool.size
    if context is None:
        return stacked(numbered, None), Histograms.concat(pools)
    return stacked(numbered, context), Histograms.concat(pools, context.check)


def taken(
    array: NDArray[Scalar], rows: Ids | NDArray[np.bool_], context: Context | None
) -> NDArray[Scalar]:
    """The given *rows* (indices or a mask) of *array*; raises where the query must stop."""
    if context is None:
        return array[rows]
    rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    steps = array.shape[1]
    out = np.empty((len(rows), steps), dtype=array.dtype)
    for part in row_slices(len(rows), steps, context):
        out[part] = array[rows[part]]
    return out

"""Hints of counter resets for histograms that came without."""

from dataclasses import replace

import numpy as np

from promql.histograms import detect_reset
from series.batch import SeriesBatch
from series.histogram import NOT_RESET, RESET, UNKNOWN


def with_hints(batch: SeriesBatch) -> SeriesBatch:
    """*batch* with hints for all histograms but the first of a row.

    Prometheus looks for resets itself where a query asks only for counts and sums of histograms
    (promql/histogram_stats_iterator.go of 3.14); it shows where hints meet.
    """
    if batch.histogram_ids is None or batch.histograms is None:
        return batch
    pool = batch.histograms
    natives = batch.of_kind(histograms=True)
    assert natives.histogram_ids is not None
    ids = natives.histogram_ids
    follows = np.ones(len(ids), dtype=np.bool_)
    follows[natives.offsets[:-1][natives.offsets[:-1] < len(ids)]] = False
    asked = np.flatnonzero(follows & (pool.hints[ids] == UNKNOWN))
    if not len(asked):
        return batch
    fell = detect_reset(pool, ids[asked - 1], pool, ids[asked])
    hints = pool.hints.copy()
    hints[ids[asked]] = np.where(fell, RESET, NOT_RESET)
    return replace(batch, histograms=replace(pool, hints=hints))

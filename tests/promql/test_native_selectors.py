"""Selectors, subqueries and raw answers where series hold native histograms."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.answer import Raw
from promql.engine import Engine
from promql.env import Options, QueryTimes
from promql.lookup import lookup
from promql.notes import ExecutionError
from promql.reset_hints import with_hints
from series.batch import STALE_NAN, build_batch
from series.frame import LabelFrame
from series.histogram import (
    GAUGE,
    NOT_RESET,
    OFFSET,
    RESET,
    UNKNOWN,
    Histogram,
)
from series.labels import Labels
from series.ports import Context, TooManySamples
from tests.examples import examples
from tests.memory_source import MemorySource

LOOKBACK_MS = 5_000
FEW = Histogram(count=2.0, sum=1.0, buckets=((OFFSET + 1, 2.0),))
MANY = Histogram(count=5.0, sum=4.0, buckets=((OFFSET + 1, 5.0),))
samples = st.sampled_from([1.0, 2.0, STALE_NAN, FEW, MANY])
rows = st.lists(
    st.dictionaries(st.integers(0, 30_000), samples, max_size=10).map(
        lambda found: sorted(found.items(), key=lambda item: item[0])
    ),
    min_size=1,
    max_size=4,
)


def name(text: str) -> Labels:
    return Labels.of({"__name__": text})


@examples(80)
@given(rows, st.integers(1, 4_000), st.booleans(), st.booleans())
def test_lookup_finds_the_newest_sample_of_either_kind(
    series: list[list[tuple[int, float | Histogram]]], step_ms: int, timed: bool, started: bool
) -> None:
    """A stale marker hides the series; times and start times are those of the samples."""
    batch = build_batch([(Labels(), [t for t, _ in row], [v for _, v in row]) for row in series])
    batch = replace(batch, starts_ms=np.arange(batch.sample_count, dtype=np.int64))
    ends_ms = np.arange(12, dtype=np.int64) * step_ms
    frame = LabelFrame.empty_labels(len(series))
    matrix = lookup(frame, batch, ends_ms, LOOKBACK_MS, timed=timed, started=started)
    matrix.check()
    for r, row in enumerate(series):
        for k, end in enumerate(ends_ms.tolist()):
            seen = [i for i, (t, _) in enumerate(row) if end - LOOKBACK_MS < t <= end]
            there = bool(seen) and row[seen[-1]][1] == row[seen[-1]][1]
            assert matrix.present[r, k] == there
            if not there:
                continue
            time_ms, sample = row[seen[-1]]
            ids, histograms = matrix.histogram_ids, matrix.histograms
            if isinstance(sample, Histogram):
                assert ids is not None and histograms is not None
                assert histograms.one(int(ids[r, k])) == sample
            else:
                assert ids is None or ids[r, k] == -1
                assert matrix.values[r, k] == sample
            if matrix.times_ms is not None:
                start_ms = int(batch.offsets[r]) + seen[-1]
                assert matrix.times_ms[r, k] == (start_ms if started else time_ms)


def test_pinned_down_histograms_do_not_hold_the_others_in_memory() -> None:
    """A lookup that names few of a slab's histograms keeps only these."""
    batch = build_batch([(Labels(), list(range(100)), [FEW] * 99 + [MANY])])
    found = lookup(LabelFrame.empty_labels(1), batch, np.array([99]), LOOKBACK_MS)
    assert found.histograms is not None and found.histograms.size == 1


def test_hints_are_found_for_histograms_that_came_without() -> None:
    """The first of a row stays unknown, gauges and known hints stay as they are."""
    gauge, known = replace(MANY, hint=GAUGE), replace(MANY, hint=RESET)
    batch = build_batch([(Labels(), [1, 2, 3, 4, 5], [FEW, MANY, FEW, gauge, known])])
    found = with_hints(batch).histograms
    assert found is not None
    assert found.hints.tolist() == [UNKNOWN, NOT_RESET, RESET, GAUGE, RESET]


SOURCE = MemorySource(
    {
        name("h"): [(0, FEW), (15_000, replace(MANY, hint=NOT_RESET)), (30_000, 3.0)],
        name("f"): [(0, 1.0), (20_000, 5.0), (40_000, 9.0)],
    }
)


def raw(query: str) -> Raw:
    answer = Engine(Options()).instant(SOURCE, query, 30_000, Context())
    assert isinstance(answer.value, Raw)
    return answer.value


def test_raw_answers_hold_both_kinds() -> None:
    """A range selector at one instant gives its samples with their times."""
    batch = raw("h[1m]").batch
    batch.check(rising=True)
    assert batch.times_ms.tolist() == [0, 15_000, 30_000]
    assert batch.histogram_ids is not None and batch.histogram_ids.tolist() == [0, 1, -1]
    assert batch.histograms is not None and batch.histograms.one(1).hint == NOT_RESET


def test_subqueries_forget_what_was_known_of_resets() -> None:
    """Their histograms stand at other times than the hints were made for."""
    batch = raw("h[20s:5s]").batch
    assert batch.histograms is not None
    assert set(batch.histograms.hints.tolist()) == {UNKNOWN}


@pytest.mark.parametrize(
    ("edge", "times_ms", "values"),
    [
        ("anchored", [5_000, 20_000, 30_000], [1.0, 5.0, 5.0]),
        ("smoothed", [5_000, 20_000, 30_000], [2.0, 5.0, 7.0]),
    ],
)
def test_raw_answers_reach_to_the_edges(
    edge: str, times_ms: list[int], values: list[float]
) -> None:
    """The values at both edges stand where the window begins and ends."""
    batch = raw(f"f[25s] {edge}").batch
    assert batch.times_ms.tolist() == times_ms
    assert batch.values.tolist() == values


@pytest.mark.parametrize("edge", ["anchored", "smoothed"])
def test_raw_answers_to_the_edges_know_no_histograms(edge: str) -> None:
    """In Prometheus' words."""
    with pytest.raises(ExecutionError, match=f"^{edge} modifier is not supported with histograms"):
        raw(f"h[25s] {edge}")


def test_histograms_count_against_the_budget_by_their_size() -> None:
    """A histogram is worth a dozen floats."""
    times = QueryTimes(0, 15_000, 15_000)
    context = Context(max_samples=20)
    with pytest.raises(TooManySamples):
        Engine(Options()).range(SOURCE, "h", times, context)
    Engine(Options()).range(SOURCE, "h", times, Context(max_samples=24))

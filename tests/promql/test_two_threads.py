"""Queries by two threads: all that is said of them is as if one had done everything."""

import os
import threading
from collections import Counter

import numpy as np
import pytest

from promql import ahead, slabs
from promql.aggregate import Fold, Ids
from promql.answer import Answer
from promql.engine import Engine
from promql.env import Options, QueryTimes
from promql.matrix import Matrix
from series.batch import SeriesBatch
from series.histogram import Histogram
from series.labels import Labels
from series.ports import Context, QueryCanceled, StorageError, TooManySamples
from tests.memory_source import MemorySelection, MemorySource, Samples

SERIES = 40
TIMES = QueryTimes(100_000, 300_000, 10_000)
QUERIES = [
    "sum by (a) (rate({b!=''}[1m]))",
    "avg(increase(x0[1m]))",
    "topk(3, rate({b!=''}[1m]))",
    "rate(x0[1m])",
    "sum(x1)",
    "x1 + 1",
    "timestamp(x1)",
    "abs(rate(x2[1m])) > 0",
    "max_over_time(x1[50s])",
    "quantile_over_time(2, x1[50s])",
    "x1 smoothed",
    "sum(rate(x1[30s] smoothed))",
    "histogram_quantile(0.9, sum by (a) (rate(h[1m])))",
    "sum({b!=''})",
    "count_over_time({b!=''}[1m])",
    "sum(rate(x0[1m])) / sum(rate(x1[1m]))",
    "max_over_time(sum(x1)[1m:10s])",
    "rate(x1[1m] @ end())",
    "absent_over_time(x1[10s])",
    "sum by (b) (rate(x0[1m]))",
    "sum by (a) (increase(x0[1m]))",
    "avg by (a, b) (x1)",
    "max by (b) ({b!=''})",
    "stddev by (b) (x1)",
    "sum by (b) (rate(h[1m]))",
    "count by (b) (h)",
]


def _series() -> dict[Labels, Samples]:
    random = np.random.default_rng(7)
    found: dict[Labels, Samples] = {}
    for at in range(SERIES):
        labels = Labels([("__name__", f"x{at % 3}"), ("a", f"{at % 4}"), ("b", f"{at}")])
        values = np.where(random.random(30) < 0.1, np.nan, random.normal(0, 1e3, 30).cumsum())
        times_ms = np.sort(random.choice(300_000, 30, replace=False))
        found[labels] = list(zip(times_ms.tolist(), values.tolist(), strict=True))
    for at in range(12):
        labels = Labels([("__name__", "h"), ("a", f"{at % 2}"), ("b", f"h{at}")])
        found[labels] = [
            (time, _histogram(float(time // 10_000 + at))) if at % 5 else (time, float(at))
            for time in range(0, 300_000, 10_000)
        ]
    return found


def _histogram(count: float) -> Histogram:
    return Histogram(count=2 * count, sum=3 * count, buckets=((0, count), (3, count)))


SOURCE = MemorySource(_series())


@pytest.fixture(autouse=True)
def unmoved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads stay on the cores that they have."""
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cores: None)


def _with_threads(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """So many will share all selectors; none at all: nothing is shared, and nothing joined."""
    monkeypatch.setattr(slabs, "LITTLE_CELLS", 0 if count else 10**9)
    monkeypatch.setattr(ahead, "_free", threading.Semaphore(1))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(count)))


def _asked(
    query: str,
    context: Context,
    *,
    source: MemorySource = SOURCE,
    delayed: bool = False,
    analyze: bool = False,
) -> Answer:
    engine = Engine(Options(delayed_name_removal=delayed), slab_rows=2)
    return engine.range(source, query, TIMES, context, analyze=analyze)


def _said(answer: Answer, context: Context) -> list[object]:
    """All that can be told of an answer, in comparable form; the order of notes counts."""
    matrix = answer.value
    assert isinstance(matrix, Matrix)
    points = np.where(matrix.present, matrix.values, 0)
    ids = matrix.histogram_ids
    natives = []
    if ids is not None and matrix.histograms is not None:
        points = np.where(ids >= 0, 0, points)
        natives = [repr(matrix.histograms.one(at)) for at in ids[matrix.holds_histograms].tolist()]
    return [
        matrix.frame.as_dicts(),
        matrix.present.tolist(),
        points.view(np.int64).tolist(),
        natives,
        answer.warnings,
        answer.infos,
        context.samples_read,
        context.peak_samples,
        context.step_samples,
    ]


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("query", QUERIES)
def test_two_threads_say_what_one_does(
    query: str, delayed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, with the same notes in the same order and the same counts."""
    said = []
    for count in (0, 1, 2):
        _with_threads(monkeypatch, count)
        context = Context()
        context.step_samples = {}
        said.append(_said(_asked(query, context, delayed=delayed), context))
    assert said[0] == said[1] == said[2]


def test_two_threads_are_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that asks and another, at the same time."""
    both, threads = threading.Barrier(2), []
    _with_threads(monkeypatch, 2)
    read = MemorySelection.read

    def waiting(
        self: MemorySelection, rows: slice, start_ms: int, end_ms: int, context: Context
    ) -> SeriesBatch:
        threads.append(threading.current_thread())
        if len(threads) in (2, 3):
            both.wait(30)
        return read(self, rows, start_ms, end_ms, context)

    monkeypatch.setattr(MemorySelection, "read", waiting)
    _asked(QUERIES[0], Context())
    assert len(set(threads)) == 2 and threading.current_thread() in threads


def test_groups_are_folded_by_the_threads_that_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no other slab has rows of them; by the one that asks else."""
    both = threading.Barrier(2)
    read_by, folded_by = [], []
    _with_threads(monkeypatch, 2)
    read, add_floats = MemorySelection.read, Fold.add_floats

    def reading(
        self: MemorySelection, rows: slice, start_ms: int, end_ms: int, context: Context
    ) -> SeriesBatch:
        read_by.append(threading.current_thread())
        if len(read_by) in (2, 3):
            both.wait(30)
        return read(self, rows, start_ms, end_ms, context)

    def adding(self: Fold, slab: Matrix, ids: Ids) -> None:
        folded_by.append(threading.current_thread())
        add_floats(self, slab, ids)

    monkeypatch.setattr(MemorySelection, "read", reading)
    monkeypatch.setattr(Fold, "add_floats", adding)
    _asked("sum by (b) (rate(x0[1m]))", Context())
    assert Counter(folded_by) == Counter(read_by) and len(set(folded_by)) == 2
    for query in ("sum (rate(x0[1m]))", "sum by (a) (rate(x0[1m]))"):
        folded_by.clear()
        _asked(query, Context())
        assert set(folded_by) == {threading.current_thread()}


def test_histograms_of_whole_groups_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside slabs of floats, which are folded elsewhere."""
    _with_threads(monkeypatch, 2)
    plain, summed = (
        _asked(query, Context()).value for query in ("rate(h[1m])", "sum by (b) (rate(h[1m]))")
    )
    assert isinstance(plain, Matrix) and isinstance(summed, Matrix)
    assert plain.holds_histograms.any() and not plain.holds_histograms.all()
    assert sorted(summed.holds_histograms.tolist()) == sorted(plain.holds_histograms.tolist())


@pytest.mark.parametrize("slab_cells", [100, 300, 1_000])
def test_groups_have_their_rows_in_order_wherever_slabs_end(
    slab_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of the groups have no room in a slab, or share one with others."""
    for query in [f"{op} by ({by}) (x0)" for op in ("sum", "avg") for by in ("a", "b", "a, b")]:
        said = []
        for count, cells in ((0, 10**6), (2, slab_cells)):
            _with_threads(monkeypatch, count)
            monkeypatch.setattr(slabs, "SLAB_CELLS", cells)
            context = Context()
            said.append(_said(Engine().range(SOURCE, query, TIMES, context), context))
        assert said[0] == said[1]


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("query", ["rate(x0[1m])", "sum(x1)", "sum by (b) (x1)"])
def test_the_budget_is_the_same(query: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one thread holds at its peak is just enough for two."""
    _with_threads(monkeypatch, 0)
    alone = Context()
    _asked(query, alone)
    _with_threads(monkeypatch, count)
    _asked(query, Context(max_samples=alone.peak_samples))
    with pytest.raises(TooManySamples):
        _asked(query, Context(max_samples=alone.peak_samples - 1))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_warnings_of_the_database_keep_their_order(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come in the order of the rows, each once, even if those before are read last."""
    _with_threads(monkeypatch, count)
    read, later = MemorySelection.read, threading.Event()

    def damaged(
        self: MemorySelection, rows: slice, start_ms: int, end_ms: int, context: Context
    ) -> SeriesBatch:
        if rows.start > 2 or count < 2:
            later.set()
        if rows.start:
            assert later.wait(30)
            context.damaged(f"from {rows.start // 4 * 4}")
        return read(self, rows, start_ms, end_ms, context)

    monkeypatch.setattr(MemorySelection, "read", damaged)
    numbers = [int(text.split()[1]) for text in _asked("sum(x0)", Context()).warnings]
    assert numbers == sorted(set(numbers)) and len(numbers) > 2
    later.clear()
    with pytest.raises(StorageError, match="from 0"):
        _asked("sum(x0)", Context(strict=True))


def test_notes_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come in the order of the rows, even if those before are rolled up last."""
    read, others, infos = MemorySelection.read, threading.Event(), []
    samples = [(time, float(time)) for time in range(0, 300_000, 10_000)]
    source = MemorySource({Labels([("__name__", f"m{at}")]): samples for at in range(10)})
    monkeypatch.setattr(ahead, "DEPTH", 100)

    def late(
        self: MemorySelection, rows: slice, start_ms: int, end_ms: int, context: Context
    ) -> SeriesBatch:
        if rows.stop >= len(self.series):
            others.set()
        elif rows.start == 2:
            assert others.wait(30)
        return read(self, rows, start_ms, end_ms, context)

    for count in (0, 2):
        _with_threads(monkeypatch, count)
        query = "sum(rate({__name__=~'m.*'}[1m]))"
        infos.append(_asked(query, Context(), source=source, delayed=True).infos)
        monkeypatch.setattr(MemorySelection, "read", late)
    assert infos[0] == infos[1] and len(infos[0]) == 10


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_query_that_is_cancelled_ends(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is at work notices before the next slab."""
    _with_threads(monkeypatch, count)
    context, starts = Context(), []
    read = MemorySelection.read

    def cancelled(
        self: MemorySelection, rows: slice, start_ms: int, end_ms: int, own: Context
    ) -> SeriesBatch:
        starts.append(rows.start)
        if rows.start:
            context.cancelled.set()
        return read(self, rows, start_ms, end_ms, own)

    monkeypatch.setattr(MemorySelection, "read", cancelled)
    with pytest.raises(QueryCanceled):
        _asked("sum({b!=''})", context)
    assert len(starts) <= 1 + max(count, 1)


def test_analyze_counts_what_both_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples are those of the node that reads them, points those that it gave."""
    nodes = []
    for count in (0, 1, 2):
        _with_threads(monkeypatch, count)
        answer = _asked(QUERIES[0], Context(), analyze=True)
        assert answer.plan is not None
        found, waiting = [], [answer.plan]
        while waiting:
            node = waiting.pop()
            waiting += node["children"]
            found.append({**node["measured"], "seconds": 0, "node": node["node"]})
        nodes.append(found)
    assert nodes[0] == nodes[1] == nodes[2]
    assert sum(node["samples"] for node in nodes[0]) > 0

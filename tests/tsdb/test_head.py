"""The head holds what a dict of lists would hold, and its snapshots never change."""

import gc
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.batch import build_batch
from series.labels import Labels
from tests.examples import examples
from tests.tsdb.contents import bits_of
from tests.tsdb.databases import labels_of
from tests.tsdb.heads import SERIES, append_to, new_head
from tsdb.head import kernels as head_kernels
from tsdb.head.arena import Arena, HeadFull
from tsdb.head.snapshot import HeadSnapshot
from tsdb.view.part import NEVER_MS

_STEP_MS = 10

Contents = dict[int, dict[int, int]]


def _contents(snapshot: HeadSnapshot, start_ms: int = -(2**60), end_ms: int = 2**60) -> Contents:
    refs = np.arange(len(snapshot.state))[::-1].copy()
    batch = snapshot.read(refs, start_ms, end_ms)
    batch.check(rising=True)
    found: Contents = {}
    for row, ref in enumerate(refs.tolist()):
        values = batch.row_values(row).view(np.uint64).tolist()
        if values:
            found[ref] = dict(zip(batch.row_times_ms(row).tolist(), values, strict=True))
    return found


class _Tick(NamedTuple):
    """One sample of each series but those left out, all at one time, in batches of some size."""

    step: int
    left_out: frozenset[int]


class _Loose(NamedTuple):
    """Samples at any time, in any order."""

    samples: list[tuple[int, int, float]]


class _Seal(NamedTuple):
    """A seal up to this far behind the newest sample, with samples coming in between."""

    behind: int
    between: list[tuple[int, int, float]]


_loose = st.lists(
    st.tuples(
        st.integers(0, SERIES - 1),
        st.integers(0, 120),
        st.sampled_from([0.0, -0.0, 1.0, float("nan")]),
    ),
    max_size=8,
)
_acts = st.lists(
    st.one_of(
        st.builds(_Tick, st.integers(1, 2), st.frozensets(st.integers(0, SERIES - 1), max_size=2)),
        st.builds(_Tick, st.just(1), st.sampled_from([frozenset[int](), frozenset[int]({0})])),
        st.builds(_Loose, _loose),
        st.builds(_Seal, st.integers(0, 60), _loose),
    ),
    max_size=200,
)


@examples(40)
@given(_acts)
def test_the_head_equals_a_dict_and_its_snapshots_stay(acts: list[object]) -> None:
    """After any appends and seals each snapshot ever taken still reads as it did."""
    head = new_head(Arena(2048))
    model: Contents = {}
    sealed: Contents = {}
    kept: list[tuple[HeadSnapshot, Contents]] = []
    now = 0

    def store(samples: list[tuple[int, int, float]], frozen: Contents) -> None:
        outcomes = append_to(head, samples)
        for (series, time_ms, value), outcome in zip(samples, outcomes, strict=True):
            there = model.get(series, {}).get(time_ms, frozen.get(series, {}).get(time_ms))
            if there is None:
                assert outcome == head_kernels.STORED
                model.setdefault(series, {})[time_ms] = bits_of(value)
            elif there == bits_of(value):
                assert outcome == head_kernels.DUPLICATE
            else:
                assert outcome == head_kernels.CONFLICT

    for number, act in enumerate(acts):
        if isinstance(act, _Tick):
            now += act.step * _STEP_MS
            rest = [s for s in range(SERIES) if s not in act.left_out]
            store([(s, now, float(s)) for s in rest[::2]], {})
            store([(s, now, float(s)) for s in rest[1::2]], {})
        elif isinstance(act, _Loose):
            store([(s, 5 * back, value) for s, back, value in act.samples], {})
        elif isinstance(act, _Seal):
            until = max(head.visible_from_ms, now - act.behind * 5)
            frozen = head.freeze(until)
            in_blocks = {s: {t: v for t, v in row.items() if t < until} for s, row in model.items()}
            for series, row in in_blocks.items():
                for time_ms in row:
                    del model[series][time_ms]
            before = {s: dict(row) for s, row in model.items()}
            store([(s, 5 * at, value) for s, at, value in act.between], in_blocks)
            assert _contents(frozen) == _merged(before, in_blocks)
            head.hide_sealed(frozen, until)
            done = 0
            while done < head.series_count:
                done = head.drop_hidden(done)
            sealed = _merged(sealed, in_blocks)
        if number % 7 == 0:
            kept.append((head.snapshot(), _merged(model, {})))
    kept.append((head.snapshot(), _merged(model, {})))
    for snapshot, contents in kept:
        assert _contents(snapshot) == contents
        some = {s: {t: v for t, v in row.items() if 100 <= t <= 300} for s, row in contents.items()}
        assert _contents(snapshot, 100, 300) == _merged(some, {})


def _merged(a: Contents, b: Contents) -> Contents:
    both = {s: {**a.get(s, {}), **b.get(s, {})} for s in {**a, **b}}
    return {s: row for s, row in both.items() if row}


def test_series_scraped_together_share_their_times() -> None:
    """A thousand ticks of fifty series cost the time pages of one, also after one missed some."""
    head = new_head(Arena(4096), 50)
    for tick in range(1000):
        present = [s for s in range(50) if not (s == 7 and tick in (100, 101, 500))]
        append_to(head, [(s, tick, 1.0) for s in present])
    batch = head.snapshot().read(np.arange(50), 0, 2000)
    starts = np.delete(batch.time_starts, 7)
    assert (starts == starts[0]).all()
    assert len(batch.times_ms) == 1000 + 997
    late = head.snapshot().read(np.arange(50), 600, 2000)
    assert (late.time_starts == 0).all(), "the one that missed some has joined again"


def test_two_groups_that_begin_together_part_once() -> None:
    """Where half of the series take other times, they share one branch and not one each."""
    head = new_head(Arena(4096), 40)
    append_to(head, [(s, 0, 1.0) for s in range(40)])
    for tick in range(1, 30):
        append_to(head, [(s, 10 * tick + s // 20, 1.0) for s in range(40)])
    batch = head.snapshot().read(np.arange(40), 0, 1000)
    assert len(np.unique(batch.time_starts)) == 2
    assert len(batch.times_ms) == 60


def test_pages_come_back_once_nobody_can_see_them() -> None:
    """A snapshot keeps what a seal dropped; without it the pages are used again."""
    arena = Arena(64)
    head = new_head(arena, 1)
    for _ in range(4):
        base = head.max_time_ms + 1 if head.max_time_ms > NEVER_MS else 0
        append_to(head, [(0, base + k, float(k)) for k in range(50)])
        held = head.snapshot()
        frozen = head.freeze(base + 50)
        head.hide_sealed(frozen, base + 50)
        head.drop_hidden(0)
        head.release_reserve()
        assert len(_contents(held)[0]) == 50
        del held, frozen
        head.snapshot()
        gc.collect()
    assert arena.used_share == 0


def test_a_full_arena_refuses_and_keeps_what_it_has() -> None:
    """HeadFull comes before anything is appended."""
    head = new_head(Arena(8), 4)
    append_to(head, [(s, 0, 1.0) for s in range(4)])
    with pytest.raises(HeadFull, match="head is full"):
        head.reserve(100)
    assert len(_contents(head.snapshot())) == 4


def test_forgotten_series_leave_the_others_as_they_were() -> None:
    """After renumbering, samples, late samples and labels belong to the same series as before."""
    head = new_head(Arena(1024), 6)
    append_to(head, [(s, 100, float(s)) for s in (1, 3, 5)])
    kept = np.flatnonzero(~head.empty_series())
    registry, index = head.renumbered(kept)
    append_to(head, [(3, 50, 9.0), (5, 60, 9.5), (0, 7, 1.5)])
    head.forget_all_but(kept, registry, index)
    snapshot = head.snapshot()
    assert snapshot.index.frame(np.arange(4)).all_labels() == [labels_of(s) for s in (1, 3, 5, 0)]
    assert _contents(snapshot) == {
        0: {100: bits_of(1.0)},
        1: {50: bits_of(9.0), 100: bits_of(3.0)},
        2: {60: bits_of(9.5), 100: bits_of(5.0)},
        3: {7: bits_of(1.5)},
    }
    batch = build_batch([(labels_of(2), [1], [1.0]), (labels_of(5), [1], [1.0])])
    ids, fingerprints = head.registry.look_up(batch)
    assert ids.tolist() == [-1, 2]
    head.register(batch, ids, fingerprints)
    assert append_to(head, [(int(ids[1]), 60, 9.5), (int(ids[0]), 60, 9.5)]) == [1, 0]


def test_select_leaves_out_series_without_samples() -> None:
    """A series that only was registered does not show, one with only late samples does."""
    head = new_head(Arena(1024), 3)
    append_to(head, [(0, 100, 1.0)])
    frozen = head.freeze(100)
    append_to(head, [(2, 50, 1.0)])
    assert frozen.select(()).refs.tolist() == [0]
    assert head.snapshot().select(()).refs.tolist() == [0, 2]
    assert head.snapshot().label_values("series", ()) == ["000", "002"]
    assert Labels.from_key(head.registry.key(2)) == labels_of(2)

"""Deleted samples are gone at once and for ever; what is written later is new; all else stays."""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.matcher import Matcher, MatchType
from series.ports import Context, Hints
from tests.examples import examples
from tests.tsdb.contents import Value, values
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    Bits,
    FaultyFiles,
    append,
    batch_of,
    bits,
    everything,
    labels_of,
    open_store,
)
from tests.tsdb.test_histograms import histogram
from tsdb.db import Db, DbOptions
from tsdb.store import Store
from tsdb.view import deletion_kernels

MINUTE_MS = 60_000
_FOREVER = Hints(-(2**60), 2**60)
_Sample = tuple[int, int, Value]


def series_is(*numbers: int) -> tuple[Matcher, ...]:
    """Selects these series."""
    texts = "|".join(f"{number:03}" for number in numbers)
    return (Matcher(MatchType.REGEX, "series", texts), Matcher(MatchType.EQUAL, "__name__", "m"))


def without(samples: Bits, numbers: Sequence[int], start_ms: int, end_ms: int) -> Bits:
    """What is left of *samples* after the deletion of these series and times."""
    gone = {labels_of(number) for number in numbers}
    left: Bits = {}
    for labels, own in samples.items():
        kept = {
            time_ms: one
            for time_ms, one in own.items()
            if labels not in gone or not start_ms <= time_ms <= end_ms
        }
        if kept:
            left[labels] = kept
    return left


def _db(store: Store) -> Db:
    return store.tenant_for_write("t")


def _bytes_of(directory: Path) -> bytes:
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return b"".join(path.read_bytes() for path in paths)


def test_deletes_from_memory_and_from_blocks(tmp_path: Path) -> None:
    """At once, after a restart and after cleaning; both ends of the times are included."""
    store = open_store(tmp_path)
    old = [(s, NOW_MS - 9 * HOUR_MS + k * MINUTE_MS, float(k)) for s in range(4) for k in range(99)]
    new = [(s, NOW_MS - k, histogram(k)) for s in range(2, 5) for k in range(9)]
    append(_db(store), *old)
    append(_db(store), *new)
    store.maintain()
    left = bits([*old, *new])
    assert everything(_db(store)) == left
    for numbers, start_ms, end_ms in (
        ((0,), NOW_MS - 9 * HOUR_MS + MINUTE_MS, NOW_MS - 9 * HOUR_MS + 5 * MINUTE_MS),
        ((2, 4), NOW_MS - 3, NOW_MS),
        ((3,), 0, 2**60),
    ):
        assert _db(store).delete(series_is(*numbers), start_ms, end_ms) == len(numbers)
        left = without(left, numbers, start_ms, end_ms)
        assert everything(_db(store)) == left
    found = _db(store).view().resolve((), _FOREVER).frame.all_labels()
    assert found == sorted(left), "series without a sample are not listed"
    store.close()
    store = open_store(tmp_path)
    assert everything(_db(store)) == left
    _db(store).clean_tombstones()
    assert everything(_db(store)) == left
    assert _db(store).stats().deletions_waiting == 0
    store.close()
    store = open_store(tmp_path)
    assert everything(_db(store)) == left
    store.close()


def test_what_is_written_after_a_deletion_is_new(tmp_path: Path) -> None:
    """Also at the times that were deleted, and also when all of it is merged."""
    store = open_store(tmp_path)
    first = [(s, NOW_MS - k * 1000, 1.0) for s in range(2) for k in range(50)]
    append(_db(store), *first)
    _db(store).delete(series_is(0), 0, 2**60)
    second = [(0, NOW_MS - 7000, 2.0), (0, NOW_MS - 6500, 3.0), (0, NOW_MS + 1, 4.0)]
    for sample in second:
        assert append(_db(store), sample).samples == 1
    wanted = bits([*second, *(one for one in first if one[0] == 1)])
    assert everything(_db(store)) == wanted
    store.close()
    store = open_store(tmp_path)
    assert everything(_db(store)) == wanted
    _db(store).delete(series_is(0), NOW_MS - 6500, NOW_MS - 6500)
    wanted = without(wanted, [0], NOW_MS - 6500, NOW_MS - 6500)
    assert everything(_db(store)) == wanted
    _db(store).clean_tombstones()
    assert everything(_db(store)) == wanted
    store.close()


def test_the_bytes_go(tmp_path: Path) -> None:
    """After the deletion no log holds the samples, after cleaning and a sweep no file does."""
    store = open_store(tmp_path)
    odd = 1.2345678901234567e-200
    append(_db(store), *((s, NOW_MS - k, odd) for s in range(3) for k in range(3)))
    pattern = np.float64(odd).tobytes()
    directory = tmp_path / "tenants/t"
    assert pattern in _bytes_of(directory / "wal")
    _db(store).delete(series_is(0, 1, 2), 0, 2**60)
    assert not [*(directory / "wal").iterdir()] or pattern not in _bytes_of(directory / "wal")
    assert b"series" in _bytes_of(directory / "blocks")
    _db(store).clean_tombstones()
    store.maintain()
    assert [*(directory / "blocks").iterdir()] == []
    store.close()


def test_a_deletion_that_hits_nothing_leaves_no_trace(tmp_path: Path) -> None:
    """Neither of an unknown tenant nor of unknown series or times; a repeated one stays one."""
    store = open_store(tmp_path)
    assert _db(store).delete(series_is(0), 0, 2**60) == 0
    assert store.tenants() == []
    append(_db(store), (0, NOW_MS, 1.0), (1, NOW_MS, 1.0))
    assert _db(store).delete(series_is(7), 0, 2**60) == 0
    assert _db(store).delete(series_is(0), 0, NOW_MS - 9 * HOUR_MS) == 0
    assert _db(store).stats().deletions_waiting == 0
    for _ in range(3):
        _db(store).delete(series_is(0), 0, 2**60)
    assert _db(store).stats().deletions_waiting == 1
    assert everything(_db(store)) == bits([(1, NOW_MS, 1.0)])
    with pytest.raises(ValueError, match="error parsing regexp"):
        _db(store).delete((Matcher(MatchType.REGEX, "series", "("),), 0, 1)
    db = _db(store)
    store.close()
    with pytest.raises(OSError, match="closed"):
        db.delete(series_is(1), 0, 1)


def test_readers_keep_what_they_have(tmp_path: Path) -> None:
    """What a reader resolved before a deletion and a cleaning reads the same after them."""
    store = open_store(tmp_path)
    append(_db(store), *((s, NOW_MS - k, float(k)) for s in range(3) for k in range(50)))
    selection = _db(store).view().resolve((), _FOREVER)
    generation = selection.generation
    before = selection.read(slice(0, 3), 0, 2**60, Context()).values.tolist()
    _db(store).delete(series_is(1), 0, 2**60)
    assert selection.read(slice(0, 3), 0, 2**60, Context()).values.tolist() == before
    sealed = _db(store).view().resolve((), _FOREVER)
    assert sealed.generation > generation and sealed.frame.size == 2
    two = sealed.read(slice(0, 2), 0, 2**60, Context()).values.tolist()
    _db(store).clean_tombstones()
    store.maintain()
    assert sealed.read(slice(0, 2), 0, 2**60, Context()).values.tolist() == two
    store.close()


def test_only_hit_blocks_are_rewritten_and_others_read_as_ever(tmp_path: Path) -> None:
    """A part that no deletion hits keeps its token, so what is cached of it stays valid."""
    store = open_store(tmp_path)
    for hours in (20, 10):
        time_ms = NOW_MS - hours * HOUR_MS
        append(_db(store), *((s, time_ms + k, float(k)) for s in range(3) for k in range(5)))
        store.maintain()
    append(_db(store), (0, NOW_MS, 1.0))
    store.maintain()
    db = _db(store)
    first = [block.sequence for block in db.blocks]
    tokens = [part.token for part in db.view()._parts.parts][:2]
    db.delete(series_is(1), NOW_MS - 11 * HOUR_MS, 2**60)
    after = [part.token for part in db.view()._parts.parts][:2]
    assert after[0] == tokens[0] and after[1] != tokens[1]
    db.clean_tombstones()
    left = [block.sequence for block in db.blocks]
    assert left[0] == first[0] and first[1] not in left
    store.close()


@pytest.mark.parametrize("act", ["create", "write", "fdatasync", "rename", "sync_directory"])
def test_a_deletion_that_the_disk_refuses_deletes_nothing(tmp_path: Path, act: str) -> None:
    """Whichever act fails; what a crash then finds is all or all but what was to go."""
    for nth in range(40):
        directory = tmp_path / f"{act}-{nth}"
        files = FaultyFiles()
        store = open_store(directory, files=files)
        samples: list[_Sample] = [(s, NOW_MS - k, float(k)) for s in range(3) for k in range(9)]
        append(_db(store), *samples)
        acts = iter(range(10**9))
        files.fails = lambda what, acts=acts, nth=nth: what == act and next(acts) == nth  # type: ignore[misc]
        whole, left = bits(samples), without(bits(samples), [1], 0, NOW_MS - 4)
        try:
            _db(store).delete(series_is(1), 0, NOW_MS - 4)
            done = True
        except OSError:
            done = False
        files.fails = lambda what: False
        assert everything(_db(store)) == (left if done else whole)
        shutil.copytree(directory, directory.with_suffix(".copy"))
        other = open_store(directory.with_suffix(".copy"))
        assert everything(_db(other)) in ([left] if done else [whole, left])
        other.close()
        _db(store).delete(series_is(1), 0, NOW_MS - 4)
        assert everything(_db(store)) == left
        store.close()
        if done:
            break
    assert done and nth > 0


def test_a_block_that_is_lost_is_told_and_keeps_its_deletion(tmp_path: Path) -> None:
    """Both of its indexes are damaged: queries go on without it, and are warned."""
    store = open_store(tmp_path)
    append(_db(store), *((s, NOW_MS - 9 * HOUR_MS + k, 1.0) for s in range(2) for k in range(9)))
    append(_db(store), (0, NOW_MS, 2.0))
    store.maintain()
    _db(store).delete(series_is(1), NOW_MS - 9 * HOUR_MS, NOW_MS - 9 * HOUR_MS + 2)
    first = _db(store).blocks[0]
    store.close()
    store = open_store(tmp_path)
    directory = tmp_path / f"tenants/t/blocks/{first.sequence:010}"
    for name in ("index", "data"):
        path = directory / name
        path.write_bytes(bytes(path.stat().st_size))
    heard: list[str] = []
    selection = _db(store).view(heard.append).resolve((), _FOREVER)
    assert selection.frame.all_labels() == [labels_of(0)]
    assert heard and "damaged" in heard[0]
    _db(store).clean_tombstones()
    assert everything(_db(store)) == bits([(0, NOW_MS, 2.0)])
    store.close()


def test_many_deletions_of_one_block(tmp_path: Path) -> None:
    """Series that different deletions hit, several times and overlapping, lose just these times."""
    store = open_store(tmp_path)
    samples: list[_Sample] = [(s, NOW_MS - k, float(k)) for s in range(9) for k in range(60)]
    append(_db(store), *samples)
    left = bits(samples)
    draw = random.Random(5)
    for _ in range(40):
        numbers = draw.sample(range(9), 3)
        start = draw.randint(0, 60)
        span = NOW_MS - start, NOW_MS - start + draw.randint(0, 4)
        _db(store).delete(series_is(*numbers), *span)
        left = without(left, numbers, *span)
        assert everything(_db(store)) == left
    selection = _db(store).view().resolve((), _FOREVER)
    batch = selection.read(slice(0, selection.frame.size), NOW_MS - 30, NOW_MS - 10, Context())
    batch.check(rising=True)
    _db(store).clean_tombstones()
    assert everything(_db(store)) == left
    store.close()


@examples(200)
@given(
    st.lists(st.lists(st.integers(0, 60), unique=True, max_size=20).map(sorted), max_size=6),
    st.lists(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=4), max_size=3),
    st.data(),
)
def test_kernel_against_a_slow_twin(
    rows: list[list[int]], spans: list[list[tuple[int, int]]], draw: st.DataObject
) -> None:
    """A sample goes where its time lies within a range of its row's group."""
    groups: list[list[tuple[int, int]]] = [[]]
    for group in spans:
        disjoint: list[tuple[int, int]] = []
        for start, length in sorted(group):
            if not disjoint or start > disjoint[-1][1]:
                disjoint.append((start, start + length))
        groups.append(disjoint)
    chosen = [draw.draw(st.integers(0, len(groups) - 1)) for _ in rows]
    times = np.array([time for row in rows for time in row], dtype=np.int64)
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    flat = np.array([one for group in groups for one in group], dtype=np.int64).reshape(-1, 2)
    kept = np.ones(len(times), dtype=np.bool_)
    gone = deletion_kernels.mark_deleted(
        offsets,
        offsets[:-1].copy(),
        times,
        np.array(chosen, dtype=np.int32),
        np.cumsum([0, *map(len, groups)], dtype=np.int64),
        flat[:, 0].copy(),
        flat[:, 1].copy(),
        kept,
    )
    wanted = [
        not any(start <= time <= end for start, end in groups[group])
        for row, group in zip(rows, chosen, strict=True)
        for time in row
    ]
    assert kept.tolist() == wanted and gone == wanted.count(False)


_steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("append"),
            st.lists(
                st.tuples(st.integers(0, 5), st.integers(-300, 0), values), min_size=1, max_size=12
            ),
        ),
        st.tuples(
            st.just("delete"),
            st.tuples(
                st.sets(st.integers(0, 5), min_size=1, max_size=3),
                st.integers(-300, 0),
                st.integers(0, 100),
            ),
        ),
        st.tuples(st.sampled_from(["maintain", "pass", "clean", "reopen"]), st.none()),
    ),
    min_size=5,
    max_size=25,
)


@examples(15)
@given(_steps)
def test_a_life_with_deletions_against_a_dict(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]]
) -> None:
    """Appends early and late, seals, merges, cleanings, restarts: what is read is what is left."""
    directory = tmp_path_factory.mktemp("life")
    now = [NOW_MS]
    options = DbOptions(
        block_range_ms=10 * MINUTE_MS, max_late_samples=3, min_empty_series=2, idle_ms=MINUTE_MS
    )
    store = open_store(directory, options=options, now_ms=lambda: now[0])
    left: Bits = {}
    for step, what in steps:
        if step == "append":
            samples = [(s, now[0] + at * MINUTE_MS, value) for s, at, value in what]
            _db(store).append(batch_of(*samples)).result(timeout=30)
            for labels, own in bits(samples).items():
                for time_ms, one in own.items():
                    left.setdefault(labels, {}).setdefault(time_ms, one)
        elif step == "delete":
            numbers, at, length = what
            start_ms = now[0] + at * MINUTE_MS
            _db(store).delete(series_is(*numbers), start_ms, start_ms + length * MINUTE_MS)
            left = without(left, numbers, start_ms, start_ms + length * MINUTE_MS)
        elif step == "maintain":
            store.maintain()
        elif step == "pass":
            now[0] += 30 * MINUTE_MS
            store.maintain()
        elif step == "clean":
            _db(store).clean_tombstones()
            assert _db(store).stats().deletions_waiting == 0
        else:
            store.close()
            store = open_store(directory, options=options, now_ms=lambda: now[0])
        assert everything(_db(store)) == left
    store.close()
    shutil.rmtree(directory)

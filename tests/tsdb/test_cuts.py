"""A seal of many days makes blocks that retention and merges can take one by one."""

import itertools
import shutil
from pathlib import Path

import pytest

from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    FaultyFiles,
    append,
    bits,
    everything,
    open_store,
)
from tsdb.db import DbOptions
from tsdb.store import Store
from tsdb.upkeep import cuts
from tsdb.upkeep.merge_plan import DAY_MS, Rules

_Point = tuple[int, int, float]

_OPTIONS = DbOptions(retention_ms=15 * DAY_MS)
_WINDOW_MS = Rules.of(_OPTIONS.block_range_ms, _OPTIONS.retention_ms).window_ranges_ms[-1]


def _of_days(days: int, per_day: int = 1) -> list[_Point]:
    """Two series, ascending in time, the last samples at NOW_MS."""
    step_ms = DAY_MS // per_day
    first_ms = NOW_MS - days * DAY_MS
    times = range(first_ms, NOW_MS + 1, step_ms)
    return [(s, time_ms, float(time_ms % 9973 + s)) for time_ms in times for s in (1, 2)]


def _spans(store: Store) -> list[tuple[int, int, bool]]:
    blocks = store.tenant_for_write("t").blocks
    return sorted((one.min_time_ms, one.max_time_ms, one.late) for one in blocks)


def _lies_in_windows(spans: list[tuple[int, int, bool]]) -> bool:
    return all(first // _WINDOW_MS == last // _WINDOW_MS for first, last, _ in spans)


def test_after_a_clean_stop_retention_drops_what_is_old(tmp_path: Path) -> None:
    """Of a head with 14 days, as of one that was sealed at once."""
    samples = _of_days(14, 4)
    store = open_store(tmp_path, options=_OPTIONS)
    append(store.tenant_for_write("t"), *samples)
    store.close(60.0)

    now_ms = NOW_MS
    store = open_store(tmp_path, options=_OPTIONS, now_ms=lambda: now_ms)
    assert everything(store.tenant("t")) == bits(samples)
    spans = _spans(store)
    assert len(spans) > 10 and _lies_in_windows(spans)
    for hours in range(0, 15 * 24, 12):
        now_ms = NOW_MS + hours * HOUR_MS
        store.maintain()
        oldest_ms = now_ms - _OPTIONS.retention_ms
        left = everything(store.tenant("t"))
        recent = bits([one for one in samples if one[1] >= oldest_ms])
        kept = bits([one for one in samples if one[1] >= oldest_ms - _WINDOW_MS])
        for labels, own in recent.items():
            assert own.items() <= left[labels].items() <= kept[labels].items()
    store.close()


def test_many_late_samples_fold_into_the_blocks_of_their_days(tmp_path: Path) -> None:
    """They are cut like the others, so that merges leave one block a window."""
    earlier = _of_days(6, 24)
    store = open_store(tmp_path, options=_OPTIONS)
    append(store.tenant_for_write("t"), *earlier)
    store.close(60.0)
    late = [(s, time_ms - k, 0.5) for s, time_ms, _ in earlier[:-2] for k in range(1, 25)]
    store = open_store(tmp_path, options=_OPTIONS)
    append(store.tenant_for_write("t"), *late)
    store.close(60.0)

    store = open_store(tmp_path, options=_OPTIONS)
    spans = _spans(store)
    assert sum(late for _, _, late in spans) > 3 and _lies_in_windows(spans)
    for _ in range(20):
        store.maintain()
    assert everything(store.tenant("t")) == bits([*earlier, *late])
    windows = {first // _WINDOW_MS for first, _, _ in spans}
    ripe = [one for one in _spans(store) if (one[0] // _WINDOW_MS + 1) * _WINDOW_MS <= NOW_MS]
    assert len(ripe) < len(windows) + 2, "one a window"
    store.close()


def test_few_late_samples_of_many_days_share_a_block(tmp_path: Path) -> None:
    """A file for each of them would cost more than it is worth."""
    store = open_store(tmp_path, options=_OPTIONS)
    append(store.tenant_for_write("t"), (1, NOW_MS, 1.0))
    store.close(60.0)
    late = [one for one in _of_days(14) if one[1] < NOW_MS]
    store = open_store(tmp_path, options=_OPTIONS)
    append(store.tenant_for_write("t"), *late)
    store.close(60.0)

    store = open_store(tmp_path, options=_OPTIONS)
    assert [late for _, _, late in _spans(store)] == [True, False]
    assert everything(store.tenant("t")) == bits([(1, NOW_MS, 1.0), *late])
    store.close()


def test_years_in_one_head_make_a_bounded_number_of_blocks(tmp_path: Path) -> None:
    """Where windows would be too many they are doubled."""
    options = DbOptions(retention_ms=0)
    samples: list[_Point] = [
        (s, time_ms, 1.0)
        for s in (1, 2)
        for time_ms in (-(10**12), 0, 10**9, *range(NOW_MS - 90 * DAY_MS, NOW_MS, DAY_MS))
    ]
    store = open_store(tmp_path, options=options)
    append(store.tenant_for_write("t"), *samples)
    store.close(60.0)
    store = open_store(tmp_path, options=options)
    assert 1 < len(_spans(store)) <= cuts.MOST_BLOCKS
    assert everything(store.tenant("t")) == bits(samples)
    store.close()


def test_a_log_larger_than_the_memory_is_cut_as_well(tmp_path: Path) -> None:
    """What a replay seals on its way lies in windows."""
    samples = _of_days(8, 200)
    store = open_store(tmp_path, options=_OPTIONS)
    for begin in range(0, len(samples), 500):
        append(store.tenant_for_write("t"), *samples[begin : begin + 500])
    store.close()
    store = open_store(tmp_path, options=_OPTIONS, arena_pages=40)
    assert everything(store.tenant("t")) == bits(samples)
    spans = _spans(store)
    assert len(spans) > 3 and _lies_in_windows(spans)
    store.close()


@pytest.mark.parametrize("crashes", [False, True])
def test_a_fault_anywhere_in_such_a_seal_costs_nothing(
    memory_path: Path, monkeypatch: pytest.MonkeyPatch, crashes: bool
) -> None:
    """Whichever act of it is refused: all blocks are there or none, and nothing is left over."""
    monkeypatch.setattr(cuts, "LATE_SAMPLES", 1)
    first, *others = _of_days(5)
    first = (first[0], NOW_MS - 3 * DAY_MS - 1, first[2])
    store = open_store(memory_path / "sealed", options=_OPTIONS)
    append(store.tenant_for_write("t"), first)
    store.close(60.0)
    for fault in itertools.count():
        directory = memory_path / str(fault)
        shutil.copytree(memory_path / "sealed", directory)
        files = FaultyFiles()
        store = open_store(directory, options=_OPTIONS, files=files)
        append(store.tenant_for_write("t"), *others)
        acts = itertools.count()
        files.fails = lambda act, acts=acts, fault=fault: (  # type: ignore[misc]
            next(acts) >= fault if crashes else next(acts) == fault
        )
        store.close(60.0)
        fired = next(acts) > fault
        reopened = open_store(directory, options=_OPTIONS)
        db = reopened.tenant("t")
        assert db is not None and everything(db) == bits([first, *others])
        listed = {f"{block.sequence:010}" for block in db.blocks}
        there = {path.name for path in (directory / "tenants/t/blocks").iterdir()}
        assert there == listed and len(listed) in (1, 7)
        reopened.close()
        shutil.rmtree(directory)
        if not fired:
            break
    assert fault > 40 and len(listed) == 7

"""Merged blocks hold what their sources held, whoever reads, writes or fails meanwhile."""

import gc
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.frame import LabelFrame
from series.labels import Labels
from series.ports import Context, Hints
from tests.examples import examples
from tests.tsdb.contents import Started, Value
from tests.tsdb.databases import (
    NOW_MS,
    FaultyFiles,
    append,
    bits,
    everything,
    open_store,
)
from tests.tsdb.test_deletions import series_is
from tests.tsdb.test_histograms import histogram
from tsdb import turns
from tsdb.db import Db, DbOptions
from tsdb.disk_space import Reserve
from tsdb.label.interner import Interner
from tsdb.store import Store
from tsdb.upkeep import merge_kernels, merge_rows

MINUTE_MS = 60_000
RANGE_MS = 10 * MINUTE_MS
OPTIONS = DbOptions(block_range_ms=RANGE_MS, max_late_samples=4, min_empty_series=2)
_Sample = tuple[int, int, Value]


class _Place:
    """A store whose clock moves only when told, and what was stored in it."""

    def __init__(self, directory: Path, files: FaultyFiles | None = None) -> None:
        self.directory = directory
        self.now_ms = NOW_MS
        self.files = files or FaultyFiles()
        self.samples: list[_Sample] = []
        self.reserve = Reserve(0, 0.0)
        self.store = self.open()

    def open(self) -> Store:
        self.store = open_store(
            self.directory,
            files=self.files,
            options=OPTIONS,
            now_ms=lambda: self.now_ms,
            reserve=self.reserve,
        )
        return self.store

    @property
    def db(self) -> Db:
        return self.store.tenant_for_write("t")

    def append(self, *samples: _Sample) -> None:
        append(self.db, *samples)
        self.samples += samples

    def fill(self, windows: int) -> None:
        """A block a window, unmerged, with histograms, start times and late samples."""
        for _ in range(windows):
            self.append(
                *((s, self.now_ms + k * MINUTE_MS, k + s / 8) for s in range(3) for k in range(5))
            )
            self.append((3, self.now_ms, histogram(self.now_ms % 7)))
            self.append((4, self.now_ms, Started(2.5, self.now_ms - 5000)))
            self.now_ms += RANGE_MS
            self.db.maintain()

    def merge(self) -> None:
        self.db.merge(float("inf"))

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in (self.directory / "tenants/t/blocks").iterdir())

    def check(self) -> None:
        assert everything(self.db) == bits(self.samples)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[_Place]:
    place = _Place(tmp_path / "data")
    yield place
    place.files.fails = lambda act: False
    place.store.close()


def test_fewer_blocks_hold_the_same(place: _Place) -> None:
    """Floats, histograms, start times and late samples; now, after a restart, merged again."""
    for _ in range(3):
        place.fill(9)
        place.append((1, place.now_ms - 5 * RANGE_MS, -1.0), (7, place.now_ms - 9 * RANGE_MS, 1.0))
        place.db.maintain()
        before = place.db.stats()
        place.merge()
        after = place.db.stats()
        assert after.blocks < before.blocks and after.merges > before.merges
        assert after.merge_written_bytes > before.merge_written_bytes
        place.check()
        place.store.close()
        place.open()
        place.check()
    place.store.maintain()
    gc.collect()
    place.store.maintain()
    assert len(place.names) == place.db.stats().blocks, "the sources have gone from the disk"


def test_the_first_of_two_samples_at_one_instant_stays_the_one(place: _Place) -> None:
    """However the blocks that hold them are merged."""
    draw = random.Random(3)
    for _ in range(40):
        place.append((0, place.now_ms, 0.5))
        for _ in range(6):
            place.append((draw.randint(0, 2), place.now_ms - draw.randint(1, 90) * MINUTE_MS,
                          draw.random()))  # fmt: skip
        place.now_ms += draw.choice([1, 5, 20]) * MINUTE_MS
        place.store.maintain()
        place.check()
    assert place.db.stats().merges > 5
    assert len(place.db.blocks) < 30


def test_a_reader_keeps_its_blocks(place: _Place) -> None:
    """What was resolved before a merge is read after it, also when the sources are to go."""
    place.fill(9)
    selection = place.db.view().resolve((), Hints(0, 2**60))
    before = selection.read(slice(0, 5), 0, 2**60, Context()).times_ms.tolist()
    place.merge()
    place.store.maintain()
    assert selection.read(slice(0, 5), 0, 2**60, Context()).times_ms.tolist() == before
    sources = {block.sequence for block in place.db.blocks}
    assert len(place.names) > len(sources)
    del selection
    gc.collect()
    place.store.maintain()
    assert len(place.names) == len(sources)


def test_a_merge_takes_turns_and_is_given_up_at_the_end(
    place: _Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step by step, with appends and seals between; closing midway leaves nothing behind."""
    monkeypatch.setattr(merge_rows, "SLAB_SAMPLES", 1)
    monkeypatch.setattr(merge_rows, "GROUP_ROWS", 1)
    monkeypatch.setattr(turns, "MERGE_SECONDS", 0.0)
    place.fill(9)
    steps = 0
    while place.db.merge(0.0):
        steps += 1
        if steps % 5 == 0:
            place.fill(1)
        place.check()
        if place.db.stats().merges == 2 and any(name.endswith(".tmp") for name in place.names):
            break
    assert steps > 10
    place.store.close()
    assert not any(name.endswith(".tmp") for name in place.names)
    place.open()
    place.check()
    place.store.stop_merging()
    assert not place.db.merge(float("inf"))


def test_what_is_deleted_during_a_merge_is_gone_after_it(
    place: _Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the merge had read it by then or not; also after a restart and a cleaning."""
    monkeypatch.setattr(merge_rows, "SLAB_SAMPLES", 1)
    monkeypatch.setattr(merge_rows, "GROUP_ROWS", 1)
    place.fill(9)
    start_ms, end_ms = NOW_MS, NOW_MS + 3 * RANGE_MS
    for number in range(3):
        assert place.db.merge(0.0)
        place.db.delete(series_is(number), start_ms, end_ms)
        place.samples = [
            one for one in place.samples if one[0] != number or not start_ms <= one[1] <= end_ms
        ]
        place.check()
    place.merge()
    assert place.db.stats().merges > 0
    place.check()
    place.store.close()
    place.open()
    place.check()
    place.db.clean_tombstones()
    place.check()


def test_a_merge_whose_source_is_dropped_is_given_up(
    place: _Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was dropped does not come back."""
    monkeypatch.setattr(merge_rows, "SLAB_SAMPLES", 1)
    place.fill(9)
    assert place.db.merge(0.0)
    gone = place.db.blocks[0]
    place.db.drop_blocks({gone.sequence})
    place.samples = [
        one for one in place.samples if not gone.min_time_ms <= one[1] <= gone.max_time_ms
    ]
    merges = place.db.stats().merges
    while place.db.merge(0.0) and place.db.stats().merges == merges:
        place.check()
    place.merge()
    place.check()
    assert not any(name.endswith(".tmp") for name in place.names)


def test_without_room_nothing_is_begun(tmp_path: Path) -> None:
    """The merge is put off and counted; when there is room again it is done."""
    free = [1 << 40]
    files = FaultyFiles()
    files.free_bytes = lambda path: free[0]  # type: ignore[method-assign]
    place = _Place(tmp_path, files)
    place.fill(9)
    size_bytes = sum(block.size_bytes for block in place.db.blocks)
    free[0] = 1000
    names = place.names
    for _ in range(3):
        place.merge()
    stats = place.db.stats()
    assert (stats.merges, stats.merge_skipped, stats.merge_failures) == (0, 1, 0)
    assert place.names == names and size_bytes > 1000
    free[0] = 1 << 40
    place.now_ms += 11_000
    place.merge()
    assert place.db.stats().merges > 0
    place.check()
    place.store.close()


@pytest.mark.parametrize("act", ["create", "write", "fdatasync", "rename", "sync_directory"])
def test_a_refused_merge_keeps_its_sources_and_waits(place: _Place, act: str) -> None:
    """Nothing is left of it; it is not tried every second, and succeeds later."""
    place.fill(9)
    names, blocks = place.names, place.db.blocks
    place.files.fails = lambda what: what == act
    with pytest.raises(OSError, match="injected"):
        place.merge()
    acts: list[str] = []
    place.files.fails = lambda what: bool(acts.append(what))  # type: ignore[func-returns-value]
    place.merge()
    assert acts == [], "it waits"
    place.check()
    assert place.db.blocks == blocks
    assert [name for name in place.names if name in names] == names
    assert len(place.names) <= len(names) + 1
    assert place.db.stats().merge_failures == 1
    place.files.fails = lambda what: False
    place.now_ms += 11_000
    place.merge()
    assert place.db.stats().merges > 0
    place.check()
    place.store.close()
    place.open()
    place.check()


def test_of_a_damaged_source_the_rest_is_merged(place: _Place) -> None:
    """Its files are kept in quarantine, it is counted, and queries are warned for ever."""
    place.fill(9)
    blocks = place.directory / "tenants/t/blocks"
    name = place.names[0]
    data = blocks / name / "data"
    content = bytearray(data.read_bytes())
    content[40] ^= 1
    data.write_bytes(bytes(content))
    place.merge()
    stats = place.db.stats()
    assert stats.merges > 0 and stats.merge_damaged_blocks == 1
    gc.collect()
    place.store.maintain()
    kept = place.directory / "tenants/t/quarantine" / name
    assert (kept / "data").read_bytes() == bytes(content)
    for _ in range(2):
        found = everything(place.db)
        whole = bits(place.samples)
        for labels, samples in found.items():
            assert samples.items() <= whole[labels].items()
        missing = sum(map(len, whole.values())) - sum(map(len, found.values()))
        assert 0 < missing <= 20
        heard: list[str] = []
        place.db.view(heard.append).resolve((), Hints(0, 2**60))
        assert heard and "damaged" in heard[0]
        place.store.close()
        place.open()


def test_readers_during_merges_deletions_and_retention(memory_path: Path) -> None:
    """Each reader finds every sample that must be there, once, and none that was never stored."""
    place = _Place(memory_path)
    series, oldest = 6, [0]
    deleted_before = [NOW_MS]
    written_until = [NOW_MS]
    failures: list[object] = []
    done = threading.Event()

    def value(number: int, time_ms: int) -> float:
        return float(number * 1_000_003 + time_ms % 1_000_000_007)

    def read() -> None:
        while not done.is_set():
            end_ms, view = written_until[0], place.db.view()
            selection = view.resolve((), Hints(0, 2**60))
            batch = selection.read(slice(0, selection.frame.size), 0, 2**60, Context())
            start_ms = max(oldest[0], deleted_before[0])
            for row, labels in enumerate(selection.frame.all_labels()):
                number = int(labels.get("series"))
                times = batch.row_times_ms(row).tolist()
                if batch.row_values(row).tolist() != [value(number, one) for one in times]:
                    failures.append(("values", number))
                first_ms = start_ms if number == 0 else oldest[0]
                wanted = set(range(NOW_MS, end_ms, MINUTE_MS))
                wanted = {one for one in wanted if one >= first_ms}
                if not wanted <= set(times) or len(set(times)) != len(times):
                    failures.append(("times", number, sorted(wanted - set(times))[:3]))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    try:
        draw = random.Random(9)
        for tick in range(220):
            time_ms = NOW_MS + tick * MINUTE_MS
            place.now_ms = time_ms
            append(place.db, *((s, time_ms, value(s, time_ms)) for s in range(series)))
            written_until[0] = time_ms + MINUTE_MS
            if tick % 7 == 0:
                late_ms = time_ms - draw.randint(1, 50) * MINUTE_MS - 7
                append(place.db, (5, late_ms, value(5, late_ms)))
            if tick % 3 == 0:
                place.store.maintain()
            if tick % 50 == 49:
                deleted_before[0] = time_ms - 30 * MINUTE_MS
                place.db.delete(series_is(0), 0, deleted_before[0] - 1)
            if tick % 130 == 129:
                place.db.clean_tombstones()
            if tick % 100 == 99:
                first = min(place.db.blocks, key=lambda block: block.max_time_ms)
                oldest[0] = max(oldest[0], first.max_time_ms + 1)
                place.db.drop_blocks({first.sequence})
    finally:
        done.set()
        for thread in readers:
            thread.join()
    assert failures == []
    stats = place.db.stats()
    assert stats.merges > 5 and stats.dropped_blocks == 2
    gc.collect()
    place.store.maintain()
    assert len(place.names) == len(place.db.blocks)
    place.store.close()


_labels = st.dictionaries(
    st.sampled_from(["__name__", "a", "job", "über"]),
    st.one_of(st.text(max_size=3), st.sampled_from(["x" * 130, "y" * 20_000])),
).map(Labels.of)


@examples(60)
@given(st.lists(_labels, max_size=12, unique=True))
def test_keys_are_those_of_the_labels(series: list[Labels]) -> None:
    """Of a frame, and by the kernels from interned labels in any order."""
    keys, ends = merge_rows.frame_keys(LabelFrame.from_labels(series))
    starts = np.concatenate((ends[:1] * 0, ends[:-1]))
    found = [keys[a:b].tobytes() for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    assert found == [labels.key for labels in series]
    interner = Interner()
    interner.append(keys, starts, ends)
    rows = np.arange(len(series))[::-1].copy()
    where = (interner.label_starts, interner.row_starts, interner.row_labels, rows)
    spelt_ends = np.empty(len(rows), dtype=np.int64)
    merge_kernels.measure_keys(*where, spelt_ends)
    spelt = np.empty(int(spelt_ends[-1]) if len(rows) else 0, dtype=np.uint8)
    merge_kernels.spell_keys(interner.text, *where, spelt)
    assert spelt.tobytes() == b"".join(labels.key for labels in series[::-1])

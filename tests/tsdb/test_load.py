"""Loaded samples read as if they had been written: any order, any age, each once."""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tsdb.contents import Value
from tests.tsdb.databases import (
    HOUR_MS,
    NOW_MS,
    append,
    batch_of,
    bits,
    everything,
    labels_of,
    open_store,
)
from tests.tsdb.test_histograms import histogram
from tests.tsdb.test_snapshot import RefusingFiles
from tsdb.db import DbOptions
from tsdb.upkeep import load

Point = tuple[int, int, Value]
FOR_EVER = DbOptions(retention_ms=0)
DAY_MS = 24 * HOUR_MS

points = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(0, 30).map(lambda day: NOW_MS - day * DAY_MS // 2),
        st.one_of(st.integers(0, 3).map(float), st.just(float("nan"))),
    ),
    min_size=1,
    max_size=40,
)


def _load(directory: Path, *batches: Sequence[Point]) -> tuple[int, dict[str, int]]:
    """Loads into tenant t; (stored, refused)."""
    store = open_store(directory, options=FOR_EVER)
    try:
        loader = store.tenant_for_write("t").loader()
        for batch in batches:
            loader.add(batch_of(*batch))
        loader.finish()
        return loader.stored, dict(loader.refused)
    finally:
        store.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(points, min_size=1, max_size=4), st.sampled_from([1, 5, 1 << 20]))
def test_what_is_loaded_is_read_once(
    memory_path: Path, batches: list[list[Point]], buffered: int
) -> None:
    """However samples come, the first of each instant stays; others are stored or refused."""
    directory = Path(tempfile.mkdtemp(dir=memory_path))
    before, load.BUFFER_SAMPLES = load.BUFFER_SAMPLES, buffered
    try:
        stored, refused = _load(directory, *batches)
    finally:
        load.BUFFER_SAMPLES = before

    sent = [point for batch in batches for point in batch]
    store = open_store(directory, options=FOR_EVER)
    assert everything(store.tenant("t")) == bits(sent)
    store.close()
    # Two flushes do not know of each other's samples: the first is read, both count as stored.
    assert stored + sum(refused.values()) == len(sent)
    if buffered > len(sent):
        first = bits(sent)
        same = sum(bits([p])[labels_of(p[0])][p[1]] == first[labels_of(p[0])][p[1]] for p in sent)
        assert stored == same


def test_histograms_and_their_conflicts(tmp_path: Path) -> None:
    """Histograms come back; the same one twice is stored once, another one is refused."""
    at = NOW_MS - 5 * DAY_MS
    sent: list[Point] = [
        (1, at + 1, histogram(3)),
        (1, at, 2.5),
        (1, at + 1, histogram(3)),
        (1, at + 1, histogram(4)),
        (0, at, histogram(5)),
    ]

    stored, refused = _load(tmp_path, sent)

    assert (stored, refused) == (4, {"duplicate-timestamp": 1})
    store = open_store(tmp_path, options=FOR_EVER)
    assert everything(store.tenant("t")) == bits(sent)
    store.close()


def test_what_the_database_holds_stays(tmp_path: Path) -> None:
    """Of a sample in head or block and a loaded one at the same time the older one is read."""
    store = open_store(tmp_path)
    db = store.tenant_for_write("t")
    append(db, (1, NOW_MS - 9 * HOUR_MS, 1.0), (1, NOW_MS, 2.0))
    store.maintain()
    loader = db.loader()
    loader.add(
        batch_of((1, NOW_MS - 9 * HOUR_MS, 7.0), (1, NOW_MS - 8 * HOUR_MS, 8.0), (2, NOW_MS, 9.0))
    )
    loader.finish()

    assert everything(db) == bits(
        [
            (1, NOW_MS - 9 * HOUR_MS, 1.0),
            (1, NOW_MS - 8 * HOUR_MS, 8.0),
            (1, NOW_MS, 2.0),
            (2, NOW_MS, 9.0),
        ]
    )
    append(db, (2, NOW_MS + 1, 10.0))
    store.close()
    store = open_store(tmp_path)
    assert len(everything(store.tenant("t"))[labels_of(2)]) == 2
    store.close()


def test_samples_out_of_bounds_are_refused_by_name(tmp_path: Path) -> None:
    """Those beyond the retention or in the future cost nothing else."""
    store = open_store(tmp_path)
    loader = store.tenant_for_write("t").loader()
    loader.add(
        batch_of((1, NOW_MS - 16 * DAY_MS, 1.0), (2, NOW_MS + DAY_MS, 1.0), (3, NOW_MS, 1.0))
    )
    loader.finish()

    assert (loader.stored, loader.series) == (1, 1)
    assert loader.refused == {"too-old": 1, "too-far-in-future": 1}
    assert {one.labels for one in loader.refusals} == {labels_of(1), labels_of(2)}
    assert everything(store.tenant("t")) == bits([(3, NOW_MS, 1.0)])
    store.close()


def test_a_sorted_stream_makes_one_block_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Series that ascend go on in the same blocks, however small the buffer is."""
    monkeypatch.setattr(load, "BUFFER_SAMPLES", 20)
    first_ms = NOW_MS // DAY_MS * DAY_MS - 3 * DAY_MS
    sent: list[Point] = [
        (series, first_ms + hour * HOUR_MS, float(hour))
        for series in range(40)
        for hour in range(72)
    ]
    store = open_store(tmp_path)
    loader = store.tenant_for_write("t").loader()
    for start in range(0, len(sent), 7):
        loader.add(batch_of(*sent[start : start + 7]))
    loader.finish()
    db = store.tenant("t")
    assert db is not None

    assert db.stats().blocks == 3
    assert everything(db) == bits(sent)
    store.close()


def test_long_history_is_cut_into_few_blocks(tmp_path: Path) -> None:
    """Ten years take as many blocks as are open at a time, not one a day."""
    sent: list[Point] = [(1, NOW_MS - day * DAY_MS, float(day)) for day in range(3650)]
    store = open_store(tmp_path, options=FOR_EVER)
    db = store.tenant_for_write("t")
    loader = db.loader()
    loader.add(batch_of(*sent))
    loader.finish()

    assert db.stats().blocks <= load.MAX_WRITERS
    assert everything(db) == bits(sent)
    store.close()


def test_what_is_abandoned_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the answer nor on the disk."""
    monkeypatch.setattr(load, "BUFFER_SAMPLES", 4)
    store = open_store(tmp_path)
    db = store.tenant_for_write("t")
    loader = db.loader()
    loader.add(batch_of(*[(series, NOW_MS, 1.0) for series in range(9)]))
    loader.abandon()

    assert everything(db) == {}
    assert [path for path in (tmp_path / "tenants").rglob("*") if path.is_file()] == []
    store.close()


def test_a_refused_act_leaves_what_was_visible(
    memory_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever act of the disk fails, blocks are there whole or not at all, also after a start."""
    monkeypatch.setattr(load, "BUFFER_SAMPLES", 4)
    batches: list[list[Point]] = [
        [(series, NOW_MS - day * DAY_MS, float(day)) for series in range(5) for day in range(2)],
        [(series, NOW_MS - HOUR_MS, 7.0) for series in range(5)],
    ]
    whole = bits([point for batch in batches for point in batch])
    seen = set()
    for act in itertools.count():
        files = RefusingFiles()
        store = open_store(memory_path / str(act), files=files)
        db = store.tenant_for_write("t")
        append(db, (9, NOW_MS, 9.0))
        files.last_act = files.acts + act
        loader = db.loader()
        try:
            for batch in batches:
                loader.add(batch_of(*batch))
            loader.finish()
            fired = False
        except OSError:
            fired = True
        loader.abandon()
        files.last_act = 1 << 60
        there = everything(db)
        store.close()

        store = open_store(memory_path / str(act))
        found = everything(store.tenant("t"))
        store.close()
        assert found.pop(labels_of(9)) == there.pop(labels_of(9))
        # A manifest whose last sync failed may count at the next start.
        for samples in (there, found):
            assert all(value.items() <= whole[labels].items() for labels, value in samples.items())
        assert sum(map(len, there.values())) <= sum(map(len, found.values()))
        seen.add(sum(map(len, found.values())))
        if not fired:
            assert found == whole
            break
    assert act > 20 and len(seen) > 1


def test_nan_payloads_and_stale_markers_come_back(tmp_path: Path) -> None:
    """Every bit pattern of a float does."""
    patterns = [0x7FF0000000000002, 0x7FF8000000000001, 0xFFF800000000BEEF, 1 << 63, 1]
    values = np.array(patterns, dtype=np.uint64).view(np.float64)
    sent: list[Point] = [(1, NOW_MS - k * HOUR_MS, float(v)) for k, v in enumerate(values)]

    _load(tmp_path, sent)

    store = open_store(tmp_path)
    assert everything(store.tenant("t")) == bits(sent)
    store.close()

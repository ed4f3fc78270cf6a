"""Histograms and start times in a database: as durable as floats, and judged as they are."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from series.histogram import CUSTOM_SCHEMA, OFFSET, Histogram
from series.ports import Appended, Context, Hints
from tests.tsdb.blocks import QuietFiles, block, write
from tests.tsdb.contents import Started, Value, ticket_float
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
from tsdb.block.cache import BlockCache
from tsdb.block.format import Section, unpack_index
from tsdb.block.index import parse_index
from tsdb.block.index_copy import read_index, read_meta
from tsdb.db import Db, DbOptions
from tsdb.files import Files
from tsdb.log import records
from tsdb.store import Store

_OLD_MS = NOW_MS - 4 * HOUR_MS
_Sample = tuple[int, int, Value]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path)
    yield opened
    opened.close()


def _db(store: Store) -> Db:
    return store.tenant_for_write("t")


def histogram(k: int, width: int = 3, **fields: object) -> Histogram:
    """One whose counts are *k* further than those of k = 0."""
    buckets = tuple((OFFSET + at, float(k * (at + 1))) for at in range(width))
    plain = Histogram(schema=3, count=float(6 * k), sum=k / 4, zero_count=1.0, buckets=buckets)
    return replace(plain, **fields)  # type: ignore[arg-type]


_NHCB = Histogram(
    CUSTOM_SCHEMA,
    count=3.0,
    sum=-1.0,
    buckets=((OFFSET, 1.0), (OFFSET + 2, 2.0)),
    bounds=(0.1, 2.0),
)


def _mixed(count: int, start_ms: int = _OLD_MS) -> list[_Sample]:
    """Series of every kind; buckets come and go, one series turns from floats to histograms."""
    samples: list[_Sample] = []
    for k in range(count):
        time_ms = start_ms + 15_000 * k
        samples += [
            (0, time_ms, float(k)),
            (1, time_ms, histogram(k, 3 + k // 200)),
            (2, time_ms, Started(float(k), start_ms)),
            (3, time_ms, Started(histogram(k), time_ms - 15_000)),
            (4, time_ms, _NHCB),
            (5, time_ms, histogram(k, hint=k % 4) if k % 50 else ticket_float(k)),
        ]
    return samples


def _append_all(db: Db, samples: list[_Sample], step: int = 60) -> None:
    for at in range(0, len(samples), step):
        part = samples[at : at + step]
        assert append(db, *part).samples == len(part)


def test_every_kind_comes_back_from_head_log_and_blocks(tmp_path: Path) -> None:
    """Bit for bit, after a restart, a seal, and a restart after that."""
    samples = _mixed(1000)
    store = open_store(tmp_path)
    _append_all(_db(store), samples)
    assert everything(_db(store)) == bits(samples)
    store.close()
    store = open_store(tmp_path)
    assert everything(store.tenant("t")) == bits(samples)
    store.maintain()
    assert _db(store).stats().blocks == 1
    assert everything(store.tenant("t")) == bits(samples)
    store.close()
    store = open_store(tmp_path)
    assert everything(store.tenant("t")) == bits(samples)
    store.close()


def test_histograms_are_counted(store: Store) -> None:
    """Among the samples, repeated ones included."""
    samples: list[_Sample] = [
        (0, NOW_MS, 1.0),
        (1, NOW_MS, histogram(1)),
        (2, NOW_MS, Started(1.0, 5)),
    ]
    for _ in range(2):
        assert append(_db(store), *samples) == Appended(3, histograms=1)
    stats = _db(store).stats()
    assert (stats.appended_samples, stats.appended_histograms) == (6, 2)


def test_a_repeated_sample_is_stored_once(store: Store) -> None:
    """Whether in one request, in a later one or as a late sample; it takes no memory either."""
    samples: list[_Sample] = [
        (0, NOW_MS + 1, histogram(2)),
        (0, NOW_MS + 1, histogram(2)),
        (1, NOW_MS + 1, Started(1.0, 5)),
        (0, NOW_MS, histogram(1)),
        (1, NOW_MS, ticket_float(3)),
    ]
    assert append(_db(store), *samples).samples == 5
    taken = _db(store).stats().head_pool_bytes
    for _ in range(3):
        assert append(_db(store), *samples).samples == 5
        assert append(_db(store), (0, NOW_MS, histogram(1, hint=2))).samples == 1
    assert everything(_db(store)) == bits(samples)
    assert _db(store).stats().head_pool_bytes == taken


@pytest.mark.parametrize(
    ("existing", "new", "text"),
    [
        (histogram(1), histogram(2), "existing is a histogram, new value is a histogram"),
        (histogram(1), histogram(1, 4), "existing is a histogram, new value is a histogram"),
        (histogram(1), 2.5, "existing is a histogram, new value 2.5"),
        (2.5, histogram(1), "existing 2.5, new value is a histogram"),
        (_NHCB, replace(_NHCB, bounds=(0.1, 3.0)), "is a histogram, new value is a histogram"),
        (Started(1.0, 5), 1.0, "existing 1, new value 1, start timestamps 5 and 0"),
        (Started(1.0, 5), Started(2.0, 5), "existing 1, new value 2"),
        (ticket_float(1), ticket_float(2), "existing NaN, new value NaN"),
    ],
)
def test_another_sample_at_the_same_time_is_refused_by_name(
    store: Store, existing: Value, new: Value, text: str
) -> None:
    """The first one stays, in one request, in the next one, and among late samples."""
    db = _db(store)
    assert append(db, (0, NOW_MS, existing), (0, NOW_MS, new)).refused == {"duplicate-timestamp": 1}
    appended = append(db, (0, NOW_MS, new), (0, NOW_MS - 1, existing), (1, NOW_MS, 1.0))
    assert (appended.samples, appended.refused) == (2, {"duplicate-timestamp": 1})
    (refusal,) = appended.refusals
    assert refusal.detail.startswith(
        f"duplicate sample for timestamp {NOW_MS}; overrides not allowed: existing "
    )
    assert refusal.detail.endswith(text)
    assert (refusal.labels, refusal.time_ms) == (labels_of(0), NOW_MS)
    assert append(db, (0, NOW_MS - 1, new)).refused == {"duplicate-timestamp": 1}
    kept: list[_Sample] = [(0, NOW_MS, existing), (0, NOW_MS - 1, existing), (1, NOW_MS, 1.0)]
    assert everything(db) == bits(kept)


def test_late_histograms_of_sealed_times_come_to_light(tmp_path: Path) -> None:
    """From a head over a block, from a late block, and where both have a time the first counts."""
    samples = _mixed(900)
    store = open_store(tmp_path, options=DbOptions(max_late_samples=3))
    db = _db(store)
    _append_all(db, samples)
    store.maintain()
    late: list[_Sample] = []
    for at_ms in (_OLD_MS + 7, _OLD_MS + 15_007, _OLD_MS + 30_007):
        late += [(0, at_ms, histogram(4, 5)), (1, at_ms, Started(2.0, 1)), (2, at_ms, 3.0)]
    second: list[_Sample] = [(1, _OLD_MS, histogram(77)), (0, _OLD_MS, histogram(78))]
    assert append(db, *late, *second).samples == len(late) + 2
    for _ in range(2):
        assert everything(db) == bits(samples + late)
        store.maintain()
    assert db.stats().head_late_samples == 0 and db.stats().blocks >= 1
    store.close()
    store = open_store(tmp_path)
    assert everything(store.tenant("t")) == bits(samples + late)
    store.close()


def test_refused_times_take_their_histograms_with_them(store: Store) -> None:
    """The others of the batch keep theirs."""
    samples: list[_Sample] = [
        (0, 5, histogram(1)),
        (0, NOW_MS, histogram(2)),
        (1, NOW_MS + HOUR_MS, Started(1.0, 3)),
        (1, NOW_MS, Started(2.0, 4)),
    ]
    assert append(_db(store), *samples).refused == {"too-old": 1, "too-far-in-future": 1}
    assert everything(_db(store)) == bits([samples[1], samples[3]])


def test_any_torn_or_damaged_byte_of_the_log_costs_its_record(tmp_path: Path) -> None:
    """As with floats: the other records are there, whole."""
    store = open_store(tmp_path / "data")
    path = tmp_path / "data/tenants/t/wal/0000000001.wal"
    ends, parts = [], []
    for k in range(3):
        parts.append([one for one in _mixed(k + 1)[-6:] if one[2] is not _NHCB or k == 0])
        append(_db(store), *parts[-1])
        ends.append(path.stat().st_size)
    store.close()
    whole = path.read_bytes()
    for at in range(ends[0], ends[2], 41):
        for content, kept in (
            (whole[:at], parts[: 1 + (at >= ends[1])]),
            (
                whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :],
                [parts[0], parts[2] if at < ends[1] else parts[1]],
            ),
        ):
            shutil.copytree(tmp_path / "data", tmp_path / "copy")
            (tmp_path / "copy/tenants/t/wal/0000000001.wal").write_bytes(content)
            store = open_store(tmp_path / "copy")
            assert everything(store.tenant("t")) == bits([one for part in kept for one in part])
            store.close()
            shutil.rmtree(tmp_path / "copy")


def test_floats_that_look_like_tickets_in_an_older_log_are_floats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that has no entries holds none, whatever the bits of its samples are."""
    samples: list[_Sample] = [(s, NOW_MS, ticket_float(s)) for s in range(3)]
    store = open_store(tmp_path)
    append(_db(store), *samples)
    store.close()
    path = tmp_path / "tenants/t/wal/0000000001.wal"
    found = [
        list(records.sections(one.payload))
        for one in records.scan(path.read_bytes(), path.stat().st_size)
        if isinstance(one, records.Record)
    ]
    assert [one.kind for one in found[1]] == [records.SERIES, records.ENTRIES, records.SAMPLES]
    without = [[one for one in part if one.kind != records.ENTRIES] for part in found]
    path.write_bytes(b"".join(map(records.encode_record, without)))
    store = open_store(tmp_path)
    assert everything(store.tenant("t")) == bits(samples)
    store.close()


# Memory


def test_memory_is_given_back_by_seals(tmp_path: Path) -> None:
    """Only entries of samples that are not sealed stay."""
    store = open_store(tmp_path)
    db = _db(store)
    _append_all(db, _mixed(900))
    before = db.stats().head_pool_bytes
    store.maintain()
    after = db.stats().head_pool_bytes
    assert before > 900 * 5 * 24 and 0 < after < before
    store.close()


def test_a_pool_without_room_is_sealed(tmp_path: Path) -> None:
    """The request fails, the next maintenance makes room, and nothing is lost."""
    store = open_store(tmp_path)
    db = _db(store)
    samples = _mixed(50)
    _append_all(db, samples)
    arena = store._machine.arena
    arena.pool_capacity_bytes = arena.pool_bytes + 100
    more: list[_Sample] = [(1, NOW_MS - 1000, histogram(1)), (0, NOW_MS - 1000, 1.0)]
    with pytest.raises(OSError, match="head is full"):
        append(db, *more)
    assert append(db, more[1]).samples == 1
    store.maintain()
    assert db.stats().blocks == 1 and db.stats().head_pool_bytes == 0
    assert append(db, more[0]).samples == 1
    assert everything(db) == bits(samples + more)
    store.close()


def test_a_pool_three_quarters_full_is_sealed(tmp_path: Path) -> None:
    """Before any request fails, though the pages are next to empty."""
    store = open_store(tmp_path)
    db = _db(store)
    samples = _mixed(50, NOW_MS - HOUR_MS)
    _append_all(db, samples)
    arena = store._machine.arena
    for share, blocks in ((1.4, 0), (1.3, 1)):
        arena.pool_capacity_bytes = int(share * arena.pool_bytes)
        store.maintain()
        assert db.stats().blocks == blocks
    assert db.stats().head_pool_bytes == 0
    assert everything(db) == bits(samples)
    store.close()


# Blocks


def _data(counts: dict[int, list[Value]]) -> dict[object, list[tuple[int, Value]]]:
    return {
        labels_of(series): [(15_000 * k, value) for k, value in enumerate(found)]
        for series, found in counts.items()
    }


def test_float_blocks_are_what_they_were(tmp_path: Path) -> None:
    """No section and no frame tells of entries where there are none."""
    write(tmp_path, 1, _data({0: [1.0, 2.0]}), BlockCache(QuietFiles()))  # type: ignore[arg-type]
    content = (tmp_path / "0000000001/index").read_bytes()
    assert Section.ENTRY_RUNS not in unpack_index(content, 1)


def test_counts_of_buckets_are_small(tmp_path: Path) -> None:
    """A histogram of 40 growing buckets costs a byte or two a bucket at most, on disk."""
    random = np.random.default_rng(3)
    cache = BlockCache(QuietFiles())
    found: dict[int, list[Value]] = {}
    for series in range(10):
        counts = np.cumsum(random.poisson(5, (480, 40)), axis=0).astype(float)
        found[series] = [
            Histogram(
                count=float(row.sum()),
                sum=float(row.sum()) / 8,
                buckets=tuple((OFFSET + at, n) for at, n in enumerate(row.tolist())),
            )
            for row in counts
        ]
    meta = write(tmp_path, 1, _data(found), cache)  # type: ignore[arg-type]
    assert meta.size_bytes / 4800 < 40


def test_start_times_cost_next_to_nothing(tmp_path: Path) -> None:
    """A counter with a start time takes hardly more than one without."""
    cache = BlockCache(QuietFiles())
    random = np.random.default_rng(3)
    totals = np.cumsum(random.poisson(100, (50, 480)), axis=1).astype(float).tolist()
    plain: dict[int, list[Value]] = dict(enumerate(totals))
    started: dict[int, list[Value]] = {
        s: [Started(value, NOW_MS) for value in row] for s, row in enumerate(totals)
    }
    sizes = [
        write(tmp_path, n, _data(data), cache).data_bytes  # type: ignore[arg-type]
        for n, data in ((1, plain), (2, started))
    ]
    assert sizes[1] < 1.1 * sizes[0]


def test_wide_histograms_are_cut_into_shorter_runs(tmp_path: Path) -> None:
    """And come back whole."""
    found: list[Value] = [histogram(k, 5000) for k in range(40)]
    data = _data({0: found, 1: found[:3]})
    made = block(tmp_path, 1, data, BlockCache(QuietFiles()))  # type: ignore[arg-type]
    batch = made.read(np.array([1, 0]), 30_000, 15_000 * 38)
    assert batch.histograms is not None and batch.histograms.size == 1 + 37
    assert batch.histograms.one(1) == found[2] and batch.histograms.one(37) == found[38]


def test_a_damaged_frame_of_entries_costs_the_samples_it_held(tmp_path: Path) -> None:
    """Floats of the same series, and all other series, are read; the warning names the file."""
    store = open_store(tmp_path)
    db = _db(store)
    samples: list[_Sample] = [
        (s, _OLD_MS + 15_000 * k, histogram(k, 30) if k % 2 else float(k))
        for s in range(8)
        for k in range(200)
    ]
    _append_all(db, [*samples, (9, NOW_MS, 1.0)])
    store.maintain()
    (path,) = tmp_path.glob("tenants/t/blocks/*/data")
    meta, _ = read_meta(Files(), path.parent)
    index = parse_index(read_index(Files(), path.parent, meta.sequence).sections, meta)
    assert index.entries is not None
    frame = index.entries.frames[index.entries.rows == 7][-1]
    assert frame not in index.entries.frames[index.entries.rows == 0]
    content = bytearray(path.read_bytes())
    content[index.frame_offsets[frame] + 30] ^= 1
    path.write_bytes(bytes(content))
    for _ in range(2):
        context = Context()
        selection = db.view().resolve((), Hints(0, 2**60))
        batch = selection.read(slice(0, 9), 0, 2**60, context)
        batch.check(rising=True)
        (text,) = context.warnings
        assert text.startswith(f"{path} is damaged at offset ")
        lengths = np.diff(batch.offsets).tolist()
        assert lengths[0] == 200 and lengths[7] == 100 and lengths[8] == 1
    assert db.stats().block_damaged_frames == 1
    untouched = Context()
    selection.read(slice(0, 1), 0, 2**60, untouched)
    assert untouched.warnings == {}
    store.close()


def test_a_batch_with_histograms_is_the_sender_s_own(store: Store) -> None:
    """What was appended is not written to."""
    batch = batch_of((0, NOW_MS, histogram(1)), (1, NOW_MS, 2.0), (2, NOW_MS, ticket_float(1)))
    before = batch.values.view(np.uint64).copy()
    _db(store).append(batch).result(30)
    assert (batch.values.view(np.uint64) == before).all()

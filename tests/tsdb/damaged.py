"""A tenant with files of every kind, and what is left of it where bits of them are flipped."""

from pathlib import Path

from series.labels import Labels
from series.metadata import Metadata
from series.ports import Context, Hints
from tests.tsdb.contents import Started, Value, contents
from tests.tsdb.databases import HOUR_MS, NOW_MS, Bits, append, batch_of, labels_of, open_store
from tests.tsdb.test_exemplars import with_exemplars
from tests.tsdb.test_histograms import histogram
from tsdb.db import Db, DbOptions
from tsdb.files import Files
from tsdb.manifest import Manifest
from tsdb.store import Store

OLD_MS = NOW_MS - 40 * HOUR_MS
FIRST_MS = NOW_MS - 10_000 * HOUR_MS
METADATA = {"m": Metadata("counter", "what it counts", "")}


class QuietFiles(Files):
    """The disk without its waiting: nothing here is about power cuts."""

    def fdatasync(self, fd: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


def reopen(directory: Path) -> Store:
    return open_store(directory, files=QuietFiles(), options=DbOptions(retention_ms=0))


def tenant_of(store: Store) -> Db:
    found = store.tenant("t")
    assert found is not None
    return found


def make(directory: Path) -> list[tuple[int, int, Value]]:
    """Fills the tenant ``t`` of *directory* and returns all its samples.

    It has two blocks, one of them merged, with floats, histograms and late samples; exemplars,
    metadata, and a log of some segments.
    """
    store = reopen(directory)
    db = store.tenant_for_write("t")
    db.put_metadata(METADATA).result(timeout=30)
    samples: list[tuple[int, int, Value]] = []

    def write(*some: tuple[int, int, Value]) -> None:
        assert append(db, *some).samples == len(some)
        samples.extend(some)

    write(*((s, FIRST_MS + k, 0.25) for s in range(3) for k in range(20)))
    store.maintain()
    write(*((s, OLD_MS + k * 15_000, k * 0.1 + s) for s in range(20) for k in range(40)))
    write(*((s, OLD_MS + k * 15_000, histogram(k)) for s in range(20, 23) for k in range(30)))
    write((23, OLD_MS, Started(1.5, OLD_MS - 1)))
    trace = Labels.of({"trace_id": "abc"}).key
    exemplar = with_exemplars(batch_of((0, OLD_MS + HOUR_MS, 0.0)), [(0, OLD_MS, 1.0, trace)])
    assert db.append(exemplar).result(timeout=30).exemplars == 1
    samples.append((0, OLD_MS + HOUR_MS, 0.0))
    second_ms = OLD_MS + 4 * HOUR_MS
    write(*((s, second_ms + k * 30_000, float(k)) for s in range(5, 30) for k in range(10)))
    store.maintain()
    write(*((s, OLD_MS + 7, 77.0) for s in range(3)))
    write(*((s, second_ms + 4 * HOUR_MS, 1.0) for s in range(3)))
    store.maintain()
    for k in range(12):
        if k % 3 == 0:
            store.close()
            store = reopen(directory)
            db = tenant_of(store)
        write(*((s, NOW_MS + k * 1000, float(s * k)) for s in range(k, k + 4)))
    for _ in range(4):
        store.maintain()
    assert db.stats().wal_segments >= 3
    store.close()
    manifest = Manifest.load(directory / "tenants" / "t", Files())
    assert manifest is not None and len(manifest.blocks) >= 2
    assert any(block.sources for block in manifest.blocks)
    return samples


def read(db: Db, context: Context) -> Bits:
    """All that the database gives, and its warnings in *context*."""
    selection = db.view(context.damaged).resolve((), Hints(-(2**60), 2**60))
    batch = selection.read(slice(0, selection.frame.size), -(2**60), 2**60, context)
    batch.check(rising=True)
    found: Bits = {}
    for row, labels in enumerate(selection.frame.all_labels()):
        if samples := contents(batch, row):
            found[labels] = samples
    return found


def missing(found: Bits, stored: Bits) -> set[tuple[int, int]]:
    """(series number, time) of what of *stored* is not in *found*; nothing else may be there."""
    numbers = {labels_of(number): number for number in range(100)}
    for labels, samples in found.items():
        for time_ms, one in samples.items():
            assert stored[labels][time_ms] == one
    return {
        (numbers[labels], time_ms)
        for labels, samples in stored.items()
        for time_ms in samples
        if time_ms not in found.get(labels, {})
    }


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(content))

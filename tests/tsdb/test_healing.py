"""What stands twice is mended, what is lost is set apart and remembered, and nothing else stops."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from series.ports import Context, Hints, StorageError
from tests.tsdb.damaged import METADATA, QuietFiles, flip, make, missing, read, reopen, tenant_of
from tests.tsdb.databases import HOUR_MS, NOW_MS, Bits, append, bits, everything, open_store
from tsdb.block.format import BlockMeta, block_directory
from tsdb.damage import DamageNotes
from tsdb.db import Db, DbOptions
from tsdb.doctor import check_tenant
from tsdb.manifest import NAMES, Manifest
from tsdb.rebuild import open_manifest
from tsdb.store import Store

_MINUTE_MS = 60_000


@pytest.fixture
def home(tmp_path: Path) -> tuple[Path, Bits]:
    """The directory of a tenant with files of every kind, and what it holds."""
    stored = bits(make(tmp_path / "data"))
    return tmp_path / "data", stored


def _tenant(directory: Path) -> Path:
    return directory / "tenants" / "t"


def _blocks(directory: Path) -> list[Path]:
    return sorted((_tenant(directory) / "blocks").iterdir())


def _metas(directory: Path) -> tuple[BlockMeta, ...]:
    manifest = Manifest.load(_tenant(directory), QuietFiles())
    assert manifest is not None
    return manifest.blocks


def _findings(directory: Path) -> list[str]:
    return [one.what for one in check_tenant("t", _tenant(directory), QuietFiles()).findings]


def _kept(directory: Path) -> list[str]:
    return sorted(path.name for path in (_tenant(directory) / "quarantine").iterdir())


def _warnings(db: Db, start_ms: int = -(2**60), end_ms: int = 2**60) -> list[str]:
    """Those of a query over these times."""
    context = Context()
    selection = db.view(context.damaged).resolve((), Hints(start_ms, end_ms))
    selection.read(slice(0, selection.frame.size), start_ms, end_ms, context)
    return [*context.warnings]


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_a_manifest_is_made_anew_from_blocks_and_log(home: tuple[Path, Bits], how: str) -> None:
    """All samples are there, once; a block that another one stands for does not count."""
    directory, stored = home
    blocks = _blocks(directory)
    merged = next(meta for meta in _metas(directory) if meta.sources)
    source = block_directory(_tenant(directory) / "blocks", merged.sources[0])
    for path in (_tenant(directory) / name for name in NAMES):
        if how == "damaged":
            flip(path, 1000)
        else:
            path.unlink()
    shutil.copytree(blocks[-1], source)
    assert "manifest" in _findings(directory)
    store = reopen(directory)
    db = tenant_of(store)
    context = Context()
    assert missing(read(db, context), stored) == set()
    assert not context.warnings
    assert _blocks(directory) == blocks
    assert store.damage_counts["manifest"] == (2 if how == "damaged" else 1)
    assert append(db, (99, NOW_MS, 1.0)).samples == 1
    stored |= bits([(99, NOW_MS, 1.0)])
    store.maintain()
    store.close()
    assert how == "missing" or _kept(directory) == sorted(NAMES)
    assert _findings(directory) == []
    store = reopen(directory)
    assert missing(read(tenant_of(store), Context()), stored) == set()
    store.close()


def test_numbers_are_not_given_out_again_by_a_manifest_made_anew(home: tuple[Path, Bits]) -> None:
    """Neither those of blocks, also ones in quarantine, nor those of log segments."""
    directory, _ = home
    tenant, files = _tenant(directory), QuietFiles()
    before = Manifest.load(tenant, files)
    assert before is not None
    shutil.rmtree(tenant / "wal")
    (tenant / "quarantine").mkdir()
    _blocks(directory)[-1].rename(tenant / "quarantine" / "0000000077")
    for name in NAMES:
        (tenant / name).unlink()
    store = reopen(directory)
    db = tenant_of(store)
    made = Manifest.load(tenant, files)
    assert made is not None and made.seed == before.seed and made.next_sequence == 78
    assert append(db, (0, NOW_MS, 1.0)).samples == 1
    (segment,) = (tenant / "wal").iterdir()
    assert int(segment.stem) > 3
    store.close()


def test_a_lost_block_is_set_apart(home: tuple[Path, Bits]) -> None:
    """Queries of its times are warned, after a restart too, until it is removed by hand."""
    directory, stored = home
    block = _blocks(directory)[0]
    meta = _metas(directory)[0]
    flip(block / "index", 100)
    flip(block / "data", (meta.data_bytes - 100) * 8)
    assert _findings(directory) == ["index", "index"]
    store = reopen(directory)
    db = tenant_of(store)
    for _ in range(2):
        assert len(_warnings(db)) == 1 and str(block) in _warnings(db)[0]
        gone = missing(everything(db), stored)
        assert len(gone) == meta.samples
        assert all(meta.min_time_ms <= time_ms <= meta.max_time_ms for _, time_ms in gone)
        assert _warnings(db, meta.max_time_ms + 1) == []
        strict = db.view(Context(strict=True).damaged)
        for ask in (
            partial(strict.resolve, (), Hints(-(2**60), 2**60)),
            partial(strict.label_names, (), -(2**60), 2**60),
            partial(strict.label_values, "series", (), -(2**60), 2**60),
        ):
            with pytest.raises(StorageError, match=str(block)):
                ask()
        store.maintain()
        store.close()
        store = reopen(directory)
        db = tenant_of(store)
        assert block not in _blocks(directory) and db.stats().lost_ranges == 1
        assert db.stats().quarantined_files == 1
    store.close()
    assert _kept(directory) == [block.name]
    assert _findings(directory) == []
    shutil.rmtree(_tenant(directory) / "quarantine" / block.name)
    store = reopen(directory)
    assert _warnings(tenant_of(store)) == []
    store.close()


def test_a_damaged_index_is_written_anew(home: tuple[Path, Bits]) -> None:
    """From its copy, with the next round of background work; the old one is kept."""
    directory, stored = home
    block = _blocks(directory)[0]
    whole = (block / "index").read_bytes()
    flip(block / "index", 999)
    store = reopen(directory)
    db = tenant_of(store)
    assert missing(everything(db), stored) == set() and _warnings(db) == []
    assert store.damage_counts["index"] == 1
    store.maintain()
    assert (block / "index").read_bytes() == whole
    assert _kept(directory) == [f"{block.name}.index"]
    store.close()


def test_merged_damage_is_remembered(home: tuple[Path, Bits]) -> None:
    """A block with a damaged frame goes to quarantine when it is merged; its times stay warned."""
    directory, stored = home
    block = _blocks(directory)[0]
    flip(block / "data", 8 * 40)
    store = reopen(directory)
    db = tenant_of(store)
    gone = missing(everything(db), stored)
    assert gone and len(_warnings(db)) == 1
    store.close()
    store = reopen(directory)
    assert missing(everything(tenant_of(store)), stored) == gone
    assert len(_warnings(tenant_of(store))) == 1
    store.close()


class _Unreadable(QuietFiles):
    """A disk that cannot read what belongs to tenant ``bad``."""

    broken = True

    def read(self, path: Path) -> bytes:
        if self.broken and "/tenants/bad/" in str(path):
            raise OSError(5, "Input/output error")
        return super().read(path)


def test_a_tenant_that_cannot_be_opened_stops_nobody_else(tmp_path: Path) -> None:
    """It answers errors, is tried again a little later, and keeps its data."""
    store = open_store(tmp_path)
    for name in ("bad", "good"):
        append(store.tenant_for_write(name), (0, NOW_MS, 1.0))
    store.close()
    files = _Unreadable()
    store = open_store(tmp_path, files=files)
    assert everything(store.tenant("good")) == bits([(0, NOW_MS, 1.0)])
    assert store.failed_tenants == 1
    for open_it in (store.tenant, store.tenant_for_write):
        with pytest.raises(StorageError, match=r"tenant bad cannot be opened: .*Input/output"):
            open_it("bad")
    store.close()
    files.broken = False
    store = open_store(tmp_path, files=files)
    assert everything(store.tenant("bad")) == bits([(0, NOW_MS, 1.0)])
    store.close()


class _Scrubbed:
    """A store that scrubs once in twenty minutes, and its clock.

    In less than half an hour nothing is sealed because nobody writes.
    """

    def __init__(self, directory: Path, files: QuietFiles | None = None) -> None:
        self.directory = directory
        self._files = files or QuietFiles()
        self.now_ms = NOW_MS
        self.store = self._open()

    def _open(self) -> Store:
        options = DbOptions(retention_ms=0, scrub_interval_ms=20 * _MINUTE_MS)
        return open_store(
            self.directory, files=self._files, now_ms=lambda: self.now_ms, options=options
        )

    def restart(self) -> None:
        self.store.close()
        self.store = self._open()

    def advance(self, minutes: int) -> int:
        """So much later, and how many bytes have been scrubbed then."""
        self.now_ms += minutes * _MINUTE_MS
        self.store.maintain()
        return self.store.scrubbed.bytes


def test_a_scrub_reads_everything_once_in_its_interval(home: tuple[Path, Bits]) -> None:
    """Evenly, over a restart, and then again; only what is written to just now is left out."""
    directory, _ = home
    scrubbed = _Scrubbed(directory)
    assert scrubbed.advance(0) == 0
    sizes = {path: path.stat().st_size for path in _tenant(directory).rglob("*") if path.is_file()}
    last = max(path for path in sizes if path.suffix == ".wal")
    total = sum(sizes.values())
    largest = max(sizes.values())
    assert 0 < scrubbed.advance(5) <= total / 4 + largest
    half = scrubbed.advance(5)
    assert total / 2 <= half <= total / 2 + largest
    scrubbed.restart()
    assert scrubbed.advance(0) == 0
    rest = scrubbed.advance(11)
    assert scrubbed.store.scrubbed.completed_ms == scrubbed.now_ms
    assert total - sizes[last] <= half + rest <= total + largest
    scrubbed.restart()
    assert scrubbed.store.scrubbed.completed_ms == scrubbed.now_ms
    assert scrubbed.advance(0) == 0
    assert scrubbed.advance(4) > 0
    scrubbed.store.close()


def _log(directory: Path) -> Path:
    return sorted((_tenant(directory) / "wal").iterdir())[1]


_PLACES: dict[str, Callable[[Path], Path]] = {
    "manifest": lambda directory: _tenant(directory) / "manifest",
    "exemplars": lambda directory: _tenant(directory) / "exemplars",
    "log": _log,
    "index": lambda directory: _blocks(directory)[0] / "index",
}


@pytest.mark.parametrize("what", _PLACES)
@pytest.mark.parametrize("is_open", [True, False])
def test_a_scrub_mends(home: tuple[Path, Bits], what: str, is_open: bool) -> None:
    """What stands elsewhere a second time, on disk or in memory, is not lost."""
    directory, stored = home
    if not is_open:
        if what in ("log", "exemplars"):
            return  # Then it stands nowhere else.
        shutil.rmtree(_tenant(directory) / "wal")
        store = reopen(directory)
        stored = everything(tenant_of(store))
        store.close()
    scrubbed = _Scrubbed(directory)
    scrubbed.store.maintain()
    path = _PLACES[what](directory)
    flip(path, 8 * (path.stat().st_size // 2))
    scrubbed.advance(21)
    scrubbed.advance(0)
    assert scrubbed.store.damage_counts == {
        kind: int(kind == what) for kind in scrubbed.store.damage_counts
    }
    assert missing(everything(scrubbed.store.tenant("t")), stored) == set()
    scrubbed.store.close()
    assert _findings(directory) == []
    assert len(_kept(directory)) == 1
    store = reopen(directory)
    db = tenant_of(store)
    assert missing(everything(db), stored) == set()
    assert db.metadata() == METADATA
    assert len(db.view().exemplars([()], -(2**60), 2**60)) == 1
    store.close()


def test_a_scrub_finds_a_frame_before_anybody_asks(home: tuple[Path, Bits]) -> None:
    """The next query leaves it out with a warning."""
    directory, _ = home
    scrubbed = _Scrubbed(directory)
    scrubbed.advance(0)
    path = _blocks(directory)[0] / "data"
    flip(path, 8 * 40)
    scrubbed.advance(21)
    assert scrubbed.store.damage_counts["frame"] == 1
    db = scrubbed.store.tenant("t")
    assert db is not None and db.stats().block_damaged_frames == 1
    (text,) = _warnings(db)
    assert text.startswith(f"{path} is damaged at offset ")
    scrubbed.store.close()


def test_a_scrub_goes_on_past_what_cannot_be_read(tmp_path: Path) -> None:
    """A tenant whose files cannot be read is told once, and the others are checked."""
    store = open_store(tmp_path)
    for name in ("bad", "good"):
        db = store.tenant_for_write(name)
        append(db, (0, NOW_MS - 5 * HOUR_MS, 1.0), (0, NOW_MS, 2.0))
    store.maintain()
    store.close()
    (path,) = (tmp_path / "tenants/good/blocks").glob("*/index")
    whole = path.read_bytes()
    flip(path, 300)
    scrubbed = _Scrubbed(tmp_path, _Unreadable())
    scrubbed.advance(0)
    for _ in range(3):
        scrubbed.advance(11)
    assert scrubbed.store.scrubbed.completed_ms > 0
    assert path.read_bytes() == whole
    counts = scrubbed.store.damage_counts
    assert counts["index"] == 1 and counts["manifest"] == 1
    scrubbed.store.close()


def test_the_place_of_a_scrub_that_cannot_be_read_is_no_error(home: tuple[Path, Bits]) -> None:
    """The pass begins anew."""
    directory, _ = home
    scrubbed = _Scrubbed(directory)
    scrubbed.advance(0)
    scrubbed.advance(21)
    scrubbed.store.close()
    flip(directory / "scrub", 90)
    scrubbed = _Scrubbed(directory)
    assert scrubbed.store.scrubbed.completed_ms == 0
    scrubbed.advance(0)
    assert scrubbed.advance(7) > 0
    scrubbed.store.close()


def test_reading_in_place_mends_nothing(home: tuple[Path, Bits]) -> None:
    """A damaged manifest is read from its copy, and made anew in memory only."""
    directory, stored = home
    for name in NAMES:
        flip(_tenant(directory) / name, 800)
        opened = open_manifest(_tenant(directory), QuietFiles(), DamageNotes(), read_only=True)
        assert len(opened.manifest.blocks) == len(_blocks(directory))
    store = Store.open_read_only(directory, lambda: NOW_MS)
    assert missing(everything(store.tenant("t")), stored) == set()
    store.close()
    assert not (_tenant(directory) / "quarantine").exists()

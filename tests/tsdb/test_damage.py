"""One flipped bit anywhere takes what it touches at most, and is told; the rest goes on."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from series.ports import Context
from tests.tsdb.damaged import (
    METADATA,
    QuietFiles,
    flip,
    make,
    missing,
    read,
    reopen,
    tenant_of,
)
from tests.tsdb.databases import Bits, bits
from tsdb.damage import Finding
from tsdb.doctor import check_tenant

_TENANT = "tenants/t"


class _Whole(NamedTuple):
    """An undamaged directory, what it holds, and the samples that stand in each file alone."""

    directory: Path
    stored: Bits
    own: dict[Path, set[tuple[int, int]]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> _Whole:
    directory = tmp_path_factory.mktemp("damage") / "data"
    stored = bits(make(directory))
    own = {}
    for path in _files(directory):
        if path.name == "data" or path.suffix == ".wal":
            copy = directory.with_name("without")
            shutil.copytree(directory, copy)
            (copy / path).write_bytes(b"")
            store = reopen(copy)
            own[path] = missing(read(tenant_of(store), Context()), stored)
            store.close()
            shutil.rmtree(copy)
    assert all(own.values())
    return _Whole(directory, stored, own)


def _files(directory: Path) -> list[Path]:
    """All files of the tenant, below *directory*."""
    found = (directory / _TENANT).rglob("*")
    return sorted(path.relative_to(directory) for path in found if path.is_file())


def _findings(directory: Path) -> list[Finding]:
    return check_tenant("t", directory / _TENANT, QuietFiles()).findings


@pytest.mark.parametrize("step", [307, pytest.param(1, marks=pytest.mark.long)])
def test_a_flipped_bit_takes_what_it_touches(whole: _Whole, tmp_path: Path, step: int) -> None:
    """In each byte of each file; ``check data`` and the open database tell the same."""
    copy = tmp_path / "data"
    at = 0
    for path in _files(whole.directory):
        size = (whole.directory / path).stat().st_size
        while at < size:
            shutil.copytree(whole.directory, copy)
            flip(copy / path, at * 8 + at % 8)
            _check(whole, copy, path, at)
            shutil.rmtree(copy)
            at += step
        at -= size


def _check(whole: _Whole, copy: Path, path: Path, at: int) -> None:
    found = _findings(copy)
    is_last = path == max(one for one in whole.own if one.suffix == ".wal")
    if not is_last or found:
        (finding,) = found
        place = copy / path
        assert finding.path == place or finding.path == place.parent, (path, at, finding)
        assert finding.offset <= at
    store = reopen(copy)
    db = tenant_of(store)
    context = Context()
    gone = missing(read(db, context), whole.stored)
    assert gone <= whole.own.get(path, set()), (path, at)
    if path.name == "data":
        assert bool(gone) == bool(context.warnings) == found[0].is_loss, (path, at)
        assert all(str(copy / path) in text for text in context.warnings)
    stats = db.stats()
    if path.suffix == ".wal":
        assert bool(found) == (stats.replay_damaged_bytes > 0)
        assert found or stats.replay_torn_bytes > 0
        assert [str(one) for one in found if one.is_loss] == [*context.warnings]
        assert not (gone and found) or context.warnings
    if path.name != "exemplars":
        assert len(db.view().exemplars([()], -(2**60), 2**60)) == 1
    assert db.metadata() == METADATA
    store.maintain()
    store.close()


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
def test_a_log_that_ends_anywhere_is_opened(whole: _Whole, tmp_path: Path, step: int) -> None:
    """Every length of the last record: what was there before is, and the rest is told as torn."""
    copy = tmp_path / "data"
    path = max(one for one in whole.own if one.suffix == ".wal")
    content = (whole.directory / path).read_bytes()
    last = content.rindex(b"O11W")
    for size in range(last, len(content), step):
        shutil.copytree(whole.directory, copy)
        (copy / path).write_bytes(content[:size])
        assert _findings(copy) == []
        store = reopen(copy)
        db = tenant_of(store)
        gone = missing(read(db, Context()), whole.stored)
        assert gone < whole.own[path] and len(gone) == 4
        assert db.stats().replay_torn_bytes == size - last
        assert db.stats().replay_damaged_bytes == 0
        store.close()
        shutil.rmtree(copy)


def test_a_bad_record_within_the_log_is_skipped(whole: _Whole, tmp_path: Path) -> None:
    """Later ones are read; count and offset are told, and about which times it concerns."""
    copy = tmp_path / "data"
    shutil.copytree(whole.directory, copy)
    path = min(one for one in whole.own if one.suffix == ".wal")
    content = (copy / path).read_bytes()
    offsets = [at for at in range(len(content)) if content.startswith(b"O11W", at)]
    middle = offsets[len(offsets) // 2]
    flip(copy / path, 8 * (middle + 60))
    (finding,) = _findings(copy)
    assert finding.offset == middle and finding.times_ms is not None
    store = reopen(copy)
    gone = missing(read(tenant_of(store), Context()), whole.stored)
    assert gone and gone < whole.own[path]
    assert any(finding.times_ms[0] <= time_ms <= finding.times_ms[1] for _, time_ms in gone)
    assert tenant_of(store).stats().replay_damaged_bytes == offsets[-1] - middle
    assert finding.samples == len(gone)
    store.close()


def test_check_names_series_and_times(whole: _Whole, tmp_path: Path) -> None:
    """Of a damaged frame; what the open database leaves out is what was named."""
    copy = tmp_path / "data"
    shutil.copytree(whole.directory, copy)
    path = next(one for one in whole.own if one.name == "data")
    flip(copy / path, 8 * 40)
    (finding,) = _findings(copy)
    store = reopen(copy)
    gone = missing(read(tenant_of(store), Context()), whole.stored)
    store.close()
    assert finding.samples == len(gone)
    assert finding.series_count == len({series for series, _ in gone})
    assert finding.times_ms is not None
    assert finding.times_ms[0] <= min(time_ms for _, time_ms in gone)
    assert finding.times_ms[1] >= max(time_ms for _, time_ms in gone)
    named = {f'{{__name__="m", series="{series:03}"}}' for series, _ in gone}
    assert finding.series and set(finding.series) <= named

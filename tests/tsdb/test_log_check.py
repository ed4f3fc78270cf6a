"""What is told of a damaged log: where, how much, of which series and times."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.tsdb.databases import NOW_MS, append, labels_of, open_store
from tsdb.damage import Finding
from tsdb.files import Files
from tsdb.log.check import check_segment

_TICKS = 5


@pytest.fixture
def log(tmp_path: Path) -> tuple[Path, list[int]]:
    """A segment of ticks of three series, of which series 2 comes with the third; their ends."""
    store = open_store(tmp_path)
    db = store.tenant_for_write("t")
    path = tmp_path / "tenants/t/wal/0000000001.wal"
    ends = []
    for tick in range(_TICKS):
        append(db, *((s, NOW_MS + tick, float(s)) for s in range(3 if tick >= 2 else 2)))
        ends.append(path.stat().st_size)
    store.close()
    return path, ends


def _findings(path: Path, data: bytes) -> list[Finding]:
    copy = path.with_name("copy")
    copy.write_bytes(data)
    steps = list(check_segment(copy, None, Files()))
    assert sum(step for step in steps if isinstance(step, int)) == len(data)
    return [step for step in steps if isinstance(step, Finding)]


def test_a_sound_log_has_no_findings(log: tuple[Path, list[int]]) -> None:
    """Every byte is read."""
    path, _ = log
    assert _findings(path, path.read_bytes()) == []


def test_a_flipped_bit_is_told_with_series_and_times(log: tuple[Path, list[int]]) -> None:
    """Whichever it is: the offset is that of its record; mostly samples and series are, too."""
    path, ends = log
    whole = path.read_bytes()
    named = 0
    for at in range(ends[0], ends[1]):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        (finding,) = _findings(path, bytes(flipped))
        assert (finding.what, finding.offset) == ("log", ends[0])
        assert finding.times_ms == (NOW_MS, NOW_MS + 2)
        named += (finding.samples, finding.series_count, finding.series) == (
            2, 2, (str(labels_of(0)), str(labels_of(1))),
        )  # fmt: skip
    assert named > (ends[1] - ends[0]) * 2 // 3


def test_series_that_a_damaged_record_named_are_named_by_the_next_one(
    log: tuple[Path, list[int]],
) -> None:
    """Only the record's own samples are gone."""
    path, ends = log
    flipped = bytearray(path.read_bytes())
    flipped[ends[2] - 1] ^= 1
    (finding,) = _findings(path, bytes(flipped))
    assert finding.offset == ends[1]
    assert (finding.samples, finding.series_count) == (3, 3)
    assert finding.series == tuple(str(labels_of(s)) for s in range(3))
    assert finding.text.endswith("are no sound record")


def test_series_that_nothing_sound_names_are_lost_later_too(log: tuple[Path, list[int]]) -> None:
    """Where the next record is damaged as well; later samples of them count with the damage."""
    path, ends = log
    flipped = bytearray(path.read_bytes())
    flipped[ends[2] - 1] ^= 1
    flipped[ends[3] - 1] ^= 1
    (finding,) = _findings(path, bytes(flipped))
    assert finding.offset == ends[1]
    assert (finding.samples, finding.series_count) == (3 + 1, 3)
    assert finding.series == tuple(str(labels_of(s)) for s in range(3))
    assert finding.text.endswith("it named series of later samples")


def test_noise_is_told_without_names(log: tuple[Path, list[int]]) -> None:
    """Nothing that it seems to say is believed to be a number of bytes."""
    path, ends = log
    whole = path.read_bytes()
    draw = np.random.default_rng(7)
    for _ in range(200):
        noise = draw.integers(0, 256, int(draw.integers(1, 300)), dtype=np.uint8).tobytes()
        (finding,) = _findings(path, whole[: ends[0]] + noise + whole[ends[0] :])
        assert (finding.offset, finding.samples, finding.series) == (ends[0], 0, ())


def test_the_check_changes_nothing(log: tuple[Path, list[int]], tmp_path: Path) -> None:
    """It is a look, at a directory that somebody may serve."""
    path, ends = log
    flipped = bytearray(path.read_bytes())
    flipped[ends[0] + 40] ^= 1
    path.write_bytes(flipped)
    shutil.copytree(tmp_path / "tenants", tmp_path / "before")
    list(check_segment(path, None, Files()))
    for file in (tmp_path / "before").rglob("*"):
        twin = tmp_path / "tenants" / file.relative_to(tmp_path / "before")
        assert file.is_dir() or twin.read_bytes() == file.read_bytes()

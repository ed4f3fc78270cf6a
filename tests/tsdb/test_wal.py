"""The log gives back what it acknowledged, whatever stands around it."""

import struct
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.metadata import Metadata
from tests.examples import examples
from tests.tsdb.databases import FaultyFiles, make_rooms
from tsdb.files import Files
from tsdb.log import records
from tsdb.log.log_reader import read_segment
from tsdb.log.progress import ReplayProgress, ReplayStopped
from tsdb.log.records import Damage, LoggedSamples, NewSeries, Record, Section
from tsdb.log.wal import ReplayReport, Wal
from tsdb.versions import UnsupportedFormat

_bits = st.integers(0, 2**64 - 1)
_times = st.one_of(st.integers(0, 1000), st.integers(-(2**53), 2**53))


def _wal(directory: Path, files: Files | None = None, segment_bytes: int = 1 << 20) -> Wal:
    return Wal(directory / "wal", files or Files(), segment_bytes)


def _note(text: str) -> list[Section]:
    return [records.encode_metadata({text: Metadata("counter", "", "")})]


def _notes(wal: Wal, report: ReplayReport | None = None) -> list[str]:
    report = report or ReplayReport()
    found = []
    for segment in wal.segments:
        for sections in wal.replay(segment, report):
            for section in sections:
                if section.kind == records.METADATA:
                    found += list(records.decode_metadata(section.content))
    return found


@examples(40)
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), _times, _bits), min_size=1, max_size=20))
def test_samples_survive_the_record(samples: list[tuple[int, int, int]]) -> None:
    """Ids, times and bits come back, whichever form the times take."""
    ids, times, bits = zip(*samples, strict=True)
    logged = LoggedSamples(
        np.array(ids, dtype=np.uint32),
        np.array(times, dtype=np.int64),
        np.array(bits, dtype=np.uint64),
    )
    data = records.encode_record([records.encode_samples(logged)])
    (record,) = records.scan(data, len(data))
    assert isinstance(record, Record)
    (section,) = records.sections(record.payload)
    back = records.decode_samples(section.content)
    assert back.ids.tolist() == list(ids)
    assert back.times.tolist() == list(times)
    assert back.bits.tolist() == list(bits)


@examples(40)
@given(st.integers(0, 2**32 - 1), st.lists(st.binary(max_size=300), max_size=8))
def test_series_survive_the_record(first_id: int, keys: list[bytes]) -> None:
    """Keys of any length come back in their order."""
    ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
    section = records.encode_series(
        NewSeries(first_id, np.frombuffer(b"".join(keys), dtype=np.uint8), ends)
    )
    back = records.decode_series(section.content)
    assert back.first_id == first_id
    assert back.keys.tobytes() == b"".join(keys)
    assert back.key_ends.tolist() == ends.tolist()


def test_what_was_appended_is_replayed_in_order(tmp_path: Path) -> None:
    """Across segments, which begin anew where the old one is full."""
    wal = _wal(tmp_path, segment_bytes=400)
    for number in range(20):
        wal.append(_note(str(number)), 0)
    wal.close_segment()
    again = _wal(tmp_path)
    assert len(again.segments) > 3
    assert _notes(again) == [str(number) for number in range(20)]
    again.append(_note("later"), 0)
    assert _notes(_wal(tmp_path))[-1] == "later"


def test_a_torn_tail_of_any_length_costs_only_the_last_record(tmp_path: Path) -> None:
    """Cut anywhere within its last record, the log still gives back all before it."""
    wal = _wal(tmp_path)
    for text in "abc":
        wal.append(_note(text), 0)
    wal.close_segment()
    path = wal.segments[0].path
    whole = path.read_bytes()
    last = [found.offset for found in records.scan(whole, len(whole))][-1]
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        report = ReplayReport()
        assert _notes(_wal(tmp_path), report) == ["a", "b"]
        assert report.torn_bytes == cut - last
        assert report.damaged_bytes == 0


def test_a_flipped_byte_costs_only_its_own_record(tmp_path: Path) -> None:
    """Wherever a byte is wrong, records before and after are found, and the damage is told."""
    wal = _wal(tmp_path)
    for text in ("a", "b", "c", "d"):
        wal.append(_note(text), 0)
    wal.close_segment()
    path = wal.segments[0].path
    whole = path.read_bytes()
    offsets = [found.offset for found in records.scan(whole, len(whole))] + [len(whole)]
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        hit = max(n for n, offset in enumerate(offsets) if offset <= at)
        report = ReplayReport()
        try:
            found = _notes(_wal(tmp_path), report)
        except UnsupportedFormat:
            pytest.fail("damage was taken for a newer version")
        assert found == [text for n, text in enumerate("abcd", start=1) if n != hit]
        assert report.damaged_bytes + report.torn_bytes == offsets[hit + 1] - offsets[hit]
        assert len(report.messages) == 1 and path.name in report.messages[0]


@pytest.mark.parametrize("act", ["write", "fdatasync"])
@pytest.mark.parametrize("truncates", [True, False])
def test_a_failed_append_leaves_no_trace(tmp_path: Path, act: str, truncates: bool) -> None:
    """After a failed write or sync the record is not replayed, and later ones are."""
    files = FaultyFiles()
    wal = _wal(tmp_path, files)
    wal.append(_note("a"), 0)
    files.fails = lambda what: what == act or (what == "truncate" and not truncates)
    with pytest.raises(OSError, match="injected"):
        wal.append(_note("lost"), 0)
    files.fails = lambda what: False
    wal.append(_note("b"), 0)
    wal.append(_note("c"), 0)
    assert _notes(_wal(tmp_path)) == ["a", "b", "c"]
    assert len(wal.segments) == 2


def test_zeros_written_ahead_are_neither_records_nor_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies leaves them; one that closes the segment does not."""
    make_rooms(monkeypatch)
    wal = _wal(tmp_path)
    for text in "abc":
        wal.append(_note(text), 0)
    path, size_bytes = wal.segments[0].path, wal.size_bytes
    left = path.read_bytes()
    assert len(left) > size_bytes and not any(left[size_bytes:])
    report = ReplayReport()
    after = _wal(tmp_path)
    assert _notes(after, report) == ["a", "b", "c"]
    assert report.messages == [] and report.torn_bytes == report.damaged_bytes == 0
    after.append(_note("d"), 0)
    assert _notes(_wal(tmp_path)) == ["a", "b", "c", "d"]
    wal.close_segment()
    assert path.stat().st_size == size_bytes and not wal.segments[0].has_void


def test_what_is_torn_before_the_zeros_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros written ahead hide no part of a record."""
    make_rooms(monkeypatch)
    wal = _wal(tmp_path)
    for text in "ab":
        wal.append(_note(text), 0)
    path, size_bytes = wal.segments[0].path, wal.size_bytes
    whole = path.read_bytes()
    path.write_bytes(whole[: size_bytes - 8] + bytes(len(whole) - size_bytes + 8))
    report = ReplayReport()
    assert _notes(_wal(tmp_path), report) == ["a"]
    assert report.torn_bytes > len(whole) - size_bytes and len(report.messages) == 1


@pytest.mark.parametrize("act", ["write_zeros", "truncate"])
def test_zeros_that_cannot_be_written_or_cut_off_keep_nobody_from_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """The log is whole; that zeros stay behind the last record is counted as a failure."""
    make_rooms(monkeypatch)
    files = FaultyFiles()
    wal = _wal(tmp_path, files)
    files.fails = lambda what: what == act
    for text in "ab":
        wal.append(_note(text), 0)
    wal.close_segment()
    wal.append(_note("c"), 0)
    assert wal.failures == wal.segments[0].has_void == (act == "truncate")
    report = ReplayReport()
    assert _notes(_wal(tmp_path), report) == ["a", "b", "c"]
    assert report.messages == []


@pytest.mark.parametrize(("limit", "value"), [("_SMALL_BYTES", 1000), ("_ROOM_RECORDS", 8)])
def test_small_segments_and_large_records_have_no_zeros_written_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    """Thousands of organizations have thousands of small segments; large records save nothing."""
    make_rooms(monkeypatch)
    monkeypatch.setattr("tsdb.log.wal." + limit, value)
    wal = _wal(tmp_path)
    for text in "abc":
        wal.append(_note(text), 0)
    assert wal.segments[0].path.stat().st_size == wal.size_bytes


@pytest.mark.parametrize("act", ["create", "write", "fdatasync", "sync_directory"])
def test_a_segment_that_could_not_be_begun_leaves_no_trace(tmp_path: Path, act: str) -> None:
    """Not even where the failed file cannot be removed at once."""
    files = FaultyFiles()
    wal = _wal(tmp_path, files)
    wal.append(_note("a"), 0)
    wal.close_segment()
    files.fails = lambda what: what in (act, "unlink")
    for _ in range(2):
        with pytest.raises(OSError, match="injected"):
            wal.append(_note("lost"), 0)
    files.fails = lambda what: False
    wal.append(_note("b"), 0)
    assert _notes(_wal(tmp_path)) == ["a", "b"]
    assert [segment.number for segment in wal.segments] == [1, 2]


def test_segment_numbers_never_come_again(tmp_path: Path) -> None:
    """A new segment is above all that were, also where they have been deleted."""
    wal = _wal(tmp_path)
    wal.append(_note("a"), 0)
    wal.close_segment()
    wal.remove(wal.segments[0])
    wal.append(_note("b"), 0)
    assert [segment.number for segment in wal.segments] == [2]
    assert Wal(tmp_path / "wal", Files(), 1 << 20, last_number=7).last_number == 7


def _section(kind: int, flags: int) -> bytes:
    return struct.pack("<HHIQ", kind, flags, 0, 3) + b"xyz" + bytes(5)


def _record(payload: bytes, version: int = records.VERSION) -> bytes:
    crc = google_crc32c.value(payload)
    head = struct.pack("<4sHHIII", b"O11W", version, 0, len(payload), crc, 0)
    return head + struct.pack("<I", google_crc32c.value(head)) + payload


def _kinds(payload: bytes) -> Sequence[int]:
    return [section.kind for section in records.sections(payload)]


def test_unknown_sections_are_skipped_unless_required() -> None:
    """The flag of a section decides."""
    known = _section(records.METADATA, 0)
    assert _kinds(_section(77, 0) + known) == [records.METADATA]
    with pytest.raises(UnsupportedFormat, match="unknown required section 77"):
        _kinds(known + _section(77, 1))


def test_a_newer_version_is_refused_by_name() -> None:
    """Going on would lose what the newer program wrote."""
    data = _record(_section(records.METADATA, 0), records.VERSION + 1)
    with pytest.raises(UnsupportedFormat, match="version 2, this program reads up to 1"):
        list(records.scan(data, len(data)))


@examples(40)
@given(st.binary(max_size=200))
def test_any_bytes_can_be_scanned(noise: bytes) -> None:
    """Noise between records is damage, and the records are found behind it."""
    record = _record(_section(records.METADATA, 0))
    data = record + noise + record
    found = list(records.scan(data, len(data)))
    sound = [one for one in found if isinstance(one, Record)]
    damage = [one for one in found if isinstance(one, Damage)]
    assert [one.offset for one in sound] == [0, len(record) + len(noise)]
    assert sum(one.size_bytes for one in damage) == len(noise)


@pytest.mark.parametrize("window_bytes", [24, 100, 1 << 20])
def test_windows_find_what_a_whole_file_holds(tmp_path: Path, window_bytes: int) -> None:
    """However small they are, with damage of any size between records of any size."""
    texts = ["a", "b" * 300, "c", "d" * 70, "e"]
    parts = [records.encode_record(_note(text)) for text in texts]
    path = tmp_path / "segment"
    for noise in (b"", b"O11W" * 9, b"?" * 1000, parts[1][:-1]):
        data = noise.join(parts) + noise
        path.write_bytes(data + parts[0])
        whole = list(records.scan(data, len(data)))
        assert list(read_segment(path, Files(), len(data), window_bytes)) == whole
        assert sum(isinstance(one, Record) for one in whole) == len(texts)


def test_a_record_across_the_searched_pieces_is_found(tmp_path: Path) -> None:
    """Wherever its first bytes stand in relation to these."""
    record = records.encode_record(_note("a"))
    path = tmp_path / "segment"
    for size in range((1 << 16) - 9, (1 << 16) + 3):
        path.write_bytes(bytes(size) + record)
        damage, found = read_segment(path, Files(), size + len(record))
        assert damage == Damage(0, size, False)
        assert isinstance(found, Record) and found.offset == size


def test_replay_holds_a_window_and_a_record_in_memory(tmp_path: Path) -> None:
    """However long the log is."""
    wal = _wal(tmp_path, segment_bytes=1 << 30)
    for number in range(300):
        wal.append(_note(f"{number}" + "x" * 100_000), 0)
    (segment,) = wal.segments
    assert segment.size_bytes > 30e6
    wal.close_segment()
    (segment,) = (again := _wal(tmp_path)).segments
    tracemalloc.start()
    try:
        assert sum(1 for _ in again.replay(segment, ReplayReport())) == 301
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_a_replay_tells_how_far_it_is_and_can_be_stopped(tmp_path: Path) -> None:
    """Every byte of the log counts once, damage and what does not count included."""
    wal = _wal(tmp_path, segment_bytes=300)
    for text in "abcdefgh":
        wal.append(_note(text), 0)
    wal.close_segment()
    path = wal.segments[0].path
    path.write_bytes(path.read_bytes() + b"left of a failed write")
    again = _wal(tmp_path)
    seen: list[int] = []
    progress = ReplayProgress(lambda progress: seen.append(progress.percent))
    progress.total_bytes = again.size_bytes
    for segment in again.segments:
        assert list(again.replay(segment, ReplayReport(), progress))
    assert seen == sorted(seen) and seen[0] < 50 and seen[-1] == 100
    assert progress.done_bytes == progress.total_bytes
    progress.stop()
    with pytest.raises(ReplayStopped):
        list(again.replay(again.segments[0], ReplayReport(), progress))


def test_a_damaged_segment_goes_to_quarantine(tmp_path: Path) -> None:
    """Instead of being deleted; one with a torn tail, which nobody was promised, does not."""
    wal = _wal(tmp_path, segment_bytes=1)
    for text in "ab":
        wal.append(_note(text), 0)
    wal.close_segment()
    for segment in wal.segments:
        data = segment.path.read_bytes()
        segment.path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    again = _wal(tmp_path)
    for segment in tuple(again.segments):
        list(again.replay(segment, ReplayReport()))
        again.remove(segment)
    assert [path.name for path in (tmp_path / "quarantine").iterdir()] == ["0000000001.wal"]
    assert not any((tmp_path / "wal").iterdir())

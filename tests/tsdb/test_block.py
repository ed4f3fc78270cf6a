"""A block reads back what was written into it, or says where it is damaged."""

import gc
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.batch import STALE_NAN, STALE_NAN_BITS
from series.labels import Labels
from series.matcher import Matcher, MatchType
from series.ports import StorageError
from tests.examples import examples
from tests.tsdb.blocks import SEED, Data, QuietFiles, bits, block, fingerprints, rows_of, write
from tests.tsdb.contents import values
from tsdb.block import decode_kernels
from tsdb.block import format as block_format
from tsdb.block.block import Block
from tsdb.block.cache import BlockCache
from tsdb.block.format import DATA_HEADER, TRAILER, block_directory
from tsdb.block.index_copy import read_meta
from tsdb.versions import UnsupportedFormat
from tsdb.view.part import PartLost

_values = st.one_of(
    st.floats(width=64),
    st.integers(-1000, 1000).map(lambda n: n / 100),
    st.sampled_from([STALE_NAN, float("nan"), -0.0, 1.0]),
    values,
)
_samples = st.dictionaries(st.integers(-(2**62), 2**62), _values, min_size=1, max_size=12).map(
    lambda samples: sorted(samples.items())
)
_labels = st.dictionaries(
    st.sampled_from(["__name__", "job", "pod"]), st.sampled_from(["a", "b", "c"])
).map(Labels.of)
_data = st.dictionaries(_labels, _samples, min_size=1, max_size=20)


@pytest.fixture
def cache() -> BlockCache:
    return BlockCache(QuietFiles())


@examples(15)
@given(_data, st.data())
def test_reads_back_what_was_written(data: Data, draw: st.DataObject) -> None:
    """Any series in any order and any range: exactly the samples of the range."""
    with tempfile.TemporaryDirectory() as root:
        made = block(Path(root), 3, data, BlockCache(QuietFiles()))
        series = sorted(data)
        found = made.select(())
        assert found.frame.all_labels() == series and found.in_label_order
        assert (found.fingerprints == fingerprints(series)).all()
        times = sorted({time for samples in data.values() for time, _ in samples})
        assert (made.min_time_ms, made.max_time_ms) == (times[0], times[-1])
        start, end = draw.draw(st.sampled_from(times)), draw.draw(st.sampled_from(times))
        rows = draw.draw(st.lists(st.sampled_from(range(len(series)))))
        got = made.read(found.refs[np.array(rows, dtype=np.int64)], start, end)
        assert rows_of(got) == [bits(data[series[row]], start, end) for row in rows]


def _is_stale(content: object) -> bool:
    return content == STALE_NAN_BITS


@examples(25)
@given(_data, st.data())
def test_less_is_read_where_less_is_asked_for(data: Data, draw: st.DataObject) -> None:
    """The newest sample of the range alone; without values the times and what is stale."""
    with tempfile.TemporaryDirectory() as root:
        made = block(Path(root), 3, data, BlockCache(QuietFiles()))
        times = sorted({time for samples in data.values() for time, _ in samples})
        start, end = draw.draw(st.sampled_from(times)), draw.draw(st.sampled_from(times))
        rows = draw.draw(st.lists(st.sampled_from(range(len(data)))))
        refs = made.select(()).refs[np.array(rows, dtype=np.int64)]
        whole = rows_of(made.read(refs, start, end))
        newest = rows_of(made.read(refs, start, end, newest=True))
        assert [row[-1:] for row in newest] == [row[-1:] for row in whole]
        for wanted, is_newest in ((whole, False), (newest, True)):
            got = rows_of(made.read(refs, start, end, newest=is_newest, values=False))
            assert [[(time, _is_stale(held)) for time, held in row] for row in got] == [
                [(time, _is_stale(held)) for time, held in row] for row in wanted
            ]


def test_values_that_nobody_asks_for_are_not_decoded(tmp_path: Path, cache: BlockCache) -> None:
    """Of segments without stale markers not even the frame is read."""
    labels = [Labels.of({"__name__": name}) for name in ("a", "b")]
    data: Data = {labels[0]: _long(480), labels[1]: [*_long(479), (480 * 15_000, STALE_NAN)]}
    made = block(tmp_path, 1, data, cache)
    for ref, decoded in ((0, False), (1, True)):
        with mock.patch.object(
            decode_kernels, "decode_values", wraps=decode_kernels.decode_values
        ) as decode:
            read = made.read(np.array([ref]), 0, 2**62, values=False)
        frames = sum(len(call.args[2]) - 1 for call in decode.call_args_list)
        assert read.sample_count == 480 and bool(frames) == decoded


def _long(count: int, start: int = 0) -> list[tuple[int, float]]:
    return [(start + 15_000 * i, i / 10) for i in range(count)]


@pytest.mark.parametrize("counts", [[480, 540, 541, 1], [2000, 1999, 960, 961], [1500] * 40])
def test_rows_of_several_segments(tmp_path: Path, cache: BlockCache, counts: list[int]) -> None:
    """Series longer than a segment are cut and come back whole, and in every part."""
    data: Data = {
        Labels.of({"__name__": "m", "i": f"{i:03}"}): _long(count) for i, count in enumerate(counts)
    }
    made = block(tmp_path, 1, data, cache)
    refs = np.arange(len(counts))
    for start, end in ((0, 2**62), (7_000_000, 7_300_000), (7_200_000, 7_200_000), (5, 3)):
        got = rows_of(made.read(refs, start, end))
        assert got == [bits(samples, start, end) for samples in data.values()]


def test_missing_frames_are_loaded_among_those_that_are_there(
    tmp_path: Path, cache: BlockCache
) -> None:
    """Whichever were read before, all samples come back, and no frame is loaded twice."""
    data: Data = {Labels.of({"__name__": "m", "i": f"{i:03}"}): _long(50, i) for i in range(100)}
    made = block(tmp_path, 1, data, cache)
    for refs in ([40, 41], [99, 3], list(range(60)), list(range(100))):
        got = rows_of(made.read(np.array(refs), 0, 2**62))
        assert got == [bits(list(data.values())[ref]) for ref in refs]
    frames = made.frame_source().index.frame_offsets
    assert cache.frames.misses == len(frames) - 1


def test_rows_scraped_together_share_their_times(tmp_path: Path, cache: BlockCache) -> None:
    """Sharing survives writing and reading, over segments too; the block stores the times once."""
    data: Data = {
        Labels.of({"__name__": "m", "i": f"{i:03}"}): _long(1000, i % 2) for i in range(60)
    }
    made = block(tmp_path, 1, data, cache)
    got = made.read(np.arange(60), 100_000, 2**62)
    assert len(set(got.time_starts.tolist())) == 2
    assert len(got.times_ms) <= 2 * 1000
    assert made.meta.data_bytes < 60 * 400


def test_a_row_that_began_later_shares_the_times_it_has(tmp_path: Path, cache: BlockCache) -> None:
    """Where the columns of the range are the same, though not those of the whole rows."""
    data: Data = {
        Labels.of({"__name__": "m", "i": "0"}): _long(1440),
        Labels.of({"__name__": "m", "i": "1"}): _long(1440)[480:],
        Labels.of({"__name__": "m", "i": "2"}): _long(1440)[960:],
    }
    made = block(tmp_path, 1, data, cache)
    got = made.read(np.arange(3), 1000 * 15_000, 1100 * 15_000)
    assert len(set(got.time_starts.tolist())) == 1
    assert rows_of(got) == [bits(one, 15_000_000, 16_500_000) for one in data.values()]


def test_an_estimate_follows_the_range(tmp_path: Path, cache: BlockCache) -> None:
    """The estimate is near the count, and nothing outside of the block's time."""
    made = block(tmp_path, 1, {Labels.of({"a": "b"}): _long(480)}, cache)
    refs = np.arange(1)
    samples = made.samples_of(refs)
    assert samples == 480
    assert 470 <= made.estimated_samples(samples, 0, 2**60) <= 490
    assert 230 <= made.estimated_samples(samples, 0, 240 * 15_000) <= 250
    assert made.estimated_samples(samples, 2**60, 2**61) == 0


def test_label_names_and_values(tmp_path: Path, cache: BlockCache) -> None:
    """Names and values of all series, or of those that match."""
    data: Data = {
        Labels.of({"__name__": "m", "job": "a"}): _long(1),
        Labels.of({"__name__": "n", "pod": "x"}): _long(1),
    }
    made = block(tmp_path, 1, data, cache)
    only_n = (Matcher(MatchType.EQUAL, "__name__", "n"),)
    assert sorted(made.label_names(())) == ["__name__", "job", "pod"]
    assert sorted(made.label_names(only_n)) == ["__name__", "pod"]
    assert sorted(made.label_values("__name__", ())) == ["m", "n"]
    assert made.label_values("job", only_n) == []


_STEPS = [5, pytest.param(1, marks=pytest.mark.long)]
"""Every fifth byte is damaged, or every one."""


def _three_by_five() -> Data:
    return {
        Labels.of({"__name__": "m", "i": str(i)}): [(t, t / 7) for t in range(i, i + 5)]
        for i in range(3)
    }


@pytest.mark.parametrize("step", _STEPS)
def test_every_damaged_byte_of_the_index_is_noticed(tmp_path: Path, step: int) -> None:
    """One byte changed anywhere, or the last one gone: noted, and all is read by the copy."""
    data = _three_by_five()
    wanted = [bits(samples) for _, samples in sorted(data.items())]
    meta = write(tmp_path, 1, data, BlockCache(QuietFiles()))
    directory = block_directory(tmp_path, 1)
    path = directory / "index"
    good = path.read_bytes()
    for damaged in [*(_flipped(good, at) for at in range(0, len(good), step)), good[:-1], None]:
        path.unlink() if damaged is None else path.write_bytes(damaged)
        cache = BlockCache(QuietFiles())
        made = Block(directory, meta, cache)
        assert rows_of(made.read(np.arange(3), 0, 100)) == wanted
        assert made.damage_texts() == [made.index_damage]
        assert made.index_damage.startswith(f"{path} is damaged at offset ")
        assert cache.notes.counts["index"] == 1
        assert made.damage(np.arange(3)) == []


@pytest.mark.parametrize("step", _STEPS)
def test_every_damaged_byte_of_the_copy_is_noticed_when_it_is_needed(
    tmp_path: Path, step: int
) -> None:
    """With the index damaged too, the block is lost, and every call says so naming the file."""
    meta = write(tmp_path, 1, _three_by_five(), BlockCache(QuietFiles()))
    directory = block_directory(tmp_path, 1)
    (directory / "index").write_bytes(b"O11Y")
    path = directory / "data"
    good = path.read_bytes()
    copy_at = len(good) - TRAILER.size - meta.index_bytes
    for at in range(copy_at, len(good), step):
        path.write_bytes(_flipped(good, at))
        made = Block(directory, meta, BlockCache(QuietFiles()))
        for _ in range(2):
            with pytest.raises(PartLost, match=f"{directory / 'index'} is damaged at offset 0"):
                made.read(np.arange(3), 0, 100)


def test_a_damaged_index_is_written_anew(tmp_path: Path, cache: BlockCache) -> None:
    """From its copy, byte for byte; where there is none the damage stays as it was."""
    made = block(tmp_path, 1, _three_by_five(), cache)
    path = made.directory / "index"
    good = path.read_bytes()
    (made.directory / "index.tmp").write_bytes(b"left by a crash")
    path.write_bytes(_flipped(good, 99))
    assert len(made.select(()).refs) == 3
    assert made.index_damage
    made.rewrite_index()
    assert path.read_bytes() == good
    assert made.damage_texts() == []
    assert sorted(entry.name for entry in made.directory.iterdir()) == ["data", "index"]
    made._data.write_bytes(b"O11YDATA")
    with pytest.raises(StorageError, match=f"{made._data} is damaged"):
        made.rewrite_index()
    assert path.read_bytes() == good


def test_a_block_says_of_itself_what_it_is(tmp_path: Path, cache: BlockCache) -> None:
    """Without a manifest: from the index, or from its copy."""
    meta = write(tmp_path, 1, _three_by_five(), cache, late=True)
    directory = block_directory(tmp_path, 1)
    assert read_meta(cache.files, directory) == (meta, SEED)
    (directory / "index").unlink()
    assert read_meta(cache.files, directory) == (meta, SEED)


def test_files_of_another_block_are_not_read(tmp_path: Path, cache: BlockCache) -> None:
    """An index or data that stand where others belong: the block is lost."""
    metas = [write(tmp_path, sequence, _three_by_five(), cache) for sequence in (1, 2)]
    directories = [block_directory(tmp_path, meta.sequence) for meta in metas]
    (directories[1] / "data").write_bytes((directories[0] / "data").read_bytes())
    made = Block(directories[1], metas[1], cache)
    with pytest.raises(PartLost, match="data of block 1 stands where 2 belongs"):
        made.select(())
    (directories[0] / "data").unlink()
    made = Block(directories[0], metas[0], cache)
    with pytest.raises(PartLost, match=r"data is damaged at offset 0: the file is missing"):
        made.select(())
    (directories[1] / "index").write_bytes((directories[0] / "index").read_bytes())
    made = Block(directories[1], metas[1], cache)
    with pytest.raises(PartLost, match="index of block 1 stands where 2 belongs"):
        made.select(())
    assert made.damage_texts()[0].startswith(str(directories[1] / "index"))


@pytest.mark.parametrize("step", _STEPS)
def test_every_damaged_byte_of_the_data_is_noticed(tmp_path: Path, step: int) -> None:
    """One byte changed anywhere in header or frames: what is read is right, the rest is told."""
    data = _three_by_five()
    wanted = [bits(samples) for _, samples in sorted(data.items())]
    meta = write(tmp_path, 1, data, BlockCache(QuietFiles()))
    directory = block_directory(tmp_path, 1)
    path = directory / "data"
    good = path.read_bytes()
    frames_end = len(good) - TRAILER.size - meta.index_bytes
    for at in [*range(0, frames_end, step), frames_end]:
        path.write_bytes(_flipped(good, at) if at < frames_end else good[: frames_end - 1])
        cache = BlockCache(QuietFiles())
        made = Block(directory, meta, cache)
        found = rows_of(made.read(np.arange(3), 0, 100))
        if at < DATA_HEADER.size:
            assert found == wanted
            assert cache.notes.counts["index"] == 1
            continue
        assert all(row in (whole, []) for row, whole in zip(found, wanted, strict=True))
        assert found != wanted
        assert made.damaged_frames == cache.notes.counts["frame"] == 1
        (text,) = made.damage(np.arange(3))
        assert made.damage_texts() == [text]
        assert text.startswith(f"{path} is damaged at offset ")


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("version", "text"), [(3, "version 3 is newer than this program knows"), (1, "1 is unknown")]
)
def test_another_version_is_refused(tmp_path: Path, version: int, text: str) -> None:
    """Index and data of other format versions are refused by their version; nothing is noted."""
    with mock.patch.object(block_format, "BLOCK_VERSION", version):
        meta = write(tmp_path, 1, {Labels.of({"a": "b"}): [(1, 1.0)]}, BlockCache(QuietFiles()))
    directory = block_directory(tmp_path, 1)
    cache = BlockCache(QuietFiles())
    for name in ("index", "data"):
        with pytest.raises(UnsupportedFormat, match=f"{directory / name}: .*{text}"):
            Block(directory, meta, cache).select(())
        write(tmp_path / "known", 1, {Labels.of({"a": "b"}): [(1, 1.0)]}, cache)
        (directory / "index").write_bytes((tmp_path / "known/0000000001/index").read_bytes())
        files = cache.files
        files.remove_tree(tmp_path / "known")
    assert not any(cache.notes.counts.values())


def test_files_go_when_the_last_reader_has(tmp_path: Path, cache: BlockCache) -> None:
    """A block that is dropped stays readable for who holds it; then its files are removed."""
    made = block(tmp_path, 1, {Labels.of({"a": "b"}): [(1, 1.0)]}, cache)
    made.remove_when_unused()
    assert rows_of(made.read(np.arange(1), 0, 10)) == [bits([(1, 1.0)])]
    directory = made.directory
    cache.sweep()
    assert directory.exists()
    del made
    gc.collect()
    cache.sweep()
    assert not directory.exists()
    assert cache.open_files == 0


def test_the_cache_keeps_within_its_bounds(tmp_path: Path) -> None:
    """Frames and descriptors are let go by last use, and reading goes on."""
    cache = BlockCache(QuietFiles(), frame_bytes=2000, open_files=2)
    data: Data = {
        Labels.of({"__name__": f"m{i}", "i": str(j)}): [(t, t / 7 + j) for t in range(20)]
        for i in range(4)
        for j in range(16)
    }
    blocks = [block(tmp_path, sequence, data, cache) for sequence in range(1, 6)]
    for made in blocks + blocks:
        assert len(rows_of(made.read(np.arange(64), 0, 100))) == 64
        assert cache.frames.size_bytes <= 2000
        assert cache.open_files <= 2
    cache.close()
    assert cache.open_files == cache.frames.size_bytes == 0


def test_what_crashed_aside_does_not_stand_in_the_way(tmp_path: Path, cache: BlockCache) -> None:
    """Leftovers of a seal that was interrupted are replaced by the next one."""
    aside = block_directory(tmp_path, 1).with_suffix(".tmp")
    aside.mkdir()
    (aside / "data").write_bytes(b"half")
    made = block(tmp_path, 1, {Labels.of({"a": "b"}): [(1, 1.0)]}, cache)
    assert rows_of(made.read(np.arange(1), 0, 10)) == [bits([(1, 1.0)])]
    assert not aside.exists()


@pytest.mark.parametrize(
    "failing", ["create", "write", "fdatasync", "rename", "sync_directory", "mkdir"]
)
def test_a_failing_disk_leaves_no_block(tmp_path: Path, failing: str) -> None:
    """Whatever step fails, the error shows, and the block can be written again."""
    data: Data = {Labels.of({"a": "b"}): [(1, 1.0)]}
    cache = BlockCache(QuietFiles())
    with (
        mock.patch.object(cache.files, failing, side_effect=OSError("disk")),
        pytest.raises(OSError, match="disk"),
    ):
        write(tmp_path, 1, data, cache)
    if failing != "sync_directory":
        assert not block_directory(tmp_path, 1).exists()
    made = block(tmp_path, 2, data, cache)
    assert rows_of(made.read(np.arange(1), 0, 10)) == [bits([(1, 1.0)])]


def test_a_damaged_frame_does_not_hide_the_others(tmp_path: Path, cache: BlockCache) -> None:
    """What it held is left out and told by file and offset; a second read says so again."""
    data: Data = {
        Labels.of({"__name__": name, "i": str(i)}): _long(30) for name in "ab" for i in range(16)
    }
    made = block(tmp_path, 1, data, cache)
    path = made.directory / "data"
    content = bytearray(path.read_bytes())
    content[made._loaded().frame_offsets[2] - 1] ^= 1
    path.write_bytes(bytes(content))
    whole = bits(_long(30))
    for _ in range(2):
        assert rows_of(made.read(np.arange(32), 0, 2**62)) == [whole] * 16 + [[]] * 16
        assert made.damage(np.arange(16)) == []
        (text,) = made.damage(np.arange(17))
        assert re.match(rf"{path} is damaged at offset \d+: checksum mismatch", text)
        assert made.damaged_frames == 1
        cache.indexes.clear()
    assert 475 <= made.estimated_samples(made.samples_of(np.arange(32)), 0, 2**62) <= 485


def test_indexes_are_held_within_their_bounds(tmp_path: Path) -> None:
    """An index that had to go is read again when it is needed."""
    data: Data = {Labels.of({"i": str(i)}): _long(3) for i in range(50)}
    cache = BlockCache(QuietFiles(), index_bytes=12_000)
    blocks = [block(tmp_path, sequence, data, cache) for sequence in range(1, 5)]
    for made in blocks + blocks:
        assert len(made.select(()).refs) == 50
        assert 0 < made.index_bytes <= cache.indexes.size_bytes <= 12_000
    assert blocks[0].index_bytes == 0


def test_threads_read_one_block_at_once(tmp_path: Path) -> None:
    """Concurrent reads through a cache that is too small for them all agree."""
    data: Data = {
        Labels.of({"__name__": f"m{i // 16}", "i": f"{i:03}"}): _long(600, i) for i in range(96)
    }
    made = block(tmp_path, 1, data, BlockCache(QuietFiles(), frame_bytes=20_000, open_files=1))
    wanted = [bits(samples) for samples in data.values()]

    def read(first: int) -> bool:
        rows = np.arange(first, 96)
        return rows_of(made.read(made.select(()).refs[rows], 0, 2**62)) == wanted[first:]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, [*range(0, 96, 7)] * 3))

"""A block is what its rows make it, however they arrive; what is not finished is not there."""

import itertools
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.histogram import Histogram
from series.labels import Labels
from tests.examples import examples
from tests.tsdb.blocks import (
    SEED,
    Data,
    QuietFiles,
    batch_of,
    bits,
    rows_of,
)
from tests.tsdb.contents import Started, Value, values
from tsdb.block.block import Block
from tsdb.block.cache import BlockCache
from tsdb.block.contents import Contents
from tsdb.block.format import BlockMeta, block_directory
from tsdb.block.layout import group_ends, lay_out
from tsdb.block.writer import BlockWriter


def _written(root: Path, data: Data, cuts: list[int]) -> tuple[BlockMeta, bytes, bytes]:
    """The block of *data* from calls that end after the rows *cuts*; its meta and both files."""
    writer = BlockWriter(root, 5, late=False, seed=SEED, sources=(3, 4), rank=3, files=QuietFiles())
    rows = sorted(data.items())
    for first, end in itertools.pairwise([0, *cuts, len(rows)]):
        part = dict(rows[first:end])
        writer.add(batch_of(part))
    meta = writer.finish()
    directory = block_directory(root, 5)
    return meta, (directory / "index").read_bytes(), (directory / "data").read_bytes()


def _rich() -> Data:
    """Rows of many shapes: several segments, shared and own times, histograms, start times."""
    data: dict[Labels, list[tuple[int, Value]]] = {}
    for metric, rows in enumerate((3, 40, 9, 1, 25, 8, 7)):
        for row in range(rows):
            count = (metric * 331 + row * 97) % 1500 + 1
            start = row % 3 if metric % 2 else row // 4
            plain = [(start + 15_000 * i, float((i * 7 + row) % 50)) for i in range(count)]
            samples: list[tuple[int, Value]] = [*plain]
            if metric == 2:
                samples = [
                    (
                        time,
                        Histogram(count=float(i), sum=1.0, buckets=((5, 1.0 + i), (9 + row, 2.0))),
                    )
                    for i, (time, _) in enumerate(plain)
                ]
            if metric == 4:
                samples = [(time, Started(value, time - 5)) for time, value in plain]
            data[Labels.of({"__name__": f"m{metric}", "i": f"{row:03}"})] = samples
    return data


@pytest.mark.parametrize(
    "cuts", [[10, 20, 30, 40, 60, 70], [1, 2, 3, 43, 44, 52], list(range(1, 93)), [92], [0, 50, 50]]
)
def test_the_calls_that_bring_the_rows_leave_no_trace(tmp_path: Path, cuts: list[int]) -> None:
    """The same rows in one call or in many: the same bytes, and all of it is read back."""
    data = _rich()
    assert _written(tmp_path / "a", data, cuts) == _written(tmp_path / "b", data, [])
    meta, _, _ = _written(tmp_path / "c", data, cuts)
    made = Block(block_directory(tmp_path / "c", 5), meta, BlockCache(QuietFiles()))
    wanted = [bits(samples) for _, samples in sorted(data.items())]
    assert rows_of(made.read(np.arange(len(data)), -(2**62), 2**62)) == wanted


_labels = st.dictionaries(st.sampled_from(["__name__", "a", "b"]), st.sampled_from("abcdef")).map(
    Labels.of
)
_samples = st.dictionaries(st.integers(0, 5), values, min_size=1).map(
    lambda samples: sorted(samples.items())
)


@examples(40)
@given(st.dictionaries(_labels, _samples, min_size=1, max_size=60), st.data())
def test_any_calls_make_the_same_block(data: Data, draw: st.DataObject) -> None:
    """Whatever the rows hold and wherever the calls end."""
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    with tempfile.TemporaryDirectory() as root:
        one = _written(Path(root) / "a", data, [])
        assert _written(Path(root) / "b", data, cuts) == one


def test_the_meta_says_where_a_block_comes_from(tmp_path: Path) -> None:
    """Rank and sources are those given; the sizes are those of the files."""
    data: Data = {Labels.of({"a": "b"}): [(3, 1.0), (9, 2.0)]}
    meta, index, content = _written(tmp_path, data, [])
    assert meta == BlockMeta(
        sequence=5,
        min_time_ms=3,
        max_time_ms=9,
        series=1,
        samples=2,
        index_bytes=len(index),
        data_bytes=len(content),
        late=False,
        rank=3,
        sources=(3, 4),
    )


def test_by_default_the_rank_is_the_sequence(tmp_path: Path) -> None:
    """As of a block that comes from the head."""
    writer = BlockWriter(tmp_path, 7, late=True, seed=SEED, files=QuietFiles())
    data: Data = {Labels.of({"a": "b"}): [(3, 1.0)]}
    writer.add(batch_of(data))
    meta = writer.finish()
    assert (meta.rank, meta.sources, meta.late) == (7, (), True)


def test_what_is_abandoned_is_gone(tmp_path: Path) -> None:
    """Before the block was finished and after; nothing stays open."""
    data = _rich()
    for finished in (False, True):
        writer = BlockWriter(tmp_path, 7, late=False, seed=SEED, files=QuietFiles())
        writer.add(batch_of(data))
        if finished:
            writer.finish()
        writer.abandon()
        assert list(tmp_path.iterdir()) == []


def test_a_block_without_rows_is_refused(tmp_path: Path) -> None:
    """There is nothing to write; no directory appears."""
    writer = BlockWriter(tmp_path, 7, late=False, seed=SEED, files=QuietFiles())
    with pytest.raises(ValueError, match="a block needs a sample"):
        writer.finish()
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_lets_go_of_what_it_has_written(tmp_path: Path) -> None:
    """Between calls it holds the rows of an unfinished group and times not written yet."""
    writer = BlockWriter(tmp_path, 7, late=False, seed=SEED, files=QuietFiles())
    for call in range(20):
        data: Data = {
            Labels.of({"__name__": "m", "i": f"{100 * call + row:05}"}): [
                (call + 15_000 * i, Started(float(i), 1)) for i in range(50)
            ]
            for row in range(100)
        }
        writer.add(batch_of(data))
        held = sum(rows.size for rows in writer._open_rows)
        assert held < 16
        assert len(writer._times._waiting) < 16
        assert writer._entries._entries.size <= 50 * held + 8192
    writer.finish()


def _slow_layout(row_segments: list[int], group_rows: list[int]) -> list[list[tuple[int, int]]]:
    frames: list[list[tuple[int, int]]] = []
    first = 0
    for rows in group_rows:
        own = range(first, first + rows)
        frames += [
            [(row, k) for row in own if row_segments[row] > k]
            for k in range(max(row_segments[row] for row in own))
        ]
        first += rows
    return frames


@examples(50)
@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=5), min_size=1, max_size=6))
def test_frames_hold_the_kth_segments_of_a_group(groups: list[list[int]]) -> None:
    """As told in plain words by a slow twin."""
    segments = [count for group in groups for count in group]
    layout = lay_out(np.array(segments), np.array([len(group) for group in groups]))
    names = [(row, k) for row, count in enumerate(segments) for k in range(count)]
    found = [
        [names[at] for at in layout.order[first:end].tolist()]
        for first, end in itertools.pairwise(layout.bounds.tolist())
    ]
    assert found == _slow_layout(segments, [len(group) for group in groups])


@examples(50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=9))
def test_groups_end_with_16_rows_or_their_metric(stretches: list[tuple[int, int]]) -> None:
    """Row by row: a group is closed by its 16th row, or from the 8th on by another metric."""
    metrics = [metric for metric, count in stretches for _ in range(count)]
    ends, begin = [], 0
    for row in range(1, len(metrics) + 1):
        if row - begin == 16 or (
            row - begin >= 8 and row < len(metrics) and metrics[row] != metrics[row - 1]
        ):
            ends.append(row)
            begin = row
    assert group_ends(np.array(metrics)) == ends


@examples(50)
@given(st.lists(st.lists(st.lists(st.integers(0, 2), max_size=4), max_size=200), max_size=4))
def test_contents_are_numbered_by_what_they_hold(calls: list[list[list[int]]]) -> None:
    """Over several calls, in the order of first appearance; a short one is no longer one's part."""
    contents = Contents(SEED)
    known: dict[tuple[int, ...], int] = {}
    for stretches in calls:
        counts = np.array([len(stretch) for stretch in stretches], dtype=np.int64)
        numbers = np.array([n for stretch in stretches for n in stretch], dtype=np.int64)
        before = len(known)
        wanted = [known.setdefault(tuple(stretch), len(known)) for stretch in stretches]
        found = contents.number(numbers, np.cumsum(counts) - counts, counts)
        assert found.ids.tolist() == wanted
        assert [wanted[k] for k in found.firsts.tolist()] == list(range(before, len(known)))
        assert contents.count == len(known)


def test_a_table_of_contents_grows(tmp_path: Path) -> None:
    """Beyond its first size every stretch keeps its number."""
    numbers = np.arange(5000)
    contents = Contents(SEED)
    for _ in range(2):
        found = contents.number(numbers, numbers, np.ones(5000, dtype=np.int64))
        assert (found.ids == numbers).all()


@pytest.mark.parametrize("failing", ["write", "fdatasync", "rename", "sync_directory"])
def test_a_disk_that_fails_late_leaves_what_abandon_removes(tmp_path: Path, failing: str) -> None:
    """The error shows; then nothing is left."""
    files = QuietFiles()
    data: Data = {Labels.of({"a": "b"}): [(1, 1.0)]}
    writer = BlockWriter(tmp_path, 1, late=False, seed=SEED, files=files)
    writer.add(batch_of(data))
    with (
        mock.patch.object(files, failing, side_effect=OSError("disk")),
        pytest.raises(OSError, match="disk"),
    ):
        writer.finish()
    writer.abandon()
    assert list(tmp_path.iterdir()) == []

"""Groups that a merge takes over hold what their sources held, and only such are taken over."""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.batch import STALE_NAN, STALE_NAN_BITS
from series.labels import Labels
from series.matcher import Matcher, MatchType
from tests.examples import examples
from tests.tsdb.blocks import SEED, QuietFiles, block
from tests.tsdb.contents import Content, Started, Value, content, contents
from tests.tsdb.damaged import flip
from tests.tsdb.independent_reader import columns, read_block
from tests.tsdb.test_histograms import histogram
from tsdb.block import layout
from tsdb.block.block import Block
from tsdb.block.cache import BlockCache
from tsdb.block.check import check_block
from tsdb.block.format import Section, block_directory, unpack_index
from tsdb.block.layout import FinishedGroups
from tsdb.block.writer import BlockWriter
from tsdb.damage import Finding
from tsdb.deletion import Deletion
from tsdb.upkeep import merge_copy
from tsdb.upkeep.merge_rows import MergedRows, Source
from tsdb.view.undeleted import Undeleted

_RANGE_MS = 100_000
_SCRAPES = 12
_FOREVER_MS = 2**62
_Data = dict[Labels, list[tuple[int, Value]]]
_Bits = dict[Labels, dict[int, Content]]


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four samples, the last of up to five; the shortest stretch is taken over."""
    monkeypatch.setattr(layout, "SEGMENT_SAMPLES", 4)
    monkeypatch.setattr(layout, "SEGMENT_REST_SAMPLES", 1)
    monkeypatch.setattr(merge_copy, "MIN_ROWS", 1)


def _labels(metric: int, series: int) -> Labels:
    return Labels.of({"__name__": f"metric_{metric}", "series": f"{series:03}"})


def _fleet(window: int, metrics: Sequence[int] = (32, 9, 3, 20)) -> _Data:
    """Series of some metrics, scraped together at twelve instants of the window."""
    times = [window * _RANGE_MS + 7_000 * k for k in range(_SCRAPES)]
    return {
        _labels(metric, series): [
            (time, STALE_NAN if (k + series) % 11 == 10 else window * 12 + k * (series + 0.5))
            for k, time in enumerate(times)
        ]
        for metric, count in enumerate(metrics)
        for series in range(count)
    }


class _Place:
    """Blocks, written one by one and merged."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache = BlockCache(QuietFiles())
        self.blocks: list[Block] = []
        self.deletions: list[Deletion] = []
        self.data: list[_Data] = []
        self.merges = 0

    def add(self, data: _Data) -> None:
        self.data.append(data)
        self.blocks.append(block(self.root, len(self.data), data, self.cache))

    def merge(self, start_ms: int = -_FOREVER_MS) -> tuple[Block, int]:
        """The merged block, and how many of its rows were taken over."""
        rows = MergedRows([self._source(one) for one in self.blocks])
        for _ in rows.unify():
            pass
        self.merges += 1
        sequence = 90 + self.merges
        writer = BlockWriter(self.root, sequence, late=False, seed=SEED, files=QuietFiles())
        taken_over = 0
        for slab in rows.slabs(start_ms, _FOREVER_MS):
            if isinstance(slab, FinishedGroups):
                writer.add_finished(slab)
                taken_over += slab.rows.series_count
            else:
                writer.add(slab)
        return Block(block_directory(self.root, sequence), writer.finish(), self.cache), taken_over

    def _source(self, one: Block) -> Source:
        deletions = tuple(deletion for deletion in self.deletions if deletion.hits(one))
        part = Undeleted(one, deletions, self.cache.indexes) if deletions else one
        return Source(one, part)

    def expected(self, start_ms: int = -_FOREVER_MS) -> _Bits:
        found: _Bits = {}
        for data in self.data:
            for labels, samples in data.items():
                for time_ms, value in samples:
                    gone = any(
                        one.start_ms <= time_ms <= one.end_ms and labels.get("series") == series
                        for one in self.deletions
                        for _, _, series in one.matchers
                    )
                    if time_ms >= start_ms and not gone:
                        found.setdefault(labels, {}).setdefault(time_ms, content(value))
        return found

    def check(self, merged: Block, start_ms: int = -_FOREVER_MS) -> None:
        read = _read(merged)
        assert read == self.expected(start_ms)
        without_values = _read(merged, values=False)
        assert {one: _stale_times(row) for one, row in without_values.items()} == {
            one: _stale_times(row) for one, row in read.items()
        }
        assert _is_sound(merged)


@pytest.fixture
def place(tmp_path: Path) -> _Place:
    return _Place(tmp_path)


def _is_sound(one: Block) -> bool:
    steps = check_block(one.directory, one.sequence, QuietFiles())
    return not any(isinstance(step, Finding) for step in steps)


def _frames(one: Block) -> bytes:
    return (one.directory / "data").read_bytes()[24 : -24 - one.meta.index_bytes]


def _stale_times(row: dict[int, Content]) -> tuple[list[int], list[int]]:
    """All times, and those of stale markers."""
    return list(row), [time_ms for time_ms, held in row.items() if held == STALE_NAN_BITS]


def _read(one: Block, *, values: bool = True) -> _Bits:
    rows = one.select(())
    batch = one.read(rows.refs, -_FOREVER_MS, _FOREVER_MS, values=values)
    batch.check(rising=True)
    return {labels: contents(batch, row) for row, labels in enumerate(rows.frame.all_labels())}


def _delete(series: int, start_ms: int, end_ms: int) -> Deletion:
    matcher = Matcher(MatchType.EQUAL, "series", f"{series:03}")
    return Deletion.of((matcher,), start_ms, end_ms, 50)


def _flags(one: Block) -> list[int]:
    sections = unpack_index((one.directory / "index").read_bytes(), one.sequence)
    flags: list[int] = columns(sections[Section.SEGMENTS], "nnnn")[3]
    return flags


def test_blocks_that_follow_each_other_are_taken_over_whole(
    place: _Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each group of each metric; what is written is what decoding would have written."""
    for window in range(3):
        place.add(_fleet(window))
    merged, taken_over = place.merge()
    assert taken_over == 64
    place.check(merged)
    found = read_block(merged.directory)
    assert {Labels.of(dict(labels)): own for labels, own in found.items()} == place.expected()
    monkeypatch.setattr(merge_copy, "MIN_ROWS", 65)
    decoded, taken_over = place.merge()
    assert taken_over == 0
    assert (_frames(decoded), _flags(decoded)) == (_frames(merged), _flags(merged))


def test_a_gap_between_blocks_and_a_series_of_one_block_are_no_hindrance(place: _Place) -> None:
    """A metric that only one block has is taken over, too."""
    place.add(_fleet(5, [32, 9, 8]))
    place.add(_fleet(1, [32, 9, 8, 24]))
    merged, taken_over = place.merge()
    assert taken_over == 73
    place.check(merged)


def test_a_group_that_lacks_a_series_somewhere_is_decoded(place: _Place) -> None:
    """With the groups behind it up to the end of the metric; the others are taken over."""
    for window in range(3):
        data = _fleet(window)
        if window == 1:
            del data[_labels(0, 20)]
        place.add(data)
    merged, taken_over = place.merge()
    assert taken_over == 64 - 16
    place.check(merged)


@pytest.mark.parametrize(
    "value", [Started(2.5, 1000), histogram(3)], ids=["start time", "histogram"]
)
def test_a_group_with_entries_is_decoded(place: _Place, value: Value) -> None:
    """Their tickets count through the block, so those of a source mean nothing in another one."""
    for window in range(2):
        data = _fleet(window)
        data[_labels(0, 3)][5] = (data[_labels(0, 3)][5][0], value)
        place.add(data)
    merged, taken_over = place.merge()
    assert taken_over == 64 - 16
    place.check(merged)


def test_what_a_deletion_hits_is_decoded(place: _Place) -> None:
    """One series of the first metrics each, in part."""
    for window in range(2):
        place.add(_fleet(window))
    place.deletions.append(_delete(25, 3_000, 40_000))
    merged, taken_over = place.merge()
    assert taken_over == 64 - 16
    place.check(merged)


def test_late_samples_are_merged_into_their_group_only(place: _Place) -> None:
    """The other groups of the blocks that they overlap are taken over."""
    for window in range(2):
        place.add(_fleet(window))
    place.add({_labels(3, 2): [(1_000, -1.0), (7_000, -2.0), (150_000, -3.0)]})
    merged, taken_over = place.merge()
    assert taken_over == 64 - 16
    place.check(merged)


def test_what_the_retention_has_passed_is_left_out(place: _Place) -> None:
    """Then a source that is cut is decoded as a whole."""
    for window in range(2):
        place.add(_fleet(window))
    merged, taken_over = place.merge(start_ms=20_000)
    assert taken_over == 0
    place.check(merged, start_ms=20_000)


def test_short_segments_are_put_together(place: _Place) -> None:
    """Two samples a block, of four blocks, become one segment."""
    for window in range(4):
        place.add({labels: samples[:2] for labels, samples in _fleet(window).items()})
    merged, taken_over = place.merge()
    assert taken_over == 0
    place.check(merged)
    assert len(_flags(merged)) == 2 * 64


def test_rows_of_one_segment_more_than_others_come_last_or_are_decoded(place: _Place) -> None:
    """The k-th segments of a group make a frame, whichever block they come from."""
    for window in range(2):
        data = _fleet(window)
        for series in (0, 7):
            long = _labels(0, series)
            data[long] += [(data[long][-1][0] + k, 0.5) for k in range(1, 5)]
        place.add(data)
    merged, taken_over = place.merge()
    assert taken_over == 64 - 16
    place.check(merged)
    place.blocks[0], place.data[0] = block(place.root, 3, _fleet(0), place.cache), _fleet(0)
    merged, taken_over = place.merge()
    assert taken_over == 64
    place.check(merged)


def test_flags_are_taken_over(place: _Place) -> None:
    """Constants and stale markers are told as in the sources."""
    sources = []
    for window in range(2):
        data = _fleet(window, [16])
        data[_labels(0, 4)] = [(time_ms, 1.0) for time_ms, _ in data[_labels(0, 4)]]
        place.add(data)
        sources += _flags(place.blocks[-1])
    merged, taken_over = place.merge()
    assert taken_over == 16
    assert _flags(merged) == sources and {1, 2} <= set(sources)


@pytest.mark.parametrize("kind", ["known", "found", "times"])
def test_a_damaged_frame_is_not_taken_over(
    place: _Place, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is known before the merge or found by it; all else of the block is kept."""
    for window in range(2):
        place.add(_fleet(window))
    one = place.blocks[0]
    first_bit = (24 + 40 if kind != "times" else _times_offset(one) + 40) * 8
    flip(one.directory / "data", first_bit)
    if kind == "known":
        one.read(one.select(()).refs, -_FOREVER_MS, _FOREVER_MS)
        assert one.damaged_frames == 1
    merged, taken_over = place.merge()
    assert one.damaged_frames == 1
    assert taken_over == 0
    found, expected = _read(merged), place.expected()
    lost = {
        (labels, time_ms)
        for labels, samples in expected.items()
        for time_ms in samples
        if time_ms not in found.get(labels, {})
    }
    assert all(time_ms < _RANGE_MS for _, time_ms in lost)
    assert len(lost) == (64 * 12 if kind == "times" else 16 * 4)
    assert all(samples.items() <= expected[labels].items() for labels, samples in found.items())
    assert _is_sound(merged)


def _times_offset(one: Block) -> int:
    index = one.frame_source().index
    return int(index.frame_offsets[index.time_frames[0]])


@examples(60)
@given(seed=st.integers(0, 2**32))
def test_any_blocks_are_merged_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Fleets that mostly stay the same: with holes, late samples, deletions, entries, churn."""
    draw = random.Random(seed)
    place = _Place(tmp_path_factory.mktemp("any"))
    sizes = [draw.choice([1, 3, 8, 16, 17, 40]) for _ in range(draw.randint(1, 4))]
    windows = draw.sample(range(6), draw.randint(2, 4))
    for window in windows:
        place.add(_changed(draw, _fleet(window, sizes)))
    if draw.random() < 0.3:
        place.add(_late(draw, place.expected()))
    for _ in range(draw.choice([0, 0, 1, 2])):
        start_ms = draw.randint(0, 6 * _RANGE_MS)
        place.deletions.append(_delete(draw.randint(0, 20), start_ms, start_ms + _RANGE_MS))
    if place.expected():
        merged, _ = place.merge()
        place.check(merged)


def _changed(draw: random.Random, data: _Data) -> _Data:
    """*data* with few changes, or none."""
    for labels in draw.sample(sorted(data), min(len(data) - 1, draw.choice([0, 0, 1, 2]))):
        change = draw.choice(["gone", "hole", "entry", "own times"])
        samples = data[labels]
        if change == "gone":
            del data[labels]
        elif change == "hole":
            del samples[draw.randint(0, 3) : draw.randint(3, 11)]
        elif change == "entry":
            samples[3] = (samples[3][0], Started(1.5, 77))
        else:
            data[labels] = [(time_ms + 1, value) for time_ms, value in samples]
    return data


def _late(draw: random.Random, known: Iterable[Labels]) -> _Data:
    chosen = draw.sample(sorted(known), 1)
    times = sorted(draw.sample(range(6 * _RANGE_MS), 5))
    return {labels: [(time_ms, -1.0) for time_ms in times] for labels in chosen}

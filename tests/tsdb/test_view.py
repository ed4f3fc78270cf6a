"""A View reads every sample of its parts once, as one dict would."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from series.labels import Labels
from series.matcher import Matcher, MatchType
from series.ports import Context, Hints
from tests.examples import examples
from tests.tsdb.blocks import Data, QuietFiles, Samples, bits, block, rows_of
from tests.tsdb.contents import Value, values
from tsdb.block.block import Block
from tsdb.block.cache import BlockCache
from tsdb.view.view import SeriesMapCache, View

FOREVER = Hints(-(2**63), 2**63 - 1)

_samples = st.dictionaries(
    st.integers(0, 60),
    st.one_of(st.sampled_from([0.5, 1.5, 2.0, float("nan")]), values),
    min_size=1,
    max_size=12,
).map(lambda samples: sorted(samples.items()))
_labels = st.dictionaries(
    st.sampled_from(["__name__", "job", "pod"]), st.sampled_from(["a", "b"])
).map(Labels.of)
_data = st.dictionaries(_labels, _samples, min_size=1, max_size=8)
_follow_each_other = st.booleans()
_matchers = st.builds(
    Matcher,
    st.sampled_from([MatchType.EQUAL, MatchType.NOT_EQUAL]),
    st.sampled_from(["job", "pod"]),
    st.sampled_from(["", "a"]),
)


def _merged(parts: Sequence[Data]) -> dict[Labels, Samples]:
    """What the parts, oldest first, say together: the first stored sample of an instant counts."""
    found: dict[Labels, dict[int, Value]] = {}
    for part in parts:
        for labels, samples in part.items():
            known = found.setdefault(labels, {})
            for time, value in samples:
                known.setdefault(time, value)
    return {labels: sorted(samples.items()) for labels, samples in found.items()}


@examples(25)
@given(st.lists(_data, max_size=4), st.lists(_matchers, max_size=2), st.data())
def test_reads_what_one_dict_of_all_samples_holds(
    datas: list[Data], matchers: list[Matcher], draw: st.DataObject
) -> None:
    """Overlapping or successive parts, any selector, any slab and range."""
    step = draw.draw(st.sampled_from([0, 0, 40, 100]))
    parts = [
        {one: [(time + step * at, value) for time, value in s] for one, s in data.items()}
        for at, data in enumerate(datas)
    ]
    with tempfile.TemporaryDirectory() as root:
        cache = BlockCache(QuietFiles())
        blocks = [block(Path(root), at + 1, data, cache) for at, data in enumerate(parts)]
        view = View(draw.draw(st.permutations(blocks)), SeriesMapCache(1 << 20))
        wanted = {
            labels: samples
            for labels, samples in sorted(_merged(parts).items())
            if all(matcher.matches(labels.get(matcher.name)) for matcher in matchers)
        }
        selection = view.resolve(tuple(matchers), FOREVER)
        assert selection.frame.all_labels() == list(wanted)
        start, end = draw.draw(st.integers(0, 200)), draw.draw(st.integers(0, 400))
        first = draw.draw(st.integers(0, len(wanted)))
        rows = slice(first, draw.draw(st.integers(first, len(wanted))))
        got = selection.read(rows, start, end, Context())
        assert rows_of(got) == [
            bits(samples, start, end) for samples in list(wanted.values())[rows]
        ]
        whole = selection.read(slice(0, len(wanted)), 0, 2**62, Context())
        assert rows_of(whole) == [bits(samples) for samples in wanted.values()]
        names = {name for labels in wanted for name, _ in labels}
        assert view.label_names(tuple(matchers), 0, 1000) == sorted(names)
        pods = {labels.get("pod") for labels in wanted} - {""}
        assert view.label_values("pod", tuple(matchers), 0, 1000) == sorted(pods)


def _series(i: int) -> Labels:
    return Labels.of({"__name__": "m", "i": f"{i:02}"})


def _blocks(root: Path, cache: BlockCache, parts: Sequence[Data]) -> list[Block]:
    return [block(root, at + 1, data, cache) for at, data in enumerate(parts)]


def test_rows_joined_from_several_parts_share_their_times(tmp_path: Path) -> None:
    """Series that share their times in every part share the joined times."""
    parts: list[Data] = [
        {_series(i): [(1000 * p + 10 * t + i % 2, float(t)) for t in range(50)] for i in range(20)}
        for p in range(3)
    ]
    view = View(_blocks(tmp_path, BlockCache(QuietFiles()), parts), SeriesMapCache(1 << 20))
    got = view.resolve((), FOREVER).read(slice(0, 20), 0, 2**62, Context())
    assert len(set(got.time_starts.tolist())) == 2
    assert rows_of(got) == [bits(samples) for samples in _merged(parts).values()]


def test_damage_in_what_is_joined_is_left_out(tmp_path: Path) -> None:
    """Where it is found when values are decoded to their place, all else stays as it is."""
    parts: list[Data] = [
        {_series(i): [(1000 * p + t, i + t / 7) for t in range(50)] for i in range(40)}
        for p in range(2)
    ]
    blocks = _blocks(tmp_path, BlockCache(QuietFiles()), parts)
    index = blocks[1].frame_source().index
    frame = int(index.segment_frames[20])
    damaged = index.segment_frames == frame
    assert damaged.sum() == 16
    path = blocks[1].directory / "data"
    data = bytearray(path.read_bytes())
    data[int(index.frame_offsets[frame]) + 20] ^= 1
    path.write_bytes(data)
    context = Context()
    view = View(blocks, SeriesMapCache(1 << 20))
    got = view.resolve((), FOREVER).read(slice(0, 40), 0, 2**62, context)
    left = [parts[0], {_series(i): parts[1][_series(i)] for i in np.flatnonzero(~damaged).tolist()}]
    assert rows_of(got) == [bits(samples) for samples in _merged(left).values()]
    assert len(context.warnings) == 1 and str(path) in next(iter(context.warnings))


def test_only_parts_within_the_range_are_asked(tmp_path: Path) -> None:
    """A series that only lives in parts outside of the hints' range is not found."""
    parts: list[Data] = [{_series(0): [(10, 1.0)]}, {_series(1): [(5000, 2.0)]}]
    view = View(_blocks(tmp_path, BlockCache(QuietFiles()), parts), SeriesMapCache(1 << 20))
    found = view.resolve((), Hints(4000, 6000))
    assert found.frame.all_labels() == [_series(1)]
    assert found.estimated_samples() >= 1
    nothing = view.resolve((), Hints(100, 200))
    assert nothing.frame.size == nothing.estimated_samples() == 0
    assert nothing.read(slice(0, 0), 100, 200, Context()).series_count == 0
    assert view.label_values("i", (), 4000, 6000) == ["01"]


def test_maps_are_kept_for_the_same_parts_and_dropped_when_full(tmp_path: Path) -> None:
    """The second resolve of a selector selects nothing anew; a small cache forgets the oldest."""
    parts: list[Data] = [{_series(i): [(p, 1.0)] for i in range(20)} for p in range(2)]
    blocks = _blocks(tmp_path, BlockCache(QuietFiles()), parts)
    cache = SeriesMapCache(1 << 20)
    first = View(blocks, cache).resolve((), FOREVER).frame
    assert View(blocks, cache).resolve((), FOREVER).frame is first
    assert View(blocks[:1], cache).resolve((), FOREVER).frame is not first
    small = SeriesMapCache(1)
    assert View(blocks, small).resolve((), FOREVER).frame.all_labels() == first.all_labels()
    assert small.get(((), tuple(one.token for one in blocks))) is None


def test_names_and_values_are_kept_for_the_same_parts(tmp_path: Path) -> None:
    """Who asks again asks no part; other parts, labels and matchers are asked for themselves."""
    parts: list[Data] = [{_series(p): [(5, 1.0)]} for p in range(2)]
    blocks = _blocks(tmp_path, BlockCache(QuietFiles()), parts)
    cache = SeriesMapCache(1 << 20)

    def asked(blocks: Sequence[Block]) -> list[list[str]]:
        view, only = View(blocks, cache), (Matcher(MatchType.EQUAL, "i", "01"),)
        return [
            view.label_names((), 0, 10),
            view.label_values("i", (), 0, 10),
            view.label_values("i", only, 0, 10),
            view.label_values("__name__", (), 0, 10),
        ]

    wanted = [["__name__", "i"], ["00", "01"], ["01"], ["m"]]
    assert asked(blocks) == wanted
    misses, hits = cache.misses, cache.hits
    for texts in asked(blocks):
        texts.append("a caller's own")
    assert asked(blocks) == wanted
    assert (cache.misses, cache.hits) == (misses, hits + 2 * len(wanted))
    assert asked(blocks[:1]) == [["__name__", "i"], ["00"], [], ["m"]]


def test_an_older_part_wins_wherever_it_stands(tmp_path: Path) -> None:
    """A late block that begins before an earlier stored one does not replace its samples."""
    parts: list[Data] = [
        {_series(0): [(100, 1.0), (200, 1.0)], _series(1): [(100, 5.0)]},
        {_series(0): [(50, 2.0), (100, 2.0), (150, 2.0)]},
    ]
    view = View(_blocks(tmp_path, BlockCache(QuietFiles()), parts), SeriesMapCache(1 << 20))
    got = view.resolve((), FOREVER).read(slice(0, 2), 0, 1000, Context())
    assert rows_of(got) == [
        bits([(50, 2.0), (100, 1.0), (150, 2.0), (200, 1.0)]),
        bits([(100, 5.0)]),
    ]
    assert got.values.dtype == np.float64

"""The index of a block says in few bytes what stands where; one that cannot be right is refused."""

import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.labels import Labels
from series.ports import StorageError
from tests.examples import examples
from tests.tsdb.blocks import SEED, Data, QuietFiles, bits, fingerprints, write
from tests.tsdb.contents import Started, contents
from tsdb.block import label_kernels
from tsdb.block.block import Block
from tsdb.block.cache import BlockCache
from tsdb.block.format import (
    ColumnReader,
    DamagedError,
    Section,
    Sections,
    block_directory,
    pack_column,
    pack_differences,
    pack_index,
    unpack_index,
    unpack_meta,
)
from tsdb.block.label_sections import LabelSections, pack_labels
from tsdb.label.interner import Interner

_texts = st.one_of(st.sampled_from(["a", "b", "cc", "ü"]), st.text(min_size=1, max_size=5))
_values = st.one_of(_texts, st.integers(100, 20_000).map(lambda size: "x" * size))
_series = st.lists(
    st.dictionaries(_texts, _values, max_size=5).map(Labels.of), unique=True, max_size=12
).map(sorted)


def _interner(series: list[Labels]) -> Interner:
    keys = [one.key for one in series]
    ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
    starts = ends - np.array([len(key) for key in keys], dtype=np.int64)
    interner = Interner()
    interner.append(np.frombuffer(b"".join(keys), dtype=np.uint8), starts, ends)
    return interner


@examples(40)
@given(_series)
def test_labels_and_fingerprints_come_back(series: list[Labels]) -> None:
    """Whatever names and values there are; fingerprints are those of the keys, without them."""
    table = _interner(series).table()
    packed = {kind: b"".join(parts) for kind, parts in pack_labels(table).items()}
    found = LabelSections.unpack(packed, len(series))
    assert found.loaded().frame(np.arange(len(series))).all_labels() == series
    assert (found.fingerprints(SEED) == fingerprints(series)).all()
    other = found.fingerprints(bytes(16))
    assert not len(series) or (other != fingerprints(series)).any()


def test_fingerprints_of_many_rows(tmp_path: Path) -> None:
    """More than are hashed at a time."""
    series = sorted(Labels.of({"i": str(i), "j": str(i % 7)}) for i in range(40_000))
    packed = {
        kind: b"".join(parts) for kind, parts in pack_labels(_interner(series).table()).items()
    }
    found = LabelSections.unpack(packed, len(series)).fingerprints(SEED)
    assert (found == fingerprints(series)).all()


_rows = st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=12)


@examples(60)
@given(_rows)
def test_rows_are_told_by_the_row_before(rows: list[list[int]]) -> None:
    """A slow twin counts what is shared; both kernels together give the rows back."""
    starts = np.concatenate(([0], np.cumsum([len(row) for row in rows], dtype=np.int64)))
    starts = starts.astype(np.int64)
    labels = np.array([label for row in rows for label in row], dtype=np.int32)
    shared, own = np.empty(len(rows), dtype=np.int64), np.empty(len(labels), dtype=np.int32)
    count = label_kernels.shorten_rows(starts, labels, shared, own)
    wanted_own: list[int] = []
    for at, row in enumerate(rows):
        before = rows[at - 1] if at else []
        same = 0
        while same < min(len(row), len(before)) and row[same] == before[same]:
            same += 1
        assert shared[at] == same
        wanted_own += row[same:]
    assert own[:count].tolist() == wanted_own
    again_starts, again = np.empty_like(starts), np.empty_like(labels)
    assert label_kernels.restore_rows(
        shared, np.diff(starts) - shared, own[:count].astype(np.int64), again_starts, again
    )
    assert (again_starts == starts).all() and (again == labels).all()


def test_a_row_cannot_share_more_than_there_is() -> None:
    """Told, before anything is read that is not there."""
    two = np.array([1, 2])
    starts, labels = np.empty(3, dtype=np.int64), np.empty(6, dtype=np.int32)
    none, one = np.zeros(2, dtype=np.int64), np.ones(1, dtype=np.int64)
    assert not label_kernels.restore_rows(two, none, one, starts, labels)
    assert not label_kernels.restore_rows(np.array([0, 2]), np.array([1, 0]), one, starts, labels)


@examples(60)
@given(st.lists(st.integers(0, 2**40)))
def test_steps_come_back(numbers: list[int]) -> None:
    """Up and down."""
    plain = np.array(numbers, dtype=np.int64)
    assert ColumnReader(pack_differences(plain)).differences().tolist() == numbers


def test_what_repeats_costs_next_to_nothing(tmp_path: Path) -> None:
    """The index of 2,000 series of 20 instances takes a byte a series at most."""
    data: Data = {
        Labels.of({"__name__": f"m{m}", "instance": f"i-{i}", "path": f"/p{p}"}): [
            (i + 15_000 * k + (k * k + i) % 5, float(k)) for k in range(1000)
        ]
        for m in range(10)
        for i in range(20)
        for p in range(10)
    }
    meta = write(tmp_path, 1, data, BlockCache(QuietFiles()))
    assert meta.index_bytes < 2000


def _small() -> Data:
    return {
        Labels.of({"__name__": name, "i": f"{i}ü"}): [
            (t + i % 2, Started(float(t), 5) if name == "b" else float(t)) for t in range(count)
        ]
        for name, rows, count in (("a", 9, 600), ("b", 9, 7))
        for i in range(rows)
    }


class _Changed:
    """A block whose sections can be changed; its data stays as it was."""

    def __init__(self, root: Path) -> None:
        self.meta = write(root, 1, _small(), BlockCache(QuietFiles()))
        self.directory = block_directory(root, 1)
        self.sections = unpack_index((self.directory / "index").read_bytes(), 1)

    def read(self, sections: Sections) -> list[object]:
        """All rows of the block with these sections; StorageError where they are refused."""
        index = pack_index(1, {kind: [content] for kind, content in sections.items()})
        (self.directory / "index").write_bytes(index)
        meta = unpack_meta(sections, 1, index_bytes=len(index), data_bytes=self.meta.data_bytes)
        made = Block(self.directory, meta, BlockCache(QuietFiles()))
        refs = made.select(()).refs
        made.label_names(())
        made.time_ranges(refs)
        found = made.read(refs, -(2**62), 2**62)
        made.damage(refs)
        found.check()
        return [list(contents(found, row).items()) for row in range(found.series_count)]


def test_the_sections_as_they_were_are_read(tmp_path: Path) -> None:
    """So the refusals below come from what was changed."""
    changed = _Changed(tmp_path)
    wanted = [bits(samples) for _, samples in sorted(_small().items())]
    assert changed.read(changed.sections) == wanted


@examples(150)
@given(st.sampled_from(Section), st.data())
def test_a_section_that_was_changed_is_refused_or_read(kind: Section, draw: st.DataObject) -> None:
    """Some bytes are others, or missing, under good checksums: an error in words, or an answer."""
    with tempfile.TemporaryDirectory() as root:
        changed = _Changed(Path(root))
        content = bytearray(changed.sections[kind])
        for _ in range(draw.draw(st.integers(1, 3))):
            at = draw.draw(st.integers(0, max(0, len(content) - 1)))
            if draw.draw(st.booleans()):
                content[at : at + 1] = bytes([draw.draw(st.integers(0, 255))])
            else:
                del content[at : at + draw.draw(st.integers(1, 20))]
        with suppress(StorageError, DamagedError):
            changed.read({**changed.sections, kind: bytes(content)})


_ABSURD = {
    Section.FRAMES: [pack_column(np.array([2**61])), pack_column(np.array([0]))],
    Section.GROUPS: [pack_column(np.array([300]))],
    Section.SEGMENTS: [
        pack_differences(np.array([2**31] * 18)),
        pack_column(np.array([1])),
        pack_differences(np.array([0])),
    ],
    Section.TIME_COLUMNS: [pack_column(np.array([0])) * 2, pack_column(np.array([2**50]))],
    Section.ROWS: [
        pack_column(np.array([2**40] * 18)),
        pack_column(np.array([1] * 18)),
        pack_column(np.array([0] * 18)),
    ],
    Section.NAMES: [pack_column(np.array([1])), pack_column(np.array([1])), b"\xff"],
    Section.VALUES: [pack_column(np.array([2**62, 2**62]))],
    Section.ENTRY_RUNS: [pack_column(np.array([2**40]))] * 5,
}


@pytest.mark.parametrize("kind", _ABSURD)
def test_absurd_sections_are_refused(tmp_path: Path, kind: Section) -> None:
    """Nothing is allocated for them, nothing outside of an array is touched."""
    changed = _Changed(tmp_path)
    with pytest.raises(StorageError, match="is damaged at offset"):
        changed.read({**changed.sections, kind: b"".join(_ABSURD[kind])})

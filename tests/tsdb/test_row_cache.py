"""Single series of blocks are decoded once for many questions, and answered as if each time."""

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from series.labels import Labels
from tests.examples import examples
from tests.tsdb.blocks import Data, QuietFiles, bits, block, rows_of
from tests.tsdb.contents import values
from tsdb.block import decode_kernels
from tsdb.block.block import Block
from tsdb.block.cache import BlockCache
from tsdb.block.row_cache import MAX_SPAN_MS, RowCache

HOUR_MS = 3_600_000
STEP_MS = 15_000

_times = st.integers(0, 7 * HOUR_MS).map(lambda at: at // 60_000 * 60_000)
_samples = st.dictionaries(
    _times, st.one_of(st.floats(width=64), values), min_size=1, max_size=40
).map(lambda samples: sorted(samples.items()))
_question = st.tuples(st.integers(0, 2), _times, st.integers(-60_000, 7 * HOUR_MS), st.booleans())


@pytest.fixture
def made(tmp_path: Path) -> Block:
    """Two metrics of two series each, nine hours of them, in frames of their own."""
    return block(tmp_path, 1, _data(), BlockCache(QuietFiles()))


def _data() -> Data:
    return {
        Labels.of({"__name__": name, "i": str(i)}): [
            (k * STEP_MS, k + i / 10) for k in range(9 * HOUR_MS // STEP_MS)
        ]
        for name in "ab"
        for i in range(2)
    }


@examples(40)
@given(st.lists(_samples, min_size=3, max_size=3), st.lists(_question, min_size=1, max_size=12))
def test_answers_are_the_samples_of_the_range(
    rows: list[list[tuple[int, float]]], questions: list[tuple[int, int, int, bool]]
) -> None:
    """Whatever was asked before: of any series, any times, the newest sample alone."""
    data: Data = {Labels.of({"i": str(i)}): row for i, row in enumerate(rows)}
    with tempfile.TemporaryDirectory() as root:
        made = block(Path(root), 3, data, BlockCache(QuietFiles()))
        for row, start_ms, length_ms, newest in questions:
            end_ms = start_ms + length_ms
            got = rows_of(made.read(np.array([row]), start_ms, end_ms, newest=newest))
            wanted = bits(rows[row], start_ms, end_ms)
            assert got == [wanted] or (newest and [row[-1:] for row in got] == [wanted[-1:]])


def test_a_later_question_decodes_nothing(made: Block) -> None:
    """Within the hours that were read; beyond them, and of another series, it does."""
    questions = [(0, HOUR_MS, False), (0, HOUR_MS + 60_000, True), (1, HOUR_MS, False)]
    questions += [(0, 2 * HOUR_MS, False), (0, 2 * HOUR_MS - 60_000, True)]
    made.read(np.array([0]), HOUR_MS - 300_000, HOUR_MS - 1)
    for ref, end_ms, is_known in questions:
        with mock.patch.object(
            decode_kernels, "decode_values", wraps=decode_kernels.decode_values
        ) as decode:
            made.read(np.array([ref]), end_ms - 300_000, end_ms)
        assert bool(decode.call_count) != is_known


def test_times_at_both_ends_of_all_are_asked_for(made: Block) -> None:
    """The stretches of an hour end where numbers do."""
    for start_ms, end_ms in ((-(2**63), -(2**63) + 1), (2**63 - 2, 2**63 - 1)):
        assert rows_of(made.read(np.array([0]), start_ms, end_ms)) == [[]]


def test_what_is_long_or_dense_is_not_kept(tmp_path: Path) -> None:
    """A row is a few thousand samples at most."""
    cache = BlockCache(QuietFiles())
    dense: Data = {Labels.of({"i": "0"}): [(k * 100, 1.0) for k in range(50_000)]}
    made = block(tmp_path, 1, dense, cache)
    got = rows_of(made.read(np.array([0]), 60_000, 90_000))
    assert len(got[0]) == 301
    assert cache.rows.held.size_bytes == 0
    made.read(np.array([0]), 0, MAX_SPAN_MS + 1)
    assert cache.rows.held.size_bytes == 0


def test_uses_are_told(made: Block) -> None:
    """What was asked of each cache, by whether it was there, and the memory that it takes."""

    def uses() -> dict[str, tuple[int, int]]:
        told = made._cache.uses()
        assert all(bool(use.size_bytes) == bool(use.hits + use.misses) for use in told)
        return {use.name: (use.hits, use.misses) for use in told}

    assert uses() == {"indexes": (0, 0), "frames": (0, 0), "rows": (0, 0)}
    made.read(np.array([0]), 0, 60_000)
    # The index is looked for once more by the thread that may load it.
    assert uses() == {"indexes": (0, 2), "frames": (0, 2), "rows": (0, 1)}
    made.read(np.array([0]), 0, 60_000)
    assert uses() == {"indexes": (1, 2), "frames": (0, 2), "rows": (1, 1)}
    made.read(np.array([0, 1]), 0, 60_000)
    assert uses() == {"indexes": (2, 2), "frames": (2, 2), "rows": (1, 1)}


def test_rows_are_held_within_their_bounds(made: Block) -> None:
    """The one that was used longest ago goes."""
    made._cache.rows = rows = RowCache(12_000)
    sizes = []
    for ref in range(4):
        made.read(np.array([ref]), 0, 60_000)
        sizes.append(rows.held.size_bytes)
    assert 0 < sizes[0] < sizes[1] <= 12_000
    assert max(sizes) <= 12_000


def test_a_row_goes_when_its_frame_is_found_to_be_damaged(made: Block) -> None:
    """Then it is left out, as it would be for who asks for the first time."""
    path = made.directory / "data"
    assert len(rows_of(made.read(np.array([0]), 0, 60_000))[0]) == 5
    whole = path.read_bytes()
    content = bytearray(whole)
    for offset in made._loaded().frame_offsets[1:].tolist():
        content[offset - 1] ^= 1
    path.write_bytes(bytes(content))
    made._cache.frames.clear()
    made.read(np.arange(4), 0, 9 * HOUR_MS)
    assert rows_of(made.read(np.array([0]), 0, 60_000)) == [[]]

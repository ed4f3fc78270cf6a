"""Pieces of answers are joined as dicts of labels and steps would be."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from promql.matrix import Matrix
from series.frame import LabelFrame
from series.labels import Labels
from server.api.range_steps import Piece, compact, joined, size_bytes
from tests.examples import examples

_labels = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xyz"), max_size=2)


@st.composite
def _matrices(draw: st.DrawFn, steps: int) -> Matrix:
    """Some rows of labels of their own, sorted, in a frame that holds the texts of others, too."""
    series = sorted({*map(Labels.of, draw(st.lists(_labels, max_size=5)))})
    everything = LabelFrame.from_labels([Labels.of({"a": a, "b": a}) for a in "zyx"])
    whole = LabelFrame.concat([everything, LabelFrame.from_labels(series)])
    shape = len(series), steps
    bits = draw(st.lists(st.booleans(), min_size=shape[0] * steps, max_size=shape[0] * steps))
    present = np.array(bits, dtype=np.bool_).reshape(shape)
    values = np.arange(shape[0] * steps, dtype=np.float64).reshape(shape) + draw(st.integers(0, 9))
    return Matrix(whole.take(np.arange(3, 3 + len(series))), values, present)


def _points(matrix: Matrix, taken: slice, at: int) -> dict[Labels, dict[int, float]]:
    found: dict[Labels, dict[int, float]] = {}
    for row, labels in enumerate(matrix.frame.all_labels()):
        for step in range(taken.start, taken.stop):
            if matrix.present[row, step]:
                found.setdefault(labels, {})[at + step - taken.start] = matrix.values[row, step]
    return found


@examples(200)
@given(_matrices(6), _matrices(4), _matrices(3))
def test_pieces_become_one_answer(kept: Matrix, before: Matrix, after: Matrix) -> None:
    """Rows are matched by labels, sorted, and there where they have a point."""
    pieces = [
        Piece(kept, slice(1, 6), 3),
        Piece(before, slice(0, 3), 0),
        Piece(after, slice(1, 3), 8),
    ]
    whole = joined(pieces, 10)
    whole.check()
    expected: dict[Labels, dict[int, float]] = {}
    for piece in pieces:
        for labels, points in _points(*piece).items():
            expected.setdefault(labels, {}).update(points)
    assert _points(whole, slice(0, 10), 0) == expected
    assert whole.frame.all_labels() == sorted(expected)
    assert whole.with_points.all()


@examples(100)
@given(_matrices(1))
def test_a_compact_frame_names_the_same(matrix: Matrix) -> None:
    """With no text that no row has, so what is kept is as small as it seems."""
    frame = compact(matrix.frame)
    assert frame.all_labels() == matrix.frame.all_labels()
    for column in frame.columns.values():
        assert column.values[0] == ""
        assert {*column.codes.tolist()} | {0} == {*range(len(column.values))}
        assert column.codes.dtype == np.int32
    assert size_bytes(matrix) >= matrix.values.nbytes

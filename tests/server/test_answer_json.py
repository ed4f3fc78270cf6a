"""Answers as JSON: a short one is written without kernels, as the others are with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promql.answer import Answer, Raw
from promql.ast import ValueType
from promql.matrix import Matrix, ScalarRow
from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.grid import Grid
from series.labels import Labels
from server.answers import answer_json
from server.answers.result_json import FEW


def _vector(values: list[float], at_ms: int, warnings: list[str], infos: list[str]) -> Answer:
    frame = LabelFrame.from_labels([Labels([("a", f'x"{row}')]) for row in range(len(values))])
    column = np.array(values, dtype=np.float64).reshape(-1, 1)
    matrix = Matrix(frame, column, np.ones(column.shape, dtype=np.bool_))
    return Answer(ValueType.VECTOR, matrix, Grid.instant(at_ms), warnings, infos)


@given(
    st.lists(st.floats(width=64), max_size=FEW),
    st.integers(-(2**53), 2**53),
    st.lists(st.text(max_size=3), max_size=2),
    st.lists(st.text(max_size=3), max_size=2),
)
def test_a_short_answer_is_what_the_slices_are(
    values: list[float], at_ms: int, warnings: list[str], infos: list[str]
) -> None:
    """Byte for byte, whatever the values, the time and the notes."""
    answer = _vector(values, at_ms, warnings, infos)
    assert answer_json.short(answer) == b"".join(answer_json.slices(answer, {}))


@pytest.mark.parametrize(
    "answer",
    [
        _vector([1.0] * (FEW + 1), 0, [], []),
        Answer(ValueType.SCALAR, ScalarRow(np.ones(1)), Grid.instant(0), [], []),
        Answer(ValueType.MATRIX, Matrix.empty(2), Grid.between(0, 1, 1), [], []),
        Answer(
            ValueType.MATRIX,
            Raw(LabelFrame.empty_labels(0), SeriesBatch(*[np.zeros(0)] * 2, *[np.zeros(1)] * 2)),  # type: ignore[arg-type]
            Grid.instant(0),
            [],
            [],
        ),
    ],
)
def test_what_is_not_short_is_left_to_the_slices(answer: Answer) -> None:
    """More series, ranges, scalars."""
    assert answer_json.short(answer) is None

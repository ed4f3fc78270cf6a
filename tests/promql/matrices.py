"""Matrices and environments for tests of single operators.

A matrix is written as ``{"a{i=1}": [1.0, None, 3.0]}``: a series, and its points step by step.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from promql import ast
from promql.env import Env, Options, QueryTimes
from promql.matrix import Matrix, ScalarRow, Value
from promql.notes import Notes
from series.frame import LabelFrame
from series.grid import Grid
from series.labels import Labels
from series.ports import Context

Points = Sequence[float | None]
Element = tuple[Labels, float, bool]
"""Labels, value, and whether the name goes away late."""

ZERO = ast.NumberLiteral(0.0)
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 0.5, float("nan"), float("inf"), -float("inf")]),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)


@dataclass
class Bench:
    """An environment whose notes can be looked at."""

    steps: int = 3
    delayed: bool = True
    is_range: bool = True
    query: str = "q"
    notes: Notes = field(init=False)
    env: Env = field(init=False)

    def __post_init__(self) -> None:
        self.notes = Notes(self.query)
        grid = Grid(0, 1000, self.steps)
        times = QueryTimes(0, grid.end_ms, 1000) if self.is_range else QueryTimes.instant(0)
        options = Options(delayed_name_removal=self.delayed)
        self.env = Env(options, self.notes, Context(), grid, times, ast.NOWHERE)

    @property
    def warnings(self) -> list[str]:
        return list(self.notes.warnings)

    @property
    def infos(self) -> list[str]:
        return list(self.notes.infos)


def series(text: str) -> Labels:
    """``a{i=1,j=x}`` as Labels."""
    name, _, rest = text.partition("{")
    pairs = [pair.partition("=") for pair in rest.rstrip("}").split(",") if pair]
    return Labels([("__name__", name), *((key, value) for key, _, value in pairs)])


def matrix(rows: Mapping[str, Points], steps: int = 3, marked: bool = False) -> Matrix:
    """A matrix of the given series; all marked for late name removal if *marked*."""
    return of_rows([(series(text), list(points)) for text, points in rows.items()], steps, marked)


def of_rows(rows: Sequence[tuple[Labels, Points]], steps: int, marked: bool = False) -> Matrix:
    values = np.array(
        [[0.0 if v is None else v for v in points] for _, points in rows], dtype=np.float64
    )
    present = np.array([[v is not None for v in points] for _, points in rows], dtype=np.bool_)
    return Matrix(
        LabelFrame.from_labels([labels for labels, _ in rows]),
        values.reshape(len(rows), steps),
        present.reshape(len(rows), steps),
        np.ones(len(rows), dtype=np.bool_) if marked else None,
    )


def row(*values: float) -> ScalarRow:
    return ScalarRow(np.array(values, dtype=np.float64))


def elements(value: Value, step: int) -> list[Element]:
    """The elements of a matrix at one step, in its order; checks the matrix, too."""
    assert isinstance(value, Matrix)
    value.check()
    return [
        (value.frame.labels(at), float(value.values[at, step]), bool(value.marks()[at]))
        for at in np.flatnonzero(value.present[:, step]).tolist()
    ]


def points(value: Value) -> dict[str, list[float | None]]:
    """Series -> points, as ``matrix`` takes them, series without points left out."""
    assert isinstance(value, Matrix)
    value.check()
    out: dict[str, list[float | None]] = {}
    for labels, values, present in zip(
        value.frame.all_labels(), value.values.tolist(), value.present.tolist(), strict=True
    ):
        if any(present):
            rest = ",".join(f"{n}={v}" for n, v in labels if n != "__name__")
            key = labels.metric + (f"{{{rest}}}" if rest else "")
            assert key not in out, f"two rows of {key}"
            out[key] = [v if there else None for v, there in zip(values, present, strict=True)]
    return out


def same(a: float, b: float) -> bool:
    """Equal up to the last digit, NaN and the sign of zero included."""
    if np.isnan(a) or np.isnan(b):
        return bool(np.isnan(a) and np.isnan(b))
    return math.isclose(a, b, rel_tol=1e-15) and bool(np.signbit(a) == np.signbit(b))


def same_elements(found: Sequence[Element], wanted: Sequence[Element]) -> bool:
    """Whether two vectors agree, whatever their order."""
    a = sorted(found, key=lambda element: element[0])
    b = sorted(wanted, key=lambda element: element[0])
    return len(a) == len(b) and all(
        x[0] == y[0] and same(x[1], y[1]) and x[2] == y[2] for x, y in zip(a, b, strict=True)
    )


def matrices(
    names: Sequence[str], labels: Mapping[str, Sequence[str]], steps: int = 3, rows: int = 5
) -> st.SearchStrategy[Matrix]:
    """Up to *rows* distinct series of the given names and label values, with gaps."""
    label_sets = st.fixed_dictionaries(
        {name: st.sampled_from(values) for name, values in labels.items()}
    )
    keys = st.builds(
        lambda name, rest: Labels([("__name__", name), *rest.items()]),
        st.sampled_from(names),
        label_sets,
    )
    point_lists = st.lists(st.none() | VALUES, min_size=steps, max_size=steps)
    return st.dictionaries(keys, point_lists, max_size=rows).map(
        lambda found: of_rows(list(found.items()), steps)
    )

"""Functions that map every value of a vector by itself, and those of scalars.

Native histograms are passed over.
"""

from collections.abc import Callable

import numpy as np

from promql import ast, floats
from promql.env import Env
from promql.labelsets import drop_names
from promql.matrix import Matrix, ScalarRow, Value, Values
from series.frame import LabelFrame

UNARY: dict[str, Callable[[Values], Values]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": floats.cosh,
    "deg": floats.degrees,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": floats.log10,
    "log2": floats.log2,
    "rad": floats.radians,
    "sgn": floats.sgn,
    "sin": np.sin,
    "sinh": floats.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}
"""Functions of one instant vector and nothing else."""


def unary(args: list[Value], call: ast.Call, env: Env) -> Value:
    """The function of ``UNARY`` that *call* names; names are dropped."""
    (vector,) = args
    assert isinstance(vector, Matrix)
    vector = vector.floats()
    return mapped(vector, UNARY[call.name](vector.values), env)


def mapped(vector: Matrix, values: Values, env: Env) -> Matrix:
    """*vector* with other values, all floats, and without names."""
    return drop_names(Matrix(vector.frame, values, vector.present, vector.drop_name), env)


def clamp(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``clamp(v, min, max)``: nothing at steps where max < min."""
    vector, low, high = args
    return _clamped(vector, low, high, env)


def clamp_min(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``clamp_min(v, min)``."""
    vector, low = args
    return _clamped(vector, low, ScalarRow(np.full(env.grid.count, np.inf)), env)


def clamp_max(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``clamp_max(v, max)``."""
    vector, high = args
    return _clamped(vector, ScalarRow(np.full(env.grid.count, -np.inf)), high, env)


def _clamped(vector: Value, low: Value, high: Value, env: Env) -> Matrix:
    assert isinstance(vector, Matrix)
    assert isinstance(low, ScalarRow) and isinstance(high, ScalarRow)
    vector = vector.floats()
    values = floats.go_max(low.values, floats.go_min(high.values, vector.values))
    present = vector.present & ~(high.values < low.values)
    return drop_names(Matrix(vector.frame, values, present, vector.drop_name), env)


def round_(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``round(v, to_nearest=1)``: ties go up."""
    vector = args[0]
    assert isinstance(vector, Matrix)
    vector = vector.floats()
    nearest = np.ones(env.grid.count)
    if len(args) > 1:
        assert isinstance(args[1], ScalarRow)
        nearest = args[1].values
    return mapped(vector, floats.round_to(vector.values, nearest), env)


def min_of(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``min_of(a, b)`` of scalars."""
    a, b = args
    assert isinstance(a, ScalarRow) and isinstance(b, ScalarRow)
    return ScalarRow(floats.go_min(a.values, b.values))


def max_of(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``max_of(a, b)`` of scalars."""
    a, b = args
    assert isinstance(a, ScalarRow) and isinstance(b, ScalarRow)
    return ScalarRow(floats.go_max(a.values, b.values))


def pi(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``pi()``."""
    return ScalarRow(np.full(env.grid.count, np.pi))


def scalar(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``scalar(v)``: the value of the only float at a step, else NaN."""
    (vector,) = args
    assert isinstance(vector, Matrix)
    vector = vector.floats()
    counts = np.count_nonzero(vector.present, axis=0)
    # The only point of a column may hold any bits, so it is picked, not summed.
    picked = np.full(env.grid.count, np.nan)
    if vector.series_count:
        rows = np.argmax(vector.present, axis=0)
        single = counts == 1
        picked[single] = vector.values[rows[single], np.flatnonzero(single)]
    return ScalarRow(picked)


def vector(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``vector(s)``: one element without labels."""
    (row,) = args
    assert isinstance(row, ScalarRow)
    values = np.ascontiguousarray(row.values[None, :])
    return Matrix(LabelFrame.empty_labels(1), values, np.ones(values.shape, dtype=np.bool_))

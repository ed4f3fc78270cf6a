"""``sort`` and its kin: the order of an instant answer.

Range answers are ordered by labels whatever a query says, so there the functions only warn.
"""

import functools
import re

import numpy as np

from promql import ast
from promql.env import Env
from promql.matrix import Matrix, Text, Value

_CHUNKS = re.compile(r"[0-9]+|[^0-9]+")
_MAX_INT64 = 2**63 - 1


def sort(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``sort(v)``: floats by rising value, NaN last."""
    return _by_value(args[0], env.at(call.span), descending=False)


def sort_desc(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``sort_desc(v)``: floats by falling value, NaN last."""
    return _by_value(args[0], env.at(call.span), descending=True)


def sort_by_label(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``sort_by_label(v, label, ...)``: in natural order of the labels, then of all labels."""
    return _by_labels(args, env.at(call.span), descending=False)


def sort_by_label_desc(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``sort_by_label_desc(v, label, ...)``: the reverse of ``sort_by_label``."""
    return _by_labels(args, env.at(call.span), descending=True)


def _ineffective(env: Env) -> bool:
    """Whether the answer has an order of its own; warns if so."""
    if env.query.is_range or env.grid.count != 1:
        env.warn("sort is ineffective for range queries since results are always ordered by labels")
        return True
    return False


def _by_value(vector: Value, env: Env, *, descending: bool) -> Matrix:
    assert isinstance(vector, Matrix)
    vector = vector.floats()
    if _ineffective(env):
        return vector
    vector = vector.take(np.flatnonzero(vector.present[:, 0]))
    values = vector.values[:, 0]
    return vector.take(np.argsort(-values if descending else values, kind="stable"))


def _by_labels(args: list[Value], env: Env, *, descending: bool) -> Matrix:
    vector = args[0]
    assert isinstance(vector, Matrix)
    if _ineffective(env):
        return vector
    full = np.empty(vector.series_count, dtype=np.int64)
    full[vector.frame.sort_order()] = np.arange(vector.series_count)
    keys = [full]
    for name in reversed([arg.value for arg in args[1:] if isinstance(arg, Text)]):
        column = vector.frame.columns.get(name)
        if column is not None:
            keys.append(_natural_ranks(column.values)[column.codes])
    return vector.take(np.lexsort([-key for key in keys] if descending else keys))


def _natural_ranks(texts: tuple[str, ...]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """int64[len(texts)]: the place of each text in natural order."""
    order = sorted(range(len(texts)), key=lambda at: _natural_key(texts[at]))
    ranks = np.empty(len(texts), dtype=np.int64)
    ranks[order] = np.arange(len(texts))
    return ranks


@functools.total_ordering
class _Chunk:
    """A run of digits or of other characters; digits compare as numbers among themselves."""

    __slots__ = ("number", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.number = int(text) if text.isdigit() and int(text) <= _MAX_INT64 else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Chunk):
            return NotImplemented
        if self.number is not None and other.number is not None:
            return self.number == other.number
        return self.text == other.text

    def __lt__(self, other: "_Chunk") -> bool:
        if self.number is not None and other.number is not None:
            return self.number < other.number
        return self.text < other.text

    __hash__ = None  # type: ignore[assignment]


def _natural_key(text: str) -> tuple[list[_Chunk], str]:
    """Sorts ``a2`` before ``a10``; texts that differ only in leading zeros by themselves."""
    return [_Chunk(chunk) for chunk in _CHUNKS.findall(text)], text

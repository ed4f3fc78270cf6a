"""Answer: what the asker gets."""

from typing import Any

from promql.ast import ValueType
from promql.matrix import Matrix, ScalarRow, Text
from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.grid import Grid
from series.immutable import immutable


@immutable
class Raw:
    """A range vector: samples with their own times, without keys, labelled by ``frame``."""

    frame: LabelFrame
    batch: SeriesBatch


@immutable
class Answer:
    """The answer to a query.

    ``type`` and ``value`` go together:

    - SCALAR: a ScalarRow of one point, STRING: a Text (instant queries only).
    - VECTOR: a Matrix over the one instant of ``grid``, every point present, rows in no order but
      that of sort and topk.
    - MATRIX: of a range query a Matrix over ``grid``, rows sorted by labels, each with a point;
      of an instant query the Raw samples of a range selector or subquery.

    ``warnings`` and ``infos`` are in the form of the HTTP API. ``plan`` is there where the query
    was analyzed, see ``promql/analyze.py``.
    """

    type: ValueType
    value: Matrix | ScalarRow | Text | Raw
    grid: Grid
    warnings: list[str]
    infos: list[str]
    plan: dict[str, Any] | None = None

    @property
    def result_type(self) -> str:
        """``matrix``, ``vector``, ``scalar`` or ``string``, as the HTTP API names it."""
        return _RESULT_TYPES[self.type]


_RESULT_TYPES = {
    ValueType.MATRIX: "matrix",
    ValueType.VECTOR: "vector",
    ValueType.SCALAR: "scalar",
    ValueType.STRING: "string",
}

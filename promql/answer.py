"""Answer: what the asker gets."""

from dataclasses import dataclass

from promql.ast import ValueType
from promql.matrix import Matrix, ScalarRow, Text
from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.grid import Grid


@dataclass(frozen=True, slots=True)
class Raw:
    """A range vector: samples with their own times, without keys, labelled by ``frame``."""

    frame: LabelFrame
    batch: SeriesBatch


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a query.

    ``type`` and ``value`` go together:

    - SCALAR: a ScalarRow of one point, STRING: a Text (instant queries only).
    - VECTOR: a Matrix over the one instant of ``grid``, every point present, rows in no order but
      that of sort and topk.
    - MATRIX: of a range query a Matrix over ``grid``, rows sorted by labels, each with a point;
      of an instant query the Raw samples of a range selector or subquery.

    ``warnings`` and ``infos`` are in the form of the HTTP API.
    """

    type: ValueType
    value: Matrix | ScalarRow | Text | Raw
    grid: Grid
    warnings: list[str]
    infos: list[str]

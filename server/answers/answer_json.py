"""Answers of queries as the JSON of Prometheus' API, in slices."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from promql.answer import Answer, Raw
from promql.ast import ValueType
from promql.matrix import Matrix, ScalarRow, Text
from server.answers import result_json
from server.answers.result_json import Slice
from server.http import dumps

TRUNCATED = "results truncated due to limit"


def limited(answer: Answer, limit: int) -> Answer:
    """*answer* with its first *limit* series (0: all), and a warning where that leaves some out."""
    value = answer.value
    if not limit or not isinstance(value, Matrix | Raw) or value.frame.size <= limit:
        return answer
    rows = np.arange(limit, dtype=np.int64)
    if isinstance(value, Matrix):
        first: Matrix | Raw = value.take(rows)
    else:
        keep = np.arange(value.frame.size) < limit
        first = Raw(value.frame.take(rows), value.batch.take(keep))
    return replace(answer, value=first, warnings=[TRUNCATED, *answer.warnings])


def short(answer: Answer) -> bytes | None:
    """The whole JSON of a vector of few floats; None for all else, which ``slices`` writes."""
    value = answer.value
    if answer.type is not ValueType.VECTOR or not isinstance(value, Matrix):
        return None
    if value.series_count > result_json.FEW or value.histogram_ids is not None:
        return None
    rows = result_json.few(value.frame, answer.grid.start_ms, value.values[:, 0].tolist())
    return b"".join((_OPENING % b"vector", rows, _closing(answer, {})))


def slices(answer: Answer, extra: Mapping[str, Any]) -> Iterator[Slice]:
    """The whole JSON answer; *extra* are further members of its ``data``."""
    kind = answer.result_type
    yield _OPENING % kind.encode()
    yield from _result(answer, kind)
    yield _closing(answer, extra)


_OPENING = b'{"status":"success","data":{"resultType":"%b","result":'


def _closing(answer: Answer, extra: Mapping[str, Any]) -> bytes:
    """What follows the result."""
    if not (extra or answer.warnings or answer.infos):
        return b"}}"
    parts = [b',"%b":%b' % (name.encode(), dumps(value)) for name, value in extra.items()]
    parts.append(b"}")
    if answer.warnings:
        parts.append(b',"warnings":' + dumps(answer.warnings))
    if answer.infos:
        parts.append(b',"infos":' + dumps(answer.infos))
    return b"".join((*parts, b"}"))


def as_object(answer: Answer) -> dict[str, Any]:
    """The same as Python objects."""
    whole: dict[str, Any] = orjson.loads(b"".join(slices(answer, {})))
    return whole


def _result(answer: Answer, kind: str) -> Iterator[Slice]:
    start_ms = answer.grid.start_ms
    match answer.value:
        case Raw(frame, batch):
            return result_json.samples(frame, batch)
        case Text(text):
            return iter((result_json.point(start_ms, text),))
        case ScalarRow(values):
            return iter((result_json.point(start_ms, result_json.format_scalar(values[0])),))
        case Matrix() as matrix if kind == "vector":
            times_ms = np.full(matrix.series_count, start_ms, dtype=np.int64)
            ids = None if matrix.histogram_ids is None else matrix.histogram_ids[:, 0].copy()
            values = matrix.values[:, 0].copy()
            return result_json.vector(matrix.frame, times_ms, values, ids, matrix.histograms)
        case Matrix() as matrix:
            return result_json.matrix(
                matrix.frame,
                answer.grid.times_ms(),
                matrix.values,
                matrix.present,
                matrix.histogram_ids,
                matrix.histograms,
            )

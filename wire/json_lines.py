"""JSON lines, a series a line, as VictoriaMetrics exports and imports them::

    {"metric":{"__name__":"up","job":"a"},"values":[1,0],"timestamps":[1700000000000, ...]}

Times are unix milliseconds; a value is a number, null (NaN) or one of the texts ``Infinity``,
``-Infinity`` and ``NaN``.
"""

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from series.batch import SeriesBatch, build_batch
from series.labels import METRIC_NAME, Labels, quote
from wire.errors import Malformed
from wire.exposition_page import MALFORMED_LINE, Scraped, normal_nans

_SPECIAL = {"Infinity": np.inf, "+Infinity": np.inf, "Inf": np.inf, "+Inf": np.inf}
_SPECIAL |= {"-Infinity": -np.inf, "-Inf": -np.inf, "NaN": np.nan}
_Row = tuple[Labels, NDArray[np.int64], NDArray[np.float64]]


class JsonLinesDecoder:
    """Reads lines in blocks."""

    def __init__(self) -> None:
        self._lines_before = 0

    def feed(self, block: bytes) -> Scraped:
        """Decodes *block*, which holds whole lines; bad ones are refused and named.

        A row of the batch may have many samples here, all with explicit times.
        """
        rows: list[_Row] = []
        page = Scraped(build_batch(()), np.zeros(0, dtype=np.bool_))
        lines = block.split(b"\n")
        for number, line in enumerate(lines, self._lines_before + 1):
            if not line.strip():
                continue
            try:
                row = _row(line)
            except Malformed as error:
                page.refuse(MALFORMED_LINE, f"line {number}: {error}", Labels(), 0)
                continue
            if len(row[1]):
                rows.append(row)
        self._lines_before += len(lines) - (lines[-1] == b"")
        page.batch = _batch(rows)
        page.explicit = np.ones(len(rows), dtype=np.bool_)
        return page


def _batch(rows: list[_Row]) -> SeriesBatch:
    # The arrays are sequences of numbers too, only their type says otherwise.
    return build_batch(rows)  # type: ignore[arg-type]


def _row(line: bytes) -> _Row:
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"cannot parse JSON: {error.msg} at byte {error.pos}") from None
    if not isinstance(told, dict):
        raise Malformed("not a JSON object")
    labels = _labels(told.get("metric"))
    values, times_ms = told.get("values"), told.get("timestamps")
    if not isinstance(values, list) or not isinstance(times_ms, list):
        raise Malformed(f"missing values or timestamps array for series {labels}")
    if len(values) != len(times_ms):
        raise Malformed(
            f"{len(values)} values do not match {len(times_ms)} timestamps for series {labels}"
        )
    return labels, _times(times_ms, labels), _values(values, labels)


def _labels(metric: Any) -> Labels:
    if not isinstance(metric, dict) or not all(isinstance(v, str) for v in metric.values()):
        raise Malformed("missing metric object with texts as values")
    if "" in metric:
        raise Malformed(f"empty label name in {Labels.of(metric)}")
    if not metric.get(METRIC_NAME):
        raise Malformed(f"no metric name in {Labels.of(metric)}")
    return Labels.of(metric)


def _times(times_ms: list[Any], labels: Labels) -> NDArray[np.int64]:
    if set(map(type, times_ms)) <= {int}:
        try:
            return np.array(times_ms, dtype=np.int64)
        except OverflowError:
            pass
    wrong = next(t for t in times_ms if type(t) is not int or not -(2**63) <= t < 2**63)
    raise Malformed(f"timestamp {_shown(wrong)} is no integer of ms for series {labels}")


def _values(values: list[Any], labels: Labels) -> NDArray[np.float64]:
    if not set(map(type, values)) <= {int, float}:
        values = [_value(value, labels) for value in values]
    return normal_nans(np.array(values, dtype=np.float64))


def _value(value: Any, labels: Labels) -> float:
    if type(value) in (int, float):
        return float(value)
    if value is None:
        return np.nan
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    raise Malformed(f"value {_shown(value)} is no number for series {labels}")


def _shown(value: Any) -> str:
    # What is nested deeply cannot be printed.
    if isinstance(value, list | dict):
        return "[...]" if isinstance(value, list) else "{...}"
    return quote(str(value)[:100])

"""Compares an answer with what a promqltest script expects, as Prometheus' own runner does."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from promql.answer import Answer, Raw
from promql.matrix import Matrix, ScalarRow, Text
from series.labels import Labels
from tests.promqltest_format import Eval, Histogram, Notice, SampleValue

EPSILON = 1e-6
"""The relative tolerance of Prometheus' test runner."""
MIN_NORMAL = sys.float_info.min

Rows = list[tuple[Labels, dict[int, float]]]
"""Series and their points, time in ms -> value."""


class Mismatch(Exception):
    """The answer is not the expected one."""


# --- notes -----------------------------------------------------------------------------------


def check_notes(command: Eval, answer: Answer) -> None:
    for kind, texts in (("warn", answer.warnings), ("info", answer.infos)):
        if f"no_{kind}" in command.expects and texts:
            raise Mismatch(f"unexpected {kind}: {texts}")
        expected = command.expects.get(kind)
        if expected is not None:
            _check_texts(kind, expected, texts)


def _check_texts(kind: str, expected: list[Notice], texts: Sequence[str]) -> None:
    """Every expectation is met by some text, and every text meets some expectation."""
    if not texts:
        raise Mismatch(f"expected {kind}, got none")
    for notice in expected:
        if not any(notice.accepts(text) for text in texts):
            raise Mismatch(f"expected {kind} {notice.text!r}, got {texts}")
    for text in texts:
        if not any(notice.accepts(text) for notice in expected):
            raise Mismatch(f"unexpected {kind}: {text}")


# --- values ----------------------------------------------------------------------------------


def check_value(command: Eval, answer: Answer) -> None:
    value = answer.value
    if isinstance(value, Text):
        if value.value != command.string:
            raise Mismatch(f"expected string {command.string!r}, got {value.value!r}")
    elif isinstance(value, ScalarRow) and not command.is_range:
        check_scalar(command, float(value.values[0]))
    else:
        if command.scalar is not None:
            raise Mismatch(f"expected a scalar, got {answer.type.value}")
        rows = list(answer_rows(answer))
        if command.is_range or command.raw_range:
            check_sorted(rows)
        check_rows(command, rows)


def check_scalar(command: Eval, got: float) -> None:
    if command.scalar is None:
        raise Mismatch(f"expected a vector, got scalar {got!r}")
    if not almost_equal(got, command.scalar):
        raise Mismatch(f"expected {command.scalar!r}, got {got!r}")


def answer_rows(answer: Answer) -> Iterator[tuple[Labels, dict[int, float]]]:
    """The series of an answer that have points: labels and time in ms -> value."""
    times_ms = answer.grid.times_ms().tolist()
    value = answer.value
    if isinstance(value, Raw):
        batch = value.batch
        for row, labels in enumerate(value.frame.all_labels()):
            samples = batch.row_times_ms(row).tolist(), batch.row_values(row).tolist()
            yield labels, dict(zip(*samples, strict=True))
    elif isinstance(value, ScalarRow):
        yield Labels(), dict(zip(times_ms, value.values.tolist(), strict=True))
    elif isinstance(value, Matrix):
        value.check()
        for row, labels in enumerate(value.frame.all_labels()):
            present = value.present[row].tolist()
            points = zip(times_ms, value.values[row].tolist(), present, strict=True)
            if any(present):
                yield labels, {time_ms: v for time_ms, v, there in points if there}


def check_rows(command: Eval, rows: Rows) -> None:
    expected = [(labels, _expected_points(command, row)) for labels, row in command.series]
    expected = [(labels, points) for labels, points in expected if points]
    wanted = dict(expected)
    names = [labels for labels, _ in rows]
    if len(set(names)) < len(names):
        raise Mismatch(f"a label set stands twice: {_listed(names)}")
    if extra := set(names) - set(wanted):
        raise Mismatch(f"unexpected series {_listed(extra)}")
    if missing := set(wanted) - set(names):
        raise Mismatch(f"missing series {_listed(missing)}")
    if command.ordered and names != [labels for labels, _ in expected]:
        raise Mismatch(f"the order is {_listed(names)}")
    for labels, points in rows:
        _check_points(labels, wanted[labels], points)


def _expected_points(command: Eval, row: list[SampleValue | None]) -> dict[int, SampleValue]:
    if not command.is_range and not command.raw_range:
        if len(row) != 1 or row[0] is None:
            raise Mismatch("an instant query needs one expected value a series")
        return {command.at_ms: row[0]}
    if len(row) > (command.end_ms - command.start_ms) // command.step_ms + 1:
        raise Mismatch("more expected values than steps")
    return {
        command.start_ms + step * command.step_ms: value
        for step, value in enumerate(row)
        if value is not None
    }


def _check_points(
    labels: Labels, wanted: Mapping[int, SampleValue], got: Mapping[int, float]
) -> None:
    if list(wanted) != list(got):
        raise Mismatch(f"{labels}: expected points at {list(wanted)} ms, got {list(got)}")
    for time_ms, value in wanted.items():
        if isinstance(value, Histogram):
            raise Mismatch(f"{labels} at {time_ms} ms: expected a histogram, got {got[time_ms]!r}")
        if not almost_equal(value, got[time_ms]):
            raise Mismatch(f"{labels} at {time_ms} ms: expected {value!r}, got {got[time_ms]!r}")


def check_sorted(rows: Rows) -> None:
    names = [labels for labels, _ in rows]
    if names != sorted(names):
        raise Mismatch(f"not in the order of labels: {_listed(names)}")


def _listed(series: Iterable[Labels]) -> str:
    return ", ".join(str(labels) for labels in series)


def almost_equal(a: float, b: float, epsilon: float = EPSILON) -> bool:
    """Equality up to a relative error, as Prometheus' util/almost defines it; NaN equals NaN."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if a == b:
        return True
    difference, total = abs(a - b), abs(a) + abs(b)
    if a == 0 or b == 0 or total < MIN_NORMAL:
        return difference < epsilon * MIN_NORMAL
    return difference / min(total, sys.float_info.max) < epsilon

"""Compares an answer with what a promqltest script expects, as Prometheus' own runner does."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from promql.answer import Answer, Raw
from promql.matrix import Matrix, ScalarRow, Text
from series.histogram import Histogram, Histograms
from series.labels import Labels
from tests.promqltest_format import Eval, Notice
from tests.promqltest_histograms import Literal, SampleValue

EPSILON = 1e-6
"""The relative tolerance of Prometheus' test runner."""
MIN_NORMAL = sys.float_info.min

Points = dict[int, SampleValue]
Rows = Sequence[tuple[Labels, Mapping[int, SampleValue]]]
"""Series and their points, time in ms -> value."""
FloatRows = list[tuple[Labels, dict[int, float]]]
"""Those whose points are all floats."""


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


def answer_rows(answer: Answer) -> Iterator[tuple[Labels, Points]]:
    """The series of an answer that have points: labels and time in ms -> value."""
    times_ms = answer.grid.times_ms().tolist()
    value = answer.value
    if isinstance(value, Raw):
        batch = value.batch
        for row, labels in enumerate(value.frame.all_labels()):
            samples = slice(*batch.offsets[row : row + 2].tolist())
            ids = None if batch.histogram_ids is None else batch.histogram_ids[samples].tolist()
            values = _values(batch.row_values(row).tolist(), ids, batch.histograms)
            yield labels, dict(zip(batch.row_times_ms(row).tolist(), values, strict=True))
    elif isinstance(value, ScalarRow):
        yield Labels(), dict(zip(times_ms, value.values.tolist(), strict=True))
    elif isinstance(value, Matrix):
        value.check()
        for row, labels in enumerate(value.frame.all_labels()):
            there = value.present[row]
            ids = None if value.histogram_ids is None else value.histogram_ids[row][there].tolist()
            points = _values(value.values[row][there].tolist(), ids, value.histograms)
            if points:
                times = [time_ms for time_ms, here in zip(times_ms, there, strict=True) if here]
                yield labels, dict(zip(times, points, strict=True))


def _values(
    floats: list[float], ids: list[int] | None, histograms: Histograms | None
) -> list[SampleValue]:
    if ids is None or histograms is None:
        return [*floats]
    return [value if at < 0 else histograms.one(at) for value, at in zip(floats, ids, strict=True)]


def float_rows(answer: Answer) -> FloatRows:
    """The series of an answer without histograms."""
    return [
        (labels, {time_ms: value for time_ms, value in points.items() if isinstance(value, float)})
        for labels, points in answer_rows(answer)
    ]


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
    labels: Labels, wanted: Mapping[int, SampleValue], got: Mapping[int, SampleValue]
) -> None:
    if list(wanted) != list(got):
        raise Mismatch(f"{labels}: expected points at {list(wanted)} ms, got {list(got)}")
    for time_ms, value in wanted.items():
        if not same_value(value, got[time_ms]):
            raise Mismatch(f"{labels} at {time_ms} ms: expected {value!r}, got {got[time_ms]!r}")


def same_value(wanted: SampleValue, got: SampleValue) -> bool:
    """Equality up to the tolerance; histograms may differ in buckets that are empty."""
    if isinstance(wanted, Histogram) != isinstance(got, Histogram):
        return False
    if isinstance(wanted, Histogram) and isinstance(got, Histogram):
        return _same_histogram(wanted, got)
    assert isinstance(wanted, float) and isinstance(got, float)
    return almost_equal(wanted, got)


def _same_histogram(wanted: Histogram, got: Histogram) -> bool:
    if isinstance(wanted, Literal) and wanted.states_hint and wanted.hint != got.hint:
        return False
    layouts = [(h.schema, h.zero_threshold, h.bounds) for h in (wanted, got)]
    buckets = [[(at, n) for at, n in h.buckets if n != 0] for h in (wanted, got)]
    numbers = [
        [h.count, h.sum, h.zero_count, *(n for _, n in kept)]
        for h, kept in zip((wanted, got), buckets, strict=True)
    ]
    positions = [[at for at, _ in kept] for kept in buckets]
    return (
        layouts[0] == layouts[1]
        and positions[0] == positions[1]
        and all(map(almost_equal, *numbers))
    )


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

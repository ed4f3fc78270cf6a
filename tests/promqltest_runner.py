"""Runs promqltest scripts against the engine, in this process.

``python -m tests.promqltest_runner DIR [--json FILE]`` prints a table of the scripts in DIR and the
evals that fail. Histograms are loaded with the hints that Prometheus' database gives back.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from promql import ast
from promql.answer import Answer
from promql.engine import Engine
from promql.env import Options, QueryTimes
from promql.notes import ExecutionError
from promql.parser import ParseError, parse
from promql.printer import to_text
from series.grid import Grid
from series.labels import Labels
from series.ports import Context, Source, TooManySamples
from tests.memory_source import MemorySource
from tests.promqltest_compare import (
    Mismatch,
    Points,
    answer_rows,
    check_notes,
    check_rows,
    check_scalar,
    check_sorted,
    check_value,
)
from tests.promqltest_format import Clear, Eval, Load, Sample, ScriptError, parse_script
from tests.promqltest_histograms import (
    Samples,
    SampleValue,
    classic_part,
    from_classic,
    with_read_hints,
)

OPTIONS = Options(delayed_name_removal=True, use_start_timestamps=True)
"""What Prometheus' test engine runs with (lookback 5m and a subquery step of 1m are defaults)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one eval; ``reason`` is '' where it passed."""

    file: str
    line: int
    expr: str
    reason: str

    @property
    def passed(self) -> bool:
        return self.reason == ""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(slots=True)
class Store:
    """The samples loaded so far, by time in ms, and the start times of those that have one."""

    series: dict[Labels, dict[int, SampleValue]] = field(default_factory=dict)
    starts: dict[Labels, dict[int, int]] = field(default_factory=dict)

    def load(self, command: Load) -> None:
        series = dict(command.series)  # of equal lines the last one counts
        for labels, samples in series.items():
            for sample in samples:
                self._add(labels, sample)
        if command.with_nhcb:
            self._add_converted(series)

    def _add(self, labels: Labels, sample: Sample) -> None:
        row = self.series.setdefault(labels, {})
        if sample.time_ms in row:
            return
        row[sample.time_ms] = sample.value
        if sample.start_ms is not None:
            self.starts.setdefault(labels, {})[sample.time_ms] = sample.start_ms

    def _add_converted(self, series: Mapping[Labels, Sequence[Sample]]) -> None:
        """The histograms that the classic ones among *series* make."""
        parts: dict[tuple[Labels, int], list[tuple[str, str, float]]] = {}
        for labels, samples in series.items():
            found = classic_part(labels)
            if found is None:
                continue
            part, target = found
            for sample in samples:
                if isinstance(sample.value, float):
                    place = target, sample.time_ms
                    parts.setdefault(place, []).append((part, labels.get("le"), sample.value))
        for (target, time_ms), found_parts in sorted(parts.items(), key=lambda item: item[0][1]):
            self._add(target, Sample(time_ms, from_classic(found_parts)))

    def rows(self) -> dict[Labels, Samples]:
        """The samples of each series, rising in time, with the hints that a database gives."""
        return {
            labels: with_read_hints(sorted(row.items(), key=lambda sample: sample[0]))
            for labels, row in self.series.items()
        }


MakeSource = Callable[[Store], Source]


def memory_source(store: Store) -> Source:
    return MemorySource(store.rows(), store.starts)


# --- running ---------------------------------------------------------------------------------


def run_script(
    name: str, text: str, make_source: MakeSource = memory_source, options: Options = OPTIONS
) -> list[Outcome]:
    """The outcome of every eval of the script *text*; ScriptError where it breaks the format."""
    engine = Engine(options)
    store = Store()
    source: Source | None = None
    outcomes = []
    for command in parse_script(text):
        if isinstance(command, Clear):
            store, source = Store(), None
        elif isinstance(command, Load):
            store.load(command)
            source = None
        else:
            source = source or make_source(store)
            reason = _run_eval(engine, source, command)
            outcomes.append(Outcome(name, command.line, command.expr, reason))
    return outcomes


def run_directory(
    directory: Path, make_source: MakeSource = memory_source, only: Sequence[str] = ()
) -> list[Outcome]:
    """The outcomes of the scripts ``*.test`` in *directory*, by name and line."""
    outcomes = []
    for path in sorted(directory.glob("*.test")):
        if not only or path.name in only:
            try:
                outcomes += run_script(path.name, path.read_text(), make_source)
            except ScriptError as error:
                raise ScriptError(f"{path.name}: {error}") from error
    return outcomes


def _run_eval(engine: Engine, source: Source, command: Eval) -> str:
    """Why the eval fails, '' where it passes."""
    try:
        answer = _ask(engine, source, command)
    except (ParseError, ExecutionError, TooManySamples) as error:
        if command.must_fail:
            told = all(notice.accepts(str(error)) for notice in command.expects["fail"])
            return "" if told else f"another error: {error}"
        return f"error: {error}"
    except Exception as error:  # a crash is a failure of this eval, not of the run
        return f"crash: {type(error).__name__}: {error}"
    if command.must_fail:
        return "expected an error, got none"
    try:
        check_notes(command, answer)
        check_value(command, answer)
        _check_inside_range_query(engine, source, command)
        _check_pinned(engine, source, command)
    except Mismatch as mismatch:
        return str(mismatch)
    return ""


def _ask(engine: Engine, source: Source, command: Eval) -> Answer:
    if command.is_range:
        times = QueryTimes(command.start_ms, command.end_ms, command.step_ms)
        return engine.range(source, command.expr, times, Context())
    return engine.instant(source, command.expr, command.at_ms, Context())


# --- the same question asked differently -----------------------------------------------------

_ASKS_FOR_THE_QUERY = re.compile(r"\b(?:start|end|range|step)\s*\(\s*\)")


def _check_inside_range_query(engine: Engine, source: Source, command: Eval) -> None:
    """An instant query answers what a range query from a minute before to one after says there."""
    fixed = command.is_range or command.raw_range or command.string is not None
    if fixed or _ASKS_FOR_THE_QUERY.search(command.expr):
        return
    times = QueryTimes(command.at_ms - 60_000, command.at_ms + 60_000, 60_000)
    try:
        rows = list(answer_rows(engine.range(source, command.expr, times, Context())))
        check_sorted(rows)
        here = [(labels, _only(points, command.at_ms)) for labels, points in rows]
        here = [(labels, points) for labels, points in here if points]
        if command.scalar is not None:
            if [labels for labels, _ in here] != [Labels()]:
                raise Mismatch("expected a scalar")
            value = here[0][1][command.at_ms]
            assert isinstance(value, float)
            check_scalar(command, value)
        else:
            check_rows(replace(command, ordered=False), here)
    except Mismatch as mismatch:
        raise Mismatch(f"inside a range query: {mismatch}") from None
    except Exception as error:
        raise Mismatch(f"inside a range query: {type(error).__name__}: {error}") from error


def _only(points: Points, at_ms: int) -> Points:
    return {at_ms: points[at_ms]} if at_ms in points else {}


_KNOW_THE_TIME = {
    *("minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month"),
    *("year", "time", "timestamp", "predict_linear", "start", "end", "range", "step"),
}


def _check_pinned(engine: Engine, source: Source, command: Eval) -> None:
    """With ``@ <its time>`` on every selector an instant query answers the same at any time."""
    if command.is_range or command.string is not None:
        return
    at_ms = command.at_ms
    pinned, timeless = _pin(parse(command.expr), at_ms)
    expr = to_text(pinned)
    others = [-10 * at_ms, 0, at_ms // 5, at_ms, 10 * at_ms] if timeless else [at_ms]
    for other_ms in dict.fromkeys(others):
        try:
            answer = engine.instant(source, expr, other_ms, Context())
            moved = replace(answer, grid=Grid.instant(at_ms))
            check_value(command, moved)
        except Mismatch as mismatch:
            raise Mismatch(f"as {expr} at {other_ms} ms: {mismatch}") from None
        except Exception as error:
            text = f"as {expr} at {other_ms} ms: {type(error).__name__}: {error}"
            raise Mismatch(text) from error


def _pin(node: Any, at_ms: int) -> tuple[Any, bool]:
    """*node* with all outermost selectors at *at_ms*; whether nothing else in it knows the time."""
    if isinstance(node, tuple):
        parts = [_pin(part, at_ms) for part in node]
        return tuple(part for part, _ in parts), all(timeless for _, timeless in parts)
    if isinstance(node, ast.VectorSelector | ast.Subquery):
        modifiers = node.modifiers
        if modifiers.at is None:
            node = replace(node, modifiers=replace(modifiers, at=at_ms))
        return node, not isinstance(modifiers.at, ast.AtAnchor)
    if not isinstance(node, ast.Expr):
        return node, True
    pinned = {part.name: _pin(getattr(node, part.name), at_ms) for part in fields(node)}
    timeless = all(timeless for _, timeless in pinned.values())
    if isinstance(node, ast.Call):
        timeless = timeless and node.name not in _KNOW_THE_TIME
    return replace(node, **{name: part for name, (part, _) in pinned.items()}), timeless


# --- command line ----------------------------------------------------------------------------


def _print_table(outcomes: Sequence[Outcome]) -> None:
    print(f"{'file':<28} {'passed':>7} {'failed':>7}")
    for name in [*dict.fromkeys(outcome.file for outcome in outcomes), ""]:
        rows = [outcome for outcome in outcomes if outcome.file == name or not name]
        passed = sum(outcome.passed for outcome in rows)
        print(f"{name or 'all':<28} {passed:>7} {len(rows) - passed:>7}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs promqltest scripts in this process.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--json", type=Path, help="write all outcomes to this file")
    parser.add_argument("--only", action="append", default=[], help="a script's name (repeatable)")
    parser.add_argument("--quiet", action="store_true", help="print the table only")
    arguments = parser.parse_args()
    outcomes = run_directory(arguments.directory, only=arguments.only)
    if not arguments.quiet:
        for outcome in outcomes:
            if not outcome.passed:
                print(f"{outcome.place} {outcome.expr}\n    {outcome.reason}")
    _print_table(outcomes)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())

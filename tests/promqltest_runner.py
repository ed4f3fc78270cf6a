"""Runs promqltest scripts against the engine, in this process.

``python -m tests.promqltest_runner DIR [--json FILE] [--expected FILE]`` prints a table of the
scripts in DIR and the evals that fail; ``--expected`` writes these into the list that
``tests/promql/test_upstream_scripts.py`` holds the engine to.

Samples that a Source cannot hold yet, native histograms and start timestamps, are left out of a
load. An eval whose selectors match series with such samples is *blind*: it may pass or fail for
that reason alone, and is counted apart.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
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
from series.labels import METRIC_NAME, Labels
from series.ports import Context, Source, TooManySamples
from tests.memory_source import MemorySource
from tests.promqltest_compare import (
    Mismatch,
    answer_rows,
    check_notes,
    check_rows,
    check_scalar,
    check_sorted,
    check_value,
)
from tests.promqltest_format import Clear, Eval, Histogram, Load, ScriptError, parse_script

OPTIONS = Options(delayed_name_removal=True, use_start_timestamps=True)
"""What Prometheus' test engine runs with (lookback 5m and a subquery step of 1m are defaults)."""

Floats = Mapping[Labels, Mapping[int, float]]
"""Series -> time in ms -> value."""
MakeSource = Callable[[Floats], Source]

NATIVE_HISTOGRAMS = "native histograms"
START_TIMESTAMPS = "start timestamps"
_NOT_SUPPORTED = re.compile(r"error: (.*?)(?: modifier)? is not supported yet")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one eval.

    ``reason`` is '' where it passed. ``missing`` names the kinds of samples that its selectors
    match and that the load had to leave out.
    """

    file: str
    line: int
    expr: str
    reason: str
    missing: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.reason == ""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def feature(self) -> str:
        """The feature for whose absence the eval fails, '' where that explains nothing."""
        if refused := _NOT_SUPPORTED.match(self.reason):
            return refused[1]
        return ", ".join(self.missing)


@dataclass(slots=True)
class Store:
    """The samples loaded so far, and the series whose other samples were left out, by kind."""

    series: dict[Labels, dict[int, float]] = field(default_factory=dict)
    left_out: dict[str, list[Labels]] = field(default_factory=dict)

    def load(self, command: Load) -> None:
        for labels, samples in dict(command.series).items():  # of equal lines the last one counts
            floats = {s.time_ms: s.value for s in samples if not isinstance(s.value, Histogram)}
            if floats:
                row = self.series.setdefault(labels, {})
                row.update((time_ms, v) for time_ms, v in floats.items() if time_ms not in row)
            if len(floats) < len(samples):
                self.left_out.setdefault(NATIVE_HISTOGRAMS, []).append(labels)
            if any(sample.start_ms is not None for sample in samples):
                self.left_out.setdefault(START_TIMESTAMPS, []).append(labels)
            if command.with_nhcb and (converted := _without_suffix(labels)) is not None:
                self.left_out.setdefault(NATIVE_HISTOGRAMS, []).append(converted)

    def missing(self, expr: str) -> tuple[str, ...]:
        """The kinds of left-out samples among the series that *expr* selects."""
        try:
            selectors = list(_selectors(parse(expr)))
        except ParseError:
            return ()
        return tuple(
            kind
            for kind, series in self.left_out.items()
            if any(_selects(selector, labels) for selector in selectors for labels in series)
        )


def _without_suffix(labels: Labels) -> Labels | None:
    """The native histogram that ``load_with_nhcb`` makes of a classic series."""
    name, found, _ = labels.metric.rpartition("_")
    if not found or labels.metric[len(name) + 1 :] not in ("bucket", "count", "sum"):
        return None
    return Labels.of({**labels.without(("le",)).as_dict(), METRIC_NAME: name})


def _selectors(node: object) -> Iterator[ast.VectorSelector]:
    if isinstance(node, ast.VectorSelector):
        yield node
    elif isinstance(node, tuple):
        for part in node:
            yield from _selectors(part)
    elif is_dataclass(node):
        for part in fields(node):
            yield from _selectors(getattr(node, part.name))


def _selects(selector: ast.VectorSelector, labels: Labels) -> bool:
    return all(matcher.matches(labels.get(matcher.name)) for matcher in selector.all_matchers)


def memory_source(series: Floats) -> Source:
    return MemorySource({labels: sorted(row.items()) for labels, row in series.items()})


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
            source = source or make_source(store.series)
            reason = _run_eval(engine, source, command)
            missing = store.missing(command.expr)
            outcomes.append(Outcome(name, command.line, command.expr, reason, missing))
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
            check_scalar(command, here[0][1][command.at_ms])
        else:
            check_rows(replace(command, ordered=False), here)
    except Mismatch as mismatch:
        raise Mismatch(f"inside a range query: {mismatch}") from None
    except Exception as error:
        raise Mismatch(f"inside a range query: {type(error).__name__}: {error}") from error


def _only(points: dict[int, float], at_ms: int) -> dict[int, float]:
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


def expected_failures(outcomes: Sequence[Outcome]) -> str:
    """The text of a list of failures: a line an eval, ``file:line`` and the missing feature."""
    head = "# Written by: python -m tests.promqltest_runner DIR --expected FILE\n"
    lines = [f"{o.place} {o.feature or 'UNEXPLAINED ' + o.reason}\n" for o in outcomes]
    return head + "".join(
        line for line, outcome in zip(lines, outcomes, strict=True) if not outcome.passed
    )


def _print_table(outcomes: Sequence[Outcome]) -> None:
    print(f"{'file':<28} {'passed':>7} {'failed':>7} {'blind':>7}")
    for name in [*dict.fromkeys(outcome.file for outcome in outcomes), ""]:
        rows = [outcome for outcome in outcomes if outcome.file == name or not name]
        passed = [outcome for outcome in rows if outcome.passed]
        blind = sum(bool(outcome.missing) for outcome in passed)
        print(f"{name or 'all':<28} {len(passed):>7} {len(rows) - len(passed):>7} {blind:>7}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs promqltest scripts in this process.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--json", type=Path, help="write all outcomes to this file")
    parser.add_argument("--expected", type=Path, help="write the list of failures to this file")
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
    if arguments.expected:
        arguments.expected.write_text(expected_failures(outcomes))
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())

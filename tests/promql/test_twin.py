"""The engine against the slow twin, over random data and random queries."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from promql.engine import Engine
from promql.env import Options, QueryTimes
from promql.notes import ExecutionError
from promql.parser import parse
from series.histogram import Histogram
from series.labels import Labels
from series.ports import Context
from tests.data_strategies import Database, Span, databases, queries, spans
from tests.memory_source import MemorySource
from tests.promql.test_own_scripts import SCRIPTS
from tests.promqltest_compare import check_rows, check_scalar, float_rows
from tests.promqltest_format import Clear, Eval, Load, parse_script
from tests.promqltest_runner import Store
from tests.slow_twin import Answer, Twin
from tests.slow_twin_parts import TwinError, Unknown

TOLERANCE = 1e-12


def _same(a: float, b: float) -> bool:
    """Equal up to the last digits: compilers may order a product differently."""
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=TOLERANCE)


def _differences(wanted: Answer, got: Answer) -> list[str]:
    texts = [f"only the twin has {labels}" for labels in wanted.keys() - got.keys()]
    texts += [f"only the engine has {labels}" for labels in got.keys() - wanted.keys()]
    for labels in wanted.keys() & got.keys():
        a, b = wanted[labels], got[labels]
        if a.keys() != b.keys() or not all(_same(a[t], b[t]) for t in a):
            texts.append(f"{labels}: {a} by the twin, {b} by the engine")
    return texts


_CASES = {
    "data": databases(),
    "span": spans(),
    "query": queries(),
    "delayed": st.booleans(),
    "slab_rows": st.sampled_from([None, 1, 3]),
}
_SETTINGS = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@settings(_SETTINGS, max_examples=100)
@given(**_CASES)
def test_engine_and_twin_agree(
    data: Database, span: Span, query: str, delayed: bool, slab_rows: int | None
) -> None:
    """Labels, presence and values agree; where one fails, the other fails alike."""
    _check(data, span, query, delayed, slab_rows)


@pytest.mark.long
@settings(_SETTINGS, max_examples=20_000)
@given(**_CASES)
def test_engine_and_twin_agree_at_length(
    data: Database, span: Span, query: str, delayed: bool, slab_rows: int | None
) -> None:
    """The same over many more cases."""
    _check(data, span, query, delayed, slab_rows)


def _check(data: Database, span: Span, query: str, delayed: bool, slab_rows: int | None) -> None:
    note(query)
    twin = Twin(data, span.start_ms, span.end_ms, span.step_ms, delayed)
    engine = Engine(Options(delayed_name_removal=delayed), slab_rows)
    source = MemorySource(data)
    try:
        wanted = twin.answer(parse(query))
    except TwinError as error:
        event("fails")
        # The engine goes node by node, the twin step by step: of several errors at several steps
        # each may meet another one first.
        one_step = not span.is_range and ":" not in query
        with pytest.raises(ExecutionError, match=re.escape(str(error)) if one_step else None):
            _ask(engine, source, query, span)
        return
    event("answers" if wanted else "answers nothing")
    differences = _differences(wanted, _ask(engine, source, query, span))
    assert not differences, "\n".join(differences)


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_twin_and_scripts_agree(path: Path) -> None:
    """The twin answers our scripts as well, so two independent sources stand behind the engine."""
    store = Store()
    answered = 0
    for command in parse_script(path.read_text()):
        if isinstance(command, Clear):
            store = Store()
        elif isinstance(command, Load):
            store.load(command)
        elif not command.must_fail and not command.raw_range:
            answered += _twin_answers(store, command)
    assert answered or path.stem in ("errors", "extended", "native_histograms")


def _twin_answers(store: Store, command: Eval) -> bool:
    """Whether the twin knows all that the eval needs; Mismatch where its answer is another."""
    if any(isinstance(v, Histogram) for row in store.series.values() for v in row.values()):
        return False
    step_ms = command.step_ms if command.is_range else 1
    data = {
        labels: sorted((time_ms, v) for time_ms, v in row.items() if isinstance(v, float))
        for labels, row in store.series.items()
    }
    twin = Twin(data, command.start_ms, command.end_ms, step_ms, delayed=True)
    try:
        answer = twin.answer(parse(command.expr))
    except Unknown:
        return False
    if command.scalar is not None:
        check_scalar(command, answer[Labels()][command.at_ms])
    else:
        check_rows(replace(command, ordered=False), list(answer.items()))
    return True


def _ask(engine: Engine, source: MemorySource, query: str, span: Span) -> Answer:
    context = Context()
    if not span.is_range:
        return dict(float_rows(engine.instant(source, query, span.start_ms, context)))
    times = QueryTimes(span.start_ms, span.end_ms, span.step_ms)
    return dict(float_rows(engine.range(source, query, times, context)))

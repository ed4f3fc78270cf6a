"""The judge of ``o11y bench faults`` sees every kind of loss."""

import random
from io import StringIO
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.faults import report, run
from benchmarks.faults.bit_flip import flip_one
from benchmarks.faults.outcome import Outcome
from benchmarks.faults.rows import ROWS
from benchmarks.faults.systems import OURS, PROMETHEUS, SYSTEMS, System
from benchmarks.faults.truth import Count, Series, State, Writer

FIRST_MS, STEP_MS = 1_000_000, 1_000


def writer(*states: State) -> Writer:
    return Writer(3, FIRST_MS, STEP_MS, rows=2, states=list(states))


def stored(one: Writer) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What a server answers that has kept all that *one* sent."""
    requests = np.arange(len(one.states))
    times = FIRST_MS + requests * STEP_MS
    return {f"{row}": (times, one.values(requests, row)) for row in range(one.rows)}


def judged(one: Writer, series: Series) -> Count:
    return one.find(series)[0]


ACKED = State.ACKED, State.ACKED, State.ACKED


def test_what_is_all_there_is_readable() -> None:
    """Six samples of three requests."""
    one = writer(*ACKED)
    assert judged(one, stored(one)) == Count(acked=6, readable=6)


def test_a_missing_sample_and_a_missing_series_are_lost() -> None:
    """The request of a lost sample is told."""
    one = writer(*ACKED)
    series = stored(one)
    times, values = series["1"]
    series["1"] = times[[0, 2]], values[[0, 2]]
    count, lost = one.find(series)
    assert count == Count(acked=6, readable=5, lost=1)
    assert lost.tolist() == [False, True, False]
    assert judged(one, {}) == Count(acked=6, lost=6)


def test_another_value_is_lost_and_invented() -> None:
    """What is read must be what was sent."""
    one = writer(*ACKED)
    series = stored(one)
    series["0"][1][1] += 1
    assert judged(one, series) == Count(acked=6, readable=5, lost=1, invented=1)


def test_times_and_series_that_were_never_sent_are_invented() -> None:
    """Off the grid, before, behind, and of a row that does not exist."""
    one = writer(*ACKED)
    series = stored(one)
    times, values = series["0"]
    odd = np.array([FIRST_MS - STEP_MS, FIRST_MS + 3 * STEP_MS, FIRST_MS + 1])
    series["0"] = np.concatenate([times, odd]), np.concatenate([values, values])
    series["2"] = times[:1], values[:1]
    assert judged(one, series) == Count(acked=6, readable=6, invented=4)


def test_the_same_sample_twice_is_double() -> None:
    """Once more than it should be."""
    one = writer(*ACKED)
    series = stored(one)
    series["0"] = np.repeat(series["0"][0], 2), np.repeat(series["0"][1], 2)
    assert judged(one, series) == Count(acked=6, readable=6, double=3)


def test_requests_without_an_answer_may_be_there_or_not() -> None:
    """Whole or in part; nothing of that is lost or invented."""
    one = writer(State.ACKED, State.UNANSWERED, State.REFUSED)
    series = stored(one)
    assert judged(one, series) == Count(acked=2, readable=2)
    series["0"] = series["0"][0][:1], series["0"][1][:1]
    assert judged(one, series) == Count(acked=2, readable=2)


def test_a_part_of_the_requests_is_judged_alone() -> None:
    """First and end count requests."""
    one = writer(*ACKED)
    series = {row: (times[1:2], values[1:2]) for row, (times, values) in stored(one).items()}
    assert one.find(series, 1, 2)[0] == Count(acked=2, readable=2)
    assert one.find(series, 1)[0] == Count(acked=4, readable=2, lost=2)


def test_values_are_whole_and_differ() -> None:
    """So that a sample of another writer, request or row is seen."""
    requests = np.arange(1000)
    drawn = np.concatenate(
        [Writer(n, 0, 1).values(requests, row) for n in range(3) for row in range(3)]
    )
    assert len(np.unique(drawn)) == 9000
    assert (drawn == np.floor(drawn)).all() and (drawn < 2**40).all()


def test_one_bit_flips_in_one_file(tmp_path: Path) -> None:
    """Of the region asked for; other files and other regions stay."""
    system = System("x", "X", lambda *_: None, "log", "", {"data": ["*/data"]})  # type: ignore[arg-type]
    for name in ("a/data", "a/index", "b/data"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(100))
    flipped = flip_one(system, tmp_path, "data", random.Random(1))
    assert flipped in ("a/data", "b/data")
    for file in ("a/data", "a/index", "b/data"):
        bits = sum(byte.bit_count() for byte in (tmp_path / file).read_bytes())
        assert bits == (file == flipped)
    assert flip_one(system, tmp_path, "index", random.Random(1)) is None


def test_the_verdict_is_on_ours() -> None:
    """Losses fail it, but for samples on which a bit flipped; those of others do not matter."""
    lost, double = Outcome(Count(2, 1, 1)), Outcome(Count(1, 1, 0, 0, 1))
    assert run.all_sound({"kill": {OURS: Outcome(Count(1, 1)), PROMETHEUS: lost}})
    assert not run.all_sound({"kill": {OURS: lost}})
    assert run.all_sound({"flip-data": {OURS: lost}})
    assert not run.all_sound({"flip-data": {OURS: double}})
    assert not run.all_sound({"flip-data": {OURS: Outcome(failed="gone")}})


def test_the_tables_hold_every_row_and_system() -> None:
    """Figures, notes and reasons; in Markdown what is sound stands out."""
    outcomes = {
        "kill": {
            OURS: Outcome(Count(1234, 1234), ready_s=[1.0, 3.0, 2.0], notes=["3 kills"]),
            PROMETHEUS: Outcome(Count(7, 5, 2, 0, 4)),
        },
        "disk-full": {OURS: Outcome(skipped="no root"), PROMETHEUS: Outcome(failed="not ready")},
    }
    console = Console(file=StringIO(), width=150)
    report.print_table(outcomes, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("1,234", "2.0 (max 3.0)", "3 kills", "no root", "not ready", ROWS["kill"][0]):
        assert words in text
    head, _, first, second = report.markdown(outcomes).splitlines()
    assert SYSTEMS[OURS].title in head and SYSTEMS[PROMETHEUS].title in head
    assert "**lost 0 of 1,234**; ready in 2.0 (max 3.0) s; 3 kills" in first
    assert "lost 2 of 7, 4 double" in first and "**lost 2" not in first
    assert "not done: no root" in second and "not ready" in second

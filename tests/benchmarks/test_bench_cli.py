"""``o11y bench`` runs the harness, and its verbs stay verbs."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import run
from benchmarks.options import Options
from server.command.bench_cli import bench_app


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """The options of the runs, none of which takes place; each answers that nothing differs."""
    seen: list[Options] = []

    def record(options: Options) -> int:
        seen.append(options)
        return 0

    monkeypatch.setattr(run, "run", record)
    return seen


def test_bench_hands_its_options_to_the_harness(asked: list[Options]) -> None:
    """Servers by URL, and what is to be written where."""
    arguments = ["--url", "a=http://h:1", "--url", "b=http://h:2", "--queries", "a,d"]
    arguments += ["--json", "x.json", "--churn", "0.3", "--server-cores", "2"]
    assert CliRunner().invoke(bench_app, arguments).exit_code == 0
    [options] = asked
    assert options.urls == {"a": "http://h:1", "b": "http://h:2"} and options.started == ["o11y"]
    assert options.letters == ["a", "d"] and options.cores == [2]
    assert options.json == Path("x.json") and options.workload().churn == 0.3


def test_wrong_options_are_told_and_nothing_runs(asked: list[Options]) -> None:
    """With the sentence of the harness."""
    found = CliRunner().invoke(bench_app, ["--peers", "nobody"])
    assert found.exit_code == 2 and "no nobody among" in found.output
    assert not asked


def test_a_verb_runs_nothing_else(asked: list[Options]) -> None:
    """``o11y bench faults`` is not a run of the harness."""
    assert CliRunner().invoke(bench_app, ["faults", "--only", "nothing"]).exit_code == 2
    assert not asked

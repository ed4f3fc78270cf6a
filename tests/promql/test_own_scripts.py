"""Our own scripts: every eval answers what was worked out without the engine."""

from pathlib import Path

import pytest

from tests.promqltest_format import Eval, parse_script
from tests.promqltest_runner import run_script

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.test"))


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_script(path: Path) -> None:
    """Every eval of the script passes."""
    failed = [o for o in run_script(path.name, path.read_text()) if not o.passed]
    assert not failed, "\n".join(f"{o.place} {o.expr}\n    {o.reason}" for o in failed)


def test_there_are_at_least_600_evals() -> None:
    """The scripts hold no fewer evals than were asked for."""
    commands = [command for path in SCRIPTS for command in parse_script(path.read_text())]
    assert sum(isinstance(command, Eval) for command in commands) >= 600

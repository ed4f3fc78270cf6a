"""Prometheus' own test scripts: every eval passes.

The scripts are read from ``$PROMQLTEST_DIR``, else from ``../shared/promqltest`` beside the
checkout; without them the tests are skipped.
"""

import os
from pathlib import Path

import pytest

from tests.promqltest_runner import Outcome, run_directory

CHECKOUT = Path(__file__).parents[2]
SCRIPTS = Path(os.environ.get("PROMQLTEST_DIR") or CHECKOUT.parent / "shared" / "promqltest")

pytestmark = pytest.mark.skipif(
    not any(SCRIPTS.glob("*.test")),
    reason=f"no promqltest scripts: set PROMQLTEST_DIR or put them in {SCRIPTS}",
)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return run_directory(SCRIPTS)


def test_every_eval_passes(outcomes: list[Outcome]) -> None:
    """Each eval answers what the script expects, with the notes that it expects."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    assert not failed, "\n".join(f"{o.place} {o.expr}\n    {o.reason}" for o in failed)


def test_all_evals_are_run(outcomes: list[Outcome]) -> None:
    """None of the set's evals is overlooked."""
    assert len(outcomes) == 1465

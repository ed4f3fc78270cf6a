"""Prometheus' own test scripts: exactly the listed evals fail, each for a feature we lack.

The scripts are read from ``$PROMQLTEST_DIR``, else from ``../shared/promqltest`` beside the
checkout; without them the tests are skipped.
"""

import os
from pathlib import Path

import pytest

from tests.promqltest_runner import Outcome, expected_failures, run_directory

CHECKOUT = Path(__file__).parents[2]
SCRIPTS = Path(os.environ.get("PROMQLTEST_DIR") or CHECKOUT.parent / "shared" / "promqltest")
LIST = Path(__file__).with_name("expected_failures.txt")
REWRITE = f"python -m tests.promqltest_runner DIR --expected {LIST.relative_to(CHECKOUT)}"

FEATURES = {
    "native histograms",
    "start timestamps",
    "native histograms, start timestamps",
    "start_timestamp()",
}
"""What an eval may be missing: kinds of samples, and constructs that later work evaluates."""

pytestmark = pytest.mark.skipif(
    not any(SCRIPTS.glob("*.test")),
    reason=f"no promqltest scripts: set PROMQLTEST_DIR or put them in {SCRIPTS}",
)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return run_directory(SCRIPTS)


def _listed() -> dict[str, str]:
    """``file:line`` -> the missing feature."""
    lines = [line for line in LIST.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split(" ", 1) for line in lines)


def test_only_the_listed_evals_fail(outcomes: list[Outcome]) -> None:
    """No eval fails that is not listed."""
    listed = _listed()
    new = [o for o in outcomes if not o.passed and o.place not in listed]
    assert not new, "\n".join(f"{o.place} {o.expr}\n    {o.reason}" for o in new)


def test_every_listed_eval_fails(outcomes: list[Outcome]) -> None:
    """An eval that passes leaves the list, so the list shows what is really missing."""
    passing = [o.place for o in outcomes if o.passed and o.place in _listed()]
    assert not passing, f"these pass now: {passing}; to take them off the list: {REWRITE}"


def test_the_list_names_missing_features_only(outcomes: list[Outcome]) -> None:
    """Each listed eval fails for the feature that the list names, a known one."""
    listed = _listed()
    assert set(listed.values()) <= FEATURES
    wrong = [o.place for o in outcomes if not o.passed and listed.get(o.place) != o.feature]
    assert not wrong, f"listed for another reason: {wrong}; to write the list anew: {REWRITE}"


def test_enough_evals_pass(outcomes: list[Outcome]) -> None:
    """At least 560 evals of the whole set pass."""
    assert len(outcomes) == 1465
    assert sum(outcome.passed for outcome in outcomes) >= 560


def test_the_list_is_written_from_outcomes() -> None:
    """The list holds a line for each failing eval, and says so where no feature explains it."""
    outcomes = [
        Outcome("a.test", 1, "up", ""),
        Outcome("a.test", 2, "h", "missing series {}", ("native histograms",)),
        Outcome("a.test", 3, "x[1m] anchored", "error: anchored modifier is not supported yet"),
        Outcome("a.test", 4, "up", "missing series {}"),
    ]
    assert expected_failures(outcomes).splitlines()[1:] == [
        "a.test:2 native histograms",
        "a.test:3 anchored",
        "a.test:4 UNEXPLAINED missing series {}",
    ]

"""Random queries answer as Debian's Prometheus does, over the same samples."""

import os

import pytest

from tests.differential.campaign import run_campaign
from tests.differential.conftest import Pair

pytestmark = pytest.mark.server

SEED = int(os.environ.get("DIFFERENTIAL_SEED", "20260815"))


def test_answers_are_the_references(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    """Some hundred answers are equal but for the known differences, and most have data."""
    report = run_campaign(pair.ours, pair.reference, SEED, 400)
    with capsys.disabled():
        print(f"\n{report}")
    assert not report.faults, str(report)
    assert report.with_data >= 0.5 * report.asked
    assert report.with_errors >= 0.02 * report.asked
    assert report.known.total() <= 0.02 * report.asked


@pytest.mark.long
def test_answers_are_the_references_at_length(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same over ten thousand queries of another seed."""
    report = run_campaign(pair.ours, pair.reference, SEED + 1, 10_000, rounds_before=4)
    with capsys.disabled():
        print(f"\n{report}")
    assert not report.faults, str(report)
    assert report.with_data >= 0.5 * report.asked

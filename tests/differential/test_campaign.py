"""Random queries answer as Debian's Prometheus does, over the same samples."""

import os

import pytest

from promql.functions import AGGREGATORS, FUNCTIONS
from tests.differential.campaign import Report, run_campaign
from tests.differential.conftest import Pair
from tests.differential.constructs import KNOWN, YOUNGER, constructs
from tests.differential.generate import Question

pytestmark = pytest.mark.server

SEED = int(os.environ.get("DIFFERENTIAL_SEED", "20260815"))
SHORT, LONG = 400, 20_000
EACH = 50
"""How many answered queries of the long campaign use each construct, at least."""


def check(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints what was found, and asserts what every campaign must show."""
    with capsys.disabled():
        print(f"\n{report}")
    assert not report.faults, str(report)
    assert report.with_data >= 0.6 * report.asked
    assert report.with_errors >= 0.02 * report.asked
    assert report.known.total() <= 0.03 * report.asked


def test_answers_are_the_references(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    """Some hundred answers are equal but for the known differences, and most have data."""
    check(run_campaign(pair.ours, pair.reference, SEED, SHORT), capsys)


@pytest.mark.long
def test_answers_are_the_references_at_length(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same over twenty thousand queries of another seed, which use everything many times."""
    report = run_campaign(pair.ours, pair.reference, SEED + 1, LONG, rounds_before=SHORT // 100)
    check(report, capsys)
    assert not [use for use in report.rarest(len(KNOWN)) if use[1] < EACH]


def test_the_reference_knows_what_is_counted(pair: Pair) -> None:
    """It has heard of every function and aggregation but the younger ones."""
    for name in FUNCTIONS:
        old = "holt_winters" if name == "double_exponential_smoothing" else name
        # Words of the grammar are no unknown functions to it, but wrong where they stand.
        reply = pair.reference.ask_as_it_stands(Question(f"{old}()", 0, 0, 0))
        unknown = "unknown function" in reply.text or "unexpected" in reply.text
        assert unknown == (name in YOUNGER), (name, reply.text)
    for name in AGGREGATORS:
        reply = pair.reference.ask_as_it_stands(Question(f"{name}()", 0, 0, 0))
        unknown = "no arguments for aggregate" not in reply.text
        assert unknown == (name in YOUNGER), (name, reply.text)


def test_constructs_are_seen() -> None:
    """What a query uses is told from its tree, also in the arguments and modifiers."""
    left = "-sum by (a) (rate(m{b!='c'}[5m] offset 1m))"
    text = f"{left} > bool on (a) group_left last_over_time((n)[5m:] @ end())"
    assert constructs(text) == {
        *("unary -", "sum", "by", "rate", "matcher !=", "range", "offset", ">", "bool", "on"),
        *("group_left", "last_over_time", "subquery", "@ end"),
    }

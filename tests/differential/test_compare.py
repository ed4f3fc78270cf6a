"""What the comparer sees, and that questions can be repeated."""

import math
from random import Random

import pytest

from promql.errors import ParseError
from promql.parser import parse
from series.labels import Labels
from tests.differential.compare import Verdict, judge
from tests.differential.data import make_data
from tests.differential.dialect import to_old_dialect
from tests.differential.generate import Question, make_question
from tests.differential.mistakes import MISTAKES
from tests.differential.sides import Reply

A, B = Labels.of({"x": "a"}), Labels.of({"x": "b"})
INSTANT, RANGE = Question("m", 0, 0, 0), Question("m", 0, 2, 1)


def reply(*rows: tuple[Labels, dict[int, float]]) -> Reply:
    return Reply("instant vector", list(rows))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (reply((A, {0: 1.0}), (B, {0: 2.0})), reply((B, {0: 2.0}), (A, {0: 1.0}))),
        (reply((A, {0: math.nan})), reply((A, {0: math.nan}))),
        (reply((A, {0: 1.0})), reply((A, {0: 1.0 + 1e-12}))),
        (Reply("", [], "execution", "a"), Reply("", [], "execution", "b")),
        (Reply("string", [], text="a"), Reply("string", [], text="a")),
    ],
)
def test_equal_replies(ours: Reply, theirs: Reply) -> None:
    """Order of an instant vector, rounding and texts of errors do not count."""
    assert judge(INSTANT, ours, theirs) == (Verdict.EQUAL, "")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (reply(), reply((A, {0: 1.0}))),
        (reply((A, {0: 1.0})), reply()),
        (reply((A, {0: 1.0})), reply((A, {0: 1.1}))),
        (reply((A, {0: 1.0})), reply((A, {0: math.nan}))),
        (reply((A, {0: 1.0})), reply((A, {0: 1.0, 1: 1.0}))),
        (reply((A, {0: 1.0})), Reply("scalar", [(A, {0: 1.0})])),
        (reply((A, {0: 1.0}), (A, {1: 1.0})), reply((A, {1: 1.0}))),
        (Reply("string", [], text="a"), Reply("string", [], text="b")),
        (Reply("", [], "execution", ""), reply()),
        (Reply("", [], "execution", ""), Reply("", [], "bad_data", "")),
        (reply((B, {0: 1.0}), (A, {0: 1.0})), reply((A, {0: 1.0}), (B, {0: 1.0}))),
    ],
)
def test_different_replies(ours: Reply, theirs: Reply) -> None:
    """Anything else does, the order of a range query included."""
    assert judge(RANGE, ours, theirs)[0] is Verdict.DIFFERENT


def test_sorted_vectors_are_compared_in_order() -> None:
    """The values of ``sort`` stand in order, whichever of equal series comes first."""
    question = Question("sort(m)", 0, 0, 0)
    up, down = reply((A, {0: 1.0}), (B, {0: 2.0})), reply((B, {0: 2.0}), (A, {0: 1.0}))
    assert judge(question, up, down)[0] is Verdict.DIFFERENT
    assert judge(INSTANT, up, down)[0] is Verdict.EQUAL


def test_a_seed_gives_the_same_questions_again() -> None:
    """Data and questions depend on the seed alone, and all but the mistakes parse."""
    made = []
    for _ in range(2):
        random = Random(7)
        data = make_data(random, 0)
        # NaN is not equal to itself, but prints alike.
        made.append((repr(data), [make_question(random, data) for _ in range(300)]))
    assert made[0] == made[1]
    for question in made[0][1]:
        if question.text not in MISTAKES:
            parse(question.text)


def test_mistakes_are_refused_or_translated() -> None:
    """Most mistakes do not parse; the others are for the evaluation to refuse."""
    parsed = []
    for text in MISTAKES:
        try:
            parsed.append(to_old_dialect(text))
        except ParseError:
            continue
    assert 3 <= len(parsed) <= 10

"""The parser takes and refuses what lezer-promql, the grammar of Prometheus' editor, does."""

import functools
from collections import Counter
from random import Random

from lark import Token

from promql.errors import ParseError
from promql.functions import AGGREGATORS, FUNCTIONS
from promql.lexer import tokenize
from promql.parser import parse
from tests.lezer.grammar import Writer
from tests.lezer.mistakes import mistaken
from tests.lezer.rules import RULES, Rule, explanations
from tests.lezer.spelling import respelled
from tests.lezer.verdicts import Verdicts, read_verdicts

OTHERS = {
    *("+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", "<=", ">", ">=", "</", ">/"),
    *("and", "or", "unless", "bool", "on", "ignoring", "group_left", "group_right"),
    *("fill", "fill_left", "fill_right", "=", "=~", "!~", "[", "]", ":", "{", "}", "(", ")"),
    *("@", "offset", "anchored", "smoothed", "by", "without", "inf", "nan"),
}
"""Operators, modifiers and what else is no name, in small letters."""


@functools.cache
def verdicts() -> Verdicts:
    return read_verdicts()


def refusal(text: str) -> ParseError | None:
    """What the parser complains about."""
    try:
        parse(text)
    except ParseError as error:
        return error
    return None


def disagreements() -> dict[str, list[Rule]]:
    """The expressions of which only one side sees an error, with the rules that tell why."""
    found = {}
    for text, at in verdicts().errors.items():
        error = refusal(text)
        if (error is None) != (at < 0):
            found[text] = explanations(text, error, at)
    return found


def test_the_verdicts_are_enough() -> None:
    """Thousands of expressions, two fifths of them mistakes that a known version of lezer sees."""
    told = verdicts()

    assert told.version
    assert len(told.errors) >= 2_500
    assert told.refused_mistakes >= 0.4 * len(told.errors)
    assert len(told.errors) - told.refused >= 0.3 * len(told.errors)


def test_every_construct_occurs_among_what_lezer_accepts() -> None:
    """All functions, aggregations, operators and modifiers, each at least once."""
    words: set[str] = set()
    for text, at in verdicts().errors.items():
        if at < 0:
            words |= {str(token).lower() for token in tokenize(text)}

    # lezer knows these two only in durations, where they are called alike.
    assert set(FUNCTIONS) | set(AGGREGATORS) <= words | {"min_of", "max_of"}
    assert words >= OTHERS


def test_disagreements_are_explained() -> None:
    """Where lezer says otherwise, one rule of PromQL tells why we are right."""
    unexplained = [text for text, rules in disagreements().items() if not rules]

    assert not unexplained, unexplained[:20]


def test_rules_are_needed() -> None:
    """Each rule explains some disagreement that no other rule explains."""
    alone = Counter(rules[0] for rules in disagreements().values() if len(rules) == 1)

    assert [rule.reason for rule in RULES if not alone[rule]] == []


def test_disagreements_are_few() -> None:
    """Rules do not take the place of agreement."""
    assert len(disagreements()) <= 0.1 * len(verdicts().errors)


def test_rules_look_at_the_place_of_the_error() -> None:
    """What lezer may refuse at one place excuses no error at another."""
    assert explanations("5. + x", None, 1)
    assert not explanations("5. + x", None, 5)
    assert not explanations("x + y", None, 2)
    assert not explanations("x)", ParseError("unexpected right parenthesis ')'", "x)", 1), -1)


def test_spellings_keep_the_meaning_of_words() -> None:
    """Other gaps, quotes and cases leave the kinds of an expression's tokens as they were."""
    random = Random(3)
    writer = Writer(random)
    for _ in range(200):
        text = writer.query()
        kinds = [_kind(token) for token in tokenize(text)]
        other = [_kind(token) for token in tokenize(respelled(random, text))]
        assert [kind for kind in other if kind != "COMMA"] == [
            kind for kind in kinds if kind != "COMMA"
        ]


def _kind(token: Token) -> str:
    return "AMOUNT" if token.type in ("NUMBER", "DURATION") else str(token.type)


def test_a_seed_gives_the_same_expressions_again() -> None:
    """What is written and mistaken depends on the seed alone."""
    made = []
    for _ in range(2):
        random = Random(11)
        texts = [Writer(random).query() for _ in range(50)]
        made.append([mistaken(random, text, texts) for text in texts])
    assert made[0] == made[1]

"""Seeded expressions: what the grammar can give in many spellings, and mistakes made of it."""

from random import Random

from hypothesis import HealthCheck, Phase, given, seed, settings

from promql.ast import Node
from promql.functions import FUNCTIONS
from promql.printer import to_text
from tests.lezer.forms import FORMS
from tests.lezer.grammar import Writer
from tests.lezer.mistakes import mistaken
from tests.lezer.spelling import respelled
from tests.strategies import queries

LONGEST = 140
"""Characters of the longest expression."""


def make_expressions(seed_number: int, right: int, mistakes: int) -> list[str]:
    """Different expressions: all of FORMS, a call of each function, and as many as asked for.

    *right* of them follow the grammar, *mistakes* hardly do.
    """
    random = Random(seed_number)
    made = dict.fromkeys((*FORMS, *(Writer(random).called(name, 0) for name in FUNCTIONS)))
    fixed = len(made)
    models = [*_written(random, right - right // 4), *_drawn(seed_number, right // 4)]
    for text in models:
        made[text if random.random() < 0.4 else respelled(random, text)] = None
    pool = [*models, *FORMS]
    while len(made) < fixed + right + mistakes:
        text = mistaken(random, random.choice(pool), pool)
        if len(text) <= LONGEST:
            made[text] = None
    return list(made)


def _written(random: Random, count: int) -> list[str]:
    """*count* different expressions as people write them."""
    writer = Writer(random)
    found: dict[str, None] = {}
    while len(found) < count:
        text = writer.query()
        if len(text) <= LONGEST:
            found[text] = None
    return list(found)


def _drawn(seed_number: int, count: int) -> list[str]:
    """*count* different trees that the parser can give, as they are printed; odd ones besides."""
    found: dict[str, None] = {}

    @seed(seed_number)
    @settings(
        max_examples=10 * count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(queries())
    def collect(node: Node) -> None:
        text = to_text(node)
        escapes = "\\u" in text.lower() and len(found) % 4
        if len(text) <= LONGEST and not escapes and len(found) < count:
            found[text] = None

    collect()
    assert len(found) == count
    return list(found)

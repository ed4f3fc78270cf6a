"""Mistakes that people and programs make when they write an expression."""

from collections.abc import Callable, Sequence
from random import Random

from tests.lezer.spelling import pieces

CHARACTERS = "()[]{},:;=!~<>/+-*%^@#\"'`\\_.0159xesmhdyaON $&|?\n"
Change = Callable[[Random, str, Sequence[str]], str]
"""(randomness, expression, others to borrow from) -> changed expression."""


def mistaken(random: Random, text: str, pool: Sequence[str]) -> str:
    """*text* after one or two changes of tokens or characters; some leave it right."""
    for _ in range(random.choice((1, 1, 1, 2))):
        text = random.choice(_CHANGES)(random, text, pool)
    return text


def _ends(text: str, random: Random) -> tuple[int, int]:
    """Where one of the tokens of *text* stands."""
    tokens = pieces(text)
    if not tokens:
        return 0, len(text)
    token = random.choice(tokens)
    start = token.start_pos or 0
    return start, start + len(token)


def _borrowed(random: Random, pool: Sequence[str]) -> str:
    other = random.choice(pool)
    start, end = _ends(other, random)
    return other[start:end]


def _drop_token(random: Random, text: str, pool: Sequence[str]) -> str:
    start, end = _ends(text, random)
    return text[:start] + text[end:]


def _repeat_token(random: Random, text: str, pool: Sequence[str]) -> str:
    start, end = _ends(text, random)
    return text[:end] + " " + text[start:]


def _replace_token(random: Random, text: str, pool: Sequence[str]) -> str:
    start, end = _ends(text, random)
    return text[:start] + _borrowed(random, pool) + text[end:]


def _insert_token(random: Random, text: str, pool: Sequence[str]) -> str:
    _, end = _ends(text, random)
    return f"{text[:end]} {_borrowed(random, pool)} {text[end:]}"


def _swap_tokens(random: Random, text: str, pool: Sequence[str]) -> str:
    tokens = pieces(text)
    if len(tokens) < 2:
        return text + text
    at = random.randrange(len(tokens) - 1)
    first, second = tokens[at], tokens[at + 1]
    start, middle = first.start_pos or 0, second.start_pos or 0
    between = text[start + len(first) : middle]
    return text[:start] + second + between + first + text[middle + len(second) :]


def _cut(random: Random, text: str, pool: Sequence[str]) -> str:
    start, end = _ends(text, random)
    return text[:end] if start == 0 else text[:start]


def _drop_character(random: Random, text: str, pool: Sequence[str]) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + text[at + 1 :]


def _insert_character(random: Random, text: str, pool: Sequence[str]) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(CHARACTERS) + text[at:]


def _replace_character(random: Random, text: str, pool: Sequence[str]) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(CHARACTERS) + text[at + 1 :]


def _join(random: Random, text: str, pool: Sequence[str]) -> str:
    return text + random.choice(("", " ", "(", "[", " + ")) + random.choice(pool)


_CHANGES: tuple[Change, ...] = (
    *(_drop_token, _drop_token, _repeat_token, _replace_token, _replace_token, _insert_token),
    *(_swap_tokens, _swap_tokens, _cut, _drop_character, _insert_character, _replace_character),
    _join,
)

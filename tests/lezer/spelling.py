"""Other spellings of one expression: gaps, quotes, numbers, letters' case, commas at the end."""

import re
from random import Random

from lark import Token

from promql.ast import DurationLiteral
from promql.lexer import END, ERROR, KEYWORDS, tokenize
from promql.printer import duration_text

GAPS = (" ", " ", "  ", "\n", "\t", "\r\n", " # a comment\n", "# {[(\n ")
LABEL_LISTS = ("BY", "WITHOUT", "ON", "IGNORING", "GROUP_LEFT", "GROUP_RIGHT")
_WORDS = re.compile(r"[0-9A-Za-z_:.]{2}")


def pieces(text: str) -> list[Token]:
    """The tokens of *text* without the one that ends it."""
    return [token for token in tokenize(text) if token.type not in (END, ERROR)]


def respelled(random: Random, text: str) -> str:
    """*text*, which parses, with the same meaning in other characters."""
    tokens = pieces(text)
    out = ""
    end = 0
    labels = False
    for at, token in enumerate(tokens):
        start = token.start_pos or 0
        if token.type == "LEFT_PAREN" and at:
            labels = tokens[at - 1].type in LABEL_LISTS
        word = _respelled(random, token)
        closes = token.type == "RIGHT_BRACE" or (token.type == "RIGHT_PAREN" and labels)
        if closes and tokens[at - 1].type not in ("LEFT_PAREN", "LEFT_BRACE", "COMMA"):
            word = random.choice(("", "", ",")) + word
        labels = labels and token.type != "RIGHT_PAREN"
        out += _gap(random, text[end:start], out[-1:] + word[:1]) + word
        end = start + len(token)
    return out


def _gap(random: Random, gap: str, neighbours: str) -> str:
    if random.random() < 0.75:
        return gap
    if gap and random.random() < 0.5 and not _WORDS.match(neighbours):
        return ""
    return random.choice(GAPS)


def _respelled(random: Random, token: Token) -> str:
    word = str(token)
    if random.random() < 0.5:
        return word
    if token.type == "STRING":
        return _quoted(random, word)
    if token.type == "NUMBER":
        return random.choice(_numbers(word))
    if token.type == "DURATION":
        return random.choice(_durations(word))
    if word.lower() in KEYWORDS and token.type != "IDENTIFIER":
        return random.choice((word.upper(), word.title()))
    return word


def _quoted(random: Random, literal: str) -> str:
    """The same text in other quotes, where it needs no escapes."""
    body = literal[1:-1]
    if any(mark in body for mark in "\"'`\\"):
        return literal
    mark = random.choice("\"'`")
    return mark + body + mark


def _numbers(word: str) -> list[str]:
    """Spellings of a number; those of whole numbers may have another base."""
    if not word.isdigit():
        return [word, word.lower(), word.upper()]
    hexadecimal = f"{int(word):x}"
    return [
        *(f"0x{hexadecimal}", f"0X{hexadecimal.upper()}", f"0x_{hexadecimal}", f"0{int(word):o}"),
        *(f"{word}.", f"{word}.0", f"{word}e0", f"{word}E+00", f".{word}", "_".join(word)),
        *(f"{word}.2_5", f"{word}e1_0"),
    ]


def _durations(word: str) -> list[str]:
    """Spellings of a duration, the sum of some units or of one."""
    milliseconds = sum(
        int(number) * {"ms": 1, "s": 1000, "m": 60_000}.get(unit, 0)
        for number, unit in re.findall("([0-9]+)([a-z]+)", word)
    )
    return [
        duration_text(DurationLiteral(milliseconds + 1)),
        f"{milliseconds}ms",
        *(f"0{word}", "1y2w3d4h5m6s7ms", "1h30m", "2w"),
    ]

"""Matchers: the conditions of a selector on one label.

Regular expressions run on RE2 (linear time), fully anchored, with ``.`` matching a newline, as in
Prometheus 3. A missing label is the empty string.
"""

import enum
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import re2
from numpy.typing import NDArray

from series.labels import quote, quote_name


class MatchType(enum.Enum):
    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"

    @property
    def negative(self) -> bool:
        return self in (MatchType.NOT_EQUAL, MatchType.NOT_REGEX)


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition ``name <type> value``; ValueError where the regular expression is malformed."""

    type: MatchType
    name: str
    value: str
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Matchers are parts of keys that every query looks up.
        object.__setattr__(self, "_hash", hash((self.type.value, self.name, self.value)))
        if self.type in (MatchType.REGEX, MatchType.NOT_REGEX):
            compile_regex(self.value)

    def __hash__(self) -> int:
        return self._hash

    def matches(self, text: str) -> bool:
        """Whether a label of value *text* ('' for a missing label) satisfies the condition."""
        if self.type in (MatchType.EQUAL, MatchType.NOT_EQUAL):
            hit = text == self.value
        else:
            literals = literal_alternatives(self.value)
            hit = text in literals if literals is not None else _fullmatch(self.value, text)
        return hit is not self.type.negative

    def matches_many(
        self, texts: Sequence[str], check: Callable[[], None] = lambda: None
    ) -> NDArray[np.bool_]:
        """bool[len(texts)]: ``matches`` of each; *check*, called in between, may raise to stop."""
        if self.type in (MatchType.EQUAL, MatchType.NOT_EQUAL):
            hits = [text == self.value for text in texts]
        elif (literals := literal_alternatives(self.value)) is not None:
            hits = [text in literals for text in texts]
        else:
            hits = []
            fullmatch = compile_regex(self.value).fullmatch
            for start in range(0, len(texts), _AT_ONCE):
                check()
                part = texts[start : start + _AT_ONCE]
                hits += [fullmatch(text.encode()) is not None for text in part]
        found = np.array(hits, dtype=np.bool_)
        return ~found if self.type.negative else found

    @property
    def wanted(self) -> frozenset[str] | None:
        """The only values that can satisfy the condition, where it is a choice of literals."""
        if self.type is MatchType.EQUAL:
            return frozenset((self.value,))
        if self.type is MatchType.REGEX:
            return literal_alternatives(self.value)
        return None

    def __str__(self) -> str:
        return f"{quote_name(self.name)}{self.type.value}{quote(self.value)}"


def _fullmatch(pattern: str, text: str) -> bool:
    return compile_regex(pattern).fullmatch(text.encode()) is not None


_AT_ONCE = 4
"""Texts matched between two looks at whether to go on; a hard pattern takes milliseconds a text."""
LONG_PATTERN = 1024
"""Longer patterns take up to megabytes compiled; only so few of them are kept."""
_FEW = 16


def compile_regex(pattern: str) -> "re2._Regexp[str]":
    """*pattern* compiled by RE2; use ``fullmatch`` for Prometheus' anchoring.

    Raises ValueError ``error parsing regexp: …`` for what RE2 does not accept.
    """
    return _compile_long(pattern) if len(pattern) > LONG_PATTERN else _compile_short(pattern)


_ESCAPE = re.compile(r"\\Q.*?(?:\\E|$)|\\.", re.DOTALL)


def _compile(pattern: str) -> "re2._Regexp[str]":
    # RE2's, Go has none: one byte, be it in the middle of a character.
    if r"\C" in pattern and r"\C" in _ESCAPE.findall(pattern):
        raise ValueError("error parsing regexp: invalid escape sequence: `\\C`")
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"error parsing regexp: {_go_words(text, pattern)}") from None


_compile_short = functools.lru_cache(maxsize=4096)(_compile)
_compile_long = functools.lru_cache(maxsize=_FEW)(_compile)

_GO_WORDS = {
    "missing )": "missing closing )",
    "unexpected )": "unexpected )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid escape sequence": "invalid escape sequence",
    "invalid character class range": "invalid character class range",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
    "trailing \\": "trailing backslash at end of expression",
    "pattern too large - compile failed": "expression too large",
}


SHOWN = 1000
"""Characters of a pattern that a complaint repeats."""


def _go_words(text: str, pattern: str) -> str:
    """RE2's complaint in the words of Go's regexp/syntax, the offending part in back quotes."""
    reason, _, part = text.partition(": ")
    words = _GO_WORDS.get(reason, reason)
    part = part or pattern
    return f"{words}: `{part if len(part) <= SHOWN else part[:SHOWN] + '…'}`"


_LITERAL = re.compile(r"[^\\.+*?()|\[\]{}^$]*")


def literal_alternatives(pattern: str) -> frozenset[str] | None:
    """The literals of a pattern like ``a|b|c`` (one literal counts), or None for a real pattern."""
    return _literals_long(pattern) if len(pattern) > LONG_PATTERN else _literals_short(pattern)


def _literals(pattern: str) -> frozenset[str] | None:
    choices = pattern.split("|")
    if all(_LITERAL.fullmatch(choice) for choice in choices):
        return frozenset(choices)
    return None


_literals_short = functools.lru_cache(maxsize=4096)(_literals)
_literals_long = functools.lru_cache(maxsize=_FEW)(_literals)

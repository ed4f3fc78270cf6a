"""The lexer: a query's text to the terminals of grammar.lark.

Three modes, as in Prometheus: in braces every word is a label name, in brackets stand durations,
elsewhere words may be keywords. Where the text is no token, the list ends with an ``ERROR`` token
whose value is the complaint: the parser may find an earlier fault.
"""

import re

from lark import Token

from promql.errors import Rejected
from promql.functions import AGGREGATORS
from promql.strings import quote, quote_char

END = "$END"
ERROR = "ERROR"

MAX_TOKENS = 50_000
"""A longer query would hold its thread for too long."""

KEYWORDS = dict.fromkeys(AGGREGATORS, "AGGREGATOR") | {
    "and": "AND",
    "unless": "AND",
    "or": "OR",
    "atan2": "ATAN2",
    "offset": "OFFSET",
    "anchored": "ANCHORED",
    "smoothed": "SMOOTHED",
    "by": "BY",
    "without": "WITHOUT",
    "on": "ON",
    "ignoring": "IGNORING",
    "group_left": "GROUP_LEFT",
    "group_right": "GROUP_RIGHT",
    "fill": "FILL",
    "fill_left": "FILL_LEFT",
    "fill_right": "FILL_RIGHT",
    "bool": "BOOL",
    "start": "START",
    "end": "END",
    "step": "STEP",
    "range": "RANGE",
    "min_of": "MIN_OF",
    "max_of": "MAX_OF",
    "inf": "NUMBER",
    "nan": "NUMBER",
}
_SYMBOLS = {
    "+": "SIGN", "-": "SIGN", "*": "MUL", "/": "MUL", "%": "MUL", "^": "POW",
    "==": "COMPARISON", "!=": "COMPARISON", "<": "COMPARISON", "<=": "COMPARISON",
    ">": "COMPARISON", ">=": "COMPARISON", "</": "COMPARISON", ">/": "COMPARISON",
    "=": "EQUAL", ",": "COMMA", "@": "AT",
    "(": "LEFT_PAREN", ")": "RIGHT_PAREN", "{": "LEFT_BRACE", "}": "RIGHT_BRACE",
    "[": "LEFT_BRACKET", "]": "RIGHT_BRACKET",
}  # fmt: skip
_DURATION_WORDS = frozenset(("STEP", "RANGE", "MIN_OF", "MAX_OF"))

_SKIPPED = r"[ \t\r\n]+|\#[^\r\n]*"
_STRINGS = r""" "[^"\\\n]*(?:\\[^\n][^"\\\n]*)*" | '[^'\\\n]*(?:\\[^\n][^'\\\n]*)*' | `[^`]*` """
_DIGITS = "[0-9]+(?:_[0-9]+)*"
_HEX = "0[xX]_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*"
_DECIMAL = rf"(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?"
_UNITS = "".join(rf"(?:[0-9]+{unit})?" for unit in ("y", "w", "d", "h", "m(?!s)", "s", "ms"))
_AMOUNTS = rf"""
    (?P<DURATION>(?=[0-9]){_UNITS}(?![0-9A-Za-z_]))
  | (?P<NUMBER>(?:{_HEX}|{_DECIMAL})(?![0-9A-Za-z_.]))
  | (?P<AMOUNT>\.?[0-9])
"""
_OUTSIDE = re.compile(
    rf"""
    (?P<SKIPPED>{_SKIPPED})
  | (?P<WORD>[a-zA-Z_:][a-zA-Z0-9_:]*)
  | (?P<SYMBOL>==|!=|<=|>=|</|>/|=(?!~)|[-+*/%^<>@,])
  | (?P<LEFT_PAREN>\()
  | (?P<RIGHT_PAREN>\))
  | (?P<LEFT_BRACE>\{{)
  | (?P<LEFT_BRACKET>\[)
  | {_AMOUNTS}
  | (?P<STRING>{_STRINGS})
    """,
    re.VERBOSE,
).match
_IN_BRACES = re.compile(
    rf"""
    (?P<SKIPPED>{_SKIPPED})
  | (?P<IDENTIFIER>[a-zA-Z_][a-zA-Z0-9_]*)
  | (?P<MATCH>=~|!~|!=|=)
  | (?P<STRING>{_STRINGS})
  | (?P<COMMA>,)
  | (?P<RIGHT_BRACE>\}})
    """,
    re.VERBOSE,
).match
_IN_BRACKETS = re.compile(
    rf"""
    (?P<SKIPPED>{_SKIPPED})
  | {_AMOUNTS}
  | (?P<RIGHT_BRACKET>\])
  | (?P<COLON>:)
  | (?P<LEFT_PAREN>\()
  | (?P<RIGHT_PAREN>\))
  | (?P<SYMBOL>[-+*/%^,])
  | (?P<WORD>[a-zA-Z_][a-zA-Z0-9_]*)
    """,
    re.VERBOSE,
).match
_BAD_AMOUNT = re.compile(
    rf"""
    (?:{_HEX}|{_DECIMAL})
    (?: (?P<units>[smhdwy]s?(?:[0-9]+[smhdw]s?)*(?P<tail>[0-9]+)?)
      | _[._eE]? | \. | [eE][+-]?[._eE]?
    )?
    """,
    re.VERBOSE,
).match
_NEXT_PAREN = re.compile(r"[ \t\r\n]*\(").match


class _Lexing:
    """One pass over a text."""

    __slots__ = ("at", "depth", "text", "tokens")

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        self.at = 0
        self.depth = 0
        """Open parentheses, in brackets and outside."""

    def add(self, kind: str, text: str) -> None:
        if len(self.tokens) >= MAX_TOKENS:
            words = (
                f"query is too long: more than {len(self.tokens)} tokens, "
                f"at most {MAX_TOKENS} tokens are allowed"
            )
            raise Rejected(words, self.at)
        self.tokens.append(Token(kind, text, self.at))

    def fail(self, message: str, at: int | None = None) -> bool:
        self.tokens.append(Token(ERROR, message, self.at if at is None else at))
        return False

    def outside(self) -> bool:
        """All of the text; False after an error, as from the two below."""
        text, add = self.text, self.add
        while self.at < len(text):
            found = _OUTSIDE(text, self.at)
            if found is None:
                return self.fail(*self._misfit())
            kind, word = found.lastgroup, found[0]
            if kind == "WORD":
                self._word(word)
            elif kind == "SYMBOL":
                add(_SYMBOLS[word], word)
            elif kind == "LEFT_BRACE":
                add(kind, word)
                self.at += 1
                if not self.braces():
                    return False
                continue
            elif kind == "LEFT_BRACKET":
                add(kind, word)
                self.at += 1
                if not self.brackets():
                    return False
                continue
            elif kind != "SKIPPED" and not self._common(str(kind), word):
                return False
            self.at = found.end()
        if self.depth:
            return self.fail("unclosed left parenthesis")
        return True

    def _common(self, kind: str, word: str) -> bool:
        """A token that stands in brackets and outside alike."""
        if kind == "AMOUNT":
            return self.fail(*self._bad_amount())
        if kind == "STRING" and "�" in word:
            return self.fail("invalid UTF-8 rune")
        if kind == "LEFT_PAREN":
            self.depth += 1
        elif kind == "RIGHT_PAREN":
            self.depth -= 1
            if self.depth < 0:
                return self.fail("unexpected right parenthesis ')'", self.at + 1)
        self.add(kind, word)
        return True

    def _word(self, word: str) -> None:
        kind = KEYWORDS.get(word.lower())
        if kind is None:
            kind = "METRIC_IDENTIFIER" if ":" in word else "IDENTIFIER"
        elif kind.startswith("FILL") and not _NEXT_PAREN(self.text, self.at + len(word)):
            kind = "IDENTIFIER"
        self.add(kind, word)

    def braces(self) -> bool:
        """What follows ``{``, to ``}``."""
        text = self.text
        while self.at < len(text):
            found = _IN_BRACES(text, self.at)
            if found is None:
                return self.fail(*self._misfit_in_braces())
            kind, word = str(found.lastgroup), found[0]
            if kind == "STRING" and "�" in word:
                return self.fail("invalid UTF-8 rune")
            if kind != "SKIPPED":
                self.add(kind, word)
            self.at = found.end()
            if kind == "RIGHT_BRACE":
                return True
        return self.fail("unexpected end of input inside braces")

    def brackets(self) -> bool:
        """What follows ``[``, to ``]``."""
        text = self.text
        amounts = colons = 0
        while self.at < len(text):
            found = _IN_BRACKETS(text, self.at)
            kind, word = (str(found.lastgroup), found[0]) if found else ("", text[self.at])
            if kind == "WORD":
                kind = KEYWORDS.get(word.lower(), "")
            if kind == "SYMBOL":
                kind = _SYMBOLS[word]
            elif kind == "COLON":
                colons += 1
                if not amounts:
                    return self.fail("unexpected colon before duration in duration expression")
                if colons > 1:
                    return self.fail("unexpected colon ':'")
            elif kind in _DURATION_WORDS or (
                kind in ("NUMBER", "DURATION") and word[0] in ".0123456789"
            ):
                amounts += 1
            elif kind not in _BRACKET_KINDS:
                return self.fail(self._misfit_in_brackets(word[0], started=amounts > 0))
            if kind != "SKIPPED" and not self._common(kind, word):
                return False
            self.at += len(word)
            if kind == "RIGHT_BRACKET":
                return True
        if not amounts:
            return self.fail("unexpected end of input in duration expression")
        return self.fail("unclosed left parenthesis" if self.depth else "unclosed left bracket")

    # --- complaints -------------------------------------------------------------------------

    def _misfit(self) -> tuple[str, int]:
        char, following = self.text[self.at], self.text[self.at + 1 : self.at + 2]
        if char in "\"'`":
            return self._unterminated()
        if char == "=":
            return f"unexpected character after '=': {quote_char(following)}", self.at
        if char == "!":
            return f"unexpected character after '!': {quote_char(following or '�')}", self.at
        if char == "]":
            return "unexpected right bracket ']'", self.at
        return f"unexpected character: {quote_char(char)}", self.at

    def _misfit_in_braces(self) -> tuple[str, int]:
        char, following = self.text[self.at], self.text[self.at + 1 : self.at + 2]
        if char in "\"'`":
            return self._unterminated()
        if char == "!":
            mark = quote_char(following or "�")
            return f"unexpected character after '!' inside braces: {mark}", self.at
        if char == "{":
            return "unexpected left brace '{'", self.at
        return f"unexpected character inside braces: {quote_char(char)}", self.at

    def _misfit_in_brackets(self, char: str, *, started: bool) -> str:
        if not started:
            return f"unexpected character in duration expression: {quote_char(char)}"
        if char == "[":
            return "unexpected left bracket '['"
        expected = ", expected ':'" if char.isalpha() or char == "_" else ""
        return f"unexpected character: {quote_char(char)}{expected}"

    def _unterminated(self) -> tuple[str, int]:
        rest = self.text[self.at :]
        if rest[0] == "`":
            return "unterminated raw string", self.at
        if rest.rstrip("\\") != rest and (len(rest) - len(rest.rstrip("\\"))) % 2:
            return "escape sequence not terminated", self.at
        return "unterminated quoted string", self.at

    def _bad_amount(self) -> tuple[str, int]:
        """Prometheus quotes the text up to the character that spoils the number."""
        found = _BAD_AMOUNT(self.text, self.at)
        assert found is not None
        end = found.end()
        if found["units"] and not found["tail"]:
            following = self.text[end : end + 1]
            if not (following.isascii() and (following.isalnum() or following == "_")):
                return f"not a valid duration string: {quote(found[0])}", self.at
            end += 1
        return f"bad number or duration syntax: {quote(self.text[self.at : end])}", self.at


_BRACKET_KINDS = frozenset(
    ("SKIPPED", "AMOUNT", "RIGHT_BRACKET", "LEFT_PAREN", "RIGHT_PAREN", "COMMA")
)


def tokenize(text: str) -> list[Token]:
    """The tokens of *text*, ended by one of type END or ERROR.

    Raises Rejected where there are more than MAX_TOKENS.
    """
    lexing = _Lexing(text)
    if lexing.outside():
        lexing.add(END, "")
    return lexing.tokens

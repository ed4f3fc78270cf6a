"""Why lezer-promql, an editor's grammar, sees an error where we see none, or none where we do.

Each rule is about the place of the error, so that it excuses nothing else in an expression, and
names the section of the inventory of PromQL as of Prometheus 3.14 that settles the matter.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from lark import Token

from promql.errors import ParseError
from promql.lexer import END, ERROR, tokenize

Where = Callable[[Token, Token, Token], bool]
"""(token before, token at lezer's error, token after)"""
_NOTHING = Token(END, "", 0)
_OPERANDS = frozenset(
    ("IDENTIFIER", "METRIC_IDENTIFIER", "RIGHT_PAREN", "RIGHT_BRACE", "RIGHT_BRACKET", "NUMBER")
)
_AMOUNTS = frozenset(
    ("SIGN", "NUMBER", "DURATION", "LEFT_PAREN", "STEP", "RANGE", "MIN_OF", "MAX_OF")
)


@dataclass(frozen=True)
class Rule:
    """One reason, and the section that gives it."""

    reason: str
    section: str
    message: str = ""
    """For what only we refuse: a pattern of our complaint ..."""
    text: str = ""
    """... and of a piece of the expression."""
    where: Where | None = None
    """For what only lezer refuses: whether the place of its error is such."""

    def explains(self, text: str, error: ParseError | None, at: int) -> bool:
        """Whether it is why we raise *error* on *text*, or lezer sees one at *at*."""
        if error is not None:
            if not self.message or re.search(self.text, text) is None:
                return False
            return re.fullmatch(self.message, error.message) is not None
        return self.where is not None and any(self.where(*window) for window in _around(text, at))


def _around(text: str, at: int) -> list[tuple[Token, Token, Token]]:
    """The tokens at *at*, each between its neighbours: the one that covers it, or both beside."""
    tokens = [token for token in tokenize(text) if token.type != ERROR]
    padded = [_NOTHING, *tokens, _NOTHING]
    starts = [token.start_pos or 0 for token in tokens]
    before = max((n for n, start in enumerate(starts) if start < at), default=0)
    after = next((n for n, start in enumerate(starts) if start >= at), len(starts) - 1)
    return [(padded[n], padded[n + 1], padded[n + 2]) for n in sorted({before, after})]


def _other_case(before: Token, here: Token, after: Token) -> bool:
    words = ("START", "END", "STEP", "RANGE", "MIN_OF", "MAX_OF")
    return here.type in words and not here.islower() and after.type == "LEFT_PAREN"


def _extreme(before: Token, here: Token, after: Token) -> bool:
    return here.type in ("MIN_OF", "MAX_OF") and after.type == "LEFT_PAREN"


def _named_offset(before: Token, here: Token, after: Token) -> bool:
    modifies = before.type in _OPERANDS and after.type in _AMOUNTS
    return here.type == "OFFSET" and not modifies


def _dotted_number(before: Token, here: Token, after: Token) -> bool:
    return here.type == "NUMBER" and re.fullmatch(r"[0-9_]+\.([eE].*)?", here) is not None


def _hexadecimal(before: Token, here: Token, after: Token) -> bool:
    return here.type == "NUMBER" and re.match("0X|0x.*_", here) is not None


def _colon_in_label(before: Token, here: Token, after: Token) -> bool:
    return here.type == "METRIC_IDENTIFIER" and before.type in ("LEFT_PAREN", "COMMA")


RULES = (
    # --- what only lezer refuses ---------------------------------------------------------------
    Rule("keywords may be written in any case", "§1 keywords", where=_other_case),
    Rule("offset is the name of a metric", "§1 keyword as metric name", where=_named_offset),
    Rule("no digit need follow the point", "§1 decimal number", where=_dotted_number),
    Rule("0X, and underscores in hexadecimal", "§1 hex", where=_hexadecimal),
    Rule("any UTF-8 text is a label", "§1 UTF-8 names", where=_colon_in_label),
    Rule("min_of and max_of outside durations", "§5 min_of, max_of", where=_extreme),
    # --- what only we refuse: the text ------------------------------------------------------------
    Rule(
        "escapes are checked",
        "§1 strings",
        "unknown escape sequence .*|illegal character .* in escape sequence"
        "|escape sequence is an invalid Unicode code point",
    ),
    Rule("strings end", "§1 strings", "unterminated quoted string|escape sequence not terminated"),
    Rule("a number is no word", "§1 decimal number", "bad number or duration syntax: .*"),
    Rule("numbers fit a float64", "§1 octal/binary", "error parsing number: .*value out of range"),
    Rule(
        "whitespace is ASCII",
        "§1 whitespace",
        r"unexpected character: '(\\u00a0|\\u3000|\\x0b|\\v)'",
    ),
    Rule(
        "fill is a name unless a parenthesis follows",
        "§1 keyword as metric name",
        'unexpected .*|unknown function with name "(?i:fill).*',
        r"(?i)\bfill(_left|_right)?\s*#",
    ),
    Rule("without is no label", "§1 keyword as label name", "unexpected <without> in grouping .*"),
    Rule("atan2 is no name", "§1 keyword as metric name", "unexpected <op:atan2>.*"),
    Rule(
        "no Inf and NaN among durations",
        "§2 duration expression",
        r"unexpected character(:| in duration expression:) '[iInN]'(, expected ':')?",
    ),
    Rule("one sign before an offset", "§2 offset d", "unexpected <op:[-+]> in offset, .*"),
    # --- what only we refuse: the meaning ---------------------------------------------------------
    Rule("regular expressions are parsed", "§2 matchers", "error parsing regexp: .*"),
    Rule("one condition is not empty", "§2 non-empty rule", "vector selector must contain .*"),
    Rule("one metric name", "§1 UTF-8 names", "metric name must not be set twice: .*"),
    Rule(
        "one offset, of a selector",
        "§2 offset d",
        "offset may not be set multiple times|offset modifier must be preceded by .*",
    ),
    Rule(
        "one @, of a selector",
        "§2 @ t",
        "@ <timestamp> may not be set .*|@ modifier must be preceded by .*|timestamp out of .*",
    ),
    Rule(
        "ranges of selectors",
        "§2 range errors",
        "ranges only allowed for vector selectors|no (offset|@) modifiers allowed before range"
        "|duration must be greater than 0",
    ),
    Rule(
        "durations can be computed",
        "§2 duration expression",
        "duration out of range|division by zero|modulo by zero",
    ),
    Rule("subqueries of instant vectors", "§2 subquery", "subquery is only allowed on .*"),
    Rule("edges of selectors", "§2 anchored, smoothed", "(anchored|smoothed) modifier .*"),
    Rule(
        "types of operands",
        "§3",
        "binary expression must contain only scalar and instant vector types"
        '|unary expression only allowed on .*|set operator ".*" not allowed in .*',
    ),
    Rule(
        "bool between scalars, and of comparisons",
        "§3 comparison, bool",
        "comparisons between scalars must use BOOL modifier"
        "|bool modifier can only be used on comparison operators",
    ),
    Rule(
        "matching of vectors",
        "§3 matching, group_left",
        'vector matching only allowed .*|label ".*" must not occur in .*|no grouping allowed .*',
    ),
    Rule("filling of vectors", "§3 fill", "filling in missing series .*"),
    Rule(
        "arguments of aggregations",
        "§4",
        "no arguments for aggregate expression provided"
        "|wrong number of arguments for aggregate expression provided, .*"
        "|expected type .* in aggregation (parameter|expression), .*",
    ),
    Rule(
        "arguments of functions",
        "§5 arity and types",
        r"expected .* argument\(s\) in call to .*|expected type .* in call to function .*",
    ),
    Rule("info's second argument", "§8", "expected label selectors only.*"),
)


def explanations(text: str, error: ParseError | None, at: int) -> list[Rule]:
    """The rules that explain why we raise *error* on *text* and lezer sees one at *at*, or not."""
    return [rule for rule in RULES if rule.explains(text, error, at)]

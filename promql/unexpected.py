"""The words for a token that the grammar does not allow where it stands.

Prometheus names the construct that was being read and what would have been right:
``unexpected identifier "b" in grouping opts, expected "," or ")"``.
"""

from collections.abc import Sequence

from lark import Token

from promql.lexer import END
from promql.strings import quote

_KINDS = {
    "IDENTIFIER": "identifier",
    "METRIC_IDENTIFIER": "metric identifier",
    "STRING": "string",
    "NUMBER": "number",
    "DURATION": "duration",
}
_OPERATORS = frozenset(("SIGN", "MUL", "POW", "COMPARISON", "AND", "OR", "ATAN2", "AT"))
_KEYWORDS = frozenset(
    (
        *("BOOL", "BY", "GROUP_LEFT", "GROUP_RIGHT", "IGNORING", "OFFSET", "ON", "WITHOUT"),
        *("ANCHORED", "SMOOTHED", "FILL", "FILL_LEFT", "FILL_RIGHT"),
    )
)
_LABEL_LISTS = frozenset(("BY", "WITHOUT", "ON", "IGNORING", "GROUP_LEFT", "GROUP_RIGHT"))
_AMOUNT = "number, duration, step(), or range()"


def describe(token: Token) -> str:
    """The token as Prometheus names it: ``<by>``, ``<op:+>``, ``identifier "x"``."""
    text = str(token)
    if token.type == END:
        return "end of input"
    if token.type in _OPERATORS or (token.type == "MATCH" and text != "="):
        return f"<op:{text}>"
    if token.type in _KEYWORDS:
        return f"<{text}>"
    if token.type == "AGGREGATOR":
        return f"<aggr:{text}>"
    kind = _KINDS.get(token.type)
    if kind is None:
        return quote(text)
    if "IDENTIFIER" not in token.type and len(text.encode()) > 10:
        return f"{kind} {quote(text[:10])}..."
    return f"{kind} {quote(text)}"


def unexpected(tokens: Sequence[Token], bad: Token) -> str:
    """The complaint about the token *bad* after the *tokens* before it."""
    context, expected = _place(tokens)
    text = f"unexpected {describe(bad)}"
    text += f" in {context}" if context else ""
    return text + (f", expected {expected}" if expected else "")


def _place(tokens: Sequence[Token]) -> tuple[str, str]:
    """The construct that ends with *tokens*, and what could go on."""
    opened = _opened(tokens)
    innermost = opened[-1] if opened else ""
    last = tokens[-1].type if tokens else ""
    if innermost == "braces":
        return "label matching", _in_braces(tokens)
    if innermost == "labels":
        if last in ("LEFT_PAREN", "COMMA"):
            return "grouping opts", "label"
        return "grouping opts", '"," or ")"'
    if "brackets" in opened:
        return _in_brackets(tokens, in_parentheses=innermost != "brackets")
    if last in ("BY", "WITHOUT", "ON", "IGNORING") and _is_modifier(tokens):
        return "grouping opts", '"("'
    if last == "OFFSET" or (last == "SIGN" and len(tokens) > 1 and tokens[-2].type == "OFFSET"):
        return "offset", _AMOUNT
    if last == "AT" or (last == "SIGN" and len(tokens) > 1 and tokens[-2].type == "AT"):
        return "@", "timestamp"
    if "aggregation" in opened or _after_aggregator(tokens):
        return "aggregation", ""
    return "", ""


def _opened(tokens: Sequence[Token]) -> list[str]:
    """The brackets that are open after *tokens*, by what they hold, outermost first."""
    opened = []
    before = closed = ""
    for at, token in enumerate(tokens):
        if token.type == "LEFT_PAREN":
            if before in _LABEL_LISTS and at > 1:
                opened.append("labels")
            elif before == "AGGREGATOR" or (before == "RIGHT_PAREN" and closed == "labels"):
                opened.append("aggregation")
            else:
                opened.append("parentheses")
        elif token.type == "LEFT_BRACE":
            opened.append("braces")
        elif token.type == "LEFT_BRACKET":
            opened.append("brackets")
        elif token.type in ("RIGHT_PAREN", "RIGHT_BRACE", "RIGHT_BRACKET") and opened:
            closed = opened.pop()
        before = token.type
    return opened


def _in_braces(tokens: Sequence[Token]) -> str:
    last = tokens[-1].type
    if last in ("LEFT_BRACE", "COMMA"):
        return 'identifier or "}"'
    if last == "MATCH":
        return "string"
    if last == "IDENTIFIER":
        return "label matching operator"
    return '"," or "}"'


def _in_brackets(tokens: Sequence[Token], *, in_parentheses: bool) -> tuple[str, str]:
    start = max(at for at, token in enumerate(tokens) if token.type == "LEFT_BRACKET")
    inside = tokens[start + 1 :]
    last = tokens[-1].type
    closed = last in ("NUMBER", "DURATION", "RIGHT_PAREN") and not in_parentheses
    if any(token.type == "COLON" for token in inside):
        return "subquery selector", '"]"' if closed else 'number, duration, step(), range(), or "]"'
    if closed:
        return "subquery or range", '":" or "]"'
    return "subquery or range selector", _AMOUNT


def _is_modifier(tokens: Sequence[Token]) -> bool:
    """Whether the last token, a keyword, follows an operator or aggregation it may modify."""
    if len(tokens) < 2:
        return False
    before, last = tokens[-2].type, tokens[-1].type
    if last in ("BY", "WITHOUT"):
        return before in ("AGGREGATOR", "RIGHT_PAREN")
    return before in _OPERATORS or before == "BOOL"


def _after_aggregator(tokens: Sequence[Token]) -> bool:
    """Whether an aggregator with its grouping, but without arguments, stands last."""
    last = len(tokens) - 1
    if last < 0 or tokens[last].type != "RIGHT_PAREN":
        return False
    while last >= 0 and tokens[last].type != "LEFT_PAREN":
        last -= 1
    return (
        last >= 2
        and tokens[last - 1].type in ("BY", "WITHOUT")
        and tokens[last - 2].type == "AGGREGATOR"
    )

"""parse: a query's text to its tree, checked for types."""

import functools
import pathlib
import sys
from itertools import accumulate
from typing import cast

from lark import Lark, Token, UnexpectedToken

from promql.ast import Node
from promql.check import TooDeep, Typed
from promql.errors import ParseError, Rejected
from promql.lexer import ERROR, tokenize
from promql.strings import is_utf8, replace_invalid
from promql.transform import TreeBuilder
from promql.unexpected import unexpected
from series.user_cache import user_cache

__all__ = ["ParseError", "parse"]

MAX_CACHED_CHARACTERS = 16_384
"""Longer texts are parsed anew each time: 4,096 of them would take too much memory."""
RECURSION = 12_000
"""Calls within calls that a walk of the highest tree may need, ten a level; walking one takes less
than 1 MiB of a thread's stack, and this many calls of anything less than 6 MiB."""


def parse(text: str) -> Node:
    """The expression that *text* writes; ParseError in Prometheus' words where it is none."""
    return _cached(text) if len(text) <= MAX_CACHED_CHARACTERS else _checked(text)


def _checked(text: str) -> Node:
    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION))
    source = text if is_utf8(text) else replace_invalid(text)
    try:
        result = _parse(source)
    except Rejected as rejected:
        raise ParseError(rejected.message, source, rejected.at) from None
    if result.fault is not None:
        raise ParseError(result.fault.message, source, result.fault.at)
    return result.node


_cached = functools.lru_cache(maxsize=4096)(_checked)


def _parse(source: str) -> Typed:
    tokens = tokenize(source)
    if len(tokens) == 1 and tokens[0].type != ERROR:
        raise Rejected("no expression found in input", 0)
    parser = _grammar().parse_interactive()
    result = None
    for count, token in enumerate(tokens):
        if token.type == ERROR:
            raise Rejected(str(token), cast(int, token.start_pos))
        try:
            result = parser.feed_token(token)
        except TooDeep as error:
            raise TooDeep(max(error.depth, _brackets(tokens) + 1), error.at) from None
        except UnexpectedToken:
            text = unexpected(tokens[:count], token)
            raise Rejected(text, cast(int, token.start_pos)) from None
    return cast(Typed, result)


def _brackets(tokens: list[Token]) -> int:
    """The deepest nesting of parentheses."""
    steps = {"LEFT_PAREN": 1, "RIGHT_PAREN": -1}
    return max(accumulate(steps.get(token.type, 0) for token in tokens))


@functools.cache
def _grammar() -> Lark:
    """The LALR tables of grammar.lark; kept in the user's cache directory, where there is one."""
    path = pathlib.Path(__file__).with_name("grammar.lark")
    cache = user_cache()
    return Lark(
        path.read_text(),
        parser="lalr",
        lexer="basic",
        transformer=TreeBuilder(),
        keep_all_tokens=True,
        maybe_placeholders=False,
        cache=str(cache / "promql.lark") if cache is not None else False,
    )

"""parse: a query's text to its tree, checked for types."""

import functools
import os
import pathlib
from typing import cast

from lark import Lark, UnexpectedToken

from promql.ast import Node
from promql.check import Typed
from promql.errors import ParseError, Rejected
from promql.lexer import ERROR, tokenize
from promql.strings import is_utf8, replace_invalid
from promql.transform import TreeBuilder
from promql.unexpected import unexpected

__all__ = ["ParseError", "parse"]

MAX_CACHED_CHARACTERS = 16_384
"""Longer texts are parsed anew each time: 4,096 of them would take too much memory."""


def parse(text: str) -> Node:
    """The expression that *text* writes; ParseError in Prometheus' words where it is none."""
    return _cached(text) if len(text) <= MAX_CACHED_CHARACTERS else _checked(text)


def _checked(text: str) -> Node:
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
        except UnexpectedToken:
            text = unexpected(tokens[:count], token)
            raise Rejected(text, cast(int, token.start_pos)) from None
    return cast(Typed, result)


@functools.cache
def _grammar() -> Lark:
    """The LALR tables of grammar.lark; kept in the user's cache directory, where there is one."""
    path = pathlib.Path(__file__).with_name("grammar.lark")
    return Lark(
        path.read_text(),
        parser="lalr",
        lexer="basic",
        transformer=TreeBuilder(),
        keep_all_tokens=True,
        maybe_placeholders=False,
        cache=_cache_file() or False,
    )


def _cache_file() -> str | None:
    try:
        home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path("~/.cache").expanduser()
        directory = pathlib.Path(home) / "hanzo-o11y"
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return str(directory / "promql.lark") if os.access(directory, os.W_OK) else None

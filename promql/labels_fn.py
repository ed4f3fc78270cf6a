"""``label_replace`` and ``label_join``: functions of labels alone.

Both work on distinct label values (or tuples of them), never series by series.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from promql import ast
from promql.env import Env
from promql.labelsets import merge_equal_labels
from promql.matrix import Mask, Matrix, Text, Value
from promql.notes import ExecutionError
from promql.strings import is_utf8
from series.labels import METRIC_NAME
from series.matcher import compile_regex
from series.ports import go_on


def label_replace(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``label_replace(v, dst, replacement, src, regex)``.

    Where the anchored *regex* matches label *src*, *dst* becomes the expanded *replacement*.
    """
    source = args[0]
    assert isinstance(source, Matrix)
    dst, replacement, src, pattern = _texts(args[1:])
    try:
        regex = compile_regex(pattern)
    except ValueError:
        raise ExecutionError(f"invalid regular expression in label_replace(): {pattern}") from None
    _check_label("destination", dst, "label_replace")
    column = source.frame.columns.get(src)
    texts = ("",) if column is None else column.values
    codes = np.zeros(source.series_count, np.int64) if column is None else column.codes
    template = Template(replacement, regex, env.context.check)
    longest = template.longest(texts)
    matched: list[bool] = []

    def matches() -> Iterator[Any]:
        for text in texts:
            env.context.check()
            yield regex.fullmatch(text.encode())

    def expanded() -> Iterator[str]:
        for match in matches():
            matched.append(match is not None)
            yield template.expand(match) if match else ""

    if longest > MAX_MADE_CHARACTERS and not any(matches()):
        return source
    made = _made("label_replace", expanded(), longest, env)
    hit = np.array(matched)[codes]
    return _with_label(source, dst, codes.astype(np.int64), made, hit) if hit.any() else source


def label_join(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``label_join(v, dst, separator, src, ...)``: *dst* becomes the joined values of the rest."""
    source = args[0]
    assert isinstance(source, Matrix)
    dst, separator, *names = _texts(args[1:])
    for name in names:
        _check_label("source", name, "label_join")
    _check_label("destination", dst, "label_join")
    ids, first = source.frame.keep(names).group_ids()
    distinct = source.frame.take(first)
    columns = [distinct.texts(name) for name in names]
    joined = _made(
        "label_join",
        (separator.join(column[at] for column in columns) for at in range(len(first))),
        sum(max(map(len, column), default=0) for column in columns) + len(separator) * len(names),
        env,
    )
    everywhere = np.ones(source.series_count, dtype=np.bool_)
    return _with_label(source, dst, ids, joined, everywhere)


MAX_MADE_CHARACTERS = 64 << 20
"""How much text one call may make of labels."""


def _made(function: str, texts: Iterator[str], longest: int, env: Env) -> list[str]:
    """All *texts*, the longest of which may have *longest* characters.

    ExecutionError where they are more than MAX_MADE_CHARACTERS together.
    """
    made: list[str] = []
    needed = longest
    if longest <= MAX_MADE_CHARACTERS:
        needed = 0
        for text in texts:
            env.context.check()
            made.append(text)
            needed += len(text)
            if needed > MAX_MADE_CHARACTERS:
                break
    if needed > MAX_MADE_CHARACTERS:
        raise ExecutionError(
            f"{function}() makes too long labels: at least {needed} characters, at most "
            f"{MAX_MADE_CHARACTERS} are allowed"
        )
    return made


def _with_label(
    source: Matrix, name: str, codes: np.ndarray[Any, Any], texts: list[str], rows: Mask
) -> Matrix:
    """*source* with label *name* set to ``texts[codes]`` in *rows*, others left as they are.

    A new metric name stays even where names are removed late.
    """
    if not rows.all():
        column = source.frame.columns.get(name)
        if column is not None:
            codes = np.where(rows, codes, column.codes + len(texts))
            texts = [*texts, *column.values]
        else:
            codes = np.where(rows, codes, len(texts))
            texts = [*texts, ""]
    marks = source.drop_name
    if name == METRIC_NAME and marks is not None:
        marks = marks & ~rows
    frame = source.frame.set_coded(name, codes, texts)
    return merge_equal_labels(replace(source, frame=frame, drop_name=marks, times_ms=None))


def _texts(args: list[Value]) -> list[str]:
    return [arg.value for arg in args if isinstance(arg, Text)]


def _check_label(role: str, name: str, function: str) -> None:
    if name == "" or not is_utf8(name):
        raise ExecutionError(f"invalid {role} label name in {function}(): {name}")


_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<braced>\w+)\}|(?P<bare>\w+))")


class Template:
    """A text in which ``$1``, ``$name`` and ``${name}`` stand for groups of a match.

    As Go's Regexp.Expand: a name is as long as it can be, unknown groups are empty, ``$$`` is a
    dollar sign, and a dollar sign before anything else stays.
    """

    def __init__(self, text: str, regex: Any, check: Callable[[], None] = go_on) -> None:
        """*check* is called now and then and may raise to stop."""
        self._parts: list[bytes | int] = []
        self._literals = len(text)
        self._references = 0
        end = 0
        for at, found in enumerate(_REFERENCE.finditer(text)):
            if at % 1024 == 0:
                check()
            part = b"$" if found["dollar"] else _group(found["braced"] or found["bare"], regex)
            self._parts += (text[end : found.start()].encode(), part)
            self._references += isinstance(part, int)
            end = found.end()
        self._parts.append(text[end:].encode())

    def longest(self, texts: Sequence[str]) -> int:
        """At least as many characters as a match with one of *texts* can give."""
        return self._literals + self._references * max(map(len, texts), default=0)

    def expand(self, match: Any) -> str:
        """The text with the groups of *match*, of the bytes of a text, in it."""
        return b"".join(
            [part if isinstance(part, bytes) else match[part] or b"" for part in self._parts]
        ).decode()


def _group(name: str, regex: Any) -> int | bytes:
    """The number of the group *name* of *regex*, or nothing where there is none."""
    if name.isascii() and name.isdigit() and (name == "0" or name[0] != "0"):
        number = int(name) if len(name) < 9 else -1
        return number if 0 <= number <= regex.groups else b""
    found: int | bytes = regex.groupindex.get(name, b"")
    return found

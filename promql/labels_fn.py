"""``label_replace`` and ``label_join``: functions of labels alone.

Both work on distinct label values (or tuples of them), never series by series.
"""

import re
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
    matches = [regex.fullmatch(text) for text in texts]
    hit = np.array([match is not None for match in matches])[codes]
    if not hit.any():
        return source
    expanded = [expand(replacement, match) if match else "" for match in matches]
    return _with_label(source, dst, codes.astype(np.int64), expanded, hit)


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
    joined = [separator.join(column[at] for column in columns) for at in range(len(first))]
    everywhere = np.ones(source.series_count, dtype=np.bool_)
    return _with_label(source, dst, ids, joined, everywhere)


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
    return merge_equal_labels(Matrix(frame, source.values, source.present, marks))


def _texts(args: list[Value]) -> list[str]:
    return [arg.value for arg in args if isinstance(arg, Text)]


def _check_label(role: str, name: str, function: str) -> None:
    if name == "" or not is_utf8(name):
        raise ExecutionError(f"invalid {role} label name in {function}(): {name}")


_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<braced>\w+)\}|(?P<bare>\w+))")


def expand(template: str, match: Any) -> str:
    """*template* with ``$1``, ``$name`` and ``${name}`` replaced by groups of *match*.

    As Go's Regexp.Expand: a name is as long as it can be, unknown groups are empty, ``$$`` is a
    dollar sign, and a dollar sign before anything else stays.
    """
    groups = match.re.groupindex

    def referenced(reference: re.Match[str]) -> str:
        if reference["dollar"]:
            return "$"
        name = reference["braced"] or reference["bare"]
        if name.isascii() and name.isdigit() and (name == "0" or name[0] != "0"):
            number = int(name) if len(name) < 9 else -1
            return (match.group(number) or "") if 0 <= number <= match.re.groups else ""
        return (match.group(groups[name]) or "") if name in groups else ""

    return _REFERENCE.sub(referenced, template)

"""Whether two replies say the same, and the differences of meaning that are no mistakes."""

import dataclasses
import math
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

from promql import ast
from promql.parser import parse
from series.labels import Labels
from tests.differential.generate import Question
from tests.differential.sides import Reply

RELATIVE, ABSOLUTE = 1e-8, 1e-9


class Verdict(Enum):
    EQUAL = "equal"
    KNOWN = "known difference"
    DIFFERENT = "different"


def judge(question: Question, ours: Reply, theirs: Reply) -> tuple[Verdict, str]:
    """The verdict, and what differs or which known difference it is."""
    reason = _difference(question, ours, theirs)
    if not reason:
        return Verdict.EQUAL, ""
    for name, applies in KNOWN.items():
        if applies(question, ours, theirs):
            return Verdict.KNOWN, name
    return Verdict.DIFFERENT, reason


def _difference(question: Question, ours: Reply, theirs: Reply) -> str:
    if ours.error != theirs.error:
        return f"{_outcome(ours)} instead of {_outcome(theirs)}"
    if ours.kind != theirs.kind:
        return f"type {ours.kind} instead of {theirs.kind}"
    if ours.kind == "string" and ours.text != theirs.text:
        return f"{ours.text!r} instead of {theirs.text!r}"
    left, right = dict(ours.rows), dict(theirs.rows)
    if len(left) < len(ours.rows):
        return "a label set stands twice"
    for text, extra in (("missing", right.keys() - left), ("invented", left.keys() - right)):
        if extra:
            return f"{text} {sorted(map(str, extra))[:3]}"
    if question.step_ms and [labels for labels, _ in ours.rows] != sorted(left):
        return "rows out of order"
    for labels, points in right.items():
        if reason := _differing_points(labels, left[labels], points):
            return reason
    return _order(question, ours, theirs)


def _outcome(reply: Reply) -> str:
    return f"{reply.error}: {reply.text}" if reply.error else f"{len(reply.rows)} series"


def _differing_points(labels: Labels, ours: dict[int, float], theirs: dict[int, float]) -> str:
    if ours.keys() != theirs.keys():
        return f"{labels}: points at {sorted(ours)} instead of {sorted(theirs)}"
    for time_ms, value in theirs.items():
        if not close(ours[time_ms], value):
            return f"{labels} @ {time_ms}: {ours[time_ms]!r} instead of {value!r}"
    return ""


def close(a: float, b: float) -> bool:
    """Equal but for rounding, whose order differs between compilers and versions."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


_ORDERED = re.compile(r"(sort|sort_desc|topk|bottomk) ?\(")


def _order(question: Question, ours: Reply, theirs: Reply) -> str:
    """A sorted vector has its values in one order; series of equal values may swap."""
    if question.step_ms or ours.error or not _ORDERED.match(question.text):
        return ""
    sequences = [
        [v for _, points in reply.rows for v in points.values()] for reply in (ours, theirs)
    ]
    if all(close(a, b) for a, b in zip(*sequences, strict=True)):
        return ""
    return f"order {sequences[0]} instead of {sequences[1]}"


# --- known differences -----------------------------------------------------------------------


def _dropped_duplicates(question: Question, ours: Reply, theirs: Reply) -> bool:
    """A filter that drops all but one of several matches: refused since 3.0, accepted before."""
    return (
        "multiple matches for labels" in ours.text
        and not theirs.error
        and re.search(r"[<>=!]=?(?! ?bool)", question.text) is not None
    )


def _infinite_sums(question: Question, ours: Reply, theirs: Reply) -> bool:
    """A sum that had become infinite was NaN after the next number, and stays infinite now."""
    left, right = dict(ours.rows), dict(theirs.rows)
    return (
        re.search("predict_linear|deriv|std(dev|var)_over_time", question.text) is not None
        and left.keys() == right.keys()
        and all(left[labels].keys() == right[labels].keys() for labels in left)
        and all(
            close(value, right[labels][time_ms])
            or (math.isinf(value) and math.isnan(right[labels][time_ms]))
            for labels, points in left.items()
            for time_ms, value in points.items()
        )
    )


def _pinned_at_the_start(question: Question, ours: Reply, theirs: Reply) -> bool:
    """``@`` in a shifted subquery whose first instant is the query's own: taken as shifted too.

    Prometheus turns ``@`` into an offset before it knows where the subquery begins, and mends that
    only where the two instants differ.
    """
    return not ours.error and _begins_alike(question, parse(question.text), question.start_ms)


def _begins_alike(question: Question, node: Any, start_ms: int) -> bool:
    """Whether *node*, evaluated from *start_ms* on, holds such a subquery."""
    if isinstance(node, ast.Subquery):
        inner_ms, shifted = _start_of(question, node, start_ms)
        if inner_ms == start_ms and shifted and _pins(node.expr):
            return True
        return _begins_alike(question, node.expr, inner_ms)
    return any(_begins_alike(question, part, start_ms) for part in _parts(node))


def _start_of(question: Question, node: ast.Subquery, start_ms: int) -> tuple[int, bool]:
    """The first instant of a subquery as 2.42 computes it, and whether it is shifted at all."""
    assert isinstance(node.range, ast.DurationLiteral)
    shift_ms, at = _literal_ms(node.modifiers.offset), node.modifiers.at
    if at is not None:
        anchors = {ast.AtAnchor.START: question.start_ms, ast.AtAnchor.END: question.end_ms}
        shift_ms += start_ms - (anchors[at] if isinstance(at, ast.AtAnchor) else at)
    interval_ms = _literal_ms(node.step) or 60_000
    edge_ms = start_ms - shift_ms - node.range.milliseconds
    return (edge_ms // interval_ms + 1) * interval_ms, shift_ms != 0


def _literal_ms(duration: ast.Duration | None) -> int:
    return duration.milliseconds if isinstance(duration, ast.DurationLiteral) else 0


def _pins(node: Any) -> bool:
    """Whether a selector in *node* has an ``@``."""
    if isinstance(node, ast.Modifiers):
        return node.at is not None
    return any(_pins(part) for part in _parts(node))


def _parts(node: Any) -> Iterator[Any]:
    if isinstance(node, tuple):
        yield from node
    elif dataclasses.is_dataclass(node):
        yield from (getattr(node, field.name) for field in dataclasses.fields(node))


KNOWN = {
    "duplicates that a filter drops": _dropped_duplicates,
    "infinite sums": _infinite_sums,
    "pinned where a subquery begins": _pinned_at_the_start,
}
"""Differences that no other question avoids, by name."""

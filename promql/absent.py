"""``absent`` and the part it shares with ``absent_over_time``."""

import numpy as np

from promql import ast
from promql.env import Env
from promql.matrix import Mask, Matrix, Value
from series.frame import LabelFrame
from series.labels import METRIC_NAME, Labels
from series.matcher import MatchType


def absent(args: list[Value], call: ast.Call, env: Env) -> Value:
    """``absent(v)``: 1 at the steps where *v* has no element."""
    (vector,) = args
    assert isinstance(vector, Matrix)
    return absence(call.args[0], np.asarray(vector.present.any(axis=0)))


def absence(argument: ast.Node, present: Mask) -> Matrix:
    """One series of value 1 at the steps that are not *present* (bool[T]).

    Its labels are what the selector *argument* (in a function call) demands; none where it always
    has an element.
    """
    missing = np.ascontiguousarray(~present[None, :])
    if not missing.any():
        return Matrix.empty(len(present))
    frame = LabelFrame.from_labels([absence_labels(argument)])
    return Matrix(frame, np.ones(missing.shape), missing)


def absence_labels(argument: ast.Node) -> Labels:
    """The labels for which *argument*, a selector, has exactly one condition, and that is ``=``.

    The metric name is never among them; anything but a selector has none.
    """
    while isinstance(argument, ast.Paren):
        argument = argument.inner
    if isinstance(argument, ast.MatrixSelector):
        argument = argument.vector
    if not isinstance(argument, ast.VectorSelector):
        return Labels()
    wanted: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in argument.all_matchers:
        if matcher.name == METRIC_NAME:
            continue
        if matcher.type is MatchType.EQUAL and matcher.name not in seen:
            wanted[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            wanted.pop(matcher.name, None)
    return Labels.of(wanted)

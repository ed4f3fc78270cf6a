"""Whether two servers answer a query alike."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import orjson

from benchmarks.api import Answer, differences, to_answer
from benchmarks.queries import Query


def compare(query: Query, answer: bytes, reference: bytes, *, exact: bool) -> list[str]:
    """What differs from the reference's answer.

    *exact*: labels, times and values to 1e-9. Otherwise, for servers whose rate means another
    thing: equally many series, points within 3 % and the mean of all values within 3 %.
    """
    left, right = (orjson.loads(body)["data"] for body in (answer, reference))
    if query.kind in ("labels", "values", "series"):
        same = sorted(map(repr_sorted, left)) == sorted(map(repr_sorted, right))
        return [] if same else [f"{len(left)} entries, the reference has {len(right)} others"]
    ours, theirs = to_answer(left), to_answer(right)
    if exact:
        return differences(ours, theirs)
    return _loosely(ours, theirs)


def repr_sorted(entry: Any) -> str:
    """A label set or name as comparable text."""
    return repr(sorted(entry.items())) if isinstance(entry, dict) else repr(entry)


def _loosely(ours: Answer, theirs: Answer) -> list[str]:
    if len(ours.series) != len(theirs.series):
        return [f"{len(ours.series)} series instead of {len(theirs.series)}"]
    found = []
    for what, measure in (("points", _count), ("mean", _mean)):
        left, right = measure(ours), measure(theirs)
        if not math.isclose(left, right, rel_tol=0.03):
            found.append(f"{what} {left:.6g} instead of {right:.6g}")
    return found


def _values(answer: Answer) -> Sequence[float]:
    return [v for _, points in answer.series for _, v in points if not math.isnan(v)]


def _count(answer: Answer) -> float:
    return float(sum(len(points) for _, points in answer.series))


def _mean(answer: Answer) -> float:
    return statistics.fmean(_values(answer) or [math.nan])

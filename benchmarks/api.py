"""A plain client of Prometheus' query API, and its answers as comparable values."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

LabelSet = tuple[tuple[str, str], ...]
Points = list[tuple[float, float]]
"""(Unix seconds, value) in the order of the answer."""


class Refused(Exception):
    """The server answered an error; the message holds status, error type and text."""


@dataclass(frozen=True)
class Answer:
    """One query's answer: *type* as the server names it, *series* in the server's order."""

    type: str
    series: list[tuple[LabelSet, Points]]

    @property
    def by_labels(self) -> dict[LabelSet, Points]:
        """The series by their labels; ValueError where a label set stands twice."""
        found = dict(self.series)
        if len(found) != len(self.series):
            raise ValueError("a label set stands twice in the answer")
        return found


class Api:
    """Query routes of the server at *url*; every call is bounded by *timeout_s*."""

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, timeout_s: float = 60
    ) -> None:
        self.url = url
        self.http = httpx.Client(
            base_url=url, headers=dict(headers or {}), timeout=timeout_s, trust_env=False
        )

    def call(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        """``data`` of a successful answer to a form POST (GET without parameters)."""
        answer = (
            self.http.get(path) if parameters is None else self.http.post(path, data=parameters)
        )
        try:
            body = answer.json()
        except ValueError:
            raise Refused(f"{answer.status_code}: {answer.text[:500]}") from None
        if answer.status_code != 200 or body.get("status") != "success":
            raise Refused(f"{answer.status_code} {body.get('errorType')}: {body.get('error')}")
        return body["data"]

    def instant(self, query: str, at_s: float | str) -> Answer:
        """An instant query; range selectors answer their raw samples."""
        return to_answer(self.call("/api/v1/query", {"query": query, "time": _text(at_s)}))

    def range(self, query: str, start_s: float, end_s: float, step_s: float) -> Answer:
        """A range query over start, start + step ... end, both inclusive."""
        times = {"start": _text(start_s), "end": _text(end_s), "step": _text(step_s)}
        return to_answer(self.call("/api/v1/query_range", {"query": query, **times}))

    def close(self) -> None:
        self.http.close()


def to_answer(data: Mapping[str, Any]) -> Answer:
    """The ``data`` object of the query routes as an Answer; a scalar has one nameless series."""
    kind, result = data["resultType"], data["result"]
    if kind in ("scalar", "string"):
        return Answer(kind, [((), [_point(result)])])
    return Answer(
        kind,
        [
            (
                tuple(sorted(row["metric"].items())),
                [_point(p) for p in (row["values"] if kind == "matrix" else [row["value"]])],
            )
            for row in result
        ],
    )


def differences(
    ours: Answer, theirs: Answer, *, relative: float = 1e-9, ordered: bool = False
) -> list[str]:
    """What differs between two answers, one sentence each; empty when they are equal.

    Labels and times must be equal, values within *relative* of the larger one (NaN equals NaN).
    Matrices are always ordered by the servers; vectors only count as ordered when *ordered* says.
    """
    if ours.type != theirs.type:
        return [f"type {ours.type} instead of {theirs.type}"]
    left, right = ours.by_labels, theirs.by_labels
    found = [f"missing series {dict(labels)}" for labels in right.keys() - left.keys()]
    found += [f"invented series {dict(labels)}" for labels in left.keys() - right.keys()]
    if not found and (ordered or ours.type == "matrix"):
        order = [labels for labels, _ in ours.series], [labels for labels, _ in theirs.series]
        if order[0] != order[1]:
            found.append(f"order {order[0]} instead of {order[1]}")
    for labels in left.keys() & right.keys():
        found += _differing_points(labels, left[labels], right[labels], relative)
    return found


def as_numbers(labels: LabelSet) -> LabelSet:
    """The labels with bounds as numbers: Prometheus 2 keeps ``le="1"``, 3 makes it ``1.0``."""
    return tuple((n, str(float(v)) if n in ("le", "quantile") else v) for n, v in labels)


def _differing_points(
    labels: LabelSet, ours: Points, theirs: Points, relative: float
) -> Iterable[str]:
    if [t for t, _ in ours] != [t for t, _ in theirs]:
        return [f"{dict(labels)}: other times, {len(ours)} points instead of {len(theirs)}"]
    wrong = [
        (t, a, b) for (t, a), (_, b) in zip(ours, theirs, strict=True) if not _close(a, b, relative)
    ]
    if not wrong:
        return []
    t, a, b = wrong[0]
    return [f"{dict(labels)}: {len(wrong)} of {len(ours)} values, first at {t}: {a!r} not {b!r}"]


def _close(a: float, b: float, relative: float) -> bool:
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=relative)


def _point(pair: Any) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


def _text(number: float | str) -> str:
    return number if isinstance(number, str) else f"{number:.3f}"

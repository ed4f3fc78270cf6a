"""Exemplars of an exposition page, collected line by line and metric by metric."""

import math
import re
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.exemplars import Exemplars
from series.labels import Labels

MAX_SECONDS = 1e15
"""Times must be closer to 1970 than this."""

_LABELS = rb'(?:[a-zA-Z_][a-zA-Z0-9_]*="[^"]*",?)*'
_PLAIN = re.compile(rb" # \{(" + _LABELS + rb")\} ([^ ]+)(?: ([^ ]+))?")
_LABEL = re.compile(rb'([^=,]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One exemplar; ``key`` is its labels', ``time_ms`` None where it tells no time."""

    key: bytes
    value: float
    time_ms: int | None = None


@dataclass(slots=True)
class Found:
    """The exemplars of a page so far, each with the row of its sample."""

    rows: list[int] = field(default_factory=list)
    exemplars: list[Exemplar] = field(default_factory=list)

    def add(self, row: int, exemplar: Exemplar) -> None:
        self.rows.append(row)
        self.exemplars.append(exemplar)

    def renumber(self, good: NDArray[np.bool_]) -> None:
        """After only the *good* rows (bool[S]) are left, with their exemplars."""
        numbers = (np.cumsum(good) - 1).tolist()
        kept = [at for at, row in enumerate(self.rows) if good[row]]
        self.rows, self.exemplars = (
            [numbers[self.rows[at]] for at in kept],
            [self.exemplars[at] for at in kept],
        )

    def columns(self, batch: SeriesBatch) -> Exemplars | None:
        """Those of the rows of *batch*, by row; one without a time gets that of its sample."""
        if not self.rows:
            return None
        order = sorted(range(len(self.rows)), key=self.rows.__getitem__)
        rows = np.array([self.rows[at] for at in order], dtype=np.int64)
        chosen = [self.exemplars[at] for at in order]
        own = [-1 if one.time_ms is None else one.time_ms for one in chosen]
        timed = np.array([one.time_ms is not None for one in chosen])
        keys = [one.key for one in chosen]
        return Exemplars(
            rows,
            np.where(timed, np.array(own, dtype=np.int64), batch.times_ms[batch.time_starts[rows]]),
            np.array([one.value for one in chosen]),
            np.frombuffer(b"".join(keys), dtype=np.uint8),
            np.cumsum([len(key) for key in keys], dtype=np.int64),
        )


def read_plain(text: bytes) -> Exemplar | None:
    """The exemplar of which ``exposition_helpers.is_exemplar`` says that it is a plain one.

    None where its value or time is beyond what can be.
    """
    match = _PLAIN.fullmatch(text)
    assert match is not None
    labels, value, seconds = match.groups()
    number, since = float(value), float(seconds or 0)
    if math.isinf(number) or not abs(since) < MAX_SECONDS:
        return None
    return Exemplar(_key(labels), number, None if seconds is None else round(since * 1000))


@lru_cache(maxsize=10_000)
def _key(labels: bytes) -> bytes:
    # Of a name that stands twice the last counts; what it is worth is the storage's affair.
    return Labels.of({n.decode(): v.decode() for n, v in _LABEL.findall(labels)}).key

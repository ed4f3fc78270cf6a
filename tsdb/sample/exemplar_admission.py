"""Which exemplars of a round of batches are kept, and what the senders are told of the others."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from tsdb.admission import Admitted
from tsdb.head.head import Head
from tsdb.sample.exemplars import MAX_CHARACTERS, ExemplarRing, Kept, Verdict

UNKNOWN_SERIES = ("exemplar-unknown-series", "unknown series for exemplar")
REFUSED = {
    Verdict.OUT_OF_ORDER: ("exemplar-out-of-order", "out of order exemplar"),
    Verdict.TOO_LONG: (
        "exemplar-too-long",
        f"label length for exemplar exceeds maximum of {MAX_CHARACTERS} UTF-8 characters",
    ),
    Verdict.MALFORMED: ("exemplar-malformed", "malformed labels of an exemplar"),
}
"""Reason and text for the sender of what is not kept."""


class TakenExemplars(NamedTuple):
    """Exemplars to be logged and kept: ``series`` int32[E] are the head's."""

    series: NDArray[np.int32]
    kept: list[Kept]


NO_EXEMPLARS = TakenExemplars(np.zeros(0, dtype=np.int32), [])


class _Found(NamedTuple):
    admitted: Admitted
    row: int
    series: int
    exemplar: Kept


def take_exemplars(batches: Sequence[Admitted], head: Head, ring: ExemplarRing) -> TakenExemplars:
    """The exemplars of *batches*, whose series the head knows by now, that the ring would take.

    Counts the others as refused in their batch, but for those that are there already.
    """
    found: list[_Found] = []
    for admitted in batches:
        if admitted.batch.exemplars is not None and ring.capacity:
            found += _found(admitted, head)
    if not found:
        return NO_EXEMPLARS
    taken: list[_Found] = []
    for one, verdict in zip(found, ring.judge([one.exemplar for one in found]), strict=True):
        if verdict in REFUSED:
            _refuse(one.admitted, *REFUSED[verdict], one.row, one.exemplar.time_ms)
            continue
        one.admitted.exemplars += 1
        if verdict is Verdict.TAKEN:
            taken.append(one)
    series = np.array([one.series for one in taken], dtype=np.int32)
    return TakenExemplars(series, [one.exemplar for one in taken])


def _found(admitted: Admitted, head: Head) -> list[_Found]:
    """The exemplars of a batch whose series the head knows; the others are refused."""
    exemplars = admitted.batch.exemplars
    assert exemplars is not None
    series = _series(admitted.batch, exemplars.rows, head)
    found = []
    for at, (row, time_ms, value) in enumerate(
        zip(
            exemplars.rows.tolist(),
            exemplars.times_ms.tolist(),
            exemplars.values.tolist(),
            strict=True,
        )
    ):
        if series[at] < 0:
            _refuse(admitted, *UNKNOWN_SERIES, row, time_ms)
        else:
            kept = Kept(admitted.batch.key(row), time_ms, value, exemplars.key(at))
            found.append(_Found(admitted, row, int(series[at]), kept))
    return found


def _series(batch: SeriesBatch, rows: NDArray[np.int64], head: Head) -> NDArray[np.int32]:
    """The head's series of the batch's *rows*, -1 where it does not know them."""
    none = np.zeros(0, dtype=np.int64)
    keys = SeriesBatch(
        np.zeros(0), none, np.zeros(len(rows) + 1, dtype=np.int64),
        np.zeros(len(rows), dtype=np.int64),
        batch.keys, batch.key_starts[rows], batch.key_ends[rows],
    )  # fmt: skip
    ids, _ = head.registry.look_up(keys)
    return ids


def _refuse(admitted: Admitted, reason: str, detail: str, row: int, time_ms: int) -> None:
    admitted.refused[reason] += 1
    admitted.refuse(reason, detail, row, time_ms)

"""Exemplars of a request as columns, and the labels of those that need care."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from series.exemplars import Exemplars
from series.histogram import offsets_of
from series.labels import Labels

Pairs = list[tuple[bytes, bytes]]

INVALID_EXEMPLARS = "invalid-exemplars"
"""What those whose labels are not sound are counted as."""
MAX_LABELS = 1000
MAX_EXEMPLARS = 100_000
"""What one request may bring; the storage keeps no more of a tenant."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scanned:
    """E exemplars; the columns that the kernels of a door fill.

    ``spans``: (row, start, end) of each; ``shapes``: 0 where the key is canonical, the keys of
    those stand end to end in ``keys``.
    """

    spans: Numbers
    value_bits: NDArray[np.uint64]
    times_ms: Numbers
    shapes: NDArray[np.uint8]
    keys: NDArray[np.uint8]
    key_ends: Numbers

    @classmethod
    def of(cls, spans: Numbers, key_bytes: int) -> Self:
        """Columns to be filled for the messages of *spans*, with room for *key_bytes*."""
        count = len(spans)
        return cls(
            spans,
            np.empty(count, dtype=np.uint64),
            np.empty(count, dtype=np.int64),
            np.empty(count, dtype=np.uint8),
            np.empty(key_bytes, dtype=np.uint8),
            np.empty(count, dtype=np.int64),
        )


def exemplars_of(
    scanned: Scanned,
    pairs_of: Callable[[int, int], Pairs],
    chosen: NDArray[np.bool_] | None = None,
) -> tuple[Exemplars, int]:
    """The exemplars whose labels are sound, and how many are not; of the *chosen* bool[E] only.

    *pairs_of* gives the labels of a message [start, end) as sent, where they are not canonical.
    """
    starts = np.concatenate([np.zeros(1, np.int64), scanned.key_ends])[:-1]
    ends = scanned.key_ends.copy()
    sound = np.ones(len(ends), dtype=np.bool_) if chosen is None else chosen.copy()
    count = int(np.count_nonzero(sound))
    extra: list[bytes] = []
    arena_end = int(ends[-1]) if len(ends) else 0
    keys = scanned.keys[:arena_end]
    for at in np.flatnonzero((scanned.shapes != 0) & sound).tolist():
        key = _key(pairs_of(*scanned.spans[at, 1:].tolist()))
        if key is None:
            sound[at] = False
            continue
        extra.append(key)
        starts[at], ends[at] = arena_end, arena_end + len(key)
        arena_end += len(key)
    if len(extra) or not sound.all():
        starts, ends = starts[sound], ends[sound]
        keys = np.concatenate([keys, np.frombuffer(b"".join(extra), dtype=np.uint8)])
        lengths = ends - starts
        packed = offsets_of(lengths)
        keys = keys[np.arange(packed[-1]) + np.repeat(starts - packed[:-1], lengths)]
        ends = packed[1:]
    exemplars = Exemplars(
        scanned.spans[sound, 0].copy(),
        scanned.times_ms[sound],
        scanned.value_bits[sound].view(np.float64),
        keys,
        ends,
    )
    return exemplars, count - exemplars.size


def _key(pairs: Pairs) -> bytes | None:
    """The canonical key of an exemplar's labels, or None where they are none."""
    names = [name for name, _ in pairs]
    if len(pairs) > MAX_LABELS or b"" in names or len(set(names)) < len(names):
        return None
    try:
        return Labels((name.decode(), value.decode()) for name, value in pairs).key
    except UnicodeDecodeError:
        return None

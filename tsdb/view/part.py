"""Part: what a View is made of.

A Part is a set of series with their samples, frozen for its readers: a block on disk, or a
snapshot of the head. Within a part a series is a *ref*, an integer that means nothing elsewhere;
across parts series are the same where their fingerprints are equal.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from series.batch import SeriesBatch
from series.frame import LabelFrame
from series.matcher import Matcher
from series.ports import StorageError, go_on

Refs = NDArray[np.int64]
Fingerprints = NDArray[np.uint64]

NEVER_MS = -(2**63)
"""Before all times."""


class PartRows(NamedTuple):
    """n series of a part: ``refs`` int64[n], ``fingerprints`` uint64[n, 2], their labels.

    ``in_label_order`` is True where the rows are known to ascend by their labels.
    """

    refs: Refs
    fingerprints: Fingerprints
    frame: LabelFrame
    in_label_order: bool = False


class PartLost(StorageError):
    """Nothing of ``part`` can be read: what tells where its samples stand is damaged."""

    def __init__(self, part: "Part", text: str) -> None:
        super().__init__(text)
        self.part = part


class ReadAnew(Exception):
    """Damage was found, and noted, in the middle of a read: another one will leave it out."""


class Part(Protocol):
    """Series and their samples, frozen for readers; several threads may read at once.

    Any method that needs them raises PartLost, again and again, where damage has taken them all.
    """

    @property
    def rank(self) -> int:
        """Which part counts: where two parts hold a sample at one instant, the lower rank wins."""
        ...

    @property
    def min_time_ms(self) -> int:
        """The time of the first sample."""
        ...

    @property
    def max_time_ms(self) -> int:
        """The time of the last sample; below ``min_time_ms`` where the part is empty."""
        ...

    @property
    def on_disk(self) -> bool:
        """Whether ``read`` may have to wait for the disk."""
        ...

    @property
    def has_labels_in_memory(self) -> bool:
        """Whether everything but ``read`` goes without the disk at the moment."""
        ...

    @property
    def token(self) -> Hashable:
        """Changes whenever ``select`` might answer otherwise; no two parts ever share one."""
        ...

    def select(self, matchers: tuple[Matcher, ...], check: Callable[[], None] = go_on) -> PartRows:
        """The series that satisfy all *matchers*, each once; *check* is that of ``Hints``."""
        ...

    def samples_of(self, refs: Refs) -> int:
        """How many samples *refs* have in all; of a part on disk that never changes, about."""
        ...

    def estimated_samples(self, samples: int, start_ms: int, end_ms: int) -> int:
        """About how many ``read`` would return where the refs have *samples* in all."""
        ...

    def read(
        self,
        refs: Refs,
        start_ms: int,
        end_ms: int,
        *,
        newest: bool = False,
        values: bool = True,
    ) -> SeriesBatch:
        """The samples of *refs* (int64[n], in any order), row for row; no keys.

        Holds every sample with ``start_ms <= time <= end_ms`` and possibly neighbours outside;
        with *newest* those that are not the newest of the range in their row may be missing.
        Without *values* floats may be any, but stale markers are where they are and nowhere else.
        Times strictly rise within a row. Rows that share their times point at one stretch of
        ``times_ms``. Samples in damaged bytes are left out, see ``damage``; StorageError where
        nothing can be read.
        """
        ...

    def damage(self, refs: Refs) -> Sequence[str]:
        """What is known to be damaged, and therefore left out, of the samples of *refs*."""
        ...

    def label_names(self, matchers: tuple[Matcher, ...]) -> list[str]:
        """The label names of the matching series, in any order."""
        ...

    def label_values(self, name: str, matchers: tuple[Matcher, ...]) -> list[str]:
        """The values of label *name* among the matching series, in any order, without ''."""
        ...

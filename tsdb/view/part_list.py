"""PartList: parts in ascending order of their times, with what a reader asks all of them for."""

from collections.abc import Hashable, Iterable
from itertools import compress
from typing import NamedTuple

from tsdb.view.part import Part


class PartList(NamedTuple):
    """``parts`` and, in their order, their tokens and their first and last times in milliseconds.

    What a part says of itself never changes, so that a list may be kept for many readers.
    """

    parts: tuple[Part, ...]
    tokens: tuple[Hashable, ...]
    first_ms: tuple[int, ...]
    last_ms: tuple[int, ...]

    @classmethod
    def of(cls, parts: Iterable[Part]) -> "PartList":
        """All *parts*, in any order, that are not empty."""
        filled = [part for part in parts if part.min_time_ms <= part.max_time_ms]
        filled.sort(key=lambda part: (part.min_time_ms, part.rank))
        return cls(
            tuple(filled),
            tuple(part.token for part in filled),
            tuple(part.min_time_ms for part in filled),
            tuple(part.max_time_ms for part in filled),
        )

    def with_part(self, part: Part) -> "PartList":
        """The same and *part*."""
        first_ms, last_ms = part.min_time_ms, part.max_time_ms
        if first_ms > last_ms:
            return self
        if self.parts and (self.first_ms[-1], self.parts[-1].rank) > (first_ms, part.rank):
            return PartList.of((*self.parts, part))
        return PartList(
            (*self.parts, part),
            (*self.tokens, part.token),
            (*self.first_ms, first_ms),
            (*self.last_ms, last_ms),
        )

    def within(self, start_ms: int, end_ms: int) -> "PartList":
        """Those that have samples from *start_ms* to *end_ms*, or may have some."""
        kept = self.overlapping(start_ms, end_ms)
        return self if all(kept) else self._only(kept)

    def overlapping(self, start_ms: int, end_ms: int) -> list[bool]:
        """Which of them these are."""
        times = zip(self.first_ms, self.last_ms, strict=True)
        return [first <= end_ms and last >= start_ms for first, last in times]

    def without(self, part: Part) -> "PartList":
        """All but *part*."""
        return self._only([one is not part for one in self.parts])

    def _only(self, kept: list[bool]) -> "PartList":
        return PartList(
            tuple(compress(self.parts, kept)),
            tuple(compress(self.tokens, kept)),
            tuple(compress(self.first_ms, kept)),
            tuple(compress(self.last_ms, kept)),
        )

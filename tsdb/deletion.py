"""Deletion: samples that are to be taken for gone wherever they still lie."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from series.matcher import Matcher, MatchType


class Stored(Protocol):
    """What is known of a block."""

    @property
    def sequence(self) -> int: ...
    @property
    def min_time_ms(self) -> int: ...
    @property
    def max_time_ms(self) -> int: ...


@dataclass(frozen=True)
class Deletion:
    """The samples of the series that satisfy all ``matchers``, from ``start_ms`` to ``end_ms``
    (both included), in blocks up to the sequence ``through_sequence``.

    A matcher is (type, label name, value), the type as in a selector: ``=``, ``!=``, ``=~`` or
    ``!~``.
    """

    matchers: tuple[tuple[str, str, str], ...]
    start_ms: int
    end_ms: int
    through_sequence: int

    def __post_init__(self) -> None:
        # JSON has lists only.
        object.__setattr__(self, "matchers", tuple(map(tuple, self.matchers)))

    @classmethod
    def of(
        cls, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int, through_sequence: int
    ) -> "Deletion":
        texts = tuple(sorted((one.type.value, one.name, one.value) for one in set(matchers)))
        return cls(texts, start_ms, end_ms, through_sequence)

    @cached_property
    def selector(self) -> tuple[Matcher, ...]:
        """The matchers as such; ValueError where one of them is malformed."""
        return tuple(Matcher(MatchType(kind), name, value) for kind, name, value in self.matchers)

    def hits(self, block: Stored) -> bool:
        """Whether there may be samples in *block* that it deletes."""
        return (
            block.sequence <= self.through_sequence
            and block.min_time_ms <= self.end_ms
            and block.max_time_ms >= self.start_ms
        )

    def covers(self, other: "Deletion") -> bool:
        """Whether nothing is left to do for *other*."""
        return (
            self.matchers == other.matchers
            and self.start_ms <= other.start_ms
            and self.end_ms >= other.end_ms
            and self.through_sequence >= other.through_sequence
        )


def still_needed(deletions: Iterable[Deletion], blocks: Sequence[Stored]) -> tuple[Deletion, ...]:
    """Those of *deletions* that may hit one of *blocks*."""
    return tuple(one for one in deletions if any(one.hits(block) for block in blocks))

"""What a fault did to a system."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.faults.truth import Count


class Skipped(Exception):
    """This row cannot be done here; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """One row of one system.

    *refused* are samples that the server did not take though they were in order. *ready_s* are the
    seconds from starting the process to its being ready, one for each start after the fault.
    *notes* say in a few words what figures do not.
    """

    count: Count = field(default_factory=Count)
    refused: int = 0
    ready_s: Sequence[float] = ()
    notes: Sequence[str] = ()
    failed: str = ""
    """Why there are no figures: the server did not come back, or answered nothing."""
    skipped: str = ""
    """Why the row was not done."""

    @property
    def exact(self) -> bool:
        """Nothing is invented or double."""
        return not (self.failed or self.count.invented or self.count.double)

    @property
    def sound(self) -> bool:
        """Nothing acknowledged is lost either."""
        return self.exact and not self.count.lost

    @property
    def ready_text(self) -> str:
        """The median, and the longest where there are several."""
        if not self.ready_s:
            return "-"
        middle = f"{statistics.median(self.ready_s):.1f}"
        return middle if len(self.ready_s) == 1 else f"{middle} (max {max(self.ready_s):.1f})"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"sound": self.sound}

"""What senders are refused, as events for the operator: the first of each kind, once a minute."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from series.ports import Refusal
from server.logs import fields

log = logging.getLogger("o11y.ingest")

PERIOD_SECONDS = 60.0
MAX_KINDS = 1000
"""So many kinds of refusals are told apart in one period; the rest is only counted."""


class RefusalLog:
    """Lets one event through for each organization, door and reason, so that none fills the log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """*clock* tells seconds."""
        self._clock = clock
        self._told: set[tuple[str, str, str]] = set()
        self._until = clock() + PERIOD_SECONDS

    def tell(
        self, org: str, door: str, refused: Mapping[str, int], refusals: Sequence[Refusal]
    ) -> None:
        """Logs *refused* (samples by reason), each with its first one of *refusals*."""
        if not refused:
            return
        if self._clock() >= self._until:
            self._told.clear()
            self._until = self._clock() + PERIOD_SECONDS
        for reason, count in refused.items():
            kind = (org, door, reason)
            if kind in self._told or len(self._told) >= MAX_KINDS:
                continue
            self._told.add(kind)
            first = next((one for one in refusals if one.reason == reason), None)
            about = {"detail": first.detail, "series": str(first.labels)} if first else {}
            log.warning(
                "samples refused",
                extra=fields(org=org, door=door, reason=reason, count=count, **about),
            )

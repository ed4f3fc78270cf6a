"""Warnings that an answer has no place for: they are counted, and logged for whoever runs us."""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter

from server.logs import fields

log = logging.getLogger("o11y.query")

_AGAIN_SECONDS = 3600.0
_REMEMBERED = 1000


class UnheardWarnings:
    """What remote read and federation cannot say to who asks; any thread may call."""

    def __init__(
        self, registry: CollectorRegistry, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._answers = Counter(
            "o11y_unheard_warnings",
            "Answers that have no place for a warning which they should carry, by door.",
            ["door"],
            registry=registry,
        )
        self._seconds = seconds
        self._lock = threading.Lock()
        self._told_seconds: dict[tuple[str, str, str], float] = {}

    def note(self, door: str, org: str, warnings: Iterable[str]) -> None:
        """An answer to *org* through *door* lacks *warnings*; each is logged once an hour."""
        texts = list(warnings)
        if not texts:
            return
        self._answers.labels(door).inc()
        for text in texts:
            if self._is_due((door, org, text)):
                log.warning(
                    "an answer has no place for its warning",
                    extra=fields(org=org, door=door, detail=text),
                )

    def _is_due(self, told: tuple[str, str, str]) -> bool:
        now = self._seconds()
        with self._lock:
            last = self._told_seconds.pop(told, None)
            due = last is None or now - last >= _AGAIN_SECONDS
            self._told_seconds[told] = now if last is None or due else last
            if len(self._told_seconds) > _REMEMBERED:
                del self._told_seconds[next(iter(self._told_seconds))]
            return due

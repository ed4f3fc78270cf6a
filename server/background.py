"""The one thread of background work: it lets the storage seal and drop what is due."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger("o11y.background")


class Background:
    """Calls *work* every *period_seconds* in its own thread until closed."""

    def __init__(
        self, work: Callable[[], object], failed: Callable[[], object], period_seconds: float = 1.0
    ) -> None:
        """*failed* is called after a round that raised; the next round comes all the same."""
        self._work = work
        self._failed = failed
        self._period_seconds = period_seconds
        self._closing = threading.Event()
        self._complaint = ""
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Returns when no round is running and none will."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(self._period_seconds):
            try:
                self._work()
                self._complaint = ""
            except Exception as error:
                self._complain(error)
                self._failed()

    def _complain(self, error: Exception) -> None:
        """Logs *error*, once as long as every round fails by the same."""
        if (complaint := repr(error)) != self._complaint:
            self._complaint = complaint
            log.exception("background work failed, and will be tried again")

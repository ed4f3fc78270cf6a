"""Idle: databases that nobody uses are closed, and logs that rest let go of their files.

What a closed database has counted goes on counting for its tenant's process.
"""

import heapq
import threading
from collections.abc import MutableMapping

from tsdb.db import Db
from tsdb.open_files import kept_open
from tsdb.stats import DbStats, counted

_MOST_LOGS = 1 << 16


class IdleTenants:
    """What has become idle among the databases *opened*, by tenant; for one thread."""

    def __init__(
        self,
        opened: MutableMapping[str, Db],
        opening: threading.Lock,
        idle_ms: int,
        *,
        most_logs: int | None = None,
    ) -> None:
        """*opening* is held while a database opens or closes. At most *most_logs* logs keep their
        file open, by default an eighth of the files that the process may open.
        """
        self._opened = opened
        self._opening = opening
        self._idle_seconds = idle_ms / 1000
        self._most_logs = most_logs or kept_open(_MOST_LOGS)
        self._counting = threading.Lock()
        self._past: list[DbStats] = []

    def close(self, now_seconds: float) -> None:
        """Closes who has been idle, where nothing is in memory that is not in blocks.

        *now_seconds* is by the clock of ``Db.used_seconds``.
        """
        before_seconds = now_seconds - self._idle_seconds
        for name, db in list(self._opened.items()):
            if db.is_unused(before_seconds):
                with self._opening:
                    if db.close_unused(before_seconds):
                        with self._counting:
                            self._past = [counted([*self._past, db.stats()])]
                            del self._opened[name]

    def close_surplus_logs(self) -> None:
        """Closes the logs that were written to longest ago, where too many are open.

        The next write to one of them begins a segment.
        """
        writing = [db for db in list(self._opened.values()) if db.has_open_log]
        surplus = max(0, len(writing) - self._most_logs)
        for db in heapq.nsmallest(surplus, writing, key=lambda one: one.last_append_ms):
            db.close_log()

    def stats(self) -> list[DbStats]:
        """The numbers of all that are open; with them what those that were closed have counted."""
        with self._counting:
            opened, past = list(self._opened.values()), list(self._past)
        return [*past, *(db.stats() for db in opened)]

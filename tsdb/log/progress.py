"""ReplayProgress: how far a start has read the logs."""

from collections.abc import Callable


class ReplayStopped(Exception):
    """Somebody wants the start to end; what is on disk stays as it is."""


class ReplayProgress:
    """Bytes of all logs, and how many of them are read; any thread may look."""

    def __init__(self, moved: Callable[["ReplayProgress"], object] = lambda progress: None) -> None:
        """*moved* is called after each record."""
        self.total_bytes = 0
        self.done_bytes = 0
        self._moved = moved
        self._is_stopped = False

    @property
    def percent(self) -> int:
        """100 where there is nothing to read."""
        if not self.total_bytes:
            return 100
        return min(100, 100 * self.done_bytes // self.total_bytes)

    def advance(self, size_bytes: int) -> None:
        """So many bytes more are read; ReplayStopped after ``stop``."""
        if self._is_stopped:
            raise ReplayStopped("the start was interrupted while the log was read")
        self.done_bytes += size_bytes
        self._moved(self)

    def stop(self) -> None:
        """Ends the replay at its next record."""
        self._is_stopped = True

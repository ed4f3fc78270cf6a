"""Entrance: the writes of one tenant that wait for their round, and who carries it out.

That is a committer thread, or the thread that brings a write where nobody else is at work.
"""

import threading
import time
from collections import deque

from tsdb.admission import SeriesLimit
from tsdb.committer import Committer
from tsdb.rounds import ROUND_SAMPLES, Result, Rounds, Waiting
from tsdb.state import State


class Entrance:
    """A ``committer.Committable``. Any thread may call any method."""

    def __init__(self, state: State, committer: Committer) -> None:
        self._state = state
        self._committer = committer
        self._rounds = Rounds(state)
        self._lock = threading.Lock()
        self._waiting: deque[Waiting] = deque()
        self.series_limit = SeriesLimit()
        self.is_closed = state.machine.read_only
        """Whether writes fail. To be changed under ``lock``."""

    @property
    def lock(self) -> threading.Lock:
        """Held by whoever lets a write in, or closes."""
        return self._lock

    def enter(self, waiting: Waiting) -> None:
        """Lets *waiting* in, which is told at once where it cannot be."""
        space = self._state.machine.space
        if space.is_low:
            waiting.promise.set_exception(space.low())
            return
        with self._lock:
            if not self.is_closed:
                self._waiting.append(waiting)
                self._committer.wake(self)
                return
        text = "open for reading only" if self._state.machine.read_only else "closed"
        waiting.promise.set_exception(OSError(f"the database is {text}"))

    def carry_out_here(self, waiting: Waiting, *, may_sync: bool) -> Result | None:
        """What a round of *waiting* alone comes to; None where it has to ``enter``.

        It is done where nobody else is at work; who comes meanwhile is not of this round. Unless
        the calling thread *may_sync*, only where no wait for the disk is to be expected.
        """
        state = self._state
        if state.machine.space.is_low or not state.commit.acquire(blocking=False):
            return None
        try:
            owed = state.wal.sync_due_seconds
            if not (may_sync or self._rounds.are_quick) or not self._is_free():
                return None
            [(_, result)] = self._carry_out([waiting])
        finally:
            state.commit.release()
        if state.wal.sync_due_seconds < owed:
            with self._lock:
                if not self.is_closed:
                    self._committer.wake(self)
        return result

    def _is_free(self) -> bool:
        """Whether a write may be carried out before any other."""
        with self._lock:
            return not (self.is_closed or self._waiting)

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def sync_due_seconds(self) -> float:
        """When ``commit_waiting`` has a sync of the log to do, by ``time.monotonic``."""
        return self._state.wal.sync_due_seconds

    def commit_waiting(self) -> None:
        """Carries out writes that wait, in one round; then they are told.

        After that the log is synced, where that is due.
        """
        if self._waiting:
            with self._state.commit:
                done = self._carry_out(self._take_waiting())
            for one, result in done:
                one.resolve(result)
        if self._state.wal.sync_due_seconds <= time.monotonic():
            with self._state.commit:
                self._state.wal.sync()

    def _carry_out(self, due: list[Waiting]) -> list[tuple[Waiting, Result]]:
        """A round of *due*, and what became of each; under ``State.commit``."""
        began = time.monotonic()
        try:
            return list(zip(due, self._rounds.carry_out(due, self.series_limit), strict=True))
        except OSError as error:
            # Its words tell all. Its frames know the writes, which know who hears of it: so they
            # would live until garbage is collected, just when memory or disk are full.
            bare = error.with_traceback(None)
            return [(one, bare) for one in due]
        except BaseException as error:  # whatever it is, the senders must hear of it
            return [(one, error) for one in due]
        finally:
            self._rounds.count(due, began)

    def _take_waiting(self) -> list[Waiting]:
        """The writes of the next round: all that wait, but not much more than a round holds."""
        due: list[Waiting] = []
        samples = 0
        while self._waiting and samples < ROUND_SAMPLES:
            one = self._waiting.popleft()
            if one.promise.set_running_or_notify_cancel():
                due.append(one)
                samples += one.weight
        return due

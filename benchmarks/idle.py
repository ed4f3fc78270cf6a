"""When a server has finished what it does in the background."""

import time
from collections.abc import Iterable

from benchmarks.processes import cpu_seconds

WINDOW_S = 0.5
BUSY_SHARE = 0.10
"""A server that takes less of a core in a window is quiet: ticks and small collections are."""
QUIET_S = 5.5
"""VictoriaMetrics writes what it holds in memory every five seconds."""
RESTED_S = 1.5
"""Enough for a server to which nothing was sent."""
SETTLE_S = 120.0


class Quiet:
    """Watches one process: *cpu_s* is its CPU time when its present quiet stretch began."""

    def __init__(self, cpu_s: float) -> None:
        self.cpu_s = self._last_s = cpu_s
        self.quiet_s = 0.0

    def observe(self, cpu_s: float, window_s: float) -> None:
        """The process' CPU time *window_s* after the last look."""
        if cpu_s - self._last_s < BUSY_SHARE * window_s:
            self.quiet_s += window_s
        else:
            self.cpu_s, self.quiet_s = cpu_s, 0.0
        self._last_s = cpu_s


def wait(pids: Iterable[int], quiet_s: float | None = None) -> dict[int, float]:
    """Waits until all *pids* are quiet for *quiet_s* (QUIET_S), or SETTLE_S.

    Returns their CPU seconds at the beginning of that: what an idle server burns is not in them.
    """
    quiet_s = QUIET_S if quiet_s is None else quiet_s
    watched = {pid: Quiet(cpu_seconds(pid)) for pid in pids}
    deadline = time.monotonic() + SETTLE_S
    while any(one.quiet_s < quiet_s for one in watched.values()) and time.monotonic() < deadline:
        began = time.monotonic()
        time.sleep(WINDOW_S)
        for pid, one in watched.items():
            one.observe(cpu_seconds(pid), time.monotonic() - began)
    return {pid: one.cpu_s for pid, one in watched.items()}

"""Starting a server on loopback, waiting until it is ready, ending it by its process id."""

import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

POLL_S = 0.02
PROCESS_CLOCK = 2
"""Linux' clock of the time that a process was running: the id is made of this and the pid."""


@contextmanager
def scratch(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """A directory for as long as the block runs, below *parent*, which is made where it is missing.

    OSError where it cannot be made.
    """
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as name:
        yield Path(name)


class NotStarted(Exception):
    """The process ended, or did not do in time what was waited for; holds the end of its log."""


class Process:
    """One child process whose output goes to a file; as a context manager it never outlives it."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        self.argv = list(argv)
        self.log = log
        with log.open("wb") as out:
            self._child = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def output(self) -> str:
        """What the process has written until now."""
        return self.log.read_text(errors="replace")

    def wait_until(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Polls *done*; NotStarted when the process ends or *timeout_s* passes before it holds."""
        deadline = time.monotonic() + timeout_s
        while not done():
            if not self.running:
                raise NotStarted(self._story(f"ended with {self._child.returncode} before {what}"))
            if time.monotonic() > deadline:
                raise NotStarted(self._story(f"not in {timeout_s:g} s: {what}"))
            time.sleep(POLL_S)

    def wait_for_output(self, pattern: str, timeout_s: float) -> re.Match[str]:
        """The first match of *pattern* in the output."""
        found: list[re.Match[str]] = []

        def seen() -> bool:
            found.extend(re.finditer(pattern, self.output))
            return bool(found)

        self.wait_until(seen, timeout_s, f"its output matched {pattern!r}")
        return found[0]

    def terminate(self, timeout_s: float = 30) -> int:
        """SIGTERM, and the exit code; a process that ignores it is killed and NotStarted raised."""
        if self.running:
            self._child.send_signal(signal.SIGTERM)
        try:
            return self._child.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise NotStarted(self._story(f"did not end {timeout_s:g} s after SIGTERM")) from error

    def kill(self) -> None:
        """SIGKILL: the process has no chance to finish anything."""
        if self.running:
            self._child.kill()
        self._child.wait()

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.running:
            return
        self._child.terminate()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def _story(self, text: str) -> str:
        return f"{self.argv[0]} (pid {self.pid}) {text}; its output ends:\n{self.output[-3000:]}"


def wait_for(done: Callable[[], object], what: str, timeout_s: float = 60) -> None:
    """Until *done* holds; AssertionError with *what* when *timeout_s* pass before."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, f"not in {timeout_s:g} s: {what}"
        time.sleep(0.25)


def find_program(name: str) -> str | None:
    """The path of an installed program, or None."""
    return shutil.which(name)


def free_port() -> int:
    """A loopback port that was free a moment ago, for programs that cannot choose one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of *pid*, ended ones too, to the nanosecond."""
    return time.clock_gettime(~pid << 3 | PROCESS_CLOCK)


def reset_peak(pid: int) -> None:
    """VmHWM of *pid* counts from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def memory_bytes(pid: int, field: str = "VmRSS") -> int:
    """VmRSS (now) or VmHWM (peak) of /proc/<pid>/status."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    if found is None:
        raise ValueError(f"no {field} in /proc/{pid}/status")
    return int(found[1]) * 1024

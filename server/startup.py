"""What the server tells its user while and after it starts."""

import os
import subprocess
import sys
import time
from pathlib import Path

from series.durations import format_duration_ms
from server.access.auth import DEFAULT_TENANT
from server.settings import VERSION, Settings
from server.starting import usual_collections
from tsdb.log.progress import ReplayProgress
from tsdb.log.sync import sync_text

SLOW_SECONDS = 1.5
"""A start that takes longer says why."""

ROOT = Path(__file__).resolve().parent.parent
_KERNEL_ROOMS = ("series", "tsdb", "promql", "wire", "server")


def base_url(settings: Settings, port: int) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://{host}:{port}"


def banner(settings: Settings, url: str, pid: int) -> str:
    """Where the server listens, what it keeps where and how long, for whom, and how to send."""
    retention = format_duration_ms(settings.retention_ms) if settings.retention_ms else "for ever"
    tenants = (
        f'open to this machine; X-Org-Id picks the tenant, else "{DEFAULT_TENANT}"'
        if settings.open_mode
        else f"by key, from {settings.keys_file}"
    )
    lines = [
        f"Hanzo O11y {VERSION} listens on {url}",
        f"  data       {settings.data_dir}",
        f"  retention  {retention}",
        f"  tenants    {tenants}",
        *_sync_lines(settings),
        f"  stop       Ctrl-C, or SIGTERM to process {pid}",
        "Send it data from prometheus.yml:",
        "remote_write:",
        f"  - url: {url}/api/v1/write",
    ]
    if not settings.open_mode:
        lines += ["    authorization:", "      credentials: hk-..."]
    return "\n".join(lines)


def _sync_lines(settings: Settings) -> list[str]:
    """What a power failure may cost, where that is anything."""
    if not settings.wal_sync_ms:
        return []
    return [
        f"  sync       {sync_text(settings.wal_sync_ms)}: "
        f"a power failure may take what was acknowledged last"
    ]


def kernel_files() -> list[Path]:
    """The sources with the kernels of the house."""
    return [f for room in _KERNEL_ROOMS for f in sorted((ROOT / room).rglob("*kernels.py"))]


def kernel_count() -> int:
    """How many kernels the house has, counted in its sources."""
    return sum(f.read_text().count("\n@kernel(") for f in kernel_files())


class KernelProgress:
    """Tells of kernels as they are compiled or loaded; says nothing where that is quick.

    Where it is slow, a second process compiles from the other end.
    """

    def __init__(self) -> None:
        self._count = 0
        self._total = 0
        self._told = 0
        self._beside: subprocess.Popen[bytes] | None = None
        self._began = time.monotonic()

    def ready(self, name: str) -> None:
        """One more kernel is compiled or loaded; a hook of ``series.jit``."""
        del name
        self._count += 1
        if time.monotonic() - self._began < SLOW_SECONDS:
            return
        if not self._total:
            self._total = kernel_count()
            usual_collections()
            if len(os.sched_getaffinity(0)) > 1:
                self._beside = _compile_beside()
        percent = 100 * self._count // max(self._total, 1)
        if sys.stderr.isatty():
            _draw_bar("preparing kernels", percent)
        elif percent >= self._told + 25 or not self._told:
            self._told = percent
            print(
                f"preparing kernels: {self._count} of {self._total} (slow only the first time)",
                file=sys.stderr,
                flush=True,
            )

    def seconds(self) -> float:
        return time.monotonic() - self._began


def _compile_beside() -> "subprocess.Popen[bytes]":
    """A process that compiles all kernels from the last to the first, and ends with us.

    What it has compiled we find in the cache. Whatever ails it we shall meet ourselves.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "server.compiling", str(os.getpid())],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


class ReplayLine:
    """Tells how far the log has been read; says nothing where that is quick."""

    def __init__(self) -> None:
        self._began = 0.0
        self._told = -1

    def moved(self, progress: ReplayProgress) -> None:
        """More of the log is read; a hook of ReplayProgress."""
        now = time.monotonic()
        self._began = self._began or now
        percent = progress.percent
        is_told = percent == self._told or (self._told < 0 and now - self._began < SLOW_SECONDS)
        if is_told:
            return
        if sys.stderr.isatty():
            self._told = percent
            _draw_bar("replaying the log", percent)
        elif percent >= self._told + 10 or percent == 100:
            self._told = percent
            size_mib = progress.total_bytes >> 20
            print(f"replaying the log: {percent} % of {size_mib} MiB", file=sys.stderr, flush=True)


def _draw_bar(what: str, percent: int) -> None:
    """A bar in place of the last one."""
    width = 30
    filled = width * percent // 100
    bar = "#" * filled + "-" * (width - filled)
    end = "\n" if percent >= 100 else ""
    print(f"\r{what} [{bar}] {percent} %", end=end, file=sys.stderr, flush=True)

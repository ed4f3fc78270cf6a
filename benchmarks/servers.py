"""Our server and its real counterparts, each started on a free loopback port and ready for use.

A missing program raises ``Absent`` with the Debian package that holds it; tests turn that into a
skip, benchmarks leave the peer out.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx
import yaml

from benchmarks.processes import Process, find_program, free_port

ROOT = Path(__file__).resolve().parents[1]
O11Y = Path(sys.prefix) / "bin" / "o11y"
READY_S = 30
COMPILE_S = 300
"""How long the first start of our server may take, which compiles the kernels."""


class Absent(Exception):
    """A program this machine does not have."""


@dataclass(frozen=True)
class Server:
    """A running, ready server."""

    process: Process
    url: str

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return self.url.removeprefix("http://")

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.__exit__(kind, error, trace)


def program(name: str, package: str) -> str:
    """The path of *name*; Absent when *package* is not installed."""
    found = find_program(name)
    if found is None:
        raise Absent(f"no {name} here (apt-get install {package})")
    return found


def start_o11y(
    data: Path,
    log: Path,
    *arguments: str,
    listen: str = "127.0.0.1:0",
    ready_s: float = COMPILE_S,
    prefix: Sequence[str] = (),
    program: Path = O11Y,
) -> Server:
    """``o11y serve`` on *data*, when /-/ready says 200; *program* is this or another ``o11y``."""
    argv = [*prefix, str(program), "serve", "--data", str(data), "--listen", listen, *arguments]
    return start_program(argv, log, r"((?:127\.0\.0\.1|\[::1\]):[1-9]\d*)", "/-/ready", ready_s)


def start_prometheus(
    home: Path,
    config: Mapping[str, object] | None = None,
    *arguments: str,
    address: str | None = None,
    prefix: Sequence[str] = (),
) -> Server:
    """Debian's Prometheus in the directory *home*, accepting remote write."""
    binary = program("prometheus", "prometheus")
    home.mkdir(parents=True, exist_ok=True)
    file = home / "prometheus.yml"
    file.write_text(yaml.safe_dump(dict(config or {}), sort_keys=False))
    argv = [
        *prefix,
        binary,
        f"--config.file={file}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address={address or '127.0.0.1:0'}",
        "--web.enable-remote-write-receiver",
        *arguments,
    ]
    listening = r'msg="Listening on" address=(\S+)'
    return start_program(argv, home / "prometheus.log", listening, "/-/ready", READY_S)


def start_victoria_metrics(home: Path, *arguments: str, prefix: Sequence[str] = ()) -> Server:
    """Debian's VictoriaMetrics in the directory *home*, whose queries see the newest samples."""
    binary = program("victoria-metrics", "victoria-metrics")
    home.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_port()}"
    argv = [
        *prefix,
        binary,
        f"-storageDataPath={home / 'data'}",
        f"-httpListenAddr={address}",
        "-search.latencyOffset=1ms",
        *arguments,
    ]
    log = home / "victoria-metrics.log"
    return start_program(argv, log, f"({address.replace('.', '[.]')})", "/health", READY_S)


def start_at(
    argv: Sequence[str], log: Path, address: str, probe: str, ready_s: float = READY_S
) -> Server:
    """A program that was told to listen at *address*, when *probe* says 200 there."""
    return _when_ready(Process(argv, log), address, probe, ready_s)


def start_program(
    argv: Sequence[str], log: Path, listening: str, probe: str, ready_s: float = READY_S
) -> Server:
    """A program that tells by group 1 of *listening* where it listens, when *probe* says 200."""
    process = Process(argv, log)
    try:
        address = process.wait_for_output(listening, ready_s)[1]
    except BaseException:
        process.kill()
        raise
    return _when_ready(process, address, probe, ready_s)


def _when_ready(process: Process, address: str, probe: str, ready_s: float) -> Server:
    server = Server(process, f"http://{address}")
    try:
        with httpx.Client(base_url=server.url, timeout=5, trust_env=False) as client:
            process.wait_until(
                lambda: _answers(client, probe), ready_s, f"{server.url}{probe} answered 200"
            )
    except BaseException:
        process.kill()
        raise
    return server


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False

"""Our server and its real counterparts, each started on a free loopback port and ready for use.

Those that are measured too come from ``benchmarks.servers``; here are the others.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from benchmarks.processes import free_port
from benchmarks.servers import (
    COMPILE_S,
    O11Y,
    READY_S,
    ROOT,
    Absent,
    Server,
    program,
    start_at,
    start_o11y,
    start_program,
    start_prometheus,
    start_victoria_metrics,
)

__all__ = [
    "COMPILE_S",
    "O11Y",
    "READY_S",
    "ROOT",
    "Absent",
    "Server",
    "program",
    "run_config",
    "start_agent",
    "start_at",
    "start_example",
    "start_node_exporter",
    "start_o11y",
    "start_prometheus",
    "start_victoria_metrics",
    "start_vmagent",
]


def run_config(
    targets: Mapping[str, str], writes: Sequence[Mapping[str, object]] = ()
) -> dict[str, object]:
    """A Prometheus configuration: job -> address, scraped every second, and remote_write blocks."""
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address]}]}
            for job, address in targets.items()
        ],
        "remote_write": list(writes),
    }


def start_agent(home: Path, config: Mapping[str, object]) -> Server:
    """Debian's Prometheus as an agent in the directory *home*: it scrapes and forwards."""
    binary = program("prometheus", "prometheus")
    home.mkdir(parents=True, exist_ok=True)
    file = home / "agent.yml"
    file.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    argv = [
        binary,
        "--enable-feature=agent",
        f"--config.file={file}",
        f"--storage.agent.path={home / 'data'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    listening = r'msg="Listening on" address=(\S+)'
    return start_program(argv, home / "agent.log", listening, "/-/ready")


def start_vmagent(home: Path, targets: Mapping[str, str], write_url: str, key: str) -> Server:
    """VictoriaMetrics' agent in the directory *home*: it scrapes and forwards to *write_url*."""
    binary = program("vmagent", "victoria-metrics")
    home.mkdir(parents=True, exist_ok=True)
    file = home / "scrape.yml"
    config = run_config(targets)
    del config["remote_write"]
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    address = f"127.0.0.1:{free_port()}"
    argv = [
        binary,
        f"-promscrape.config={file}",
        f"-remoteWrite.url={write_url}",
        f"-remoteWrite.bearerToken={key}",
        "-remoteWrite.headers=X-Org-Id: acme",
        f"-remoteWrite.tmpDataPath={home / 'queue'}",
        f"-httpListenAddr={address}",
    ]
    return start_program(argv, home / "vmagent.log", f"({address.replace('.', '[.]')})", "/health")


def start_node_exporter(log: Path) -> Server:
    """Debian's node exporter."""
    binary = program("prometheus-node-exporter", "prometheus-node-exporter")
    argv = [binary, "--web.listen-address=127.0.0.1:0"]
    return start_program(argv, log, r'msg="Listening on" address=(\S+)', "/metrics")


def start_example(log: Path, *arguments: str) -> Server:
    """examples/inference.py."""
    argv = [sys.executable, str(ROOT / "examples" / "inference.py"), "--port", "0", *arguments]
    return start_program(argv, log, r"http://(127\.0\.0\.1:\d+)/metrics", "/metrics")

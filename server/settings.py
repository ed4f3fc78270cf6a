"""Settings: everything a user can set, with its default, in one place."""

import ipaddress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from server.logs import LogFormat, LogLevel
from tsdb.disk_space import Reserve
from wire.otlp_options import Options as OtlpOptions

VERSION = "0.1.0"
"""Ours; ``o11y --version``."""
PROMETHEUS_VERSION = "3.14.0"
"""The Prometheus whose meaning and API we follow; Grafana derives features from it."""

FEATURES_ON = frozenset(
    {
        "promql-at-modifier",
        "promql-negative-offset",
        "remote-write-receiver",
        "memory-snapshot-on-shutdown",
        "new-service-discovery-manager",
        "utf8-names",
    }
)
"""Feature flags of Prometheus that are always on here; naming them changes nothing."""
FEATURES = frozenset(
    {
        "promql-delayed-name-removal",
        "promql-experimental-functions",
        "promql-duration-expr",
        "promql-extended-range-selectors",
        "promql-binop-fill-modifiers",
        "st-storage",
        "use-start-timestamps",
        "type-and-unit-labels",
    }
)
"""Feature flags of Prometheus that ``--enable-feature`` turns on here."""
KEEPS_STARTS = frozenset({"st-storage", "use-start-timestamps"})
"""With any of these the start timestamps of samples are stored."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one server runs with; durations in the unit that the name ends in."""

    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    port: int = 9090
    retention_ms: int = 15 * 86_400_000
    retention_bytes: int = 0
    """How much the blocks and logs of all tenants may take together; 0 is without a bound."""
    wal_sync_ms: int = 0
    """When the log is synced: 0 before a write is acknowledged, else so long after it at most;
    with ``NEVER_SYNC_MS`` never."""
    storage_reserve: Reserve = field(default_factory=Reserve)
    """How much of the disk stays free: below it writes are refused."""
    features: frozenset[str] = frozenset()
    keys_file: Path | None = None
    limits_file: Path | None = None
    query_timeout_ms: int = 120_000
    query_workers: int = 2
    query_cache_bytes: int = 32 << 20
    """How much the cache of range answers holds; 0 is no cache."""
    write_workers: int = 2
    drain_seconds: int = 30
    tls_cert: Path | None = None
    tls_key: Path | None = None
    log_format: LogFormat = LogFormat.TEXT
    log_level: LogLevel = LogLevel.INFO
    log_access: bool = False
    config_file: Path | None = None
    scrub_interval_ms: int = 86_400_000
    scrape_tenant: str = ""
    """Whose scraped samples are; if empty the only tenant of the keys, else the default one."""
    otlp: OtlpOptions = field(default_factory=OtlpOptions)
    self_scrape: str = ""
    """The organization that gets our own metrics; none if empty."""

    @property
    def open_mode(self) -> bool:
        """No keys: the server trusts the machine it runs on and listens on loopback only."""
        return self.keys_file is None


def parse_listen(text: str) -> tuple[str, int]:
    """(host, port) of ``HOST:PORT`` or ``[IPV6]:PORT``; ValueError tells what is wrong."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address needs brackets, like [::1]:9090")
    if not colon or not host:
        raise ValueError(f"{text!r} is not HOST:PORT")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{port!r} is not a port between 0 and 65535")
    return host, int(port)


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether *host* (a name or an address without brackets) is this machine by definition."""
    name = host.lower().removesuffix(".")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def parse_features(texts: str) -> tuple[frozenset[str], list[str]]:
    """The known features of a comma-separated list, and the names nobody knows."""
    names = [name.strip() for name in texts.split(",") if name.strip()]
    unknown = [name for name in names if name not in FEATURES | FEATURES_ON]
    return frozenset(names) & FEATURES, unknown

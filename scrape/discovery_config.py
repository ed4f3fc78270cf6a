"""The ``*_sd_configs`` and ``static_configs`` of a job: where its targets are found.

Keys and defaults are those of Prometheus 3.14.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scrape.document import ConfigError, Section
from scrape.http_options import PLAIN, HttpOptions, parse_http_options

ADDRESS = "__address__"
DISCOVERIES = ("static_configs", "file_sd_configs", "http_sd_configs", "dns_sd_configs")
IGNORED_DISCOVERIES = tuple(
    f"{name}_sd_configs"
    for name in (
        "aws", "azure", "consul", "digitalocean", "docker", "dockerswarm", "ec2", "ecs", "eureka",
        "elasticache", "gce", "hetzner", "ionos", "kubernetes", "kuma", "lightsail", "linode",
        "marathon", "msk", "nerve", "nomad", "openstack", "outscale", "ovhcloud", "puppetdb",
        "rds", "scaleway", "serverset", "stackit", "triton", "uyuni", "vultr",
    )
)  # fmt: skip
"""Mechanisms of Prometheus that find no targets here."""
_FILES_MS, _HTTP_MS, _DNS_MS = 300_000, 60_000, 30_000
"""How often each mechanism looks again where the configuration does not say."""
RECORD_TYPES = ("SRV", "A", "AAAA", "MX", "NS")

_FILE_PATTERN = re.compile(r"[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)")


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """Targets that were found together: labels of each, and labels that all share."""

    targets: tuple[Mapping[str, str], ...]
    labels: Mapping[str, str]

    def label_sets(self) -> list[dict[str, str]]:
        """The labels of each target; its own win over the shared ones."""
        return [{**self.labels, **target} for target in self.targets]


@dataclass(frozen=True, slots=True)
class Files:
    """One entry of ``file_sd_configs``; patterns are absolute or relative to the working dir."""

    patterns: tuple[str, ...]
    refresh_ms: int = _FILES_MS


@dataclass(frozen=True, slots=True)
class Http:
    """One entry of ``http_sd_configs``."""

    url: str
    refresh_ms: int = _HTTP_MS
    http: HttpOptions = PLAIN


@dataclass(frozen=True, slots=True)
class Dns:
    """One entry of ``dns_sd_configs``; *port* is for every type but SRV."""

    names: tuple[str, ...]
    record_type: str = "SRV"
    port: int = 0
    refresh_ms: int = _DNS_MS


@dataclass(frozen=True, slots=True)
class Discovery:
    """One mechanism of a job: either fixed groups, or where to look."""

    static: tuple[TargetGroup, ...] = ()
    dynamic: Files | Http | Dns | None = None


def parse_discoveries(section: Section, directory: Path) -> tuple[Discovery, ...]:
    """Takes every discovery mechanism from a job's *section*."""
    static = tuple(_static(entry) for entry in section.sections("static_configs"))
    dynamic: list[Files | Http | Dns] = [
        *(_files(entry, directory) for entry in section.sections("file_sd_configs")),
        *(_http(entry, directory) for entry in section.sections("http_sd_configs")),
        *(_dns(entry) for entry in section.sections("dns_sd_configs")),
    ]
    found = [Discovery(dynamic=one) for one in dynamic]
    return (Discovery(static), *found) if static else tuple(found)


def _static(section: Section) -> TargetGroup:
    group = TargetGroup(
        tuple({ADDRESS: address} for address in section.texts("targets")),
        section.mapping("labels"),
    )
    section.finish()
    return group


def _files(section: Section, directory: Path) -> Files:
    patterns = section.texts("files")
    if not patterns:
        raise section.error("file service discovery config must contain at least one path name")
    for pattern in patterns:
        if not _FILE_PATTERN.fullmatch(pattern):
            text = f'path name "{pattern}" is not valid for file discovery'
            raise section.error(text, "files")
    refresh_ms = section.duration_ms("refresh_interval", _FILES_MS)
    section.finish()
    return Files(tuple(str(directory / pattern) for pattern in patterns), refresh_ms)


def _http(section: Section, directory: Path) -> Http:
    url = section.text("url")
    parts = urlsplit(url)
    if not url:
        raise section.error("URL is missing", "url")
    if parts.scheme not in ("http", "https"):
        raise section.error("URL scheme must be 'http' or 'https'", "url")
    if not parts.hostname:
        raise section.error("host is missing in URL", "url")
    found = Http(
        url,
        section.duration_ms("refresh_interval", _HTTP_MS),
        parse_http_options(section, directory),
    )
    section.finish()
    return found


def _dns(section: Section) -> Dns:
    names = section.texts("names")
    if not names:
        raise section.error("DNS-SD config must contain at least one SRV record name")
    record_type = section.text("type", "SRV").upper()
    if record_type not in RECORD_TYPES:
        raise section.error(f"invalid DNS-SD records type {record_type}", "type")
    port = section.count("port")
    if record_type != "SRV" and not 0 < port < 65536:
        raise section.error("a port is required in DNS-SD configs for all record types except SRV")
    refresh_ms = section.duration_ms("refresh_interval", _DNS_MS)
    section.finish()
    return Dns(tuple(names), record_type, port, refresh_ms)


def check_address(address: str) -> str | None:
    """What is wrong with a target's address, or None."""
    return f'"{address}" is not a valid hostname' if "/" in address else None


def parse_groups(value: Any, where: str) -> list[TargetGroup]:
    """The target groups of a discovered document; ConfigError names *where* they came from."""
    if not isinstance(value, list):
        raise ConfigError(f"{where}: the top must be a list of target groups")
    return [_group(entry, where) for entry in value]


def _group(entry: Any, where: str) -> TargetGroup:
    if not isinstance(entry, Mapping) or not entry.keys() <= {"targets", "labels"}:
        raise ConfigError(f"{where}: a target group holds targets and labels, nothing else")
    targets, labels = entry.get("targets") or [], entry.get("labels") or {}
    if not isinstance(targets, list) or not all(isinstance(one, str) for one in targets):
        raise ConfigError(f"{where}: targets must be a list of texts")
    if not isinstance(labels, Mapping) or not all(isinstance(v, str) for v in labels.values()):
        raise ConfigError(f"{where}: labels must be a mapping of texts")
    return TargetGroup(
        tuple({ADDRESS: address} for address in targets),
        {str(name): value for name, value in labels.items()},
    )

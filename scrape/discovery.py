"""Discovery: what finds the targets of a job while it runs.

Each mechanism is one endless coroutine that reports the target groups of its sources whenever they
change. What cannot be read leaves in force what was found before.
"""

import glob
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson

from scrape.clock import Clock
from scrape.counters import Counters
from scrape.discovery_config import (
    ADDRESS,
    Discovery,
    Dns,
    Files,
    Http,
    TargetGroup,
    parse_groups,
)
from scrape.dns import DnsError, Lookup, Record, lookup
from scrape.document import ConfigError, parse_values
from scrape.fetch import ScrapeFailed, fetch

log = logging.getLogger("o11y.scrape")

Update = Callable[[str, Sequence[TargetGroup]], None]
"""Told the name of a source and all its groups of now; none where the source is gone."""

FILE_POLL_SECONDS = 1.0
"""How often watched files are looked at."""
HTTP_TIMEOUT_SECONDS = 30.0
MAX_DOCUMENT_BYTES = 64 << 20


class Discoverer:
    """Runs one mechanism of a job."""

    def __init__(
        self,
        discovery: Discovery,
        clock: Clock,
        update: Update,
        counters: Counters,
        transport: httpx.AsyncBaseTransport | None = None,
        resolve: Lookup = lookup,
    ) -> None:
        self._discovery = discovery
        self._clock = clock
        self._update = update
        self._counters = counters
        self._transport = transport
        self._resolve = resolve
        self._stamps: dict[str, tuple[int, int, int]] = {}
        self._complaints: dict[str, str] = {}

    async def run(self) -> None:
        """Reports what there is at once, then every change; returns only for static groups."""
        match self._discovery.dynamic:
            case None:
                self._update("static", self._discovery.static)
            case Files() as files:
                await self._watch(files)
            case Http() as service:
                await self._poll(service)
            case Dns() as names:
                await self._look_up(names)

    async def _watch(self, files: Files) -> None:
        poll_seconds = min(FILE_POLL_SECONDS, max(files.refresh_ms / 1000, 0.1))
        while True:
            self.read_files(files)
            await self._clock.sleep(poll_seconds)

    def read_files(self, files: Files) -> None:
        """Reports every file that is new, changed or gone since the last call."""
        names = sorted({name for pattern in files.patterns for name in glob.glob(pattern)})
        for name in self._stamps.keys() - set(names):
            del self._stamps[name]
            self._update(name, ())
        for name in names:
            try:
                status = Path(name).stat()
                stamp = status.st_mtime_ns, status.st_ino, status.st_size
                if self._stamps.get(name) == stamp:
                    continue
                groups = parse_groups(_parse(Path(name).read_bytes(), name), name)
            except (OSError, ConfigError) as error:
                self._complain("file", name, str(error))
                continue
            self._stamps[name] = stamp
            self._heard(name)
            self._update(name, [_with(group, "__meta_filepath", name) for group in groups])

    async def _poll(self, service: Http) -> None:
        while True:
            try:
                groups = await self._fetch(service)
            except (ScrapeFailed, ConfigError, OSError) as error:
                self._complain("http", service.url, str(error))
            else:
                self._heard(service.url)
                self._update(
                    service.url, [_with(group, "__meta_url", service.url) for group in groups]
                )
            await self._clock.sleep(service.refresh_ms / 1000)

    async def _fetch(self, service: Http) -> list[TargetGroup]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": "o11y",
            "X-Prometheus-Refresh-Interval-Seconds": f"{service.refresh_ms / 1000:f}",
            **service.http.headers(),
        }
        async with service.http.client(self._transport) as client:
            client.timeout = httpx.Timeout(HTTP_TIMEOUT_SECONDS)
            page = await fetch(
                client, service.url, headers, service.http.extensions(), MAX_DOCUMENT_BYTES
            )
        media_type = page.content_type.partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise ConfigError(f'{service.url}: unsupported content type "{page.content_type}"')
        try:
            return parse_groups(orjson.loads(page.body), service.url)
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{service.url}: {error}") from None

    async def _look_up(self, dns: Dns) -> None:
        while True:
            for name in dns.names:
                try:
                    records = await self._resolve(name, dns.record_type)
                except DnsError as error:
                    self._complain("dns", name, str(error))
                    continue
                self._heard(name)
                targets = tuple(_dns_target(name, dns, record) for record in records)
                self._update(name, [TargetGroup(targets, {})])
            await self._clock.sleep(dns.refresh_ms / 1000)

    def _complain(self, mechanism: str, source: str, text: str) -> None:
        """Counts a failure, and logs it once as long as it stays the same."""
        self._counters.discovery_failures[mechanism] += 1
        if self._complaints.get(source) != text:
            self._complaints[source] = text
            log.warning("service discovery keeps what it found before: %s", text)

    def _heard(self, source: str) -> None:
        self._complaints.pop(source, None)


def _parse(body: bytes, name: str) -> Any:
    """The document in a file of targets; ConfigError where it is neither JSON nor YAML."""
    try:
        if name.lower().endswith(".json"):
            return orjson.loads(body)
        return parse_values(body, name)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{name}: {error}") from None


def _with(group: TargetGroup, label: str, value: str) -> TargetGroup:
    return TargetGroup(group.targets, {**group.labels, label: value})


def _dns_target(name: str, dns: Dns, record: Record) -> dict[str, str]:
    host, port = record.host, record.port or dns.port
    labels = {"__meta_dns_name": name}
    if dns.record_type in ("SRV", "MX", "NS"):
        labels[f"__meta_dns_{dns.record_type.lower()}_record_target"] = f"{host}."
    if dns.record_type == "SRV":
        labels["__meta_dns_srv_record_port"] = str(record.port)
    bracketed = f"[{host}]" if ":" in host else host
    return {**labels, ADDRESS: f"{bracketed}:{port}"}

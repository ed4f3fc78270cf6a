"""Limits: what one tenant may store and ask, from ``--limits FILE``.

Names and defaults are those of Mimir's per-tenant limits; 0 means none::

    defaults:
      max_global_series_per_user: 150000
    tenants:
      acme:
        ingestion_rate: 50000
        ingestion_burst_size: 500000

Without a file what protects the storage itself holds, the sizes of labels; series and rates are
free.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from scrape.document import ConfigError, Section, parse_document
from server.access.keys import is_tenant_id

log = logging.getLogger("o11y.limits")

RECHECK_SECONDS = 2.0
_STATUSES = BAD_REQUEST, TOO_MANY_REQUESTS = 400, 429


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one tenant; 0 is none. ``docs/operating.md`` tells what each does.

    Lengths are in bytes, rates a second, durations in ms.
    """

    max_global_series_per_user: int = 150_000
    max_global_series_per_metric: int = 0
    series_limit_status: int = BAD_REQUEST
    max_label_names_per_series: int = 30
    max_label_names_per_info_series: int = 80
    max_label_name_length: int = 1024
    max_label_value_length: int = 2048
    max_samples_per_request: int = 0
    ingestion_rate: int = 10_000
    ingestion_burst_size: int = 200_000
    request_rate: int = 0
    request_burst_size: int = 0
    max_global_metadata_per_user: int = 0
    max_metadata_length: int = 1024
    max_query_expression_size_bytes: int = 0
    max_total_query_length: int = field(default=0, metadata={"duration": True})
    max_query_lookback: int = field(default=0, metadata={"duration": True})
    max_fetched_series_per_query: int = 0
    max_samples_per_query: int = 0
    max_outstanding_requests_per_tenant: int = 100
    accept_ha_samples: bool = False
    ha_cluster_label: str = "cluster"
    ha_replica_label: str = "__replica__"
    ha_max_clusters: int = 100
    ha_tracker_failover_timeout: int = field(default=30_000, metadata={"duration": True})

    def numbers(self) -> Iterator[tuple[str, int]]:
        """(name, value) of every limit that is a number; durations in ms."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int):
                yield one.name, int(value)


UNSET = Limits(max_global_series_per_user=0, ingestion_rate=0, ingestion_burst_size=0)
"""What holds where no file says otherwise."""


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """One reading of the file; ``scrape_tenants`` maps the jobs of scrapes to tenants."""

    defaults: Limits = UNSET
    tenants: dict[str, Limits] = field(default_factory=dict)
    scrape_tenants: dict[str, str] = field(default_factory=dict)


def parse_limits(text: str | bytes, file: str) -> LimitsConfig:
    """Reads the text of *file*; ConfigError names the line of what is wrong."""
    root = parse_document(text, file).section()
    section = root.section("defaults")
    defaults = Limits() if section is None else _limits(section, Limits())
    tenants = {}
    if (section := root.section("tenants")) is not None:
        for name in section.names():
            if not is_tenant_id(name):
                raise section.error(f'"{name}" is not a tenant id', name)
            own = section.section(name)
            tenants[name] = defaults if own is None else _limits(own, defaults)
        section.finish()
    jobs = root.mapping("scrape_tenants")
    for job, tenant in jobs.items():
        if not is_tenant_id(tenant):
            raise root.error(f'scrape_tenants: "{tenant}" of job "{job}" is not a tenant id')
    root.finish()
    return LimitsConfig(defaults, tenants, jobs)


def _limits(section: Section, base: Limits) -> Limits:
    """The limits of *section*, those of *base* where it says nothing."""
    read: dict[str, Any] = {}
    for one in fields(Limits):
        if not section.has(one.name):
            continue
        default = getattr(base, one.name)
        if one.metadata.get("duration"):
            read[one.name] = section.duration_ms(one.name)
        elif isinstance(default, bool):
            read[one.name] = section.flag(one.name)
        elif isinstance(default, int):
            read[one.name] = section.count(one.name)
            if one.name == "series_limit_status" and read[one.name] not in _STATUSES:
                raise section.error(f"series_limit_status must be one of {_STATUSES}", one.name)
        else:
            read[one.name] = section.text(one.name)
    section.ignore(one.name for one in fields(Limits) if not section.has(one.name))
    section.finish()
    limits = replace(base, **read)
    if limits.ingestion_rate and limits.ingestion_burst_size < limits.ingestion_rate:
        limits = replace(limits, ingestion_burst_size=limits.ingestion_rate)
    return limits


class LimitsFile:
    """The limits of a file that may change while we run.

    It looks at the file at most every RECHECK_SECONDS, when somebody asks. One that cannot be read
    leaves the last good limits in force. Any thread may call any method.
    """

    def __init__(
        self, path: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises ConfigError or OSError where the file cannot be used; None: there is none."""
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._config = LimitsConfig()
        self._stamp: tuple[int, int, int] | None = None
        self.last_reload_good = True
        if path is not None:
            self._stamp = _stamp(path)
            self._config = parse_limits(path.read_bytes(), str(path))
        self._checked = clock()

    @property
    def config(self) -> LimitsConfig:
        """The last good reading."""
        if self._path is not None and self._clock() - self._checked >= RECHECK_SECONDS:
            self._refresh(self._path)
        return self._config

    def of(self, tenant: str) -> Limits:
        config = self._config if self._path is None else self.config
        return config.tenants.get(tenant, config.defaults)

    def _refresh(self, path: Path) -> None:
        with self._lock:
            if self._clock() - self._checked < RECHECK_SECONDS:
                return
            self._checked = self._clock()
            try:
                stamp = _stamp(path)
                if stamp == self._stamp:
                    return
                self._stamp = stamp
                self._config = parse_limits(path.read_bytes(), str(path))
                self.last_reload_good = True
            except (ConfigError, OSError) as error:
                # Said once: the same file is not read again.
                self._stamp = None if isinstance(error, OSError) else self._stamp
                if self.last_reload_good or not isinstance(error, OSError):
                    log.error("keeping the limits read before: %s", error)
                self.last_reload_good = False


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size

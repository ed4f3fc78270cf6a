"""The configuration of scraping: a ``prometheus.yml`` becomes jobs.

Keys, defaults and rules are those of config/config.go of Prometheus 3.14. What is valid there and
has no effect here becomes a warning; what Prometheus does not know is an error with its line.
"""

import functools
import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from scrape.discovery_config import (
    IGNORED_DISCOVERIES,
    Discovery,
    check_address,
    parse_discoveries,
)
from scrape.document import Section, parse_document
from scrape.histogram_config import ONLY_CLASSIC, HistogramOptions, parse_histograms
from scrape.http_options import IGNORED as HTTP_IGNORED
from scrape.http_options import PLAIN, HttpOptions, parse_http_options
from scrape.otlp_block import parse_otlp
from series.relabel import DEFAULT_REGEX, DEFAULT_REPLACEMENT, DEFAULT_SEPARATOR, Rule
from wire.otlp_options import Options as OtlpOptions

PROTOCOLS = {
    "PrometheusProto": (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    ),
    "PrometheusText0.0.4": "text/plain;version=0.0.4",
    "PrometheusText1.0.0": "text/plain;version=1.0.0",
    "OpenMetricsText0.0.1": "application/openmetrics-text;version=0.0.1",
    "OpenMetricsText1.0.0": "application/openmetrics-text;version=1.0.0",
}
"""``scrape_protocols``: name -> media type."""
DEFAULT_PROTOCOLS = (
    "OpenMetricsText1.0.0",
    "OpenMetricsText0.0.1",
    "PrometheusText1.0.0",
    "PrometheusText0.0.4",
)
INTERVAL_MS = 60_000
TIMEOUT_MS = 10_000
ESCAPINGS = ("allow-utf-8", "underscores", "dots", "values")

_IGNORED_TOP = (
    "runtime",
    "alerting",
    "rule_files",
    "storage",
    "tracing",
    "remote_write",
    "remote_read",
)
_IGNORED_GLOBAL = ("evaluation_interval", "rule_query_offset", "external_labels", "query_log_file")
_IGNORED_EVERYWHERE = ("scrape_failure_log_file",)
_IGNORED_JOB = (
    "scrape_classic_histograms",
    "native_histogram_bucket_limit",
    "native_histogram_min_bucket_factor",
)
_SECRET_KEYS = frozenset(
    ("password", "credentials", "bearer_token", "key", "username_ref", "password_ref")
)
_RULE_PATTERN = re.compile(r"[^*]*(\*[^/]*)?")


@dataclass(frozen=True, slots=True)
class Limits:
    """0 means none. A page beyond one of them fails as a whole."""

    body_size_bytes: int = 0
    samples: int = 0
    targets: int = 0
    labels: int = 0
    label_name_length: int = 0
    label_value_length: int = 0
    dropped_targets: int = 0


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Common:
    """What ``global`` sets for every job that does not say otherwise; ``protocols`` may be none."""

    interval_ms: int = INTERVAL_MS
    timeout_ms: int = TIMEOUT_MS
    limits: Limits = NO_LIMITS
    protocols: tuple[str, ...] = ()
    legacy_names: bool = False
    escaping: str = ""
    extra_metrics: bool = False
    histograms: HistogramOptions = ONLY_CLASSIC


@dataclass(frozen=True, slots=True)
class Job:
    """One entry of ``scrape_configs``, its defaults filled in."""

    name: str
    interval_ms: int
    timeout_ms: int
    limits: Limits
    protocols: tuple[str, ...]
    fallback_protocol: str = ""
    escaping: str = "allow-utf-8"
    metrics_path: str = "/metrics"
    scheme: str = "http"
    params: tuple[tuple[str, tuple[str, ...]], ...] = ()
    honor_labels: bool = False
    honor_timestamps: bool = True
    track_timestamps_staleness: bool = False
    enable_compression: bool = True
    extra_metrics: bool = False
    http: HttpOptions = PLAIN
    relabel: tuple[Rule, ...] = ()
    metric_relabel: tuple[Rule, ...] = ()
    discoveries: tuple[Discovery, ...] = ()
    histograms: HistogramOptions = ONLY_CLASSIC
    shown: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The entry as it stands in the file, without its secrets and what has no effect."""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration; *shown* is its ``global`` part as it stands in the file.

    ``otlp`` counts at the start only.
    """

    jobs: tuple[Job, ...] = ()
    shown: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    otlp: OtlpOptions = field(default_factory=OtlpOptions)


def load_config(path: Path) -> Config:
    """Reads *path* and the ``scrape_config_files`` it names.

    Raises ConfigError, whose text begins with file and line, and OSError.
    """
    directory = path.parent
    document = parse_document(path.read_bytes(), str(path))
    top = document.section()
    top.ignore(_IGNORED_TOP)
    shown: dict[str, Any] = {}
    common = Common()
    if (section := top.section("global")) is not None:
        common = _parse_common(section)
        section.finish()
        shown = section.plain(without=(*_IGNORED_GLOBAL, *_IGNORED_EVERYWHERE))
    otlp = parse_otlp(top)
    jobs: dict[str, Job] = {}
    _add_jobs(jobs, top, common, directory)
    warnings = list(document.warnings)
    for pattern in top.texts("scrape_config_files"):
        if not _RULE_PATTERN.fullmatch(pattern):
            raise top.error(f'invalid scrape config file path "{pattern}"', "scrape_config_files")
        for name in sorted(glob.glob(str(directory / pattern))):
            more = parse_document(Path(name).read_bytes(), name)
            _add_jobs(jobs, more.section(), common, Path(name).parent, alone=True)
            warnings += more.warnings
    top.finish()
    return Config(tuple(jobs.values()), shown, tuple(warnings), otlp)


def _add_jobs(
    jobs: dict[str, Job], top: Section, common: Common, directory: Path, *, alone: bool = False
) -> None:
    for section in top.sections("scrape_configs"):
        job = _parse_job(section, common, directory)
        if job.name in jobs:
            raise section.error(
                f'found multiple scrape configs with job name "{job.name}"', "job_name"
            )
        jobs[job.name] = job
    if alone:
        top.finish()


def _parse_common(section: Section) -> Common:
    section.ignore((*_IGNORED_GLOBAL, *_IGNORED_EVERYWHERE))
    interval_ms = section.duration_ms("scrape_interval") or INTERVAL_MS
    timeout_ms = section.duration_ms("scrape_timeout")
    if timeout_ms > interval_ms:
        raise section.error("global scrape timeout greater than scrape interval", "scrape_timeout")
    return Common(
        interval_ms,
        timeout_ms or min(TIMEOUT_MS, interval_ms),
        _limits(section, NO_LIMITS),
        _protocols(section, ()),
        _legacy_names(section, False),
        _escaping(section, ""),
        section.flag("extra_scrape_metrics"),
        parse_histograms(section, ONLY_CLASSIC),
    )


def _parse_job(section: Section, common: Common, directory: Path) -> Job:
    section.ignore((*_IGNORED_EVERYWHERE, *_IGNORED_JOB, *IGNORED_DISCOVERIES))
    name = section.text("job_name")
    interval_ms = section.duration_ms("scrape_interval") or common.interval_ms
    timeout_ms = section.duration_ms("scrape_timeout")
    if timeout_ms > interval_ms:
        raise section.error(
            f'scrape timeout greater than scrape interval for scrape config with job name "{name}"',
            "scrape_timeout",
        )
    scheme = section.text("scheme", "http")
    if scheme not in ("http", "https"):
        raise section.error(f'scheme must be http or https, not "{scheme}"', "scheme")
    histograms = parse_histograms(section, common.histograms)
    native_first = ("PrometheusProto", *DEFAULT_PROTOCOLS)
    job = Job(
        name,
        interval_ms,
        timeout_ms or min(common.timeout_ms, interval_ms),
        _limits(section, common.limits),
        _protocols(
            section, common.protocols or (native_first if histograms.native else DEFAULT_PROTOCOLS)
        ),
        _fallback(section),
        _job_escaping(section, common),
        section.text("metrics_path", "/metrics"),
        scheme,
        _params(section.section("params")),
        section.flag("honor_labels"),
        section.flag("honor_timestamps", True),
        section.flag("track_timestamps_staleness"),
        section.flag("enable_compression", True),
        section.flag("extra_scrape_metrics", common.extra_metrics),
        parse_http_options(section, directory),
        parse_rules(section, "relabel_configs"),
        parse_rules(section, "metric_relabel_configs"),
        parse_discoveries(section, directory),
        histograms,
        _shown(section),
    )
    section.finish()
    if not name:
        raise section.error("job_name is empty", "job_name")
    if not job.relabel:
        _check_static_addresses(section, job)
    return job


def _check_static_addresses(section: Section, job: Job) -> None:
    for discovery in job.discoveries:
        for group in discovery.static:
            for target in group.targets:
                if (problem := check_address(target.get("__address__", ""))) is not None:
                    raise section.error(problem, "static_configs")


def parse_rules(section: Section, name: str) -> tuple[Rule, ...]:
    """The relabelling rules of the list under *name*."""
    return tuple(_parse_rule(rule) for rule in section.sections(name))


def _parse_rule(section: Section) -> Rule:
    fields = {
        "action": section.text("action", "replace").lower(),
        "source_labels": tuple(section.texts("source_labels")),
        "separator": section.text("separator", DEFAULT_SEPARATOR),
        "regex": section.text("regex", DEFAULT_REGEX),
        "modulus": section.count("modulus"),
        "target_label": section.text("target_label"),
        "replacement": section.text("replacement", DEFAULT_REPLACEMENT),
    }
    section.finish()
    try:
        return Rule(**fields)  # type: ignore[arg-type]
    except ValueError as error:
        raise section.error(str(error), "regex" if "regexp" in str(error) else "action") from None


def _limits(section: Section, default: Limits) -> Limits:
    return Limits(
        section.size_bytes("body_size_limit") or default.body_size_bytes,
        section.count("sample_limit") or default.samples,
        section.count("target_limit") or default.targets,
        section.count("label_limit") or default.labels,
        section.count("label_name_length_limit") or default.label_name_length,
        section.count("label_value_length_limit") or default.label_value_length,
        section.count("keep_dropped_targets") or default.dropped_targets,
    )


def _protocols(section: Section, default: tuple[str, ...]) -> tuple[str, ...]:
    if not section.has("scrape_protocols"):
        section.ignore(["scrape_protocols"])
        return default
    names = section.texts("scrape_protocols")
    if not names:
        raise section.error("scrape_protocols cannot be empty", "scrape_protocols")
    for name in names:
        if name not in PROTOCOLS:
            raise section.error(f"scrape_protocols: {_unknown(name)}", "scrape_protocols")
    if len(set(names)) < len(names):
        raise section.error(
            f"duplicated protocol in scrape_protocols, got {names}", "scrape_protocols"
        )
    return tuple(names)


def _fallback(section: Section) -> str:
    name = section.text("fallback_scrape_protocol")
    if name and name not in PROTOCOLS:
        text = f"invalid fallback_scrape_protocol: {_unknown(name)}"
        raise section.error(text, "fallback_scrape_protocol")
    return name


def _unknown(protocol: str) -> str:
    return f"unknown scrape protocol {protocol}, supported: {sorted(PROTOCOLS)}"


def _legacy_names(section: Section, default: bool) -> bool:
    scheme = section.text("metric_name_validation_scheme")
    if scheme not in ("", "utf8", "legacy"):
        raise section.error(
            f"unknown name validation method specified, must be either '', 'legacy' or 'utf8',"
            f" got {scheme}",
            "metric_name_validation_scheme",
        )
    return scheme == "legacy" if scheme else default


def _escaping(section: Section, default: str) -> str:
    scheme = section.text("metric_name_escaping_scheme")
    if scheme and scheme not in ESCAPINGS:
        raise section.error(
            f"unknown name escaping method specified, must be one of {', '.join(ESCAPINGS)},"
            f' got "{scheme}"',
            "metric_name_escaping_scheme",
        )
    return scheme or default


def _job_escaping(section: Section, common: Common) -> str:
    """How the target is asked to write names that are not classic ones."""
    legacy = _legacy_names(section, common.legacy_names)
    chosen = _escaping(section, "")
    if not chosen and not section.has("metric_name_validation_scheme"):
        chosen = common.escaping
    if chosen == "allow-utf-8" and legacy:
        raise section.error("utf8 metric names requested but validation scheme is not set to UTF8")
    return chosen or ("underscores" if legacy else "allow-utf-8")


def _params(section: Section | None) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if section is None:
        return ()
    return tuple((name, tuple(section.texts(name))) for name in section.names())


def _shown(section: Section) -> dict[str, Any]:
    without = (*_IGNORED_EVERYWHERE, *_IGNORED_JOB, *IGNORED_DISCOVERIES, *HTTP_IGNORED)
    shown: dict[str, Any] = _redacted(section.plain(without))
    return shown


def _redacted(value: Any, key: str = "") -> Any:
    """*value* with every secret replaced."""
    if isinstance(value, dict):
        return {name: _redacted(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, key) for item in value]
    if key in _SECRET_KEYS and value:
        return "<secret>"
    if isinstance(value, str) and "@" in value and "://" in value:
        return _without_password(value)
    return value


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:<secret>@{host}"))


@functools.lru_cache(maxsize=64)
def accept_header(protocols: tuple[str, ...], escaping: str) -> str:
    """What a scrape accepts, the first of *protocols* most wanted; scrape/scrape.go of 3.14."""
    weight = len(PROTOCOLS) + 1
    parts = []
    for name in protocols:
        escaped = name in ("PrometheusText1.0.0", "OpenMetricsText1.0.0")
        suffix = f";escaping={escaping}" if escaped else ""
        parts.append(f"{PROTOCOLS[name]}{suffix};q=0.{weight}")
        weight -= 1
    return ",".join([*parts, f"*/*;q=0.{weight}"])

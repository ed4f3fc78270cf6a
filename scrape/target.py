"""Target: one address to scrape, made from what was discovered by a job's rules.

Source of the rules: scrape/target.go of Prometheus 3.14 (PopulateLabels).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from scrape.config import Job
from scrape.discovery_config import ADDRESS, check_address
from series.durations import format_duration_ms, parse_duration_ms
from series.labels import Labels
from series.relabel import relabel_in_place

INTERVAL, TIMEOUT = "__scrape_interval__", "__scrape_timeout__"
SCHEME, PATH, PARAM = "__scheme__", "__metrics_path__", "__param_"


class BadTarget(ValueError):
    """What was discovered makes no target; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to scrape, how often, and what its series are labelled with.

    - ``discovered``: its labels before relabelling, ``job`` and the ``__scrape_*`` ones included.
    - ``labels``: those its series get; none begins with ``__``.
    """

    discovered: Labels
    labels: Labels
    url: str
    interval_ms: int
    timeout_ms: int

    @property
    def identity(self) -> tuple[Labels, str, int, int]:
        """Equal for targets that are one."""
        return self.labels, self.url, self.interval_ms, self.timeout_ms

    def offset_ms(self) -> int:
        """Where within each interval it is scraped: even over all targets, always the same."""
        name = self.labels.key + self.url.encode()
        digest = hashlib.blake2b(name, digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.interval_ms


def discovered_labels(job: Job, found: Mapping[str, str]) -> Labels:
    """The labels of a discovered target before relabelling."""
    labels = {name: value for name, value in found.items() if value}
    defaults = {
        "job": job.name,
        INTERVAL: format_duration_ms(job.interval_ms),
        TIMEOUT: format_duration_ms(job.timeout_ms),
        PATH: job.metrics_path,
        SCHEME: job.scheme,
    }
    for name, value in defaults.items():
        labels.setdefault(name, value)
    for name, values in job.params:
        if values and values[0]:
            labels[PARAM + name] = values[0]
    return Labels.of(labels)


def make_target(job: Job, discovered: Labels) -> Target | None:
    """The target, or None where relabelling drops it; BadTarget where it cannot be scraped."""
    labels = discovered.as_dict()
    if not relabel_in_place(labels, job.relabel):
        return None
    address = labels.get(ADDRESS, "")
    if not address:
        raise BadTarget("no address")
    if (problem := check_address(address)) is not None:
        raise BadTarget(problem)
    interval_ms = _duration_ms(labels.get(INTERVAL, ""), "interval")
    timeout_ms = _duration_ms(labels.get(TIMEOUT, ""), "timeout")
    if timeout_ms > interval_ms:
        raise BadTarget(
            "scrape timeout cannot be greater than scrape interval"
            f' ("{labels[TIMEOUT]}" > "{labels[INTERVAL]}")'
        )
    scheme = labels.get(SCHEME) or "http"
    if scheme not in ("http", "https"):
        raise BadTarget(f'invalid scheme: "{scheme}"')
    labels.setdefault("instance", address)
    shown = {name: value for name, value in labels.items() if not name.startswith("__")}
    try:
        for value in shown.values():
            value.encode()
    except UnicodeEncodeError:
        raise BadTarget(f"invalid label value in {sorted(shown)}") from None
    url = _url(scheme, address, labels.get(PATH, ""), _params(job, labels))
    return Target(discovered, Labels.of(shown), url, interval_ms, timeout_ms)


def _duration_ms(text: str, what: str) -> int:
    try:
        duration_ms = parse_duration_ms(text)
    except ValueError as error:
        raise BadTarget(f"error parsing scrape {what}: {error}") from None
    if duration_ms == 0:
        raise BadTarget(f"scrape {what} cannot be 0")
    return duration_ms


def _params(job: Job, labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """The query parameters by name; a ``__param_`` label replaces the first value of its own."""
    params = {name: list(values) for name, values in job.params}
    for name, value in labels.items():
        if name.startswith(PARAM):
            params[name.removeprefix(PARAM)] = [
                value,
                *params.get(name.removeprefix(PARAM), [])[1:],
            ]
    return [(name, value) for name, values in sorted(params.items()) for value in values]


def _url(scheme: str, address: str, path: str, params: list[tuple[str, str]]) -> str:
    path = path if path.startswith("/") else f"/{path}"
    query = f"?{urlencode(params)}" if params else ""
    return f"{scheme}://{address}{path}{query}"

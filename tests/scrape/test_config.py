"""prometheus.yml: what is read of it, what warns and what is refused with its line."""

from pathlib import Path

import pytest
import yaml

from scrape.config import DEFAULT_PROTOCOLS, Job, Limits, accept_header, load_config
from scrape.discovery_config import Dns, Files, Http, TargetGroup
from scrape.document import ConfigError
from scrape.histogram_config import HistogramOptions
from scrape.http_options import Secret
from series.relabel import Rule
from tests.scrape.worlds import job_of

FULL = """
global:
  scrape_interval: 15s
  scrape_timeout: 5s
  evaluation_interval: 15s
  sample_limit: 100
  external_labels: {a: b}
rule_files: [rules.yml]
alerting: {alertmanagers: []}
remote_write: [{url: "http://127.0.0.1/w", basic_auth: {username: a, password: tell-none}}]
scrape_config_files: ["more/*.yml"]
scrape_configs:
  - job_name: a
    honor_labels: true
    honor_timestamps: false
    metrics_path: /m
    scheme: https
    params: {module: [x, y], empty: []}
    scrape_interval: 1m
    body_size_limit: 1MB
    label_limit: 10
    basic_auth: {username: me, password: hidden}
    tls_config: {insecure_skip_verify: true, server_name: s, min_version: TLS12}
    proxy_url: http://user:also-hidden@127.0.0.1:3128
    kubernetes_sd_configs: [{role: pod}]
    static_configs:
      - targets: ["127.0.0.1:1", "127.0.0.1:2"]
        labels: {zone: z}
    file_sd_configs: [{files: ["t/*.json"], refresh_interval: 10s}]
    http_sd_configs: [{url: "http://x:hidden@127.0.0.1:9/sd"}]
    dns_sd_configs: [{names: [a.b], type: A, port: 80}]
    relabel_configs:
      - {source_labels: [zone], regex: "(.)", target_label: z, action: Replace}
    metric_relabel_configs:
      - {action: labeldrop, regex: x}
  - job_name: b
    authorization: {credentials_file: token}
"""
MORE = "scrape_configs: [{job_name: c, bearer_token: t}]"


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """The configuration above, with one more file that it includes."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "c.yml").write_text(MORE)
    file = tmp_path / "prometheus.yml"
    file.write_text(FULL)
    return file


def test_a_whole_file_is_read(full: Path) -> None:
    """Every key that is acted upon arrives, with the defaults of ``global``."""
    config = load_config(full)
    a, b, c = config.jobs

    assert (a.name, a.interval_ms, a.timeout_ms) == ("a", 60_000, 5_000)
    assert (b.interval_ms, b.timeout_ms, b.limits.samples) == (15_000, 5_000, 100)
    assert a.limits == Limits(body_size_bytes=1 << 20, samples=100, labels=10)
    assert (a.honor_labels, a.honor_timestamps, a.metrics_path, a.scheme) == (
        True, False, "/m", "https",
    )  # fmt: skip
    assert a.params == (("module", ("x", "y")), ("empty", ()))
    assert a.http.basic == (Secret("me"), Secret("hidden"))
    assert a.http.tls is not None
    assert a.http.tls.server_name == "s"
    assert b.http.authorization == ("Bearer", Secret(file=full.parent / "token"))
    assert c.http.authorization == ("Bearer", Secret("t"))
    assert a.relabel == (
        Rule(source_labels=("zone",), regex="(.)", target_label="z", action="replace"),
    )
    assert a.metric_relabel == (Rule(action="labeldrop", regex="x"),)
    static, files, http, dns = a.discoveries
    assert static.static == (
        TargetGroup(
            ({"__address__": "127.0.0.1:1"}, {"__address__": "127.0.0.1:2"}), {"zone": "z"}
        ),
    )
    assert files.dynamic == Files((str(full.parent / "t/*.json"),), 10_000)
    assert isinstance(http.dynamic, Http)
    assert dns.dynamic == Dns(("a.b",), "A", 80)


def test_valid_keys_without_effect_warn(full: Path) -> None:
    """Each is named with its line, and nothing else is."""
    named = [warning.split(": ", 1)[1] for warning in load_config(full).warnings]

    assert sorted(named) == sorted(
        f"{key} has no effect here"
        for key in (
            "alerting",
            "rule_files",
            "remote_write",
            "global.evaluation_interval",
            "global.external_labels",
            "scrape_configs[0].proxy_url",
            "scrape_configs[0].kubernetes_sd_configs",
        )
    )


def test_no_secret_is_shown(full: Path) -> None:
    """Neither the shown configuration nor a job's text holds a password or token."""
    config = load_config(full)
    shown = yaml.safe_dump([config.shown, *(job.shown for job in config.jobs)])

    assert "<secret>" in shown
    for text in (shown, repr(config)):
        assert "hidden" not in text.replace("x:hidden@", "") or text is not shown
    assert "hidden" not in shown
    assert "tell-none" not in shown + repr(config)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("job_name: a\nscrape_intervall: 5s", ':4: unknown key "scrape_intervall"'),
        ("scheme: http", ":3: job_name is empty"),
        ("job_name: a\nscheme: ftp", ':4: scheme must be http or https, not "ftp"'),
        ("job_name: a\nscrape_interval: 5s\nscrape_timeout: 6s",
         ":5: scrape timeout greater than scrape interval for scrape config with job name"),
        ("job_name: a\nstatic_configs:\n- target: [b]", ':5: unknown key "target" in'),
        ("job_name: a\nstatic_configs:\n- targets: ['http://b']",
         ':4: "http://b" is not a valid hostname'),
        ("job_name: a\nrelabel_configs:\n- {action: hashmod}", ":5: relabel configuration for"),
        ("job_name: a\nrelabel_configs:\n- action: drop\n  regex: '('",
         ":6: error parsing regexp: missing closing )"),
        ("job_name: a\nscrape_protocols: [X]", ":4: scrape_protocols: unknown scrape protocol X"),
        ("job_name: a\nfile_sd_configs: [{files: [a.txt]}]", ':4: path name "'),
        ("job_name: a\nfile_sd_configs: [{files: []}]", ":4: file service discovery config must"),
        ("job_name: a\nhttp_sd_configs: [{url: 'ftp://a'}]", ":4: URL scheme must be"),
        ("job_name: a\ndns_sd_configs: [{names: [a], type: A}]", ":4: a port is required"),
        ("job_name: a\ndns_sd_configs: [{names: [a], type: TXT}]", ":4: invalid DNS-SD records"),
        ("job_name: a\nbasic_auth: {username: b}\nauthorization: {credentials: c}",
         ":4: at most one of basic_auth"),
        ("job_name: a\nbasic_auth: {password: b, password_file: c}", ":4: at most one of password"),
        ("job_name: a\nauthorization: {type: basic}", ":4: authorization type cannot be set"),
        ("job_name: a\ntls_config: {cert_file: c}", ":4: exactly one of cert and key"),
        ("job_name: a\ntls_config: {min_version: SSL3}", ":4: unknown TLS version: SSL3"),
        ("job_name: a\nmetric_name_validation_scheme: x", ":4: unknown name validation method"),
        ("job_name: a\nmetric_name_escaping_scheme: x", ":4: unknown name escaping method"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    """A bad key or value fails the whole file, and the text leads to its line."""
    with pytest.raises(ConfigError) as refused:
        job_of(tmp_path, text)

    assert str(refused.value).startswith(f"{tmp_path / 'prometheus.yml'}{complaint}")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("scrape_config: []", ':1: unknown key "scrape_config" in the file'),
        ("global: {scrape_intervall: 1s}", ':1: unknown key "scrape_intervall" in global'),
        ("global:\n  scrape_timeout: 2m", ":2: global scrape timeout greater than"),
        ("scrape_configs:\n- job_name: a\n- job_name: a", ":3: found multiple scrape configs with"),
        ("scrape_config_files: ['*/*.yml']", ":1: invalid scrape config file path"),
    ],
)
def test_what_is_wrong_outside_of_jobs_is_told_too(
    tmp_path: Path, text: str, complaint: str
) -> None:
    """The same for the rest of the file."""
    file = tmp_path / "p.yml"
    file.write_text(text)

    with pytest.raises(ConfigError) as refused:
        load_config(file)

    assert str(refused.value).startswith(f"{file}{complaint}")


def test_defaults_are_those_of_prometheus(tmp_path: Path) -> None:
    """A job that says nothing is scraped every minute, for ten seconds, at /metrics."""
    job = job_of(tmp_path, "job_name: a")

    assert job == Job(
        "a", 60_000, 10_000, Limits(), job.protocols, escaping="allow-utf-8"
    )  # fmt: skip
    assert job.enable_compression
    assert job.http.follow_redirects


def test_escaping_follows_the_validation_scheme(tmp_path: Path) -> None:
    """Legacy names ask the target for underscores."""
    legacy = job_of(tmp_path, "job_name: a\nmetric_name_validation_scheme: legacy")
    dots = job_of(tmp_path, "job_name: a\nmetric_name_escaping_scheme: dots")

    assert (legacy.escaping, dots.escaping) == ("underscores", "dots")


def test_the_accept_header_ranks_the_protocols() -> None:
    """Each protocol is wanted less than the one before it, everything else least."""
    header = accept_header(("PrometheusProto", "OpenMetricsText1.0.0"), "allow-utf-8")

    assert header == (
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
        "encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;"
        "escaping=allow-utf-8;q=0.5,*/*;q=0.4"
    )


def test_how_histograms_are_scraped(tmp_path: Path) -> None:
    """``global`` speaks for all jobs, a job for itself; native ones come by protobuf first."""
    text = """
global: {scrape_native_histograms: true, convert_classic_histograms_to_nhcb: true}
scrape_configs:
- job_name: a
- {job_name: b, scrape_native_histograms: false, always_scrape_classic_histograms: true}
- {job_name: c, scrape_protocols: [PrometheusText0.0.4]}
"""
    (tmp_path / "prometheus.yml").write_text(text)
    config = load_config(tmp_path / "prometheus.yml")
    assert not config.warnings
    assert [job.histograms for job in config.jobs] == [
        HistogramOptions(native=True, convert=True),
        HistogramOptions(always_classic=True, convert=True),
        HistogramOptions(native=True, convert=True),
    ]
    assert config.jobs[0].protocols == ("PrometheusProto", *DEFAULT_PROTOCOLS)
    assert config.jobs[1].protocols == DEFAULT_PROTOCOLS
    assert config.jobs[2].protocols == ("PrometheusText0.0.4",)

"""Queries, and what scraping reads besides pages: configurations, documents, DNS answers."""

import pathlib
import tempfile
from functools import cache

from promql.ast import Node
from promql.errors import ParseError
from promql.parser import parse
from promql.pretty import pretty
from promql.printer import to_text
from scrape.config import load_config
from scrape.discovery import _parse as parse_document
from scrape.discovery_config import parse_groups
from scrape.dns import TYPES, DnsError, parse_answer
from scrape.document import ConfigError
from tests.fuzz.mutate import Shape
from tests.fuzz.target import Outcome, Target, magnitude, shape_of


def _promql(data: bytes) -> Outcome:
    """A query that is one prints as another that means the same."""
    tree = parse(data.decode("utf-8", "surrogateescape"))
    text = to_text(tree)
    assert parse(text) == tree, text
    broken = pretty(tree)
    assert parse(broken) == tree, broken
    return frozenset(_kinds(tree)), magnitude(len(data))


def _kinds(tree: Node) -> set[str]:
    """The names of the classes in a tree."""
    found, waiting = set(), [tree]
    while waiting:
        one = waiting.pop()
        found.add(type(one).__name__)
        for name in getattr(one, "__dataclass_fields__", ()):
            value = getattr(one, name)
            waiting += value if isinstance(value, tuple | list) else [value]
    return found


@cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    """Where configurations are read from; gone with the process."""
    return tempfile.TemporaryDirectory(prefix="o11y-fuzz-")


def _prometheus_yml(data: bytes) -> Outcome:
    """Other files are left alone: a pattern of theirs might name the whole disk."""
    if b"scrape_config_files" in data:
        raise ConfigError("names other files")
    path = pathlib.Path(_directory().name) / "prometheus.yml"
    path.write_bytes(data)
    config = load_config(path)
    jobs = config.jobs
    return (
        magnitude(len(jobs)),
        frozenset(kind for job in jobs for kind in map(type, job.discoveries)),
        magnitude(sum(len(job.relabel) for job in jobs)),
        frozenset(shape_of(one)[-40:] for one in config.warnings),
        len(config.otlp.promote_resource_attributes),
    )


def _discovered(data: bytes) -> Outcome:
    """The first byte tells a JSON document from a YAML one."""
    name = "targets.json" if data[:1] != b"y" else "targets.yml"
    groups = parse_groups(parse_document(data[1:], name), name)
    labels = [dict(labels) for group in groups for labels in group.label_sets()]
    assert all(isinstance(text, str) for one in labels for pair in one.items() for text in pair)
    return name, magnitude(len(groups)), magnitude(len(labels))


def _dns(data: bytes) -> Outcome:
    """The first byte chooses the type of the records."""
    kinds = list(TYPES)
    kind = kinds[data[0] % len(kinds)] if data else "A"
    records = parse_answer(data[1:], 7, kind)
    assert all(0 <= record.port < 65536 for record in records)
    return kind, magnitude(len(records)), frozenset(len(r.host) > 20 for r in records)


_PROMQL_WORDS = (
    b"sum", b"by", b"without", b"(", b")", b"{", b"}", b"[5m]", b"[1h:5m]", b"offset 5m", b" @ 1",
    b"@ end()", b"@ start()", b"rate(", b"histogram_quantile(", b"topk(", b"count_values(", b'"x"',
    b"=~", b"!~", b'!="', b'="', b",", b"and", b"or", b"unless", b"on(", b"ignoring(",
    b"group_left", b"group_right(", b"bool", b"==", b">=", b"^", b"-", b"+", b"*", b"%", b"/",
    b"atan2", b"1e999", b"0x1F", b"0b1", b"1_000", b"Inf", b"NaN", b"5m30s", b"`", b"'", b'"',
    b"\\x", b"\\u00e4", b"\\", b"#", b"\n", b"anchored", b"smoothed", b"step()", b"range()",
    b"min_of(", b"max_of(", b"fill(", b"fill_left(", b"info(", b"label_replace(",
    b"absent_over_time(", b"\xff", b"\xc3\xa4", b"(" * 300, b"-" * 500, b"sum(" * 150, b"+1" * 400,
    b"{__name__=", b"quantile", b"limitk(", b"start()", b"a:b",
)  # fmt: skip
YAML_WORDS = (
    b"global:\n", b"scrape_configs:\n", b"  - job_name: a\n", b"    static_configs:\n", b"&a ",
    b"*a", b"<<: *a\n", b"!!binary ", b"!!python/object:os.system ", b"!!float ", b"!!int ",
    b"!!timestamp ", b"2001-13-45", b"? ", b": ", b"- ", b"[", b"]", b"{", b"}", b"|\n", b">\n",
    b"---\n", b"...\n", b"    relabel_configs:\n", b"      - regex: '('\n",
    b"        action: labelmap\n", b"\t", b"null", b"~", b"    scrape_interval: ", b"1h", b"0s",
    b"99999999y", b"yes", b"0o7", b"0x", b".inf", b".nan", b"%", b"\xef\xbb\xbf", b"\xff\xfe",
    b"\x00", b"'", b'"', b"\\x", b"#", b"\n", b"  ", b"    ", b"otlp:\n",
    b"  promote_resource_attributes: [a]\n", b"[" * 600, b"- " * 600, b"{a: " * 300, b"10MB",
    b"1e3", b"    basic_auth:\n", b"    tls_config:\n", b"    file_sd_configs:\n",
    b"    dns_sd_configs:\n", b"    http_sd_configs:\n", b"    params:\n", b"1:30", b"tenants:\n",
    b"defaults:\n", b"  acme:\n", b"scrape_tenants:\n", b"    ingestion_rate: ",
    b"    ha_cluster_label: ", b"9" * 5000, b"=", b"a: &b [*b]\n", b"a: &b {<<: *b}\n",
)  # fmt: skip
_DNS_WORDS = (
    b"\xc0\x0c", b"\xc0\x00", b"\xff\xff", b"\x00\x01\x00\x01", b"\x00\x21\x00\x01", b"\x03www",
    b"\x3f", b"\x00", b"\x00\x07\x81\x80", b"\x00\x1c\x00\x01",
)  # fmt: skip

TARGETS = (
    Target("promql", _promql, (ParseError,), Shape.TEXT, _PROMQL_WORDS, base_bytes=16 << 20),
    Target(
        "prometheus_yml",
        _prometheus_yml,
        (ConfigError,),
        Shape.TEXT,
        YAML_WORDS,
        bytes_per_byte=4000,
    ),
    Target(
        "discovered",
        _discovered,
        (ConfigError,),
        Shape.TEXT,
        (*YAML_WORDS, b'"targets":'),
        bytes_per_byte=4000,
    ),
    Target("dns", _dns, (DnsError,), Shape.BYTES, _DNS_WORDS),
)

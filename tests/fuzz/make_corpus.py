"""``python -m tests.fuzz.make_corpus``: writes the corpora that encoders can make.

Files whose names begin with ``found-`` are inputs that once broke a decoder; they stay as they are.
"""

import gzip
import json
import struct
import zlib
from collections.abc import Iterator

import zstandard
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from scrape.dns import build_query
from tests.fuzz import corpora_protobuf, targets_block, targets_disk, targets_prometheus
from tests.fuzz.corpora_protobuf import Files
from tests.fuzz.targets import CORPUS
from tests.wire import encode


def _plains() -> Iterator[tuple[str, bytes]]:
    page = _without_created(_text_page(_registry()))
    yield "empty", b""
    yield "one", b"a"
    yield "page", page
    yield "zeros", bytes(20_000)
    yield "lines", b"up 1\n" * 50


def _snappy() -> Files:
    files = {name: encode.snappy(plain) for name, plain in _plains()}
    files["overlapping-copy"] = b"\x14\x00a\x46\x01\x00"
    files["far-copy"] = b"\x08\x0cabcd\x0f\x04\x00\x00\x00"
    files["claims-4-gib"] = b"\xff\xff\xff\xff\x0f\x00a"
    return files


def _zstd() -> Files:
    files = {f"sized-{name}": zstandard.compress(plain) for name, plain in _plains()}
    unsized = zstandard.ZstdCompressor(write_content_size=False, write_checksum=True)
    files |= {f"unsized-{name}": unsized.compress(plain) for name, plain in _plains()}
    files["two-frames"] = zstandard.compress(b"a\n") + zstandard.compress(b"b\n")
    files["skippable"] = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + zstandard.compress(b"a\n")
    files["bomb"] = zstandard.compress(bytes(4 << 20))
    return files


def _zlib() -> Files:
    files = {f"gzip-{name}": gzip.compress(plain, mtime=0) for name, plain in _plains()}
    files |= {f"deflate-{name}": zlib.compress(plain) for name, plain in _plains()}
    files["two-members"] = gzip.compress(b"a\n", mtime=0) + gzip.compress(b"b\n", mtime=0)
    files["bomb"] = gzip.compress(bytes(4 << 20), mtime=0)
    return files


def _line_blocks() -> Files:
    files = {}
    for name, plain in _plains():
        packed = (plain, plain, gzip.compress(plain, mtime=0), zstandard.compress(plain))
        for choice, body in enumerate(packed):
            files[f"{name}-{choice}"] = bytes((choice + 4 * (choice % 4),)) + body
    files["cut-gzip"] = b"\x02" + gzip.compress(b"up 1\n" * 9, mtime=0)[:-9]
    files["cut-zstd"] = b"\x03" + zstandard.compress(b"up 1\n" * 9)[:-3]
    files["wide-window"] = b"\x03\x28\xb5\x2f\xfd\x00\x98" + b"\x01\x00\x00"
    return files


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("requests", "Requests\nby code", ["code"], registry=registry).labels('2"\\').inc(3)
    Gauge("temperature", "Ä", registry=registry).set(float("nan"))
    Histogram("latency", "", ["path"], registry=registry, buckets=(0.1, 1, 2.5)).labels(
        "/"
    ).observe(0.5)
    Summary("sizes", "", registry=registry).observe(2)
    Info("build", "", registry=registry).info({"version": "1"})
    return registry


def _text_page(registry: CollectorRegistry) -> bytes:
    return bytes(generate_latest(registry))


def _without_created(page: bytes) -> bytes:
    """Times of creation would differ in every file."""
    return b"\n".join(line for line in page.split(b"\n") if b"_created" not in line)


def _exposition_text() -> Files:
    return {
        "client": _without_created(_text_page(_registry())),
        "plain": b'up 1\nup{job="a"} 0 1700000000000\n',
        "untidy": b' \tup { a = "b" , } \t 1e3\t-5 \r\n\n# comment\n#\n',
        "numbers": b"a 0x1p3\nb 1_0\nc +Inf\nd -inf\ne nan\nf 1e309\n"
        b"g 123456789012345678901\nh .5\n",
        "exact": b"a 9007199254740993\nb 1e22\nc 1e23\nd 0.1\ne 123456.789e-20\nf 1e-400\n",
        "quoted": '{"my.metric","lä bel"="x"} 1\n'.encode(),
        "escapes": b'm{a="\\n\\\\\\"",b=""} 1\n',
        "types": b"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\n"
        b"h_count 2\n"
        b"# TYPE s summary\ns{quantile=\"0.5\"} 1\ns{quantile=\"1\"} 1\n# HELP h a\\nb\n",
        "bad": b"1a 1\nm{a=} 1\nm{a=\"b\" 1\nm 1 x\nm\nm{a=\"\xff\"} 1\nok 1\n",
        "twice": b'm{a="1",a="2"} 1\nm{__name__="x"} 1\n',
        "wide": b"m{" + b",".join(b'l%03d="v"' % k for k in range(70)) + b"} 1\n",
        "long": b"m{a=\"" + b"x" * 300 + b"\"} 1\n",
        "no-newline": b"up 1",
        "empty": b"",
    }  # fmt: skip


def _openmetrics() -> Files:
    return {
        "client": _without_created(generate_openmetrics(_registry())),  # type: ignore[no-untyped-call]
        "plain": b'# TYPE c counter\nc_total{a="1"} 17.0 1520879607.789\n# EOF\n',
        "exemplars": b'# TYPE h histogram\nh_bucket{le="1"} 1 # {trace_id="x"} 0.5 1.5\n'
        b'h_bucket{le="+Inf"} 2 # {} 1\n# EOF\n',
        "units": b"# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n# HELP a_seconds x\n"
        b"a_seconds 1\n# EOF\n",
        "kinds": b"# TYPE i info\ni_info{v=\"1\"} 1\n# TYPE st stateset\nst{st=\"on\"} 1\n# EOF\n",
        "times": b"a 1 -1.5\nb 1 1e3\nc 1 9e18\nd 1 nan\n# EOF\n",
        "after-eof": b"a 1\n# EOF\nb 2\n",
        "no-eof": b"a 1\n",
        "blank-line": b"a 1\n\nb 1\n# EOF\n",
        "eof-only": b"# EOF",
    }  # fmt: skip


def _influx() -> Files:
    lines = {
        "plain": b"cpu,host=a usage=1.5,idle=98i 1700000000000000000",
        "escapes": b"my\\ m\\,x,t\\=1=v\\ 2 f\\ 1=1",
        "text-field": b'log,a=b text="a \\"b\\", c=d",n=1u',
        "booleans": b"m a=t,b=FALSE,c=true",
        "no-time": b"m f=1",
        "bad": b"m\nm f\nm f=\nm f=x\nm,=1 f=1\nm f=1 1.5\nm,a=1,a=2 f=1\nm f=1e999\nok f=1",
        "comment": b"# hello\n\n \r\nm f=1\r",
        "big": b"m a=9223372036854775807i,b=-9223372036854775808i,c=1e308 9223372036854775807",
        "db": b"m,db=x f=1",
        "not-utf8": b"m,a=\xff f=1",
        "blanks": b"m  f=1  1700000000",
        "empty": b"",
    }
    files = {name: b"\x00" + body + b"\n" for name, body in lines.items()}
    files["seconds"] = b"\x07m f=1 1700000000\n"
    files["hours"] = b"\x0am f=1 9999999999999\n"
    return files


def _json_lines() -> Files:
    metric = {"__name__": "up", "job": "ä"}
    rows = {
        "plain": {"metric": metric, "values": [1, 0.5], "timestamps": [1, 2]},
        "specials": {"metric": metric, "values": [None, "NaN", "-Inf"], "timestamps": [1, 2, 3]},
        "uneven": {"metric": metric, "values": [1], "timestamps": []},
        "nameless": {"metric": {"a": "b"}, "values": [1], "timestamps": [1]},
        "extremes": {"metric": metric, "values": [2**64 - 1, -1e308], "timestamps": [2**63 - 1, 0]},
        "wrong-kinds": {"metric": metric, "values": [[1]], "timestamps": [1.5]},
        "empty-name": {"metric": {"__name__": "a", "": "x"}, "values": [1], "timestamps": [1]},
        "nothing": {"metric": metric, "values": [], "timestamps": []},
    }
    files = {name: json.dumps(row).encode() + b"\n" for name, row in rows.items()}
    files["many"] = b"".join(files.values()) + b"\nnot json\n[]\n3"
    return files


_QUERIES = (
    "up", 'up{job="a",instance=~"b.*",x!="",y!~"z"}', "rate(http_requests_total[5m])",
    "sum by (job) (rate(x[1m])) / on (job) group_left (a) y", "-1 ^ 2 + 0x1F * 3e-2 % Inf",
    "topk(3, x) unless y or z and ignoring (a) w", "max_over_time(x[1h:5m] @ end() offset -1m)",
    'label_replace(x, "a", "$1", "b", "(.*)")', "histogram_quantile(0.9, sum(rate(b[5m])) by (le))",
    "x == bool 1", '{"my.metric", "label.name"="v"}', "x @ 1700000000.5", "'a\\n\\x41\\u00e4'",
    "`raw`", "count_values without (a) (\"v\", x)", "x atan2 y", "(((1)))", "time() # comment",
    "rate(x[5m] smoothed)", "increase(x[5m] anchored)", "x[step()]", "x offset (1m + 2 * range())",
    "x + fill(0) y", "info(x, {a=\"b\"})", "absent(x{a='b'})", "sum(", "x{", "x[5m", "1 +",
    "foo bar", "rate(x)", '"text"', "x offset 5m @ 1", "NaN", "5m30s", "x{__name__='y'}",
    "scalar(x) > vector(1)", "quantile(0.5, x)", "limitk(2, x)", "x{a=\"\\\"", "sum(x) by (a) (b)",
    "a:b:c", "+x", "x[1y2w3d4h]",
)  # fmt: skip


def _promql() -> Files:
    return {f"query-{k:02}": query.encode() for k, query in enumerate(_QUERIES)}


def _query_params() -> Files:
    bodies = (
        b"query=up&time=1700000000.5&limit=3&timeout=1m",
        b"start=2024-01-01T00:00:00Z&end=2024-01-01T00:00:00.5%2B01:00&step=15s&match[]=a&match[]=b",
        b"time=-292273086-05-16T16:47:06Z&step=1e3",
        b"a=1\x00time=5&start=6",
        b'\x00{"query":"up","time":1700000000,"step":"5m","limit":3,"match[]":["a","b"],"x":null}',
        b'\x00{"time":true,"start":[1.5,"2"],"limit":-1}',
        b"limit=9223372036854775808&timeout=1y2w3d4h5m6s7ms",
        b"q=%zz&=&&&%00=%ff",
        b"a&" * 1001,
        b'\x00{"time":',
    )
    return {f"query-{k}": body for k, body in enumerate(bodies)}


def _push_path() -> Files:
    paths = (
        b"job/a", b"job/a/instance/b", b"job@base64/Lw==", b"job/a/path@base64/L3Zhci90bXA",
        b"job/a%2Fb", b"job/a/b", b"job/a/__x/b", b"job/a/job/b", b"job@base64/_w==", b"job//x/y",
        b"job/%C3%A4/x/%ff", b"job@base64/=", b"job/a/x@base64/====", b"job/a/1x/b",
    )  # fmt: skip
    return {f"path-{k:02}": path for k, path in enumerate(paths)}


_CONFIGS = {
    "small": "scrape_configs:\n  - job_name: a\n    static_configs:\n      - targets: ['b:1']\n",
    "global": "global:\n  scrape_interval: 15s\n  scrape_timeout: 10s\n  external_labels:\n"
    "    a: b\n  body_size_limit: 10MB\n  sample_limit: 5\n  scrape_protocols: [PrometheusProto]\n"
    "rule_files: [x.yml]\notlp:\n  promote_resource_attributes: [a, b]\n"
    "  translation_strategy: NoTranslation\n",
    "relabel": "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - source_labels: [x, y]\n"
    "    separator: ;\n    regex: (.*)-(.*)\n    target_label: z\n    replacement: $2$1\n"
    "  - {action: hashmod, modulus: 8, target_label: s, source_labels: [x]}\n"
    "  - {action: labeldrop, regex: tmp.*}\n  metric_relabel_configs:\n  - {action: keepequal,"
    " source_labels: [a], target_label: b}\n",
    "http": "scrape_configs:\n- job_name: a\n  scheme: https\n  metrics_path: /m\n  basic_auth:\n"
    "    username: u\n    password: p\n  params:\n    x: [y, z]\n  tls_config:\n"
    "    insecure_skip_verify: true\n  static_configs:\n  - targets: ['h:1', '[::1]:2']\n"
    "    labels: {a: b}\n  proxy_url: http://p:3\n  honor_labels: true\n",
    "discovery": "scrape_configs:\n- job_name: a\n  file_sd_configs:\n  - files: ['t/*.json']\n"
    "    refresh_interval: 1m\n  http_sd_configs:\n  - url: http://x/y\n  dns_sd_configs:\n"
    "  - names: [a.b]\n    type: A\n    port: 80\n  consul_sd_configs:\n  - server: x\n",
    "anchors": "x: &x\n  job_name: a\nscrape_configs:\n- <<: *x\n",
    "unknown-key": "scrape_configs:\n- job_name: a\n  metrix_path: /m\n",
    "twice": "scrape_configs:\n- job_name: a\n- job_name: a\n",
    "no-mapping": "- a\n- b\n",
    "no-yaml": "a: [\n",
    "empty": "",
}
_LIMITS = {
    "plain": "defaults:\n  max_global_series_per_user: 10\n  ingestion_rate: 5\ntenants:\n  acme:\n"
    "    ingestion_burst_size: 3\n    max_total_query_length: 30d\n    accept_ha_samples: true\n"
    "  other: null\nscrape_tenants:\n  job: acme\n",
    "unknown": "defaults:\n  max_series: 1\n",
    "tenant": "tenants:\n  '../x': {}\n",
    "wrong-kinds": "defaults:\n  ingestion_rate: -1\n  ha_cluster_label: [a]\n",
    "numbers": "defaults: {request_rate: 1e3, max_metadata_length: 0x10}\n",
    "empty": "",
}


def _discovered() -> Files:
    groups = [{"targets": ["a:1", "b:2"], "labels": {"env": "ä"}}, {"targets": []}, {}]
    files = {"json": b"j" + json.dumps(groups).encode()}
    files["yaml"] = b"y- targets: [a:1]\n  labels: {x: 'y', on: 'z'}\n- targets: null\n"
    files["date"] = b"y- targets: ['a']\n  labels: {2001-12-14: 'x'}\n"
    for name, body in {
        "no-list": "{}",
        "number": '[{"targets":[1]}]',
        "other": '[{"a":1}]',
    }.items():
        files[f"json-{name}"] = b"j" + body.encode()
        files[f"yaml-{name}"] = b"y" + body.encode()
    return files


def _dns() -> Files:
    kinds = {"A": 1, "NS": 2, "MX": 15, "AAAA": 28, "SRV": 33}
    datas = {
        "A": b"\x7f\x00\x00\x01",
        "AAAA": bytes(15) + b"\x01",
        "MX": b"\x00\x0a\x04mail\xc0\x0c",
        "NS": b"\x02ns\xc0\x0c",
        "SRV": b"\x00\x01\x00\x01\x1f\x90\x04host\xc0\x0c",
    }
    files = {}
    for choice, kind in enumerate(("A", "NS", "MX", "AAAA", "SRV")):
        question = build_query(7, "example.org", kind)[12:]
        head = struct.pack(">6H", 7, 0x8180, 1, 2, 0, 0)
        record = b"\xc0\x0c" + struct.pack(">HHIH", kinds[kind], 1, 60, len(datas[kind]))
        body = head + question + 2 * (record + datas[kind])
        files[kind] = bytes((choice,)) + body
    files["no-such-name"] = b"\x00" + struct.pack(">6H", 7, 0x8183, 0, 0, 0, 0)
    files["refused"] = b"\x00" + struct.pack(">6H", 7, 0x8185, 0, 0, 0, 0)
    files["loop"] = (
        b"\x00" + struct.pack(">6H", 7, 0x8180, 1, 0, 0, 0) + b"\xc0\x0c\x00\x01\x00\x01"
    )
    return files


def _texts(texts: dict[str, str]) -> Files:
    return {name: text.encode() for name, text in texts.items()}


def main() -> None:
    """Writes every corpus; what is not made here any more is removed."""
    made = {
        "snappy": _snappy(),
        "zstd": _zstd(),
        "zlib": _zlib(),
        "line_blocks": _line_blocks(),
        "remote_write": corpora_protobuf.remote_write(),
        "remote_write_known": corpora_protobuf.remote_write_known(),
        "remote_write_2": corpora_protobuf.remote_write_2(),
        "remote_read": corpora_protobuf.remote_read(),
        "otlp": corpora_protobuf.otlp(),
        "otlp_json": corpora_protobuf.otlp_json(),
        "exposition_text": _exposition_text(),
        "openmetrics": _openmetrics(),
        "exposition_protobuf": corpora_protobuf.exposition_protobuf(),
        "influx": _influx(),
        "json_lines": _json_lines(),
        "promql": _promql(),
        "query_params": _query_params(),
        "push_path": _push_path(),
        "prometheus_yml": _texts(_CONFIGS),
        "limits": _texts(_LIMITS),
        "discovered": _discovered(),
        "dns": _dns(),
        "block_index": targets_block.inputs(),
        **targets_disk.inputs(),
        **targets_prometheus.inputs(),
    }
    for target, files in made.items():
        directory = CORPUS / target
        directory.mkdir(parents=True, exist_ok=True)
        for path in directory.iterdir():
            if not path.name.startswith("found-") and path.name not in files:
                path.unlink()
        for name, data in files.items():
            (directory / name).write_bytes(data)


if __name__ == "__main__":
    main()

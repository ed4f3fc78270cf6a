"""Programs of Debian whose pages we scrape, each started on a loopback port with its own settings.

Every start takes an empty directory and raises ``Absent`` where the program is not installed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path

import httpx

from benchmarks.processes import Process, free_port
from tests.harness.servers import READY_S, Server, program, start_at

CADDY = """\
{{
    admin {admin}
    auto_https off
    servers {{
        metrics
    }}
}}
http://{site} {{
    bind 127.0.0.1
    respond "hello"
}}
"""
HAPROXY = """\
global
    maxconn 50
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
frontend pages
    bind {address}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    default_backend nobody
backend nobody
    server gone 127.0.0.1:1
"""
NETDATA = """\
[directories]
    cache = {home}/cache
    lib = {home}/lib
    log = {home}/log
    config = {home}
    stock config = {home}
[db]
    mode = ram
    retention = 120
[web]
    bind to = {address}
[plugins]
    apps = no
    cgroups = no
    charts.d = no
    ebpf = no
    go.d = no
    nfacct = no
    perf = no
    python.d = no
    tc = no
    timex = no
[health]
    enabled = no
[ml]
    enabled = no
[statsd]
    enabled = no
"""
COLLECTD = """\
BaseDir "{home}"
PIDFile "{home}/pid"
Hostname "a-host"
FQDNLookup false
Interval 1
LoadPlugin load
LoadPlugin memory
LoadPlugin uptime
LoadPlugin write_prometheus
<Plugin write_prometheus>
    Host "127.0.0.1"
    Port "{port}"
</Plugin>
"""
NGINX = """\
daemon off;
pid {home}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen {address};
        location /status {{ stub_status; }}
    }}
}}
"""
BLACKBOX = """\
modules:
  http_2xx:
    prober: http
    timeout: 900ms
"""


def start_caddy(home: Path) -> Server:
    """Caddy, whose admin address shows the metrics of its one site, asked once already."""
    admin, site = _address(), _address()
    file = _write(home / "Caddyfile", CADDY.format(admin=admin, site=site))
    argv = [program("caddy", "caddy"), "run", "--config", str(file), "--adapter", "caddyfile"]
    server = start_at(argv, home / "log", admin, "/metrics")
    httpx.get(f"http://{site}/", trust_env=False).raise_for_status()
    return server


def start_haproxy(home: Path) -> Server:
    """HAProxy with its own Prometheus page."""
    address = _address()
    file = _write(home / "haproxy.cfg", HAPROXY.format(address=address))
    argv = [program("haproxy", "haproxy"), "-db", "-f", str(file)]
    return start_at(argv, home / "log", address, "/metrics")


def start_etcd(home: Path) -> Server:
    """An etcd of one member."""
    clients, peers = f"http://{_address()}", f"http://{_address()}"
    argv = [
        program("etcd", "etcd-server"),
        f"--data-dir={home / 'data'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
    ]
    return start_at(argv, home / "log", clients.removeprefix("http://"), "/metrics")


def start_netdata(home: Path) -> Server:
    """Netdata with its quick plugins; /api/v1/allmetrics?format=prometheus is its page."""
    address = _address()
    for name in ("cache", "lib", "log"):
        (home / name).mkdir()
    file = _write(home / "netdata.conf", NETDATA.format(home=home, address=address))
    argv = [program("netdata", "netdata-core"), "-D", "-u", getuser(), "-c", str(file)]
    return start_at(
        [*argv, "-P", str(home / "pid")],
        home / "out",
        address,
        "/api/v1/allmetrics?format=prometheus",
    )


def start_collectd(home: Path) -> Server:
    """collectd with write_prometheus, whose samples carry their times."""
    port = free_port()
    file = _write(home / "collectd.conf", COLLECTD.format(home=home, port=port))
    argv = [program("collectd", "collectd-core libmicrohttpd12 libprotobuf-c1"), "-f"]
    return start_at([*argv, "-C", str(file)], home / "log", f"127.0.0.1:{port}", "/metrics")


def start_blackbox_exporter(home: Path) -> Server:
    """The blackbox exporter with a module that wants 2xx of HTTP."""
    address = _address()
    file = _write(home / "blackbox.yml", BLACKBOX)
    argv = [program("prometheus-blackbox-exporter", "prometheus-blackbox-exporter")]
    argv += [f"--config.file={file}", f"--web.listen-address={address}"]
    return start_at(argv, home / "log", address, "/metrics")


def start_pushgateway(home: Path) -> Server:
    """A Pushgateway without a memory on disk."""
    address = _address()
    argv = [program("prometheus-pushgateway", "prometheus-pushgateway")]
    return start_at([*argv, f"--web.listen-address={address}"], home / "log", address, "/-/ready")


def start_process_exporter(home: Path) -> Server:
    """The process exporter, watching every Python program."""
    address = _address()
    argv = [program("prometheus-process-exporter", "prometheus-process-exporter")]
    argv += ["-procnames=python,python3", f"-web.listen-address={address}"]
    return start_at(argv, home / "log", address, "/metrics")


def start_snmp_exporter(home: Path) -> Server:
    """The SNMP exporter as it tells about itself; there is no device."""
    address = _address()
    file = _write(home / "snmp.yml", "none:\n  walk: [1.3.6.1.2.1.1]\n")
    argv = [program("prometheus-snmp-exporter", "prometheus-snmp-exporter")]
    argv += [f"--config.file={file}", f"--web.listen-address={address}"]
    return start_at(argv, home / "log", address, "/metrics")


def start_apache_exporter(home: Path) -> Server:
    """The Apache exporter, whose Apache is down."""
    address = _address()
    argv = [program("prometheus-apache-exporter", "prometheus-apache-exporter")]
    argv += ["--scrape_uri=http://127.0.0.1:1/", f"--telemetry.address={address}"]
    return start_at(argv, home / "log", address, "/metrics")


@contextmanager
def start_redis_exporter(home: Path) -> Iterator[Server]:
    """The Redis exporter beside an empty Redis."""
    exporter = program("prometheus-redis-exporter", "prometheus-redis-exporter")
    redis, port, address = program("redis-server", "redis-server"), free_port(), _address()
    store = [redis, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(home)]
    argv = [exporter, f"-redis.addr=redis://127.0.0.1:{port}", f"-web.listen-address={address}"]
    with Process(store, home / "redis.log") as process:
        process.wait_for_output("Ready to accept connections", READY_S)
        with start_at(argv, home / "log", address, "/metrics") as server:
            yield server


@contextmanager
def start_nginx_exporter(home: Path) -> Iterator[Server]:
    """The nginx exporter beside an nginx that tells its status."""
    exporter = program("prometheus-nginx-exporter", "prometheus-nginx-exporter")
    nginx, site, address = program("nginx", "nginx-light"), _address(), _address()
    file = _write(home / "nginx.conf", NGINX.format(home=home, address=site))
    argv = [exporter, f"-nginx.scrape-uri=http://{site}/status", f"-web.listen-address={address}"]
    with (
        start_at(
            [nginx, "-p", str(home), "-c", str(file), "-e", "stderr"],
            home / "nginx.log",
            site,
            "/status",
        ),
        start_at(argv, home / "log", address, "/metrics") as server,
    ):
        yield server


def _address() -> str:
    return f"127.0.0.1:{free_port()}"


def _write(file: Path, text: str) -> Path:
    file.write_text(text)
    return file

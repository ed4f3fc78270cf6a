"""The command line: ``o11y serve``, ``query``, ``explain``, ``keys``, ``warmup``."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from series.durations import parse_duration_ms
from server.command.bench_cli import bench_app
from server.command.check_cli import check_app
from server.command.keys_cli import TENANT_RULE, keys_app
from server.command.query_cli import explain, query
from server.command.snapshot_cli import restore, snapshot
from server.command.transfer_cli import export, import_
from server.logs import LogFormat, LogLevel, set_up
from server.settings import (
    VERSION,
    Settings,
    is_loopback,
    parse_features,
    parse_listen,
)
from server.starting import rare_collections
from tsdb.disk_space import Reserve
from tsdb.log.sync import parse_sync
from tsdb.memory import LEAST_ADDRESS_SPACE_BYTES, address_space_bytes

T = TypeVar("T")

app = typer.Typer(
    name="o11y",
    help="A PromQL engine over a columnar time-series database, with an HTTP server in front.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(keys_app, name="keys")
app.add_typer(check_app, name="check")
app.add_typer(bench_app, name="bench")
app.command()(query)
app.command()(explain)
app.command("import")(import_)
app.command()(export)
app.command()(snapshot)
app.command()(restore)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"o11y {VERSION}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    del version


@app.command()
def serve(
    data: Annotated[Path, typer.Option(help="Where the data lies.")] = Path("data"),
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes a free one.")] = (
        "127.0.0.1:9090"
    ),
    retention: Annotated[
        str,
        typer.Option(
            "--retention",
            "--retention.time",
            "--storage.tsdb.retention.time",
            help="How long to keep; 0 is for ever.",
        ),
    ] = "15d",
    retention_size: Annotated[
        str,
        typer.Option(
            "--retention.size",
            "--storage.tsdb.retention.size",
            help="How much to keep, of all tenants together, like 100GB; 0 is without a bound.",
        ),
    ] = "0",
    wal_sync: Annotated[
        str, typer.Option("--wal-sync", help="When the log is synced: always, interval=1s, off.")
    ] = "always",
    storage_reserve: Annotated[
        str,
        typer.Option(
            "--storage.reserve",
            help="Writes are refused with less than this free: 8MiB, 2% or bytes; if left out "
            "256MiB or 2% of the disk, whichever is less.",
        ),
    ] = "",
    enable_feature: Annotated[
        str, typer.Option(help="Prometheus' feature flags, comma-separated.")
    ] = "",
    keys: Annotated[Path | None, typer.Option(help="The file of keys; see `o11y keys`.")] = None,
    limits: Annotated[
        Path | None, typer.Option(help="A file of limits: defaults, and each tenant's own.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls.cert", help="Certificate with its chain, PEM.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls.key", help="Its key, PEM, not encrypted.")
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option("--log.format", help="How logs are written.")
    ] = LogFormat.TEXT,
    log_level: Annotated[
        LogLevel, typer.Option("--log.level", help="The least important events logged.")
    ] = LogLevel.INFO,
    log_access: Annotated[bool, typer.Option("--log.access", help="Log every request.")] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", "--config.file", help="A prometheus.yml: what to scrape."),
    ] = None,
    scrub_interval: Annotated[
        str, typer.Option("--scrub.interval", help="Check all files once in it; 0 is never.")
    ] = "24h",
    query_cache_size: Annotated[
        str, typer.Option("--query.cache-size", help="Memory to keep range answers in; 0 is none.")
    ] = "32MiB",
    scrape_tenant: Annotated[
        str, typer.Option("--scrape.tenant", help="Whose scraped samples are.")
    ] = "",
    self_scrape: Annotated[
        str, typer.Option("--self.scrape", help="Write our own metrics into this tenant.")
    ] = "",
) -> None:
    """Serve: take remote write, answer PromQL."""
    host, port = _checked(parse_listen, listen, "--listen")
    retention_ms = _checked(parse_duration_ms, retention, "--retention")
    features, unknown = parse_features(enable_feature)
    settings = Settings(
        data_dir=data,
        host=host,
        port=port,
        retention_ms=retention_ms,
        retention_bytes=_checked(_size_bytes, retention_size, "--retention.size"),
        wal_sync_ms=_checked(parse_sync, wal_sync, "--wal-sync"),
        storage_reserve=_checked(_reserve, storage_reserve, "--storage.reserve"),
        features=features,
        keys_file=keys,
        limits_file=limits,
        tls_cert=tls_cert,
        tls_key=tls_key,
        log_format=log_format,
        log_level=log_level,
        log_access=log_access,
        config_file=config,
        scrub_interval_ms=_checked(parse_duration_ms, scrub_interval, "--scrub.interval"),
        query_cache_bytes=_checked(_size_bytes, query_cache_size, "--query.cache-size"),
        scrape_tenant=_checked(_tenant_or_none, scrape_tenant, "--scrape.tenant"),
        self_scrape=_checked(_tenant_or_none, self_scrape, "--self.scrape"),
    )
    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls.cert and --tls.key need each other")
    for name in unknown:
        print(f"o11y: unknown feature flag {name!r} ignored", file=sys.stderr)
    if settings.open_mode and not is_loopback(host):
        _fail(
            f"without keys the server listens on loopback only, not on {host}; make a key with\n"
            f"  o11y keys create --tenant TENANT --role admin --keys keys.jsonl\n"
            f"and start again with --keys keys.jsonl"
        )
    _run_server(settings)


def _run_server(settings: Settings) -> NoReturn:
    if (limit := address_space_bytes()) < LEAST_ADDRESS_SPACE_BYTES:
        _fail(
            f"the address space is limited to {limit >> 20} MiB (ulimit -v), "
            f"the server needs {LEAST_ADDRESS_SPACE_BYTES >> 20} MiB"
        )
    with rare_collections():
        import series.jit
        from server import startup
        from server.access.auth import make_gate
        from server.access.keys import KeysError
        from server.access.limits import LimitsFile
        from server.serve import bind, run
        from server.tls import TlsError, check_certificate
        from tsdb.log.progress import ReplayProgress

    set_up(settings.log_format, settings.log_level, access=settings.log_access)
    progress = startup.KernelProgress()
    series.jit.on_compiled = progress.ready
    try:
        if settings.tls_cert is not None and settings.tls_key is not None:
            check_certificate(settings.tls_cert, settings.tls_key)
        gate = make_gate(settings)
        LimitsFile(settings.limits_file)
        settings = _with_config(settings)
    except (KeysError, TlsError, OSError, ValueError) as error:
        _fail(str(error))
    try:
        listener = bind(settings.host, settings.port)
    except OSError as error:
        _fail(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; "
            f"choose another address with --listen HOST:PORT"
        )
    url = startup.base_url(settings, listener.getsockname()[1])
    print(startup.banner(settings, url, os.getpid()), flush=True)

    def tell_ready() -> None:
        print(f"Ready after {progress.seconds():.1f} s.", flush=True)

    progress_of_replay = ReplayProgress(startup.ReplayLine().moved)
    raise SystemExit(run(settings, gate, listener, tell_ready, progress_of_replay))


def _with_config(settings: Settings) -> Settings:
    """*settings* with those that its configuration file holds.

    ConfigError (a ValueError) or OSError where the file cannot be used; a start tells it first.
    """
    if settings.config_file is None:
        return settings
    from scrape.config import load_config

    return replace(settings, otlp=load_config(settings.config_file).otlp)


@app.command()
def warmup() -> None:
    """Compile every kernel and module into the caches, so that the next start is quick."""
    import series.jit
    from server.startup import KernelProgress

    progress = KernelProgress()
    series.jit.on_compiled = progress.ready
    import server.app
    import server.serve  # noqa: F401
    import wire.prometheus_block  # noqa: F401

    print(f"Kernels are ready after {progress.seconds():.1f} s.")


def _checked(parse: Callable[[str], T], text: str, option: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _size_bytes(text: str) -> int:
    from scrape.document import parse_size_bytes

    return parse_size_bytes(text)


def _reserve(text: str) -> Reserve:
    return Reserve.parse(text) if text else Reserve()


def _tenant_or_none(text: str) -> str:
    from server.access.keys import is_tenant_id

    if text and not is_tenant_id(text):
        raise ValueError(TENANT_RULE)
    return text


def _fail(text: str) -> NoReturn:
    print(f"o11y: {text}", file=sys.stderr)
    raise SystemExit(1)

"""The command line: ``o11y serve``, ``query``, ``keys create``, ``warmup``."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from series.durations import parse_duration_ms
from server.settings import VERSION, Settings, is_loopback, parse_features, parse_listen

T = TypeVar("T")

app = typer.Typer(
    name="o11y",
    help="A PromQL engine over a columnar time-series database, with an HTTP server in front.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys_app = typer.Typer(help="The keys that name tenants.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


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
    retention: Annotated[str, typer.Option(help="How long to keep; 0 is for ever.")] = "15d",
    enable_feature: Annotated[
        str, typer.Option(help="Prometheus' feature flags, comma-separated.")
    ] = "",
    keys: Annotated[Path | None, typer.Option(help="The file of keys; see `o11y keys`.")] = None,
) -> None:
    """Serve: take remote write, answer PromQL."""
    host, port = _checked(parse_listen, listen, "--listen")
    retention_ms = _checked(parse_duration_ms, retention, "--retention")
    features, unknown = parse_features(enable_feature)
    for name in unknown:
        print(f"o11y: unknown feature flag {name!r} ignored", file=sys.stderr)
    settings = Settings(data, host, port, retention_ms, features, keys)
    if settings.open_mode and not is_loopback(host):
        _fail(
            f"without keys the server listens on loopback only, not on {host}; make a key with\n"
            f"  o11y keys create --tenant TENANT --role admin --keys keys.jsonl\n"
            f"and start again with --keys keys.jsonl"
        )
    _run_server(settings)


def _run_server(settings: Settings) -> NoReturn:
    import series.jit
    from server import startup
    from server.auth import make_gate
    from server.keys import KeysError
    from server.serve import bind, run

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    progress = startup.KernelProgress()
    series.jit.on_compiled = progress.ready
    try:
        gate = make_gate(settings)
    except (KeysError, OSError) as error:
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

    raise SystemExit(run(settings, gate, listener, tell_ready))


@app.command()
def query(
    expr: Annotated[str, typer.Argument(help="PromQL.")],
    url: Annotated[str, typer.Option(help="The server.")] = "http://127.0.0.1:9090",
    at: Annotated[str, typer.Option(help="An instant; now if left out.")] = "",
    start: Annotated[str, typer.Option(help="Begin of a range query.")] = "",
    end: Annotated[str, typer.Option(help="Its end.")] = "",
    step: Annotated[str, typer.Option(help="Its step, like 30s.")] = "",
    output: Annotated[str, typer.Option("-o", "--output", help="table or json.")] = "table",
    key: Annotated[str, typer.Option(envvar="O11Y_API_KEY", help="A key, hk-...")] = "",
    org: Annotated[str, typer.Option(help="The tenant, where the server is open.")] = "",
) -> None:
    """Ask a server."""
    from server.asking import Failed, ask, show

    ranged = bool(start or end or step)
    if ranged and (at or not (start and end and step)):
        raise typer.BadParameter("a range query needs --start, --end and --step, and no --at")
    if output not in ("table", "json"):
        raise typer.BadParameter("-o takes table or json")
    values = {"query": expr, "start": start, "end": end, "step": step, "time": at}
    try:
        answer = ask(url, values, ranged=ranged, key=key, org=org)
    except Failed as error:
        _fail(str(error))
    show(answer, output)


@keys_app.command("create")
def create_key(
    tenant: Annotated[str, typer.Option(help="Whose data.")],
    role: Annotated[str, typer.Option(help="write, read or admin (both).")],
    keys: Annotated[Path, typer.Option(help="The file; made if missing.")],
) -> None:
    """Make a key, add it to the file and print it; it is shown only this once."""
    from server import keys as ring

    if not ring.is_tenant_id(tenant):
        raise typer.BadParameter("a tenant is 1 to 64 of A-Z a-z 0-9 _ . - and not . or ..")
    try:
        chosen = ring.Role(role)
    except ValueError:
        raise typer.BadParameter("a role is write, read or admin") from None
    try:
        key = ring.create_key(keys, tenant, chosen)
    except (ring.KeysError, OSError) as error:
        _fail(str(error))
    print(f"added a {role} key for tenant {tenant} to {keys}", file=sys.stderr)
    print(key)


@app.command()
def warmup() -> None:
    """Compile every kernel into the cache, so that the next start is quick."""
    import series.jit
    from server.startup import KernelProgress

    progress = KernelProgress()
    series.jit.on_compiled = progress.ready
    import server.app  # noqa: F401

    print(f"Kernels are ready after {progress.seconds():.1f} s.")


def _checked(parse: Callable[[str], T], text: str, option: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _fail(text: str) -> NoReturn:
    print(f"o11y: {text}", file=sys.stderr)
    raise SystemExit(1)

"""``o11y import`` and ``o11y export``: moving samples between files, directories and servers."""

import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from series.durations import parse_duration_ms
from server.command.keys_cli import TENANT_RULE

Key = Annotated[str, typer.Option(envvar="O11Y_API_KEY", help="A key, hk-...")]
Tenant = Annotated[
    str, typer.Option(help="Whose data; if left out that of the key, else `default`.")
]
Data = Annotated[
    Path | None, typer.Option(help="A data directory that no server uses; instead of --url.")
]
Url = Annotated[str, typer.Option(help="A server; instead of --data.")]
_PROGRESS_SECONDS = 2.0


def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="OpenMetrics text (plain, gzip, zstd), Parquet, blocks of Prometheus or "
            "directories that hold some.",
            metavar="FILE|DIR...",
        ),
    ],
    tenant: Tenant = "",
    data: Data = None,
    url: Url = "",
    retention: Annotated[
        str, typer.Option(help="With --data: older samples are refused; 0 keeps all.")
    ] = "15d",
    key: Key = "",
) -> None:
    """Import samples with their times; they can be queried at once.

    What cannot be stored is named and counted by reason, all else is stored. Exits with 0 where
    everything was, with 1 where something was refused, with 2 where nothing more could be done.
    """
    check_target(data, url)
    try:
        retention_ms = parse_duration_ms(retention)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--retention") from None
    from transfer.importing import import_all
    from transfer.sinks import DirectorySink, ImportSink, ServerSink, TransferFailed
    from transfer.sources import UnknownSource, find_sources
    from transfer.tally import Tally

    tally = Tally()
    began = time.monotonic()
    progress = Progress()
    try:
        sources, notes = find_sources(paths)
        for note in notes:
            print(f"o11y: {note}", file=sys.stderr)
        sink: ImportSink
        if data is not None:
            sink = DirectorySink(data, checked_tenant(tenant), retention_ms, _now_ms, tally)
        else:
            sink = ServerSink(url, headers(key, tenant), tally)
        try:
            failures = import_all(sources, sink, tally, progress.show)
        finally:
            sink.close()
            progress.end()
    except BlockingIOError as error:
        fail(f"{error}; import with --url instead")
    except (OSError, UnknownSource, TransferFailed) as error:
        for line in tally.lines("imported"):
            print(line, file=sys.stderr)
        fail(str(error))
    seconds = max(time.monotonic() - began, 1e-9)
    first, *others = tally.lines("imported")
    print(f"{first} in {seconds:.1f} s, {tally.samples / seconds:,.0f} samples/s")
    for line in others:
        print(line, file=sys.stderr)
    for text in failures:
        print(f"o11y: {text}", file=sys.stderr)
    if failures or tally.refused:
        raise SystemExit(1)


def export(
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="FILE.parquet, else OpenMetrics text; .gz and .zst are compressed, - is standard "
            "output.",
        ),
    ],
    tenant: Tenant = "",
    match: Annotated[
        list[str] | None,
        typer.Option(help="A selector like 'up{job=\"a\"}'; several times for several."),
    ] = None,
    start: Annotated[str, typer.Option(help="The first instant; needed with --url.")] = "",
    end: Annotated[str, typer.Option(help="The last instant; now if left out.")] = "",
    data: Data = None,
    url: Url = "",
    key: Key = "",
) -> None:
    """Export samples to Parquet, which holds all of them bit for bit, or to OpenMetrics text.

    OpenMetrics has no place for native histograms, stale markers and series without a name: they
    are left out and counted.
    """
    check_target(data, url)
    if url and not start:
        raise typer.BadParameter("--url needs --start")
    from series.ports import StorageError
    from server.api.metadata_api import selectors
    from server.api.params import MAX_TIME_MS, MIN_TIME_MS, Params, parse_time_ms
    from transfer import exporting
    from transfer.sinks import TransferFailed
    from transfer.tally import Tally
    from transfer.writing import output as opened

    try:
        chosen = selectors(Params([("match[]", text) for text in match or ()])) or [()]
        start_ms = parse_time_ms(start) if start else MIN_TIME_MS
        end_ms = parse_time_ms(end) if end else _now_ms() if url else MAX_TIME_MS
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    wanted = exporting.Wanted(tuple(chosen), tuple(match or ()), start_ms, end_ms)
    tally = Tally()
    progress = Progress()
    try:
        with opened(output, sys.stdout.buffer) as stream:
            is_parquet = output.suffix == ".parquet"
            if data is not None:
                warnings = exporting.from_directory(
                    data, checked_tenant(tenant), wanted, stream, is_parquet, tally, progress.count
                )
            else:
                warnings = exporting.from_server(
                    url, headers(key, tenant), wanted, stream, is_parquet, tally, progress.count
                )
    except BlockingIOError as error:
        fail(f"{error}; export with --url instead")
    except (OSError, StorageError, TransferFailed) as error:
        fail(str(error))
    finally:
        progress.end()
    for line in [*tally.lines("exported"), *warnings]:
        print(line, file=sys.stderr)
    if tally.skipped or warnings:
        raise SystemExit(1)


class Progress:
    """One line on stderr, now and then; overwritten where that is a terminal."""

    def __init__(self) -> None:
        self._next_seconds = time.monotonic() + _PROGRESS_SECONDS
        self._shown = False

    def show(self, name: str, done_bytes: int, total_bytes: int) -> None:
        """How far an import has come."""
        self._line(f"{100 * done_bytes / max(1, total_bytes):5.1f} %  {name}")

    def count(self, samples: int) -> None:
        """How far an export has come."""
        self._line(f"{samples:,} samples")

    def end(self) -> None:
        """The line stays as it is."""
        if self._shown and sys.stderr.isatty():
            print(file=sys.stderr)

    def _line(self, text: str) -> None:
        if time.monotonic() < self._next_seconds:
            return
        self._next_seconds = time.monotonic() + _PROGRESS_SECONDS
        self._shown = True
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)


def headers(key: str, tenant: str) -> dict[str, str]:
    """What a server is told of who asks for which tenant."""
    named = {"X-Org-Id": tenant} if tenant else {}
    return {"Authorization": f"Bearer {key}", **named} if key else named


def checked_tenant(tenant: str) -> str:
    """*tenant*, or ``default``; BadParameter where it can be none."""
    from tsdb.store import is_tenant_id

    if tenant and not is_tenant_id(tenant):
        raise typer.BadParameter(TENANT_RULE, param_hint="--tenant")
    return tenant or "default"


def fail(text: str) -> NoReturn:
    """Ends the program: nothing more can be done."""
    print(f"o11y: {text}", file=sys.stderr)
    raise SystemExit(2)


def check_target(data: Path | None, url: str) -> None:
    if (data is None) == (not url):
        raise typer.BadParameter(
            "name a data directory by --data or a server by --url, one of them"
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

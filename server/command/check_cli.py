"""``o11y check data``: what is damaged in a data directory or a snapshot."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from tsdb.damage import Finding
    from tsdb.doctor import Report
    from tsdb.files import Files

CLEAN, FOUND, UNUSABLE = 0, 1, 2
"""Exit codes."""

check_app = typer.Typer(help="Check what lies on disk.", no_args_is_help=True)


@check_app.callback()
def main() -> None:
    """Check what lies on disk."""


@check_app.command("data")
def data(
    directory: Annotated[
        Path, typer.Argument(help="A data directory, a snapshot, or what either has of a tenant.")
    ],
    tenant: Annotated[str, typer.Option(help="Only this one.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="An object a line.")] = False,
) -> None:
    """Read all there is and name what is damaged; nothing is changed.

    The exit code is 0 where all is sound, 1 where something is damaged, 2 where the directory
    cannot be checked.
    """
    from tsdb import doctor
    from tsdb.files import ReadOnlyFiles
    from tsdb.versions import UnsupportedFormat

    files = ReadOnlyFiles()
    is_live = _is_live(directory, files)
    known = doctor.tenant_directories(directory, files)
    if tenant and tenant not in known:
        _fail(f"no tenant {tenant!r} in {directory}")
    if not known and not files.exists(directory / "lock"):
        _fail(f"{directory} is no data directory")
    reports = []
    try:
        for report in doctor.check_directory(directory, files, tenant=tenant, live=is_live):
            reports.append(report)
            _print_json(report) if as_json else _print(report)
    except (UnsupportedFormat, OSError) as error:
        _fail(str(error))
    damaged = sum(len(report.findings) for report in reports)
    if not as_json:
        print(f"Damaged places: {damaged}." if damaged else "All is sound.")
    raise SystemExit(FOUND if damaged else CLEAN)


def _is_live(directory: Path, files: "Files") -> bool:
    """Whether a process writes to *directory*, which is said; else readers keep it from that."""
    if not directory.is_dir():
        _fail(f"{directory} is no directory")
    places = (directory, directory.absolute().parent.parent)  # The latter's of a tenant's own one.
    lock = next((one / "lock" for one in places if files.exists(one / "lock")), None)
    if lock is None:
        return False
    try:
        files.lock_shared(lock)
    except BlockingIOError as error:
        note = "what it writes to the log just now is not checked"
        print(f"o11y: {error}; {note}", file=sys.stderr)
        return True
    except OSError as error:
        _fail(str(error))
    return False


def _print(report: "Report") -> None:
    from rich.console import Console
    from rich.table import Table

    # What goes to a file or a pipe has a line for each finding.
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    print(
        f"{report.tenant}: {report.blocks} blocks, {report.block_samples} samples, "
        f"{report.block_bytes} bytes; log: {report.log_segments} segments, "
        f"{report.log_bytes} bytes"
    )
    if report.findings:
        table = Table("file", "offset", "damage", "from", "to", "samples", "series")
        for one in report.findings:
            shown = [*one.series]
            if one.series_count > len(shown):
                shown.append(f"{'and ' if shown else ''}{one.series_count - len(shown)} series")
            first, last = map(_text, one.times_ms or (None, None))
            samples = str(one.samples or "") if one.is_loss else "none"
            where = str(one.path), str(one.offset), one.text
            table.add_row(*where, first, last, samples, "\n".join(shown))
        console.print(table)
    for lost in report.lost:
        print(f"lost before: {lost.text}, {_text(lost.min_time_ms)} to {_text(lost.max_time_ms)}")
    for name in report.quarantined:
        print(f"in quarantine: {name}")


def _print_json(report: "Report") -> None:
    for finding in report.findings:
        print(json.dumps({"tenant": report.tenant, **_object(finding)}, ensure_ascii=False))
    summary = {
        "blocks": report.blocks,
        "block_bytes": report.block_bytes,
        "block_samples": report.block_samples,
        "log_segments": report.log_segments,
        "log_bytes": report.log_bytes,
        "findings": len(report.findings),
        "lost": [
            {"file": one.file, "start_ms": one.min_time_ms, "end_ms": one.max_time_ms,
             "text": one.text}
            for one in report.lost
        ],
        "quarantined": report.quarantined,
    }  # fmt: skip
    print(json.dumps({"tenant": report.tenant, "summary": summary}, ensure_ascii=False))


def _object(finding: "Finding") -> dict[str, Any]:
    start_ms, end_ms = finding.times_ms or (None, None)
    return {
        "what": finding.what,
        "file": str(finding.path),
        "offset": finding.offset,
        "text": finding.text,
        "is_loss": finding.is_loss,
        "start_ms": start_ms,
        "end_ms": end_ms,
        "samples": finding.samples,
        "series_count": finding.series_count,
        "series": finding.series,
    }


def _text(time_ms: int | None) -> str:
    """A time for people; what lies beyond the calendar as a number."""
    if time_ms is None:
        return ""
    try:
        at = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
        return at.removesuffix("+00:00") + "Z"
    except (ValueError, OverflowError, OSError):
        return str(time_ms)


def _fail(text: str) -> NoReturn:
    print(f"o11y: {text}", file=sys.stderr)
    raise SystemExit(UNUSABLE)

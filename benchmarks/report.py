"""The figures of a run as tables for people and as JSON for programs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers import OURS

MIB = 1 << 20

Figures = dict[str, dict[str, float]]
"""Row name -> peer -> figure."""

INGEST_ROWS = {
    "ingest, samples/s": ("ingest", "per_second", 1.0, True),
    "ingest, samples per CPU-second": ("ingest", "per_cpu_second", 1.0, True),
    "write request p50, ms": ("ingest", "request_p50_ms", 1.0, False),
    "write request p95, ms": ("ingest", "request_p95_ms", 1.0, False),
    "peak memory while ingesting, MiB": ("ingest", "peak_bytes", 1 / MIB, False),
    "start to first answer, s": ("state", "startup_s", 1.0, False),
    "memory after the restart, MiB": ("state", "idle_bytes", 1 / MIB, False),
    "disk without logs, bytes/sample": ("state", "disk_bytes_per_sample", 1.0, False),
    "disk with logs, bytes/sample": ("state", "disk_with_logs_bytes_per_sample", 1.0, False),
}
"""Title -> (section of the results, field, factor, whether more is better)."""


def print_tables(results: Mapping[str, Any], console: Console) -> None:
    """Prints ingest and queries, ours beside every peer, with the ratio to the best peer."""
    names = list(results["peers"])
    ingest = _table("Ingest and state", names)
    for title, (section, key, factor, more) in INGEST_ROWS.items():
        row = {
            name: peer[section][key] * factor
            for name, peer in results["peers"].items()
            if key in peer.get(section, {})
        }
        if row:
            ingest.add_row(title, *_cells(row, names, more))
    console.print(ingest)
    if not results["queries"]:
        return
    queries = _table("Queries, p50 ms", names)
    for title, timings in results["queries"].items():
        row = {name: timing["p50_ms"] for name, timing in timings.items()}
        queries.add_row(title, *_cells(row, names, False))
    console.print(queries)
    for title, found in results["differences"].items():
        console.print(f"[red]{title}[/red]: {found}", soft_wrap=True)


def write_json(results: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(results, indent=1) + "\n")


def advantage(row: Mapping[str, float], more_is_better: bool) -> float | None:
    """Ours over the best peer, above 1 where ours is better; None without ours or a peer."""
    peers = [figure for name, figure in row.items() if name != OURS]
    if OURS not in row or not peers or row[OURS] <= 0:
        return None
    if more_is_better:
        return row[OURS] / max(peers)
    return min(peers) / row[OURS]


def _table(title: str, names: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("ours over the best", justify="right")
    return table


def _cells(row: Mapping[str, float], names: list[str], more: bool) -> list[str]:
    ratio = advantage(row, more)
    figures = [_short(row[name]) if name in row else "-" for name in names]
    return [*figures, "-" if ratio is None else f"{ratio:.2f}x"]


def _short(figure: float) -> str:
    if figure >= 100_000:
        return f"{figure / 1e6:.2f} M"
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.3g}"

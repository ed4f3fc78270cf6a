"""Showing answers on the command line: tables, JSON, CSV, Arrow, Parquet, plans."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from series.labels import METRIC_NAME, Labels
from server.command.asking import Failed

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = ("csv", "arrow", "parquet")
"""Forms that are made of an Arrow table."""
OUTPUTS = ("table", "json", *TABLES)


def show(answer: dict[str, Any], output: str) -> None:
    """Prints *answer* as ``json`` or ``table``; warnings and infos go to stderr."""
    if output == "json":
        print(json.dumps(answer, ensure_ascii=False))
        return
    show_notes([*answer.get("warnings", ()), *answer.get("infos", ())])
    _console().print(_table(answer["data"]["resultType"], answer["data"]["result"]))


def show_notes(notes: list[str]) -> None:
    for note in notes:
        print(note, file=sys.stderr)


def write_table(table: "pa.Table", output: str) -> None:
    """Writes *table* to stdout in one of TABLES; Failed where bytes would go to a terminal."""
    import pyarrow as pa

    metadata = table.schema.metadata or {}
    for kind in (b"warnings", b"infos"):
        show_notes(json.loads(metadata.get(kind, b"[]")))
    if output != "csv" and sys.stdout.isatty():
        raise Failed(f"-o {output} writes bytes: send them to a file with > FILE")
    out = pa.PythonFile(sys.stdout.buffer, "w")
    if output == "csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(_flat(table), out)
    elif output == "arrow":
        with pa.ipc.new_stream(out, table.schema) as stream:
            stream.write_table(table)
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, out)
    sys.stdout.buffer.flush()


def _flat(table: "pa.Table") -> "pa.Table":
    """*table* with texts for what a CSV cell cannot hold."""
    import pyarrow as pa

    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        if pa.types.is_dictionary(field.type):
            columns.append(column.cast(pa.string()))
        elif pa.types.is_struct(field.type):
            texts = (None if one is None else json.dumps(one) for one in column.to_pylist())
            columns.append(pa.array(texts, pa.string()))
        else:
            columns.append(column)
    return pa.table(columns, names=table.schema.names)


def show_plan(plan: dict[str, Any]) -> None:
    """Prints a plan, a line a node, with what it is expected to cost and, measured, did cost."""
    table = Table("plan", highlight=False)
    for name in ("series", "samples", "bytes"):
        table.add_column(name, justify="right")
    measured = "measured" in plan
    if measured:
        for name in ("ms", "series", "points", "samples read", "bytes"):
            table.add_column(name, justify="right", style="bold")
    for depth, node in _nodes(plan, 0):
        estimated = node["estimated"]
        cells = [_count(estimated[name]) for name in ("series", "samples", "bytes")]
        if measured:
            cost = node["measured"]
            cells.append(f"{cost['seconds'] * 1000:.3f}")
            cells += [_count(cost[name]) for name in ("series", "points", "samples", "bytes")]
        table.add_row(Text("  " * depth + node["node"]), *cells)
    _console().print(table)


def _nodes(plan: dict[str, Any], depth: int) -> Iterator[tuple[int, dict[str, Any]]]:
    yield depth, plan
    for child in plan["children"]:
        yield from _nodes(child, depth + 1)


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _console() -> Console:
    # A pipe has no width: whole lines are of more use there than a pretty table.
    return Console(width=None if sys.stdout.isatty() else 10_000)


def _table(kind: str, result: Any) -> Table:
    table = Table("series", highlight=False)
    table.add_column("time", no_wrap=True)
    table.add_column("value", no_wrap=True)
    if kind in ("scalar", "string"):
        table.add_row("", *_point(result))
        return table
    for one in result:
        name = _series_text(one["metric"])
        points = one.get("values") or ([one["value"]] if "value" in one else [])
        points += one.get("histograms") or ([one["histogram"]] if "histogram" in one else [])
        for at, sample in enumerate(sorted(points, key=lambda point: float(point[0]))):
            table.add_row(Text(name if at == 0 else ""), *_point(sample))
    return table


def _series_text(metric: dict[str, str]) -> str:
    labels = Labels.of(metric)
    rest = labels.without((METRIC_NAME,))
    return f"{labels.metric}{rest if len(rest) else ''}" or "{}"


def _point(sample: list[Any]) -> tuple[str, Text]:
    seconds, value = sample
    try:
        time_text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        time_text = str(seconds)
    return time_text, Text(value if isinstance(value, str) else _histogram_text(value))


_BRACKETS = (("(", "]"), ("[", ")"), ("(", ")"), ("[", "]"))


def _histogram_text(value: dict[str, Any]) -> str:
    """``count:10, sum:3.5, (0.5,1]:4``, as Prometheus prints a histogram."""
    parts = [f"count:{value['count']}", f"sum:{value['sum']}"]
    for rule, low, high, count in value.get("buckets", ()):
        opening, closing = _BRACKETS[rule]
        parts.append(f"{opening}{low},{high}{closing}:{count}")
    return ", ".join(parts)

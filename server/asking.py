"""Asking a server from the command line, and showing what it says."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table
from rich.text import Text

from series.labels import METRIC_NAME, Labels


class Failed(Exception):
    """No answer, or an error as answer; the text is for the user."""


def ask(
    url: str, values: dict[str, str], *, ranged: bool, key: str = "", org: str = ""
) -> dict[str, Any]:
    """The answer of ``/api/v1/query`` or, where *ranged*, ``/api/v1/query_range``."""
    path = "/api/v1/query_range" if ranged else "/api/v1/query"
    headers = {}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    if org:
        headers["X-Org-Id"] = org
    form = {name: value for name, value in values.items() if value}
    try:
        reply = httpx.post(url.rstrip("/") + path, data=form, headers=headers, timeout=150)
        answer: dict[str, Any] = reply.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Failed(f"{url}: {error}") from None
    except ValueError:
        raise Failed(f"{url}: {reply.status_code} {reply.text.strip()}") from None
    if answer.get("status") != "success":
        raise Failed(str(answer.get("error", reply.text)))
    return answer


def show(answer: dict[str, Any], output: str) -> None:
    """Prints *answer* as ``json`` or ``table``; warnings and infos go to stderr."""
    if output == "json":
        print(json.dumps(answer, ensure_ascii=False))
        return
    for note in (*answer.get("warnings", ()), *answer.get("infos", ())):
        print(note, file=sys.stderr)
    # A pipe has no width: whole lines are of more use there than a pretty table.
    console = Console(width=None if sys.stdout.isatty() else 10_000)
    console.print(_table(answer["data"]["resultType"], answer["data"]["result"]))


def _table(kind: str, result: Any) -> Table:
    table = Table("series", highlight=False)
    table.add_column("time", no_wrap=True)
    table.add_column("value", no_wrap=True)
    if kind in ("scalar", "string"):
        table.add_row("", *_point(result))
        return table
    for one in result:
        name = _series_text(one["metric"])
        for at, sample in enumerate(one.get("values") or [one["value"]]):
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
    return time_text, Text(value)

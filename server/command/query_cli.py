"""``o11y query`` and ``o11y explain``: asking a server, or a data directory that nobody serves."""

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from server.command.asking import Failed

Expr = Annotated[str, typer.Argument(help="PromQL.")]
Url = Annotated[str, typer.Option(help="The server.")]
At = Annotated[str, typer.Option(help="An instant; now if left out.")]
Start = Annotated[str, typer.Option(help="Begin of a range query.")]
End = Annotated[str, typer.Option(help="Its end.")]
Step = Annotated[str, typer.Option(help="Its step, like 30s.")]
Key = Annotated[str, typer.Option(envvar="O11Y_API_KEY", help="A key, hk-...")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Fail where damage on disk takes samples from the answer.")
]
Org = Annotated[str, typer.Option(help="The tenant, where the server is open.")]
_URL = "http://127.0.0.1:9090"


def query(
    expr: Expr,
    url: Url = _URL,
    data: Annotated[
        Path | None, typer.Option(help="A data directory instead of a server, read in place.")
    ] = None,
    at: At = "",
    start: Start = "",
    end: End = "",
    step: Step = "",
    output: Annotated[
        str, typer.Option("-o", "--output", help="table, json, csv, arrow or parquet.")
    ] = "table",
    strict: Strict = False,
    key: Key = "",
    org: Org = "",
) -> None:
    """Ask a server, or a data directory."""
    from server.command import showing
    from server.command.asking import ask, ask_table

    ranged = _is_ranged(at, start, end, step)
    if output not in showing.OUTPUTS:
        raise typer.BadParameter(f"-o takes {', '.join(showing.OUTPUTS)}")
    values = {"query": expr, "start": start, "end": end, "step": step, "time": at}
    values["strict"] = "1" if strict else ""
    try:
        if data is not None:
            from server.command.in_place import ask_directory

            ask_directory(data, org or "default", values, ranged=ranged, output=output)
        elif output in showing.TABLES:
            table = ask_table(url, values, ranged=ranged, key=key, org=org)
            showing.write_table(table, output)
        else:
            showing.show(ask(url, values, ranged=ranged, key=key, org=org), output)
    except Failed as error:
        _fail(error)


def explain(
    expr: Expr,
    url: Url = _URL,
    at: At = "",
    start: Start = "",
    end: End = "",
    step: Step = "",
    analyze: Annotated[bool, typer.Option(help="Run it, and show what each part cost.")] = False,
    key: Key = "",
    org: Org = "",
) -> None:
    """Show how a query would be answered, and about what it would cost."""
    from server.command.asking import ask
    from server.command.showing import show_notes, show_plan

    ranged = _is_ranged(at, start, end, step)
    values = {"query": expr, "start": start, "end": end, "step": step, "time": at}
    values["analyze" if analyze else "explain"] = "1"
    try:
        answer: dict[str, Any] = ask(url, values, ranged=ranged, key=key, org=org)
    except Failed as error:
        _fail(error)
    show_notes([*answer.get("warnings", ()), *answer.get("infos", ())])
    show_plan(answer["data"]["plan"])


def _is_ranged(at: str, start: str, end: str, step: str) -> bool:
    ranged = bool(start or end or step)
    if ranged and (at or not (start and end and step)):
        raise typer.BadParameter("a range query needs --start, --end and --step, and no --at")
    return ranged


def _fail(error: Failed) -> NoReturn:
    print(f"o11y: {error}", file=sys.stderr)
    raise SystemExit(1)

"""Asking a data directory that no server has open, from the command line."""

import time
from pathlib import Path

import o11y
from promql.errors import ParseError
from promql.notes import ExecutionError
from series.ports import QueryTimeout, StorageError, TooManySamples
from server.answers import answer_json
from server.api.params import parse_seconds, parse_time_ms
from server.command import showing
from server.command.asking import Failed


def ask_directory(
    data: Path, tenant: str, values: dict[str, str], *, ranged: bool, output: str
) -> None:
    """Evaluates over *data* and prints the answer; Failed says why that cannot be."""
    try:
        with o11y.open_database(data, tenant=tenant) as database:
            result = _result(database, values, ranged)
            if output in showing.TABLES:
                showing.write_table(result.to_arrow(), output)
            else:
                showing.show(answer_json.as_object(result.answer), output)
    except BlockingIOError as error:
        raise Failed(f"{error}; ask it with --url") from None
    except (TooManySamples, QueryTimeout) as error:
        text = f"{type(error).__name__} {error}".rstrip()
        raise Failed(f"the query is too large: {text}") from None
    except (ParseError, ExecutionError, StorageError, OSError, ValueError) as error:
        raise Failed(str(error)) from None


def _result(database: o11y.Database, values: dict[str, str], ranged: bool) -> o11y.Result:
    query, strict = values["query"], bool(values["strict"])
    if not ranged:
        at = parse_time_ms(values["time"]) / 1000 if values["time"] else time.time()
        return database.query(query, at, strict=strict)
    start, end = (parse_time_ms(values[name]) / 1000 for name in ("start", "end"))
    step = parse_seconds(values["step"])
    return database.query_range(query, start, end, step, strict=strict)
